//! Webhooks: events that a system sends by itself. They are hints; polling is the truth.

use std::collections::BTreeMap;

use crate::record::RecordId;

/// A webhook call as it arrived.
#[derive(Clone)]
pub struct WebhookCall {
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, byte by byte.
    pub body: Vec<u8>,
}

/// What an authentic event says: look at this record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nudge {
    /// Native entity name.
    pub entity: String,
    /// The record.
    pub id: RecordId,
}
