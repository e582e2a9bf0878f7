//! Runs many seeds of the simulation: `seeds FIRST COUNT [MISTAKE]`, or shows one: `seeds trace SEED [MISTAKE]`.
//!
//! With a mistake it stops at the first seed that finds it. The exit code is 1 when an unplanted run fails.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a command-line tool of the test kit"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use seamless_core::pipeline::{Mistake, Mistakes};
use seamless_testkit::sim;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "trace") {
        let seed = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let outcome = sim::trace(seed, planted(words.get(2)));
        outcome.trace.iter().for_each(|line| println!("{line}"));
        println!("{:?}", sim::Plan::of(seed));
        println!(
            "hash {:016x}, {} steps, {} crashes, {:?}",
            outcome.trace_hash, outcome.steps, outcome.crashes, outcome.violation
        );
        return;
    }
    let first: u64 = words.first().and_then(|word| word.parse().ok()).unwrap_or(0);
    let count: u64 = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(1_000);
    let mistakes = planted(words.get(2));
    let stop_early = words.get(2).is_some();
    let next = AtomicU64::new(first);
    let failures: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
    let (steps, crashes, window) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || (stop_early && !failures.lock().unwrap().is_empty()) {
                        break;
                    }
                    let outcome = sim::run(seed, mistakes);
                    steps.fetch_add(outcome.steps, Ordering::Relaxed);
                    crashes.fetch_add(outcome.crashes, Ordering::Relaxed);
                    window.fetch_add(outcome.open_window, Ordering::Relaxed);
                    if let Some(violation) = outcome.violation {
                        failures.lock().unwrap().push((seed, violation.to_string()));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    for (seed, violation) in failures.iter().take(20) {
        println!("seed {seed}: {violation}");
    }
    println!(
        "{} of {count} seeds failed; {} steps, {} crashes, {} edits in the open window",
        failures.len(),
        steps.load(Ordering::Relaxed),
        crashes.load(Ordering::Relaxed),
        window.load(Ordering::Relaxed)
    );
    if !failures.is_empty() && !stop_early {
        std::process::exit(1);
    }
}

fn planted(name: Option<&String>) -> Mistakes {
    let Some(name) = name else { return Mistakes::none() };
    let found = Mistake::ALL
        .iter()
        .find(|mistake| format!("{mistake:?}") == *name);
    Mistakes::plant(*found.unwrap_or_else(|| panic!("no mistake {name}; there are {:?}", Mistake::ALL)))
}
