//! Routine reconciliation: when it is due, that it goes on where it was left, and that nobody acts without the lease. What it finds and does is tested
//! end to end (`tests/tests/reconcile.rs`).
#![allow(clippy::unwrap_used, reason = "a poisoned lock fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::envelope::{Hasher, Identity, RowSeal, Sealer};
use seamless_core::mapping::{FieldMapping, SideMapping};
use seamless_core::memory::{MemoryBus, MemoryStore};
use seamless_core::pipeline::{
    Applier, Conduct, Direction, Drift, DriftKind, DriftThen, Engine, EntityModel, FieldSpec, Mistakes,
    PollStep, Poller, SideSpec, Sweep, SweepStep, SyncSpec, System, Timings, reconciled_at,
};
use seamless_core::{
    Capabilities, Clock, EntityInfo, Error, ExternalKey, KeyProvider, Keyset, ListRequest, Lookup,
    NativeRecord, Page, PageToken, Random, Reader, RecordId, Result, Side, Source, Stamp, StateStore, SyncId,
    SystemId, Target, Timestamp, Value, Write, WriteAction, Written,
};
use seamless_testkit::conformance::TestClock;

const HOUR: Duration = Duration::from_secs(3_600);

/// Fields and stamp.
type Row = (BTreeMap<String, Value>, i64);

/// A system with three records a page, whose stamps are its own.
#[derive(Default)]
struct Shelf {
    rows: Mutex<BTreeMap<u64, Row>>,
    /// Tokens that lists were asked for, and how many writes there were.
    asked: Mutex<Vec<Option<String>>>,
    writes: Mutex<u32>,
}

impl Shelf {
    fn put(&self, id: u64, city: &str, stamp: i64) {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.entry(id).or_default();
        row.0.insert("city".into(), Value::from(city));
        row.1 = stamp;
    }

    fn city(&self, id: u64) -> Option<String> {
        self.rows.lock().unwrap().get(&id)?.0.get("city")?.to_plain()
    }

    fn native(id: u64, row: &Row) -> NativeRecord {
        NativeRecord {
            id: RecordId(id.to_string()),
            stamp: Some(Stamp(row.1)),
            created: None,
            version: None,
            fields: row.0.clone(),
        }
    }
}

#[async_trait]
impl Reader for Shelf {
    fn capabilities(&self, _: &str) -> Capabilities {
        Capabilities {
            incremental: true,
            cursor_granularity: Duration::from_micros(1),
            cursor_overlap: Duration::ZERO,
            external_key: ExternalKey::Searchable,
            settle_after: Duration::ZERO,
            search_lag_max: Duration::ZERO,
            find_batch_max: 50,
            ..Capabilities::default()
        }
    }

    async fn describe(&self, _: &str) -> Result<EntityInfo> {
        Ok(EntityInfo::default())
    }

    async fn fetch(&self, _: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let rows = self.rows.lock().unwrap();
        let wanted: BTreeSet<u64> = ids.iter().filter_map(|id| id.0.parse().ok()).collect();
        Ok(wanted
            .into_iter()
            .filter_map(|id| Some(Shelf::native(id, rows.get(&id)?)))
            .collect())
    }

    async fn find(&self, _: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let rows = self.rows.lock().unwrap();
        let find = |lookup: &Lookup| match lookup {
            Lookup::Field { field, value } => rows
                .iter()
                .filter(|(_, row)| row.0.get(field) == Some(value))
                .map(|(id, row)| Shelf::native(*id, row))
                .collect(),
            Lookup::AboveId(_) => Vec::new(),
        };
        Ok(lookups.iter().map(find).collect())
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Source for Shelf {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let after = request.after.as_ref().map(|token| token.0.clone());
        self.asked.lock().unwrap().push(after.clone());
        let above: u64 = after.map_or(0, |token| token.parse().unwrap());
        let since = request.since.map_or(i64::MIN, |since| since.0);
        let rows = self.rows.lock().unwrap();
        let records: Vec<NativeRecord> = rows
            .range(above + 1..)
            .filter(|(_, row)| row.1 >= since)
            .take(3)
            .map(|(id, row)| Shelf::native(*id, row))
            .collect();
        let next = records.last().filter(|_| records.len() == 3);
        Ok(Page {
            next: next.map(|record| PageToken(record.id.0.clone())),
            server_time: Some(Timestamp(1_000)),
            records,
        })
    }
}

#[async_trait]
impl Target for Shelf {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        let mut rows = self.rows.lock().unwrap();
        let mut written = Vec::new();
        for write in writes {
            *self.writes.lock().unwrap() += 1;
            written.push(match &write.action {
                WriteAction::Create { fields } => {
                    let id = rows.keys().last().copied().unwrap_or(0) + 1;
                    rows.insert(id, (fields.clone(), 500));
                    Ok(Written {
                        id: RecordId(id.to_string()),
                    })
                }
                WriteAction::Update { current, fields } => {
                    let id = current.id.0.parse().unwrap();
                    let row = rows.entry(id).or_default();
                    row.0.extend(fields.clone());
                    Ok(Written {
                        id: current.id.clone(),
                    })
                }
                WriteAction::Delete { .. } => Err(Error::config("nothing is deleted here")),
            });
        }
        written
    }
}

/// Counts up: names differ, and that is all that is asked of it.
#[derive(Default)]
struct Dice(Mutex<u64>);

impl Random for Dice {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for byte in buffer {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (*state >> 56) as u8;
        }
    }
}

struct Tenant {
    clock: Arc<TestClock>,
    store: Arc<MemoryStore>,
    a: Arc<Shelf>,
    b: Arc<Shelf>,
    engine: Arc<Engine>,
}

fn side(name: &str, shelf: &Shelf) -> SideSpec {
    let mapping = SideMapping {
        entity: "things".into(),
        xref: Some("xref".into()),
        fields: BTreeMap::from([("city".into(), FieldMapping::text("city"))]),
    };
    SideSpec::new(name.into(), mapping, shelf.capabilities("things"))
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
    let random: Arc<dyn Random> = Arc::new(Dice::default());
    let keys: Arc<dyn KeyProvider> = Arc::new(Keyset::generate(&*random).unwrap());
    let identity = || Identity {
        environment: "test".into(),
        tenant: "test".into(),
    };
    let id = SyncId::from("thing");
    let sync = SyncSpec {
        id: id.clone(),
        model: EntityModel {
            name: "thing".into(),
            fields: BTreeMap::from([("city".into(), FieldSpec::default())]),
            match_rules: Vec::new(),
            identity: Vec::new(),
        },
        sides: [side("a", &a), side("b", &b)],
        direction: Direction::AToB,
        owner: Side::A,
        first_merge_accepted: true,
        scope: Default::default(),
    };
    let system = |shelf: &Arc<Shelf>| System {
        source: shelf.clone(),
        target: shelf.clone(),
    };
    let engine = Arc::new(Engine {
        syncs: BTreeMap::from([(id, Arc::new(sync))]),
        systems: BTreeMap::from([("a".into(), system(&a)), ("b".into(), system(&b))]),
        store: store.clone(),
        bus: Arc::new(MemoryBus::new(clock.clone())),
        clock: clock.clone(),
        random: random.clone(),
        sealer: Sealer::new(keys.clone(), random.clone(), identity()).unwrap(),
        rows: RowSeal::new(keys.clone(), random, identity()),
        hasher: Hasher::new(&keys.index().unwrap()),
        timings: Timings::default(),
        counters: Default::default(),
        mistakes: Mistakes::none(),
        events: Default::default(),
        used: Default::default(),
    });
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
