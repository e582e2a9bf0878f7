//! Deterministic simulation: the real intake, apply, resolve and write-back code on virtual time, against two simulated systems, with crashes at
//! every await, lost answers, late stamps, search lag, doubled and reordered deliveries, and two hosts.
//!
//! One seed is one run: [`run`] is a pure function of the seed and the planted mistake. What a run does is drawn from the seed
//! ([`Plan`]); what is right is judged by [`checks`] from the simulated systems' own history, never from the engine's books.

mod asked;
mod chaos;
mod checks;
mod connector;
#[cfg(feature = "sandbox")]
pub mod connectors;
mod engine;
mod events;
mod executor;
mod hosts;
mod model;
mod people;
mod plan;
mod record;
mod rest;
mod reviewers;
mod rng;
mod search;
mod workers;
mod world;

pub use checks::Violation;
pub use plan::Plan;
pub use rng::Rng;
pub use search::{Found, search};

use seamless_core::pipeline::{Mistake, Mistakes};

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What went wrong, if anything.
    pub violation: Option<Violation>,
    /// Hash over everything that happened: same seed and code, same hash.
    pub trace_hash: u64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Crashes.
    pub crashes: u64,
    /// Edits overwritten in the open window (R7), which no compare-and-set could prevent.
    pub open_window: u64,
    /// What happened, line by line; only kept by [`trace`].
    pub trace: Vec<String>,
}

impl Outcome {
    /// A run that could not begin.
    fn refused(seed: u64, why: &str) -> Outcome {
        Outcome {
            seed,
            violation: Some(Violation::new("setup", why.to_owned())),
            trace_hash: 0,
            steps: 0,
            crashes: 0,
            open_window: 0,
            trace: Vec::new(),
        }
    }
}

/// Runs a seed.
pub fn run(seed: u64, mistakes: Mistakes) -> Outcome {
    run_plan(plan_of(seed, mistakes), mistakes)
}

/// Runs a plan that is not quite its seed's own.
pub fn run_plan(plan: Plan, mistakes: Mistakes) -> Outcome {
    hosts::simulate(plan, mistakes, false)
}

/// Runs a seed and keeps its trace.
pub fn trace(seed: u64, mistakes: Mistakes) -> Outcome {
    hosts::simulate(plan_of(seed, mistakes), mistakes, true)
}

/// Events take part in a run with a mistake planted only where the mistake is about them: more workers make other runs, and most mistakes need a certain one.
fn plan_of(seed: u64, mistakes: Mistakes) -> Plan {
    let is_planted = Mistake::ALL.iter().any(|mistake| mistakes.has(*mistake));
    let plan = Plan::of(seed);
    if is_planted && !ABOUT_EVENTS.iter().any(|mistake| mistakes.has(*mistake)) {
        return plan.without_events();
    }
    plan
}

const ABOUT_EVENTS: [Mistake; 5] = [
    Mistake::OwnWriteTold,
    Mistake::OlderLookTold,
    Mistake::SeenBeforeTold,
    Mistake::TurnsIgnored,
    Mistake::EventNotedFirst,
];
