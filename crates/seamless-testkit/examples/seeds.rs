//! Runs many seeds of the simulation: `seeds FIRST COUNT [MISTAKE]`, shows one: `seeds trace SEED [MISTAKE]`, or prints the table of
//! `docs/simulation.md`: `seeds table COUNT`.
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

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
    match words.first().map(String::as_str) {
        Some("trace") => trace(number(1).unwrap_or(0), planted(words.get(2))),
        Some("table") => table(number(1).unwrap_or(3_000)),
        _ => {
            let (first, count) = (number(0).unwrap_or(0), number(1).unwrap_or(1_000));
            let stop_early = words.get(2).is_some();
            let found = search(first, count, planted(words.get(2)), stop_early);
            for (seed, violation) in found.failures.iter().take(20) {
                println!("seed {seed}: {violation}");
            }
            let failed = found.failures.len();
            println!(
                "{failed} of {count} seeds failed; {} steps, {} crashes, {} edits in the open window",
                found.steps, found.crashes, found.window
            );
            if failed > 0 && !stop_early {
                std::process::exit(1);
            }
        }
    }
}

fn trace(seed: u64, mistakes: Mistakes) {
    let outcome = sim::trace(seed, mistakes);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    println!("{:?}", sim::Plan::of(seed));
    println!(
        "hash {:016x}, {} steps, {} crashes, {:?}",
        outcome.trace_hash, outcome.steps, outcome.crashes, outcome.violation
    );
}

/// Each mistake with the first seed that finds it.
fn table(count: u64) {
    let mut rows: Vec<(u64, String)> = Vec::new();
    for mistake in Mistake::ALL {
        let found = search(0, count, Mistakes::plant(*mistake), true);
        rows.push(match found.failures.first() {
            Some((seed, violation)) => {
                let invariant = violation.split(':').next().unwrap_or_default();
                (*seed, format!("| `{mistake:?}` | {seed} | {invariant} |"))
            }
            None => (
                u64::MAX,
                format!("| `{mistake:?}` | none of the first {count} |  |"),
            ),
        });
    }
    rows.sort();
    println!("| mistake | first seed that finds it | seen as |\n|---|---|---|");
    rows.iter().for_each(|(_, row)| println!("{row}"));
}

struct Found {
    failures: Vec<(u64, String)>,
    steps: u64,
    crashes: u64,
    window: u64,
}

/// Runs the seeds on all cores.
fn search(first: u64, count: u64, mistakes: Mistakes, stop_early: bool) -> Found {
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
    Found {
        failures,
        steps: steps.into_inner(),
        crashes: crashes.into_inner(),
        window: window.into_inner(),
    }
}

fn planted(name: Option<&String>) -> Mistakes {
    let Some(name) = name else { return Mistakes::none() };
    let found = Mistake::ALL
        .iter()
        .find(|mistake| format!("{mistake:?}") == *name);
    Mistakes::plant(*found.unwrap_or_else(|| panic!("no mistake {name}; there are {:?}", Mistake::ALL)))
}
