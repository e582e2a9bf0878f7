//! What somebody was told, held against what people did (`docs/events.md`).

use std::collections::BTreeMap;

use seamless_core::{Event, NativeRecord, RecordId, Side, Value};

use super::Violation;
use crate::sim::events::watched;
use crate::sim::hosts::SYSTEMS;
use crate::sim::model::entities;
use crate::sim::plan::Plan;
use crate::sim::record::{Change, Record, STALE_READ_MAX};
use crate::sim::world::World;

/// EV: an id means one event; a record's events come in order, and none is left out; each was somebody's doing; and of what somebody did last, somebody was told.
pub(super) fn told_rightly(world: &World, plan: &Plan) -> Option<Violation> {
    if !plan.told {
        return None;
    }
    one_id_is_one_event(&world.told)
        .or_else(|| in_order(world))
        .or_else(|| every_record(world, plan, of_people))
        .or_else(|| every_record(world, plan, last_change_told))
}

fn one_id_is_one_event(told: &[Event]) -> Option<Violation> {
    let mut known: BTreeMap<&str, &Event> = BTreeMap::new();
    let what = |event: &Event| {
        let after = event.after.to_plain().unwrap_or_default();
        format!("{} of {}/{} to '{after}'", event.name, event.system, event.record)
    };
    for event in told {
        let first = known.entry(&event.id).or_insert(event);
        if what(first) != what(event) {
            let what = format!("{} and {} have one id", what(first), what(event));
            return Some(Violation::new("EV", what));
        }
    }
    None
}

/// By the first time that each was told.
fn in_order(world: &World) -> Option<Violation> {
    if world.forgotten.is_some() {
        // A store from a backup counts from where it was.
        return None;
    }
    let mut last: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for event in &world.told {
        let last = last
            .entry((event.system.as_str(), event.record.as_str()))
            .or_default();
        if event.sequence > *last + 1 {
            let what = format!(
                "event {} of {}/{} was told after {last}",
                event.sequence, event.system, event.record
            );
            return Some(Violation::new("EV", what));
        }
        *last = (*last).max(event.sequence);
    }
    None
}

fn id_of(number: u64) -> RecordId {
    RecordId(number.to_string())
}

/// A field of a record, with what was told of it.
struct Watched<'a> {
    plan: &'a Plan,
    world: &'a World,
    side: Side,
    id: u64,
    field: &'static str,
    record: &'a Record,
    /// By id: values that it is said to have come to hold.
    told: BTreeMap<&'a str, &'a Event>,
}

fn every_record(
    world: &World,
    plan: &Plan,
    check: impl Fn(&Watched<'_>) -> Option<String>,
) -> Option<Violation> {
    for side in Side::BOTH {
        for (id, record) in world.all_records(side.index(), "account") {
            for field in watched(plan) {
                let id_text = id.to_string();
                let is_about = |event: &&Event| {
                    event.side == side && event.record.as_str() == id_text && event.field == *field
                };
                let events = world.told.iter().filter(is_about);
                let found = check(&Watched {
                    plan,
                    world,
                    side,
                    id: *id,
                    field,
                    record,
                    told: events.map(|event| (event.id.as_str(), event)).collect(),
                });
                if let Some(problem) = found {
                    let what = format!("account {}/{id} {field}: {problem}", side.index());
                    return Some(Violation::new("EV", what));
                }
            }
        }
    }
    None
}

/// No value was told of more often than people put it there.
fn of_people(watched: &Watched<'_>) -> Option<String> {
    if watched.world.forgotten.is_some() {
        // What was written since the backup looks like a person's, and what was told since is told again.
        return None;
    }
    let mut told: BTreeMap<&Value, u64> = BTreeMap::new();
    for event in watched.told.values() {
        *told.entry(&event.after).or_default() += 1;
    }
    told.into_iter().find_map(|(after, times)| {
        let typed = watched
            .changes()
            .filter(|change| change.person && watched.may_mean(&change.value, after));
        let typed = typed.count() as u64;
        let value = after.to_plain().unwrap_or_default();
        (times > typed)
            .then(|| format!("told {times} time(s) of '{value}', which people wrote {typed} time(s)"))
    })
}

/// What somebody did last to a record that was known by then.
fn last_change_told(watched: &Watched<'_>) -> Option<String> {
    let Watched {
        world,
        plan,
        side,
        id,
        field,
        ..
    } = watched;
    // A mapping that changes together with an edit hides it, and so does a store from a backup.
    if world.forgotten.is_some()
        || plan.remapped_at.is_some()
        || world.is_gone(side.index(), "account", &id_of(*id))
    {
        return None;
    }
    let last = watched.changes().last().filter(|change| change.person)?;
    // Only what was never there before cannot have been seen before.
    if watched
        .changes()
        .filter(|change| change.value == last.value)
        .count()
        > 1
    {
        return None;
    }
    let row = format!("{}/account/{id}", SYSTEMS[side.index()]);
    let known = world.known.get(&(row, (*field).to_owned()))?;
    // What is typed while we write the same field there, or between our read and our write, may be the very value that we write.
    let is_written = world.intents.iter().any(|intent| {
        let is_here = intent.source.side.other() == *side && intent.source.sync.as_str() == "account";
        let names_it = intent.target.as_ref().is_none_or(|target| *target == id_of(*id));
        let read_from = intent.from.saturating_sub(STALE_READ_MAX);
        let then = read_from <= last.at && intent.to.is_none_or(|to| last.at <= to);
        is_here && names_it && then && intent.fields.iter().any(|name| name == field)
    });
    if *known >= last.at || is_written {
        return None;
    }
    let is_told = watched
        .told
        .values()
        .any(|event| watched.may_mean(&last.value, &event.after));
    let value = last.value.to_plain().unwrap_or_default();
    (!is_told).then(|| format!("nobody was told of '{value}'"))
}

impl<'a> Watched<'a> {
    fn changes(&self) -> impl DoubleEndedIterator<Item = &'a Change> {
        let (record, field) = (self.record, self.field);
        record.history.iter().filter(move |change| change.field == field)
    }

    /// Whether a native value reads so, under the mapping of before or of now.
    fn may_mean(&self, native: &Value, canonical: &Value) -> bool {
        [false, true].into_iter().any(|remapped| {
            let entities = entities(self.plan, remapped);
            let account = entities
                .iter()
                .find(|entity| entity.model.name.as_str() == "account");
            let record = NativeRecord {
                id: RecordId::from("0"),
                stamp: None,
                created: None,
                version: None,
                fields: [(self.field.to_owned(), native.clone())].into(),
            };
            account.is_some_and(|account| {
                let observed = account.mappings[self.side.index()].observe(&record);
                observed.fields.get(self.field) == Some(canonical)
            })
        })
    }
}
