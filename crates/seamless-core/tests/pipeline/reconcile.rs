//! Routine reconciliation: when it is due, that it goes on where it was left, and that nobody acts without the lease. What it finds and does is tested
//! end to end (`tests/tests/reconcile.rs`).

use std::sync::Arc;
use std::time::Duration;

use seamless_core::memory::MemoryStore;
use seamless_core::pipeline::{
    Applier, Conduct, Direction, Drift, DriftKind, DriftThen, Engine, Mistakes, PollStep, Poller, Sweep,
    SweepStep, reconciled_at,
};
use seamless_core::{Clock, Side, StateStore, SystemId};
use seamless_testkit::conformance::TestClock;

use crate::shelf::{Shelf, engine, sync};

const HOUR: Duration = Duration::from_secs(3_600);

struct Tenant {
    clock: Arc<TestClock>,
    store: Arc<MemoryStore>,
    a: Arc<Shelf>,
    b: Arc<Shelf>,
    engine: Arc<Engine>,
}

/// Eight records in the first system, all of them brought to the second, one way.
async fn tenant() -> Tenant {
    let clock = TestClock::new();
    let (store, a, b) = (
        Arc::new(MemoryStore::new()),
        Arc::new(Shelf::default()),
        Arc::new(Shelf::default()),
    );
    for id in 1..=8 {
        a.put(id, &format!("City {id}"), 100);
    }
    let engine = engine(
        &clock,
        &store,
        [&a, &b],
        sync([&a, &b], &[("city", None)], Direction::AToB),
        Mistakes::none(),
    );
    let tenant = Tenant {
        clock,
        store,
        a,
        b,
        engine,
    };
    tenant.sync().await;
    assert_eq!(tenant.b.city(8).as_deref(), Some("City 8"));
    tenant
}

impl Tenant {
    /// Reads and applies everything.
    async fn sync(&self) {
        for mut poller in Poller::all(&self.engine) {
            while !matches!(poller.step().await.unwrap(), PollStep::End { .. }) {}
            poller.release().await.unwrap();
        }
        self.apply().await;
    }

    async fn apply(&self) {
        let applier = Applier::new(&self.engine, &SystemId::from("b")).await.unwrap();
        while applier.step(Duration::ZERO).await.unwrap().taken > 0 {}
        let backer = seamless_core::pipeline::WriteBacker::new(&self.engine);
        for side in Side::BOTH {
            while backer.step(&"thing".into(), side).await.unwrap().done > 0 {}
        }
    }

    fn sweep(&self, system: &str) -> Sweep {
        let mut sweeps = Sweep::all(&self.engine, None, Conduct::Routine).into_iter();
        sweeps
            .find(|sweep| sweep.system().as_str() == system)
            .expect("one for each system")
    }

    fn writes(&self) -> u32 {
        *self.a.writes.lock().unwrap() + *self.b.writes.lock().unwrap()
    }
}

async fn to_its_end(sweep: &mut Sweep) -> Vec<Drift> {
    let mut found = Vec::new();
    loop {
        match sweep.step().await.unwrap() {
            SweepStep::Page(page) => found.extend(page.drift),
            SweepStep::End(page) => {
                found.extend(page.drift);
                sweep.release().await.unwrap();
                return found;
            }
            SweepStep::Elsewhere => panic!("nobody else is here"),
        }
    }
}

#[tokio::test]
async fn a_pass_is_due_once_in_an_interval_and_goes_on_where_it_was_left() {
    let tenant = tenant().await;
    let mut sweep = tenant.sweep("a");
    assert_eq!(
        sweep.due_in(HOUR).await.unwrap(),
        HOUR,
        "the first load has just read everything"
    );
    let never = reconciled_at(&*tenant.store, &"a".into(), "things")
        .await
        .unwrap();
    assert_eq!(never, None);
    tenant.clock.advance(HOUR);
    assert_eq!(sweep.due_in(HOUR).await.unwrap(), Duration::ZERO);

    // Nobody's stamp moves.
    tenant.a.put(2, "Quiet", 100);
    tenant.a.put(7, "Quieter", 100);
    assert!(matches!(sweep.step().await.unwrap(), SweepStep::Page(page) if page.read == 3));
    assert!(matches!(sweep.step().await.unwrap(), SweepStep::Page(_)));
    sweep.release().await.unwrap();
    drop(sweep);

    // Another process.
    tenant.a.asked.lock().unwrap().clear();
    let mut sweep = tenant.sweep("a");
    assert_eq!(sweep.due_in(HOUR).await.unwrap(), Duration::ZERO);
    let found = to_its_end(&mut sweep).await;
    assert_eq!(
        *tenant.a.asked.lock().unwrap(),
        [Some("6".to_owned())],
        "not from the beginning"
    );
    let kinds: Vec<DriftKind> = found.iter().map(|drift| drift.kind).collect();
    assert_eq!(kinds, [DriftKind::Missed], "the other one was found before");
    assert_eq!(sweep.due_in(HOUR).await.unwrap(), HOUR);
    let at = reconciled_at(&*tenant.store, &"a".into(), "things")
        .await
        .unwrap();
    assert_eq!(at, Some(tenant.clock.now()));
    sweep.release().await.unwrap();

    assert_eq!(
        tenant.b.city(2).as_deref(),
        Some("City 2"),
        "it writes nothing itself"
    );
    tenant.apply().await;
    assert_eq!(tenant.b.city(2).as_deref(), Some("Quiet"));
    assert_eq!(tenant.b.city(7).as_deref(), Some("Quieter"));

    // Settled: the next pass finds nothing, and nothing is written.
    let before = tenant.writes();
    tenant.clock.advance(HOUR);
    for system in ["a", "b"] {
        let mut sweep = tenant.sweep(system);
        assert!(to_its_end(&mut sweep).await.is_empty(), "{system}");
    }
    tenant.apply().await;
    assert_eq!(tenant.writes(), before);
}

#[tokio::test]
async fn nobody_acts_without_the_lease() {
    let tenant = tenant().await;
    tenant.a.put(1, "Quiet", 100);
    tenant.a.put(8, "Quiet", 100);
    let (mut one, mut other) = (tenant.sweep("a"), tenant.sweep("a"));
    assert!(matches!(one.step().await.unwrap(), SweepStep::Page(_)));
    assert!(matches!(other.step().await.unwrap(), SweepStep::Elsewhere));
    // The first one stops for longer than a lease; the second takes over and comes to the end.
    tenant.clock.advance(Duration::from_secs(60));
    assert!(matches!(other.step().await.unwrap(), SweepStep::Page(_)));
    assert!(matches!(one.step().await.unwrap(), SweepStep::Elsewhere));
    to_its_end(&mut other).await;
    tenant.apply().await;
    assert_eq!(tenant.b.city(1).as_deref(), Some("Quiet"));
    assert_eq!(tenant.b.city(8).as_deref(), Some("Quiet"));
}

#[tokio::test]
async fn what_a_commit_overtakes_is_no_drift_and_what_is_gone_is_told_once() {
    let tenant = tenant().await;
    // The edit of the target is against the flow; the record in the source is gone; nothing else is wrong.
    tenant.b.put(3, "By hand", 900);
    tenant.a.rows.lock().unwrap().remove(&5);
    for _ in 0..2 {
        let found = to_its_end(&mut tenant.sweep("b")).await;
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].kind, found[0].then),
            (DriftKind::AgainstFlow, DriftThen::Kept)
        );
        let found = to_its_end(&mut tenant.sweep("a")).await;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].then), (DriftKind::Gone, DriftThen::Kept));
        tenant.clock.advance(HOUR);
    }
    let entries = tenant
        .store
        .count(seamless_core::Table::Ledger, "thing/b/3")
        .await
        .unwrap();
    assert_eq!(entries, 1, "the same is noted once");
    tenant.apply().await;
    assert_eq!(tenant.b.city(3).as_deref(), Some("By hand"));
    assert_eq!(tenant.b.city(5).as_deref(), Some("City 5"), "nothing is deleted");
    // The source changes the field: that is what everybody waited for.
    tenant.a.put(3, "New", 2_000);
    tenant.sync().await;
    assert_eq!(tenant.b.city(3).as_deref(), Some("New"));
    assert!(to_its_end(&mut tenant.sweep("b")).await.is_empty());
}
