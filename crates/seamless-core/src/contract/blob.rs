//! Where bodies wait that are too large for a bus.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;

/// Bodies by name. They are sealed before they come here, like everything outside of memory.
///
/// **Durability.** When `put` returns `Ok`, the body survives a power loss. **Cancel safety.** A dropped `put` may leave a body that nobody
/// knows of; it is found by `list`. **Names** are `folder/name`, of `a-z`, `0-9`, `-` and `_`.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Keeps a body under a new name.
    async fn put(&self, name: &str, body: Vec<u8>) -> Result<()>;

    /// A body; none when there is none of that name. At most `bytes_max` (`Limit` otherwise).
    async fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>>;

    /// Removes a body. None of that name is fine.
    async fn delete(&self, name: &str) -> Result<()>;

    /// Names in a folder that have been there for longer than `age`, at most `max`.
    async fn list(&self, folder: &str, age: Duration, max: usize) -> Result<Vec<String>>;
}
