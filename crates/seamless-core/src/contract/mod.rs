//! The contract: the traits that connectors, buses, stores and hosts implement. Each trait's page says when it is
//! called, what it may do, what happens when its future is dropped, and which errors mean what.

mod blob;
mod bus;
mod connector;
mod environment;
mod event;
mod keys;
mod message;
mod network;
mod outlook;
mod plugin;
mod schema_drift;
mod store;
mod webhook;

pub use blob::*;
pub use bus::*;
pub use connector::*;
pub use environment::*;
pub use event::*;
pub use keys::*;
pub use message::*;
pub use network::*;
pub use outlook::*;
pub use plugin::*;
pub use schema_drift::*;
pub use store::*;
pub use webhook::*;
