//! In-memory [`Bus`](crate::Bus) and [`StateStore`](crate::StateStore): the reference for every other implementation, and what the
//! simulator runs on. Deterministic: ordered maps only, no thread, no clock and no chance of their own.

mod blobs;
mod bus;
mod limits;
mod queue;
mod store;

pub use blobs::MemoryBlobs;
pub use bus::MemoryBus;
pub use limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use store::{MemoryStore, Snapshot};
