//! Clock and randomness as traits, so that the simulator can drive everything.

use std::time::Duration;

use async_trait::async_trait;

use crate::value::Timestamp;

/// Time. `now` is for stamps in the ledger and for deadlines that must survive a restart; `monotonic` for everything within one process.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Wall-clock time. May jump; never compared with a remote system's stamps.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start of this process; never goes back.
    fn monotonic(&self) -> Duration;

    /// Waits. Cancel safe.
    async fn sleep(&self, duration: Duration);
}

/// Randomness for ids, salts and jitter. Real implementations use the operating system's generator and fail closed.
pub trait Random: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}
