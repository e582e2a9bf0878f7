//! Events that Autotask sends: are they its own, and what are they about?
//!
//! Autotask signs with HMAC-SHA1. Over what is not established: over the body as it is sent, or over a form of it in which some characters of
//! texts are escaped. Both are tried; nothing else is accepted.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use seamless_core::{Error, ErrorKind, Nudge, Result, Secret, Timestamp, WebhookCall};
use serde_json::{Map, Value as Json};
use sha1::Sha1;

use crate::client::{Client, whole};

const SIGNATURE: &str = "x-hook-signature";
/// Events that are remembered, so that a repeated one is not acted upon again.
const SEEN_MAX: usize = 10_000;
/// Autotask gives up an event after minutes. Clocks may differ by hours where nobody cares for them, so only what is clearly old is refused.
const OLD: std::time::Duration = std::time::Duration::from_secs(6 * 3_600);

/// Signatures of events that were acted upon, oldest first.
#[derive(Default)]
pub(crate) struct SeenEvents(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    order: VecDeque<String>,
    known: BTreeSet<String>,
}

impl Client {
    /// The record that an authentic event is about. A repeated event is refused as `Conflict`.
    pub(crate) fn event(&self, call: &WebhookCall) -> Result<Vec<Nudge>> {
        let signed_by_us = verify(&self.credentials.webhook_secrets, call);
        let event = read(&call.body);
        let is = |action: &str| {
            let said = event
                .as_ref()
                .and_then(|event| property(event, "Action")?.as_str());
            said.is_some_and(|said| said.eq_ignore_ascii_case(action))
        };
        // Comes unsigned. Whoever sends it can make us write a line to a log, and nothing else.
        if is("Deactivated") {
            tracing::warn!(
                "autotask, or somebody in its name, says that a webhook was switched off; `seamless autotask webhooks status` shows whether it was"
            );
            return Ok(Vec::new());
        }
        let signature = signed_by_us?;
        let event = event.ok_or_else(|| Error::protocol("the event's body is not a json object"))?;
        if let Some(time) = property(&event, "EventTime")
            .and_then(Json::as_str)
            .and_then(Timestamp::parse)
            && self.clock.now().since(time) > OLD
        {
            return Err(Error::new(
                ErrorKind::Auth,
                "the event is hours old; it was sent again by somebody else, or a clock is wrong",
            ));
        }
        let entity = property(&event, "EntityType")
            .and_then(Json::as_str)
            .and_then(entity);
        let id = property(&event, "Id").and_then(whole);
        let (Some(entity), Some(id)) = (entity, id) else {
            return Err(Error::protocol(
                "the event names no record of an entity that is known here",
            ));
        };
        if !self.seen_events.remember(signature) {
            return Err(Error::new(ErrorKind::Conflict, "the event was seen already"));
        }
        Ok(vec![Nudge {
            entity: entity.to_owned(),
            id: id.to_string().into(),
        }])
    }
}

/// The signature, when one of the secrets has made it over one of the two forms of the body. Every combination is tried, in the same time
/// whatever the outcome.
fn verify(secrets: &[Secret], call: &WebhookCall) -> Result<String> {
    if secrets.is_empty() {
        return Err(Error::config(
            "no webhook_secret is configured for this system; set it, and install the webhooks again",
        ));
    }
    let refused = || {
        Error::new(
            ErrorKind::Auth,
            "the event's signature is missing, or was not made with our secret",
        )
    };
    let header = call.headers.get(SIGNATURE).ok_or_else(refused)?;
    let encoded = header.trim().strip_prefix("sha1=").ok_or_else(refused)?;
    let claimed = BASE64.decode(encoded).map_err(|_| refused())?;
    let forms = [call.body.clone(), escaped(&call.body)];
    let mut is_ours = false;
    for secret in secrets {
        for form in &forms {
            let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes())
                .map_err(|_| Error::config("the webhook_secret cannot be used as a key"))?;
            mac.update(form);
            is_ours |= mac.verify_slice(&claimed).is_ok();
        }
    }
    if is_ours {
        Ok(encoded.to_owned())
    } else {
        Err(refused())
    }
}

fn read(body: &[u8]) -> Option<Map<String, Json>> {
    match serde_json::from_slice(body) {
        Ok(Json::Object(event)) => Some(event),
        _ => None,
    }
}

/// Names come in different cases (`PersonID`, `PersonId`).
fn property<'a>(event: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    event
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn entity(kind: &str) -> Option<&'static str> {
    Some(match kind.to_ascii_lowercase().as_str() {
        // What the API calls a company is an account here.
        "account" | "company" => "Companies",
        "contact" => "Contacts",
        "ticket" => "Tickets",
        _ => return None,
    })
}

/// The body with every character of its texts that is not plain written as `\uXXXX`, in upper-case hex; what is escaped otherwise is left,
/// except quotes. A body that is not UTF-8 has no such form.
pub(crate) fn escaped(body: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(body) else {
        return body.to_vec();
    };
    let mut out = String::with_capacity(text.len() * 2);
    let mut within = false;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => {
                within = !within;
                out.push(c);
            }
            '\\' if within => match characters.next() {
                Some('"') => escape('"', &mut out),
                // Written in another case than the signer does.
                Some('u') => {
                    out.push_str("\\u");
                    out.extend(characters.by_ref().take(4).map(|c| c.to_ascii_uppercase()));
                }
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            c if within && !is_plain(c) => escape(c, &mut out),
            c => out.push(c),
        }
    }
    out.into_bytes()
}

fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '&' | '<' | '>' | '\'' | '"' | '`' | '+')
}

fn escape(c: char, out: &mut String) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04X}"));
    }
}

impl SeenEvents {
    /// False when it was there already.
    fn remember(&self, signature: String) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.known.insert(signature.clone()) {
            return false;
        }
        seen.order.push_back(signature);
        if seen.order.len() > SEEN_MAX
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"Action":"Update","EntityType":"Account","Id":7,"Fields":{"Name":"Größe & \"Söhne\" <'+`> 😀","Path":"a\\b\n","E":"\u00e9"}}"#;
    const ESCAPED: &str = r#"{"Action":"Update","EntityType":"Account","Id":7,"Fields":{"Name":"Gr\u00F6\u00DFe \u0026 \u0022S\u00F6hne\u0022 \u003C\u0027\u002B\u0060\u003E \uD83D\uDE00","Path":"a\\b\n","E":"\u00E9"}}"#;

    fn sign(secret: &str, body: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        format!("sha1={}", BASE64.encode(mac.finalize().into_bytes()))
    }

    fn call(body: &str, signature: &str) -> WebhookCall {
        WebhookCall {
            headers: [(SIGNATURE.to_owned(), signature.to_owned())].into(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn both_forms_of_a_body_verify_and_nothing_else_does() {
        assert_eq!(String::from_utf8(escaped(BODY.as_bytes())).unwrap(), ESCAPED);
        let secrets = ["new", "old"].map(Secret::new);
        let good = [
            (BODY, sign("new", BODY)),
            (BODY, sign("old", BODY)),
            (BODY, sign("new", ESCAPED)),
            (ESCAPED, sign("new", ESCAPED)),
        ];
        for (body, signature) in &good {
            assert!(verify(&secrets, &call(body, signature)).is_ok(), "{signature}");
        }
        let right = sign("new", BODY);
        let bad = [
            (BODY, sign("other", BODY)),
            (&BODY[..BODY.len() - 1], right.clone()),
            (&BODY.replace("Größe", "Grosse"), right.clone()),
            (BODY, right.trim_start_matches("sha1=").to_owned()),
            (BODY, right[..right.len() - 4].to_owned()),
            (BODY, "sha1=".to_owned()),
            (BODY, "sha1=%%%".to_owned()),
            (BODY, String::new()),
        ];
        for (body, signature) in &bad {
            let error = verify(&secrets, &call(body, signature)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Auth, "{body} {signature}");
        }
        let unsigned = WebhookCall {
            headers: Default::default(),
            body: BODY.into(),
        };
        assert_eq!(verify(&secrets, &unsigned).unwrap_err().kind, ErrorKind::Auth);
        assert_eq!(
            verify(&[], &call(BODY, &right)).unwrap_err().kind,
            ErrorKind::Config
        );
    }

    #[test]
    fn odd_bodies_have_some_form_and_end() {
        for body in ["", "\"", "\"\\", "\"\\u12", "{\"a\":\"\\", "\u{7f}"] {
            escaped(body.as_bytes());
        }
        assert_eq!(escaped(b"\xff\xfe"), b"\xff\xfe");
    }
}
