//! The in-memory bus keeps the contract it is the reference of.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::MemoryBus;
use seamless_core::{Bus, BusLimits, Clock, ErrorKind, MessageId, Outgoing};
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
