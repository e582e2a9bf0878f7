//! The small CRM: bearer token, cursors, versions, string ids.

pub(crate) mod fields;
mod read;
mod routes;
mod write;

pub(crate) use routes::{call, endpoint_of, is_write};
