//! The Autotask REST V1.0 simulator.

mod fields;
mod filter;
pub(crate) mod hooks;
mod meta;
pub(crate) mod picks;
mod query;
mod routes;
pub(crate) mod tables;
mod validate;
mod write;

use serde_json::json;

pub(crate) use routes::{call, endpoint_of, is_open, is_write};

use crate::wire::{Reply, Req};
use crate::world::World;

/// A failure in Autotask's usual dress: almost everything is a 500.
pub(crate) fn errors(text: &str) -> Reply {
    Reply::json(500, json!({ "errors": [text] }))
}

/// An unexpected fault with a number that only the vendor understands.
pub(crate) fn unexpected(w: &mut World) -> Reply {
    w.error_id += 1;
    let id = w.error_id;
    let text =
        format!("An unexpected error has occurred. Please contact support and reference Error ID: {id}");
    Reply::json(500, json!({ "errors": [text], "errorId": id }))
}

/// The base URL of the tenant's present zone, with a trailing slash.
pub(crate) fn base_url(w: &World) -> String {
    let port = w.autotask_port;
    match w.zone {
        1 => format!("http://127.0.0.1:{port}/ATServicesRest/"),
        n => format!("http://127.0.0.1:{port}/zone{n}/ATServicesRest/"),
    }
}
