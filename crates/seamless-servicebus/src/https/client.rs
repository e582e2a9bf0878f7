//! The library's view of HTTP, on our own client: it addresses the service by name, we send to the one place that was configured.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind as AzureKind;
use azure_core::headers::{HeaderName, HeaderValue, Headers};
use azure_core::{Body, BytesStream, CollectedResponse, Method, Request, Response, StatusCode};
use bytes::Bytes;
use seamless_core::{Error, Secret};
use seamless_http::Request as Call;

use crate::rest::{Rest, problem};

/// [`azure_core::HttpClient`] on [`seamless_http`].
pub(super) struct Client {
    pub(super) rest: Arc<Rest>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[async_trait]
impl azure_core::HttpClient for Client {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<Response> {
        let answer = self.rest.send(call(request)?).await.map_err(wrapped)?;
        let mut headers = Headers::new();
        for name in ["brokerproperties", "location"] {
            if let Some(value) = answer.header(name) {
                headers.insert(HeaderName::from_static(name), HeaderValue::from(value.to_owned()));
            }
        }
        let status = StatusCode::try_from(answer.status)
            .map_err(|_| wrapped(Error::protocol("service bus: no HTTP status")))?;
        let body = BytesStream::new(Bytes::from(answer.body));
        Ok(Response::new(status, headers, Box::pin(body)))
    }

    /// As the library's own, but what the service says about a refusal is kept.
    async fn execute_request_check_status(&self, request: &Request) -> azure_core::Result<CollectedResponse> {
        let (status, headers, body) = self.execute_request(request).await?.deconstruct();
        let body = body.collect().await?;
        if status.is_success() {
            return Ok(CollectedResponse::new(status, headers, body));
        }
        let what = match request.method() {
            Method::Post if request.url().path().ends_with("/messages") => "send",
            Method::Post => "renew a lock",
            _ => "settle a message",
        };
        Err(wrapped(problem(what, u16::from(status), &body)))
    }
}

fn call(request: &Request) -> azure_core::Result<Call> {
    let path = request.path_and_query();
    let path = path.trim_start_matches('/');
    let mut call = match request.method() {
        Method::Post => Call::post(path).writes(),
        Method::Put => Call::put(path).writes(),
        Method::Delete => Call::delete(path).writes(),
        _ => Call::get(path),
    };
    let mut content_type = "application/atom+xml;type=entry;charset=utf-8".to_owned();
    for (name, value) in request.headers().iter() {
        match name.as_str() {
            "content-type" => value.as_str().clone_into(&mut content_type),
            "authorization" => call = call.secret_header("authorization", &Secret::new(value.as_str())),
            // Our client sets it by itself.
            "content-length" => {}
            name => call = call.header(name, value.as_str()),
        }
    }
    match request.body() {
        Body::Bytes(bytes) => Ok(call.body(&content_type, bytes.to_vec())),
        Body::SeekableStream(_) => Err(wrapped(Error::protocol(
            "service bus: the library sends no streams",
        ))),
    }
}

/// Our error inside the library's.
fn wrapped(error: Error) -> azure_core::Error {
    azure_core::Error::new(AzureKind::Other, error)
}

/// Our error out of the library's.
pub(super) fn unwrapped(what: &str, error: azure_core::Error) -> Error {
    match error.into_downcast::<Error>() {
        Ok(ours) => ours,
        Err(other) => Error::protocol(format!("service bus, {what}: the answer cannot be read"))
            .with("reason", other.kind()),
    }
}
