//! One open REST system: sends calls with credentials, and answers what it can do.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use seamless_core::{
    Capabilities, Clock, Error, ErrorKind, ExternalKey, OpenContext, Result, SystemId, Timestamp,
};
use seamless_http::{HttpClient, Request};

use crate::answer::{Answer, Purpose};
use crate::auth::{Credentials, Grip};
use crate::call::{Call, FORM, PLACE, Payload, SIZE, XML};
use crate::manifest::{AnswerFormat, CapabilitySpec, Entity, ExternalKeySpec, Manifest, Method, PageKind};
use crate::pace::{self, Pace};
use crate::settings::Settings;
use crate::stamp::{parse_offset, parse_zone};
use crate::trial::Trace;
use crate::webhook::Hearing;

/// A read that is throttled is made again this often, after pauses of at most this length.
const THROTTLED_MAX: u32 = 5;
const THROTTLED_PAUSE_MAX: Duration = Duration::from_secs(20);
/// Where the system names no pause; longer each time.
const THROTTLED_PAUSE: Duration = Duration::from_millis(250);
/// Overlap where stamps follow a zone: longer than the hour that its clocks are set back by.
const HOUR_TWICE: Duration = Duration::from_secs(3_900);
/// Values looked for in one reading of a whole list.
const SCAN_VALUES_MAX: usize = 500;

/// Source and target of one system share it, and with it one client and one budget.
pub(crate) struct Connector {
    pub(crate) system: SystemId,
    pub(crate) manifest: Manifest,
    http: Arc<HttpClient>,
    clock: Arc<dyn Clock>,
    credentials: Credentials,
    pace: Pace,
    pub(crate) hearing: Hearing,
    /// What passes over the wire, while an operation is being tried.
    pub(crate) trace: Option<Trace>,
}

impl Connector {
    /// Reads the manifest and makes the client. No call.
    pub(crate) fn open(ctx: &OpenContext) -> Result<Connector> {
        let settings = Settings::parse(&ctx.settings)?;
        let manifest = settings.load()?;
        let http = Arc::new(HttpClient::over(
            ctx.network.clone(),
            settings.http(&manifest)?,
            Arc::clone(&ctx.clock),
        )?);
        let credentials = Credentials::new(&manifest, &settings, ctx, &http)?;
        let webhook_secrets = ["webhook_secret", "webhook_secret_previous"]
            .iter()
            .filter_map(|name| ctx.secrets.get(*name).cloned())
            .filter(|secret| !secret.expose().is_empty())
            .collect();
        Ok(Connector {
            system: ctx.system.clone(),
            manifest,
            http,
            clock: Arc::clone(&ctx.clock),
            credentials,
            pace: Pace::default(),
            hearing: Hearing::new(webhook_secrets, settings.webhook_url),
            trace: None,
        })
    }

    /// The same, and notes every call.
    pub(crate) fn open_traced(ctx: &OpenContext) -> Result<Connector> {
        let mut connector = Connector::open(ctx)?;
        let settings = Settings::parse(&ctx.settings)?;
        let base_url = settings.http(&connector.manifest)?.base_url;
        connector.trace = Some(Trace::new(&base_url, ctx.secrets.values().cloned()));
        Ok(connector)
    }

    /// Notes what was made of an answer, while an operation is being tried.
    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.told(&text());
        }
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
        Capabilities {
            incremental: entity.is_incremental(),
            cursor_granularity: self.granularity(entity),
            // Where clocks are set back, an hour of stamps comes twice.
            cursor_overlap: secs(|spec| spec.overlap_secs, weakest.cursor_overlap).max(
                if entity.stamp_zone.is_some() {
                    HOUR_TWICE
                } else {
                    Duration::ZERO
                },
            ),
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
            omits_empty: own.omits_empty.or(all.omits_empty).unwrap_or(weakest.omits_empty),
            find_batch_max: entity.find.as_ref().map_or(1, |find| {
                if find.scan {
                    SCAN_VALUES_MAX
                } else {
                    find.values_max
                }
            }),
            write_concurrency: self.manifest.limits.concurrency,
            settle_after: secs(|spec| spec.settle_after_secs, weakest.settle_after),
            search_lag_max: secs(|spec| spec.search_lag_secs, weakest.search_lag_max),
        }
    }

    /// The resolution of stamps: as declared, and never finer than the forms in which they are read and asked for.
    pub(crate) fn granularity(&self, entity: &Entity) -> Duration {
        let unit = entity.stamp_format.unit();
        let asked = entity.changes.iter().chain([&entity.list]);
        let asked_in = asked
            .filter(|list| list.asks_since())
            .map(|list| list.stamp_format(entity).unit())
            .max()
            .unwrap_or(unit);
        let declared = entity
            .capabilities
            .granularity_ms
            .or(self.manifest.capabilities.granularity_ms)
            .map(Duration::from_millis);
        declared
            .unwrap_or(Capabilities::default().cursor_granularity)
            .max(unit)
            .max(asked_in)
    }

    /// The host's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The host's monotonic clock.
    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Makes a reading call.
    pub(crate) async fn read(&self, entity: &str, call: Call, send_by: Option<Duration>) -> Result<Answer> {
        self.send(entity, call, Purpose::Read, send_by).await
    }

    /// Makes a writing call; it must not be sent after `send_by`.
    pub(crate) async fn write(
        &self,
        entity: &str,
        call: Call,
        purpose: Purpose,
        send_by: Duration,
    ) -> Result<Answer> {
        self.send(entity, call, purpose, Some(send_by)).await
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
        // The client blanks out what it sent as JSON or query; it cannot see through a form or a text.
        let may_quote = !matches!(call.body, Some(Payload::Form(_) | Payload::Text { .. }));
        let (mut is_again, mut throttled) = (false, 0);
        loop {
            let grip = self.credentials.grip().await.map_err(named)?;
            self.pace.wait(&*self.clock, send_by).await.map_err(named)?;
            let mut request = self.request(&call, &grip).map_err(named)?.endpoint(entity);
            if let Some(send_by) = send_by {
                request = request.send_by(send_by);
            }
            if purpose != Purpose::Read {
                request = request.writes();
            }
            let response = self.http.send(request).await.map_err(named)?;
            self.pace.note(&self.manifest.limits, &response, &*self.clock);
            let pause = pace::asked(&self.manifest.limits, &response);
            if let Some(trace) = &self.trace {
                let fixed = self.manifest.system.headers.iter();
                trace.exchange(&call, fixed, self.credentials.shown(), &response);
            }
            let format = self.manifest.system.format;
            self.tell(|| Answer::reason(&self.manifest.errors, format, &response));
            let answer = Answer::judge(&self.manifest.errors, format, purpose, may_quote, response);
            match answer {
                // Refused before anything happened, so that even a write may be made again; once, and only with a new token.
                Err(error)
                    if error.kind == ErrorKind::Auth
                        && !is_again
                        && self.credentials.refused(&grip).await =>
                {
                    self.tell(|| "signs in anew and makes the call once more".to_owned());
                    is_again = true;
                }
                // Not a failure but the pace of the system. A read may simply be made later; only the engine may do so with a write.
                Err(error)
                    if error.kind == ErrorKind::RateLimited
                        && purpose == Purpose::Read
                        && throttled < THROTTLED_MAX
                        && pause.is_none_or(|pause| pause <= THROTTLED_PAUSE_MAX) =>
                {
                    let pause = pause.unwrap_or(THROTTLED_PAUSE * 2_u32.pow(throttled));
                    throttled += 1;
                    self.tell(|| format!("throttled; made again after {} s", pause.as_secs_f32()));
                    self.clock.sleep(pause).await;
                }
                Err(error) if error.kind == ErrorKind::RateLimited && pause.is_some() => {
                    return Err(named(error.retry_later(pause)));
                }
                answer => return answer.map_err(named),
            }
        }
    }

    fn request(&self, call: &Call, grip: &Grip) -> Result<Request> {
        let system = &self.manifest.system;
        let path = if call.is_next_url {
            self.http.same_origin(&call.path)?
        } else {
            call.path.clone()
        };
        let mut request = match call.method {
            Method::Get => Request::get(path),
            Method::Post => Request::post(path),
            Method::Put => Request::put(path),
            Method::Patch => Request::patch(path),
            Method::Delete => Request::delete(path),
        };
        request = request.header(
            "accept",
            match system.format {
                AnswerFormat::Json => "application/json",
                AnswerFormat::Xml => XML,
            },
        );
        // A next URL carries its own parameters, the fixed ones among them.
        let fixed = system
            .query
            .iter()
            .filter(|_| !call.is_next_url)
            .map(|(name, value)| (name.clone(), value.clone()));
        for (name, value) in fixed.chain(call.query.iter().cloned()) {
            request = request.query(name, value);
        }
        request = match &call.body {
            None => request,
            Some(Payload::Json(json)) => request.json(json),
            Some(Payload::Form(pairs)) => request.body(FORM, form_encoded(pairs)),
            Some(Payload::Text { content_type, text }) => request.body(content_type, text.clone()),
        };
        // After the body, so that a manifest can name another type of JSON. A type without a body would only confuse.
        for (name, value) in system
            .headers
            .iter()
            .chain(call.headers.iter().map(|(name, value)| (name, value)))
        {
            if call.body.is_some() || !name.eq_ignore_ascii_case("content-type") {
                request = request.header(name, value);
            }
        }
        self.credentials.put(request, grip, &self.http, &*self.clock)
    }

    /// Path and query of a next-page URL, which must be of our own origin. The key is taken out: tokens are kept on disk.
    /// `ignore_host`: a system behind a proxy may know itself by another name, so only path and query count; they are asked of our
    /// own origin in any case.
    pub(crate) fn next_url(&self, list_path: &str, url: &str, ignore_host: bool) -> Result<String> {
        let url = match url.split_once("://") {
            Some((_, rest)) if ignore_host => rest.find('/').map_or("/", |slash| &rest[slash..]),
            _ => url,
        };
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
        let (Some(key), Some((path, query))) = (self.credentials.secret_parameter(), rest.split_once('?'))
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

impl Entity {
    /// Zone of stamps that name none; checked when the manifest was read.
    pub(crate) fn zone(&self) -> TimeZone {
        let named = self.stamp_zone.as_deref().and_then(parse_zone);
        let offset = self.stamp_utc_offset.as_deref().and_then(parse_offset);
        named
            .or_else(|| offset.map(TimeZone::fixed))
            .unwrap_or(TimeZone::UTC)
    }
}

impl PageKind {
    /// Pages are counted: one past the last may be answered with 404.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, PageKind::Offset | PageKind::Page)
    }

    /// What the request may name, instead of a parameter for it.
    pub(crate) fn placeholders(self) -> impl Iterator<Item = &'static str> {
        [PLACE, SIZE].into_iter().filter(move |_| self.is_counted())
    }
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn form_encoded(pairs: &[(String, String)]) -> Vec<u8> {
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
