//! Our messages as Service Bus carries them.
//!
//! `SessionId` is the lane, `Subject` the subscription, by which the subscription's filter picks it. Duplicate detection goes by `MessageId` over the
//! whole topic, so that is made of subscription and id; a copy (a deferred or replayed message) has another one, or it would be swallowed. Our id
//! is in a property.

use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::message::__private::Deserializable;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body, Data, Message, MessageAnnotations, MessageId as AmqpId, Properties,
};
use fe2o3_amqp_types::primitives::SimpleValue;
use seamless_core::{MessageId, Timestamp};
use serde_amqp::Value;
use serde_amqp::primitives::{OrderedMap, Timestamp as AmqpTimestamp};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

/// Our id.
const ID: &str = "seamless-id";
/// Most characters of a `MessageId`.
const MESSAGE_ID_CHARS_MAX: usize = 128;
/// When it was set aside, in microseconds since 1970.
const SINCE: &str = "seamless-dead-since";

/// Largest part of a message that is not its body: ids, lane, subject, annotations, encoding.
pub(crate) const OVERHEAD_BYTES_MAX: usize = 2 * 1024;

/// What is read.
pub(crate) type AnyMessage = Message<Body<Value>>;

/// What is sent.
#[derive(Clone)]
pub(crate) struct Parcel {
    pub(crate) id: MessageId,
    pub(crate) subscription: String,
    pub(crate) lane: String,
    pub(crate) body: Vec<u8>,
    /// Its own `MessageId`, where it is a copy.
    pub(crate) copy: Option<String>,
    /// When the subscription gets it.
    pub(crate) due: Option<Timestamp>,
}

impl Parcel {
    pub(crate) fn message(self) -> Message<Data> {
        let message_id = self
            .copy
            .unwrap_or_else(|| message_id(&self.subscription, &self.id));
        let mut properties = OrderedMap::new();
        properties.insert(ID.to_owned(), SimpleValue::String(self.id.0));
        let annotations = self.due.map(|due| {
            // Rounded up: never before its time.
            let millis = due.0.saturating_add(999).div_euclid(1_000);
            let due = Value::Timestamp(AmqpTimestamp::from_milliseconds(millis));
            let mut annotations = OrderedMap::new();
            annotations.insert(OwnedKey::from("x-opt-scheduled-enqueue-time"), due);
            MessageAnnotations(annotations)
        });
        Message {
            header: None,
            delivery_annotations: None,
            message_annotations: annotations,
            properties: Some(Properties {
                message_id: Some(AmqpId::String(message_id)),
                subject: Some(self.subscription),
                group_id: Some(self.lane),
                ..Properties::default()
            }),
            application_properties: Some(ApplicationProperties(properties)),
            body: Data(ByteBuf::from(self.body)),
            footer: None,
        }
    }
}

/// What duplicate detection goes by; the same for the same message of a subscription.
pub(crate) fn message_id(subscription: &str, id: &MessageId) -> String {
    let plain = format!("{subscription}/{}", id.0);
    if plain.chars().count() <= MESSAGE_ID_CHARS_MAX {
        return plain;
    }
    let digest = Sha256::digest(plain.as_bytes());
    digest
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// What was received or peeked.
pub(crate) struct Received {
    pub(crate) id: MessageId,
    pub(crate) lane: String,
    pub(crate) body: Vec<u8>,
    pub(crate) delivery_count: u32,
    pub(crate) sequence: i64,
    pub(crate) dead_reason: String,
    pub(crate) dead_description: String,
    pub(crate) dead_since: Timestamp,
}

pub(crate) fn received(message: AnyMessage) -> Received {
    let own = message.application_properties.unwrap_or_default();
    let text = |key: &str| match own.0.get(key) {
        Some(SimpleValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let annotations = message.message_annotations.unwrap_or_default();
    let annotation = |key: &str| annotations.0.get(&OwnedKey::from(key));
    let enqueued = match annotation("x-opt-enqueued-time") {
        Some(Value::Timestamp(at)) => at.milliseconds().saturating_mul(1_000),
        _ => 0,
    };
    let properties = message.properties.unwrap_or_default();
    let id = match (text(ID), properties.message_id) {
        (own, Some(AmqpId::String(id))) if own.is_empty() => id,
        (own, _) => own,
    };
    Received {
        id: MessageId(id),
        lane: properties.group_id.unwrap_or_default(),
        body: match message.body {
            Body::Data(sections) => sections.into_iter().flat_map(|data| data.0.into_vec()).collect(),
            _ => Vec::new(),
        },
        delivery_count: message
            .header
            .map_or(0, |header| header.delivery_count)
            .saturating_add(1),
        sequence: match annotation("x-opt-sequence-number") {
            Some(Value::Long(sequence)) => *sequence,
            _ => 0,
        },
        dead_reason: text("DeadLetterReason"),
        dead_description: text("DeadLetterErrorDescription"),
        dead_since: match own.0.get(SINCE) {
            Some(SimpleValue::Long(since)) => Timestamp(*since),
            _ => Timestamp(enqueued),
        },
    }
}

/// What is written onto a message that is set aside.
pub(crate) fn dead_letter_info(
    code: &str,
    description: &str,
    since: Timestamp,
) -> fe2o3_amqp_types::definitions::Fields {
    let text = |text: &str| Value::String(text.to_owned());
    [
        ("DeadLetterReason", text(code)),
        ("DeadLetterErrorDescription", text(description)),
        (SINCE, Value::Long(since.0)),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value))
    .collect()
}

/// A message out of the bytes in which `peek` answers.
pub(crate) fn decode(bytes: &[u8]) -> Option<AnyMessage> {
    let decoded: Deserializable<AnyMessage> = serde_amqp::from_slice(bytes).ok()?;
    Some(decoded.0)
}
