//! What travels inside an envelope.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::mapping::Observed;
use crate::record::{RecordId, SyncId};

/// Raw data to be replicated, or an event that the target may need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A record changed.
    Data,
    /// Something happened.
    Event,
}

/// One of the two systems of a sync, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first system.
    A,
    /// The second system.
    B,
}

impl Side {
    /// Both sides.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// 0 or 1.
    pub fn index(self) -> usize {
        self as usize
    }

    /// `a` or `b`, as in row keys.
    pub fn letter(self) -> char {
        match self {
            Side::A => 'a',
            Side::B => 'b',
        }
    }
}

/// A typed payload. Kind, version and key are sealed with it and compared with route and lane after opening.
pub trait Message: Serialize + DeserializeOwned + Send {
    /// Data or event.
    const KIND: MessageKind;
    /// Version of the payload's format; a reader refuses a newer one ("too new") and keeps the message.
    const VERSION: u16;

    /// The record it is about: decides the lane.
    fn key(&self) -> MessageKey<'_>;
}

/// The record a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageKey<'a> {
    /// The sync.
    pub sync: &'a SyncId,
    /// The side the record is on.
    pub side: Side,
    /// The record.
    pub id: &'a RecordId,
}

/// "Look at this record": what was seen of it when the message was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// The sync.
    pub sync: SyncId,
    /// The side it changed on.
    pub side: Side,
    /// The record as seen, canonical.
    pub observed: Observed,
    /// Version of the source's mapping.
    pub mapping_version: u64,
}

impl Message for Change {
    const KIND: MessageKind = MessageKind::Data;
    const VERSION: u16 = 1;

    fn key(&self) -> MessageKey<'_> {
        MessageKey {
            sync: &self.sync,
            side: self.side,
            id: &self.observed.id,
        }
    }
}
