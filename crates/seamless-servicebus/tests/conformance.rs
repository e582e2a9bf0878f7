//! The suite that the other buses pass, over the wire, against the emulator. What a broker in trouble does to messages is in `trouble.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::MemoryStore;
use seamless_core::{
    Bus, BusLimits, Clock, Consumer, DeadLetter, Delivery, LockToken, MessageId, Outgoing, Result, Settlement,
};
use seamless_emulator::{Emulator, EntitySettings, Filter, Options, TopicSettings};
use seamless_servicebus::{ConnectionString, ServiceBus, Settings, Transport};
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
        transport: Transport::Tcp,
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

fn websocket(parts: &Parts) -> Arc<dyn Bus> {
    let settings = Settings {
        transport: Transport::WebSocket,
        ..settings(&parts.emulator.http_connection_string())
    };
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
    conforms_in_time(&emulators, "").await;
}

/// Something that happens just before the bus does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The next send is refused as too much.
    Busy,
    /// The next attach, or request, is.
    BusyLinks,
    /// Every link is taken away.
    Detach,
    /// The connection ends without a word.
    Cut,
}

/// A bus in trouble whose user does as the host does: what failed for now is asked for again.
#[derive(Clone)]
struct Shaken {
    bus: Arc<dyn Bus>,
    emulator: Arc<Emulator>,
    clock: Arc<dyn Clock>,
    fault: Fault,
    /// Whether the next publish is to be refused.
    busy: Arc<AtomicBool>,
    /// Locks that are out. A lock does not survive its link, so links stay while there are any: what becomes of messages then is in `trouble.rs`.
    out: Arc<Mutex<BTreeSet<LockToken>>>,
}

/// Tries of one operation: over HTTPS each message that is to be refused spoils one.
const TRIES: usize = 10;

impl Shaken {
    async fn shake(&self) {
        let idle = self.out.lock().unwrap().is_empty();
        match self.fault {
            Fault::Busy => {
                self.busy.store(true, Ordering::SeqCst);
                self.emulator.be_busy(1);
            }
            // The AMQP library may lose the reason of a refused attach; then the connection is given up, and every lock with it.
            Fault::BusyLinks if idle => self.emulator.be_busy_at_links(1),
            Fault::Detach if idle => self.emulator.detach_links(),
            Fault::Cut if idle => self.emulator.kill_connections(),
            Fault::BusyLinks | Fault::Detach | Fault::Cut => {}
        }
        self.emulator.blows_landed().await;
    }

    async fn again<T, F: Future<Output = Result<T>>>(&self, operation: impl Fn() -> F) -> Result<T> {
        self.shake().await;
        let mut tries = 1;
        loop {
            match operation().await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }
}

#[async_trait]
impl Bus for Shaken {
    fn limits(&self) -> BusLimits {
        self.bus.limits()
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()> {
        self.again(|| {
            if self.busy.swap(false, Ordering::SeqCst) {
                // A small batch is refused as a whole: where only some are refused, those come behind the others when they are sent again.
                self.emulator.be_busy(messages.len().min(TRIES - 1));
            }
            self.bus.publish(messages.clone())
        })
        .await
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        let consumer = self.bus.subscribe(subscription).await?;
        Ok(Box::new(ShakenConsumer {
            consumer,
            shaken: self.clone(),
        }))
    }

    async fn depth(&self, subscription: &str) -> Result<u64> {
        self.again(|| self.bus.depth(subscription)).await
    }

    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.again(|| self.bus.dead_letters(subscription, after, max))
            .await
    }

    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64> {
        self.again(|| self.bus.replay(subscription, ids)).await
    }
}

struct ShakenConsumer {
    consumer: Box<dyn Consumer>,
    shaken: Shaken,
}

#[async_trait]
impl Consumer for ShakenConsumer {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        // Who asks again has waited already.
        let clock = &self.shaken.clock;
        let deadline = clock.monotonic().saturating_add(wait);
        let left = || deadline.saturating_sub(clock.monotonic());
        let received = self.shaken.again(|| self.consumer.receive(max, left())).await?;
        let locks = received.iter().map(|delivery| delivery.lock.clone());
        self.shaken.out.lock().unwrap().extend(locks);
        Ok(received)
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        self.shaken
            .again(|| self.consumer.settle(settlements.iter().map(copy).collect()))
            .await?;
        let mut out = self.shaken.out.lock().unwrap();
        for settlement in &settlements {
            out.remove(lock_of(settlement));
        }
        Ok(())
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        self.shaken.again(|| self.consumer.renew(locks)).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.shaken.shake().await;
        match self.consumer.close().await {
            Err(error) if error.is_transient() => Ok(()),
            outcome => outcome,
        }
    }
}

fn lock_of(settlement: &Settlement) -> &LockToken {
    let (Settlement::Complete(lock, _) | Settlement::Defer(lock, _) | Settlement::DeadLetter(lock, _)) =
        settlement;
    lock
}

fn copy(settlement: &Settlement) -> Settlement {
    match settlement {
        Settlement::Complete(lock, receipt) => Settlement::Complete(lock.clone(), *receipt),
        Settlement::Defer(lock, wait) => Settlement::Defer(lock.clone(), *wait),
        Settlement::DeadLetter(lock, reason) => Settlement::DeadLetter(lock.clone(), reason.clone()),
    }
}

/// Buses that meet a fault before each thing they do.
struct ShakenEmulators {
    emulators: Emulators,
    fault: Fault,
}

impl ShakenEmulators {
    fn shaken(&self, bus: Arc<dyn Bus>) -> Arc<dyn Bus> {
        let parts = self.emulators.last.lock().unwrap().clone().unwrap();
        Arc::new(Shaken {
            bus,
            emulator: parts.emulator,
            clock: parts.clock,
            fault: self.fault,
            busy: Arc::default(),
            out: Arc::default(),
        })
    }
}

#[async_trait]
impl bus::BusFactory for ShakenEmulators {
    async fn fresh(&self, clock: Arc<dyn Clock>) -> Arc<dyn Bus> {
        let bus = self.emulators.fresh(clock).await;
        self.shaken(bus)
    }

    async fn reopen(&self) -> Option<Arc<dyn Bus>> {
        self.emulators.reopen().await.map(|bus| self.shaken(bus))
    }
}

/// The suite moves its own clock and asks at once. A link that breaks in real time just when the broker hands out a message keeps that message locked
/// for longer than the suite waits, which is right and no fault of the bus: so a machine under load gets three tries. What is wrong fails in each.
async fn conforms_in_time(buses: &dyn bus::BusFactory, what: &str) {
    let mut outcome = bus::run(buses).await;
    for _ in 0..2 {
        if outcome.is_ok() {
            return;
        }
        outcome = bus::run(buses).await;
    }
    assert_eq!(outcome, Ok(()), "{what}");
}

async fn conforms_shaken(sessions: bool, connect: Connect, fault: Fault) {
    let shaken = ShakenEmulators {
        emulators: Emulators {
            sessions,
            connect,
            last: Mutex::default(),
        },
        fault,
    };
    conforms_in_time(&shaken, &format!("{fault:?}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_conforms_with_a_busy_broker() {
    conforms_shaken(true, amqp, Fault::Busy).await;
    conforms_shaken(true, amqp, Fault::BusyLinks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_conforms_with_links_that_are_taken_away() {
    conforms_shaken(true, amqp, Fault::Detach).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_conforms_with_a_connection_that_is_cut() {
    conforms_shaken(true, amqp, Fault::Cut).await;
    conforms_shaken(true, websocket, Fault::Cut).await;
}

#[cfg(feature = "https")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_conforms_with_a_broker_in_trouble() {
    for fault in [Fault::Busy, Fault::Cut] {
        conforms_shaken(false, https, fault).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_conforms() {
    conforms(true, amqp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_over_a_websocket_conforms() {
    conforms(true, websocket).await;
}

#[cfg(feature = "https")]
fn https(parts: &Parts) -> Arc<dyn Bus> {
    let settings = settings(&parts.emulator.http_connection_string());
    let (clock, store) = (parts.clock.clone(), parts.store.clone());
    Arc::new(seamless_servicebus::ServiceBusHttps::new(settings, clock, store).unwrap())
}

#[cfg(feature = "https")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_conforms() {
    conforms(false, https).await;
}
