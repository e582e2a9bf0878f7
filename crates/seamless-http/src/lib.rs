//! The one HTTP client for connectors: bounded, egress-checked, and honest about what a failed call may have done.
//!
//! [`HttpClient::send`] answers `Ok` for any HTTP status; an `Err` is a failed transport, classified with its effect. What a status means
//! is the connector's business; [`status_error`] is the generic reading.
//!
//! - **Timeouts**: connect, silence between two bytes, whole call. **Bounds**: decoded body, so that a compressed bomb stops at the cap.
//! - **Egress**: one origin only; no redirects, no proxy from the environment, no private or metadata address unless the operator allows it.
//! - **Limits**: calls at once for each endpoint key, and calls a second for the whole client.
//! - **`send_by`** is checked after every queue, and once more when the connection asks for the body, so that a late write is never sent.
//! - **Secrets** are in no `Debug` and no error; URLs in errors lose their query.

mod client;
mod egress;
mod limits;
mod request;
mod response;
mod settings;
mod status;

pub use client::{HttpClient, Target};
pub use request::{Request, encode_segment};
pub use response::Response;
pub use settings::HttpSettings;
pub use status::status_error;
