//! zstd with bounds on both ways.

use std::io::Read;

use super::malformed;
use crate::error::Result;

/// Shorter texts gain nothing worth the time.
pub(super) const COMPRESS_ABOVE_BYTES: usize = 512;
/// Level 3 stays within a window of 2 MiB.
const LEVEL: i32 = 3;
/// A frame that wants a larger window than 8 MiB is refused before it gets the memory.
const WINDOW_LOG_MAX: u32 = 23;

/// Either the plaintext, or one zstd frame where that is shorter.
pub(super) enum Packed<'a> {
    Plain(&'a [u8]),
    Zstd(Vec<u8>),
}

impl Packed<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Packed::Plain(plaintext) => plaintext,
            Packed::Zstd(frame) => frame,
        }
    }

    pub(super) fn is_zstd(&self) -> bool {
        matches!(self, Packed::Zstd(_))
    }
}

/// Compresses where it helps. Each text by itself, without a shared dictionary.
pub(super) fn pack(plaintext: &[u8], above: usize) -> Packed<'_> {
    if plaintext.len() <= above {
        return Packed::Plain(plaintext);
    }
    // A failure to compress is no failure to seal: the plaintext itself is always a valid choice.
    match zstd::bulk::compress(plaintext, LEVEL) {
        Ok(frame) if frame.len() < plaintext.len() => Packed::Zstd(frame),
        _ => Packed::Plain(plaintext),
    }
}

/// The plaintext of exactly `plaintext_len` bytes, which the caller has checked against its limit.
///
/// Whatever the frame claims, no more than one byte beyond that length is ever produced.
pub(super) fn unpack(packed: Vec<u8>, zstd: bool, plaintext_len: usize) -> Result<Vec<u8>> {
    let plaintext = if zstd {
        decompress(&packed, plaintext_len)?
    } else {
        packed
    };
    if plaintext.len() != plaintext_len {
        return Err(malformed(
            "the sealed text does not have the length its header states",
        ));
    }
    Ok(plaintext)
}

fn decompress(frame: &[u8], plaintext_len: usize) -> Result<Vec<u8>> {
    let broken =
        |error: std::io::Error| malformed("the sealed text is not a valid zstd frame").because(error);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame)
        .map_err(broken)?
        .single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
    let mut plaintext = Vec::with_capacity(plaintext_len);
    let mut capped = decoder.by_ref().take(plaintext_len as u64 + 1);
    capped.read_to_end(&mut plaintext).map_err(broken)?;
    if plaintext.len() <= plaintext_len && !decoder.finish().is_empty() {
        return Err(malformed("the sealed text goes on behind its zstd frame"));
    }
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_exactly_what_its_header_states() {
        let text = b"a line that repeats itself\n".repeat(100);
        let packed = pack(&text, COMPRESS_ABOVE_BYTES);
        assert!(packed.is_zstd());
        let frame = packed.bytes().to_vec();
        let unpacked = |stated: usize| unpack(frame.clone(), true, stated);
        assert_eq!(unpacked(text.len()).ok(), Some(text.clone()));
        for stated in [
            0,
            1,
            text.len() / 2,
            text.len() - 1,
            text.len() + 1,
            text.len() * 2,
        ] {
            assert!(unpacked(stated).is_err(), "{stated} bytes");
        }
        let two = [frame.clone(), frame.clone()].concat();
        assert!(unpack(two, true, text.len()).is_err(), "a second frame behind it");
        assert!(unpack(frame[..frame.len() - 1].to_vec(), true, text.len()).is_err());
    }

    #[test]
    fn only_what_gains_by_it_is_compressed() {
        let text = [b'a'; 101];
        for (length, above, is_zstd) in [(100, 100, false), (101, 100, true), (0, 0, false), (3, 0, false)] {
            assert_eq!(
                pack(&text[..length], above).is_zstd(),
                is_zstd,
                "{length} above {above}"
            );
        }
    }
}
