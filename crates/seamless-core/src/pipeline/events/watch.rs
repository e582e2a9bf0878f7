//! Watching: records as they are read.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{EventRule, Happened, Turn, Watched, derive, outbox_row, turn_row, watched_row};
use crate::contract::{Event, Expect, Op, RowKey, Side, Table};
use crate::error::Result;
use crate::mapping::Observed;
use crate::pipeline::engine::Engine;
use crate::pipeline::merge::FieldWrite;
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::{ClaimHolder, Intent, RecordKey, Rows, expect_of};
use crate::record::{NativeRecord, RecordId, SystemId};
use crate::value::{Fields, Value};

/// An entity of a system that somebody wants to hear of.
pub(crate) struct Watch {
    /// The sync whose mapping reads it.
    pub(crate) sync: Arc<SyncSpec>,
    /// The side of that sync.
    pub(crate) side: Side,
    rules: Vec<EventRule>,
}

/// A record of a page, with what was known of it.
struct Look {
    row: RowKey,
    expect: Expect,
    known: Option<Watched>,
    /// What a call of ours that is under way writes there: it may have landed. `None`: in the words of another mapping.
    under_way: BTreeMap<String, Option<Value>>,
    observed: Observed,
}

/// What is watched, by system and native entity. Where several syncs keep an entity, the first one's mapping reads it.
pub(crate) fn watches(engine: &Engine) -> BTreeMap<(SystemId, String), Vec<Watch>> {
    let mut watches: BTreeMap<(SystemId, String), Vec<Watch>> = BTreeMap::new();
    for sync in engine.syncs.values() {
        for side in Side::BOTH {
            let spec = sync.side(side);
            let rules = engine.events.rules(&spec.system, &sync.model.name);
            let key = (spec.system.clone(), spec.mapping.entity.clone());
            let of_entity = watches.entry(key).or_default();
            if !rules.is_empty()
                && !of_entity
                    .iter()
                    .any(|watch| watch.sync.model.name == sync.model.name)
            {
                of_entity.push(Watch {
                    sync: sync.clone(),
                    side,
                    rules: rules.into_iter().cloned().collect(),
                });
            }
        }
    }
    watches.retain(|_, watches| !watches.is_empty());
    watches
}

impl Watch {
    /// The operations that keep what was seen in a page, and put out what has happened. `mark`: the store's version before the page was asked for; what has
    /// been written since may be newer than the page.
    pub(crate) async fn see(&self, engine: &Engine, records: &[NativeRecord], mark: u64) -> Result<Vec<Op>> {
        let spec = self.sync.side(self.side);
        let mut looks: BTreeMap<RecordId, Look> = BTreeMap::new();
        for record in records {
            let look = Look {
                row: watched_row(&spec.system, &self.sync.model.name, &record.id),
                expect: Expect::Absent,
                known: None,
                under_way: BTreeMap::new(),
                observed: spec.observe(record),
            };
            looks.insert(record.id.clone(), look);
        }
        // Before the rows are read: a call that is noted in between has noted there what it wrote.
        self.find_under_way(engine, &mut looks).await?;
        let keys: Vec<RowKey> = looks.values().map(|look| look.row.clone()).collect();
        let mut stale = Vec::new();
        for ((id, look), row) in looks.iter_mut().zip(engine.store.get(&keys).await?) {
            look.expect = expect_of(row.as_ref());
            let Some(row) = row else { continue };
            let known: Watched = engine.sealed_row(&look.row, &row)?;
            let written_since = row.version > mark && !engine.mistakes.has(Mistake::OlderLookTold);
            match age(&look.observed, &known) {
                Ordering::Less => stale.push(id.clone()),
                // From before what is known, or from behind it: the page is read again.
                Ordering::Equal if written_since && self.differs(&look.observed, &known) => {
                    return Err(look.row.has_changed());
                }
                _ => {}
            }
            look.known = Some(known);
        }
        looks.retain(|id, _| !stale.contains(id));
        let mut ops = Vec::new();
        for look in looks.into_values() {
            self.keep(engine, look, &mut ops).await?;
        }
        Ok(ops)
    }

    /// What our own calls write into these records that have not been noted as landed or not.
    async fn find_under_way(&self, engine: &Engine, looks: &mut BTreeMap<RecordId, Look>) -> Result<()> {
        let claim = |id: &RecordId| RowKey::new(Table::Claim, engine.record_claim(&self.sync, self.side, id));
        let claims: Vec<RowKey> = looks.keys().map(claim).collect();
        let (mut intents, mut claimed) = (Vec::new(), Vec::new());
        for (look, (key, row)) in looks
            .values_mut()
            .zip(claims.iter().zip(engine.store.get(&claims).await?))
        {
            let holder = row.map(|row| Rows::plain(key, &row)).transpose()?;
            if let Some(ClaimHolder::Intent(name)) = holder {
                intents.push(RowKey::new(Table::Intent, name));
                claimed.push(look);
            }
        }
        let rows = engine.store.get(&intents).await?;
        for (look, (key, row)) in claimed.into_iter().zip(intents.iter().zip(rows)) {
            let Some(row) = row else { continue };
            let intent: Intent = engine.sealed_row(key, &row)?;
            let Some(sync) = engine.syncs.get(&intent.source.sync) else {
                continue;
            };
            let there = intent.source.side.other();
            let is_here = sync.side(there).system == self.sync.side(self.side).system
                && intent.target.as_ref() == Some(&look.observed.id);
            let readable = intent.mapping[there.index()] == self.sync.side(self.side).mapping_version();
            if is_here {
                let value = |write: FieldWrite| readable.then_some(write.predicted);
                let written = intent.writes.into_iter();
                let written = written.map(|(field, write)| (field, value(write)));
                look.under_way = written.collect();
            }
        }
        Ok(())
    }

    async fn keep(&self, engine: &Engine, look: Look, ops: &mut Vec<Op>) -> Result<()> {
        let mapping = self.sync.side(self.side).mapping_version();
        let mut now = Watched {
            mapping,
            stamp: look.observed.stamp,
            values: self.watched_values(&look.observed.fields),
            sequence: look.known.as_ref().map_or(0, |known| known.sequence),
        };
        if let Some(known) = look.known.as_ref().filter(|known| known.mapping == mapping) {
            // What cannot be read now is as it was.
            for (field, value) in &known.values {
                now.values.entry(field.clone()).or_insert_with(|| value.clone());
            }
            if now.values == known.values {
                return Ok(());
            }
            let mut before = known.values.clone();
            for (field, now) in &now.values {
                // What our own call has brought is no event.
                let ours = look.under_way.get(field);
                if ours.is_some_and(|ours| ours.as_ref().is_none_or(|ours| ours == now)) {
                    before.insert(field.clone(), now.clone());
                }
            }
            let happened = derive(&self.rules, &before, &now.values);
            if !happened.is_empty() && self.takes_part(engine, &look.observed).await? {
                self.put_out(engine, &look, happened, &mut now, ops)?;
            }
        }
        ops.push(engine.typed().put_sealed(look.row, look.expect, &now)?);
        Ok(())
    }

    fn differs(&self, observed: &Observed, known: &Watched) -> bool {
        let now = self.watched_values(&observed.fields);
        now.iter()
            .any(|(field, value)| known.values.get(field) != Some(value))
    }

    /// The fields that are looked at.
    pub(super) fn fields(&self) -> BTreeSet<String> {
        self.rules.iter().map(|rule| rule.field.clone()).collect()
    }

    fn watched_values(&self, fields: &Fields) -> Fields {
        let watched = |field: &String| self.rules.iter().any(|rule| rule.field == *field);
        fields
            .iter()
            .filter(|(field, _)| watched(field))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect()
    }

    /// Within the scope of the sync, or linked: then it stays in step, and is told of, whatever it holds.
    async fn takes_part(&self, engine: &Engine, observed: &Observed) -> Result<bool> {
        if self.sync.scope[self.side.index()]
            .iter()
            .all(|rule| rule.holds(observed))
        {
            return Ok(true);
        }
        let link = RecordKey::new(&self.sync.id, self.side, &observed.id).row(Table::Link);
        Ok(engine.store.get(&[link]).await?.remove(0).is_some())
    }

    fn put_out(
        &self,
        engine: &Engine,
        look: &Look,
        happened: Vec<Happened<'_>>,
        now: &mut Watched,
        ops: &mut Vec<Op>,
    ) -> Result<()> {
        let system = &self.sync.side(self.side).system;
        let version = match look.expect {
            Expect::Version(version) => version,
            Expect::Absent | Expect::Any => 0,
        };
        for Happened { rule, before, after } in happened {
            now.sequence += 1;
            let event = Event {
                id: engine.hasher.event(
                    system,
                    &rule.entity,
                    &look.observed.id,
                    &rule.name,
                    version,
                    &after,
                ),
                name: rule.name.clone(),
                system: system.clone(),
                entity: rule.entity.clone(),
                record: look.observed.id.clone(),
                sequence: now.sequence,
                field: rule.field.clone(),
                before,
                after,
                stamp: look.observed.stamp,
                fields: look.observed.fields.clone(),
                sync: self.sync.id.clone(),
                side: self.side,
            };
            let takers = engine.events.subscribers.iter();
            for taker in takers.filter(|taker| taker.takes(system, &rule.name)) {
                let (outbox, key) = (outbox_row(&taker.name, &event), turn_row(&taker.name, &event));
                let turn = Turn {
                    event: event.clone(),
                    refused: false,
                };
                ops.push(engine.typed().put_sealed(key, Expect::Any, &turn)?);
                ops.push(Rows::put_plain(outbox, Expect::Any, &())?);
            }
            engine.counters.events.add(1);
        }
        Ok(())
    }
}

/// How old a page is beside what is known of a record, by the record's own stamps; equal where they do not tell.
fn age(observed: &Observed, known: &Watched) -> Ordering {
    match (observed.stamp, known.stamp) {
        (Some(now), Some(then)) => now.cmp(&then),
        _ => Ordering::Equal,
    }
}
