//! What a run does, drawn from its seed (swarm: every seed has its own mix).

use std::time::Duration;

use seamless_core::pipeline::{Direction, OnDrift};

use super::rng::Rng;

/// The configuration of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Hosts sharing store and bus.
    pub hosts: usize,
    /// Appliers a host and system.
    pub appliers: usize,
    /// Records at the start.
    pub records: usize,
    /// Events (edits, creates, crashes, worker steps) before the faults stop.
    pub events: u64,
    /// Share of events that are people's edits, per mille.
    pub edits: u64,
    /// Share of events that crash a host, per mille.
    pub crashes: u64,
    /// Share of reads that fail, per mille.
    pub read_faults: u64,
    /// Share of writes with a lost answer, a refusal or a ghost, per mille.
    pub write_faults: u64,
    /// Share of awaits that take long enough for a lease to end, per mille.
    pub stalls: u64,
    /// Share of publishes that are doubled, per mille.
    pub doubles: u64,
    /// Late visibility of people's edits.
    pub commit_delay_max: Duration,
    /// Stamp resolution.
    pub granularity: Duration,
    /// Overlap of the cursor: covers delay and resolution.
    pub overlap: Duration,
    /// How long `find` lags.
    pub search_lag: Duration,
    /// How long a lost call can still land.
    pub settle_after: Duration,
    /// Second system has compare-and-set.
    pub second_has_cas: bool,
    /// The systems tell the time with each list.
    pub server_time: bool,
    /// Which side is the first system of the sync (owner): Autotask-like.
    pub owner_first: bool,
    /// Values people choose from are few, so that reverts and equal edits are common.
    pub few_values: bool,
    /// People clear cross-references now and then.
    pub clear_xrefs: bool,
    /// Share of people's work that is a copy of a record, cross-reference and all, per mille.
    pub copies: u64,
    /// Share of people's work that deletes a record, per mille.
    pub deletions: u64,
    /// Share of creates that make a twin on the other side.
    pub twins: u64,
    /// Page size of the systems.
    pub page: usize,
    /// Pause between polls.
    pub poll_every: Duration,
    /// Pause of a worker that had nothing to do.
    pub idle: Duration,
    /// Plans that are made and carried out while everybody is at work.
    pub plans: u32,
    /// Share of a reviewer's looks in which a pair is taken apart, per mille.
    pub unlinks: u64,
    /// Share of the second system's writes of a note that are refused because of it while the storm lasts, per mille.
    pub refusals: u64,
    /// Ids of the second system do not rise, as far as anybody has said.
    pub second_unordered: bool,
    /// The second system refuses a second record with the same cross-reference.
    pub second_unique: bool,
    /// The system that writes what is put into a note its own way, without anybody having declared it.
    pub rewrites: Option<usize>,
    /// Options that the first system refuses from this event on, until the storm is over.
    pub closed_at: Option<u64>,
    /// A field of the accounts that a system does not have for a while.
    pub vanishes: Option<Vanish>,
    /// The mappings call their options otherwise from this event on.
    pub remapped_at: Option<u64>,
    /// Tickets are synchronised, too, and which way.
    pub tickets: Option<Direction>,
    /// Opportunities are synchronised, too, and which way.
    pub opportunities: Option<Direction>,
    /// What happens to the store.
    pub disaster: Option<Disaster>,
    /// Everything is reconciled now and then, and some edits do not move their record's stamp.
    pub reconciled: bool,
    /// What reconciliation makes of an edit against the flow.
    pub on_drift: OnDrift,
    /// Somebody is told when an account changes.
    pub told: bool,
    /// The systems say what has changed, now and then, and sometimes of what has not.
    pub nudged: bool,
}

/// A field that somebody takes out of a system and brings back, with what it held.
#[derive(Debug, Clone, Copy)]
pub struct Vanish {
    /// The system.
    pub system: usize,
    /// Its native field.
    pub field: &'static str,
    /// The event from which on records come without it, and writes that name it are refused.
    pub from: u64,
    /// The event at which it is back, at the latest when the storm is over.
    pub to: u64,
}

/// The store goes back to what it was, while the systems and the bus stay as they are.
#[derive(Debug, Clone, Copy)]
pub struct Disaster {
    /// The event at which a backup is made; without one the state is lost, and the links are rebuilt.
    pub backup: Option<u64>,
    /// The event at which it happens.
    pub at: u64,
}

impl Plan {
    /// Draws a plan.
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x5ea3_1e55);
        let millis = Duration::from_millis;
        let granularity = millis(*rng.pick(&[1, 1, 50, 200]).unwrap_or(&1));
        let commit_delay_max = millis(*rng.pick(&[0, 20, 150, 400]).unwrap_or(&0));
        let clustered = rng.per_mille(300);
        // Short runs find what happens soon, and many fit into the time of a long one.
        let events = [120, 120, 200, 300][(seed % 4) as usize];
        let write_faults = *rng.pick(&[0, 50, 250]).unwrap_or(&50);
        let mut plan = Plan {
            seed,
            hosts: if rng.per_mille(400) { 2 } else { 1 },
            appliers: rng.between(1, 2) as usize,
            records: rng.between(4, 12) as usize,
            events,
            edits: *rng.pick(&[60, 150, 300]).unwrap_or(&150),
            crashes: *rng.pick(&[0, 5, 20]).unwrap_or(&5),
            read_faults: *rng.pick(&[0, 10, 60]).unwrap_or(&10),
            write_faults,
            stalls: *rng.pick(&[0, 2, 8]).unwrap_or(&2),
            doubles: *rng.pick(&[0, 50, 200]).unwrap_or(&50),
            commit_delay_max,
            granularity,
            overlap: commit_delay_max + granularity + millis(120),
            search_lag: millis(*rng.pick(&[0, 100, 500]).unwrap_or(&0)),
            settle_after: millis(*rng.pick(&[300, 800]).unwrap_or(&300)),
            second_has_cas: rng.per_mille(400),
            server_time: rng.per_mille(700),
            owner_first: rng.per_mille(700),
            few_values: rng.per_mille(400) || clustered,
            clear_xrefs: rng.per_mille(50),
            copies: 0,
            deletions: 0,
            twins: *rng.pick(&[0, 100, 400]).unwrap_or(&100),
            page: rng.between(3, 8) as usize,
            poll_every: millis(*rng.pick(&[50, 120, 250]).unwrap_or(&40)),
            idle: Duration::ZERO,
            second_unordered: false,
            second_unique: false,
            rewrites: None,
            closed_at: None,
            vanishes: None,
            plans: *rng.pick(&[0, 0, 1, 3]).unwrap_or(&0),
            unlinks: *rng.pick(&[0, 0, 60]).unwrap_or(&0),
            refusals: *rng.pick(&[0, 0, 300]).unwrap_or(&0),
            remapped_at: rng.per_mille(250).then(|| rng.between(30, events - 20)),
            tickets: further(&mut rng),
            opportunities: further(&mut rng),
            disaster: None,
            reconciled: rng.per_mille(200),
            on_drift: *rng
                .pick(&[OnDrift::Keep, OnDrift::Restore])
                .unwrap_or(&OnDrift::Keep),
            told: false,
            nudged: false,
        };
        // What is cleared on a side that nobody polls is found by nobody else.
        let one_way = [plan.tickets, plan.opportunities].contains(&Some(Direction::BToA));
        plan.reconciled |= one_way && (plan.clear_xrefs || plan.unlinks > 0);
        // What people took apart or cleared is known to the store only: nobody could tell after its loss.
        if !plan.clear_xrefs && plan.unlinks == 0 && rng.per_mille(200) {
            let at = rng.between(40, events - 10);
            let backup = rng.per_mille(600).then(|| rng.between(1, at - 1));
            plan.disaster = Some(Disaster { backup, at });
        }
        plan.idle = millis(*Rng::new(seed ^ 0x1d1e).pick(&[10, 30, 60]).unwrap_or(&30));
        let mut rng = Rng::new(seed ^ 0x4e07e);
        plan.rewrites = rng.per_mille(200).then(|| rng.below(2) as usize);
        plan.closed_at = rng.per_mille(150).then(|| rng.between(20, events - 20));
        plan.second_unordered = rng.per_mille(250);
        plan.second_unique = rng.per_mille(250);
        let mut rng = Rng::new(seed ^ 0x7a15);
        plan.vanishes = rng.per_mille(200).then(|| {
            let from = rng.between(10, events - 20);
            Vanish {
                system: rng.below(2) as usize,
                field: rng
                    .pick(&["note", "phone", "kind", "title", "origin"])
                    .copied()
                    .unwrap_or("note"),
                from,
                to: rng.between(from + 1, events + 20),
            }
        });
        // What a record held that was linked while the field was gone: its stamp does not tell when it is back.
        plan.reconciled |= plan.vanishes.is_some();
        // Where references are cleared as well, a copy may be all that still names the other record.
        let mut rng = Rng::new(seed ^ 0xc0b1);
        if !plan.clear_xrefs && plan.unlinks == 0 && rng.per_mille(250) {
            plan.copies = 60;
        }
        // What is gone names nobody: neither a lost store nor a person could put the pair together again.
        if !plan.clear_xrefs && plan.unlinks == 0 && plan.disaster.is_none() && rng.per_mille(250) {
            plan.deletions = 40;
        }
        // What only reconciliation finds is brought over, and nobody is told of it.
        plan.told = !plan.reconciled && Rng::new(seed ^ 0x7e11).per_mille(250);
        plan.nudged = Rng::new(seed ^ 0x40d9e).per_mille(200);
        plan
    }
}

impl Plan {
    /// The same, where nobody is told of anything, and the systems say nothing of changes.
    pub fn without_events(self) -> Plan {
        Plan {
            told: false,
            nudged: false,
            ..self
        }
    }
}

/// Whether a further entity takes part: in some runs both ways, in some from the second system only.
fn further(rng: &mut Rng) -> Option<Direction> {
    let directions = [Direction::TwoWay, Direction::BToA, Direction::BToA];
    rng.per_mille(300)
        .then(|| *rng.pick(&directions).unwrap_or(&directions[0]))
}
