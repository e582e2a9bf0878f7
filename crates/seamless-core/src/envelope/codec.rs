//! The envelope's bytes: 96 bytes of header, then ciphertext and tag. The table is in `docs/envelope.md`.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::compress::{COMPRESS_ABOVE_BYTES, pack, unpack};
use super::crypto::{Bound, SALT_BYTES, Schedule, TAG_BYTES, decrypt, encrypt};
use super::{Address, Identity, code, crypto_error, key_by_id, malformed, too_large};
use crate::contract::{Key, KeyId, KeyProvider};
use crate::error::{Error, Result};

const MAGIC: [u8; 4] = *b"SEAM";
const VERSION: u8 = 1;
/// HKDF-SHA512, AES-256-GCM, key commitment. The only one: there is nothing to negotiate, and no "none".
const SUITE: u8 = 1;
const FLAG_ZSTD: u8 = 0b01;
/// The body lies elsewhere. Reserved: no release writes it yet, so whoever reads it is the older one.
const FLAG_CLAIM_CHECK: u8 = 0b10;

const HEADER_BYTES: usize = 96;
const COMMITMENT_AT: usize = 56;

/// What an envelope adds to the (compressed) plaintext.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// Compresses and encrypts. The caller has checked the plaintext against its limit, and never uses a salt twice.
pub(super) fn seal(
    key: &Key,
    salt: [u8; SALT_BYTES],
    identity: &Identity,
    address: &Address<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>> {
    let packed = pack(plaintext, COMPRESS_ABOVE_BYTES);
    let schedule = Schedule::new(key, &salt);
    let context = derivation_context(key.id());
    let header = Header {
        flags: if packed.is_zstd() { FLAG_ZSTD } else { 0 },
        key_id: key.id(),
        salt,
        commitment: *schedule.derive(b"com", &context)?,
        plaintext_len: length(plaintext)?,
        ciphertext_len: length(packed.bytes())?,
    }
    .to_bytes();
    let encryption_key = schedule.derive(b"enc", &context)?;
    let ciphertext = encrypt(
        &encryption_key,
        &bound(&header, identity, address),
        packed.bytes(),
    )?;

    let mut envelope = Vec::with_capacity(HEADER_BYTES + ciphertext.len());
    envelope.extend_from_slice(&header);
    envelope.extend_from_slice(&ciphertext);
    Ok(envelope)
}

/// Checks, decrypts and decompresses. Nothing of the plaintext is seen unless everything fits.
pub(super) fn open(
    keys: &Arc<dyn KeyProvider>,
    identity: &Identity,
    address: &Address<'_>,
    envelope: &[u8],
    limit: usize,
) -> Result<Vec<u8>> {
    let header = Header::parse(envelope, limit)?;
    let key = key_by_id(keys, header.key_id)?;
    let schedule = Schedule::new(&key, &header.salt);
    let context = derivation_context(header.key_id);

    // GCM alone does not commit to a key: one ciphertext can be made to open under two. The commitment is checked first.
    let commitment = schedule.derive(b"com", &context)?;
    if !bool::from(commitment.as_slice().ct_eq(&header.commitment)) {
        return Err(unreadable());
    }
    let encryption_key = schedule.derive(b"enc", &context)?;
    let (header_bytes, ciphertext) = envelope.split_at(HEADER_BYTES);
    let packed = decrypt(
        &encryption_key,
        &bound(header_bytes, identity, address),
        ciphertext,
    )
    .ok_or_else(unreadable)?;
    unpack(
        packed,
        header.flags & FLAG_ZSTD != 0,
        header.plaintext_len as usize,
    )
}

struct Header {
    flags: u8,
    key_id: KeyId,
    salt: [u8; SALT_BYTES],
    commitment: [u8; 32],
    plaintext_len: u32,
    ciphertext_len: u32,
}

impl Header {
    fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = SUITE;
        bytes[6] = self.flags;
        bytes[8..24].copy_from_slice(&self.key_id.0);
        bytes[24..COMMITMENT_AT].copy_from_slice(&self.salt);
        bytes[COMMITMENT_AT..88].copy_from_slice(&self.commitment);
        bytes[88..92].copy_from_slice(&self.plaintext_len.to_be_bytes());
        bytes[92..].copy_from_slice(&self.ciphertext_len.to_be_bytes());
        bytes
    }

    /// Everything that can be refused without a key.
    fn parse(envelope: &[u8], limit: usize) -> Result<Header> {
        let Some(version) = envelope.strip_prefix(&MAGIC).and_then(|rest| rest.first()) else {
            return Err(malformed("not an envelope of ours, or cut short"));
        };
        // Before anything else: a later version may lay out the rest differently.
        if *version != VERSION {
            return Err(too_new("envelope version", *version));
        }
        let Some(header) = envelope
            .first_chunk::<HEADER_BYTES>()
            .filter(|_| envelope.len() >= OVERHEAD_BYTES)
        else {
            return Err(malformed(format!(
                "envelope is cut short at {} bytes",
                envelope.len()
            )));
        };
        let flags = header[6];
        if flags & FLAG_CLAIM_CHECK != 0 {
            return Err(too_new("envelope flag", flags));
        }
        if header[5] != SUITE || flags & !FLAG_ZSTD != 0 || header[7] != 0 {
            return Err(malformed("envelope has an unknown suite, flag or reserved byte"));
        }
        let header = Header {
            flags,
            key_id: KeyId(array(header, 8)),
            salt: array(header, 24),
            commitment: array(header, COMMITMENT_AT),
            plaintext_len: u32::from_be_bytes(array(header, 88)),
            ciphertext_len: u32::from_be_bytes(array(header, 92)),
        };
        if header.ciphertext_len as usize != envelope.len() - OVERHEAD_BYTES {
            return Err(malformed("envelope does not have the length its header states"));
        }
        if header.plaintext_len as usize > limit {
            return Err(too_large(header.plaintext_len as usize, limit));
        }
        Ok(header)
    }
}

/// `N` bytes of the header from `at`; both are constants of the layout.
fn array<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

/// Ties the derived keys to the format and the key's name.
fn derivation_context(key_id: KeyId) -> [u8; 22] {
    let mut context = [0; 22];
    context[..4].copy_from_slice(&MAGIC);
    context[4] = VERSION;
    context[5] = SUITE;
    context[6..].copy_from_slice(&key_id.0);
    context
}

fn bound(header: &[u8], identity: &Identity, address: &Address<'_>) -> Bound {
    Bound::new(header, identity)
        .item(address.route.as_bytes())
        .item(address.message_id.as_bytes())
        .item(address.lane.as_bytes())
}

fn length(bytes: &[u8]) -> Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| too_large(bytes.len(), u32::MAX as usize))
}

fn too_new(what: &str, value: u8) -> Error {
    crypto_error(
        code::TOO_NEW,
        format!("{what} {value} is too new for this release: upgrade it, then replay the message"),
    )
}

/// The one error for everything the cryptography refuses.
fn unreadable() -> Error {
    crypto_error(
        code::UNREADABLE,
        "envelope does not open: it was altered, or sealed for another tenant, environment, route or message",
    )
}
