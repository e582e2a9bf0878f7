//! Somebody who is told of events: a receiver that fails, refuses, and loses its answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::pipeline::{Engine, EventRule, EventSender, EventSpec, Herald, Subscriber};
use seamless_core::{Effect, Error, Event, EventTarget, Result, SystemId};

use super::executor::{Executor, Sim};
use super::hosts::SYSTEMS;
use super::plan::Plan;
use super::world::World;

pub(super) const SUBSCRIBER: &str = "pager";

/// What is watched in a run: any change of these fields of an account.
pub(super) fn spec(plan: &Plan) -> EventSpec {
    if !plan.told {
        return EventSpec::default();
    }
    let rule = |field: &&str| EventRule {
        name: format!("account.{field}"),
        entity: "account".into(),
        field: (*field).to_owned(),
        becomes: Vec::new(),
    };
    let rules: Vec<EventRule> = watched(plan).iter().map(rule).collect();
    let subscriber = Subscriber {
        name: SUBSCRIBER.to_owned(),
        events: rules.iter().map(|rule| rule.name.clone()).collect(),
        from: SYSTEMS.map(SystemId::from).into(),
    };
    EventSpec {
        rules,
        subscribers: vec![subscriber],
    }
}

/// Where a system writes notes its own way, nobody can tell that from a person.
pub(super) fn watched(plan: &Plan) -> &'static [&'static str] {
    match plan.rewrites {
        None => &["kind", "note"],
        Some(_) => &["kind"],
    }
}

/// The receiver.
pub(super) struct Receiver {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) sim: Sim,
    pub(super) plan: Arc<Plan>,
}

impl Receiver {
    fn note(&self, event: &Event) {
        self.sim.note(|| {
            let [before, after] =
                [&event.before, &event.after].map(|value| value.to_plain().unwrap_or_default());
            let (system, record, sequence) = (&event.system, &event.record, event.sequence);
            format!(
                "told of {} {system}/{record} #{sequence}: {before} -> {after}",
                event.name
            )
        });
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.told.push(event.clone());
    }
}

#[async_trait]
impl EventTarget for Receiver {
    async fn tell(&self, event: &Event, send_by: Duration) -> Result<()> {
        self.sim.pause().await;
        if self.sim.now() > send_by {
            return Err(Error::late());
        }
        let fault = {
            let mut state = self.sim.state();
            let faulty = !state.calm && state.rng.per_mille(self.plan.write_faults);
            faulty.then(|| state.rng.below(4))
        };
        if let Some(0 | 1) = fault {
            return Err(Error::unavailable("simulated receiver that is down").effect(Effect::NotApplied));
        }
        self.note(event);
        self.sim.pause().await;
        match fault {
            Some(2) => Err(Error::unavailable("simulated lost answer")),
            Some(_) => Err(Error::invalid("simulated refusal").effect(Effect::NotApplied)),
            None => Ok(()),
        }
    }
}

/// The workers that publish and tell.
pub(super) fn spawn(
    executor: &mut Executor,
    host: usize,
    engine: &Arc<Engine>,
    receiver: Receiver,
    idle: Duration,
) {
    let (sim, sender) = (receiver.sim.clone(), EventSender::new(engine));
    executor.spawn(host, async move {
        loop {
            match sender.step().await {
                Ok(published) if published > 0 => {}
                _ => sim.wait(Duration::from_millis(20) + idle).await,
            }
        }
    });
    let (sim, engine, receiver) = (receiver.sim.clone(), engine.clone(), Arc::new(receiver));
    executor.spawn(host, async move {
        let Ok(herald) = Herald::new(&engine, SUBSCRIBER, receiver).await else {
            return;
        };
        loop {
            match herald.step(Duration::ZERO).await {
                Ok(step) if step.taken > step.deferred => {}
                Ok(_) => sim.wait(idle).await,
                Err(error) => {
                    sim.note(|| format!("herald: {error}"));
                    sim.wait(Duration::from_millis(20)).await;
                }
            }
        }
    });
}
