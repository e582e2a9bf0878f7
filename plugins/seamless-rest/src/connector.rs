//! One open REST system: sends calls with credentials, and answers what it can do.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::Offset;
use seamless_core::{Capabilities, Error, ErrorKind, ExternalKey, OpenContext, Result, Secret, SystemId};
use seamless_http::{HttpClient, Request};

use crate::answer::{Answer, Purpose};
use crate::call::{Call, Payload};
use crate::manifest::{Auth, AuthKind, CapabilitySpec, Entity, ExternalKeySpec, Manifest, Method, PageKind};
use crate::settings::Settings;
use crate::stamp::parse_offset;

/// Source and target of one system share it, and with it one client and one budget.
pub(crate) struct Connector {
    pub(crate) system: SystemId,
    pub(crate) manifest: Manifest,
    http: HttpClient,
    credentials: Credentials,
}

enum Credentials {
    None,
    Header(String, Secret),
    Query(String, Secret),
}

impl Connector {
    /// Reads the manifest and makes the client. No call.
    pub(crate) fn open(ctx: &OpenContext) -> Result<Connector> {
        let settings = Settings::parse(&ctx.settings)?;
        let manifest = settings.load()?;
        let http = HttpClient::new(settings.http(&manifest)?, Arc::clone(&ctx.clock))?;
        let credentials = Credentials::new(&manifest.auth, ctx)?;
        Ok(Connector {
            system: ctx.system.clone(),
            manifest,
            http,
            credentials,
        })
    }

    /// The description of a native entity.
    pub(crate) fn entity(&self, name: &str) -> Result<&Entity> {
        self.manifest.entities.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.manifest.entities.keys().map(String::as_str).collect();
            Error::config(format!(
                "the manifest has no entity '{name}'{}",
                crate::manifest::hint(name, &known)
            ))
            .with("system", &self.system)
        })
    }

    /// What the system can do for an entity.
    pub(crate) fn capabilities(&self, name: &str) -> Capabilities {
        let Some(entity) = self.manifest.entities.get(name) else {
            return Capabilities::default();
        };
        let weakest = Capabilities::default();
        let (own, all) = (&entity.capabilities, &self.manifest.capabilities);
        let secs = |pick: fn(&CapabilitySpec) -> Option<u64>, default: Duration| {
            pick(own).or(pick(all)).map_or(default, Duration::from_secs)
        };
        let granularity = own
            .granularity_ms
            .or(all.granularity_ms)
            .map(Duration::from_millis);
        let unit = entity.stamp_format.unit();
        let asked_in = entity
            .list
            .since
            .as_ref()
            .and_then(|since| since.format.as_ref())
            .map_or(unit, |format| format.unit());
        Capabilities {
            incremental: entity.list.since.is_some(),
            cursor_granularity: granularity
                .unwrap_or(weakest.cursor_granularity)
                .max(unit)
                .max(asked_in),
            cursor_overlap: secs(|spec| spec.overlap_secs, weakest.cursor_overlap),
            external_key: match own.external_key.or(all.external_key) {
                Some(ExternalKeySpec::Unique) => ExternalKey::Unique,
                Some(ExternalKeySpec::Searchable) => ExternalKey::Searchable,
                Some(ExternalKeySpec::None) | None => ExternalKey::None,
            },
            compare_and_set: entity
                .update
                .as_ref()
                .is_some_and(|update| update.expects_version()),
            ascending_ids: entity.above.is_some(),
            find_batch_max: entity.find.as_ref().map_or(1, |find| find.values_max),
            write_concurrency: self.manifest.limits.concurrency,
            settle_after: secs(|spec| spec.settle_after_secs, weakest.settle_after),
            search_lag_max: secs(|spec| spec.search_lag_secs, weakest.search_lag_max),
        }
    }

    /// Makes a reading call.
    pub(crate) async fn read(&self, entity: &str, call: Call, send_by: Option<Duration>) -> Result<Answer> {
        self.send(entity, call, Purpose::Read, send_by).await
    }

    /// Makes a writing call; it must not be sent after `send_by`.
    pub(crate) async fn write(&self, entity: &str, call: Call, send_by: Duration) -> Result<Answer> {
        self.send(entity, call, Purpose::Write, Some(send_by)).await
    }

    async fn send(
        &self,
        entity: &str,
        call: Call,
        purpose: Purpose,
        send_by: Option<Duration>,
    ) -> Result<Answer> {
        let named = |error: Error| {
            if error.context("entity").is_some() {
                error
            } else {
                error.with("system", &self.system).with("entity", entity)
            }
        };
        // The client blanks out what it sent as JSON or query; it cannot see through a form.
        let may_quote = !matches!(call.body, Some(Payload::Form(_)));
        let mut request = self.request(call).map_err(named)?.endpoint(entity);
        if let Some(send_by) = send_by {
            request = request.send_by(send_by);
        }
        if purpose == Purpose::Write {
            request = request.writes();
        }
        let response = self.http.send(request).await.map_err(named)?;
        Answer::judge(&self.manifest.errors, purpose, may_quote, response).map_err(named)
    }

    fn request(&self, call: Call) -> Result<Request> {
        let system = &self.manifest.system;
        let path = if call.is_next_url {
            self.http.same_origin(&call.path)?
        } else {
            call.path
        };
        let mut request = match call.method {
            Method::Get => Request::get(path),
            Method::Post => Request::post(path),
            Method::Put => Request::put(path),
            Method::Patch => Request::patch(path),
            Method::Delete => Request::delete(path),
        };
        request = request.header("accept", "application/json");
        for (name, value) in &system.headers {
            request = request.header(name, value);
        }
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        // A next URL carries its own parameters, the fixed ones among them.
        let fixed = system
            .query
            .iter()
            .filter(|_| !call.is_next_url)
            .map(|(name, value)| (name.clone(), value.clone()));
        for (name, value) in fixed.chain(call.query) {
            request = request.query(name, value);
        }
        request = match &self.credentials {
            Credentials::None => request,
            Credentials::Header(name, secret) => request.secret_header(name, secret),
            Credentials::Query(name, secret) => request.query(name, secret.expose()),
        };
        Ok(match call.body {
            None => request,
            Some(Payload::Json(json)) => request.json(&json),
            Some(Payload::Form(pairs)) => {
                request.body("application/x-www-form-urlencoded", form_encoded(&pairs))
            }
        })
    }

    /// Path and query of a next-page URL, which must be of our own origin. The key is taken out: tokens are kept on disk.
    pub(crate) fn next_url(&self, list_path: &str, url: &str) -> Result<String> {
        // A bare query continues the list's own path.
        let relative = if url.starts_with('?') {
            format!("{}{url}", list_path.trim_start_matches('/'))
        } else {
            url.to_owned()
        };
        let absolute = self.http.same_origin(&relative)?;
        let absolute = absolute.split('#').next().unwrap_or_default();
        let rest = absolute.split_once("://").map_or(absolute, |(_, rest)| rest);
        let rest = rest.find('/').map_or("/", |slash| &rest[slash..]);
        let (Credentials::Query(key, _), Some((path, query))) = (&self.credentials, rest.split_once('?'))
        else {
            return Ok(rest.to_owned());
        };
        let is_key = |pair: &&str| {
            pair.split('=')
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(key))
        };
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
        Ok(if kept.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", kept.join("&"))
        })
    }
}

impl Credentials {
    fn new(auth: &Auth, ctx: &OpenContext) -> Result<Credentials> {
        let secret = |name: &str| {
            ctx.secrets
                .get(name)
                .filter(|secret| !secret.expose().is_empty())
                .ok_or_else(|| {
                    let message =
                        format!("the secret '{name}' is missing, which the manifest's [auth] needs");
                    Error::new(ErrorKind::Config, message)
                        .with("system", &ctx.system)
                        .with("setting", name)
                })
        };
        let authorization = |value: String| Credentials::Header("authorization".into(), Secret::new(value));
        Ok(match auth.kind {
            AuthKind::None => Credentials::None,
            AuthKind::Bearer => authorization(format!("Bearer {}", secret("token")?.expose())),
            AuthKind::Basic => {
                // A user name is no secret to everybody: it may stand in the settings.
                let user = match ctx.settings.get("username").and_then(serde_json::Value::as_str) {
                    Some(user) => user,
                    None => secret("username")?.expose(),
                };
                let pair = format!("{user}:{}", secret("password")?.expose());
                authorization(format!("Basic {}", STANDARD.encode(pair)))
            }
            AuthKind::ApiKey => {
                let key = secret("api_key")?.expose();
                match (&auth.header, &auth.query) {
                    (Some(header), _) => {
                        let prefix = auth.prefix.as_deref().unwrap_or_default();
                        Credentials::Header(header.clone(), Secret::new(format!("{prefix}{key}")))
                    }
                    (None, Some(query)) => Credentials::Query(query.clone(), Secret::new(key)),
                    (None, None) => {
                        return Err(Error::config(
                            "api_key needs 'header' or 'query' in the manifest's [auth]",
                        ));
                    }
                }
            }
        })
    }
}

impl Entity {
    /// Offset of stamps that name none; checked when the manifest was read.
    pub(crate) fn offset(&self) -> Offset {
        self.stamp_utc_offset
            .as_deref()
            .and_then(parse_offset)
            .unwrap_or(Offset::UTC)
    }
}

impl PageKind {
    /// Pages are counted: one past the last may be answered with 404.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, PageKind::Offset | PageKind::Page)
    }
}

/// `application/x-www-form-urlencoded`.
fn form_encoded(pairs: &[(String, String)]) -> Vec<u8> {
    let encoded: Vec<String> = pairs
        .iter()
        .map(|(name, value)| {
            format!(
                "{}={}",
                seamless_http::encode_segment(name),
                seamless_http::encode_segment(value)
            )
        })
        .collect();
    encoded.join("&").into_bytes()
}
