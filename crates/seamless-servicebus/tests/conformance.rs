//! The suite that the other buses pass, over the wire, against the emulator. What a broker in trouble does to messages is in `trouble.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::MemoryStore;
use seamless_core::{Bus, Clock};
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
        identity: None,
        extra_roots: Vec::new(),
        topic: "tenant".to_owned(),
        lock_duration: Duration::from_secs(60),
        message_bytes_max: 256 * 1024,
    }
}

fn amqp(parts: &Parts) -> Arc<dyn Bus> {
    let settings = settings(&parts.emulator.connection_string());
    let bus = ServiceBus::new(settings, parts.clock.clone(), parts.store.clone());
    Arc::new(bus.unwrap())
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
