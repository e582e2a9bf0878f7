//! A small system in memory, and an engine over two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::envelope::{Hasher, Identity, RowSeal, Sealer};
use seamless_core::mapping::{FieldMapping, SideMapping};
use seamless_core::memory::{MemoryBus, MemoryStore};
use seamless_core::pipeline::{
    Applier, Direction, Engine, EntityModel, FieldSpec, Mistakes, PollStep, Poller, SideSpec, SyncSpec,
    System, Timings, WriteBacker,
};
use seamless_core::{
    Capabilities, Effect, EntityInfo, Error, ExternalKey, KeyProvider, Keyset, ListRequest, Lookup,
    NativeRecord, Page, PageToken, Random, Reader, RecordId, Result, Side, Source, Stamp, StateStore, SyncId,
    SystemId, Table, Target, Timestamp, Value, Write, WriteAction, Written,
};
use seamless_testkit::conformance::TestClock;
use tokio::sync::Notify;

/// Fields and stamp.
pub(crate) type Row = (BTreeMap<String, Value>, i64);

/// A system with three records a page, whose stamps are its own.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) rows: Mutex<BTreeMap<u64, Row>>,
    /// Tokens that lists were asked for, and how many writes there were.
    pub(crate) asked: Mutex<Vec<Option<String>>>,
    pub(crate) writes: Mutex<u32>,
    /// The next create does not land, and nobody says so.
    pub(crate) loses_a_create: Mutex<bool>,
    /// Where calls stop until they are let go: `find` before it looks, `fetch` and `list` after they have read, `write` after it has landed.
    pub(crate) stops: Mutex<BTreeMap<&'static str, Arc<Stop>>>,
}

/// A place where a call stops.
#[derive(Default)]
pub(crate) struct Stop {
    pub(crate) reached: Notify,
    pub(crate) go: Notify,
}

impl Shelf {
    pub(crate) fn put(&self, id: u64, city: &str, stamp: i64) {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.entry(id).or_default();
        row.0.insert("city".into(), Value::from(city));
        row.1 = stamp;
    }

    async fn stop(&self, at: &str) {
        let stop = self.stops.lock().unwrap().get(at).cloned();
        if let Some(stop) = stop {
            stop.reached.notify_one();
            stop.go.notified().await;
        }
    }

    pub(crate) fn city(&self, id: u64) -> Option<String> {
        self.rows.lock().unwrap().get(&id)?.0.get("city")?.to_plain()
    }

    pub(crate) fn native(id: u64, row: &Row) -> NativeRecord {
        NativeRecord {
            id: RecordId(id.to_string()),
            stamp: Some(Stamp(row.1)),
            created: None,
            version: None,
            fields: row.0.clone(),
        }
    }

    fn write_one(&self, write: &Write) -> Result<Written> {
        *self.writes.lock().unwrap() += 1;
        let mut rows = self.rows.lock().unwrap();
        match &write.action {
            WriteAction::Create { .. } if std::mem::take(&mut *self.loses_a_create.lock().unwrap()) => {
                Err(Error::unavailable("the connection was cut").effect(Effect::Unknown))
            }
            WriteAction::Create { fields } => {
                let id = rows.keys().last().copied().unwrap_or(0) + 1;
                rows.insert(id, (fields.clone(), 500));
                let id = RecordId(id.to_string());
                Ok(Written { id })
            }
            WriteAction::Update { current, fields } => {
                let row = rows.entry(current.id.0.parse().unwrap()).or_default();
                row.0.extend(fields.clone());
                let id = current.id.clone();
                Ok(Written { id })
            }
            WriteAction::Delete { .. } => Err(Error::config("nothing is deleted here")),
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
            ascending_ids: true,
            ..Capabilities::default()
        }
    }

    async fn describe(&self, _: &str) -> Result<EntityInfo> {
        Ok(EntityInfo::default())
    }

    async fn fetch(&self, _: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let wanted: BTreeSet<u64> = ids.iter().filter_map(|id| id.0.parse().ok()).collect();
        let found = {
            let rows = self.rows.lock().unwrap();
            let record = |id| Some(Shelf::native(id, rows.get(&id)?));
            wanted.into_iter().filter_map(record).collect()
        };
        self.stop("fetch").await;
        Ok(found)
    }

    async fn find(&self, _: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        self.stop("find").await;
        let rows = self.rows.lock().unwrap();
        let find = |lookup: &Lookup| match lookup {
            Lookup::Field { field, value } => rows
                .iter()
                .filter(|(_, row)| row.0.get(field) == Some(value))
                .map(|(id, row)| Shelf::native(*id, row))
                .collect(),
            Lookup::AboveId(id) => rows
                .range(id.0.parse::<u64>().unwrap() + 1..)
                .map(|(id, row)| Shelf::native(*id, row))
                .collect(),
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
        let records: Vec<NativeRecord> = {
            let rows = self.rows.lock().unwrap();
            let page = rows.range(above + 1..).filter(|(_, row)| row.1 >= since).take(3);
            page.map(|(id, row)| Shelf::native(*id, row)).collect()
        };
        self.stop("list").await;
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
        let written = writes.iter().map(|write| self.write_one(write)).collect();
        self.stop("write").await;
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

fn side(name: &str, shelf: &Shelf, fields: &[(&str, Option<Direction>)]) -> SideSpec {
    let mapping = SideMapping {
        entity: "things".into(),
        xref: Some("xref".into()),
        fields: fields
            .iter()
            .map(|(name, _)| ((*name).into(), FieldMapping::text(*name)))
            .collect(),
    };
    SideSpec::new(name.into(), mapping, shelf.capabilities("things"))
}

/// `things` of the systems `a` and `b`: text fields, and which way each flows if not like the rest.
pub(crate) fn sync(
    [a, b]: [&Arc<Shelf>; 2],
    fields: &[(&str, Option<Direction>)],
    direction: Direction,
) -> SyncSpec {
    let spec = |direction: &Option<Direction>| FieldSpec {
        direction: *direction,
        ..FieldSpec::default()
    };
    SyncSpec {
        id: SyncId::from("thing"),
        model: EntityModel {
            name: "thing".into(),
            fields: fields
                .iter()
                .map(|(name, direction)| ((*name).into(), spec(direction)))
                .collect(),
            match_rules: Vec::new(),
            identity: Vec::new(),
        },
        sides: [side("a", a, fields), side("b", b, fields)],
        direction,
        owner: Side::A,
        first_merge_accepted: true,
        scope: Default::default(),
    }
}

/// An engine that keeps them in step.
pub(crate) fn engine(
    clock: &Arc<TestClock>,
    store: &Arc<MemoryStore>,
    [a, b]: [&Arc<Shelf>; 2],
    sync: SyncSpec,
    mistakes: Mistakes,
) -> Arc<Engine> {
    let random: Arc<dyn Random> = Arc::new(Dice::default());
    let keys: Arc<dyn KeyProvider> = Arc::new(Keyset::generate(&*random).unwrap());
    let identity = || Identity {
        environment: "test".into(),
        tenant: "test".into(),
    };
    let system = |shelf: &Arc<Shelf>| System {
        source: shelf.clone(),
        target: shelf.clone(),
    };
    Arc::new(Engine {
        syncs: BTreeMap::from([(sync.id.clone(), Arc::new(sync))]),
        systems: BTreeMap::from([("a".into(), system(a)), ("b".into(), system(b))]),
        store: store.clone(),
        bus: Arc::new(MemoryBus::new(clock.clone())),
        clock: clock.clone(),
        random: random.clone(),
        sealer: Sealer::new(keys.clone(), random.clone(), identity()).unwrap(),
        rows: RowSeal::new(keys.clone(), random, identity()),
        hasher: Hasher::new(&keys.index().unwrap()),
        timings: Timings::default(),
        counters: Default::default(),
        mistakes,
        events: Default::default(),
        used: Default::default(),
    })
}

/// Two systems that are kept in step.
pub(crate) struct Pair {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) a: Arc<Shelf>,
    pub(crate) b: Arc<Shelf>,
    pub(crate) engine: Arc<Engine>,
}

/// `city` both ways, `origin` from `a` only.
pub(crate) fn pair(mistakes: Mistakes) -> Pair {
    pair_of(mistakes, |_| {})
}

/// The same with a sync that is changed.
pub(crate) fn pair_of(mistakes: Mistakes, change: impl FnOnce(&mut SyncSpec)) -> Pair {
    let (a, b) = (Arc::new(Shelf::default()), Arc::new(Shelf::default()));
    over(
        TestClock::new(),
        Arc::new(MemoryStore::new()),
        [a, b],
        mistakes,
        change,
    )
}

fn over(
    clock: Arc<TestClock>,
    store: Arc<MemoryStore>,
    [a, b]: [Arc<Shelf>; 2],
    mistakes: Mistakes,
    change: impl FnOnce(&mut SyncSpec),
) -> Pair {
    let fields = [("city", None), ("origin", Some(Direction::AToB))];
    let mut sync = sync([&a, &b], &fields, Direction::TwoWay);
    change(&mut sync);
    let engine = engine(&clock, &store, [&a, &b], sync, mistakes);
    Pair {
        clock,
        store,
        a,
        b,
        engine,
    }
}

/// Work that a call has stopped.
pub(crate) struct Stopped {
    pub(crate) stop: Arc<Stop>,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

impl Pair {
    /// A host with another configuration, over the same store and systems.
    pub(crate) fn with(&self, mistakes: Mistakes, change: impl FnOnce(&mut SyncSpec)) -> Pair {
        let systems = [self.a.clone(), self.b.clone()];
        over(self.clock.clone(), self.store.clone(), systems, mistakes, change)
    }

    /// Reads a system to the end of its poll. Returns how many records were news.
    pub(crate) async fn poll(&self, system: &str) -> usize {
        let mut news = 0;
        for mut poller in Poller::all(&self.engine) {
            if poller.system().as_str() != system {
                continue;
            }
            loop {
                match poller.step().await.unwrap() {
                    PollStep::Page { published, .. } => news += published,
                    PollStep::End { published, .. } => {
                        news += published;
                        break;
                    }
                    PollStep::Elsewhere => panic!("nobody else polls"),
                }
            }
            poller.release().await.unwrap();
        }
        news
    }

    /// What is to be written into `system`.
    pub(crate) async fn apply(&self, system: &str) {
        apply(self.engine.clone(), system).await;
    }

    /// The same, until a call of `shelf` stops it.
    pub(crate) async fn stopped_at(
        &self,
        shelf: &Shelf,
        call: &'static str,
        system: &'static str,
    ) -> Stopped {
        let work = apply(self.engine.clone(), system);
        stopped(shelf, call, work).await
    }

    /// Works until nothing is left to do. Returns how many records were news.
    pub(crate) async fn rest(&self) -> usize {
        let mut news = 0;
        for _ in 0..3 {
            for system in ["a", "b"] {
                news += self.poll(system).await;
                self.apply(system).await;
            }
            let backer = WriteBacker::new(&self.engine);
            for side in Side::BOTH {
                while backer.step(&"thing".into(), side).await.unwrap().done > 0 {}
            }
        }
        news
    }

    pub(crate) async fn set_aside(&self) -> u64 {
        self.store.count(Table::Parked, "").await.unwrap()
    }
}

/// Work that is stopped by a call of `shelf`.
pub(crate) async fn stopped(
    shelf: &Shelf,
    call: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> Stopped {
    let stop = Arc::new(Stop::default());
    shelf.stops.lock().unwrap().insert(call, stop.clone());
    let task = tokio::spawn(work);
    stop.reached.notified().await;
    shelf.stops.lock().unwrap().clear();
    Stopped { stop, task }
}

async fn apply(engine: Arc<Engine>, system: &str) {
    let applier = Applier::new(&engine, &SystemId::from(system)).await.unwrap();
    while applier.step(Duration::ZERO).await.unwrap().taken > 0 {}
}

pub(crate) fn set(shelf: &Shelf, id: u64, field: &str, value: &str) {
    let mut rows = shelf.rows.lock().unwrap();
    let row = rows.entry(id).or_default();
    row.0.insert(field.into(), Value::from(value));
}

pub(crate) fn get(shelf: &Shelf, id: u64, field: &str) -> Option<String> {
    shelf.rows.lock().unwrap().get(&id)?.0.get(field)?.to_plain()
}
