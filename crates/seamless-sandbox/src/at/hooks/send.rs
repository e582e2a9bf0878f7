//! Sending events: a small HTTP client, because receivers of a sandbox live on loopback and speak plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha1::Sha1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Event, FAILURES_MAX, HookForm, RETRY_MS, TRIES_MAX};
use crate::System;
use crate::faults::Call;
use crate::server::App;
use crate::world::World;

/// Between two looks for what is due.
const LOOK: Duration = Duration::from_millis(20);
/// A receiver has so long to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Events sent between two looks.
const BATCH: usize = 64;

/// An event, ready to be sent.
struct Sending {
    callout: i64,
    url: String,
    body: String,
    signature: Option<String>,
}

/// Sends what is due, for as long as the sandbox lives.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        let due = take_due(&mut app.world());
        if due.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        for (sending, event) in due {
            let posted = tokio::time::timeout(ANSWER_MAX, post(&sending)).await;
            let status = posted.ok().and_then(Result::ok).unwrap_or(0);
            finished(&mut app.world(), sending.callout, event, status);
        }
    }
}

/// One event of each callout that has any: later ones wait behind the first. One that is late lets others pass.
fn take_due(w: &mut World) -> Vec<(Sending, Event)> {
    let now = w.now();
    let mut due = Vec::new();
    let ids: Vec<i64> = w.hooks.callouts.keys().copied().collect();
    for id in ids {
        let Some(callout) = w.hooks.callouts.get_mut(&id) else {
            continue;
        };
        let waits_for_retry = callout
            .queue
            .front()
            .is_some_and(|first| first.tries > 0 && first.due > now);
        if waits_for_retry {
            continue;
        }
        let mut taken = Vec::new();
        while taken.len() < BATCH {
            let Some(at) = callout.queue.iter().position(|event| event.due <= now) else {
                break;
            };
            taken.extend(callout.queue.remove(at));
        }
        for event in taken {
            if let Some(sending) = sign(w, id, &event) {
                due.push((sending, event));
            }
        }
    }
    due
}

fn sign(w: &mut World, id: i64, event: &Event) -> Option<Sending> {
    w.hooks.signed += 1;
    let turn = w.hooks.signed;
    let form = w.config.hook_form;
    let (url, deactivation_url, secret) = {
        let callout = w.hooks.callouts.get(&id)?;
        (
            callout.text("webhookUrl").to_owned(),
            callout.text("deactivationUrl").to_owned(),
            callout.secret.clone(),
        )
    };
    if event.deactivation {
        return Some(Sending {
            callout: id,
            url: deactivation_url,
            body: event.body.clone(),
            signature: None,
        });
    }
    let escape = match form {
        HookForm::Raw => false,
        HookForm::Escaped => true,
        HookForm::Both => turn.is_multiple_of(2),
    };
    let signed = if escape {
        escaped(&event.body)
    } else {
        event.body.clone()
    };
    let call = Call {
        system: System::Autotask,
        method: "SEND",
        path: &url,
        write: true,
    };
    let mut secret = secret;
    if w.strike(&call, |f| &mut f.hook_forged).is_some() {
        secret.push('x');
    }
    let mut body = event.body.clone();
    if w.strike(&call, |f| &mut f.hook_truncated).is_some() {
        let mut half = body.len() / 2;
        while !body.is_char_boundary(half) {
            half -= 1;
        }
        body.truncate(half);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(signed.as_bytes());
    Some(Sending {
        callout: id,
        url,
        body,
        signature: Some(format!("sha1={}", BASE64.encode(mac.finalize().into_bytes()))),
    })
}

/// Every character of a text that is not plain, as `\uXXXX`. The body is our own, so its texts hold no escapes but those of JSON itself.
fn escaped(body: &str) -> String {
    let Ok(value) = serde_json::from_str(body) else {
        return body.to_owned();
    };
    let mut out = String::with_capacity(body.len() * 2);
    write_escaped(&value, &mut out);
    out
}

fn write_escaped(value: &serde_json::Value, out: &mut String) {
    match value {
        serde_json::Value::Object(map) => {
            out.push('{');
            for (at, (name, value)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                escaped_text(name, out);
                out.push(':');
                write_escaped(value, out);
            }
            out.push('}');
        }
        serde_json::Value::Array(items) => {
            out.push('[');
            for (at, value) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_escaped(value, out);
            }
            out.push(']');
        }
        serde_json::Value::String(text) => escaped_text(text, out),
        other => out.push_str(&other.to_string()),
    }
}

fn escaped_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            '&' | '<' | '>' | '\'' | '"' | '`' | '+' => push_units(c, out),
            ' '..='~' => out.push(c),
            c => push_units(c, out),
        }
    }
    out.push('"');
}

fn push_units(c: char, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04X}"));
    }
}

/// The status that a receiver answers with.
async fn post(sending: &Sending) -> std::io::Result<u16> {
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let rest = sending.url.strip_prefix("http://").ok_or_else(invalid)?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let path = if path.is_empty() { "/" } else { path };
    let mut stream = TcpStream::connect(address).await?;
    let signature = sending.signature.as_ref().map_or_else(String::new, |signature| {
        format!("X-Hook-Signature: {signature}\r\n")
    });
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n{signature}Content-Length: {}\r\n\r\n",
        sending.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(sending.body.as_bytes()).await?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer[..read]);
    text.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(invalid)
}

/// Another try later, or the end of it.
fn finished(w: &mut World, id: i64, mut event: Event, status: u16) {
    let now = w.now();
    event.tries += 1;
    w.hooks.remember(json!({
        "callout": id, "status": status, "try": event.tries, "deactivation": event.deactivation, "bytes": event.body.len(),
    }));
    if (200..300).contains(&status) {
        w.hooks.count("delivered");
        if let Some(callout) = w.hooks.callouts.get_mut(&id) {
            callout.failures = 0;
        }
        return;
    }
    w.hooks.count("refused");
    if event.deactivation {
        return;
    }
    if event.tries < TRIES_MAX {
        event.due = now + RETRY_MS;
        if let Some(callout) = w.hooks.callouts.get_mut(&id) {
            callout.queue.push_front(event);
        }
        return;
    }
    w.hooks.count("dropped");
    let Some(callout) = w.hooks.callouts.get_mut(&id) else {
        return;
    };
    callout.failures += 1;
    if callout.failures < FAILURES_MAX || !callout.is_active() {
        return;
    }
    callout.settings.insert("isActive".to_owned(), json!(false));
    callout.queue.clear();
    let entity = callout.entity.map(super::spelled);
    callout.queue.push_back(Event {
        body: json!({ "Action": "Deactivated", "EntityType": entity, "Id": id }).to_string(),
        due: now,
        tries: 0,
        deactivation: true,
    });
    w.hooks.count("deactivated");
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn the_escaped_form_is_that_of_the_vendor() {
        let body = r#"{"Id":7,"Name":"Größe & \"Söhne\" <'+`> 😀","Path":"a\\b\n"}"#;
        let expected = r#"{"Id":7,"Name":"Gr\u00F6\u00DFe \u0026 \u0022S\u00F6hne\u0022 \u003C\u0027\u002B\u0060\u003E \uD83D\uDE00","Path":"a\\b\n"}"#;
        assert_eq!(escaped(body), expected);
    }
}
