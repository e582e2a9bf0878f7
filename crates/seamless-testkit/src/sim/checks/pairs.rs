//! I1, I3, R11 and R12: what the two of a pair hold.

use std::collections::BTreeMap;

use seamless_core::pipeline::{Direction, FieldSpec, OnDrift, Parked, RecordKey, ReferenceSpec, SyncSpec};
use seamless_core::{NativeRecord, RecordId, Side, SyncId, Value};

use super::edits::{during_create, lost_edit, story};
use super::{Links, Parts, Violation, first};
use crate::sim::plan::Plan;
use crate::sim::record::{Change, Record};
use crate::sim::world::World;

/// I1 and I3 for every pair.
pub(super) fn pairs_agree(
    world: &World,
    parts: &Parts,
    links: &Links,
    parked: &BTreeMap<RecordKey, Parked>,
    plan: &Plan,
) -> Option<Violation> {
    // Moved to a parent that has no counterpart: such a pair waits as a whole.
    let waits = |key: &RecordKey| {
        let row = parked.get(key);
        row.is_some_and(|row| {
            row.waits_for
                .as_ref()
                .is_some_and(|parent| !links.contains_key(parent))
        })
    };
    for (key, other) in links.iter().filter(|(key, _)| key.side == Side::A) {
        let spec = parts.syncs.get(&key.sync)?;
        let back = RecordKey::new(&key.sync, Side::B, other);
        if links.get(&back) != Some(&key.id) {
            return Some(Violation::new(
                "I2",
                format!("{} and {} are not linked one to one", key.path(), back.path()),
            ));
        }
        let find = |side: Side, id: &RecordId| {
            let id: u64 = id.0.parse().ok()?;
            world.systems[side.index()]
                .tables
                .get(&spec.side(side).mapping.entity)?
                .get(&id)
        };
        let gone =
            |side: Side, id: &RecordId| world.is_gone(side.index(), &spec.side(side).mapping.entity, id);
        if gone(Side::A, &key.id) || gone(Side::B, other) {
            continue;
        }
        let (Some(a), Some(b)) = (find(Side::A, &key.id), find(Side::B, other)) else {
            return Some(Violation::new(
                "I3",
                format!("{} is linked to a record that is not there", key.path()),
            ));
        };
        for (side, record, xref) in [(Side::A, a, other), (Side::B, b, &key.id)] {
            if record.fields.get("xref").and_then(Value::as_text) != Some(xref.as_str()) {
                return Some(Violation::new(
                    "R11",
                    format!("{} does not carry {xref} on side {side:?}", key.path()),
                ));
            }
        }
        if waits(key) || waits(&back) {
            continue;
        }
        let met_again = world.forgotten.is_some()
            || world
                .apart
                .contains(&(key.sync.clone(), key.id.clone(), other.clone()));
        for (name, field) in &spec.model.fields {
            let what = |problem: &str| format!("{} {name}: {problem}", key.path());
            let mapped = |side: Side| spec.side(side).mapping.fields.contains_key(name);
            if field.passenger || !Side::BOTH.into_iter().all(mapped) {
                continue;
            }
            if let Some(problem) = one_way_broken(spec, field, name, b) {
                return Some(Violation::new("R12", what(&problem)));
            }
            if typed_over(world, plan, spec, name, a, b, met_again)
                || defaulted(spec, name, a, b)
                || born_with(world, spec, key, name, a, b)
            {
                continue;
            }
            if let Some(reference) = &field.reference {
                if !references_agree(world, links, reference, name, a, b) {
                    return Some(Violation::new("I3", what("the references differ")));
                }
                continue;
            }
            if field.direction.is_some() && (value(a, name).is_empty() || put_back_unseen(world, name, a)) {
                // One way, and nothing to say.
                continue;
            }
            if !agree(spec, name, &value(a, name), &value(b, name)) {
                let text = |record: &Record| value(record, name).to_plain().unwrap_or_default();
                let differ = format!("'{}' and '{}' differ; {}", text(a), text(b), story(name, a, b));
                return Some(Violation::new("I3", what(&differ)));
            }
            if met_again || field.direction.is_some() || spec.direction != Direction::TwoWay {
                continue;
            }
            if let Some(problem) = lost_edit(spec, key, name, a, b, world, plan) {
                return Some(Violation::new("I1", what(&problem)));
            }
        }
    }
    None
}

/// R12: what flows one way is written there only.
fn one_way_broken(spec: &SyncSpec, field: &FieldSpec, name: &str, b: &Record) -> Option<String> {
    let written = |change: &Change| change.field == name && !change.person;
    let one_way = spec.direction == Direction::BToA && field.direction.is_none();
    (one_way && b.history.iter().any(written)).then(|| "written in the source of a one-way sync".to_owned())
}

/// R12: what a person typed over on the far side of a one-way sync stays until the source changes the field.
fn typed_over(
    world: &World,
    plan: &Plan,
    spec: &SyncSpec,
    name: &str,
    a: &Record,
    b: &Record,
    met_again: bool,
) -> bool {
    fn newest_first<'a>(record: &'a Record, name: &str) -> impl Iterator<Item = &'a Change> {
        record
            .history
            .iter()
            .rev()
            .filter(move |change| change.field == name)
    }
    let required = spec
        .side(Side::A)
        .mapping
        .fields
        .get(name)
        .is_some_and(|field| field.required);
    // At a first link what only the far side has is kept.
    let restorable = !((required || met_again) && value(b, name).is_empty());
    let restored = plan.reconciled && plan.on_drift == OnDrift::Restore && restorable;
    if spec.direction != Direction::BToA || restored {
        return false;
    }
    if put_back_unseen(world, name, b) {
        return true;
    }
    let Some(typed) = newest_first(a, name).next().filter(|change| change.person) else {
        return false;
    };
    let changed = newest_first(b, name)
        .next()
        .is_some_and(|change| change.at > typed.at);
    // A change that the source took back before anybody looked is none.
    let taken_back =
        newest_first(b, name).any(|change| change.at <= typed.at && change.value == value(b, name));
    !changed || taken_back
}

/// Typed where it only follows, while the record was being made: to the engine it is what the system itself gave to it.
fn born_with(world: &World, spec: &SyncSpec, key: &RecordKey, name: &str, a: &Record, b: &Record) -> bool {
    let typed = a.history.iter().rfind(|change| change.field == name);
    spec.direction == Direction::BToA
        && a.by_engine
        && value(b, name).is_empty()
        && typed.is_some_and(|change| change.person && during_create(world, key, change))
}

/// The first system holds what it was given because the second had nothing, and the second still has nothing.
fn defaulted(spec: &SyncSpec, name: &str, a: &Record, b: &Record) -> bool {
    value(b, name).is_empty() && default_given(spec, name, a).is_some_and(|given| given == value(a, name))
}

/// To a store from a backup the source of a one-way field never changed, and what the engine wrote since looks like a person's.
fn put_back_unseen(world: &World, name: &str, source: &Record) -> bool {
    let held = source.history.iter().filter(|change| change.field == name);
    world.forgotten.is_some() && held.filter(|change| change.value == value(source, name)).count() > 1
}

/// What the first system was given for a field that the second did not have. Nobody can tell a person who puts it back from one who never touched it.
pub(super) fn default_given(spec: &SyncSpec, name: &str, a: &Record) -> Option<Value> {
    let mapping = spec.side(Side::A).mapping.fields.get(name)?;
    let has_default = mapping.default.is_some() || !mapping.default_from.is_empty();
    (has_default && a.by_engine).then(|| first(a, name))
}

fn references_agree(
    world: &World,
    links: &Links,
    reference: &ReferenceSpec,
    name: &str,
    a: &Record,
    b: &Record,
) -> bool {
    let id = |record: &Record| value(record, name).to_plain();
    let sync = SyncId::from(reference.entity.as_str());
    let linked = |side: Side, id: &str| {
        links
            .get(&RecordKey::new(&sync, side, &RecordId::from(id)))
            .cloned()
    };
    let exists = |side: Side, id: &str| {
        let mut there = world.records(side.index(), reference.entity.as_str());
        there.any(|(number, _)| number.to_string() == id)
    };
    let (a, b) = (id(a), id(b).or_else(|| named(world, reference, b)));
    let gone = |side: Side, id: &Option<String>| {
        let id = id.as_deref().map(RecordId::from);
        id.is_some_and(|id| world.is_gone(side.index(), reference.entity.as_str(), &id))
    };
    if gone(Side::A, &a) || gone(Side::B, &b) {
        return true;
    }
    if a.as_ref().is_some_and(|id| !exists(Side::A, id)) || b.as_ref().is_some_and(|id| !exists(Side::B, id))
    {
        return false;
    }
    match (a, b) {
        (None, None) => true,
        // A parent that is set aside leaves the reference out on the other side.
        (Some(a), None) => linked(Side::A, &a).is_none(),
        (None, Some(b)) => linked(Side::B, &b).is_none(),
        (Some(a), Some(b)) => {
            linked(Side::A, &a).is_none_or(|other| other.0 == b) || linked(Side::B, &b).is_none()
        }
    }
}

/// The record of the second system that `record` names by something else than its id.
fn named(world: &World, reference: &ReferenceSpec, record: &Record) -> Option<String> {
    let named_by = reference.named_by.as_ref()?;
    let name = value(record, &named_by.field);
    let within = named_by.within.as_deref()?;
    let means = |other: &Record| {
        value(other, &named_by.equals) == name && value(other, within) == value(record, within)
    };
    let mut all = world.records(1, reference.entity.as_str());
    let (id, _) = all.find(|(_, other)| !name.is_empty() && means(other))?;
    Some(id.to_string())
}

pub(super) fn value(record: &Record, field: &str) -> Value {
    record.fields.get(field).cloned().unwrap_or_default()
}

/// Equal up to declared loss: what one side holds is what the other would be given for it.
pub(super) fn agree(spec: &SyncSpec, name: &str, a: &Value, b: &Value) -> bool {
    let canonical = |side: Side, value: &Value| {
        let native = NativeRecord {
            id: RecordId::from("0"),
            stamp: None,
            created: None,
            version: None,
            fields: [(name.to_owned(), value.clone())].into(),
        };
        spec.side(side)
            .mapping
            .observe(&native)
            .fields
            .get(name)
            .cloned()
            .unwrap_or_default()
    };
    let (a, b) = (canonical(Side::A, a), canonical(Side::B, b));
    let compare = spec
        .model
        .fields
        .get(name)
        .map(|field| field.compare)
        .unwrap_or_default();
    let projected = |side: Side, value: &Value| {
        spec.side(side)
            .mapping
            .project(name, value)
            .ok()
            .map(|p| p.predicted)
    };
    compare.same(&a, &b)
        || projected(Side::B, &a).is_some_and(|there| compare.same(&there, &b))
        || projected(Side::A, &b).is_some_and(|there| compare.same(&there, &a))
}
