//! Many seeds, on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Outcome;

/// What many seeds have shown.
#[derive(Debug, Default)]
pub struct Found {
    /// Seeds that failed, in order, each with what was wrong.
    pub failures: Vec<(u64, String)>,
    /// Steps of the scheduler, in all.
    pub steps: u64,
    /// Crashes, in all.
    pub crashes: u64,
    /// Edits overwritten in the open window (R7), in all.
    pub open_window: u64,
}

impl Found {
    /// One line for people.
    pub fn summary(&self, seeds: u64) -> String {
        format!(
            "{} of {seeds} seeds failed; {} steps, {} crashes, {} edits in the open window",
            self.failures.len(),
            self.steps,
            self.crashes,
            self.open_window
        )
    }

    fn add(&mut self, outcome: Outcome) {
        self.steps += outcome.steps;
        self.crashes += outcome.crashes;
        self.open_window += outcome.open_window;
        if let Some(violation) = outcome.violation {
            self.failures.push((outcome.seed, violation.to_string()));
        }
    }
}

/// Runs seeds until so many have failed, or to their end.
pub fn search(seeds: Range<u64>, enough: usize, run: impl Fn(u64) -> Outcome + Sync) -> Found {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new(Found::default());
    let has_enough = || {
        found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .failures
            .len()
            >= enough
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || has_enough() {
                        break;
                    }
                    let outcome = run(seed);
                    found.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.failures.sort();
    found
}
