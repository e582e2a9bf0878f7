//! What becomes of a record's news when the record was set aside, or was about to be, while others linked it.
#![allow(clippy::unwrap_used, reason = "a poisoned lock fails the test")]

mod shelf;

use std::sync::Arc;
use std::time::Duration;

use seamless_core::memory::MemoryStore;
use seamless_core::pipeline::{Applier, Direction, Engine, Mistake, Mistakes, PollStep, Poller, WriteBacker};
use seamless_core::{Side, StateStore, SystemId, Table, Value};
use seamless_testkit::conformance::TestClock;

use shelf::{Shelf, Stop, engine};

struct Pair {
    clock: Arc<TestClock>,
    store: Arc<MemoryStore>,
    a: Arc<Shelf>,
    b: Arc<Shelf>,
    engine: Arc<Engine>,
}

/// `city` both ways, `origin` from `a` only.
fn pair(mistakes: Mistakes) -> Pair {
    let (store, a, b) = (
        Arc::new(MemoryStore::new()),
        Arc::new(Shelf::default()),
        Arc::new(Shelf::default()),
    );
    let fields = [("city", None), ("origin", Some(Direction::AToB))];
    let clock = TestClock::new();
    let engine = engine(&clock, &store, [&a, &b], &fields, Direction::TwoWay, mistakes);
    Pair {
        clock,
        store,
        a,
        b,
        engine,
    }
}

struct Stopped {
    stop: Arc<Stop>,
    task: tokio::task::JoinHandle<()>,
}

impl Pair {
    async fn poll(&self, system: &str) {
        for mut poller in Poller::all(&self.engine) {
            if poller.system().as_str() != system {
                continue;
            }
            while !matches!(poller.step().await.unwrap(), PollStep::End { .. }) {}
            poller.release().await.unwrap();
        }
    }

    /// What is to be written into `system`.
    async fn apply(&self, system: &str) {
        apply(self.engine.clone(), system).await;
    }

    /// The same, until a call of `shelf` stops it.
    async fn stopped_at(&self, shelf: &Shelf, call: &'static str, system: &'static str) -> Stopped {
        let stop = Arc::new(Stop::default());
        shelf.stops.lock().unwrap().insert(call, stop.clone());
        let task = tokio::spawn(apply(self.engine.clone(), system));
        stop.reached.notified().await;
        shelf.stops.lock().unwrap().clear();
        Stopped { stop, task }
    }

    async fn rest(&self) {
        for _ in 0..3 {
            for system in ["a", "b"] {
                self.poll(system).await;
                self.apply(system).await;
            }
            let backer = WriteBacker::new(&self.engine);
            for side in Side::BOTH {
                while backer.step(&"thing".into(), side).await.unwrap().done > 0 {}
            }
        }
    }

    async fn set_aside(&self) -> u64 {
        self.store.count(Table::Parked, "").await.unwrap()
    }
}

async fn apply(engine: Arc<Engine>, system: &str) {
    let applier = Applier::new(&engine, &SystemId::from(system)).await.unwrap();
    while applier.step(Duration::ZERO).await.unwrap().taken > 0 {}
}

fn set(shelf: &Shelf, id: u64, field: &str, value: &str) {
    let mut rows = shelf.rows.lock().unwrap();
    let row = rows.entry(id).or_default();
    row.0.insert(field.into(), Value::from(value));
}

fn get(shelf: &Shelf, id: u64, field: &str) -> Option<String> {
    shelf.rows.lock().unwrap().get(&id)?.0.get(field)?.to_plain()
}

#[tokio::test]
async fn what_a_record_was_set_aside_with_is_brought_when_its_counterpart_links_it() {
    let pair = pair(Mistakes::none());
    // A pair from before, so that the store is in use.
    pair.a.put(90, "Delft", 100);
    pair.rest().await;
    let delft = pair.b.rows.lock().unwrap().len();
    assert_eq!(delft, 1);

    // 1 and its copy 2 name the same record there; only 1 is named by it.
    pair.a.put(1, "Ghent", 1_000);
    set(&pair.a, 1, "xref", "50");
    set(&pair.a, 1, "origin", "fair");
    pair.a.put(2, "Ghent", 1_000);
    set(&pair.a, 2, "xref", "50");
    pair.b.put(50, "Ghent", 1_000);
    set(&pair.b, 50, "xref", "1");
    pair.poll("a").await;
    pair.apply("b").await;
    assert_eq!(
        pair.set_aside().await,
        2,
        "nobody can say which of the two is meant"
    );

    pair.poll("b").await;
    pair.apply("a").await;
    // Nothing of 1 is listed again: what it was set aside with has to be remembered.
    pair.apply("b").await;
    assert_eq!(get(&pair.b, 50, "origin").as_deref(), Some("fair"));
    assert_eq!(pair.set_aside().await, 1, "the copy");
}

#[tokio::test]
async fn a_record_that_was_just_made_is_not_taken_for_a_copy_of_itself() {
    assert_eq!(
        edited_while_it_is_made(Mistakes::none()).await,
        (0, Some("Bruges".to_owned()))
    );
    let forgetful = Mistakes::plant(Mistake::ParkedThoughLinked);
    assert_eq!(
        edited_while_it_is_made(forgetful).await,
        (1, Some("Ghent".to_owned()))
    );
}

/// How many are set aside afterwards, and what the other side has of the edit.
async fn edited_while_it_is_made(mistakes: Mistakes) -> (u64, Option<String>) {
    let pair = pair(mistakes);
    pair.a.put(1, "Ghent", 100);
    pair.poll("a").await;

    // It is made there and read back, and its maker has not come to say so.
    let maker = pair.stopped_at(&pair.b, "fetch", "b").await;
    // Somebody edits what was made. Its message is looked at from before the maker's commit until behind it.
    pair.b.put(1, "Bruges", 2_000);
    pair.poll("b").await;
    let other = pair.stopped_at(&pair.a, "find", "a").await;
    for stopped in [maker, other] {
        stopped.stop.go.notify_one();
        stopped.task.await.unwrap();
    }

    pair.clock.advance(Duration::from_secs(60));
    pair.apply("a").await;
    (pair.set_aside().await, pair.a.city(1))
}
