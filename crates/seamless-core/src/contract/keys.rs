//! Where keys come from.

use zeroize::ZeroizeOnDrop;

use crate::error::Result;

/// Names a key in an envelope: random and opaque.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Key material; wiped on drop, no `Debug`, no serialisation.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Key {
    #[zeroize(skip)]
    id: KeyId,
    bytes: [u8; 32],
}

impl Key {
    /// A key with its id.
    pub fn new(id: KeyId, bytes: [u8; 32]) -> Key {
        Key { id, bytes }
    }

    /// The opaque id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The secret bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.bytes
    }
}

/// Hands out a tenant's keys. Called for each message; implementations answer from memory.
///
/// `index` is separate from the envelope keys and is not rotated with them: lanes, claims and hashes depend on it.
pub trait KeyProvider: Send + Sync {
    /// The key that seals new messages and rows.
    fn primary(&self) -> Result<Key>;

    /// The key that sealed an old one; `None` when it is unknown (park, not poison: it may come back).
    fn by_id(&self, id: KeyId) -> Result<Option<Key>>;

    /// The key for keyed hashes (lanes, claims, match keys, content).
    fn index(&self) -> Result<Key>;
}
