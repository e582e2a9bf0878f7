//! The workers of a host, as a running host has them, and how often each reader has come to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seamless_core::pipeline::{
    Applier, Conduct, DriftThen, Engine, PollStep, Poller, Resolver, Sweep, SweepPage, SweepStep, WriteBacker,
};
use seamless_core::{Nudge, RecordId, Side, SystemId};

use super::executor::{Executor, Sim};
use super::hosts::SYSTEMS;
use super::rng::Rng;
use super::world::World;

/// How hard a host works.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) poll_every: Duration,
    pub(super) appliers: usize,
    /// Rest of an applier that found nothing.
    pub(super) idle: Duration,
    pub(super) reconciled: bool,
}

/// Finished passes by reader and entity.
pub(super) type Polls = BTreeMap<(String, String), u64>;

/// Counts the finished passes of all readers.
#[derive(Clone, Default)]
pub(super) struct Passes(Arc<Mutex<Polls>>);

impl Passes {
    pub(super) fn counts(&self) -> Polls {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether every reader has ended so many passes since.
    pub(super) fn since(&self, before: &Polls, times: u64) -> bool {
        let now = self.counts();
        now.iter()
            .all(|(key, count)| *count >= before.get(key).copied().unwrap_or(0) + times)
    }

    /// Counts the finished passes of a reader; none at first.
    fn counter(&self, reader: String, entity: &str) -> impl Fn() + Send + 'static {
        let (polls, key) = (self.0.clone(), (reader, entity.to_owned()));
        let count = move |by: u64| {
            let mut polls = polls.lock().unwrap_or_else(PoisonError::into_inner);
            *polls.entry(key.clone()).or_default() += by;
        };
        count(0);
        move || count(1)
    }
}

pub(super) fn spawn(
    sim: &Sim,
    executor: &mut Executor,
    host: usize,
    engine: &Arc<Engine>,
    systems: [&'static str; 2],
    pace: Pace,
    passes: &Passes,
) {
    for mut poller in Poller::all(engine) {
        let sim = sim.clone();
        let count = passes.counter(poller.system().to_string(), poller.entity());
        executor.spawn(host, async move {
            loop {
                match poller.step().await {
                    Ok(PollStep::Page { .. }) => {}
                    Ok(PollStep::End { .. }) => {
                        count();
                        sim.wait(pace.poll_every).await;
                    }
                    Ok(PollStep::Elsewhere) => sim.wait(Duration::from_millis(30)).await,
                    Err(error) => {
                        sim.note(|| format!("reader: {error}"));
                        sim.wait(Duration::from_millis(30)).await;
                    }
                }
            }
        });
    }
    if pace.reconciled {
        for sweep in Sweep::all(engine, None, Conduct::Routine) {
            spawn_sweep(sim, executor, host, sweep, passes);
        }
    }
    for system in systems {
        for _ in 0..pace.appliers {
            let (sim, engine) = (sim.clone(), engine.clone());
            executor.spawn(host, async move {
                let Ok(applier) = Applier::new(&engine, &SystemId::from(system)).await else {
                    return;
                };
                loop {
                    match applier.step(Duration::ZERO).await {
                        Ok(step) if step.taken > step.deferred => {}
                        Ok(_) => sim.wait(pace.idle).await,
                        Err(error) => {
                            sim.note(|| format!("applier: {error}"));
                            sim.wait(Duration::from_millis(20)).await;
                        }
                    }
                }
            });
        }
    }
    let (clock, resolver) = (sim.clone(), Resolver::new(engine));
    executor.spawn(host, async move {
        loop {
            let step = resolver.step().await;
            drop(step);
            clock.wait(Duration::from_millis(40)).await;
        }
    });
    for sync in engine.syncs.keys() {
        for side in Side::BOTH {
            let (sim, backer, sync) = (sim.clone(), WriteBacker::new(engine), sync.clone());
            executor.spawn(host, async move {
                loop {
                    let step = backer.step(&sync, side).await;
                    drop(step);
                    sim.wait(Duration::from_millis(20) + pace.idle).await;
                }
            });
        }
    }
}

fn spawn_sweep(sim: &Sim, executor: &mut Executor, host: usize, mut sweep: Sweep, passes: &Passes) {
    let sim = sim.clone();
    let count = passes.counter(format!("reconcile {}", sweep.system()), sweep.entity());
    executor.spawn(host, async move {
        let is_busy = |page: &SweepPage| page.drift.iter().any(|drift| drift.then == DriftThen::Busy);
        // A pass that came across a record which was being worked on has not seen everything.
        let mut whole = true;
        loop {
            match sweep.step().await {
                Ok(SweepStep::Page(page)) => {
                    whole &= !is_busy(&page);
                    sim.wait(Duration::from_millis(10)).await;
                }
                Ok(SweepStep::End(page)) => {
                    if whole && !is_busy(&page) {
                        count();
                    }
                    whole = true;
                    sim.wait(Duration::from_millis(300)).await;
                }
                Ok(SweepStep::Elsewhere) | Err(_) => sim.wait(Duration::from_millis(60)).await,
            }
        }
    });
}

/// What the systems say of changes arrives late, in part, or never; and now and then something is said of a record that nobody has.
pub(super) fn spawn_nudges(
    sim: &Sim,
    executor: &mut Executor,
    host: usize,
    engine: &Arc<Engine>,
    world: &Arc<Mutex<World>>,
    mut rng: Rng,
) {
    let (sim, engine, world) = (sim.clone(), engine.clone(), world.clone());
    executor.spawn(host, async move {
        loop {
            sim.wait(Duration::from_micros(rng.between(1_000, 60_000))).await;
            let mut said = std::mem::take(&mut world.lock().unwrap_or_else(PoisonError::into_inner).nudges);
            said.retain(|_| rng.per_mille(800));
            let calm = sim.state().calm;
            if !calm && rng.per_mille(100) {
                let (entity, id) = ("account".to_owned(), RecordId(rng.between(90, 130).to_string()));
                said.push((0, Nudge { entity, id }));
            }
            for (system, nudge) in said {
                sim.note(|| {
                    format!(
                        "system {system} says that {} {} has changed",
                        nudge.entity, nudge.id
                    )
                });
                let nudged = engine.nudge(&SystemId::from(SYSTEMS[system]), &[nudge]).await;
                drop(nudged);
            }
        }
    });
}
