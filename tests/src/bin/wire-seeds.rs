//! `cargo run --release -p seamless-tests --bin wire-seeds -- FIRST COUNT [MISTAKE]`: seeds of the simulator with the real connectors over simulated HTTP;
//! `wire-seeds -- trace SEED [MISTAKE]` shows one, line by line. Ends with 1 when a seed fails that has no mistake planted.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use seamless_core::pipeline::{Mistake, Mistakes};
use seamless_testkit::sim::connectors::run;
use seamless_tests::simulated;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| {
        words
            .get(at)
            .and_then(|word| word.parse().ok())
            .unwrap_or(default)
    };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let tenant = simulated::tenant(folder.path()).expect("the demo's tenant is understood");
    if words.first().is_some_and(|word| word == "trace") {
        let outcome = run(number(1, 0), tenant, planted(words.get(2)), true);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        println!(
            "hash {:016x}, {} steps, {} crashes, {:?}",
            outcome.trace_hash, outcome.steps, outcome.crashes, outcome.violation
        );
        return ExitCode::SUCCESS;
    }
    let (first, count, mistakes) = (number(0, 0), number(1, 100), planted(words.get(2)));
    let next = AtomicU64::new(first);
    let (steps, crashes, window) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failures: Mutex<Vec<(u64, String)>> = Mutex::default();
    let is_planted = words.get(2).is_some();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let found = is_planted && !failures.lock().expect("no panic").is_empty();
                    if seed >= first + count || found {
                        return;
                    }
                    let outcome = run(seed, tenant.clone(), mistakes, false);
                    steps.fetch_add(outcome.steps, Ordering::Relaxed);
                    crashes.fetch_add(outcome.crashes, Ordering::Relaxed);
                    window.fetch_add(outcome.open_window, Ordering::Relaxed);
                    if let Some(violation) = outcome.violation {
                        failures
                            .lock()
                            .expect("no panic")
                            .push((seed, violation.to_string()));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no panic");
    failures.sort();
    for (seed, violation) in failures.iter().take(20) {
        println!("seed {seed}: {violation}");
    }
    println!(
        "{} of {count} seeds failed; {} steps, {} crashes, {} edits in the open window",
        failures.len(),
        steps.into_inner(),
        crashes.into_inner(),
        window.into_inner()
    );
    if failures.is_empty() || is_planted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn planted(name: Option<&String>) -> Mistakes {
    let Some(name) = name else {
        return Mistakes::none();
    };
    let known = Mistake::ALL
        .iter()
        .find(|mistake| format!("{mistake:?}") == *name);
    Mistakes::plant(*known.expect("a mistake of that name"))
}
