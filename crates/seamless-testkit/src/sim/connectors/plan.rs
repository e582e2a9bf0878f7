//! What a run over HTTP is like, drawn from its seed.

use std::time::Duration;

use seamless_sandbox::{Config, Fault, Faults, On, System};

use crate::sim::rng::Rng;

/// A run. Most faults are off in most of them: what only shows when it comes alone would be drowned otherwise.
#[derive(Debug, Clone)]
pub(super) struct WirePlan {
    pub(super) seed: u64,
    pub(super) records: usize,
    pub(super) tickets: usize,
    pub(super) opportunities: usize,
    pub(super) hosts: usize,
    pub(super) appliers: usize,
    pub(super) events: u64,
    /// Longest pause between two events.
    pub(super) gap_ms: u64,
    /// Chance of a person's deed at an event, per mille; of a crash; of a message that comes twice; of a stall at an await.
    pub(super) edits: u64,
    pub(super) crashes: u64,
    pub(super) doubles: u64,
    pub(super) stalls: u64,
    pub(super) poll_every: Duration,
    pub(super) faults: Faults,
}

impl WirePlan {
    pub(super) fn of(seed: u64) -> WirePlan {
        let rng = &mut Rng::new(seed ^ 0x7769_7265);
        WirePlan {
            seed,
            records: rng.between(6, 30) as usize,
            tickets: rng.below(5) as usize,
            opportunities: rng.below(3) as usize,
            hosts: 1 + usize::from(rng.per_mille(300)),
            appliers: 1 + rng.below(2) as usize,
            events: rng.between(40, 160),
            gap_ms: rng.between(200, 3_000),
            edits: rng.between(200, 900),
            crashes: if rng.per_mille(700) { rng.below(60) } else { 0 },
            doubles: if rng.per_mille(500) { rng.below(60) } else { 0 },
            stalls: if rng.per_mille(500) { rng.below(10) } else { 0 },
            poll_every: Duration::from_millis(rng.between(500, 6_000)),
            faults: faults(rng),
        }
    }

    /// The two systems at the beginning.
    pub(super) fn systems(&self) -> Config {
        Config {
            seed: self.seed,
            records: self.records,
            crm_tickets: self.tickets,
            crm_opportunities: self.opportunities,
            hourly_limit: 1_000_000,
            ..Config::default()
        }
    }
}

fn faults(rng: &mut Rng) -> Faults {
    let mut one = |on: On, most: u64| {
        let mut fault = Fault::default();
        if rng.per_mille(350) {
            fault.probability = rng.between(1, most) as f64 / 1_000.0;
            fault.on = on;
            fault.system = match rng.below(3) {
                0 => Some(System::Autotask),
                1 => Some(System::Crm),
                _ => None,
            };
            fault.delay_ms = rng.below(1_000);
            fault.retry_after_secs = rng.below(3);
        }
        fault
    };
    Faults {
        lost_answer: one(On::Writes, 120),
        ghost_write: one(On::Writes, 80),
        error_500: one(On::Any, 60),
        error_500_applied: one(On::Writes, 80),
        unavailable: one(On::Any, 60),
        throttled: one(On::Any, 60),
        latency: one(On::Any, 400),
        search_lag: one(On::Any, 300),
        // In the CRM only: whether Autotask answers a query by ids from the same state as a GET is not known, and the connector takes it to.
        late_stamps: one(On::Any, 300).of(System::Crm),
        zone_moved: one(On::Reads, 10).of(System::Autotask),
        truncated_body: one(On::Any, 40),
        cut_body: one(On::Any, 40),
        endless_paging: one(On::Reads, 30),
        foreign_next_page: one(On::Reads, 30),
        ignored_filter: one(On::Reads, 60),
        ..Faults::default()
    }
}
