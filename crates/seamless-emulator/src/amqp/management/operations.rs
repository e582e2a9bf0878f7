//! What `$management` can do.

use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value;
use serde_amqp::primitives::{Array, OrderedMap, Timestamp, Uuid};
use serde_bytes::ByteBuf;

use super::{Reply, Request, number, rules};
use crate::amqp::session::settle;
use crate::broker::message::{decode, simple, swapped};
use crate::broker::store::{Outcome, Token};
use crate::broker::{Broker, Refusal};

/// Most messages in one answer.
const MESSAGES_MAX: i64 = 1_000;
/// Most bytes of messages in one answer to `peek`.
const PEEK_BYTES_MAX: usize = 1 << 20;

pub(super) fn carry_out(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let operation = request.operation.as_str();
    match operation.strip_prefix("com.microsoft:").unwrap_or(operation) {
        "renew-lock" => renew_lock(request, broker),
        "peek-message" => peek(request, broker),
        "schedule-message" => schedule(request, broker),
        "cancel-scheduled-message" => cancel(request, broker),
        "receive-by-sequence-number" => receive_deferred(request, broker),
        "update-disposition" => update_disposition(request, broker),
        "renew-session-lock" => {
            let session = session(request)?;
            let (mut state, now) = broker.state();
            let until = state.store(request.path)?.renew_session(&session, now)?;
            Ok(Reply::Map(vec![("expiration", timestamp(until))]))
        }
        "get-session-state" => {
            let session = session(request)?;
            let (mut state, _) = broker.state();
            let found = state.store(request.path)?.session_state(&session);
            let value = found.map_or(Value::Null, |bytes| Value::Binary(ByteBuf::from(bytes)));
            Ok(Reply::Map(vec![("session-state", value)]))
        }
        "set-session-state" => {
            let session = session(request)?;
            let value = match request.get("session-state") {
                Some(Value::Binary(bytes)) => Some(bytes.to_vec()),
                _ => None,
            };
            let (mut state, _) = broker.state();
            state.store(request.path)?.set_session_state(&session, value);
            Ok(Reply::Map(Vec::new()))
        }
        "get-message-sessions" => sessions(request, broker),
        "add-rule" => rules::add(request, broker),
        "remove-rule" => rules::remove(request, broker),
        "enumerate-rules" => rules::list(request, broker),
        other => Err(Refusal::new(
            "amqp:not-implemented",
            format!("the operation {other} is not known here"),
        )),
    }
}

fn renew_lock(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let (mut state, now) = broker.state();
    let store = state.store(request.path)?;
    let mut ends = Vec::new();
    for token in tokens(request) {
        ends.push(timestamp(store.renew(&token, now)?));
    }
    Ok(Reply::Map(vec![("expirations", Value::Array(Array(ends)))]))
}

fn peek(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let from = request.number("from-sequence-number").unwrap_or(0);
    let max = request
        .number("message-count")
        .unwrap_or(1)
        .clamp(1, MESSAGES_MAX);
    let session = request.text("session-id");
    let (mut state, _) = broker.state();
    let found = state
        .store(request.path)?
        .peek(from, max.unsigned_abs() as usize, session.as_deref());
    let mut bytes = 0;
    let messages: Vec<Value> = found
        .into_iter()
        .take_while(|message| {
            let first = bytes == 0;
            bytes += message.len();
            first || bytes <= PEEK_BYTES_MAX
        })
        .map(|message| map([("message", Value::Binary(ByteBuf::from(message)))]))
        .collect();
    if messages.is_empty() {
        return Ok(Reply::Nothing("com.microsoft:message-not-found"));
    }
    Ok(Reply::Map(vec![("messages", Value::List(messages))]))
}

fn schedule(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let (mut state, now) = broker.state();
    let mut numbers = Vec::new();
    for entry in request.list("messages") {
        let Value::Map(entry) = entry else { continue };
        let Some(Value::Binary(bytes)) = entry.get(&Value::String("message".to_owned())) else {
            return Err(Refusal::new("amqp:decode-error", "no message".to_owned()));
        };
        let message = decode(bytes)?;
        numbers.push(Value::Long(state.send(request.path, message, now)?));
    }
    Ok(Reply::Map(vec![(
        "sequence-numbers",
        Value::Array(Array(numbers)),
    )]))
}

fn cancel(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let (mut state, _) = broker.state();
    for sequence in request.list("sequence-numbers").iter().filter_map(number) {
        if !state.cancel(request.path, sequence) {
            let reason = format!("no scheduled message has the number {sequence}");
            return Err(Refusal::new("com.microsoft:message-not-found", reason));
        }
    }
    Ok(Reply::Map(Vec::new()))
}

fn receive_deferred(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let sequences: Vec<i64> = request
        .list("sequence-numbers")
        .iter()
        .filter_map(number)
        .collect();
    let delete = request.number("receiver-settle-mode") == Some(0);
    let (mut state, now) = broker.state();
    let store = state.store(request.path)?;
    let taken = store.take_deferred(&sequences, || broker.next_token(), now);
    if taken.is_empty() {
        let reason = "none of these messages is deferred and free";
        return Err(Refusal::new("com.microsoft:message-not-found", reason.to_owned()));
    }
    let mut messages = Vec::new();
    for one in taken {
        if delete {
            store.settle(&one.token, Outcome::Complete, now)?;
        }
        messages.push(map([
            ("lock-token", Value::Uuid(Uuid::from(swapped(one.token)))),
            ("message", Value::Binary(ByteBuf::from(one.bytes))),
        ]));
    }
    Ok(Reply::Map(vec![("messages", Value::List(messages))]))
}

fn update_disposition(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let mut properties: Vec<(String, SimpleValue)> = Vec::new();
    if let Some(Value::Map(modify)) = request.get("properties-to-modify") {
        for (key, value) in modify {
            if let (Value::String(key), Some(value)) = (key, simple(value)) {
                properties.push((key.clone(), value));
            }
        }
    }
    let outcome = match request.text("disposition-status").as_deref() {
        Some("completed") => Outcome::Complete,
        Some("abandoned") => Outcome::Abandon(properties),
        Some("defered") => Outcome::Defer(properties),
        Some("suspended") => {
            let reason = [
                ("deadletter-reason", "DeadLetterReason"),
                ("deadletter-description", "DeadLetterErrorDescription"),
            ];
            for (key, name) in reason {
                if let Some(text) = request.text(key) {
                    properties.push((name.to_owned(), SimpleValue::String(text)));
                }
            }
            Outcome::DeadLetter(properties)
        }
        other => {
            let reason = format!("the disposition {other:?} is not known");
            return Err(Refusal::new("com.microsoft:argument-error", reason));
        }
    };
    for token in tokens(request) {
        settle(broker, request.path, &token, outcome.clone())?;
    }
    Ok(Reply::Map(Vec::new()))
}

fn sessions(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let skip = request.number("skip").unwrap_or(0).max(0);
    let top = request.number("top").unwrap_or(100).clamp(1, MESSAGES_MAX);
    let (mut state, _) = broker.state();
    let ids: Vec<Value> = state
        .store(request.path)?
        .session_ids()
        .into_iter()
        .skip(skip.unsigned_abs() as usize)
        .take(top.unsigned_abs() as usize)
        .map(Value::String)
        .collect();
    if ids.is_empty() {
        return Ok(Reply::Nothing("com.microsoft:session-not-found"));
    }
    let next = skip + i64::try_from(ids.len()).unwrap_or(0);
    Ok(Reply::Map(vec![
        ("skip", Value::Int(i32::try_from(next).unwrap_or(i32::MAX))),
        ("sessions-ids", Value::Array(Array(ids))),
    ]))
}

fn session(request: &Request<'_>) -> Result<String, Refusal> {
    request
        .text("session-id")
        .ok_or_else(|| Refusal::new("com.microsoft:argument-error", "no session-id".to_owned()))
}

fn tokens(request: &Request<'_>) -> Vec<Token> {
    let list = request.list("lock-tokens");
    list.iter()
        .filter_map(|value| match value {
            Value::Uuid(uuid) => Some(swapped(*uuid.as_inner())),
            Value::Binary(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        })
        .collect()
}

fn timestamp(micros: i64) -> Value {
    Value::Timestamp(Timestamp::from_milliseconds(micros / 1_000))
}

pub(super) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.map(|(key, value)| (Value::String(key.to_owned()), value));
    Value::Map(entries.into_iter().collect::<OrderedMap<_, _>>())
}
