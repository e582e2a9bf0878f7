//! Sealing: the envelope for the bus, the seal for stored rows, and keyed hashes.
//!
//! - [`Sealer`] turns a [`Message`](crate::Message) into an envelope and back. Bus and broker see only ciphertext and opaque ids.
//! - [`RowSeal`] does the same for state rows that hold personal data.
//! - [`Hasher`] makes lanes, claims and content hashes that say nothing about what was hashed.
//!
//! The order is fixed: serialise → zstd → encrypt. Ciphertext does not compress, so it cannot be the other way round. The byte layout and how to check
//! it with another library are in `docs/envelope.md`; `tests/vectors/envelope-v1.json` pins it.
//!
//! **Errors.** What cannot be opened is `ErrorKind::Crypto` (or `Limit`) with a context `code` from [`code`], so that the caller can park it under a
//! stable reason. Every failure of the cryptography itself is one and the same error: which of key, tenant, route, message or bytes did not fit is not told.

mod codec;
mod compress;
mod crypto;
mod hasher;
mod row;
mod sealer;

use std::sync::Arc;

pub use codec::OVERHEAD_BYTES;
pub use hasher::Hasher;
pub(crate) use hasher::hex;
pub use row::RowSeal;
pub use sealer::{Address, Sealer};

use crate::contract::{Key, KeyId, KeyProvider, Random};
use crate::error::{Error, ErrorKind, Result};

/// Largest plaintext that is ever sealed or opened. A [`Sealer`] can be set lower, not higher.
pub const PLAINTEXT_BYTES_MAX: usize = 16 << 20;

/// Whose data it is. Comes from the reader's own configuration, never from the message, and is bound into every seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `production`, `staging`: keeps a copied database from being read by the wrong installation.
    pub environment: String,
    /// The tenant.
    pub tenant: String,
}

/// Values of the context `code` of errors from this module: stable, fit for a dead-letter reason.
pub mod code {
    /// Wrong key, tenant, route, message or row, or altered bytes. Deliberately one code for all of them.
    pub const UNREADABLE: &str = "unreadable";
    /// Sealed with a key that the keyset does not hold or has disabled. Park it: the key may come back.
    pub const UNKNOWN_KEY: &str = "unknown_key";
    /// Written by a newer release. Park it until this one is upgraded.
    pub const TOO_NEW: &str = "too_new";
    /// Not an envelope, cut short, or not what its header says.
    pub const MALFORMED: &str = "malformed";
    /// Over the plaintext limit.
    pub const TOO_LARGE: &str = "too_large";
    /// Opened, but about another kind of message than this route carries.
    pub const WRONG_KIND: &str = "wrong_kind";
    /// Opened, but about a record that does not belong to the lane it came in.
    pub const WRONG_RECORD: &str = "wrong_record";
}

fn crypto_error(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Crypto, message).with("code", code)
}

fn malformed(message: impl Into<String>) -> Error {
    crypto_error(code::MALFORMED, message)
}

fn unknown_key(id: KeyId) -> Error {
    crypto_error(
        code::UNKNOWN_KEY,
        "sealed with a key that is not in this tenant's keyset: restore the key, or it belongs to another tenant",
    )
    .with("key", id)
}

fn too_large(bytes: usize, limit: usize) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!("plaintext of {bytes} bytes is over the limit of {limit}"),
    )
    .with("code", code::TOO_LARGE)
}

/// The key an old seal names, unless it is unknown or disabled.
fn key_by_id(keys: &Arc<dyn KeyProvider>, id: KeyId) -> Result<Key> {
    keys.by_id(id)?.ok_or_else(|| unknown_key(id))
}

/// A fresh salt. A generator that silently did nothing would make two messages share key and nonce, so all zeros fail closed.
fn fresh_salt(random: &Arc<dyn Random>) -> Result<[u8; crypto::SALT_BYTES]> {
    let mut salt = [0; crypto::SALT_BYTES];
    random.fill(&mut salt);
    if salt == [0; crypto::SALT_BYTES] {
        return Err(Error::new(
            ErrorKind::Crypto,
            "the random generator returned only zeros: nothing was sealed",
        ));
    }
    Ok(salt)
}
