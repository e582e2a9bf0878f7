//! Proof of a state commit.

use crate::contract::{Op, StateStore};
use crate::error::Result;

/// Proof that a state commit returned. Only [`commit_with_receipt`] makes one, so that "settle before apply" does not compile:
///
/// ```compile_fail
/// let receipt = seamless_core::pipeline::CommitReceipt { version: 1 };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CommitReceipt {
    version: u64,
}

impl CommitReceipt {
    /// The commit's version.
    pub fn version(self) -> u64 {
        self.version
    }
}

/// Commits, and returns the proof.
pub async fn commit_with_receipt(store: &dyn StateStore, ops: Vec<Op>) -> Result<CommitReceipt> {
    let version = store.commit(ops).await?;
    Ok(CommitReceipt { version })
}
