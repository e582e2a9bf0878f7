//! What is right, judged from the systems' own history (the invariants of the protocol page).

mod edits;
mod events;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::envelope::RowSeal;
use seamless_core::memory::{MemoryBus, MemoryStore};
use seamless_core::pipeline::{
    Direction, FieldSpec, Link, OnDrift, Parked, RecordKey, ReferenceSpec, Rows, SyncSpec,
};
use seamless_core::{NativeRecord, RecordId, RowKey, Side, SyncId, Table, Value};

use self::edits::{during_create, lost_edit, story};
use crate::sim::hosts::all_rows;
use crate::sim::model::label_of;
use crate::sim::plan::Plan;
use crate::sim::world::{Change, Copied, Record, World};

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which (`I1` …).
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    pub(in crate::sim) fn new(invariant: &'static str, what: String) -> Violation {
        Violation { invariant, what }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What is needed to read the books.
pub(in crate::sim) struct Parts {
    pub(in crate::sim) syncs: BTreeMap<SyncId, Arc<SyncSpec>>,
    pub(in crate::sim) rows: RowSeal,
}

type Links = BTreeMap<RecordKey, RecordId>;

/// Judges a world at rest.
pub(in crate::sim) fn judge(
    world: &World,
    store: &MemoryStore,
    bus: &MemoryBus,
    parts: &Parts,
    plan: &Plan,
) -> Option<Violation> {
    let links = links(store, parts);
    let parked = parked(store, parts);
    let rewritten = plan.rewrites.map(|_| world.with_notes_in_capitals());
    let world = rewritten.as_ref().unwrap_or(world);
    ciphertext_only(store, bus)
        .or_else(|| nothing_vanished(world, parts, &links, &parked))
        .or_else(|| no_duplicates(world, parts, plan))
        .or_else(|| twins_are_not_guessed(world, parts, &links, plan))
        .or_else(|| copies_are_nobody(world, parts, &links))
        .or_else(|| pairs_agree(world, parts, &links, &parked, plan))
        .or_else(|| events::told_rightly(world, plan))
}

fn links(store: &MemoryStore, parts: &Parts) -> Links {
    let mut links = Links::new();
    for (key, row) in all_rows(store, Table::Link) {
        let row_key = RowKey::new(Table::Link, key.clone());
        if let (Some(record), Ok(link)) = (record_of(&key, parts), Rows::plain::<Link>(&row_key, &row)) {
            links.insert(record, link.other);
        }
    }
    links
}

fn parked(store: &MemoryStore, parts: &Parts) -> BTreeMap<RecordKey, Parked> {
    let rows = Rows::new(&parts.rows);
    let mut parked = BTreeMap::new();
    for (key, row) in all_rows(store, Table::Parked) {
        let row_key = RowKey::new(Table::Parked, key.clone());
        if let (Some(record), Ok(row)) = (record_of(&key, parts), rows.sealed(&row_key, &row)) {
            parked.insert(record, row);
        }
    }
    parked
}

fn record_of(path: &str, parts: &Parts) -> Option<RecordKey> {
    let mut words = path.splitn(3, '/');
    let (sync, side, id) = (words.next()?, words.next()?, words.next()?);
    let side = if side == "a" { Side::A } else { Side::B };
    parts
        .syncs
        .get_key_value(&SyncId::from(sync))
        .map(|(sync, _)| RecordKey::new(sync, side, &RecordId::from(id)))
}

/// I9: a marker that every name carries is in no row and no message.
fn ciphertext_only(store: &MemoryStore, bus: &MemoryBus) -> Option<Violation> {
    let leaks = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"MARKER");
    for table in Table::ALL {
        for (key, row) in all_rows(store, table) {
            if leaks(key.as_bytes()) || leaks(&row.value) {
                return Some(Violation::new(
                    "I9",
                    format!("personal data in the clear in {table:?}"),
                ));
            }
        }
    }
    bus.bodies()
        .iter()
        .any(|body| leaks(body))
        .then(|| Violation::new("I9", "personal data in the clear on the bus".into()))
}

/// I7: every record is linked, or set aside with a reason that still holds.
fn nothing_vanished(
    world: &World,
    parts: &Parts,
    links: &Links,
    parked: &BTreeMap<RecordKey, Parked>,
) -> Option<Violation> {
    for (sync, spec) in &parts.syncs {
        for side in Side::BOTH {
            for (id, _) in world.records(side.index(), &spec.side(side).mapping.entity) {
                let key = RecordKey::new(sync, side, &RecordId(id.to_string()));
                if links.contains_key(&key) || !spec.direction.flows_from(side) {
                    continue;
                }
                match parked.get(&key) {
                    None => {
                        return Some(Violation::new(
                            "I7",
                            format!("{} is neither linked nor set aside", key.path()),
                        ));
                    }
                    Some(row) => {
                        if let Some(parent) = &row.waits_for
                            && links.contains_key(parent)
                        {
                            let what = format!("{} waits for {}, which is linked", key.path(), parent.path());
                            return Some(Violation::new("I7", what));
                        }
                    }
                }
            }
        }
    }
    None
}

/// I2: the engine made no record twice, and none that was there already, as far as a search could show it.
fn no_duplicates(world: &World, parts: &Parts, plan: &Plan) -> Option<Violation> {
    for spec in parts.syncs.values() {
        let entity = spec.model.name.as_str();
        let label = label_of(entity);
        for side in 0..2 {
            let of_people =
                |record: &Record, value: &Value| !record.by_engine && first(record, label) == *value;
            let mut made: BTreeMap<Value, Vec<Duration>> = BTreeMap::new();
            for (_, record) in world
                .all_records(side, entity)
                .filter(|(_, record)| record.by_engine)
            {
                made.entry(first(record, label)).or_default().push(born(record));
            }
            for (value, times) in made {
                let flows = spec.direction.flows_from(Side::BOTH[1 - side]);
                let originals = world.all_records(1 - side, entity).filter(|_| flows);
                let there = originals.filter(|(_, record)| of_people(record, &value)).count();
                // A twin that a search could not show yet when the engine looked cannot be held against it: it ends reported.
                let blind = if plan.search_lag.is_zero() {
                    Duration::from_millis(40)
                } else {
                    Duration::from_secs(2)
                };
                let latest = times.iter().max().copied().unwrap_or_default();
                let known = world
                    .records(side, entity)
                    .filter(|(_, record)| of_people(record, &value))
                    .any(|(_, record)| born(record) + plan.search_lag + blind < latest);
                let allowed = if known { there.saturating_sub(1) } else { there };
                if times.len() > allowed {
                    let what = format!(
                        "{} {entity} record(s) made on side {side} where {allowed} were to be made",
                        times.len()
                    );
                    return Some(Violation::new("I2", what));
                }
            }
        }
    }
    None
}

fn born(record: &Record) -> Duration {
    record.history.first().map(|change| change.at).unwrap_or_default()
}

/// What a field held first.
fn first(record: &Record, field: &str) -> Value {
    record
        .history
        .iter()
        .find(|change| change.field == field)
        .map(|change| change.value.clone())
        .unwrap_or_default()
}

/// R9: where two records of one side fit one of the other, nobody guesses.
fn twins_are_not_guessed(world: &World, parts: &Parts, links: &Links, plan: &Plan) -> Option<Violation> {
    if !plan.search_lag.is_zero() {
        // A twin that no search shows yet cannot be known.
        return None;
    }
    let (sync, _) = parts
        .syncs
        .iter()
        .find(|(_, spec)| spec.model.name.as_str() == "account")?;
    for side in Side::BOTH {
        let mut by_name: BTreeMap<Value, Vec<(&u64, &Record)>> = BTreeMap::new();
        for (id, record) in world
            .records(side.index(), "account")
            .filter(|(_, record)| !record.by_engine)
        {
            by_name
                .entry(first(record, "name"))
                .or_default()
                .push((id, record));
        }
        for twins in by_name.values().filter(|twins| twins.len() > 1) {
            for (id, _) in twins {
                let key = RecordKey::new(sync, side, &RecordId(id.to_string()));
                let Some(other) = links.get(&key).and_then(|id| id.0.parse::<u64>().ok()) else {
                    continue;
                };
                let there = world.systems[side.other().index()]
                    .tables
                    .get("account")
                    .and_then(|table| table.get(&other));
                if there.is_some_and(|record| !record.by_engine) {
                    return Some(Violation::new(
                        "R9",
                        format!("{} was linked although its twin fits as well", key.path()),
                    ));
                }
            }
        }
    }
    None
}

/// R9: a copied cross-reference is no identity.
fn copies_are_nobody(world: &World, parts: &Parts, links: &Links) -> Option<Violation> {
    let (sync, _) = parts
        .syncs
        .iter()
        .find(|(_, spec)| spec.model.name.as_str() == "account")?;
    let taken_for_the_original = world.copies.iter().find(|copy| {
        let key = RecordKey::new(sync, Side::BOTH[copy.side], &RecordId(copy.id.to_string()));
        links.get(&key).is_some_and(|other| other.0 == copy.named)
    })?;
    let Copied { side, id, named } = taken_for_the_original;
    let what = format!("the copy {side}/{id} was linked to {named}, which belongs to its original");
    Some(Violation::new("R9", what))
}

/// I1 and I3 for every pair.
fn pairs_agree(
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
fn default_given(spec: &SyncSpec, name: &str, a: &Record) -> Option<Value> {
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

fn value(record: &Record, field: &str) -> Value {
    record.fields.get(field).cloned().unwrap_or_default()
}

/// Equal up to declared loss: what one side holds is what the other would be given for it.
fn agree(spec: &SyncSpec, name: &str, a: &Value, b: &Value) -> bool {
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
