//! Calls over HTTP, signed with the key of the connection string, or with a token of the host's identity.

use std::sync::Arc;
use std::time::Duration;

use seamless_core::{Clock, Effect, Error, ErrorKind, Result, Secret};
use seamless_http::{HttpClient, HttpSettings, Request, Response};

use crate::access::ConnectionString;
use crate::failure;
use crate::identity::Tokens;
use crate::manage::atom::Element;

/// How long a signature is good for.
const SIGNATURE_LIFETIME: Duration = Duration::from_secs(1_200);
/// The port on which emulators speak HTTP unless they are told otherwise.
const PORT_PLAIN: u16 = 5300;
/// Largest answer: a page of descriptions, or a message of the Premium tier.
const ANSWER_BYTES_MAX: usize = 4 << 20;

pub(crate) struct Rest {
    http: HttpClient,
    access: ConnectionString,
    /// Who we are, where there is no key.
    tokens: Option<Tokens>,
    clock: Arc<dyn Clock>,
}

impl Rest {
    pub(crate) fn new(
        access: ConnectionString,
        tokens: Option<Tokens>,
        extra_roots: Vec<Vec<u8>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Rest> {
        let base = match (access.plain, access.port) {
            (true, port) => format!("http://{}:{}", access.host, port.unwrap_or(PORT_PLAIN)),
            (false, Some(port)) => format!("https://{}:{port}", access.host),
            (false, None) => format!("https://{}", access.host),
        };
        let settings = HttpSettings {
            // Whoever writes the connection string names the host, and a namespace may well have a private endpoint; TLS proves who it is.
            allow_private_network: true,
            total_timeout: Duration::from_secs(90),
            body_bytes_max: ANSWER_BYTES_MAX,
            concurrency_per_endpoint: 16,
            extra_roots,
            ..HttpSettings::new(base)
        };
        Ok(Rest {
            http: HttpClient::new(settings, clock.clone())?,
            access,
            tokens,
            clock,
        })
    }

    /// Makes a call with a signature or token of our own; any status is an answer.
    pub(crate) async fn call(&self, request: Request) -> Result<Response> {
        let token = match &self.tokens {
            Some(tokens) => Secret::new(format!("Bearer {}", tokens.token().await?.text.expose())),
            None => {
                let until = self.clock.now().plus(SIGNATURE_LIFETIME).0 / 1_000_000;
                let audience = format!("https://{}/", self.access.host);
                Secret::new(self.access.sign(&audience, until)?)
            }
        };
        self.send(request.secret_header("authorization", &token)).await
    }

    /// Makes a call that is signed already.
    pub(crate) async fn send(&self, request: Request) -> Result<Response> {
        self.http.send(request).await
    }
}

/// An answer that is not a success, as an error.
pub(crate) fn problem(what: &str, status: u16, body: &[u8]) -> Error {
    let detail = detail(body);
    let says = |words: &[&str]| {
        let lower = detail.to_lowercase();
        words.iter().any(|word| lower.contains(word))
    };
    let condition = match status {
        401 => "amqp:unauthorized-access",
        404 | 410 => "amqp:not-found",
        413 => "amqp:link:message-size-exceeded",
        403 if says(&["disabled"]) => "com.microsoft:entity-disabled",
        403 if says(&["quota"]) => "amqp:resource-limit-exceeded",
        403 if says(&["too large", "size", "bytes"]) => "amqp:link:message-size-exceeded",
        403 => "amqp:unauthorized-access",
        429 => "com.microsoft:server-busy",
        503 if says(&["busy", "throttl", "50009", "50004"]) => "com.microsoft:server-busy",
        500..=599 => "amqp:internal-error",
        _ => "",
    };
    let error = if condition.is_empty() {
        Error::new(
            ErrorKind::Refused,
            format!("service bus, {what}: the call was refused"),
        )
        .with("answer", &detail)
    } else {
        failure::refused(what, condition, &detail)
    };
    let effect = if status >= 500 {
        Effect::Unknown
    } else {
        Effect::NotApplied
    };
    error.with("status", status).effect(effect)
}

/// The sentence inside `<Error><Code>…</Code><Detail>…</Detail></Error>`.
fn detail(body: &[u8]) -> String {
    let parsed = Element::parse(body).ok();
    let found = parsed.as_ref().and_then(|root| root.get("Detail"));
    let plain = String::from_utf8_lossy(body);
    found
        .unwrap_or(if parsed.is_some() { "" } else { &plain })
        .chars()
        .take(200)
        .collect()
}
