//! One run: hosts, people, crashes, then calm, then judgement.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seamless_core::envelope::RowSeal;
use seamless_core::mapping::SideMapping;
use seamless_core::memory::{MemoryBus, MemoryStore, Snapshot};
use seamless_core::pipeline::{
    Direction, Engine, Entry, Mistakes, PlanItem, Rows, SideSpec, SyncSpec, System as EngineSystem, Timings,
};
use seamless_core::{BusLimits, Keyset, RowKey, Scan, Side, StateStore, SyncId, SystemId, Table};

use super::Outcome;
use super::chaos::{ChaosBus, ChaosStore, StoreWatch};
use super::checks::{self, Violation};
use super::connector::{Connector, capabilities};
use super::engine::{Parts, row_seal};
use super::events;
use super::executor::{Executor, Sim};
use super::model::{Entity, entities};
use super::plan::Plan;
use super::record::STALE_READ_MAX;
use super::reviewers;
use super::rng::{Rng, SharedRng};
use super::workers::{self, Pace, Passes, Polls};
use super::world::World;

/// Longest run before a lack of rest counts as a failure, in steps after the faults stopped.
const CALM_STEPS_MAX: u64 = 400_000;
/// Longest virtual time to come to rest.
const CALM_TIME_MAX: Duration = Duration::from_secs(120);

pub(super) const SYSTEMS: [&str; 2] = ["psa", "crm"];

/// A run: its plan, its two systems, its store and bus.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) plan: Arc<Plan>,
    mistakes: Mistakes,
    pub(super) sim: Sim,
    pub(super) world: Arc<Mutex<World>>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) bus: Arc<MemoryBus>,
    keys: Arc<Keyset>,
    pub(super) passes: Passes,
    /// The store went back: if to nothing, the links are to be rebuilt before anybody starts.
    rebuild: Arc<AtomicBool>,
    /// The mappings have been changed.
    remapped: Arc<AtomicBool>,
}

pub(super) fn simulate(plan: Plan, mistakes: Mistakes, keep_trace: bool) -> Outcome {
    let seed = plan.seed;
    let sim = Sim::new(seed, plan.stalls, Duration::from_millis(900), keep_trace);
    let limits = BusLimits {
        body_bytes_max: 1 << 20,
        publish_batch_max: 100,
        receive_batch_max: 100,
        lock_duration: Duration::from_millis(400),
        lanes: false,
    };
    let mut rng = Rng::new(seed ^ 0xbeef);
    let keys = Keyset::generate(&SharedRng(Mutex::new(Rng::new(seed ^ 0x6b65))));
    let Ok(keys) = keys else {
        return Outcome::refused(seed, "no keyset");
    };
    let run = Run {
        bus: Arc::new(MemoryBus::with_limits(Arc::new(sim.clone()), limits, 100_000)),
        plan: Arc::new(plan),
        mistakes,
        world: Arc::new(Mutex::new(World::new())),
        store: Arc::new(MemoryStore::new()),
        keys: Arc::new(keys),
        passes: Passes::default(),
        rebuild: Arc::new(AtomicBool::new(false)),
        remapped: Arc::new(AtomicBool::new(false)),
        sim,
    };
    run.populate(&mut rng);
    let mut executor = Executor::new(run.sim.clone());
    for host in 0..run.plan.hosts {
        run.start(&mut executor, host, rng.draw());
    }
    let crashes = run.storm(&mut executor, &mut rng);
    let violation = run
        .violation()
        .or_else(|| run.come_to_rest(&mut executor, &mut rng));
    if keep_trace {
        run.note_ledger();
    }
    let (hash, trace) = {
        let mut state = run.sim.state();
        (state.hash, state.trace.take().unwrap_or_default())
    };
    let open_window = run
        .world
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .open_window;
    Outcome {
        seed,
        violation,
        trace_hash: hash,
        steps: executor.steps(),
        crashes,
        open_window,
        trace,
    }
}

impl Run {
    pub(super) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn violation(&self) -> Option<Violation> {
        self.world().violation.clone()
    }

    /// People and faults, until the events are used up.
    fn storm(&self, executor: &mut Executor, rng: &mut Rng) -> u64 {
        let mut crashes = 0;
        let mut restarts: Vec<(Duration, usize)> = Vec::new();
        let mut next_event = self.sim.now();
        let mut events = 0;
        let mut backup = MemoryStore::new().snapshot();
        while events < self.plan.events && self.violation().is_none() {
            let now = self.sim.now();
            if now >= next_event {
                events += 1;
                next_event = now + Duration::from_micros(rng.between(200, 18_000));
                if self.plan.remapped_at == Some(events) {
                    // The configuration changes: every host stops, and starts with the new one.
                    self.sim.note(|| "the mappings are changed".to_owned());
                    self.remapped.store(true, Ordering::Relaxed);
                    for host in 0..self.plan.hosts {
                        executor.kill(host);
                        if !restarts.iter().any(|(_, down)| *down == host) {
                            restarts.push((now, host));
                        }
                    }
                }
                if self.plan.closed_at == Some(events) {
                    self.sim.note(|| "an option is closed".to_owned());
                    self.world().option_closed = true;
                }
                if let Some(vanish) = self.plan.vanishes {
                    let is_gone = (vanish.from..vanish.to).contains(&events);
                    let gone = is_gone.then_some((vanish.system, vanish.field));
                    let mut world = self.world();
                    if world.vanished != gone {
                        self.sim.note(|| format!("a field is gone: {gone:?}"));
                        world.vanished = gone;
                    }
                }
                if let Some(disaster) = self.plan.disaster {
                    if disaster.backup == Some(events) {
                        backup = self.store.snapshot();
                    }
                    if disaster.at == events {
                        for host in 0..self.plan.hosts {
                            executor.kill(host);
                        }
                        let back = now + self.put_back(&backup);
                        restarts = (0..self.plan.hosts).map(|host| (back, host)).collect();
                    }
                }
                if rng.per_mille(self.plan.crashes) {
                    let host = rng.below(self.plan.hosts as u64) as usize;
                    if !restarts.iter().any(|(_, down)| *down == host) {
                        crashes += 1;
                        self.sim.note(|| format!("crash of host {host}"));
                        executor.kill(host);
                        restarts.push((now + Duration::from_millis(rng.below(150)), host));
                    }
                }
                if rng.per_mille(self.plan.edits) {
                    self.person(rng, now);
                }
            }
            let due: Vec<usize> = restarts
                .iter()
                .filter(|(at, _)| *at <= now)
                .map(|(_, host)| *host)
                .collect();
            restarts.retain(|(at, _)| *at > now);
            for host in due {
                self.start(executor, host, rng.draw());
            }
            if !executor.step() {
                // Every host is down: time goes on until one comes back.
                let next = restarts
                    .iter()
                    .map(|(at, _)| *at)
                    .min()
                    .unwrap_or(now + Duration::from_millis(1));
                self.sim.state().now = next;
            }
        }
        for (_, host) in restarts {
            self.start(executor, host, rng.draw());
        }
        crashes
    }

    /// The store goes back to the backup, or to nothing. Returns after how long somebody who knows the manual starts the hosts again: when calls
    /// that nobody remembers have landed and can be found.
    fn put_back(&self, backup: &Snapshot) -> Duration {
        self.sim.note(|| "the store goes back".to_owned());
        self.store.restore(backup);
        self.rebuild.store(true, Ordering::Relaxed);
        let now = self.sim.now();
        let mut world = self.world();
        world.forgotten = Some(now);
        for intent in world.intents.iter_mut().filter(|intent| intent.to.is_none()) {
            intent.to = Some(now);
        }
        self.plan.settle_after + self.plan.search_lag + Duration::from_millis(50)
    }

    /// No more faults: everything must settle, be right, and stay so.
    fn come_to_rest(&self, executor: &mut Executor, _: &mut Rng) -> Option<Violation> {
        self.sim.state().calm = true;
        self.world().vanished = None;
        let started = (executor.steps(), self.sim.now());
        let mut quiet_since: Option<(u64, Polls)> = None;
        loop {
            for _ in 0..200 {
                executor.step();
            }
            if let Some(violation) = self.violation() {
                return Some(violation);
            }
            let writes: u64 = self.world().systems.iter().map(|system| system.writes).sum();
            if self.at_rest() {
                match &quiet_since {
                    Some((then, polls)) if *then == writes => {
                        // Each host may be stalled in the midst of a pass that it began before.
                        if self.passes.since(polls, 1 + self.plan.hosts as u64) {
                            break;
                        }
                    }
                    _ => quiet_since = Some((writes, self.passes.counts())),
                }
            } else {
                quiet_since = None;
            }
            if executor.steps() - started.0 > CALM_STEPS_MAX || self.sim.now() - started.1 > CALM_TIME_MAX {
                return Some(Violation::new("I3", format!("no rest: {}", self.unrest())));
            }
        }
        let world = self.world();
        checks::judge(&world, &self.store, &self.bus, &self.engine_parts(), &self.plan)
    }

    /// What the engine says it did, behind what it was seen to do.
    fn note_ledger(&self) {
        let seal = self.row_seal();
        for (key, row) in all_rows(&self.store, Table::Ledger) {
            let key = RowKey::new(Table::Ledger, key);
            let Ok(entry) = Rows::new(&seal).sealed::<Entry>(&key, &row) else {
                continue;
            };
            let at = (entry.at.0 - 1_700_000_000_000_000) as f64 / 1e6;
            let fields: Vec<&String> = entry.fields.keys().collect();
            self.sim.note(|| {
                format!(
                    "ledger {at:.3} {} {} {:?} {} {fields:?}",
                    entry.record.path(),
                    entry.reason.code(),
                    entry.other,
                    entry.note
                )
            });
        }
    }

    pub(super) fn row_seal(&self) -> RowSeal {
        row_seal(&self.keys, 0)
    }

    fn engine_parts(&self) -> checks::Parts {
        checks::Parts {
            syncs: self.syncs(),
            rows: self.row_seal(),
        }
    }

    fn syncs(&self) -> BTreeMap<SyncId, Arc<SyncSpec>> {
        let side = |system: usize, mapping: SideMapping| {
            let capabilities = capabilities(&self.plan, &mapping.entity, system);
            SideSpec::new(SystemId::from(SYSTEMS[system]), mapping, capabilities)
        };
        let sync = |mut entity: Entity| {
            let [a, b] = entity.mappings;
            for field in entity.model.fields.values_mut() {
                field.on_drift = self.plan.on_drift;
            }
            let id = SyncId::from(entity.model.name.as_str());
            let owner = match entity.direction {
                Direction::TwoWay if self.plan.owner_first => Side::A,
                Direction::AToB => Side::A,
                _ => Side::B,
            };
            let spec = SyncSpec {
                id: id.clone(),
                model: entity.model,
                sides: [side(0, a), side(1, b)],
                direction: entity.direction,
                owner,
                first_merge_accepted: true,
                scope: Default::default(),
            };
            (id, Arc::new(spec))
        };
        let remapped = self.remapped.load(Ordering::Relaxed);
        entities(&self.plan, remapped).into_iter().map(sync).collect()
    }

    /// An engine; one that carries out a plan goes through connectors that watch it.
    pub(super) fn engine(&self, seed: u64, planned: Option<Arc<Vec<PlanItem>>>) -> Option<Arc<Engine>> {
        let connector = |system| {
            Arc::new(Connector {
                world: self.world.clone(),
                sim: self.sim.clone(),
                plan: self.plan.clone(),
                system,
                planned: planned.clone(),
            })
        };
        let systems = (0..2)
            .map(|system| {
                let connector = connector(system);
                (
                    SystemId::from(SYSTEMS[system]),
                    EngineSystem {
                        source: connector.clone(),
                        target: connector,
                    },
                )
            })
            .collect();
        let parts = Parts {
            seed,
            mistakes: self.mistakes,
            keys: self.keys.clone(),
            sim: self.sim.clone(),
            store: ChaosStore {
                inner: self.store.clone(),
                sim: self.sim.clone(),
                watch: Some(StoreWatch {
                    world: self.world.clone(),
                    sim: self.sim.clone(),
                    rows: row_seal(&self.keys, seed ^ 2),
                }),
            },
            bus: ChaosBus {
                inner: self.bus.clone(),
                sim: self.sim.clone(),
                doubles: self.plan.doubles,
            },
            timings: Timings {
                stale_read_max: STALE_READ_MAX,
                send_within: Duration::from_millis(200),
                claim_lease: Duration::from_millis(500),
                defer_min: Duration::from_millis(8),
                defer_max: Duration::from_millis(400),
                newest_guard: Duration::from_millis(50),
            },
            events: events::spec(&self.plan),
        };
        parts.engine(systems, self.syncs()).ok()
    }

    /// Starts the workers of a host. A lone host frees the claims that its dead self left.
    fn start(&self, executor: &mut Executor, host: usize, seed: u64) {
        let Some(engine) = self.engine(seed, None) else {
            return;
        };
        self.sim.note(|| format!("host {host} starts"));
        let mut opening = Executor::new(self.sim.clone());
        let (alone, told, opened) = (self.plan.hosts == 1, self.plan.told, engine.clone());
        let rebuild = self.rebuild.swap(false, Ordering::Relaxed);
        opening.spawn(0, async move {
            // A host that finds a store which was never used refuses to work: `links rebuild`, until it says that it is done.
            while rebuild && !matches!(opened.is_used().await, Ok(true)) {
                drop(opened.rebuild_links().await);
            }
            // The embedded store is exclusive: whoever held a claim is dead.
            if alone {
                drop(opened.release_stale_claims().await);
            }
            if told {
                drop(opened.settle_in_watches().await);
            }
            drop(opened.settle_in().await);
        });
        while opening.step() {}
        let pace = Pace {
            poll_every: self.plan.poll_every,
            appliers: self.plan.appliers,
            idle: self.plan.idle,
            reconciled: self.plan.reconciled,
        };
        workers::spawn(&self.sim, executor, host, &engine, SYSTEMS, pace, &self.passes);
        reviewers::spawn(self, executor, host, &engine, seed);
        if self.plan.told {
            let receiver = events::Receiver {
                world: self.world.clone(),
                sim: self.sim.clone(),
                plan: self.plan.clone(),
            };
            events::spawn(executor, host, &engine, receiver, self.plan.idle);
        }
        if self.plan.nudged {
            workers::spawn_nudges(
                &self.sim,
                executor,
                host,
                &engine,
                &self.world,
                Rng::new(seed ^ 0x40d9e),
            );
        }
    }
}

/// The value of a future that never waits.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

pub(super) fn all_rows(store: &MemoryStore, table: Table) -> Vec<(String, seamless_core::Row)> {
    let scan = Scan {
        table,
        prefix: String::new(),
        after: None,
        limit: usize::MAX,
    };
    ready(store.scan(&scan)).and_then(Result::ok).unwrap_or_default()
}
