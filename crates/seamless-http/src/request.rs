use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use seamless_core::{Error, Result, Secret};

/// A call to make. `Debug` prints method and path only.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) json: Option<serde_json::Value>,
    pub(crate) endpoint: String,
    pub(crate) send_by: Option<Duration>,
    pub(crate) writes: bool,
    /// First mistake made while building; surfaces in `send`.
    pub(crate) mistake: Option<String>,
}

impl Request {
    /// GET a path below the base URL, or an absolute URL of the same origin.
    pub fn get(path_or_url: impl Into<String>) -> Request {
        Request::new(Method::GET, path_or_url)
    }

    /// POST; see [`Request::get`] for the path.
    pub fn post(path_or_url: impl Into<String>) -> Request {
        Request::new(Method::POST, path_or_url)
    }

    /// PATCH; see [`Request::get`] for the path.
    pub fn patch(path_or_url: impl Into<String>) -> Request {
        Request::new(Method::PATCH, path_or_url)
    }

    /// PUT; see [`Request::get`] for the path.
    pub fn put(path_or_url: impl Into<String>) -> Request {
        Request::new(Method::PUT, path_or_url)
    }

    /// DELETE; see [`Request::get`] for the path.
    pub fn delete(path_or_url: impl Into<String>) -> Request {
        Request::new(Method::DELETE, path_or_url)
    }

    fn new(method: Method, path: impl Into<String>) -> Request {
        Request {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            json: None,
            endpoint: String::new(),
            send_by: None,
            writes: false,
            mistake: None,
        }
    }

    /// Sets a header.
    pub fn header(self, name: &str, value: &str) -> Request {
        self.set_header(name, value, false)
    }

    /// Sets a header whose value no log and no `Debug` shows.
    pub fn secret_header(self, name: &str, value: &Secret) -> Request {
        self.set_header(name, value.expose(), true)
    }

    fn set_header(mut self, name: &str, value: &str, secret: bool) -> Request {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(secret);
                self.headers.insert(name, value);
            }
            (Err(_), _) => self.mistaken(format!("'{name}' is not a header name")),
            (_, Err(_)) => self.mistaken(format!(
                "the value for header '{name}' has characters that no header may hold"
            )),
        }
        self
    }

    /// Adds a query parameter; it is percent-encoded here.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Sends JSON.
    pub fn json(mut self, json: &serde_json::Value) -> Request {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(json.to_string().into_bytes());
        self.json = Some(json.clone());
        self
    }

    /// Sends bytes.
    pub fn body(mut self, content_type: &str, bytes: impl Into<Vec<u8>>) -> Request {
        self.body = Some(bytes.into());
        self.json = None;
        self.header("content-type", content_type)
    }

    /// The body as it will be sent; empty without one.
    pub fn body_bytes(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    /// The concurrency group, e.g. the entity. A name from the configuration or the code, never made from data.
    pub fn endpoint(mut self, key: impl Into<String>) -> Request {
        self.endpoint = key.into();
        self
    }

    /// Monotonic time after which the call must not be sent: `Unavailable`, `NotApplied`, `Later` instead.
    ///
    /// With a body the last check is made when the open connection asks for it. Without one (DELETE) it is made before a connection is
    /// looked for, so such a call can leave up to `connect_timeout` later.
    pub fn send_by(mut self, monotonic: Duration) -> Request {
        self.send_by = Some(monotonic);
        self
    }

    /// The call changes something: an answer that is lost means [`seamless_core::Effect::Unknown`].
    pub fn writes(mut self) -> Request {
        self.writes = true;
        self
    }

    fn mistaken(&mut self, mistake: String) {
        self.mistake.get_or_insert(mistake);
    }

    pub(crate) fn check(&self) -> Result<()> {
        match &self.mistake {
            Some(mistake) => Err(Error::config(mistake.clone())),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{} {path}", self.method)
    }
}

/// Percent-encodes a value (a record id) so that it is exactly one path segment.
pub fn encode_segment(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(encode_segment("a/b?c#d e%"), "a%2Fb%3Fc%23d%20e%25");
        assert_eq!(encode_segment("42-x_y.z~"), "42-x_y.z~");
        assert_eq!(encode_segment("é"), "%C3%A9");
    }

    #[test]
    fn debug_shows_no_query_and_no_header() {
        let secret = Secret::new("hunter2");
        let request = Request::get("/a?email=x@y.z")
            .secret_header("secret", &secret)
            .query("q", "marker");
        assert_eq!(format!("{request:?}"), "GET /a");
    }
}
