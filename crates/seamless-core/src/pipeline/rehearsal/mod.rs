//! Seeing a run before it happens, and making exactly that happen afterwards.
//!
//! A rehearsal is the engine itself on a private bus, a copy-on-write view of the store ([`overlay`]), and systems whose reads are real and whose writes
//! stay in memory ([`systems`]). Nothing is published, consumed, moved or written. What passes the applier's gate becomes the [`Plan`]. [`carry_out`]
//! takes the plan's items through the same claims, intents and read-backs as any run, and holds back each one that would come out differently now.

mod carry_out;
mod file;
mod overlay;
mod plan;
mod systems;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use carry_out::{ItemOutcome, Outcomes};
pub use file::{open_plan, seal_plan};
pub use plan::{Aside, Born, Plan, PlanItem, PlanStep};
pub use systems::Calls;

use super::apply::{Applier, Gate};
use super::engine::{Engine, System};
use super::intake::{PollStep, Poller};
use super::ledger::Reason;
use super::mistakes::Mistake;
use super::state::{ClaimHolder, Link, RecordKey, Rows, Track, TrackState};
use super::write_back::WriteBacker;
use crate::contract::{Expect, RowKey, Scan, Side, Table};
use crate::error::Result;
use crate::memory::MemoryBus;
use crate::record::{RecordId, SyncId, SystemId};
use overlay::Overlay;
use systems::Rehearsed;

/// A run on paper.
pub struct Rehearsal {
    engine: Arc<Engine>,
    systems: BTreeMap<SystemId, Arc<Rehearsed>>,
    script: Arc<Script>,
}

/// What has passed the gate.
#[derive(Default)]
struct Script(Mutex<Vec<PlanItem>>);

impl Gate for Script {
    fn inspect(&self, item: &PlanItem) -> std::result::Result<(), String> {
        self.lines().push(item.clone());
        Ok(())
    }
}

impl Script {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<PlanItem>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rounds of applying without progress after which what is left cannot be decided now.
const IDLE_ROUNDS_MAX: u32 = 3;
/// Rounds in all: far above what references and conflicts need.
const ROUNDS_MAX: u32 = 100_000;
const PAGE: usize = 1_000;

impl Rehearsal {
    /// A rehearsal of what this engine would do. Reads its store and its systems, changes neither; the engine may be at work meanwhile.
    pub fn new(engine: &Engine) -> Rehearsal {
        let systems: BTreeMap<SystemId, Arc<Rehearsed>> = engine
            .systems
            .iter()
            .map(|(name, system)| (name.clone(), Rehearsed::new(system.clone(), engine.clock.clone())))
            .collect();
        let on_paper = |name: &SystemId, system: &Arc<Rehearsed>| match engine.systems.get(name) {
            Some(real) if engine.mistakes.has(Mistake::RehearsalForReal) => real.clone(),
            _ => System {
                source: system.clone(),
                target: system.clone(),
            },
        };
        // All first-merge overwrites are shown, whether a person has accepted them or not; the plan counts them.
        let rehearsing = Engine {
            systems: systems
                .iter()
                .map(|(name, system)| (name.clone(), on_paper(name, system)))
                .collect(),
            store: Arc::new(Overlay::new(engine.store.clone())),
            bus: Arc::new(MemoryBus::new(engine.clock.clone())),
            // On paper nothing happens.
            events: Default::default(),
            ..engine.accepting()
        };
        Rehearsal {
            engine: Arc::new(rehearsing),
            systems,
            script: Arc::default(),
        }
    }

    /// How far it is, for a progress bar.
    pub fn counters(&self) -> &super::Counters {
        &self.engine.counters
    }

    /// Reads everything that is new, and goes through it. Cancel safe: nothing lasts.
    pub async fn run(&self) -> Result<Plan> {
        // As a host does when it starts.
        self.engine.settle_in().await?;
        self.engine.look_again(&Reason::MAY_BE_CURED).await?;
        self.take_up_what_is_under_way().await?;
        self.read().await?;
        let undecided = self.apply().await?;
        self.plan(undecided).await
    }

    /// Messages that are published and not settled lie on the real bus: their records are looked at from here.
    async fn take_up_what_is_under_way(&self) -> Result<()> {
        let mut after = None;
        loop {
            let scan = Scan {
                table: Table::Track,
                prefix: String::new(),
                after: after.take(),
                limit: PAGE,
            };
            let rows = self.engine.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut ops = Vec::new();
            for (key, row) in &rows {
                let row_key = RowKey::new(Table::Track, key.clone());
                let track: Track = Rows::plain(&row_key, row)?;
                let Some(record) = self
                    .engine
                    .record_of(key)
                    .filter(|_| track.state != TrackState::Settled)
                else {
                    continue;
                };
                ops.push(self.engine.hint(&record)?);
                let settled = Track {
                    state: TrackState::Settled,
                    ..track
                };
                ops.push(Rows::put_plain(row_key, Expect::Any, &settled)?);
            }
            self.engine.store.commit(ops).await?;
        }
    }

    /// Every entity to its end, parents first.
    async fn read(&self) -> Result<()> {
        let mut pollers = Poller::all(&self.engine);
        pollers.sort_by_key(|poller| self.depth_of(poller.system(), poller.entity()));
        for poller in &mut pollers {
            while matches!(poller.step().await?, PollStep::Page { .. }) {}
            poller.release().await?;
        }
        Ok(())
    }

    /// How far below its furthest ancestor an entity stands.
    fn depth_of(&self, system: &SystemId, native: &str) -> usize {
        let syncs = self.engine.syncs.values();
        let of_entity = syncs.filter(|sync| {
            sync.sides
                .iter()
                .any(|side| side.system == *system && side.mapping.entity == native)
        });
        of_entity.map(|sync| self.depth(sync, 0)).min().unwrap_or(0)
    }

    fn depth(&self, sync: &super::SyncSpec, so_far: usize) -> usize {
        const DEPTH_MAX: usize = 8;
        if so_far == DEPTH_MAX {
            return so_far;
        }
        let parents = sync
            .model
            .fields
            .values()
            .filter_map(|field| field.reference.as_ref());
        parents
            .filter(|reference| reference.entity != sync.model.name)
            .filter_map(|reference| self.engine.sync_of(&reference.entity, sync))
            .map(|(parent, _)| self.depth(&parent, so_far + 1))
            .max()
            .unwrap_or(so_far)
    }

    /// Until nothing moves any more. Returns the records that calls under way keep from being decided.
    async fn apply(&self) -> Result<Vec<RecordKey>> {
        let mut appliers = Vec::new();
        for system in self.engine.systems.keys() {
            appliers.push(
                Applier::new(&self.engine, system)
                    .await?
                    .gated(self.script.clone()),
            );
        }
        let mut idle = 0;
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for applier in &appliers {
                let step = applier.step(Duration::ZERO).await?;
                moved |= step.taken > step.deferred;
            }
            moved |= self.write_back().await?;
            if moved {
                idle = 0;
                continue;
            }
            if !self.anything_left().await? {
                return Ok(Vec::new());
            }
            idle += 1;
            if idle == IDLE_ROUNDS_MAX {
                break;
            }
            self.engine.clock.sleep(self.engine.timings.defer_min * 8).await;
        }
        self.under_open_calls().await
    }

    async fn anything_left(&self) -> Result<bool> {
        for system in self.engine.systems.keys() {
            let hints = self
                .engine
                .store
                .count(Table::Hint, &format!("{system}/"))
                .await?;
            if hints > 0 || self.engine.bus.depth(system.as_str()).await? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn under_open_calls(&self) -> Result<Vec<RecordKey>> {
        let scan = Scan {
            table: Table::Intent,
            prefix: String::new(),
            after: None,
            limit: PAGE,
        };
        let mut records = BTreeSet::new();
        for (key, row) in self.engine.store.scan(&scan).await? {
            let row_key = RowKey::new(Table::Intent, key);
            let intent: super::Intent = self.engine.typed().sealed(&row_key, &row)?;
            records.insert(intent.source);
        }
        Ok(records.into_iter().collect())
    }

    /// Ids that would be written back; whether there were any.
    async fn write_back(&self) -> Result<bool> {
        let mut moved = false;
        for sync in self.engine.syncs.values() {
            for side in Side::BOTH {
                let spec = sync.side(side);
                let Some(system) = self.systems.get(&spec.system) else {
                    continue;
                };
                system.take_log();
                let step = WriteBacker::new(&self.engine).step(&sync.id, side).await?;
                moved |= step.done > 0;
                let path = spec.mapping.xref.as_deref().unwrap_or_default();
                for write in system.take_log() {
                    let record = RecordKey::new(&sync.id, side, &write.id);
                    if write.entity == spec.mapping.entity {
                        self.script
                            .lines()
                            .extend(PlanItem::write_back(&record, &write.fields, path));
                    }
                }
            }
        }
        Ok(moved)
    }

    async fn plan(&self, undecided: Vec<RecordKey>) -> Result<Plan> {
        let mut plan = Plan::new(&*self.engine.clock);
        plan.undecided = undecided;
        for (name, system) in &self.engine.systems {
            plan.budgets
                .extend(system.source.usage().map(|usage| (name.clone(), usage)));
        }
        plan.items = last_words(std::mem::take(&mut *self.script.lines()));
        self.name_the_born(&mut plan).await?;
        for sync in self.engine.syncs.values() {
            let overwrites = plan
                .items
                .iter()
                .filter(|item| item.record.sync == sync.id && item.step.changes())
                .flat_map(|item| &item.conflicts)
                .filter(|conflict| conflict.first_merge)
                .count() as u64;
            if overwrites > 0 {
                plan.first_merge_overwrites.insert(sync.id.clone(), overwrites);
            }
        }
        for (name, system) in &self.systems {
            plan.calls.insert(name.clone(), system.calls());
        }
        Ok(plan)
    }

    /// Creates know what they create once they are committed.
    async fn name_the_born(&self, plan: &mut Plan) -> Result<()> {
        let creates: Vec<usize> = (0..plan.items.len())
            .filter(|at| plan.items[*at].step == PlanStep::Create)
            .collect();
        let keys: Vec<RowKey> = creates
            .iter()
            .map(|at| plan.items[*at].record.row(Table::Link))
            .collect();
        for ((at, key), row) in creates
            .into_iter()
            .zip(&keys)
            .zip(self.engine.store.get(&keys).await?)
        {
            let Some(row) = row else { continue };
            let link: Link = Rows::plain(key, &row)?;
            let item = &mut plan.items[at];
            item.other = Some(link.other.clone());
            plan.born.push(Born {
                record: RecordKey::new(&item.record.sync, item.record.side.other(), &link.other),
                from: item.record.id.clone(),
            });
        }
        plan.born.sort();
        Ok(())
    }
}

/// What was said of a record's waiting or parking is over once something else has happened to it; what is said twice counts once.
fn last_words(lines: Vec<PlanItem>) -> Vec<PlanItem> {
    let mut last: BTreeMap<RecordKey, usize> = BTreeMap::new();
    for (at, item) in lines.iter().enumerate() {
        if item.step != PlanStep::WriteBack {
            last.insert(item.record.clone(), at);
        }
    }
    let stays = |at: usize, item: &PlanItem| item.step.changes() || last.get(&item.record) == Some(&at);
    let kept = lines
        .into_iter()
        .enumerate()
        .filter(|(at, item)| stays(*at, item));
    kept.map(|(_, item)| item).collect()
}

/// The counterpart's real id of a record that a plan creates, once it is created.
async fn real_id(engine: &Engine, from: &RecordKey) -> Result<Option<RecordId>> {
    let key = from.row(Table::Link);
    let row = engine.store.get(std::slice::from_ref(&key)).await?.remove(0);
    let link: Option<Link> = row.map(|row| Rows::plain(&key, &row)).transpose()?;
    Ok(link.map(|link| link.other))
}

/// Whether a call about this record is under way.
async fn under_intent(engine: &Engine, sync: &SyncId, record: &RecordKey) -> Result<bool> {
    let spec = engine.sync(sync)?;
    let key = RowKey::new(Table::Claim, engine.record_claim(spec, record.side, &record.id));
    let row = engine.store.get(std::slice::from_ref(&key)).await?.remove(0);
    let holder: Option<ClaimHolder> = row.map(|row| Rows::plain(&key, &row)).transpose()?;
    Ok(matches!(holder, Some(ClaimHolder::Intent(_))))
}
