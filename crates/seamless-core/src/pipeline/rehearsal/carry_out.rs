//! Carrying out a plan: exactly what it says, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::plan::{Plan, PlanItem, PlanStep, Where, with_real_ids};
use super::systems::is_born_here;
use super::{real_id, under_intent};
use crate::contract::{Side, Table};
use crate::error::Result;
use crate::pipeline::apply::{Applier, Gate, RecordEnd, parent_key};
use crate::pipeline::engine::Engine;
use crate::pipeline::resolver::Resolver;
use crate::pipeline::state::RecordKey;
use crate::pipeline::write_back::WriteBacker;
use crate::record::{RecordId, SystemId};

/// What became of one item of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ItemOutcome {
    /// It was written (or linked), as planned.
    Done,
    /// It is so already: somebody else, a run perhaps, was quicker.
    AlreadySo,
    /// It was not written.
    Refused {
        /// What has changed, or what is in the way.
        why: String,
    },
}

/// The outcomes of a plan's items, in its order; items that write nothing are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Index into the plan's items, and what became of it.
    pub items: Vec<(usize, ItemOutcome)>,
    /// Ids written back.
    pub written_back: u64,
}

impl Outcomes {
    /// How many items were done or are so already, and how many were refused.
    pub fn counts(&self) -> (usize, usize) {
        let refused = |(_, outcome): &&(usize, ItemOutcome)| matches!(outcome, ItemOutcome::Refused { .. });
        let refused = self.items.iter().filter(refused).count();
        (self.items.len() - refused, refused)
    }
}

/// Items taken at once.
const BATCH: usize = 50;
/// Tries for a record that another worker holds.
const TRIES: u32 = 20;

/// Lets through what is expected, to the letter.
#[derive(Default)]
struct Expected {
    items: Mutex<BTreeMap<RecordKey, PlanItem>>,
    names: BTreeMap<(crate::record::SyncId, Side), String>,
}

impl Gate for Expected {
    fn inspect(&self, now: &PlanItem) -> std::result::Result<(), String> {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(expected) = items.get(&now.record) else {
            return Err("it is not part of the plan".to_owned());
        };
        let name = |side| {
            let named = self.names.get(&(now.record.sync.clone(), side));
            named.cloned().unwrap_or_default()
        };
        expected.differs(now, name).map_or(Ok(()), Err)
    }
}

impl Engine {
    /// Writes what the plan says, through the usual claims and intents, in its order. An item that would come out differently now is refused with the
    /// reason, and stays for the next run. May be called while workers are at work on this engine.
    /// First-merge overwrites are not held back: whoever carries out a plan has seen them.
    pub async fn carry_out(&self, plan: &Plan) -> Result<Outcomes> {
        let engine = Arc::new(self.accepting());
        CarryOut { engine, plan }.run().await
    }
}

/// A plan being carried out.
struct CarryOut<'p> {
    engine: Arc<Engine>,
    plan: &'p Plan,
}

impl CarryOut<'_> {
    async fn run(&self) -> Result<Outcomes> {
        let (engine, plan) = (&self.engine, self.plan);
        let gate = Arc::new(Expected {
            names: names(engine),
            ..Expected::default()
        });
        let mut appliers: BTreeMap<SystemId, Applier> = BTreeMap::new();
        let mut outcomes = Outcomes::default();
        let wanted: Vec<usize> = (0..plan.items.len())
            .filter(|at| plan.items[*at].step.changes() && plan.items[*at].step != PlanStep::WriteBack)
            .collect();
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_of(engine, plan, rest)?);
            rest = later;
            let target = target_of(engine, &plan.items[batch[0]].record)?;
            if !appliers.contains_key(&target) {
                let applier = Applier::new(engine, &target).await?.gated(gate.clone());
                appliers.insert(target.clone(), applier);
            }
            let Some(applier) = appliers.get(&target) else {
                continue;
            };
            outcomes.items.extend(self.batch(batch, applier, &gate).await?);
        }
        outcomes.written_back = self.write_back().await?;
        Ok(outcomes)
    }

    async fn batch(
        &self,
        batch: &[usize],
        applier: &Applier,
        gate: &Expected,
    ) -> Result<Vec<(usize, ItemOutcome)>> {
        let (engine, plan) = (&self.engine, self.plan);
        let mut outcomes = Vec::new();
        let mut open: BTreeMap<RecordKey, usize> = BTreeMap::new();
        gate.items.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for at in batch {
            match self.made_real(&plan.items[*at]).await? {
                Ok(item) => {
                    open.insert(item.record.clone(), *at);
                    let mut items = gate.items.lock().unwrap_or_else(PoisonError::into_inner);
                    items.insert(item.record.clone(), item);
                }
                Err(why) => outcomes.push((*at, ItemOutcome::Refused { why })),
            }
        }
        let mut tries = 0;
        while !open.is_empty() {
            let records: Vec<RecordKey> = open.keys().cloned().collect();
            for (record, end) in applier.step_over(records).await? {
                let outcome = match end {
                    RecordEnd::Written => ItemOutcome::Done,
                    RecordEnd::NothingToDo => ItemOutcome::AlreadySo,
                    RecordEnd::Held(why) | RecordEnd::Aside(why) => ItemOutcome::Refused { why },
                    RecordEnd::Deferred => {
                        if under_intent(engine, &record.sync, &record).await? {
                            // Its answer was lost: what became of it is found out, however long that takes.
                            Resolver::new(engine).step().await?;
                            continue;
                        }
                        if tries < TRIES {
                            continue;
                        }
                        let why = "another worker is busy with it; plan again".to_owned();
                        ItemOutcome::Refused { why }
                    }
                };
                if let Some(at) = open.remove(&record) {
                    outcomes.push((at, outcome));
                }
            }
            if !open.is_empty() {
                tries += 1;
                engine.clock.sleep(engine.timings.defer_min).await;
            }
        }
        outcomes.sort_by_key(|(at, _)| *at);
        Ok(outcomes)
    }

    /// The item with real ids in place of stand-ins; a sentence when what it builds on is not there.
    async fn made_real(&self, item: &PlanItem) -> Result<std::result::Result<PlanItem, String>> {
        let engine = &*self.engine;
        let sync = engine.sync(&item.record.sync)?.clone();
        let key_of = |id: &RecordId, at: Where<'_>| match at {
            Where::Own => Some(RecordKey::new(&sync.id, item.record.side, id)),
            Where::Other => Some(RecordKey::new(&sync.id, item.record.side.other(), id)),
            Where::Field(field) => parent_key(engine, &sync, item.record.side.other(), field, id),
        };
        let is_reference = |field: &str| {
            sync.model
                .fields
                .get(field)
                .is_some_and(|spec| spec.reference.is_some())
        };
        // First the questions, then the answers: the store is asked in between.
        let asked: Mutex<BTreeSet<RecordKey>> = Mutex::default();
        let note = |id: &RecordId, at: Where<'_>| {
            asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(key_of(id, at));
            Some(id.clone())
        };
        let planned = if item.step == PlanStep::Create {
            // A create has no counterpart yet; its stand-in only names it for others.
            PlanItem {
                other: None,
                ..item.clone()
            }
        } else {
            item.clone()
        };
        drop(with_real_ids(&planned, is_reference, note));
        let mut real: BTreeMap<RecordKey, RecordId> = BTreeMap::new();
        for standin in asked.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if let Some(from) = self.plan.born_from(&standin)
                && let Some(id) = real_id(engine, &from).await?
            {
                real.insert(standin, id);
            }
        }
        let swap = |id: &RecordId, at: Where<'_>| key_of(id, at).and_then(|key| real.get(&key).cloned());
        Ok(with_real_ids(&planned, is_reference, swap)
            .map_err(|_| "a record that it depends on was not created".to_owned()))
    }

    /// Ids of what was linked, by the plan's own items.
    async fn write_back(&self) -> Result<u64> {
        let engine = &self.engine;
        let sides: BTreeSet<(crate::record::SyncId, Side)> = self
            .plan
            .items
            .iter()
            .filter(|item| item.step.changes())
            .flat_map(|item| Side::BOTH.map(|side| (item.record.sync.clone(), side)))
            .collect();
        let write_backer = WriteBacker::new(engine);
        for (sync, side) in sides {
            let rows = engine
                .store
                .count(Table::WriteBack, &format!("{sync}/{}/", side.letter()))
                .await?;
            for _ in 0..=rows {
                if write_backer.step(&sync, side).await?.done == 0 {
                    break;
                }
            }
        }
        Ok(engine.counters.written_back.get())
    }
}

fn target_of(engine: &Engine, record: &RecordKey) -> Result<SystemId> {
    let spec = engine.sync(&record.sync)?;
    Ok(spec.side(record.side.other()).system.clone())
}

fn names(engine: &Engine) -> BTreeMap<(crate::record::SyncId, Side), String> {
    let syncs = engine.syncs.values();
    syncs
        .flat_map(|sync| Side::BOTH.map(|side| ((sync.id.clone(), side), sync.side(side).system.to_string())))
        .collect()
}

/// How many items can go together: one target, no record twice, and nothing that builds on a record born in the same batch.
fn batch_of(engine: &Engine, plan: &Plan, rest: &[usize]) -> Result<usize> {
    let first = &plan.items[rest[0]];
    let target = target_of(engine, &first.record)?;
    let mut seen = BTreeSet::new();
    let mut born = BTreeSet::new();
    for (size, at) in rest.iter().enumerate() {
        let item = &plan.items[*at];
        let fits = size < BATCH
            && item.record.sync == first.record.sync
            && item.record.side == first.record.side
            && target_of(engine, &item.record)? == target
            && seen.insert(&item.record)
            && standins(item).is_disjoint(&born);
        if !fits {
            return Ok(size.max(1));
        }
        born.extend(item.other.clone().filter(|_| item.step == PlanStep::Create));
    }
    Ok(rest.len())
}

/// The stand-in ids that an item builds on.
fn standins(item: &PlanItem) -> BTreeSet<RecordId> {
    let values = item.fields.values();
    let named = values.filter_map(|write| write.predicted.to_plain().map(RecordId));
    let own = std::iter::once(item.record.id.clone());
    let other = item.other.clone().filter(|_| item.step != PlanStep::Create);
    named.chain(own).chain(other).filter(is_born_here).collect()
}
