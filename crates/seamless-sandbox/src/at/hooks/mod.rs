//! Webhooks: callouts, the events that changes cause, and what is due to be sent.
//!
//! An event is tried again after 30 seconds, five times in all, and then dropped; while it waits, later ones of its callout wait behind it. 25 events
//! in a row that came to nothing switch a callout off. Times are the simulated server's, so that tests can turn them.

mod routes;
mod send;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

pub(crate) use routes::call;
pub(crate) use send::run;

use crate::faults::Call;
use crate::schema::UDF;
use crate::value::{Style, format_time};
use crate::world::World;
use crate::{Entity, System};

/// Over which form of its body an event is signed: what the real service does is not established.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookForm {
    /// Over the bytes as they are sent.
    #[default]
    Raw,
    /// Over a form in which everything that is not plain is escaped.
    Escaped,
    /// Now one, now the other.
    Both,
}

/// What happens to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Delete,
}

/// Events of one entity type in an hour; more are not sent.
const EVENTS_AN_HOUR: u32 = 1_500;
const TRIES_MAX: u32 = 5;
const RETRY_MS: i64 = 30_000;
/// Events in a row that came to nothing before a callout is switched off.
const FAILURES_MAX: u32 = 25;
/// Deliveries remembered for the admin interface.
const LOG_MAX: usize = 5_000;

/// A callout, as an integration has set it up.
#[derive(Debug, Default)]
pub(crate) struct Callout {
    pub(crate) entity: Option<Entity>,
    /// As sent, without the secret.
    pub(crate) settings: Map<String, Json>,
    secret: String,
    /// Row id → field number.
    pub(crate) fields: BTreeMap<i64, i64>,
    pub(crate) udf_fields: BTreeMap<i64, i64>,
    pub(crate) excluded: BTreeMap<i64, i64>,
    failures: u32,
    sequence: u64,
    queue: VecDeque<Event>,
}

/// An event on its way.
#[derive(Clone, Debug)]
struct Event {
    body: String,
    due: i64,
    tries: u32,
    /// Goes to the other address, unsigned.
    deactivation: bool,
}

/// All callouts, and what became of their events.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) callouts: BTreeMap<i64, Callout>,
    next_id: i64,
    /// When events of an entity were caused, on the clock of the hourly limit.
    hour: BTreeMap<Entity, VecDeque<f64>>,
    log: VecDeque<Json>,
    counts: BTreeMap<&'static str, u64>,
    signed: u64,
}

impl Hooks {
    fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn remember(&mut self, line: Json) {
        self.log.push_back(line);
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
    }

    /// For the admin interface.
    pub(crate) fn shown(&self) -> Json {
        let callouts: Vec<Json> = self
            .callouts
            .iter()
            .map(|(id, callout)| {
                json!({
                    "id": id, "entity": callout.entity, "active": callout.is_active(), "ready": callout.is_ready(),
                    "fields": callout.fields.len(), "udf_fields": callout.udf_fields.len(),
                    "excluded": callout.excluded.values().collect::<Vec<_>>(),
                    "waiting": callout.queue.len(), "failures": callout.failures,
                })
            })
            .collect();
        json!({ "callouts": callouts, "counts": self.counts, "deliveries": self.log })
    }
}

impl Callout {
    pub(crate) fn is_active(&self) -> bool {
        self.flag("isActive")
    }

    /// Without a field it never becomes ready.
    pub(crate) fn is_ready(&self) -> bool {
        !self.fields.is_empty() || !self.udf_fields.is_empty()
    }

    fn flag(&self, name: &str) -> bool {
        self.settings.get(name).and_then(Json::as_bool).unwrap_or(false)
    }

    fn text(&self, name: &str) -> &str {
        self.settings.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    fn wants(&self, action: Action) -> bool {
        self.flag(match action {
            Action::Create => "isSubscribedToCreateEvents",
            Action::Update => "isSubscribedToUpdateEvents",
            Action::Delete => "isSubscribedToDeleteEvents",
        })
    }
}

/// The number under which a webhook knows a field.
pub(crate) fn field_id(field: u16) -> i64 {
    i64::from(field) + 1
}

fn spelled(entity: Entity) -> &'static str {
    match entity {
        // What the API calls a company is an account here.
        Entity::Account => "Account",
        Entity::Contact => "Contact",
        _ => "Ticket",
    }
}

impl World {
    /// A record has changed: whoever has subscribed to that hears of it.
    pub(crate) fn cause_events(
        &mut self,
        entity: Entity,
        id: i64,
        action: Action,
        changed: &[u16],
        by_api: bool,
    ) {
        if self.hooks.callouts.is_empty() {
            return;
        }
        let person = if by_api {
            super::tables::API_RESOURCE
        } else {
            super::tables::HUMAN_RESOURCE
        };
        let wanting: Vec<i64> = self
            .hooks
            .callouts
            .iter()
            .filter(|(_, callout)| {
                callout.entity == Some(entity)
                    && callout.is_active()
                    && callout.is_ready()
                    && callout.wants(action)
                    && !callout.excluded.values().any(|excluded| *excluded == person)
            })
            .map(|(id, _)| *id)
            .collect();
        for callout in wanting {
            self.cause_event(callout, entity, id, action, changed, person);
        }
    }

    fn cause_event(
        &mut self,
        callout: i64,
        entity: Entity,
        id: i64,
        action: Action,
        changed: &[u16],
        person: i64,
    ) {
        let told = {
            let known = &self.hooks.callouts[&callout];
            let schema = &self.table(System::Autotask, entity).schema;
            let subscribed = |field: &&u16| {
                let list = if schema.field(**field).is(UDF) {
                    &known.udf_fields
                } else {
                    &known.fields
                };
                list.values().any(|number| *number == field_id(**field))
            };
            let fields: BTreeSet<u16> = changed.iter().filter(subscribed).copied().collect();
            fields
        };
        if action == Action::Update && told.is_empty() {
            return;
        }
        if !self.may_cause(entity) {
            self.hooks.count("over_threshold");
            return;
        }
        let now = self.now();
        let mut fields = Map::new();
        if let (Action::Create | Action::Update, Some(rec)) =
            (action, self.table(System::Autotask, entity).get(id))
        {
            for field in told {
                let name = self
                    .table(System::Autotask, entity)
                    .schema
                    .field(field)
                    .name
                    .clone();
                let value = self.value_json(System::Autotask, entity, field, rec.get(field));
                fields.insert(name, value);
            }
        }
        let guid = format!("{:08x}-0000-4000-8000-{:012x}", callout, self.seq);
        let Some(known) = self.hooks.callouts.get_mut(&callout) else {
            return;
        };
        known.sequence += 1;
        let body = json!({
            "Action": format!("{action:?}"), "Guid": guid, "EntityType": spelled(entity), "Id": id, "Fields": fields,
            "EventTime": format_time(now, Style::Crm), "SequenceNumber": known.sequence, "PersonID": person,
        })
        .to_string();
        self.queue_event(callout, entity, body);
    }

    /// Faults strike here: an event is lost, comes twice, or comes after those that follow it.
    fn queue_event(&mut self, callout: i64, entity: Entity, body: String) {
        let path = format!("/{}", self.table(System::Autotask, entity).schema.collection);
        let call = Call {
            system: System::Autotask,
            method: "HOOK",
            path: &path,
            write: true,
        };
        self.hooks.count("caused");
        if self.strike(&call, |f| &mut f.hook_lost).is_some() {
            self.hooks.count("lost");
            return;
        }
        let late = self.strike(&call, |f| &mut f.hook_late);
        let twice = self.strike(&call, |f| &mut f.hook_repeated).is_some();
        let now = self.now();
        let event = Event {
            body,
            due: now + late.map_or(0, |fault| fault.delay_ms as i64),
            tries: 0,
            deactivation: false,
        };
        if let Some(known) = self.hooks.callouts.get_mut(&callout) {
            for _ in 0..=usize::from(twice) {
                known.queue.push_back(event.clone());
            }
        }
    }

    fn may_cause(&mut self, entity: Entity) -> bool {
        let now = self.clock.limit_ms();
        let hour = self.hooks.hour.entry(entity).or_default();
        while hour.front().is_some_and(|at| *at <= now - 3_600_000.0) {
            hour.pop_front();
        }
        if hour.len() >= EVENTS_AN_HOUR as usize {
            return false;
        }
        hour.push_back(now);
        true
    }

    /// Many events about one record, as an import causes them. Beyond the hourly threshold they are not sent.
    pub(crate) fn flood(&mut self, entity: Entity, id: i64, count: u32) {
        let fields: Vec<u16> = (0..self.table(System::Autotask, entity).schema.fields.len() as u16).collect();
        for _ in 0..count {
            self.seq += 1;
            self.cause_events(entity, id, Action::Update, &fields, false);
        }
    }
}
