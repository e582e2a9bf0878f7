//! Events (`docs/events.md`): derived where a change is read, carried on the bus, told to subscribers.
//!
//! A watched record has a row that holds the watched fields as they were last seen, and intake compares with it. The new row, and an event for each
//! subscriber, are one commit: that is when the change becomes state, and the row's version, which no commit ever repeats, names the event. What we write
//! ourselves goes into the row with the write's own commit, and is no event; until then the open intent tells. From there on: [`EventSender`] publishes what
//! has been put out, [`Herald`] tells it. Every event has a *turn* until it was told or refused, and a later one of the same record waits for an earlier
//! turn. A turn whose message the bus has lost is put out again.

mod begin;
mod derive;
mod herald;
mod own_write;
mod send;
mod watch;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::state::Rows;
use crate::contract::{Event, RowKey, Table};
use crate::error::Result;
use crate::record::{EntityName, RecordId, Stamp, SystemId};
use crate::value::Fields;

pub use derive::{Happened, derive};
pub use herald::Herald;
pub(crate) use own_write::{Landed, OwnWrite};
pub use send::EventSender;
pub(crate) use watch::{Watch, watches};

/// When something has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRule {
    /// What the event is called (`ticket.completed`).
    pub name: String,
    /// The entity.
    pub entity: EntityName,
    /// The canonical field that is watched.
    pub field: String,
    /// The event is that the field has come to hold one of these values, as plain text. Empty: any change.
    #[serde(default)]
    pub becomes: Vec<String>,
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Its name.
    pub name: String,
    /// The events it is told of.
    pub events: BTreeSet<String>,
    /// The systems in which they have to happen.
    pub from: BTreeSet<SystemId>,
}

/// All events of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventSpec {
    /// What counts as an event.
    pub rules: Vec<EventRule>,
    /// Who is told.
    pub subscribers: Vec<Subscriber>,
}

impl EventSpec {
    /// The rules that somebody has subscribed to, for an entity of a system.
    pub(crate) fn rules(&self, system: &SystemId, entity: &EntityName) -> Vec<&EventRule> {
        let wanted = |rule: &EventRule| {
            let takes = |subscriber: &Subscriber| subscriber.takes(system, &rule.name);
            rule.entity == *entity && self.subscribers.iter().any(takes)
        };
        self.rules.iter().filter(|rule| wanted(rule)).collect()
    }
}

impl Subscriber {
    fn takes(&self, system: &SystemId, event: &str) -> bool {
        self.events.contains(event) && self.from.contains(system)
    }
}

/// The bus subscription of a subscriber to events. No system's name has a dot in it.
pub fn event_subscription(subscriber: &str) -> String {
    format!("{subscriber}.events")
}

/// The watched fields of a record as they were last seen.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Watched {
    /// Version of the mapping they were read under. Values of another one are not compared.
    mapping: u64,
    /// The record's own stamp then.
    stamp: Option<Stamp>,
    /// Canonical values.
    values: Fields,
    /// Events so far.
    sequence: u64,
}

/// An event that has not been told yet: later ones of its record wait for it.
#[derive(Serialize, Deserialize)]
struct Turn {
    event: Event,
    /// A dead letter, for which nobody waits.
    refused: bool,
}

fn watched_row(system: &SystemId, entity: &EntityName, id: &RecordId) -> RowKey {
    RowKey::new(Table::Watched, format!("{system}/{entity}/{id}"))
}

/// The turns of a record's events, for one subscriber.
fn turns_of(subscriber: &str, event: &Event) -> String {
    format!(
        "{subscriber}/{}/{}/{}\u{1f}",
        event.system, event.entity, event.record
    )
}

fn turn_row(subscriber: &str, event: &Event) -> RowKey {
    let key = format!("{}{:020}", turns_of(subscriber, event), event.sequence);
    RowKey::new(Table::Turn, key)
}

/// An event that has not been published yet.
fn outbox_row(subscriber: &str, event: &Event) -> RowKey {
    RowKey::new(Table::Outbox, turn_row(subscriber, event).key)
}

impl Engine {
    fn sealed_row<T: serde::de::DeserializeOwned>(
        &self,
        key: &RowKey,
        row: &crate::contract::Row,
    ) -> Result<T> {
        Rows::new(&self.rows).sealed(key, row)
    }
}
