//! What is right, judged from the systems' own history (the invariants of the protocol page).

mod edits;
mod events;
mod pairs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::envelope::RowSeal;
use seamless_core::memory::{MemoryBus, MemoryStore};
use seamless_core::pipeline::{Link, Parked, RecordKey, Rows, SyncSpec};
use seamless_core::{RecordId, RowKey, Side, SyncId, Table, Value};

use crate::sim::hosts::all_rows;
use crate::sim::model::label_of;
use crate::sim::plan::Plan;
use crate::sim::record::Record;
use crate::sim::world::{Copied, World};

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
        .or_else(|| pairs::pairs_agree(world, parts, &links, &parked, plan))
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
