//! The primitives: HKDF-SHA512, AES-256-GCM with a key per message, and the associated data.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::Sha512;
use zeroize::Zeroizing;

use super::Identity;
use crate::contract::Key;
use crate::error::{Error, ErrorKind, Result};

pub(super) const SALT_BYTES: usize = 32;
pub(super) const TAG_BYTES: usize = 16;

/// Safe only because each derived key encrypts exactly one message: the salt makes the key, so the nonce need not vary.
const NONCE: [u8; 12] = [0; 12];

/// 32 bytes derived from a tenant key; wiped on drop.
pub(super) type Derived = Zeroizing<[u8; 32]>;

/// The keys of one message, all derived from (tenant key, salt).
pub(super) struct Schedule(Hkdf<Sha512>);

impl Schedule {
    pub(super) fn new(key: &Key, salt: &[u8; SALT_BYTES]) -> Schedule {
        Schedule(Hkdf::new(Some(salt), key.expose()))
    }

    /// `Expand(PRK, label ‖ context, 32)`. Labels have equal length, so that no label and context run into another pair.
    pub(super) fn derive(&self, label: &[u8; 3], context: &[u8]) -> Result<Derived> {
        let mut derived = Zeroizing::new([0; 32]);
        self.0
            .expand_multi_info(&[label, context], derived.as_mut())
            .map_err(|_| Error::new(ErrorKind::Crypto, "key derivation failed"))?;
        Ok(derived)
    }
}

/// Associated data: what must be the same when sealing and opening without being stored in the seal.
/// Each item is preceded by its length, so that no two lists of items give the same bytes.
pub(super) struct Bound(Vec<u8>);

impl Bound {
    pub(super) fn new(header: &[u8], identity: &Identity) -> Bound {
        let mut bound = Vec::with_capacity(header.len() + 256);
        bound.extend_from_slice(header);
        Bound(bound)
            .item(identity.environment.as_bytes())
            .item(identity.tenant.as_bytes())
    }

    pub(super) fn item(mut self, item: &[u8]) -> Bound {
        self.0.extend_from_slice(&length_prefix(item));
        self.0.extend_from_slice(item);
        self
    }
}

/// Four bytes, big-endian. Saturates: nothing near 4 GiB ever gets here.
pub(super) fn length_prefix(item: &[u8]) -> [u8; 4] {
    u32::try_from(item.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Ciphertext ‖ tag.
pub(super) fn encrypt(key: &Derived, bound: &Bound, plaintext: &[u8]) -> Result<Vec<u8>> {
    Aes256Gcm::new((&**key).into())
        .encrypt(
            &Nonce::from(NONCE),
            Payload {
                msg: plaintext,
                aad: &bound.0,
            },
        )
        .map_err(|_| Error::new(ErrorKind::Crypto, "encryption failed"))
}

/// The plaintext, or nothing at all when a single bit differs.
pub(super) fn decrypt(key: &Derived, bound: &Bound, ciphertext: &[u8]) -> Option<Vec<u8>> {
    Aes256Gcm::new((&**key).into())
        .decrypt(
            &Nonce::from(NONCE),
            Payload {
                msg: ciphertext,
                aad: &bound.0,
            },
        )
        .ok()
}
