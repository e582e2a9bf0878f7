//! The core of Seamless: the contract that connectors, buses and stores implement, the pure decisions (match, merge, cursor, retry), the envelope,
//! and the pipeline that keeps records in step. No sockets, no files, no vendor names; time and chance are traits.

mod capability;
mod claim_check;
mod contract;
pub mod envelope;
mod error;
mod keyset;
pub mod mapping;
pub mod memory;
pub mod pipeline;
mod record;
mod value;

pub use capability::*;
pub use claim_check::ClaimCheck;
pub use contract::*;
pub use error::*;
pub use keyset::*;
pub use record::*;
pub use value::*;
