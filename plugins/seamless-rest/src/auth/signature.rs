//! Signed requests: an HMAC over a text that the manifest describes.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::tz::TimeZone;
use seamless_core::{Error, Result, Secret, Timestamp};
use seamless_http::{HttpClient, Request};
use sha2::{Digest, Sha256, Sha512};

use super::Secrets;
use crate::manifest::{Auth, HmacAlgorithm, HmacEncoding};
use crate::stamp::StampFormat;
use crate::template::{fill, slots};

/// Signs requests.
pub(crate) struct Signer {
    auth: Auth,
    secret: Secret,
    api_key: Option<Secret>,
    counter: AtomicU64,
}

impl Signer {
    pub(crate) fn new(auth: &Auth, secrets: &Secrets<'_>) -> Result<Signer> {
        let texts = auth.headers.values().chain(&auth.sign).chain(&auth.prefix);
        let names_key = texts.into_iter().any(|text| slots(text).contains(&"api_key"));
        Ok(Signer {
            secret: secrets.get("secret")?,
            api_key: names_key.then(|| secrets.get("api_key")).transpose()?,
            auth: auth.clone(),
            counter: AtomicU64::new(0),
        })
    }

    /// Adds the signature. Made just before the request is handed over; a queue in front of the wire makes it a little older.
    pub(crate) fn sign(&self, request: Request, http: &HttpClient, now: Timestamp) -> Result<Request> {
        let target = http.target(&request)?;
        let body = request.body_bytes().to_vec();
        let format = self
            .auth
            .timestamp_format
            .clone()
            .unwrap_or(StampFormat::EpochSecs);
        let timestamp = format.write(now, &TimeZone::UTC);
        // Unique, and nobody can guess it: the clock and a counter under the secret.
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let nonce = hex(&self.mac(format!("nonce {} {count}", now.0).as_bytes())?[..16]);
        let hash = match self.auth.algorithm.unwrap_or_default() {
            HmacAlgorithm::Sha256 => Sha256::digest(&body).to_vec(),
            HmacAlgorithm::Sha512 => Sha512::digest(&body).to_vec(),
        };
        let value = |name: &str| match name {
            "method" => Some(target.method.clone()),
            "host" => Some(target.host.clone()),
            "path" => Some(target.path.clone()),
            "query" => Some(target.query.clone()),
            "timestamp" => Some(timestamp.clone()),
            "nonce" => Some(nonce.clone()),
            "body" => Some(String::from_utf8_lossy(&body).into_owned()),
            "body_hash" => Some(self.written(&hash)),
            "api_key" => self.api_key.as_ref().map(|key| key.expose().to_owned()),
            _ => None,
        };
        let text = fill(self.auth.sign.as_deref().unwrap_or_default(), &value);
        let signature = self.written(&self.mac(text.as_bytes())?);
        let value = |name: &str| match name {
            "signature" => Some(signature.clone()),
            name => value(name),
        };
        let mut signed = request;
        if let Some(header) = &self.auth.header {
            let prefix = fill(self.auth.prefix.as_deref().unwrap_or_default(), &value);
            signed = signed.secret_header(header, &Secret::new(format!("{prefix}{signature}")));
        }
        for (name, template) in &self.auth.headers {
            signed = signed.secret_header(name, &Secret::new(fill(template, &value)));
        }
        Ok(signed)
    }

    fn mac(&self, text: &[u8]) -> Result<Vec<u8>> {
        let key = self.secret.expose().as_bytes();
        let unusable = |_| Error::config("the secret of the signature cannot be used as a key");
        Ok(match self.auth.algorithm.unwrap_or_default() {
            HmacAlgorithm::Sha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(unusable)?;
                mac.update(text);
                mac.finalize().into_bytes().to_vec()
            }
            HmacAlgorithm::Sha512 => {
                let mut mac = Hmac::<Sha512>::new_from_slice(key).map_err(unusable)?;
                mac.update(text);
                mac.finalize().into_bytes().to_vec()
            }
        })
    }

    fn written(&self, bytes: &[u8]) -> String {
        match self.auth.encoding.unwrap_or_default() {
            HmacEncoding::Hex => hex(bytes),
            HmacEncoding::Base64 => STANDARD.encode(bytes),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
