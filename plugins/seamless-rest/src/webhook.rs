//! Events that the system sends: are they its own, and which records are they about?

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::tz::TimeZone;
use seamless_core::{Error, ErrorKind, Nudge, RecordId, Result, Secret, Timestamp, Value, WebhookCall};
use serde_json::Value as Json;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::connector::Connector;
use crate::json_path::{dig, plain};
use crate::manifest::{Entity, HmacEncoding, Webhook, WebhookAlgorithm, WebhookEntity};
use crate::stamp::StampFormat;

/// Signed moments further away than this are refused: a call that somebody recorded cannot be played again later.
const AGE_MAX: Duration = Duration::from_secs(300);
/// Records named by one call.
const NUDGES_MAX: usize = 1_000;
/// Calls that are remembered. A call is good for five minutes; whoever has more of them loses nothing but a look too many.
const HEARD_MAX: usize = 10_000;

/// What is needed to tell events, beside the manifest.
#[derive(Default)]
pub(crate) struct Hearing {
    pub(crate) secrets: Vec<Secret>,
    /// Where the system believes to reach us.
    pub(crate) url: Option<String>,
    heard: Mutex<VecDeque<String>>,
}

impl Hearing {
    pub(crate) fn new(secrets: Vec<Secret>, url: Option<String>) -> Hearing {
        Hearing {
            secrets,
            url,
            heard: Mutex::default(),
        }
    }

    /// False when it has been heard already.
    fn is_new(&self, name: &str) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.iter().any(|known| known == name) {
            return false;
        }
        if heard.len() >= HEARD_MAX {
            heard.pop_front();
        }
        heard.push_back(name.to_owned());
        true
    }
}

impl Connector {
    /// The records that an authentic event is about.
    pub(crate) fn event(&self, call: &WebhookCall) -> Result<Vec<Nudge>> {
        let webhook = self.manifest.webhook.as_ref().ok_or_else(|| {
            Error::config("the manifest has no [webhook]: nobody knows how to tell this system's events")
        })?;
        let signature = webhook.verify(&self.hearing, call, self.now())?;
        let body: Json = serde_json::from_slice(&call.body)
            .map_err(|_| Error::protocol("the event's body is not readable as json"))?;
        let events = match dig(&body, &webhook.events) {
            Some(Json::Array(events)) => events.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => {
                let message = format!(
                    "the event has nothing at '{}'; see webhook.events",
                    webhook.events
                );
                return Err(Error::protocol(message));
            }
        };
        let mut nudges = Vec::new();
        for event in events.iter().take(NUDGES_MAX) {
            for (name, entity) in &self.manifest.entities {
                if let Some(spec) = entity.webhook.as_ref().filter(|spec| spec.is_about(event, call)) {
                    nudges.push(Nudge {
                        entity: name.clone(),
                        id: spec.record(entity, event)?,
                    });
                }
            }
        }
        // Last of all: what cannot be read may come again.
        let name = match &webhook.id_header {
            Some(header) => call.headers.get(&header.to_ascii_lowercase()),
            // Without a moment in it, two events that say the same have the same signature.
            None => webhook.timestamp_header.as_ref().map(|_| &signature),
        };
        if name.is_some_and(|name| !self.hearing.is_new(name)) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the event has been heard already",
            ));
        }
        Ok(nudges)
    }
}

impl Webhook {
    /// The signature that holds.
    fn verify(&self, hearing: &Hearing, call: &WebhookCall, now: Timestamp) -> Result<String> {
        let secrets = &hearing.secrets;
        if secrets.is_empty() {
            return Err(Error::config("no webhook_secret is configured for this system"));
        }
        let signs_url = self.sign.as_ref().is_some_and(|sign| sign.contains("{url}"));
        if signs_url && hearing.url.is_none() {
            return Err(Error::config(
                "the setting 'webhook_url' is missing: this system signs the address at which it reaches us",
            ));
        }
        let refused = || {
            Error::new(
                ErrorKind::Auth,
                "the event's signature is missing, or was not made with our secret",
            )
        };
        let header = |name: &str| call.headers.get(&name.to_ascii_lowercase());
        let value = header(&self.header).ok_or_else(refused)?;
        let timestamp = match &self.timestamp_header {
            Some(name) => {
                let text = header(name).ok_or_else(refused)?;
                part(text, self.timestamp_prefix.as_deref())
                    .next()
                    .ok_or_else(refused)?
            }
            None => "",
        };
        if self.timestamp_header.is_some() {
            let format = self.timestamp_format.as_ref().unwrap_or(&StampFormat::EpochSecs);
            let told = format
                .read(&Value::from(timestamp), &TimeZone::UTC)
                .ok()
                .flatten();
            let told = Timestamp(told.ok_or_else(refused)?.0);
            if now.since(told) > AGE_MAX || told.since(now) > AGE_MAX {
                let message = "the event is older than five minutes, or a clock is wrong";
                return Err(Error::new(ErrorKind::Auth, message));
            }
        }
        let signed = self.signed(&call.body, timestamp, hearing.url.as_deref().unwrap_or_default());
        let mut ours = None;
        // Every combination is tried, in the same time whatever the outcome.
        for claimed in part(value, self.prefix.as_deref()) {
            for secret in secrets {
                if self.matches(secret, &signed, claimed) {
                    ours = Some(claimed.to_owned());
                }
            }
        }
        ours.ok_or_else(refused)
    }

    fn signed(&self, body: &[u8], timestamp: &str, url: &str) -> Vec<u8> {
        // The host takes nothing but POST.
        let text = self
            .sign
            .as_deref()
            .unwrap_or("{body}")
            .replace("{timestamp}", timestamp)
            .replace("{method}", "POST")
            .replace("{url}", url);
        let Some((before, after)) = text.split_once("{body}") else {
            return text.into_bytes();
        };
        // Byte by byte: a body need not be UTF-8.
        [before.as_bytes(), body, after.as_bytes()].concat()
    }

    fn matches(&self, secret: &Secret, signed: &[u8], claimed: &str) -> bool {
        let key = secret.expose().as_bytes();
        if self.algorithm == WebhookAlgorithm::Secret {
            // Compared under a MAC, so that the time taken tells nothing.
            let mac = |text: &[u8]| {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
                mac.update(text);
                Some(mac)
            };
            return match (mac(claimed.as_bytes()), mac(key)) {
                (Some(claimed), Some(ours)) => ours.verify_slice(&claimed.finalize().into_bytes()).is_ok(),
                _ => false,
            };
        }
        let bytes = match self.encoding {
            HmacEncoding::Base64 => STANDARD.decode(claimed).ok(),
            HmacEncoding::Hex => from_hex(claimed),
        };
        let Some(bytes) = bytes else { return false };
        fn holds<M: Mac + KeyInit>(key: &[u8], signed: &[u8], claimed: &[u8]) -> bool {
            <M as KeyInit>::new_from_slice(key).is_ok_and(|mut mac| {
                mac.update(signed);
                mac.verify_slice(claimed).is_ok()
            })
        }
        match self.algorithm {
            WebhookAlgorithm::Sha1 => holds::<Hmac<Sha1>>(key, signed, &bytes),
            WebhookAlgorithm::Sha512 => holds::<Hmac<Sha512>>(key, signed, &bytes),
            WebhookAlgorithm::Sha256 | WebhookAlgorithm::Secret => holds::<Hmac<Sha256>>(key, signed, &bytes),
        }
    }
}

impl WebhookEntity {
    fn is_about(&self, event: &Json, call: &WebhookCall) -> bool {
        let told = match (&self.path, &self.header) {
            (Some(path), _) => dig(event, path).and_then(plain),
            (None, Some(header)) => call.headers.get(&header.to_ascii_lowercase()).cloned(),
            (None, None) => return true,
        };
        let told = told.unwrap_or_default().to_lowercase();
        self.equals.iter().any(|wanted| wanted.to_lowercase() == told)
            || self
                .starts
                .as_ref()
                .is_some_and(|start| told.starts_with(&start.to_lowercase()))
    }

    fn record(&self, entity: &Entity, event: &Json) -> Result<RecordId> {
        let own = dig(event, &self.id).and_then(plain).filter(|id| !id.is_empty());
        let missing = || Error::protocol(format!("the event has no record's id at '{}'", self.id));
        let own = own.ok_or_else(missing)?;
        match &entity.parent {
            Some(parent) if parent.in_id => {
                let above = dig(event, &parent.field).and_then(plain);
                let message = || format!("the event has no parent's id at '{}'", parent.field);
                let above = above.ok_or_else(|| Error::protocol(message()))?;
                Ok(RecordId(format!("{above}/{own}")))
            }
            _ => Ok(RecordId(own)),
        }
    }
}

/// What stands behind the prefix: in the whole header, or in each of its parts.
fn part<'a>(header: &'a str, prefix: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    header
        .split(',')
        .filter_map(move |part| part.trim().strip_prefix(prefix.unwrap_or_default()))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
