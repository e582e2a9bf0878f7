//! Bodies that fit into no message, in a container of Azure Blob Storage.
//!
//! Four requests, signed by a shared access signature that somebody made for the container. The library for it (`azure_storage_blob` 1.1) brings a
//! second HTTP stack and another `azure_core` than the bus over HTTPS has: 90 crates for four requests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{BlobStore, Clock, Effect, Error, ErrorKind, Result, Secret, Timestamp};
use seamless_http::{HttpClient, HttpSettings, Request, Response, encode_segment};

use crate::manage::atom::Element;

/// The version of the API whose words are used here.
const VERSION: &str = "2021-12-02";
/// Largest body, with room for what a page of names takes.
const BODY_BYTES_MAX: usize = 17 << 20;
/// Names in one page.
const PAGE: usize = 1_000;
/// Most pages of one look: what is left is found by the next one.
const PAGES_MAX: usize = 100;

/// A [`BlobStore`] in a container.
pub struct AzureBlobs {
    http: HttpClient,
    /// The parts of the signature, decoded.
    signature: Vec<(String, Secret)>,
}

impl AzureBlobs {
    /// A container by its URL with a signature: `https://ACCOUNT.blob.core.windows.net/CONTAINER?sv=…&sp=rcwdl&sig=…`. It needs the rights to read,
    /// create, write, delete and list. No call yet.
    pub fn new(url: &Secret, extra_roots: Vec<Vec<u8>>, clock: Arc<dyn Clock>) -> Result<AzureBlobs> {
        let (container, query) = url.expose().split_once('?').ok_or_else(|| {
            Error::config("the URL of the container has no shared access signature behind a question mark")
        })?;
        let container = container.trim_end_matches('/');
        let signature: Option<Vec<(String, Secret)>> = query
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=')?;
                Some((name.to_owned(), Secret::new(unescape(value)?)))
            })
            .collect();
        let signature = signature.filter(|parts| parts.iter().any(|(name, _)| name == "sig"));
        let signature = signature
            .ok_or_else(|| Error::config("the URL of the container has no whole shared access signature"))?;
        let is_local = ["http://127.0.0.1:", "http://localhost:"]
            .iter()
            .any(|start| container.starts_with(start));
        if !container.starts_with("https://") && !is_local {
            return Err(Error::config(
                "the URL of the container does not begin with https://; only an emulator on this machine may do without",
            ));
        }
        let settings = HttpSettings {
            // Whoever writes the URL names the host, and an account may well have a private endpoint; TLS proves who it is.
            allow_private_network: true,
            body_bytes_max: BODY_BYTES_MAX,
            extra_roots,
            ..HttpSettings::new(container)
        };
        Ok(AzureBlobs {
            http: HttpClient::new(settings, clock)?,
            signature,
        })
    }

    async fn call(&self, what: &str, mut request: Request, fine: &[u16]) -> Result<Response> {
        for (name, value) in &self.signature {
            request = request.query(name, value.expose());
        }
        let answer = self.http.send(request.header("x-ms-version", VERSION)).await?;
        if fine.contains(&answer.status) {
            Ok(answer)
        } else {
            Err(refused(what, &answer))
        }
    }
}

/// Where a body lies in the container.
fn path(name: &str) -> Result<String> {
    match name.split_once('/') {
        Some((folder, file)) if !folder.is_empty() && !file.is_empty() && !file.contains('/') => {
            Ok(format!("{}/{}", encode_segment(folder), encode_segment(file)))
        }
        _ => Err(Error::protocol("a body has a name that is none")),
    }
}

/// Undoes percent encoding; none when it is none.
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part.as_bytes().get(2..)?);
    }
    String::from_utf8(bytes).ok()
}

fn refused(what: &str, answer: &Response) -> Error {
    let code = answer.header("x-ms-error-code").unwrap_or_default();
    let says = |kind, text: &str| Error::new(kind, format!("azure blob, {what}: {text}"));
    let error = match (answer.status, code) {
        (401 | 403, _) => says(
            ErrorKind::Auth,
            "the shared access signature is not accepted: has it expired, and has it the rights to read, create, write, delete and list?",
        ),
        (404, _) => says(ErrorKind::NotFound, "there is no such container"),
        (429 | 503, _) => says(ErrorKind::RateLimited, "the account is busy").retry_later(None),
        (500.., _) => says(ErrorKind::Unavailable, "the service could not do it")
            .retry_later(None)
            .effect(Effect::Unknown),
        _ => says(ErrorKind::Refused, "the call was refused"),
    };
    error.with("status", answer.status).with("code", code)
}

/// Whether it is the body that is not there, and not the container.
fn is_missing(answer: &Response) -> bool {
    answer.status == 404 && answer.header("x-ms-error-code") != Some("ContainerNotFound")
}

#[async_trait]
impl BlobStore for AzureBlobs {
    async fn put(&self, name: &str, body: Vec<u8>) -> Result<()> {
        let request = Request::put(path(name)?)
            .header("x-ms-blob-type", "BlockBlob")
            .body("application/octet-stream", body);
        self.call("keep a body", request, &[201]).await.map(drop)
    }

    async fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let answer = self
            .call("read a body", Request::get(path(name)?), &[200, 404])
            .await?;
        if is_missing(&answer) {
            return Ok(None);
        }
        if answer.status == 404 {
            return Err(refused("read a body", &answer));
        }
        if answer.body.len() > bytes_max {
            return Err(Error::new(ErrorKind::Limit, "a body is larger than allowed"));
        }
        Ok(Some(answer.body))
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let request = Request::delete(path(name)?);
        let answer = self.call("remove a body", request, &[202, 404]).await?;
        if answer.status == 404 && !is_missing(&answer) {
            return Err(refused("remove a body", &answer));
        }
        Ok(())
    }

    async fn list(&self, folder: &str, age: Duration, max: usize) -> Result<Vec<String>> {
        let unreadable = || Error::protocol("azure blob: a list of bodies cannot be read");
        let mut found = Vec::new();
        let mut marker = String::new();
        for _ in 0..PAGES_MAX {
            let mut request = Request::get("")
                .query("restype", "container")
                .query("comp", "list")
                .query("prefix", format!("{folder}/"))
                .query("maxresults", PAGE.to_string());
            if !marker.is_empty() {
                request = request.query("marker", &marker);
            }
            let answer = self.call("list bodies", request, &[200]).await?;
            // By the clock that wrote the other times, too.
            let now = answer.server_time.ok_or_else(unreadable)?;
            let page = Element::parse(&answer.body).map_err(|_| unreadable())?;
            let blobs = page.child("Blobs").map_or(&[][..], |blobs| &blobs.children);
            for blob in blobs.iter().filter(|blob| blob.local() == "Blob") {
                let name = blob.get("Name").ok_or_else(unreadable)?;
                let about = blob.child("Properties").ok_or_else(unreadable)?;
                let at = about
                    .get("Last-Modified")
                    .and_then(Timestamp::parse_http)
                    .ok_or_else(unreadable)?;
                if now.since(at) > age && found.len() < max {
                    found.push(name.to_owned());
                }
            }
            marker = page.get("NextMarker").unwrap_or_default().to_owned();
            if marker.is_empty() || found.len() >= max {
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape("a%2Bb%3D").as_deref(), Some("a+b="));
        assert_eq!(unescape("a%2"), None);
        assert_eq!(unescape("%zz"), None);
    }
}
