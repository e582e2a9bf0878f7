//! Runs many seeds of the simulation: `seeds FIRST COUNT [MISTAKE]`, shows one: `seeds trace SEED [MISTAKE]`, or prints the table of
//! `docs/simulation.md`: `seeds table COUNT`.
//!
//! With a mistake it stops at the first seed that finds it. The exit code is 1 when an unplanted run fails.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a command-line tool of the test kit"
)]

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
            let enough = if stop_early { 1 } else { usize::MAX };
            let mistakes = planted(words.get(2));
            let found = sim::search(first..first + count, enough, |seed| sim::run(seed, mistakes));
            for (seed, violation) in found.failures.iter().take(20) {
                println!("seed {seed}: {violation}");
            }
            println!("{}", found.summary(count));
            if !found.failures.is_empty() && !stop_early {
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
        let found = sim::search(0..count, 1, |seed| sim::run(seed, Mistakes::plant(*mistake)));
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

fn planted(name: Option<&String>) -> Mistakes {
    let Some(name) = name else { return Mistakes::none() };
    let found = Mistake::ALL
        .iter()
        .find(|mistake| format!("{mistake:?}") == *name);
    Mistakes::plant(*found.unwrap_or_else(|| panic!("no mistake {name}; there are {:?}", Mistake::ALL)))
}
