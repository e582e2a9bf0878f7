//! Sending, and receiving one message at a time.

use axum::http::{HeaderMap, Method, StatusCode};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Data, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::SimpleValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use serde_amqp::Value;
use serde_amqp::primitives::{OrderedMap, Symbol, Timestamp as AmqpTimestamp};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};

use super::manage::Refused;
use super::place::Place;
use super::{Answer, Call};
use crate::amqp::settle;
use crate::broker::message::{AnyMessage, decode, swapped};
use crate::broker::store::{Outcome, Taken, Token};
use crate::broker::{Kind, Refusal};

/// A body that is a list of messages.
const BATCH: &str = "application/vnd.microsoft.servicebus.json";
/// How long a receive waits when the caller does not say, and at most.
const WAIT_SECS: u64 = 60;
/// Headers that are not properties of a message.
const NOT_PROPERTIES: [&str; 11] = [
    "accept",
    "accept-encoding",
    "authorization",
    "brokerproperties",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "expect",
];

pub(super) async fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, Refused> {
    match (&call.method, place) {
        (&Method::POST, Place::Messages(path)) => send(call, path).await,
        (&Method::POST, Place::Head(path)) => receive(call, path, false).await,
        (&Method::DELETE, Place::Head(path)) => receive(call, path, true).await,
        (&Method::DELETE, Place::Locked(path, token)) => end(call, path, token, Outcome::Complete),
        (&Method::PUT, Place::Locked(path, token)) => end(call, path, token, Outcome::Abandon(Vec::new())),
        (&Method::POST, Place::Locked(path, token)) => {
            let token = lock_token(token)?;
            let (mut state, now) = call.broker.state();
            let renewed = state.store(path).and_then(|store| store.renew(&token, now));
            renewed.map(|_| Answer::empty(StatusCode::OK)).map_err(of_refusal)
        }
        _ => Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "the method is not allowed here".to_owned(),
        )),
    }
}

async fn send(call: &Call<'_>, path: &str) -> Result<Answer, Refused> {
    if call.broker.faults.is_busy() {
        let reason = "SubCode=50009. The server is busy, try again";
        return Err((StatusCode::SERVICE_UNAVAILABLE, reason.to_owned()));
    }
    if call.broker.state().0.kind(path).is_none() {
        return Err(of_refusal(Refusal::not_found(path)));
    }
    let content_type = call
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    let messages = if content_type.is_some_and(|kind| kind.starts_with(BATCH)) {
        batch(call.body)?
    } else {
        let properties = match call.headers.get("brokerproperties") {
            Some(value) => {
                serde_json::from_slice(value.as_bytes()).map_err(|_| bad("BrokerProperties is not JSON"))?
            }
            None => json!({}),
        };
        vec![message(
            call.body.to_vec(),
            content_type,
            &properties,
            own_of(&call.headers),
        )?]
    };
    call.broker.send(path, messages).map_err(of_refusal)?;
    if call.broker.faults.swallows() {
        std::future::pending::<()>().await;
    }
    Ok(Answer::empty(StatusCode::CREATED))
}

/// The messages of a batch: `[{"Body": …, "BrokerProperties": {…}, "UserProperties": {…}}]`.
fn batch(body: &[u8]) -> Result<Vec<AnyMessage>, Refused> {
    let items: Vec<Json> = serde_json::from_slice(body).map_err(|_| bad("the batch is not a JSON array"))?;
    items
        .iter()
        .map(|item| {
            let body = item["Body"]
                .as_str()
                .ok_or_else(|| bad("a message has no Body"))?;
            let own = item["UserProperties"].as_object().into_iter().flatten();
            let own = own.filter_map(|(key, value)| Some((key.clone(), simple(value)?)));
            message(
                body.as_bytes().to_vec(),
                item["BrokerProperties"]["ContentType"].as_str(),
                &item["BrokerProperties"],
                own.collect(),
            )
        })
        .collect()
}

fn own_of(headers: &HeaderMap) -> Vec<(String, SimpleValue)> {
    let own = headers
        .iter()
        .filter(|(name, _)| !NOT_PROPERTIES.contains(&name.as_str()));
    own.filter_map(|(name, value)| {
        let text = value.to_str().ok()?;
        let value: Json = serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()));
        Some((name.as_str().to_owned(), simple(&value)?))
    })
    .collect()
}

fn simple(value: &Json) -> Option<SimpleValue> {
    Some(match value {
        Json::String(text) => SimpleValue::String(text.clone()),
        Json::Bool(flag) => SimpleValue::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => SimpleValue::Long(number),
            None => SimpleValue::Double(number.as_f64()?.into()),
        },
        _ => return None,
    })
}

fn message(
    body: Vec<u8>,
    content_type: Option<&str>,
    broker: &Json,
    own: Vec<(String, SimpleValue)>,
) -> Result<AnyMessage, Refused> {
    let text = |key: &str| broker[key].as_str().map(str::to_owned);
    let scheduled = match text("ScheduledEnqueueTimeUtc") {
        None => None,
        Some(text) => {
            let at = DateTimeParser::new().parse_timestamp(&text);
            let at = at.map_err(|_| bad("ScheduledEnqueueTimeUtc is not a date"))?;
            let at = Value::Timestamp(AmqpTimestamp::from_milliseconds(at.as_millisecond()));
            let mut annotations = OrderedMap::new();
            annotations.insert(OwnedKey::from("x-opt-scheduled-enqueue-time"), at);
            Some(MessageAnnotations(annotations))
        }
    };
    let mut properties = OrderedMap::new();
    for (key, value) in own {
        properties.insert(key, value);
    }
    Ok(AnyMessage {
        header: None,
        delivery_annotations: None,
        message_annotations: scheduled,
        properties: Some(Properties {
            message_id: text("MessageId").map(MessageId::String),
            correlation_id: text("CorrelationId").map(MessageId::String),
            group_id: text("SessionId"),
            subject: text("Label"),
            to: text("To"),
            reply_to: text("ReplyTo"),
            reply_to_group_id: text("ReplyToSessionId"),
            content_type: content_type.map(Symbol::from),
            ..Properties::default()
        }),
        application_properties: Some(ApplicationProperties(properties)),
        body: Body::Data(vec![Data(ByteBuf::from(body))].into()),
        footer: None,
    })
}

async fn receive(call: &Call<'_>, path: &str, delete: bool) -> Result<Answer, Refused> {
    let seconds = call.query("timeout").and_then(|text| text.parse().ok());
    let wait = seconds.unwrap_or(WAIT_SECS).min(WAIT_SECS);
    let clock = call.broker.clock.clone();
    let sleeping = clock.sleep(std::time::Duration::from_secs(wait));
    tokio::pin!(sleeping);
    let mut changed = call.broker.watch();
    loop {
        if let Some(taken) = take(call, path, delete)? {
            return outgoing(call, path, &taken, delete);
        }
        if wait == 0 {
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        tokio::select! {
            () = &mut sleeping => return Ok(Answer::empty(StatusCode::NO_CONTENT)),
            seen = changed.changed() => if seen.is_err() {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            },
        }
    }
}

fn take(call: &Call<'_>, path: &str, delete: bool) -> Result<Option<Taken>, Refused> {
    let token = call.broker.next_token();
    let (mut state, now) = call.broker.state();
    if matches!(state.kind(path), Some(Kind::Topic)) {
        return Err(bad("a topic is received from through its subscriptions"));
    }
    if let Some(refusal) = state.disabled(path) {
        return Err(of_refusal(refusal));
    }
    let store = state.store(path).map_err(of_refusal)?;
    if store.settings.requires_session {
        return Err(bad(
            "it is not possible for an entity that requires sessions to create a non-sessionful message receiver",
        ));
    }
    Ok(if delete {
        store.take_and_delete(None, token, now)
    } else {
        store.take(None, token, now)
    })
}

fn outgoing(call: &Call<'_>, path: &str, taken: &Taken, delete: bool) -> Result<Answer, Refused> {
    let message = decode(&taken.bytes).map_err(of_refusal)?;
    let annotations = message.message_annotations.unwrap_or_default();
    let stamp = |key: &str| match annotations.0.get(&OwnedKey::from(key)) {
        Some(Value::Timestamp(at)) => Timestamp::from_millisecond(at.milliseconds())
            .ok()
            .and_then(|at| DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()),
        _ => None,
    };
    let properties = message.properties.unwrap_or_default();
    let token = guid(taken.token);
    let mut broker = json!({
        "DeliveryCount": message.header.map_or(0, |header| header.delivery_count).saturating_add(1),
        "EnqueuedSequenceNumber": 0,
        "EnqueuedTimeUtc": stamp("x-opt-enqueued-time"),
        "MessageId": match properties.message_id {
            Some(MessageId::String(id)) => id,
            _ => String::new(),
        },
        "SequenceNumber": taken.sequence,
        "State": "Active",
        "TimeToLive": 922_337_203_685.477_5_f64,
    });
    for (key, value) in [("Label", properties.subject), ("SessionId", properties.group_id)] {
        if let Some(value) = value {
            broker[key] = Json::String(value);
        }
    }
    if !delete {
        broker["LockToken"] = Json::String(token.clone());
        broker["LockedUntilUtc"] = json!(stamp("x-opt-locked-until"));
    }
    let own = message.application_properties.unwrap_or_default().0;
    let mut headers = vec![("BrokerProperties".to_owned(), broker.to_string())];
    headers.extend(own.into_iter().filter_map(|(key, value)| {
        let value = match value {
            SimpleValue::String(text) => Json::String(text).to_string(),
            SimpleValue::Long(number) => number.to_string(),
            SimpleValue::Int(number) => number.to_string(),
            SimpleValue::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        Some((key, value))
    }));
    let base = call.url.split("/messages/").next().unwrap_or_default();
    let location = format!("{base}/messages/{}/{token}", taken.sequence);
    tracing::trace!(path, "a message was handed out");
    Ok(Answer {
        status: if delete {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        },
        content_type: "application/octet-stream",
        headers,
        location: (!delete).then_some(location),
        body: match message.body {
            Body::Data(sections) => sections.into_iter().flat_map(|data| data.0.into_vec()).collect(),
            Body::Value(AmqpValue(Value::String(text))) => text.into_bytes(),
            _ => Vec::new(),
        },
    })
}

fn end(call: &Call<'_>, path: &str, token: &str, outcome: Outcome) -> Result<Answer, Refused> {
    let token = lock_token(token)?;
    let settled = settle(call.broker, path, &token, outcome);
    call.broker.announce();
    settled
        .map(|()| Answer::empty(StatusCode::OK))
        .map_err(of_refusal)
}

/// A token as it is written: a GUID, whose first parts are in the other byte order.
fn guid(token: Token) -> String {
    let hex = swapped(token)
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

fn lock_token(text: &str) -> Result<Token, Refused> {
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    let mut token = [0; 16];
    let whole = hex.len() == 32 && hex.is_ascii();
    let read = whole
        && token.iter_mut().enumerate().all(|(at, byte)| {
            u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).is_ok_and(|value| {
                *byte = value;
                true
            })
        });
    if read {
        Ok(token)
    } else {
        Err(bad("the lock token is not a GUID"))
    }
}

/// A refusal of the broker as a status.
fn of_refusal(refusal: Refusal) -> Refused {
    let (status, sub_code) = match refusal.condition {
        "amqp:not-found" => (StatusCode::NOT_FOUND, 40_400),
        "com.microsoft:message-lock-lost" => (StatusCode::NOT_FOUND, 40_401),
        "amqp:resource-limit-exceeded" => (StatusCode::FORBIDDEN, 40_308),
        "com.microsoft:entity-disabled" => (StatusCode::FORBIDDEN, 40_307),
        "amqp:link:message-size-exceeded" => (StatusCode::FORBIDDEN, 40_309),
        "com.microsoft:server-busy" => (StatusCode::SERVICE_UNAVAILABLE, 50_009),
        "amqp:unauthorized-access" => (StatusCode::UNAUTHORIZED, 40_100),
        _ => (StatusCode::BAD_REQUEST, 40_000),
    };
    (status, format!("SubCode={sub_code}. {}", refusal.description))
}

fn bad(reason: &str) -> Refused {
    (StatusCode::BAD_REQUEST, format!("SubCode=40000. {reason}"))
}
