//! The in-memory bus keeps the contract it is the reference of.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::{MemoryBlobs, MemoryBus, MemoryStore};
use seamless_core::pipeline::commit_with_receipt;
use seamless_core::{
    BlobStore, Bus, BusLimits, ClaimCheck, Clock, DeadLetterReason, ErrorKind, MessageId, Outgoing, Random,
    Settlement,
};
use seamless_testkit::conformance::TestClock;
use seamless_testkit::conformance::bus::{BusFactory, run};

struct Memory;

#[async_trait]
impl BusFactory for Memory {
    async fn fresh(&self, clock: Arc<dyn Clock>) -> Arc<dyn Bus> {
        Arc::new(MemoryBus::new(clock))
    }

    async fn reopen(&self) -> Option<Arc<dyn Bus>> {
        None
    }
}

#[tokio::test]
async fn memory_bus_conforms() {
    assert_eq!(run(&Memory).await, Ok(()));
}

#[tokio::test]
async fn a_full_subscription_pushes_back_and_publishes_nothing() {
    let limits = BusLimits {
        lock_duration: Duration::from_secs(5),
        ..MemoryBus::new(TestClock::new()).limits()
    };
    let bus = MemoryBus::with_limits(TestClock::new(), limits, 3);
    let batch = |ids: &[&str], subscription: &str| -> Vec<Outgoing> {
        let message = |id: &&str| Outgoing {
            id: MessageId(id.to_string()),
            subscription: subscription.to_owned(),
            lane: String::new(),
            body: b"secret".to_vec(),
        };
        ids.iter().map(message).collect()
    };
    bus.publish(batch(&["a", "b"], "crm")).await.unwrap();
    let error = bus.publish(batch(&["c", "d"], "crm")).await.unwrap_err();
    assert_eq!((error.kind, error.is_transient()), (ErrorKind::RateLimited, true));
    assert_eq!(bus.depth("crm").await.unwrap(), 2);
    bus.publish(batch(&["c", "d"], "autotask")).await.unwrap();
    assert_eq!(bus.bodies(), vec![b"secret".to_vec(); 4]);
    bus.purge();
    assert!(bus.bodies().is_empty());
}

/// Never the same twice.
#[derive(Default)]
struct Counting(std::sync::atomic::AtomicU8);

impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }
}

/// A bus on which every body has a claim check.
fn checked(clock: Arc<dyn Clock>) -> (ClaimCheck, Arc<MemoryBus>, Arc<MemoryBlobs>) {
    let bus = Arc::new(MemoryBus::new(clock.clone()));
    let blobs = Arc::new(MemoryBlobs::new(clock.clone()));
    let random = Arc::new(Counting::default());
    let checked = ClaimCheck::above(4, bus.clone(), blobs.clone(), clock, random);
    (checked, bus, blobs)
}

struct Checked;

#[async_trait]
impl BusFactory for Checked {
    async fn fresh(&self, clock: Arc<dyn Clock>) -> Arc<dyn Bus> {
        Arc::new(checked(clock).0)
    }

    async fn reopen(&self) -> Option<Arc<dyn Bus>> {
        None
    }
}

#[tokio::test]
async fn a_bus_with_claim_checks_conforms() {
    assert_eq!(run(&Checked).await, Ok(()));
}

fn large(id: &str) -> Outgoing {
    Outgoing {
        id: MessageId(id.to_owned()),
        subscription: "crm".to_owned(),
        lane: String::new(),
        body: format!("a large secret: {id}").into_bytes(),
    }
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
async fn complete(lock: seamless_core::LockToken) -> Settlement {
    let receipt = commit_with_receipt(&MemoryStore::new(), vec![]).await.unwrap();
    Settlement::Complete(lock, receipt)
}

#[tokio::test]
async fn a_large_body_travels_by_claim_check_and_goes_when_it_is_done_with() {
    let clock = TestClock::new();
    let (bus, inner, blobs) = checked(clock.clone());
    bus.publish(vec![large("done"), large("dead")]).await.unwrap();
    assert_eq!(blobs.names().len(), 2);
    for body in inner.bodies() {
        assert!(
            !String::from_utf8_lossy(&body).contains("secret"),
            "the body itself is on the bus"
        );
    }
    let consumer = bus.subscribe("crm").await.unwrap();
    let mut deliveries = consumer.receive(10, Duration::ZERO).await.unwrap();
    assert_eq!(deliveries[0].body, b"a large secret: done");
    let dead = deliveries.pop().unwrap();
    let done = deliveries.pop().unwrap();
    let reason = DeadLetterReason {
        code: "unreadable".to_owned(),
        description: String::new(),
    };
    let settlements = vec![
        complete(done.lock).await,
        Settlement::DeadLetter(dead.lock, reason),
    ];
    consumer.settle(settlements).await.unwrap();
    assert_eq!(blobs.names().len(), 1, "the dead letter needs its body");
    let letters = bus.dead_letters("crm", None, 10).await.unwrap();
    assert_eq!(letters[0].body, b"a large secret: dead");
    assert_eq!(bus.replay("crm", &[letters[0].id.clone()]).await.unwrap(), 1);
    let again = consumer.receive(10, Duration::ZERO).await.unwrap().remove(0);
    assert_eq!(again.body, b"a large secret: dead");
    consumer.settle(vec![complete(again.lock).await]).await.unwrap();
    assert!(blobs.names().is_empty());
}

#[tokio::test]
async fn a_lost_lock_keeps_the_body_for_the_message_that_comes_again() {
    let clock = TestClock::new();
    let (bus, _, blobs) = checked(clock.clone());
    bus.publish(vec![large("a")]).await.unwrap();
    let consumer = bus.subscribe("crm").await.unwrap();
    let first = consumer.receive(1, Duration::ZERO).await.unwrap().remove(0);
    clock.advance(bus.limits().lock_duration);
    consumer.settle(vec![complete(first.lock).await]).await.unwrap();
    let second = consumer.receive(1, Duration::ZERO).await.unwrap().remove(0);
    assert_eq!(second.body, b"a large secret: a");
    consumer.settle(vec![complete(second.lock).await]).await.unwrap();
    assert!(blobs.names().is_empty());
}

#[tokio::test]
async fn orphans_are_swept_and_nothing_else() {
    let clock = TestClock::new();
    let (bus, _, blobs) = checked(clock.clone());
    let orphan = "crm/000000000000000000000000000000ff";
    blobs.put(orphan, b"nobody knows of it".to_vec()).await.unwrap();
    assert_eq!(bus.sweep("crm").await.unwrap(), 0, "it may be on its way");
    bus.publish(vec![large("waiting")]).await.unwrap();
    clock.advance(Duration::from_secs(7_200));
    assert_eq!(
        bus.sweep("crm").await.unwrap(),
        0,
        "something waits: whose body is whose is not known"
    );
    let consumer = bus.subscribe("crm").await.unwrap();
    let waiting = consumer.receive(1, Duration::ZERO).await.unwrap().remove(0);
    assert_eq!(waiting.body, b"a large secret: waiting");
    consumer.settle(vec![complete(waiting.lock).await]).await.unwrap();
    assert_eq!(blobs.names(), [orphan]);
    // Whoever receives in vain sweeps on the way.
    assert!(consumer.receive(1, Duration::ZERO).await.unwrap().is_empty());
    assert!(blobs.names().is_empty());
}

#[tokio::test]
async fn a_body_that_is_gone_or_another_one_is_not_passed_off_as_the_message() {
    let clock = TestClock::new();
    let (bus, _, blobs) = checked(clock.clone());
    bus.publish(vec![large("gone"), large("other")]).await.unwrap();
    let names = blobs.names();
    blobs.delete(&names[0]).await.unwrap();
    blobs
        .put(&names[1], b"a large secret: OTHER".to_vec())
        .await
        .unwrap();
    let consumer = bus.subscribe("crm").await.unwrap();
    for delivery in consumer.receive(10, Duration::ZERO).await.unwrap() {
        assert!(
            delivery.body.starts_with(b"seamless-claim-check"),
            "it opens as no envelope"
        );
    }
}
