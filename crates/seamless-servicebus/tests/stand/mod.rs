//! What the tests share: an emulator with a tenant's topic, and buses on it.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::MemoryStore;
use seamless_core::pipeline::commit_with_receipt;
use seamless_core::{Bus, Clock, Delivery, MessageId, Outgoing, Settlement, Timestamp};
use seamless_emulator::{Emulator, EntitySettings, Filter, Options, TopicSettings};
use seamless_servicebus::{ConnectionString, ServiceBus, Settings, Transport};

/// The clock of the machine.
pub(crate) struct Real(tokio::time::Instant);

impl Real {
    pub(crate) fn new() -> Arc<Real> {
        Arc::new(Real(tokio::time::Instant::now()))
    }
}

#[async_trait]
impl Clock for Real {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        Timestamp(since.as_micros() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that jumps: the machine's, and the namespace's.
#[derive(Clone)]
pub(crate) struct Jumping(Arc<Real>, Arc<AtomicI64>);

impl Jumping {
    pub(crate) fn new(ahead_secs: i64) -> Jumping {
        Jumping(Real::new(), Arc::new(AtomicI64::new(ahead_secs)))
    }

    pub(crate) fn jump(&self, secs: i64) {
        self.1.fetch_add(secs, Ordering::SeqCst);
    }

    fn ahead(&self) -> Duration {
        Duration::from_secs(self.1.load(Ordering::SeqCst).unsigned_abs())
    }
}

#[async_trait]
impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        self.0.now().plus(self.ahead())
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() + self.ahead()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl seamless_emulator::Clock for Jumping {
    fn now_micros(&self) -> i64 {
        self.now().0
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

pub(crate) const LOCK: Duration = Duration::from_millis(400);

/// A namespace with the topic `tenant` and its subscription `crm`.
pub(crate) async fn emulator(sessions: bool) -> Emulator {
    emulator_ahead(sessions, 0).await
}

/// One whose clock is ahead.
pub(crate) async fn emulator_ahead(sessions: bool, secs: i64) -> Emulator {
    emulator_by(sessions, Jumping::new(secs)).await
}

/// One that goes by this clock.
pub(crate) async fn emulator_by(sessions: bool, clock: Jumping) -> Emulator {
    let options = Options {
        clock: Arc::new(clock),
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    let topic = TopicSettings {
        duplicate_window: Some(Duration::from_secs(600)),
        ..TopicSettings::default()
    };
    emulator.create_topic("tenant", topic);
    subscription(&emulator, sessions);
    emulator
}

/// Makes the subscription `crm`, or makes it anew.
pub(crate) fn subscription(emulator: &Emulator, sessions: bool) {
    let settings = EntitySettings {
        requires_session: sessions,
        lock_duration: LOCK,
        max_delivery_count: 100,
        ..EntitySettings::default()
    };
    assert!(emulator.create_subscription("tenant", "crm", settings, label("crm")));
}

pub(crate) fn label(label: &str) -> Filter {
    Filter::Correlation(BTreeMap::from([("label".to_owned(), label.to_owned())]))
}

pub(crate) fn settings(connection: &str) -> Settings {
    Settings {
        connection: ConnectionString::parse(connection).unwrap(),
        manage: None,
        identity: None,
        extra_roots: Vec::new(),
        transport: Transport::Tcp,
        topic: "tenant".to_owned(),
        lock_duration: LOCK,
        message_bytes_max: 256 * 1024,
    }
}

pub(crate) fn bus_with(connection: &str) -> ServiceBus {
    ServiceBus::new(settings(connection), Real::new(), Arc::new(MemoryStore::new())).unwrap()
}

/// A bus over either transport.
pub(crate) fn any_bus(https: bool, settings: Settings) -> Box<dyn Bus> {
    let clock = Real::new();
    let store = Arc::new(MemoryStore::new());
    #[cfg(feature = "https")]
    if https {
        return Box::new(seamless_servicebus::ServiceBusHttps::new(settings, clock, store).unwrap());
    }
    assert!(!https, "built without it");
    Box::new(ServiceBus::new(settings, clock, store).unwrap())
}

/// A bus whose AMQP travels over a WebSocket.
pub(crate) fn websocket_bus(emulator: &Emulator) -> ServiceBus {
    let settings = Settings {
        transport: Transport::WebSocket,
        ..settings(&emulator.http_connection_string())
    };
    ServiceBus::new(settings, Real::new(), Arc::new(MemoryStore::new())).unwrap()
}

pub(crate) fn bus(emulator: &Emulator) -> ServiceBus {
    bus_with(&emulator.connection_string())
}

pub(crate) fn message(number: usize) -> Outgoing {
    Outgoing {
        id: MessageId(format!("m{number}")),
        subscription: "crm".to_owned(),
        lane: format!("{:02x}", number % 8),
        body: format!("body {number}").into_bytes(),
    }
}

pub(crate) async fn complete(delivery: Delivery) -> Settlement {
    let receipt = commit_with_receipt(&MemoryStore::new(), vec![]).await.unwrap();
    Settlement::Complete(delivery.lock, receipt)
}
