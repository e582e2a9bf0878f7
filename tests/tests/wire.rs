//! The simulator with the real connectors: paging, searches, error bodies, zones and deadlines under faults, crashes and people's edits, on virtual time.

use std::sync::Arc;

use seamless_core::pipeline::{Mistake, Mistakes};
use seamless_testkit::sim::connectors::{Start, run};
use seamless_tests::simulated;
use tempfile::TempDir;

fn tenant() -> (TempDir, Arc<Start>) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let tenant = simulated::tenant(folder.path()).expect("the demo's tenant is understood");
    (folder, tenant)
}

#[test]
fn the_real_connectors_keep_two_systems_in_step() {
    let (_folder, tenant) = tenant();
    for seed in 0..60 {
        let outcome = run(seed, tenant.clone(), Mistakes::none(), false);
        assert!(
            outcome.violation.is_none(),
            "seed {seed}: {:?}",
            outcome.violation
        );
    }
}

#[test]
fn a_seed_is_one_run() {
    let (_folder, tenant) = tenant();
    let [first, second] = [(); 2].map(|()| run(3, tenant.clone(), Mistakes::none(), true));
    assert_eq!(first.trace_hash, second.trace_hash);
    assert!(first.trace == second.trace, "the same seed told another story");
    assert!(
        first
            .trace
            .iter()
            .any(|line| line.contains("/V1.0/Companies/query")),
        "Autotask was asked"
    );
}

#[test]
fn planted_mistakes_are_noticed() {
    let (_folder, tenant) = tenant();
    for (mistake, seeds) in [(Mistake::RecreateWithoutWait, 20), (Mistake::NoIntent, 60)] {
        let found = (0..seeds).any(|seed| {
            let outcome = run(seed, tenant.clone(), Mistakes::plant(mistake), false);
            outcome.violation.is_some()
        });
        assert!(found, "{seeds} seeds do not show {mistake:?}");
    }
}
