//! `cargo run --release -p seamless-tests --bin wire-seeds -- FIRST COUNT [MISTAKE]`: seeds of the simulator with the real connectors over simulated HTTP;
//! `wire-seeds -- trace SEED [MISTAKE]` shows one, line by line. Ends with 1 when a seed fails that has no mistake planted.

use std::process::ExitCode;

use seamless_core::pipeline::{Mistake, Mistakes};
use seamless_testkit::sim::connectors::run;
use seamless_testkit::sim::search;
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
    let is_planted = words.get(2).is_some();
    let enough = if is_planted { 1 } else { usize::MAX };
    let found = search(first..first + count, enough, |seed| {
        run(seed, tenant.clone(), mistakes, false)
    });
    for (seed, violation) in found.failures.iter().take(20) {
        println!("seed {seed}: {violation}");
    }
    println!("{}", found.summary(count));
    if found.failures.is_empty() || is_planted {
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
