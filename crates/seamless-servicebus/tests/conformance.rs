//! The suite that the other buses pass, over the wire, against the emulator: in peace, and with a broker that fails before every operation
//! that finds nothing locked.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::MemoryStore;
use seamless_core::{
    Bus, BusLimits, Clock, Consumer, DeadLetter, Delivery, LockToken, MessageId, Outgoing, Result, Settlement,
};
use seamless_emulator::{Emulator, EntitySettings, Filter, Options, TopicSettings};
use seamless_servicebus::{ConnectionString, ServiceBus, Settings};
use seamless_testkit::conformance::bus;

/// The suite's clock, for the emulator. It looks instead of sleeping: the suite moves time for whoever sleeps, and may only do that for
/// what it tests.
struct Looking(Arc<dyn Clock>);

impl seamless_emulator::Clock for Looking {
    fn now_micros(&self) -> i64 {
        self.0.now().0
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let until = self.0.monotonic().saturating_add(duration);
        Box::pin(async move {
            while self.0.monotonic() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    }
}

/// What a bus is made of.
#[derive(Clone)]
struct Parts {
    emulator: Arc<Emulator>,
    /// What a host would keep.
    store: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
}

type Connect = fn(&Parts) -> Arc<dyn Bus>;

/// Starts an emulator for each case, and keeps it for as long as that takes.
struct Emulators {
    sessions: bool,
    connect: Connect,
    last: Mutex<Option<Parts>>,
}

fn settings(connection: &str) -> Settings {
    Settings {
        connection: ConnectionString::parse(connection).unwrap(),
        manage: None,
        topic: "tenant".to_owned(),
        lock_duration: Duration::from_secs(60),
        message_bytes_max: 256 * 1024,
    }
}

fn amqp(parts: &Parts) -> Arc<dyn Bus> {
    let settings = settings(&parts.emulator.connection_string());
    Arc::new(ServiceBus::new(
        settings,
        parts.clock.clone(),
        parts.store.clone(),
    ))
}

fn troubled(parts: &Parts) -> Arc<dyn Bus> {
    Arc::new(Troubled(Arc::new(Trouble {
        bus: amqp(parts),
        emulator: parts.emulator.clone(),
        turn: AtomicUsize::new(0),
        locked: AtomicUsize::new(0),
    })))
}

#[async_trait]
impl bus::BusFactory for Emulators {
    async fn fresh(&self, clock: Arc<dyn Clock>) -> Arc<dyn Bus> {
        let options = Options {
            clock: Arc::new(Looking(clock.clone())),
            ..Options::default()
        };
        let emulator = Emulator::start(options).await.unwrap();
        let topic = TopicSettings {
            duplicate_window: Some(Duration::from_secs(20)),
            ..TopicSettings::default()
        };
        emulator.create_topic("tenant", topic);
        for name in ["crm", "autotask", "nobody", "late"] {
            let settings = EntitySettings {
                requires_session: self.sessions,
                ..EntitySettings::default()
            };
            let filter = Filter::Correlation(BTreeMap::from([("label".to_owned(), name.to_owned())]));
            assert!(emulator.create_subscription("tenant", name, settings, filter));
        }
        let parts = Parts {
            emulator: Arc::new(emulator),
            store: Arc::new(MemoryStore::new()),
            clock,
        };
        *self.last.lock().unwrap() = Some(parts.clone());
        (self.connect)(&parts)
    }

    async fn reopen(&self) -> Option<Arc<dyn Bus>> {
        let parts = self.last.lock().unwrap().clone().unwrap();
        Some((self.connect)(&parts))
    }
}

/// A broker that fails, and a caller that tries again, as the host does.
struct Trouble {
    bus: Arc<dyn Bus>,
    emulator: Arc<Emulator>,
    turn: AtomicUsize,
    /// Messages that somebody holds: while there are any, a broken connection would let go of them, and the suite counts on its locks.
    locked: AtomicUsize,
}

struct Troubled(Arc<Trouble>);

struct TroubledConsumer {
    trouble: Arc<Trouble>,
    consumer: Box<dyn Consumer>,
}

impl Trouble {
    async fn strike(&self, may_be_busy: bool) {
        if self.locked.load(Ordering::SeqCst) > 0 {
            return;
        }
        match self.turn.fetch_add(1, Ordering::SeqCst) % 4 {
            0 => self.emulator.kill_connections(),
            1 => self.emulator.detach_links(),
            2 if may_be_busy => self.emulator.be_busy(2),
            _ => self.emulator.lose_locks("tenant/Subscriptions/crm"),
        }
        self.emulator.blows_landed().await;
    }
}

/// Tries again what waiting cures, a few times.
macro_rules! again {
    ($what:expr) => {{
        let mut tries = 0;
        loop {
            match $what.await {
                Err(error) if error.is_transient() && tries < 10 => tries += 1,
                done => break done,
            }
        }
    }};
}

#[async_trait]
impl Bus for Troubled {
    fn limits(&self) -> BusLimits {
        self.0.bus.limits()
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()> {
        // What is refused before it is sent leaves no fault behind for the next one.
        self.0.strike(self.limits().check(&messages).is_ok()).await;
        again!(self.0.bus.publish(messages.clone()))
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        let consumer = again!(self.0.bus.subscribe(subscription))?;
        Ok(Box::new(TroubledConsumer {
            trouble: self.0.clone(),
            consumer,
        }))
    }

    async fn depth(&self, subscription: &str) -> Result<u64> {
        again!(self.0.bus.depth(subscription))
    }

    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        again!(self.0.bus.dead_letters(subscription, after, max))
    }

    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64> {
        again!(self.0.bus.replay(subscription, ids))
    }
}

#[async_trait]
impl Consumer for TroubledConsumer {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        self.trouble.strike(false).await;
        let received = again!(self.consumer.receive(max, wait))?;
        self.trouble.locked.fetch_add(received.len(), Ordering::SeqCst);
        Ok(received)
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        let count = settlements.len();
        self.consumer.settle(settlements).await?;
        let locked = &self.trouble.locked;
        locked.store(
            locked.load(Ordering::SeqCst).saturating_sub(count),
            Ordering::SeqCst,
        );
        Ok(())
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        self.consumer.renew(locks).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.consumer.close().await
    }
}

async fn conforms(sessions: bool, connect: Connect) {
    let emulators = Emulators {
        sessions,
        connect,
        last: Mutex::default(),
    };
    assert_eq!(bus::run(&emulators).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_conforms() {
    conforms(true, amqp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_conforms_with_a_broker_that_fails() {
    conforms(true, troubled).await;
}

#[cfg(feature = "https")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_conforms() {
    conforms(false, |parts| {
        let settings = settings(&parts.emulator.http_connection_string());
        let (clock, store) = (parts.clock.clone(), parts.store.clone());
        Arc::new(seamless_servicebus::ServiceBusHttps::new(settings, clock, store).unwrap())
    })
    .await;
}
