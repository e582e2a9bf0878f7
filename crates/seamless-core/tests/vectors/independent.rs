//! The envelope once more, written from `docs/envelope.md` on top of `ring` alone. It can also seal what our own code never would.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac::{HMAC_SHA256, HMAC_SHA512, Key, sign};
use seamless_core::MessageKey;

#[derive(Clone)]
pub(crate) struct Parts<'a> {
    pub(crate) key: [u8; 32],
    pub(crate) commitment_key: [u8; 32],
    pub(crate) key_id: [u8; 16],
    pub(crate) salt: [u8; 32],
    /// Environment, tenant, route, message id, lane.
    pub(crate) items: [&'a str; 5],
    pub(crate) flags: u8,
    pub(crate) plaintext_len: u32,
    pub(crate) packed: &'a [u8],
}

impl Parts<'_> {
    /// HKDF-Extract.
    pub(crate) fn prk(&self) -> Vec<u8> {
        extract(&self.salt, &self.key)
    }

    /// HKDF-Expand to 32 bytes: the first block is long enough.
    pub(crate) fn derive(&self, key: &[u8; 32], label: &[u8; 3]) -> [u8; 32] {
        let info = [&label[..], b"SEAM", &[1, 1], &self.key_id, &[1]].concat();
        let block = sign(&Key::new(HMAC_SHA512, &extract(&self.salt, key)), &info);
        block.as_ref()[..32].try_into().unwrap()
    }

    pub(crate) fn associated_data(&self, header: &[u8]) -> Vec<u8> {
        let mut data = header.to_vec();
        for item in self.items {
            data.extend((item.len() as u32).to_be_bytes());
            data.extend(item.as_bytes());
        }
        data
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.derive(&self.key, b"enc")).unwrap())
    }
}

fn extract(salt: &[u8; 32], key: &[u8; 32]) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA512, salt), key).as_ref().to_vec()
}

pub(crate) fn seal(parts: &Parts<'_>) -> Vec<u8> {
    let mut envelope = Vec::new();
    envelope.extend(b"SEAM");
    envelope.extend([1, 1, parts.flags, 0]);
    envelope.extend(parts.key_id);
    envelope.extend(parts.salt);
    envelope.extend(parts.derive(&parts.commitment_key, b"com"));
    envelope.extend(parts.plaintext_len.to_be_bytes());
    envelope.extend((parts.packed.len() as u32).to_be_bytes());
    let aad = Aad::from(parts.associated_data(&envelope));
    let mut sealed = parts.packed.to_vec();
    parts
        .cipher()
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), aad, &mut sealed)
        .unwrap();
    envelope.extend(sealed);
    envelope
}

/// What was encrypted (still compressed, where it was); key, salt and address come from `parts`, the header from the envelope.
pub(crate) fn open(parts: &Parts<'_>, envelope: &[u8]) -> Option<Vec<u8>> {
    let (header, ciphertext) = envelope.split_at_checked(96)?;
    if header[56..88] != parts.derive(&parts.key, b"com") {
        return None;
    }
    let aad = Aad::from(parts.associated_data(header));
    let mut opened = ciphertext.to_vec();
    let packed = parts
        .cipher()
        .open_in_place(Nonce::assume_unique_for_key([0; 12]), aad, &mut opened)
        .ok()?;
    Some(packed.to_vec())
}

pub(crate) fn lane(index: &[u8; 32], key: MessageKey<'_>) -> String {
    let side = key.side.letter().to_string();
    let mut text = Vec::new();
    for part in ["lane", key.sync.as_str(), &side, key.id.as_str()] {
        text.extend((part.len() as u32).to_be_bytes());
        text.extend(part.as_bytes());
    }
    let index = Key::new(HMAC_SHA256, index);
    let number = sign(&index, &text).as_ref()[0];
    let fold = [&9u32.to_be_bytes()[..], b"lane-fold", &[number]].concat();
    sign(&index, &fold).as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
