//! The connectors to the simulated systems: reads that fail, answers that get lost, calls that land late, a plan that is watched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::pipeline::{PlanItem, PlanStep};
use seamless_core::{
    Capabilities, Effect, EntityInfo, Error, ErrorKind, ExternalKey, Fields, ListRequest, Lookup,
    NativeRecord, Page, PageToken, Reader, RecordId, Result, Source, Target, Timestamp, Value, Write,
    WriteAction, Written,
};

use super::checks::Violation;
use super::executor::Sim;
use super::model::ACCOUNT_HAS;
use super::plan::Plan;
use super::record::{Record, floor, has_unique_key};
use super::rng::Rng;
use super::world::{Landing, World};

/// A connector to one of the systems.
pub(super) struct Connector {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) sim: Sim,
    pub(super) plan: Arc<Plan>,
    pub(super) system: usize,
    /// What may be written through this connector, where a plan is carried out.
    pub(super) planned: Option<Arc<Vec<PlanItem>>>,
}

impl Connector {
    /// A plan that is carried out writes what it says, ids aside, and nothing else.
    fn check_planned(&self, write: &Write) {
        let Some(items) = &self.planned else { return };
        let (step, id, fields) = match &write.action {
            WriteAction::Create { fields } => (PlanStep::Create, None, fields),
            WriteAction::Update { current, fields } => (PlanStep::Update, Some(&current.id), fields),
            WriteAction::Delete { .. } => return,
        };
        if id.is_some() && fields.keys().all(|field| field == "xref") {
            return;
        }
        // What travels along is as new as it can be.
        let is_id = |field: &str| ["xref", "parent", "account", "contact", "last_activity"].contains(&field);
        let plain: Fields = fields
            .iter()
            .filter(|(field, _)| !is_id(field))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        let same = |item: &PlanItem| {
            let writes = item.fields.values().filter(|write| !is_id(&write.path));
            // What the other side refused is left out of what is written after all.
            let refused = match self.system {
                0 => self.plan.closed_at.map(|_| "kind"),
                _ => (self.plan.refusals > 0).then_some("note"),
            };
            let vanishes = self.plan.vanishes.filter(|gone| gone.system == self.system);
            let refused = [refused, vanishes.map(|gone| gone.field)];
            let is_refused = |path: &str| refused.contains(&Some(path)) && !plain.contains_key(path);
            let native: Fields = writes
                .filter(|write| !is_refused(&write.path))
                .map(|write| (write.path.clone(), write.native.clone()))
                .collect();
            let here = item.record.side.other().index() == self.system;
            let born = item.other.as_ref().is_some_and(|other| other.0.starts_with('-'));
            here && item.step == step
                && native == plain
                && (step == PlanStep::Create || born || item.other.as_ref() == id)
        };
        if !items.iter().any(same) {
            let what = format!("{} was written, and no plan says so", describe(&write.action));
            self.world().fail(Violation::new("PLAN", what));
        }
    }

    fn native(
        &self,
        world: &World,
        entity: &str,
        (id, record): (u64, &Record),
        now: Duration,
    ) -> NativeRecord {
        let mut native = record.native(id, now);
        native.stamp = native.stamp.filter(|_| has_stamps(entity, self.system));
        if !omits_empty(&self.plan, entity, self.system) {
            for field in ACCOUNT_HAS {
                native.fields.entry((*field).to_owned()).or_default();
            }
        }
        native
            .fields
            .retain(|field, _| !world.has_vanished(self.system, entity, field));
        native
    }

    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.settle(self.sim.now(), &self.plan);
        world
    }

    fn read_fault(&self) -> Result<()> {
        let mut state = self.sim.state();
        if !state.calm && state.rng.per_mille(self.plan.read_faults) {
            let fault = if state.rng.per_mille(300) {
                throttled(&mut state.rng)
            } else {
                Error::unavailable("simulated read fault")
            };
            return Err(fault.effect(Effect::NotApplied));
        }
        Ok(())
    }
}

/// The first system does not say when an opportunity was changed.
fn has_stamps(entity: &str, system: usize) -> bool {
    (entity, system) != ("opportunity", 0)
}

/// Where a field can vanish, records have all the others.
fn omits_empty(plan: &Plan, entity: &str, system: usize) -> bool {
    let vanishes = plan.vanishes.is_some_and(|vanish| vanish.system == system);
    !(vanishes && entity == "account")
}

/// What this run's systems can do.
pub(super) fn capabilities(plan: &Plan, entity: &str, system: usize) -> Capabilities {
    Capabilities {
        incremental: has_stamps(entity, system),
        cursor_granularity: plan.granularity,
        cursor_overlap: plan.overlap,
        external_key: if has_unique_key(plan, system) {
            ExternalKey::Unique
        } else {
            ExternalKey::Searchable
        },
        compare_and_set: system == 1 && plan.second_has_cas,
        ascending_ids: system == 0 || !plan.second_unordered,
        find_batch_max: 100,
        write_concurrency: 1,
        settle_after: plan.settle_after,
        search_lag_max: plan.search_lag,
        omits_empty: omits_empty(plan, entity, system),
    }
}

#[async_trait]
impl Reader for Connector {
    fn capabilities(&self, entity: &str) -> Capabilities {
        capabilities(&self.plan, entity, self.system)
    }

    async fn describe(&self, _: &str) -> Result<EntityInfo> {
        Ok(EntityInfo::default())
    }

    async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        self.sim.pause().await;
        self.read_fault()?;
        let records: Vec<NativeRecord> = {
            let now = self.sim.now();
            let world = self.world();
            let table = world.systems[self.system].tables.get(entity);
            ids.iter()
                .filter_map(|id| {
                    let id = id.0.parse().ok()?;
                    Some(self.native(&world, entity, (id, table?.get(&id)?), now))
                })
                .collect()
        };
        self.sim.note(|| {
            let ids: Vec<&str> = ids.iter().map(RecordId::as_str).collect();
            format!("fetch {} {entity} {ids:?}", self.system)
        });
        self.sim.pause().await;
        Ok(records)
    }

    async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        self.sim.pause().await;
        self.read_fault()?;
        let found: Vec<Vec<NativeRecord>> = {
            let now = self.sim.now();
            let world = self.world();
            let all: Vec<(&u64, &Record)> = world.records(self.system, entity).collect();
            lookups
                .iter()
                .map(|lookup| {
                    all.iter()
                        .filter(|(id, record)| match (lookup, record.found(now)) {
                            (_, None) => false,
                            (Lookup::AboveId(mark), _) => mark.0.parse::<u64>().is_ok_and(|mark| **id > mark),
                            (Lookup::Field { field, value }, Some(fields)) => {
                                fields.get(field) == Some(value)
                            }
                        })
                        .map(|(id, record)| self.native(&world, entity, (**id, record), now))
                        .collect()
                })
                .collect()
        };
        self.sim.note(|| {
            let ids: Vec<Vec<&str>> = found
                .iter()
                .map(|all| all.iter().map(|r| r.id.as_str()).collect())
                .collect();
            format!("find {} {entity} {} lookups: {ids:?}", self.system, lookups.len())
        });
        self.sim.pause().await;
        Ok(found)
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Source for Connector {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        self.sim.pause().await;
        self.read_fault()?;
        let page = {
            let now = self.sim.now();
            let world = self.world();
            let since = request.since.map_or(i64::MIN, |stamp| stamp.0);
            let after = request.after.as_ref().and_then(|token| {
                let (stamp, id) = token.0.split_once('/')?;
                Some((stamp.parse::<i64>().ok()?, id.parse::<u64>().ok()?))
            });
            // The first system orders by id, the second by stamp and id.
            let place = |stamp: i64, id: u64| if self.system == 1 { (stamp, id) } else { (0, id) };
            let mut rows: Vec<(u64, &Record)> = world
                .records(self.system, &request.entity)
                .map(|(id, record)| (*id, record))
                .filter(|(_, record)| record.stamp >= since || record.created >= since)
                .filter(|(id, record)| {
                    after.is_none_or(|(stamp, last)| place(record.stamp, *id) > place(stamp, last))
                })
                .collect();
            rows.sort_by_key(|(id, record)| place(record.stamp, *id));
            let more = rows.len() > self.plan.page;
            rows.truncate(self.plan.page);
            let next = rows
                .last()
                .filter(|_| more)
                .map(|(id, record)| PageToken(format!("{}/{id}", record.stamp)));
            Page {
                records: rows
                    .into_iter()
                    .map(|row| self.native(&world, &request.entity, row, now))
                    .collect(),
                next,
                server_time: self.plan.server_time.then(|| Timestamp(floor(now, &self.plan))),
            }
        };
        self.sim.note(|| {
            let ids: Vec<&str> = page.records.iter().map(|record| record.id.as_str()).collect();
            let (since, after) = (
                request.since.map(|stamp| stamp.0),
                request.after.as_ref().map(|after| &after.0),
            );
            format!(
                "list {} {} since {since:?} after {after:?}: {ids:?}",
                self.system, request.entity
            )
        });
        self.sim.pause().await;
        Ok(page)
    }
}

#[async_trait]
impl Target for Connector {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            outcomes.push(self.write_one(write).await);
        }
        outcomes
    }
}

impl Connector {
    async fn write_one(&self, write: &Write) -> Result<Written> {
        self.sim.pause().await;
        let now = self.sim.now();
        if now > write.send_by {
            return Err(Error::late());
        }
        self.check_planned(write);
        let fault = {
            let mut state = self.sim.state();
            let faulty = !state.calm && state.rng.per_mille(self.plan.write_faults);
            if faulty { Some(state.rng.below(4)) } else { None }
        };
        if let Some(field) = self.refused(write) {
            self.sim
                .note(|| format!("write {} {} refused: {field}", self.system, write.entity));
            let refused = Error::invalid("simulated rule").field(field);
            return Err(refused.effect(Effect::NotApplied));
        }
        let landing = Landing {
            entity: write.entity.clone(),
            action: write.action.clone(),
            sent: now,
        };
        self.sim.note(|| {
            format!(
                "write {} {} {} fault {fault:?}",
                self.system,
                write.entity,
                describe(&write.action)
            )
        });
        let lost = Err(Error::unavailable("simulated lost answer"));
        match fault {
            Some(0) => return Err(throttled(&mut self.sim.state().rng).effect(Effect::NotApplied)),
            Some(1) => return lost,
            Some(2) => {
                let delay = {
                    let mut state = self.sim.state();
                    let most = self.plan.settle_after.as_micros() as u64 * 9 / 10;
                    Duration::from_micros(state.rng.below(most))
                };
                self.world().systems[self.system]
                    .ghosts
                    .push((now + delay, landing));
                self.sim.pause().await;
                return lost;
            }
            _ => {}
        }
        let applied = self.world().apply(self.system, &landing, now, &self.plan);
        self.sim.pause().await;
        if fault.is_some() && applied.is_ok() {
            return lost;
        }
        applied.map(|id| Written { id })
    }
}

impl Connector {
    /// A field that will not do: the second system has a rule of its own for notes now and then, the first may have closed an option, and either may
    /// have lost a field.
    fn refused(&self, write: &Write) -> Option<&'static str> {
        let fields = match &write.action {
            WriteAction::Create { fields } | WriteAction::Update { fields, .. } => fields,
            WriteAction::Delete { .. } => return None,
        };
        let (closed, vanished) = {
            let world = self.world();
            (world.option_closed, world.vanished)
        };
        let gone = vanished.filter(|(system, field)| {
            *system == self.system && write.entity == "account" && fields.contains_key(*field)
        });
        if let Some((_, field)) = gone {
            return Some(field);
        }
        let mut state = self.sim.state();
        if state.calm {
            return None;
        }
        if self.system == 0 {
            let is_closed = |value: &Value| closed && *value == Value::Int(CLOSED_KIND);
            return fields.get("kind").is_some_and(is_closed).then_some("kind");
        }
        let refuses = fields.contains_key("note") && state.rng.per_mille(self.plan.refusals);
        refuses.then_some("note")
    }
}

/// The account's kind that the first system closes in some runs.
const CLOSED_KIND: i64 = 2;

/// Too many calls: come again later.
fn throttled(rng: &mut Rng) -> Error {
    let after = Duration::from_millis(rng.below(60));
    Error::new(ErrorKind::RateLimited, "simulated limit").retry_later(Some(after))
}

fn describe(action: &WriteAction) -> String {
    let fields = |fields: &Fields| {
        let all: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_plain().unwrap_or_default()))
            .collect();
        all.join(" ")
    };
    match action {
        WriteAction::Create { fields: f } => format!("create {}", fields(f)),
        WriteAction::Update { current, fields: f } => format!("update {} {}", current.id, fields(f)),
        WriteAction::Delete { id } => format!("delete {id}"),
    }
}
