//! AMQP 1.0 as Service Bus speaks it: connection, sessions, links, requests.

mod attach;
mod connection;
mod frame;
mod link;
mod management;
mod sasl;
mod session;
mod token;

pub(crate) use connection::serve;
pub(crate) use session::settle;
pub use token::Access;
pub(crate) use token::{Keys, unescape};
