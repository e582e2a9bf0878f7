//! A message as the broker keeps it, and as it goes out.

use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::message::__private::{Deserializable, Serializable};
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body, DeliveryAnnotations, Header, Message, MessageAnnotations, MessageId,
};
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value;
use serde_amqp::primitives::{OrderedMap, Symbol, Timestamp, Uuid};

use super::Refusal;

/// Any message.
pub(crate) type AnyMessage = Message<Body<Value>>;

/// Message format of a batch: each data section of the body is one encoded message.
pub(crate) const BATCH_FORMAT: u32 = 0x8001_3700;

/// A message outside of any lock.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) message: AnyMessage,
    pub(crate) enqueued: i64,
    /// Deliveries so far.
    pub(crate) delivery_count: u32,
    /// Where it lay when it was dead-lettered.
    pub(crate) dead_letter_source: Option<String>,
}

/// What a receiver is told besides the message itself.
pub(crate) struct Placement {
    pub(crate) sequence: i64,
    /// 0 active, 1 deferred, 2 scheduled.
    pub(crate) state: i32,
    pub(crate) lock: Option<([u8; 16], i64)>,
}

pub(crate) fn decode(bytes: &[u8]) -> Result<AnyMessage, Refusal> {
    serde_amqp::from_slice::<Deserializable<AnyMessage>>(bytes)
        .map(|decoded| decoded.0)
        .map_err(|error| {
            Refusal::new(
                "amqp:decode-error",
                format!("the message cannot be read: {error}"),
            )
        })
}

pub(crate) fn encode(message: &AnyMessage) -> Vec<u8> {
    serde_amqp::to_vec(&Serializable(message)).unwrap_or_default()
}

/// The messages inside a transfer: one, or those of a batch.
pub(crate) fn unpack(format: u32, bytes: &[u8]) -> Result<Vec<AnyMessage>, Refusal> {
    let message = decode(bytes)?;
    if format != BATCH_FORMAT {
        return Ok(vec![message]);
    }
    match message.body {
        Body::Data(sections) => sections.into_iter().map(|data| decode(&data.0)).collect(),
        _ => Err(Refusal::new(
            "amqp:decode-error",
            "a batch needs data sections".to_owned(),
        )),
    }
}

impl Stored {
    pub(crate) fn new(message: AnyMessage, enqueued: i64) -> Stored {
        Stored {
            message,
            enqueued,
            delivery_count: 0,
            dead_letter_source: None,
        }
    }

    /// The bytes for a receiver, with what Service Bus writes onto a message.
    pub(crate) fn outgoing(&self, placement: &Placement) -> Vec<u8> {
        let mut message = self.message.clone();
        let mut bytes = header(message.header.take(), self.delivery_count.saturating_sub(1));
        let annotations = message
            .message_annotations
            .get_or_insert_with(|| MessageAnnotations(OrderedMap::new()));
        let mut set = |key: &str, value: Value| annotations.0.insert(OwnedKey::from(key), value);
        set(
            "x-opt-enqueued-time",
            Value::Timestamp(Timestamp::from_milliseconds(self.enqueued / 1_000)),
        );
        set("x-opt-sequence-number", Value::Long(placement.sequence));
        set("x-opt-enqueue-sequence-number", Value::Long(placement.sequence));
        set("x-opt-message-state", Value::Int(placement.state));
        if let Some(source) = &self.dead_letter_source {
            set("x-opt-deadletter-source", Value::String(source.clone()));
        }
        if let Some((token, until)) = placement.lock {
            set(
                "x-opt-locked-until",
                Value::Timestamp(Timestamp::from_milliseconds(until / 1_000)),
            );
            let token = Value::Uuid(Uuid::from(swapped(token)));
            message
                .delivery_annotations
                .get_or_insert_with(|| DeliveryAnnotations(OrderedMap::new()))
                .0
                .insert(OwnedKey::from("x-opt-lock-token"), token);
        }
        bytes.extend(encode(&message));
        bytes
    }

    /// Writes the properties that a settlement brings onto the message.
    pub(crate) fn modify(&mut self, properties: impl IntoIterator<Item = (String, SimpleValue)>) {
        let own = self
            .message
            .application_properties
            .get_or_insert_with(|| ApplicationProperties(OrderedMap::new()));
        for (key, value) in properties {
            own.0.insert(key, value);
        }
    }
}

/// A header section with every field written out. The codec leaves out what is zero, and Microsoft's Python client then shows
/// a delivery count of `None`.
fn header(header: Option<Header>, delivery_count: u32) -> Vec<u8> {
    let header = header.unwrap_or_default();
    let mut fields = vec![
        5,
        if header.durable { 0x41 } else { 0x42 },
        0x50,
        header.priority.0,
    ];
    match header.ttl {
        Some(ttl) => fields.extend([0x70].into_iter().chain(ttl.to_be_bytes())),
        None => fields.push(0x40),
    }
    // First acquirer: not said.
    fields.push(0x40);
    fields.extend([0x70].into_iter().chain(delivery_count.to_be_bytes()));
    let mut section = vec![0x00, 0x53, 0x70, 0xc0, fields.len() as u8];
    section.extend(fields);
    section
}

/// The id that duplicate detection goes by.
pub(crate) fn message_id(message: &AnyMessage) -> Option<String> {
    match message.properties.as_ref()?.message_id.as_ref()? {
        MessageId::String(id) => Some(id.clone()),
        MessageId::Ulong(id) => Some(id.to_string()),
        MessageId::Uuid(id) => Some(format!("{id:x}")),
        MessageId::Binary(id) => Some(format!("{id:x?}")),
    }
}

pub(crate) fn session_id(message: &AnyMessage) -> Option<String> {
    message.properties.as_ref()?.group_id.clone()
}

/// When the sender wants it enqueued, in microseconds.
pub(crate) fn scheduled_for(message: &AnyMessage) -> Option<i64> {
    let key = OwnedKey::from("x-opt-scheduled-enqueue-time");
    match message.message_annotations.as_ref()?.0.get(&key)? {
        Value::Timestamp(at) => Some(at.milliseconds().saturating_mul(1_000)),
        Value::Long(at) => Some(at.saturating_mul(1_000)),
        _ => None,
    }
}

/// A GUID in the other of its two byte orders.
pub(crate) fn swapped(mut guid: [u8; 16]) -> [u8; 16] {
    guid[0..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    guid
}

/// What can stand in application properties, out of any value.
pub(crate) fn simple(value: &Value) -> Option<SimpleValue> {
    Some(match value.clone() {
        Value::Null => SimpleValue::Null,
        Value::Bool(v) => SimpleValue::Bool(v),
        Value::Ubyte(v) => SimpleValue::Ubyte(v),
        Value::Ushort(v) => SimpleValue::Ushort(v),
        Value::Uint(v) => SimpleValue::Uint(v),
        Value::Ulong(v) => SimpleValue::Ulong(v),
        Value::Byte(v) => SimpleValue::Byte(v),
        Value::Short(v) => SimpleValue::Short(v),
        Value::Int(v) => SimpleValue::Int(v),
        Value::Long(v) => SimpleValue::Long(v),
        Value::Float(v) => SimpleValue::Float(v),
        Value::Double(v) => SimpleValue::Double(v),
        Value::Timestamp(v) => SimpleValue::Timestamp(v),
        Value::Uuid(v) => SimpleValue::Uuid(v),
        Value::Binary(v) => SimpleValue::Binary(v),
        Value::String(v) => SimpleValue::String(v),
        Value::Symbol(Symbol(v)) => SimpleValue::String(v),
        _ => return None,
    })
}
