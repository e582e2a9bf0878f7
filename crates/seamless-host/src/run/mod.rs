//! The host at work: once until nothing is left to do, or until it is told to stop.

mod fleet;
mod order;
mod trouble;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use seamless_core::pipeline::{Engine, Reason};
use seamless_core::{Error, ErrorKind, Result, SyncId, Table};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::connect::Live;
use crate::host::Host;
use crate::socket;
use fleet::{Absent, Fleet};
use trouble::Patience;

/// How long to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Until nothing is left to do, lost answers waited for.
    Once,
    /// Until the shutdown future ends.
    Forever,
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// How long.
    pub mode: RunMode,
    /// More than 20 first-merge overwrites in a sync are fine.
    pub accept_first_merge: bool,
}

/// What the host is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asks the systems whether they are there.
    Connecting,
    /// Reads changes; nothing is written yet.
    Reading,
    /// Applies changes.
    Applying,
    /// Runs until it is stopped.
    Running,
}

/// A look at a running host.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it is busy with.
    pub phase: Phase,
    /// Counters by name (`read`, `published`, `applied`, `created`, …).
    pub counters: BTreeMap<&'static str, u64>,
    /// Messages that are waiting or under way, over all systems.
    pub queued: u64,
    /// Writes under way, or waiting for their outcome to be known.
    pub open_intents: u64,
    /// What keeps workers from working, by worker.
    pub troubles: BTreeMap<String, String>,
}

impl Snapshot {
    /// A look at work that has counters and no phases of its own.
    pub(crate) fn of_counters(counters: BTreeMap<&'static str, u64>) -> Snapshot {
        Snapshot {
            phase: Phase::Reading,
            counters,
            queued: 0,
            open_intents: 0,
            troubles: BTreeMap::new(),
        }
    }
}

/// Is told a few times a second how a run goes.
pub trait Progress: Send + Sync {
    /// Another look.
    fn update(&self, snapshot: &Snapshot);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _: &Snapshot) {}
}

/// What a run did, and what is left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunSummary {
    /// How long it took.
    pub seconds: f64,
    /// Nothing was left to do at its end.
    pub settled: bool,
    /// It was stopped from outside.
    pub interrupted: bool,
    /// Counters by name, of this run.
    pub counters: BTreeMap<String, u64>,
    /// Pairs of records, in all.
    pub linked: u64,
    /// Records set aside for a person, in all.
    pub parked: u64,
    /// Records that wait for their parents, in all.
    pub waiting: u64,
    /// Ids that cannot be written back, in all.
    pub write_backs_parked: u64,
    /// Messages that cannot be opened, in all.
    pub dead_letters: u64,
}

impl RunSummary {
    /// Whether a person has to do something.
    pub fn needs_attention(&self) -> bool {
        self.parked + self.write_backs_parked + self.dead_letters > 0
    }

    /// A counter of this run.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}

/// Between two looks at the progress.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long steps under way may take after a stop before they are dropped; they are safe to drop.
const GRACE: Duration = Duration::from_secs(20);

/// For progress alone, counting may take one part in so many of the time.
const COUNT_SHARE: u32 = 100;
/// Between two tries to count on a bus that cannot be reached.
const COUNT_AGAIN: Duration = Duration::from_secs(60);

/// Messages that are waiting, as far as is known, and when they are counted again.
#[derive(Default)]
struct Queued {
    messages: u64,
    again_at: Duration,
}

/// What the workers of one run share.
pub(crate) struct Shift {
    pub(crate) mode: RunMode,
    phase: AtomicU8,
    /// True once the host shall stop.
    pub(crate) stop: watch::Receiver<bool>,
}

impl Shift {
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        let now = self.phase.load(Ordering::Relaxed);
        [Phase::Connecting, Phase::Reading, Phase::Applying, Phase::Running]
            .into_iter()
            .find(|phase| *phase as u8 == now)
            .unwrap_or(Phase::Connecting)
    }

    pub(crate) fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits, or ends early when the host shall stop.
    pub(crate) async fn rest(&self, clock: &dyn seamless_core::Clock, wait: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = clock.sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

impl Host {
    /// Runs. `shutdown` ends it gracefully: steps under way are finished, leases given back.
    ///
    /// In [`RunMode::Once`] a system that cannot be worked with ends the run with its error; in [`RunMode::Forever`] only what no waiting
    /// cures in the whole host does: a broken store, a refusal for safety.
    pub async fn run(
        &self,
        options: RunOptions,
        progress: &dyn Progress,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<RunSummary> {
        let clock = self.books.clock.clone();
        let started = clock.monotonic();
        let (stopper, stop) = watch::channel(false);
        let shift = Arc::new(Shift {
            mode: options.mode,
            phase: AtomicU8::new(Phase::Connecting as u8),
            stop,
        });
        let socket = socket::serve(self.books.clone());
        let work = self.work(options, &shift);
        tokio::pin!(work, shutdown);
        let mut stopped_at = None;
        let mut queued = Queued::default();
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut work => break ended,
                () = &mut shutdown, if stopped_at.is_none() => {
                    tracing::info!("stopping");
                    stopped_at = Some(clock.monotonic());
                    stopper.send_replace(true);
                }
                () = clock.sleep(LOOK_EVERY) => {
                    let late = stopped_at.is_some_and(|at| clock.monotonic().saturating_sub(at) > GRACE);
                    if late {
                        break Ok(false);
                    }
                    self.count(&mut queued).await;
                    // A store that fails is reported by the workers.
                    if let Ok(snapshot) = self.snapshot(&shift, queued.messages).await {
                        progress.update(&snapshot);
                    }
                }
            }
        };
        drop(socket);
        let status = self.books.status().await;
        self.books.rest();
        let (settled, status) = (ended?, status?);
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        Ok(RunSummary {
            seconds: clock.monotonic().saturating_sub(started).as_secs_f64(),
            settled,
            interrupted: stopped_at.is_some(),
            linked: status.linked(),
            parked: status.parked(),
            waiting: status.waiting(),
            write_backs_parked: status
                .syncs
                .iter()
                .map(|sync| sum(&sync.write_backs_parked))
                .sum(),
            dead_letters: status.queues.values().map(|queue| sum(&queue.dead_letters)).sum(),
            counters: status.counters,
        })
    }

    /// Applies what is on its way, with no host running, and reads nothing new.
    pub(crate) async fn apply_what_is_left(&self, engine: Arc<Engine>) -> Result<()> {
        let (_stopper, stop) = watch::channel(false);
        let shift = Arc::new(Shift {
            mode: RunMode::Once,
            phase: AtomicU8::new(Phase::Applying as u8),
            stop,
        });
        let absent = BTreeMap::new();
        let fleet = Fleet::new(engine, self.books.clone(), shift, absent, self.receivers.clone());
        if fleet.apply().await? {
            Ok(())
        } else {
            Err(fleet.first_trouble())
        }
    }

    /// Counts what waits on the bus, when it is time: a bus over the network is asked seldom, and one that refuses more seldom still.
    async fn count(&self, queued: &mut Queued) {
        let clock = &self.books.clock;
        let started = clock.monotonic();
        if started < queued.again_at {
            return;
        }
        let mut messages = 0;
        let mut failed = false;
        for system in self.systems.keys() {
            match self.books.bus.depth(system.as_str()).await {
                Ok(depth) => messages += depth,
                Err(_) => failed = true,
            }
        }
        let now = clock.monotonic();
        let rest = if failed {
            COUNT_AGAIN
        } else {
            now.saturating_sub(started) * COUNT_SHARE
        };
        queued.again_at = now.saturating_add(rest);
        if !failed {
            queued.messages = messages;
        }
    }

    async fn snapshot(&self, shift: &Shift, queued: u64) -> Result<Snapshot> {
        Ok(Snapshot {
            phase: shift.phase(),
            counters: self.books.counters(),
            queued,
            open_intents: self.books.store.count(Table::Intent, "").await?,
            troubles: self
                .books
                .troubles
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clone(),
        })
    }

    async fn work(&self, options: RunOptions, shift: &Arc<Shift>) -> Result<bool> {
        let mut absent = Absent::new();
        let Some(live) = self.connect(shift, &mut absent).await? else {
            return Ok(false);
        };
        let engine = self.engine(&live, options.accept_first_merge).await?;
        self.books.note_schemas(&live).await?;
        self.books.note_descriptions(&live).await?;
        engine.release_stale_claims().await?;
        engine.forget_births().await?;
        engine.settle_in_watches().await?;
        self.books.retry_write_backs().await?;
        let changed = engine.settle_in().await?;
        if !changed.is_empty() {
            let names: Vec<&str> = changed.iter().map(SyncId::as_str).collect();
            tracing::info!(syncs = %names.join(", "), "a mapping has changed: all records are read once");
        }
        engine.look_for_lost_messages().await?;
        // People may have told twins apart since, configured a default, or accepted the first merge.
        let mut reasons = Reason::MAY_BE_CURED.to_vec();
        reasons.extend(options.accept_first_merge.then_some(Reason::ParkedFirstMerge));
        engine.look_again(&reasons).await?;
        if options.mode == RunMode::Once {
            // A run that goes on has a worker for it.
            let every = Duration::from_secs(self.books.config.run.look_again_secs);
            engine.look_again_at_all_held_if_due(every).await?;
        }
        let fleet = Fleet::new(
            engine,
            self.books.clone(),
            shift.clone(),
            absent,
            self.receivers.clone(),
        );
        match options.mode {
            RunMode::Once => fleet.once().await,
            RunMode::Forever => fleet.forever().await.map(|()| false),
        }
    }

    /// Reaches every system; `None` when stopped meanwhile. Lengths and options of the live systems are part of the mappings, so that
    /// nothing starts without them.
    async fn connect(&self, shift: &Arc<Shift>, absent: &mut Absent) -> Result<Option<Live>> {
        shift.enter(Phase::Connecting);
        if !self.bus_is_ready(shift).await? {
            return Ok(None);
        }
        let mut live = Live::new();
        for system in self.systems.keys() {
            let worker = format!("connect {system}");
            let mut patience = Patience::new(shift.mode, self.config.run.patience_secs);
            loop {
                if shift.stopped() {
                    return Ok(None);
                }
                match self.describe(system).await {
                    Ok(described) => {
                        self.books.trouble(&worker, None);
                        live.extend(described);
                        break;
                    }
                    Err(error) => {
                        self.books.trouble(&worker, Some(&error));
                        let known = match trouble::of_one_system(&error) {
                            true => self.books.last_description(system).await?,
                            false => None,
                        };
                        let error = match (patience.try_on(&self.books, &worker, error), &known) {
                            // The workers are patient with it from here on.
                            (Ok(_), Some(_)) if shift.mode == RunMode::Forever => None,
                            (Ok(wait), _) => {
                                shift.rest(&*self.books.clock, wait).await;
                                continue;
                            }
                            (Err(error), Some(_)) => Some(error),
                            (Err(error), None) => return Err(error),
                        };
                        tracing::warn!(%system, "does not answer; the others go on without it");
                        self.books.trouble(&worker, None);
                        absent.extend(error.map(|error| (system.clone(), error)));
                        live.extend(known.unwrap_or_default());
                        break;
                    }
                }
            }
        }
        Ok(Some(live))
    }

    /// Waits until the bus has all that is needed: what is published to a topic without the right subscriptions is gone. False when stopped
    /// meanwhile.
    async fn bus_is_ready(&self, shift: &Arc<Shift>) -> Result<bool> {
        let subscriptions = crate::bus::subscriptions(&self.config);
        let worker = "look at the bus";
        let mut patience = Patience::new(shift.mode, self.config.run.patience_secs);
        while !shift.stopped() {
            match self.books.bus.verify(&subscriptions).await {
                Ok(()) => {
                    self.books.trouble(worker, None);
                    return Ok(true);
                }
                Err(error) => {
                    self.books.trouble(worker, Some(&error));
                    let wait = patience.try_on(&self.books, worker, error)?;
                    shift.rest(&*self.books.clock, wait).await;
                }
            }
        }
        Ok(false)
    }
}

/// A task ended without a result: it panicked. That is a bug, and going on with half a host would hide it.
pub(crate) fn panicked(error: tokio::task::JoinError) -> Error {
    Error::new(
        ErrorKind::Storage,
        "a worker failed unexpectedly and the host stops; restart it, and report what it printed before",
    )
    .because(error)
}
