use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use seamless_core::{Clock, Effect, Error, ErrorKind, Network, Result, WireCall};

use crate::egress::{self, PublicOnly};
use crate::limits::Limits;
use crate::{HttpSettings, Request, Response};

/// A client for one origin. Cheap to share behind an `Arc`; connections are pooled and reused.
pub struct HttpClient {
    wire: Wire,
    base: Url,
    settings: HttpSettings,
    clock: Arc<dyn Clock>,
    limits: Limits,
    calls: AtomicU64,
}

/// What carries the calls.
enum Wire {
    Own(Client),
    Given(Arc<dyn Network>),
}

/// Status, headers and body of an answer.
type Answer = (u16, HeaderMap, Vec<u8>);

impl HttpClient {
    /// Checks the settings and makes the client. No network.
    pub fn new(settings: HttpSettings, clock: Arc<dyn Clock>) -> Result<HttpClient> {
        HttpClient::over(None, settings, clock)
    }

    /// The same over a given network ([`seamless_core::OpenContext::network`]), where there is one.
    pub fn over(
        network: Option<Arc<dyn Network>>,
        settings: HttpSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<HttpClient> {
        let base = settings.validate()?;
        let wire = match network {
            Some(network) => Wire::Given(network),
            None => Wire::Own(own_client(&settings, &base)?),
        };
        let limits = Limits::new(settings.concurrency_per_endpoint, settings.requests_per_second);
        Ok(HttpClient {
            wire,
            base,
            settings,
            clock,
            limits,
            calls: AtomicU64::new(0),
        })
    }

    /// Makes the call. `Ok` for any HTTP status; errors are transport failures, and say whether the call may have taken effect.
    pub async fn send(&self, request: Request) -> Result<Response> {
        request.check()?;
        let url = self.url(&request)?;
        let place = Place {
            method: request.method.to_string(),
            url: without_query(&url),
        };
        let permit = self
            .limits
            .enter(&request.endpoint, &*self.clock, request.send_by)
            .await?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let failure = Failure {
            place,
            writes: request.writes,
            has_body: request.body.is_some(),
            progress: Arc::default(),
        };
        let (status, headers, body) = match &self.wire {
            Wire::Own(client) => self.exchange(client, &request, url, &failure).await?,
            Wire::Given(network) => self.exchange_over(&**network, &request, url, &failure).await?,
        };
        // The slot counts as taken until the whole answer is here.
        drop(permit);
        Ok(Response {
            writes: request.writes,
            sent: request.json,
            sent_query: request.query,
            ..Response::new(status, headers, body)
        })
    }

    async fn exchange(
        &self,
        client: &Client,
        request: &Request,
        url: Url,
        failure: &Failure,
    ) -> Result<Answer> {
        let mut call = client
            .request(request.method.clone(), url)
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            call = call.header(CONTENT_LENGTH, body.len());
            call = call.body(checked_body(
                body.clone(),
                failure.progress.clone(),
                self.clock.clone(),
                request.send_by,
            ));
        }
        let mut answer = call
            .send()
            .await
            .map_err(|e| failure.transport(e, &self.base, &self.settings))?;
        let mut body = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() <= self.settings.body_bytes_max => {
                    body.extend_from_slice(&chunk)
                }
                Ok(Some(_)) => return Err(failure.too_large(self.settings.body_bytes_max)),
                Err(e) => return Err(failure.transport(e, &self.base, &self.settings)),
            }
        }
        let headers = std::mem::take(answer.headers_mut());
        Ok((answer.status().as_u16(), headers, body))
    }

    async fn exchange_over(
        &self,
        network: &dyn Network,
        request: &Request,
        url: Url,
        failure: &Failure,
    ) -> Result<Answer> {
        let host = self.base.host_str().unwrap_or_default();
        if !network.connect(url.as_str()).await {
            let refused = Error::unavailable(format!("cannot connect to {host}"));
            return Err(failure.located(refused.effect(Effect::NotApplied)));
        }
        if request.send_by.is_some_and(|by| self.clock.monotonic() > by) {
            return Err(failure.located(Error::late()));
        }
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let call = WireCall {
            method: request.method.to_string(),
            url: url.into(),
            headers: request.headers.iter().filter_map(text).collect(),
            body: request.body.clone().unwrap_or_default(),
        };
        let Some(answer) = network.exchange(call).await else {
            let broken = format!("the connection to {host} broke before the answer was complete");
            return Err(failure.located(Error::unavailable(broken).effect(failure.effect_once_sent())));
        };
        if answer.body.len() > self.settings.body_bytes_max {
            return Err(failure.too_large(self.settings.body_bytes_max));
        }
        let known = |(name, value): (String, String)| {
            Some((
                HeaderName::try_from(name).ok()?,
                HeaderValue::try_from(value).ok()?,
            ))
        };
        let headers = answer.headers.into_iter().filter_map(known).collect();
        Ok((answer.status, headers, answer.body))
    }

    /// The absolute form of a URL that a server handed out (a next page), if it is of our own origin.
    /// A relative one is read as RFC 3986 says, below the base URL. Anything foreign is `Protocol`: credentials would go there.
    pub fn same_origin(&self, url: &str) -> Result<String> {
        let mut base = self.base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", self.base.path()));
        }
        let joined = base
            .join(url)
            .map_err(|_| unsent("the server handed out a url that cannot be read"))?;
        self.check_origin(&joined)?;
        Ok(joined.into())
    }

    /// Where a request will go, exactly as it will be written on the wire: for signatures.
    pub fn target(&self, request: &Request) -> Result<Target> {
        let url = self.url(request)?;
        let host = url.host_str().unwrap_or_default();
        Ok(Target {
            method: request.method.to_string(),
            host: url
                .port()
                .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            path: url.path().to_owned(),
            query: url.query().unwrap_or_default().to_owned(),
        })
    }

    /// Calls sent so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn url(&self, request: &Request) -> Result<Url> {
        let path = &request.path;
        let mut url = if path.starts_with("https://") || path.starts_with("http://") {
            let url = Url::parse(path).map_err(|_| unsent("a url to call cannot be read"))?;
            self.check_origin(&url)?;
            url
        } else {
            let plain = path.split(['?', '#']).next().unwrap_or_default();
            if plain.split(['/', '\\']).any(is_dot_segment) {
                return Err(Error::invalid(
                    "a path to call contains a dot segment; an id cannot be '.' or '..'",
                ));
            }
            let base = self.base.as_str().trim_end_matches('/');
            let joined = match path.trim_start_matches('/') {
                "" => self.base.as_str().to_owned(),
                query if query.starts_with('?') => format!("{base}{query}"),
                path => format!("{base}/{path}"),
            };
            Url::parse(&joined)
                .map_err(|_| Error::config("a path to call cannot be read as part of a url"))?
        };
        url.set_fragment(None);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }

    fn check_origin(&self, url: &Url) -> Result<()> {
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if url.origin() == self.base.origin() && !has_credentials {
            return Ok(());
        }
        let foreign = origin(url);
        Err(unsent(format!(
            "the server points to {foreign}, which is not the configured origin; not followed"
        ))
        .with("origin", origin(&self.base)))
    }
}

/// Connections of the machine's own.
fn own_client(settings: &HttpSettings, base: &Url) -> Result<Client> {
    // Err means that a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
        .timeout(settings.total_timeout)
        // Shorter than servers keep idle connections: a write on a connection that is just being closed has an unknown outcome.
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(&settings.user_agent);
    if !settings.allow_private_network {
        builder = builder.dns_resolver(Arc::new(PublicOnly));
    }
    if base.scheme() == "http" {
        // One origin, no redirects: TLS cannot happen, so no root certificates are loaded.
        builder = builder.tls_certs_only([]);
    } else {
        for der in &settings.extra_roots {
            let certificate = reqwest::Certificate::from_der(der).map_err(|error| {
                Error::config("a certificate that is to be trusted cannot be read").because(error)
            })?;
            builder = builder.tls_certs_merge([certificate]);
        }
    }
    builder
        .build()
        .map_err(|e| Error::config("the http client cannot be set up").because(e.without_url()))
}

/// A call that is not sent because of what the server said before.
fn unsent(message: impl Into<String>) -> Error {
    Error::protocol(message).effect(Effect::NotApplied)
}

/// Where a request goes. No `Debug`: the query may hold personal data.
pub struct Target {
    /// `GET`, `POST`, …
    pub method: String,
    /// Host, with the port unless it is the scheme's own.
    pub host: String,
    /// Encoded path, the base URL's included.
    pub path: String,
    /// Encoded query, without its `?`.
    pub query: String,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http client for {}", origin(&self.base))
    }
}

/// How far a call got: decides between "never sent" and "outcome unknown".
#[derive(Default)]
struct Progress(AtomicU8);

const SENT: u8 = 1;
const LATE: u8 = 2;

impl Progress {
    fn set(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A body that is produced when the open connection asks for it: the latest moment at which a call can still be kept back.
/// Without its body no server can take the call as complete.
fn checked_body(
    bytes: Vec<u8>,
    progress: Arc<Progress>,
    clock: Arc<dyn Clock>,
    send_by: Option<Duration>,
) -> reqwest::Body {
    reqwest::Body::wrap_stream(futures::stream::once(async move {
        if send_by.is_some_and(|by| clock.monotonic() > by) {
            progress.set(LATE);
            return Err(std::io::Error::other("too late to send"));
        }
        progress.set(SENT);
        Ok(bytes)
    }))
}

/// Where a call went; its URL without the query.
struct Place {
    method: String,
    url: String,
}

/// Turns a transport failure into an error with its effect.
struct Failure {
    place: Place,
    writes: bool,
    has_body: bool,
    progress: Arc<Progress>,
}

impl Failure {
    fn transport(&self, error: reqwest::Error, base: &Url, settings: &HttpSettings) -> Error {
        if self.progress.get() == LATE {
            return self.located(Error::late());
        }
        let error = error.without_url();
        let causes = causes(&error);
        let host = base.host_str().unwrap_or_default();
        if causes.iter().any(|e| e.is::<egress::Refused>()) {
            return self.located(egress::refused(host));
        }
        // A body that was never asked for means that the call was never sent; without a body only a failed connect proves it.
        let sent = if self.has_body {
            self.progress.get() == SENT
        } else {
            !error.is_connect()
        };
        let effect = if sent {
            self.effect_once_sent()
        } else {
            Effect::NotApplied
        };
        if error.is_builder() {
            return self.located(Error::new(
                ErrorKind::Config,
                "the call cannot be built; check url and headers",
            ));
        }
        if error.is_decode() && causes.iter().any(|cause| is_bad_data(*cause)) {
            return self.located(
                Error::protocol(format!("{host} sent a body that cannot be decompressed")).effect(effect),
            );
        }
        let cause = causes.last().map(|e| e.to_string()).unwrap_or_default();
        let message = if error.is_timeout() && !sent {
            format!(
                "no connection to {host} within {} s",
                settings.connect_timeout.as_secs_f32()
            )
        } else if error.is_timeout() {
            format!("{host} did not answer in time")
        } else if error.is_connect() {
            format!("cannot connect to {host}: {cause}")
        } else {
            format!("the connection to {host} broke before the answer was complete")
        };
        self.located(Error::unavailable(message).effect(effect).because(error))
    }

    /// What a call that has been sent and not answered leaves behind.
    fn effect_once_sent(&self) -> Effect {
        if self.writes {
            Effect::Unknown
        } else {
            Effect::NotApplied
        }
    }

    fn too_large(&self, bytes_max: usize) -> Error {
        let effect = self.effect_once_sent();
        self.located(
            Error::new(
                ErrorKind::Limit,
                format!("the answer is larger than {bytes_max} bytes; reading stopped"),
            )
            .effect(effect),
        )
    }

    fn located(&self, error: Error) -> Error {
        error.with("call", format!("{} {}", self.place.method, self.place.url))
    }
}

fn causes(error: &reqwest::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    causes
}

/// The decompressor's complaint; a connection that breaks within a body is reported as a decoding error too, but without one.
fn is_bad_data(cause: &(dyn StdError + 'static)) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    cause
        .downcast_ref::<std::io::Error>()
        .is_some_and(|io| matches!(io.kind(), InvalidData | InvalidInput))
}

fn is_dot_segment(segment: &str) -> bool {
    matches!(
        segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
        "." | ".."
    )
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}
