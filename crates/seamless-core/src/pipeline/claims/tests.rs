//! Who gets a claim, for how long, and what a lost one can no longer do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt;

use super::*;
use crate::contract::{Clock, KeyProvider, Random};
use crate::envelope::{Hasher, Identity, RowSeal, Sealer};
use crate::keyset::Keyset;
use crate::memory::{MemoryBus, MemoryStore};
use crate::pipeline::{Mistakes, Timings};
use crate::value::Timestamp;

const LEASE: u64 = 30;

/// Moves by hand; seconds.
#[derive(Default)]
struct Hand(AtomicU64);

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::default().plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    async fn sleep(&self, _: Duration) {}
}

/// Counts up, so that names differ.
#[derive(Default)]
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = (self.0.fetch_add(1, Ordering::Relaxed) % 251) as u8;
        }
    }
}

struct Workers {
    clock: Arc<Hand>,
    engine: Engine,
    one: Claimant,
    two: Claimant,
}

fn workers() -> Workers {
    let clock = Arc::new(Hand::default());
    let random: Arc<dyn Random> = Arc::new(Counting::default());
    let keys: Arc<dyn KeyProvider> = Arc::new(Keyset::generate(&*random).unwrap());
    let identity = || Identity {
        environment: "test".into(),
        tenant: "test".into(),
    };
    let engine = Engine {
        syncs: BTreeMap::new(),
        systems: BTreeMap::new(),
        store: Arc::new(MemoryStore::new()),
        bus: Arc::new(MemoryBus::new(clock.clone())),
        clock: clock.clone(),
        random: random.clone(),
        events: Default::default(),
        sealer: Sealer::new(keys.clone(), random.clone(), identity()).unwrap(),
        rows: RowSeal::new(keys.clone(), random, identity()),
        hasher: Hasher::new(&keys.index().unwrap()),
        timings: Timings {
            claim_lease: Duration::from_secs(LEASE),
            ..Timings::default()
        },
        counters: Default::default(),
        mistakes: Mistakes::none(),
        used: Default::default(),
    };
    let (one, two) = (Claimant::new(&engine), Claimant::new(&engine));
    Workers {
        clock,
        engine,
        one,
        two,
    }
}

impl Workers {
    fn wait(&self, secs: u64) {
        self.clock.0.fetch_add(secs, Ordering::Relaxed);
    }

    async fn take(&self, who: &Claimant, sets: &[&[&str]]) -> Vec<Option<Held>> {
        let set = |keys: &&[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let sets: Vec<BTreeSet<String>> = sets.iter().map(set).collect();
        who.take(&self.engine, &sets).await.unwrap()
    }

    /// One set, as a whole or not at all.
    async fn take_one(&self, who: &Claimant, keys: &[&str]) -> Option<Held> {
        self.take(who, &[keys]).await.remove(0)
    }

    async fn commit(&self, ops: Vec<Op>) -> bool {
        match self.engine.store.commit(ops).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Conflict, "{error:?}");
                false
            }
        }
    }
}

/// Runs a test of one thread: nothing here waits.
fn run(test: impl Future<Output = ()>) {
    test.now_or_never().expect("nothing here waits");
}

#[test]
fn a_set_is_taken_as_a_whole_or_not_at_all() {
    run(async {
        let workers = workers();
        let held = workers.take_one(&workers.one, &["a", "b"]).await.unwrap();
        assert_eq!(held.versions.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(workers.take_one(&workers.two, &["b", "c"]).await.is_none());
        assert!(
            workers.take_one(&workers.two, &["c"]).await.is_some(),
            "c was not taken with b"
        );
        assert!(
            workers.take_one(&workers.one, &["a"]).await.is_some(),
            "one's own is free to it"
        );
    });
}

#[test]
fn of_sets_that_overlap_the_first_is_served() {
    run(async {
        let workers = workers();
        let taken = workers
            .take(&workers.one, &[&["a", "b"], &["b", "c"], &["c"], &[]])
            .await;
        let got: Vec<bool> = taken.iter().map(Option::is_some).collect();
        assert_eq!(got, [true, false, true, true]);
    });
}

#[test]
fn a_claim_is_free_when_nobody_has_renewed_it_for_a_whole_lease_while_it_was_watched() {
    run(async {
        let workers = workers();
        let held = workers.take_one(&workers.one, &["a"]).await.unwrap();
        workers.wait(10 * LEASE);
        // The watch begins with the first look, however old the claim is.
        assert!(workers.take_one(&workers.two, &["a"]).await.is_none());
        workers.wait(LEASE - 1);
        assert!(workers.take_one(&workers.two, &["a"]).await.is_none());
        let held = workers.one.renew(&workers.engine, &held).await.unwrap().unwrap();
        workers.wait(LEASE - 1);
        assert!(
            workers.take_one(&workers.two, &["a"]).await.is_none(),
            "renewed: it starts over"
        );
        workers.wait(LEASE - 1);
        assert!(workers.take_one(&workers.two, &["a"]).await.is_none());
        workers.wait(1);
        assert!(workers.take_one(&workers.two, &["a"]).await.is_some());
        let renewed = workers.one.renew(&workers.engine, &held).await.unwrap();
        assert!(renewed.is_none(), "it was lost");
    });
}

#[test]
fn who_has_lost_a_claim_commits_nothing_under_it() {
    run(async {
        let workers = workers();
        let lost = workers.take_one(&workers.one, &["a"]).await.unwrap();
        assert!(workers.commit(lost.checks(&workers.engine)).await);
        workers.take_one(&workers.two, &["a"]).await;
        workers.wait(LEASE);
        let held = workers.take_one(&workers.two, &["a"]).await.unwrap();
        for ops in [
            lost.checks(&workers.engine),
            lost.releases(&workers.engine),
            lost.hand_over(&workers.engine, "intent").unwrap(),
            lost.hand_back(&workers.engine, &workers.one).unwrap(),
        ] {
            assert_eq!(ops.len(), 1);
            assert!(!workers.commit(ops).await);
        }
        assert!(workers.commit(held.releases(&workers.engine)).await);
        assert!(workers.take_one(&workers.one, &["a"]).await.is_some(), "let go");
    });
}

#[test]
fn what_an_intent_holds_is_free_for_nobody_until_it_is_handed_back() {
    run(async {
        let workers = workers();
        let held = workers.take_one(&workers.one, &["a"]).await.unwrap();
        let over = held.hand_over(&workers.engine, "intent").unwrap();
        let held = held.at(workers.engine.store.commit(over).await.unwrap());
        for who in [&workers.one, &workers.two] {
            assert!(workers.take_one(who, &["a"]).await.is_none());
            workers.wait(2 * LEASE);
            assert!(workers.take_one(who, &["a"]).await.is_none());
        }
        let back = held.hand_back(&workers.engine, &workers.one).unwrap();
        assert!(workers.commit(back).await);
        assert!(workers.take_one(&workers.two, &["a"]).await.is_none());
        assert!(workers.take_one(&workers.one, &["a"]).await.is_some());
    });
}

#[test]
fn holds_that_are_joined_are_checked_together() {
    run(async {
        let workers = workers();
        let mut held = workers.take_one(&workers.one, &["a"]).await.unwrap();
        held.join(workers.take_one(&workers.one, &["b"]).await.unwrap());
        assert_eq!(held.checks(&workers.engine).len(), 2);
        assert_eq!(held.versions.len(), 2);
    });
}
