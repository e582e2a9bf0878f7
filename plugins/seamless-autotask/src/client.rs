//! Calls to Autotask: zone, credentials, queries. Knows no pipeline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seamless_core::{Clock, Effect, Error, ErrorKind, Network, OpenContext, Result, Retry};
use seamless_http::{HttpClient, Request, Response};
use serde_json::Value as Json;

use crate::config::{AutotaskSettings, Credentials};
use crate::countries::Countries;
use crate::error::{HOURLY_PAUSE, Limit, limit_of, parse_error};
use crate::gate::{Gate, Purpose, THREADS_PAUSE, THRESHOLD};
use crate::metadata::Described;
use crate::needed::Needed;
use crate::people::People;
use crate::sweep::Sweeps;
use crate::udf_in::Verdicts;
use crate::webhooks::event::SeenEvents;

/// Several wrong attempts lock the account, so that after a definite refusal nothing is asked for a while.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// One client for both the source and the target of a system: one budget, one zone.
pub(crate) struct Client {
    pub(crate) settings: AutotaskSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) countries: Countries,
    pub(crate) udf_in: Verdicts,
    pub(crate) described: Described,
    pub(crate) people: People,
    pub(crate) needed: Needed,
    pub(crate) sweeps: Sweeps,
    pub(crate) seen_events: SeenEvents,
    pub(crate) gate: Gate,
    pub(crate) credentials: Credentials,
    network: Option<Arc<dyn Network>>,
    discovery: HttpClient,
    zone: tokio::sync::Mutex<Option<Zone>>,
    refused_until: Mutex<Option<Duration>>,
    warned_of_foreign_page: AtomicBool,
}

/// Where the tenant lives. The generation tells a caller whether somebody else has asked again since.
#[derive(Clone)]
struct Zone {
    generation: u64,
    base_url: String,
    http: Arc<HttpClient>,
}

impl Client {
    pub(crate) fn new(ctx: &OpenContext) -> Result<Client> {
        let settings = AutotaskSettings::parse(&ctx.settings)?;
        let credentials = Credentials::from_context(ctx, &settings)?;
        let discovery = HttpClient::over(
            ctx.network.clone(),
            settings.http(&settings.endpoint),
            ctx.clock.clone(),
        )?;
        Ok(Client {
            gate: Gate::new(
                ctx.clock.clone(),
                settings.concurrency_per_endpoint,
                settings.hourly_requests,
            ),
            clock: ctx.clock.clone(),
            network: ctx.network.clone(),
            countries: Countries::default(),
            udf_in: Verdicts::default(),
            described: Described::default(),
            people: People::default(),
            needed: Needed::default(),
            sweeps: Sweeps::default(),
            seen_events: SeenEvents::default(),
            credentials,
            discovery,
            zone: tokio::sync::Mutex::new(None),
            refused_until: Mutex::new(None),
            warned_of_foreign_page: AtomicBool::new(false),
            settings,
        })
    }

    /// Makes an authenticated call below `…/V1.0/`. Anything but a success is an error.
    ///
    /// A 401 may mean that the tenant was moved to another zone: the zone is asked for once more, and the call made once more. That is safe
    /// for writes too, because a 401 had no effect.
    pub(crate) async fn call(
        &self,
        purpose: Purpose<'_>,
        request: impl Fn() -> Request + Send + Sync,
    ) -> Result<Response> {
        let answer = match self.attempt(purpose, &request).await {
            // Thought to be full because of other people's calls, which were counted a while ago: look once before giving up.
            Err(error)
                if error.kind == ErrorKind::RateLimited && !purpose.writes && self.gate.may_be_wrong() =>
            {
                self.ask_for_total().await;
                self.attempt(purpose, &request).await
            }
            answer => answer,
        };
        if self.gate.asks_for_total() {
            self.ask_for_total().await;
        }
        answer
    }

    async fn attempt(
        &self,
        purpose: Purpose<'_>,
        request: &(impl Fn() -> Request + Send + Sync),
    ) -> Result<Response> {
        self.check_not_refused()?;
        let first = self.zone(None).await?;
        let mut response = self.send(&first, purpose, request()).await?;
        if response.status == 401 {
            let second = self.zone(Some(first.generation)).await?;
            response = self.send(&second, purpose, request()).await?;
        }
        if response.status == 401 {
            *self.refused() = Some(self.clock.monotonic() + REFUSED_PAUSE);
        }
        if response.is_success() {
            return Ok(response);
        }
        let error = parse_error(&response, self.clock.now());
        self.obey(&response, purpose, &error);
        Err(error)
    }

    /// What an answer asks for concerns all calls, not only the one that met it.
    fn obey(&self, response: &Response, purpose: Purpose<'_>, error: &Error) {
        let asked = match error.retry {
            Retry::Later { after } => after,
            Retry::Never => None,
        };
        match limit_of(error) {
            Some(Limit::Threads) => {
                let pause = asked.unwrap_or(THREADS_PAUSE);
                for endpoint in [Some(purpose.endpoint), purpose.also].into_iter().flatten() {
                    self.gate.hold(Some(endpoint), pause);
                }
            }
            Some(Limit::Hour) => {
                self.gate.exhausted();
                self.gate.hold(None, asked.unwrap_or(HOURLY_PAUSE));
            }
            None if error.kind == ErrorKind::RateLimited => {
                self.gate.hold(None, asked.unwrap_or(THREADS_PAUSE));
            }
            // "Come back in a minute" of a server that is down.
            None => {
                if let Some(pause) = response.retry_after(self.clock.now()) {
                    self.gate.hold(None, pause);
                }
            }
        }
    }

    /// Asks Autotask how many calls there were in the last hour. That it cannot be told is no reason to stop.
    async fn ask_for_total(&self) {
        let asked = async {
            let zone = self.zone(None).await?;
            let response = self
                .send(&zone, Purpose::read(THRESHOLD), Request::get(THRESHOLD))
                .await?;
            if !response.is_success() {
                let error = parse_error(&response, self.clock.now());
                self.obey(&response, Purpose::read(THRESHOLD), &error);
                return Err(error);
            }
            response.json()
        };
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "autotask did not say how many calls there were");
                return;
            }
        };
        let number = |name: &str| whole(&answer[name]).and_then(|number| u64::try_from(number).ok());
        if let Some(total) = number("currentTimeframeRequestCount") {
            let window = number("requestThresholdTimeframe").map(|minutes| Duration::from_secs(minutes * 60));
            self.gate.told(total, number("externalRequestThreshold"), window);
            tracing::debug!(total, "autotask's count of calls");
        }
    }

    /// A GET, answered with JSON.
    pub(crate) async fn get(&self, endpoint: &str, path: &str) -> Result<Json> {
        let request = || {
            Request::get(path)
                .endpoint(endpoint)
                .header("content-type", "application/json")
        };
        let answer = self.call(Purpose::read(endpoint), request).await;
        answer.map_err(read_only)?.json()
    }

    /// Asks for the zone again if nobody did since `stale`; the first call asks in any case.
    async fn zone(&self, stale: Option<u64>) -> Result<Zone> {
        // Held while asking, so that any number of callers ask once.
        let mut slot = self.zone.lock().await;
        let generation = match &*slot {
            Some(zone) if stale != Some(zone.generation) => return Ok(zone.clone()),
            Some(zone) => zone.generation + 1,
            None => 1,
        };
        let base_url = self.discover().await.map_err(|e| e.effect(Effect::NotApplied))?;
        let http = match &*slot {
            // The same place again: its connections and limits stay.
            Some(zone) if zone.base_url == base_url => zone.http.clone(),
            _ => Arc::new(HttpClient::over(
                self.network.clone(),
                self.settings.http(&base_url),
                self.clock.clone(),
            )?),
        };
        let zone = Zone {
            generation,
            base_url,
            http,
        };
        *slot = Some(zone.clone());
        Ok(zone)
    }

    /// Zone information needs no credentials, only the user's name. The version is pinned: the newest one listed has no such route.
    async fn discover(&self) -> Result<String> {
        let request = Request::get("atservicesrest/v1.0/zoneInformation")
            .query("user", self.credentials.username.expose())
            .endpoint("zone");
        let response = self.discovery.send(request).await?;
        if !response.is_success() {
            return Err(parse_error(&response, self.clock.now()).with("call", "zone information"));
        }
        let answer = response.json()?;
        let Some(url) = answer["url"].as_str().filter(|url| !url.is_empty()) else {
            return Err(Error::protocol("autotask's zone information holds no url"));
        };
        let base_url = version_url(url);
        let zone = self
            .settings
            .http(&base_url)
            .validate()
            .map_err(|e| e.with("call", "zone information"))?;
        let endpoint = self.settings.http(&self.settings.endpoint).validate()?;
        let (zone, endpoint) = (
            zone.host_str().unwrap_or_default(),
            endpoint.host_str().unwrap_or_default(),
        );
        // Credentials go to the zone: it must belong to whoever was configured. (A private network is the operator's own.)
        if !self.settings.allow_private_network && !same_domain(zone, endpoint) {
            let text = format!(
                "autotask's zone information points to {zone}, outside the domain of {endpoint}; not followed"
            );
            return Err(Error::protocol(text));
        }
        Ok(base_url)
    }

    async fn send(&self, zone: &Zone, purpose: Purpose<'_>, request: Request) -> Result<Response> {
        let _pass = self.gate.enter(purpose).await?;
        let credentials = &self.credentials;
        let request = request
            .endpoint(purpose.endpoint)
            .secret_header("ApiIntegrationCode", &credentials.integration_code)
            .secret_header("UserName", &credentials.username)
            .secret_header("Secret", &credentials.secret);
        zone.http.send(request).await
    }

    fn check_not_refused(&self) -> Result<()> {
        let mut refused = self.refused();
        match *refused {
            Some(until) if self.clock.monotonic() < until => Err(Error::new(
                ErrorKind::Auth,
                "autotask refused the credentials a moment ago; not asked again for a minute, because repeated attempts lock the account",
            )),
            _ => {
                *refused = None;
                Ok(())
            }
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Duration>> {
        self.refused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn warn_of_foreign_page(&self, url: &str) {
        let Some(zone) = self.zone.lock().await.clone() else {
            return;
        };
        if let Err(error) = zone.http.same_origin(url)
            && !self.warned_of_foreign_page.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "autotask names a next page elsewhere; pages are read by id, so it is not used");
        }
    }
}

/// Marks an error of a call that changes nothing.
pub(crate) fn read_only(error: Error) -> Error {
    error.effect(Effect::NotApplied)
}

pub(crate) fn in_entity(error: Error, entity: &str) -> Error {
    error.with("entity", entity)
}

/// A whole number, as number or text: `itemId` comes as either.
pub(crate) fn whole(json: &Json) -> Option<i64> {
    match json {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn version_url(zone_url: &str) -> String {
    let trimmed = zone_url.trim_end_matches('/');
    if trimmed.to_ascii_lowercase().ends_with("/v1.0") {
        trimmed.to_owned()
    } else {
        format!("{trimmed}/V1.0")
    }
}

/// Equal hosts, or siblings below one domain (`webservices.autotask.net`, `webservices2.autotask.net`).
fn same_domain(host: &str, configured: &str) -> bool {
    let (host, configured) = (host.to_ascii_lowercase(), configured.to_ascii_lowercase());
    let sibling = configured.split_once('.').is_some_and(|(_, domain)| {
        domain.contains('.') && host.split_once('.').is_some_and(|(_, own)| own == domain)
    });
    host == configured || sibling
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_urls_are_joined_whatever_their_slash() {
        for url in [
            "https://w2.autotask.net/ATServicesRest/",
            "https://w2.autotask.net/ATServicesRest",
        ] {
            assert_eq!(version_url(url), "https://w2.autotask.net/ATServicesRest/V1.0");
        }
        assert_eq!(
            version_url("https://x.net/atservicesrest/v1.0/"),
            "https://x.net/atservicesrest/v1.0"
        );
    }

    #[test]
    fn credentials_stay_in_the_configured_domain() {
        let cases = [
            ("webservices2.autotask.net", true),
            ("WEBSERVICES.autotask.net", true),
            ("webservices2.autotask.net.evil.org", false),
            ("evilautotask.net", false),
            ("autotask.net", false),
            ("evil.net", false),
        ];
        for (host, trusted) in cases {
            assert_eq!(same_domain(host, "webservices.autotask.net"), trusted, "{host}");
        }
        assert!(
            !same_domain("evil.net", "autotask.net"),
            "a top-level domain is nobody's"
        );
    }
}
