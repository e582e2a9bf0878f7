//! Calls to Autotask: zone, credentials, queries. Knows no pipeline.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seamless_core::{Clock, Effect, Error, ErrorKind, OpenContext, Result, Timestamp};
use seamless_http::{HttpClient, Request, Response};
use serde_json::{Map, Value as Json, json};

use crate::config::{AutotaskSettings, Credentials};
use crate::countries::Countries;
use crate::error::parse_error;
use crate::metadata::FieldTypes;
use crate::udf_in::Verdicts;

/// Several wrong attempts lock the account, so that after a definite refusal nothing is asked for a while.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// One client for both the source and the target of a system: one budget, one zone.
pub(crate) struct Client {
    pub(crate) settings: AutotaskSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) countries: Countries,
    pub(crate) udf_in: Verdicts,
    pub(crate) types: tokio::sync::Mutex<BTreeMap<&'static str, Arc<FieldTypes>>>,
    credentials: Credentials,
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

/// A page of a query, ascending by id.
pub(crate) struct Rows {
    pub(crate) items: Vec<Map<String, Json>>,
    pub(crate) last_id: Option<i64>,
    /// There may be more behind `last_id`.
    pub(crate) more: bool,
    pub(crate) server_time: Option<Timestamp>,
}

impl Client {
    pub(crate) fn new(ctx: &OpenContext) -> Result<Client> {
        let settings = AutotaskSettings::parse(&ctx.settings)?;
        let credentials = Credentials::from_context(ctx, &settings)?;
        let discovery = HttpClient::new(settings.http(&settings.endpoint), ctx.clock.clone())?;
        Ok(Client {
            clock: ctx.clock.clone(),
            countries: Countries::default(),
            udf_in: Verdicts::default(),
            types: tokio::sync::Mutex::default(),
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
    pub(crate) async fn call(&self, request: impl Fn() -> Request) -> Result<Response> {
        self.check_not_refused()?;
        let first = self.zone(None).await?;
        let mut response = self.send(&first, request()).await?;
        if response.status == 401 {
            let second = self.zone(Some(first.generation)).await?;
            response = self.send(&second, request()).await?;
        }
        if response.status == 401 {
            *self.refused() = Some(self.clock.monotonic() + REFUSED_PAUSE);
        }
        if response.is_success() {
            Ok(response)
        } else {
            Err(parse_error(&response, self.clock.now()))
        }
    }

    /// A GET, answered with JSON.
    pub(crate) async fn get(&self, endpoint: &str, path: &str) -> Result<Json> {
        let answer = self
            .call(|| {
                Request::get(path)
                    .endpoint(endpoint)
                    .header("content-type", "application/json")
            })
            .await;
        answer.map_err(read_only)?.json()
    }

    /// One page of records that satisfy all conditions, with ids above `above`.
    ///
    /// Always by POST: a GET's length is limited. `nextPageUrl` is not followed: paging by id survives restarts, and no server-side
    /// page memory runs out. The rows are checked to be what paging by id needs.
    pub(crate) async fn query(
        &self,
        entity: &str,
        conditions: &[Json],
        above: Option<i64>,
        rows_max: usize,
    ) -> Result<Rows> {
        let mut items = conditions.to_vec();
        match above {
            Some(id) => items.push(json!({"op": "gt", "field": "id", "value": id})),
            // A filter is mandatory, and id 0 exists: the tenant's own company.
            None if items.is_empty() => items.push(json!({"op": "gte", "field": "id", "value": 0})),
            None => {}
        }
        let body = json!({"filter": [{"op": "and", "items": items}], "MaxRecords": rows_max});
        let path = format!("{entity}/query");
        let response = self
            .call(|| Request::post(&path).endpoint(entity).json(&body))
            .await
            .map_err(|e| in_entity(read_only(e), entity))?;
        let mut answer = response.json().map_err(|e| in_entity(e, entity))?;
        let Json::Array(rows) = answer["items"].take() else {
            return Err(in_entity(
                Error::protocol("autotask answered a query without 'items'"),
                entity,
            ));
        };
        let mut page = Rows {
            items: Vec::new(),
            last_id: above,
            more: false,
            server_time: response.server_time,
        };
        if rows.len() > rows_max {
            return Err(in_entity(
                Error::protocol("autotask sent more rows than a page may hold"),
                entity,
            ));
        }
        for row in rows {
            let Json::Object(item) = row else {
                return Err(in_entity(
                    Error::protocol("autotask sent a row that is not an object"),
                    entity,
                ));
            };
            let id = item.get("id").and_then(whole);
            if id.is_none() || id <= page.last_id {
                let text = "autotask sent rows that do not ascend by id from where the page starts; paging would not end";
                return Err(in_entity(Error::protocol(text), entity));
            }
            page.last_id = id;
            page.items.push(item);
        }
        // A server that caps pages below what was asked tells by its link; a full page may be followed by more in any case.
        let next_url = answer["pageDetails"]["nextPageUrl"].as_str();
        page.more = !page.items.is_empty() && (page.items.len() == rows_max || next_url.is_some());
        if let Some(url) = next_url {
            self.warn_of_foreign_page(url).await;
        }
        tracing::debug!(entity, rows = page.items.len(), more = page.more, "autotask page");
        Ok(page)
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
            _ => Arc::new(HttpClient::new(
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

    async fn send(&self, zone: &Zone, request: Request) -> Result<Response> {
        let credentials = &self.credentials;
        let request = request
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

    async fn warn_of_foreign_page(&self, url: &str) {
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
