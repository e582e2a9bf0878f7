//! The simulator over HTTP: the real connectors, against the simulated systems of `seamless-sandbox`, on virtual time.
//!
//! The other half of the simulator has systems of every kind and connectors of its own; here both systems are what they are, and what is tried is the code
//! in between: paging, searches, error bodies, zones, deadlines, token and budget. The sandbox judges from its own log.

mod network;
mod people;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use seamless_core::memory::{MemoryBus, MemoryStore};
use seamless_core::pipeline::{
    Engine, EventSpec, Intent, Link, Mistakes, Rows, SyncSpec, System, Timings, Track, TrackState, WriteBack,
};
use seamless_core::{Bus, BusLimits, Clock, Keyset, Network, Result, RowKey, SystemId, Table};
use seamless_sandbox::{Fault, Faults, Offline, System as Sandboxed};
use serde_json::Value as Json;

use self::network::{Wire, now_ms};
use self::people::Busy;
use self::plan::WirePlan;
use super::Outcome;
use super::chaos::{ChaosBus, ChaosStore};
use super::checks::Violation;
use super::engine::{Parts, row_seal};
use super::executor::{Executor, Sim};
use super::hosts::{all_rows, ready};
use super::rng::{Rng, SharedRng};
use super::workers::{self, Pace, Passes};

/// Both systems, as a tenant's configuration names them.
const SYSTEMS: [&str; 2] = ["autotask", "crm"];
/// Longest run before a lack of rest counts as a failure, after the faults stopped.
const CALM_TIME_MAX: Duration = Duration::from_secs(3_600);
const CALM_STEPS_MAX: u64 = 1_000_000;

/// What a tenant opens its systems on.
#[derive(Clone)]
pub struct Ground {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The way to both systems.
    pub network: Arc<dyn Network>,
}

/// The systems of a tenant, called `autotask` and `crm`, and its syncs: what a host has when it has started.
pub type Started = (BTreeMap<SystemId, System>, Vec<SyncSpec>);

/// Starts a tenant as a host does. It finds Autotask at `http://127.0.0.1:1` and the CRM at `http://127.0.0.1:2`.
pub type Start = dyn Fn(Ground) -> BoxFuture<'static, Result<Started>> + Send + Sync;

/// Runs a seed.
pub fn run(seed: u64, start: Arc<Start>, mistakes: Mistakes, keep_trace: bool) -> Outcome {
    let plan = WirePlan::of(seed);
    let sim = Sim::new(seed, plan.stalls, Duration::from_millis(900), keep_trace);
    let mut rng = Rng::new(seed ^ 0xbeef);
    let systems = Offline::new(plan.systems(), now_ms(&sim));
    let Ok(keys) = Keyset::generate(&SharedRng(Mutex::new(Rng::new(seed ^ 0x6b65)))) else {
        return Outcome::refused(seed, "no keyset");
    };
    let limits = BusLimits {
        body_bytes_max: 1 << 20,
        publish_batch_max: 100,
        receive_batch_max: 100,
        lock_duration: Duration::from_secs(10),
        lanes: false,
    };
    let run = Run {
        wire: Wire::new(sim.clone(), systems),
        bus: Arc::new(MemoryBus::with_limits(Arc::new(sim.clone()), limits, 100_000)),
        store: Arc::new(MemoryStore::new()),
        keys: Arc::new(keys),
        passes: Passes::default(),
        merged: Mutex::default(),
        plan,
        mistakes,
        start,
        sim,
    };
    let mut executor = Executor::new(run.sim.clone());
    let mut opening = Vec::new();
    for host in 0..run.plan.hosts {
        opening.push(run.open(&mut executor, host, rng.draw()));
    }
    let crashes = run.storm(&mut executor, &mut opening, &mut rng);
    let violation = run.come_to_rest(&mut executor, &mut opening);
    let truth = run.wire.systems().truth(Sandboxed::Autotask);
    let steps = executor.steps();
    let mut state = run.sim.state();
    Outcome {
        seed,
        violation,
        trace_hash: state.hash,
        trace: state.trace.take().unwrap_or_default(),
        steps,
        crashes,
        open_window: truth["overtaken_edits"].as_u64().unwrap_or_default(),
    }
}

/// A host that is starting: its engine, once the systems have answered.
struct Opening {
    host: usize,
    engine: Arc<Mutex<Option<Arc<Engine>>>>,
}

struct Run {
    plan: WirePlan,
    mistakes: Mistakes,
    start: Arc<Start>,
    sim: Sim,
    wire: Wire,
    store: Arc<MemoryStore>,
    bus: Arc<MemoryBus>,
    keys: Arc<Keyset>,
    passes: Passes,
    /// Pairs whose first merge is over.
    merged: Mutex<BTreeSet<String>>,
}

impl Run {
    /// Starts a host; it asks its systems until they answer.
    fn open(&self, executor: &mut Executor, host: usize, seed: u64) -> Opening {
        self.sim.note(|| format!("host {host} starts"));
        let engine = Arc::new(Mutex::new(None));
        let (slot, sim, start, alone) = (
            engine.clone(),
            self.sim.clone(),
            self.start.clone(),
            self.plan.hosts == 1,
        );
        let parts = self.parts(seed);
        let ground = Ground {
            clock: Arc::new(self.sim.clone()),
            network: Arc::new(self.wire.clone()),
        };
        executor.spawn(host, async move {
            let (systems, syncs) = loop {
                match start(ground.clone()).await {
                    Ok(started) => break started,
                    Err(error) => {
                        sim.note(|| format!("host {host} cannot start: {error}"));
                        sim.wait(Duration::from_secs(1)).await;
                    }
                }
            };
            let syncs = syncs.into_iter().map(|sync| (sync.id.clone(), Arc::new(sync)));
            let Ok(engine) = parts.engine(systems, syncs.collect()) else {
                return;
            };
            // The embedded store is exclusive: whoever held a claim is dead.
            if alone {
                drop(engine.release_stale_claims().await);
            }
            drop(engine.settle_in().await);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine);
        });
        Opening { host, engine }
    }

    /// Sets those to work that have started.
    fn set_to_work(&self, executor: &mut Executor, opening: &mut Vec<Opening>) {
        opening.retain(|open| {
            let engine = open.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(engine) = engine else { return true };
            self.sim.note(|| format!("host {} works", open.host));
            let pace = Pace {
                poll_every: self.plan.poll_every,
                appliers: self.plan.appliers,
                idle: Duration::from_millis(100),
                reconciled: false,
            };
            workers::spawn(
                &self.sim,
                executor,
                open.host,
                &engine,
                SYSTEMS,
                pace,
                &self.passes,
            );
            false
        });
    }

    fn parts(&self, seed: u64) -> Parts {
        Parts {
            seed,
            mistakes: self.mistakes,
            keys: self.keys.clone(),
            sim: self.sim.clone(),
            store: ChaosStore {
                inner: self.store.clone(),
                sim: self.sim.clone(),
                watch: None,
            },
            bus: ChaosBus {
                inner: self.bus.clone(),
                sim: self.sim.clone(),
                doubles: self.plan.doubles,
            },
            events: EventSpec::default(),
            timings: Timings {
                send_within: Duration::from_secs(4),
                claim_lease: Duration::from_secs(10),
                defer_max: Duration::from_secs(4),
                ..Timings::default()
            },
        }
    }

    /// People and faults, until the events are used up.
    fn storm(&self, executor: &mut Executor, opening: &mut Vec<Opening>, rng: &mut Rng) -> u64 {
        self.wire.systems().set_faults(self.plan.faults.clone());
        // Where searches lag, a customer that comes to be on both sides at once cannot be found by anybody.
        let twins = self.plan.faults.search_lag == Fault::default();
        let (mut crashes, mut events, mut next_event) = (0, 0, self.sim.now());
        let mut down: Vec<(Duration, usize)> = Vec::new();
        while events < self.plan.events {
            let now = self.sim.now();
            if now >= next_event {
                events += 1;
                next_event = now + Duration::from_millis(rng.between(20, self.plan.gap_ms));
                if rng.per_mille(self.plan.crashes) {
                    let host = rng.below(self.plan.hosts as u64) as usize;
                    if !down.iter().any(|(_, dead)| *dead == host) {
                        crashes += 1;
                        self.sim.note(|| format!("crash of host {host}"));
                        executor.kill(host);
                        opening.retain(|open| open.host != host);
                        down.push((now + Duration::from_millis(rng.below(3_000)), host));
                    }
                }
                if rng.per_mille(self.plan.edits)
                    && let Some(deed) = people::act(self.wire.systems(), rng, events, &self.busy(), twins)
                {
                    self.sim.note(|| deed);
                }
            }
            let (due, still): (Vec<_>, Vec<_>) = down.into_iter().partition(|(at, _)| *at <= now);
            down = still;
            for (_, host) in due {
                let seed = rng.draw();
                opening.push(self.open(executor, host, seed));
            }
            self.wire.land();
            self.set_to_work(executor, opening);
            if !executor.step() {
                // Every host is down: time goes on until one comes back.
                let next = down.iter().map(|(at, _)| *at).min();
                self.sim.state().now = next.unwrap_or(now + Duration::from_millis(1));
            }
        }
        for (_, host) in down {
            let seed = rng.draw();
            opening.push(self.open(executor, host, seed));
        }
        crashes
    }

    /// No more faults: everything must settle, be right, and stay so.
    fn come_to_rest(&self, executor: &mut Executor, opening: &mut Vec<Opening>) -> Option<Violation> {
        self.sim.note(|| "calm".to_owned());
        self.sim.state().calm = true;
        self.wire.systems().set_faults(Faults::default());
        let (steps, began) = (executor.steps(), self.sim.now());
        let mut quiet = None;
        loop {
            for _ in 0..200 {
                executor.step();
                self.wire.land();
                self.set_to_work(executor, opening);
            }
            let unrest = self.unrest(opening);
            if unrest.is_empty() {
                let writes = self.count("writes");
                match &quiet {
                    Some((then, passes)) if *then == writes => {
                        // Each host may be stalled in the midst of a pass that it began before.
                        if self.passes.since(passes, 1 + self.plan.hosts as u64) {
                            break;
                        }
                    }
                    _ => quiet = Some((writes, self.passes.counts())),
                }
            } else {
                quiet = None;
            }
            if executor.steps() - steps > CALM_STEPS_MAX || self.sim.now() - began > CALM_TIME_MAX {
                let writes = self.count("writes");
                return Some(Violation::new(
                    "I3",
                    format!("no rest after {writes} writes: {unrest}"),
                ));
            }
        }
        self.judge()
    }

    fn busy(&self) -> Busy {
        let rows = row_seal(&self.keys, 0);
        let mut busy = Busy::new();
        for (key, row) in all_rows(&self.store, Table::Intent) {
            let key = RowKey::new(Table::Intent, key);
            let Ok(intent) = Rows::new(&rows).sealed::<Intent>(&key, &row) else {
                continue;
            };
            let source = intent.source;
            let entity = source.sync.to_string();
            if let Some(target) = intent.target {
                busy.insert((
                    SYSTEMS[source.side.other().index()],
                    entity.clone(),
                    target.to_string(),
                ));
            }
            busy.insert((SYSTEMS[source.side.index()], entity, source.id.to_string()));
        }
        self.unmerged(&mut busy);
        busy
    }

    /// Adds pairs whose first merge is not over: both messages have not been settled at the same time yet.
    fn unmerged(&self, busy: &mut Busy) {
        let under_way = |(key, row): (String, seamless_core::Row)| {
            let track = Rows::plain::<Track>(&RowKey::new(Table::Track, key.clone()), &row).ok()?;
            (track.state == TrackState::Confirmed).then_some(key)
        };
        let tracks: BTreeSet<String> = all_rows(&self.store, Table::Track)
            .into_iter()
            .filter_map(under_way)
            .collect();
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, row) in all_rows(&self.store, Table::Link) {
            let Some((entity, id)) = key.split_once("/a/").filter(|_| !merged.contains(&key)) else {
                continue;
            };
            let Ok(Link { other }) = Rows::plain(&RowKey::new(Table::Link, key.clone()), &row) else {
                continue;
            };
            if tracks.contains(&key) || tracks.contains(&format!("{entity}/b/{other}")) {
                busy.insert((SYSTEMS[0], entity.to_owned(), id.to_owned()));
                busy.insert((SYSTEMS[1], entity.to_owned(), other.to_string()));
            } else {
                merged.insert(key);
            }
        }
    }

    fn unrest(&self, opening: &[Opening]) -> String {
        let mut what = Vec::new();
        if !opening.is_empty() {
            what.push("a host has not started".to_owned());
        }
        if self.wire.land() {
            what.push("a ghost write is under way".to_owned());
        }
        for system in SYSTEMS {
            let depth = ready(self.bus.depth(system)).and_then(Result::ok);
            if depth != Some(0) {
                what.push(format!("{depth:?} message(s) to {system}"));
            }
        }
        let intents = all_rows(&self.store, Table::Intent);
        if let Some((key, _)) = intents.first() {
            what.push(format!("{} intents, {key}", intents.len()));
        }
        let backs = all_rows(&self.store, Table::WriteBack);
        let waits = |(key, row): &(String, seamless_core::Row)| {
            let back = Rows::plain::<WriteBack>(&RowKey::new(Table::WriteBack, key.clone()), row);
            back.is_ok_and(|back| back.parked.is_none())
        };
        if let Some((key, _)) = backs.iter().find(|row| waits(row)) {
            what.push(format!("the id of {key} has to be written back"));
        }
        what.join(", ")
    }

    fn count(&self, name: &str) -> u64 {
        let (_, stats) = self.wire.systems().admin("GET", "/stats", &Json::Null);
        stats[name].as_u64().unwrap_or_default()
    }

    /// What the sandbox says, and that nobody's rules were broken.
    fn judge(&self) -> Option<Violation> {
        let systems = self.wire.systems();
        let truth = systems.truth(Sandboxed::Autotask);
        for (name, invariant) in [("duplicates", "I1"), ("lost_edits", "I2"), ("echo_writes", "I4")] {
            if truth[name] != 0 {
                return Some(Violation::new(
                    invariant,
                    format!("{name}: {}", truth["details"][name]),
                ));
            }
        }
        let differences = truth["details"]["differences"].as_array();
        let differs = differences
            .into_iter()
            .flatten()
            .find(|one| !same_to_a_person(one) && !differs_in_capitals(one) && !self.is_aside(one));
        if let Some(one) = differs {
            return Some(Violation::new("I5", format!("the two sides differ: {one}")));
        }
        let (_, stats) = systems.admin("GET", "/stats", &Json::Null);
        let rules = [
            "wrong_routes",
            "put_used",
            "foreign_credentials",
            "dropped_conditions",
            "over_threads",
        ];
        // Two hosts do not count each other's calls.
        let two = self.plan.hosts > 1;
        let broken = rules
            .iter()
            .find(|rule| stats["violations"][**rule] != 0 && !(two && **rule == "over_threads"));
        broken.map(|rule| Violation::new("rules", format!("{rule}: {}", stats["violations"])))
    }

    /// Whether a record is set aside for a person, or waits with a field.
    fn is_aside(&self, difference: &Json) -> bool {
        let text = |json: &Json| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
        let (entity, crm) = (text(&difference["entity"]), text(&difference["crm_id"]));
        let keys = [
            format!("{entity}/a/{}", difference["autotask_id"]),
            format!("{entity}/b/{crm}"),
        ];
        [Table::Parked, Table::Held].iter().any(|table| {
            let rows = all_rows(&self.store, *table);
            rows.iter()
                .any(|(key, _)| keys.iter().any(|known| key.starts_with(known.as_str())))
        })
    }
}

/// Whether a difference that the sandbox tells is one of spelling, of a phone number or an e-mail address: both sides keep their own, on purpose.
pub fn same_to_a_person(difference: &Json) -> bool {
    let text = |side: &str| difference[side].as_str().unwrap_or_default();
    let [a, b] = ["autotask", "crm"].map(text);
    match text("field") {
        "phone" | "mobile" => {
            let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
            digits(a) == digits(b)
        }
        "e-mail" => a.to_lowercase() == b.to_lowercase(),
        _ => false,
    }
}

/// A change of capitals alone whose answer was lost counts as arrived (docs/protocol.md, Left out, R7 and R8).
fn differs_in_capitals(difference: &Json) -> bool {
    let [a, b] = ["autotask", "crm"].map(|side| difference[side].as_str().unwrap_or_default().to_lowercase());
    a == b
}
