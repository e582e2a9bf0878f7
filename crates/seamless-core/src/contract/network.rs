//! HTTP as a trait, so that the simulator can drive connectors too.

use std::fmt;

use async_trait::async_trait;

/// A call as it goes onto the wire. `Debug` shows the method and where it goes, without the query.
#[derive(Clone)]
pub struct WireCall {
    /// `GET`, `POST`, …
    pub method: String,
    /// The whole address, encoded.
    pub url: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// Empty where there is none.
    pub body: Vec<u8>,
}

/// An answer as it comes off the wire. `Debug` shows status and size only.
#[derive(Clone)]
pub struct WireAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body, decoded.
    pub body: Vec<u8>,
}

impl fmt::Debug for WireCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.url.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{} {place}", self.method)
    }
}

impl fmt::Debug for WireAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", self.status, self.body.len())
    }
}

/// Carries HTTP calls in place of the machine's own network. Every wait is the network's: it also ends calls that take too long.
///
/// **Cancel safety.** A call whose future is dropped may have arrived or not, as with a real one.
#[async_trait]
pub trait Network: Send + Sync {
    /// Opens a connection to where the url points; `false` when nobody is there.
    async fn connect(&self, url: &str) -> bool;

    /// Sends the call and waits for the answer; `None` when the connection broke before the whole of it was here.
    async fn exchange(&self, call: WireCall) -> Option<WireAnswer>;
}
