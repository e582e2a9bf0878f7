//! Requests over `$management` and `$cbs`, and their answers.

mod operations;
mod rules;

use fe2o3_amqp_types::messaging::{AmqpValue, ApplicationProperties, Body, Properties};
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value;
use serde_amqp::primitives::OrderedMap;

use super::connection::{Answer, Wire};
use crate::broker::Refusal;
use crate::broker::message::{AnyMessage, decode, encode};

/// What a request says.
pub(super) struct Request<'a> {
    pub(super) path: &'a str,
    pub(super) operation: String,
    pub(super) body: OrderedMap<Value, Value>,
}

/// What an operation answers: nothing found, or a map.
pub(super) enum Reply {
    Nothing(&'static str),
    Map(Vec<(&'static str, Value)>),
}

/// Carries out one request; the answer waits for the link that listens for it.
pub(super) fn handle(path: &str, bytes: &[u8], wire: &mut Wire) {
    let message = match decode(bytes) {
        Ok(message) => message,
        Err(refusal) => {
            tracing::debug!(refusal.description, "a request that cannot be read");
            return;
        }
    };
    let properties = message.properties.clone().unwrap_or_default();
    let mut answer = if path == "$cbs" {
        put_token(&message, wire)
    } else {
        answer(path, message, wire)
    };
    answer.properties = Some(Properties {
        correlation_id: properties.message_id,
        ..Properties::default()
    });
    wire.answer(Answer {
        path: path.to_owned(),
        reply_to: properties.reply_to,
        bytes: encode(&answer),
    });
}

fn answer(path: &str, message: AnyMessage, wire: &mut Wire) -> AnyMessage {
    let operation = property(&message, "operation").unwrap_or_default();
    let body = match message.body {
        Body::Value(AmqpValue(Value::Map(map))) => map,
        _ => OrderedMap::new(),
    };
    let request = Request {
        path,
        operation,
        body,
    };
    let outcome = if wire.broker.faults.is_busy_link() {
        Err(Refusal::busy())
    } else {
        operations::carry_out(&request, &wire.broker)
    };
    wire.broker.announce();
    let (code, condition, description, map) = match outcome {
        Ok(Reply::Map(map)) => (200, None, "OK".to_owned(), map),
        Ok(Reply::Nothing(condition)) => (204, Some(condition), "No Content".to_owned(), Vec::new()),
        Err(Refusal {
            condition,
            description,
        }) => (status(condition), Some(condition), description, Vec::new()),
    };
    let map = map
        .into_iter()
        .map(|(key, value)| (Value::String(key.to_owned()), value));
    let mut properties = OrderedMap::new();
    let mut set = |key: &str, value: SimpleValue| properties.insert(key.to_owned(), value);
    set("statusCode", SimpleValue::Int(code));
    set("statusDescription", SimpleValue::String(description));
    if let Some(condition) = condition {
        set("errorCondition", SimpleValue::Symbol(condition.into()));
    }
    reply(properties, Value::Map(map.collect()))
}

fn status(condition: &str) -> i32 {
    match condition {
        "com.microsoft:message-lock-lost" | "com.microsoft:session-lock-lost" => 410,
        "amqp:not-found" | "com.microsoft:message-not-found" => 404,
        "com.microsoft:session-cannot-be-locked" => 409,
        "com.microsoft:entity-already-exists" => 409,
        "amqp:unauthorized-access" => 401,
        "amqp:resource-limit-exceeded" => 403,
        "com.microsoft:server-busy" => 503,
        "amqp:not-implemented" => 501,
        _ => 400,
    }
}

fn put_token(message: &AnyMessage, wire: &mut Wire) -> AnyMessage {
    let token = match &message.body {
        Body::Value(AmqpValue(Value::String(token))) => token.clone(),
        Body::Value(AmqpValue(Value::Binary(token))) => String::from_utf8_lossy(token).into_owned(),
        _ => String::new(),
    };
    // Not by the type that is said: Microsoft's Python client calls its signatures tokens, too.
    let outcome = if !token.starts_with("SharedAccessSignature ") {
        let until = message
            .application_properties
            .as_ref()
            .and_then(|properties| properties.0.get("expiration"));
        let until = match until {
            Some(SimpleValue::Timestamp(at)) => at.milliseconds().saturating_mul(1_000),
            _ => i64::MAX,
        };
        wire.keys.check_foreign(&token).map(|()| until)
    } else {
        let now = wire.broker.clock.now_micros();
        wire.keys.check(&token, now).map(|(_, until)| until)
    };
    let (code, description) = match outcome {
        Ok(until) => {
            wire.trusted_until = Some(until);
            (202, "Accepted".to_owned())
        }
        Err(reason) => {
            wire.trusted_until = None;
            (401, reason)
        }
    };
    let mut properties = OrderedMap::new();
    properties.insert("status-code".to_owned(), SimpleValue::Int(code));
    properties.insert("status-description".to_owned(), SimpleValue::String(description));
    reply(properties, Value::Null)
}

fn reply(properties: OrderedMap<String, SimpleValue>, body: Value) -> AnyMessage {
    AnyMessage {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: None,
        application_properties: Some(ApplicationProperties(properties)),
        body: Body::Value(AmqpValue(body)),
        footer: None,
    }
}

fn property(message: &AnyMessage, key: &str) -> Option<String> {
    match message.application_properties.as_ref()?.0.get(key)? {
        SimpleValue::String(text) => Some(text.clone()),
        SimpleValue::Symbol(symbol) => Some(symbol.0.clone()),
        _ => None,
    }
}

impl Request<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let value = self.body.get(&Value::String(key.to_owned()));
        value.or_else(|| self.body.get(&Value::Symbol(key.into())))
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Symbol(symbol) => Some(symbol.0.clone()),
            _ => None,
        }
    }

    pub(super) fn number(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(number)
    }

    pub(super) fn list(&self, key: &str) -> Vec<Value> {
        match self.get(key) {
            Some(Value::Array(array)) => array.0.clone(),
            Some(Value::List(list)) => list.clone(),
            Some(Value::Null) | None => Vec::new(),
            Some(single) => vec![single.clone()],
        }
    }
}

pub(super) fn number(value: &Value) -> Option<i64> {
    Some(match value {
        Value::Long(number) => *number,
        Value::Int(number) => i64::from(*number),
        Value::Uint(number) => i64::from(*number),
        Value::Ulong(number) => i64::try_from(*number).ok()?,
        Value::Short(number) => i64::from(*number),
        Value::Ushort(number) => i64::from(*number),
        Value::Ubyte(number) => i64::from(*number),
        Value::Byte(number) => i64::from(*number),
        _ => return None,
    })
}
