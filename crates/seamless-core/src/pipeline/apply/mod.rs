//! Apply (R3–R11): takes messages and hints, claims, matches, merges, writes, commits, settles.
//!
//! A step handles a batch, so that look-ups are asked together; outcomes are per record. The phases of a step, in order:
//! [`batch`] (receive, open, join), claim and re-read ([`item`]), match ([`find`]), references and merge ([`plan`]), the [`gate`] of rehearsals and plans,
//! intent, write and read-back ([`write`]), and how each record ends ([`finish`]), in one commit a record ([`commit`]).

mod absent;
mod batch;
mod commit;
mod find;
mod finish;
mod gate;
mod item;
mod lost;
mod named;
mod plan;
mod taken;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use super::claims::Claimant;
use super::engine::Engine;
use super::state::RecordKey;
use crate::contract::Consumer;
use crate::error::Result;
use crate::record::SystemId;

pub(crate) use commit::wake_ops;
pub(crate) use find::empty_state;
pub(crate) use finish::{Landing, commit_landed};
pub(crate) use gate::{Gate, RecordEnd};
pub(crate) use item::Item;
pub(crate) use plan::parent_key;

/// Applies messages to one target system.
pub struct Applier {
    engine: Arc<Engine>,
    /// The system it writes to; also the name of its subscription.
    system: SystemId,
    consumer: Box<dyn Consumer>,
    claimant: Claimant,
    /// How often a record has been deferred in a row, and until when its hints are left alone.
    deferrals: Mutex<BTreeMap<RecordKey, (u32, Duration)>>,
    /// Batch size, adapted to how fast the target writes.
    batch: Mutex<usize>,
    /// Systems whose records are left alone for a while.
    absent: absent::Absent,
    /// Looks at every record before anything is done with it.
    gate: Option<Arc<dyn Gate>>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyStep {
    /// Messages and hints taken.
    pub taken: usize,
    /// Of them, put off to later.
    pub deferred: usize,
}

const BATCH_MIN: usize = 8;
const BATCH_MAX: usize = 200;
/// A step that takes longer makes the batch smaller, a quicker one larger: claims, locks and reads must stay fresh, and each step has reads of its own.
const STEP_GOAL: Duration = Duration::from_millis(1_500);

impl Applier {
    /// An applier with a consumer of its own.
    pub async fn new(engine: &Arc<Engine>, system: &SystemId) -> Result<Applier> {
        Ok(Applier {
            engine: engine.clone(),
            system: system.clone(),
            consumer: engine.bus.subscribe(system.as_str()).await?,
            claimant: Claimant::new(engine),
            deferrals: Mutex::new(BTreeMap::new()),
            batch: Mutex::new(32),
            absent: absent::Absent::default(),
            gate: None,
        })
    }

    /// The system it writes to.
    pub fn system(&self) -> &SystemId {
        &self.system
    }

    /// Takes what is due, waiting up to `wait` for the first message, and handles it. Cancel safe at every await: claims run out, messages come again, intents are
    /// resolved by [`super::Resolver`]. An error is one of a whole system or of the store; what was taken has been put back.
    pub async fn step(&self, wait: Duration) -> Result<ApplyStep> {
        let started = self.engine.clock.monotonic();
        let size = *self.batch.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let step = self.run(size, wait).await?;
        let took = self
            .engine
            .clock
            .monotonic()
            .saturating_sub(started)
            .saturating_sub(wait);
        let mut batch = self.batch.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if took > STEP_GOAL || step.taken == size {
            *batch = next_batch(size, took);
        }
        Ok(step)
    }
}

/// The batch that would have taken nine tenths of the goal; never less than half of the last one, nor more than twice as much.
fn next_batch(size: usize, took: Duration) -> usize {
    let fits = size as u128 * STEP_GOAL.as_millis() * 9 / 10 / took.as_millis().max(1);
    let fits = usize::try_from(fits).unwrap_or(BATCH_MAX);
    fits.clamp(size / 2, size * 2).clamp(BATCH_MIN, BATCH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_close_to_the_goal_and_stay_there() {
        // Milliseconds for each record, and the batch that fits.
        for (each, expected) in [(0, 200), (7, 192), (50, 27), (100, 13), (150, 9), (1_000, 8)] {
            let mut size = 32;
            for _ in 0..10 {
                size = next_batch(size, Duration::from_millis(each * size as u64));
            }
            assert!(size.abs_diff(expected) <= 1, "{each} ms: {size}");
        }
    }
}
