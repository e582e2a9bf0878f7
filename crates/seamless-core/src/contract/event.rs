//! Events: what happened to a record, told to those who have subscribed.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Message, MessageKey, MessageKind, Side};
use crate::error::Result;
use crate::record::{EntityName, RecordId, Stamp, SyncId, SystemId};
use crate::value::{Fields, Value};

/// Something that happened to a record in its system: the other kind of message.
#[derive(Clone, Serialize, Deserialize)]
pub struct Event {
    /// The same for every delivery of this event to everybody, so that a receiver can tell a repetition.
    pub id: String,
    /// What happened (`ticket.completed`).
    pub name: String,
    /// The system in which it happened.
    pub system: SystemId,
    /// The entity.
    pub entity: EntityName,
    /// The record's id there.
    pub record: RecordId,
    /// Counts the events of this record from 1: the order in which they happened.
    pub sequence: u64,
    /// The canonical field that changed.
    pub field: String,
    /// What it held.
    pub before: Value,
    /// What it holds.
    pub after: Value,
    /// The record's own stamp when the change was seen.
    pub stamp: Option<Stamp>,
    /// The record when the change was seen, in canonical fields. Empty where that would be larger than the bus takes.
    pub fields: Fields,
    /// The sync under whose mapping it was read.
    pub sync: SyncId,
    /// The side of that sync.
    pub side: Side,
}

impl Message for Event {
    const KIND: MessageKind = MessageKind::Event;
    const VERSION: u16 = 1;

    fn key(&self) -> MessageKey<'_> {
        MessageKey {
            sync: &self.sync,
            side: self.side,
            id: &self.record,
        }
    }
}

impl Event {
    /// As receivers get it.
    pub fn to_json(&self) -> serde_json::Value {
        let fields = self.fields.iter();
        serde_json::json!({
            "id": self.id,
            "event": self.name,
            "system": self.system,
            "entity": self.entity,
            "record": self.record,
            "sequence": self.sequence,
            "field": self.field,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "fields": fields.map(|(name, value)| (name.clone(), value.to_json())).collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "event {} of {}:{} ({})",
            self.name, self.system, self.record, self.id
        )
    }
}

/// Takes events.
///
/// **Delivery** is at least once: an event whose delivery was confirmed, but not yet noted when the host died, comes again under the same id. Events of one
/// record come in order; a later one waits until the earlier one was taken or refused.
/// **Errors.** `Later` is tried again for as long as it takes. `Never` is a refusal of this event, which is set aside as a dead letter, except `Auth`,
/// `Permission` and `Config`: those are about the receiver, and everything waits for a person.
/// **Cancel safety.** A dropped `tell` may have arrived; it will be told again.
#[async_trait]
pub trait EventTarget: Send + Sync {
    /// Tells an event. Must not be sent after `send_by` ([`crate::Clock::monotonic`]).
    async fn tell(&self, event: &Event, send_by: Duration) -> Result<()>;
}
