//! The suite that the other buses pass, over the wire, against the emulator.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
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

/// Starts an emulator for each case, and keeps it for as long as that takes.
#[derive(Default)]
struct Emulators {
    last: Mutex<Option<Emulator>>,
}

fn connect(emulator: &Emulator, clock: Arc<dyn Clock>) -> Arc<dyn Bus> {
    let settings = Settings {
        connection: ConnectionString::parse(&emulator.connection_string()).unwrap(),
        topic: "tenant".to_owned(),
        lock_duration: Duration::from_secs(60),
        message_bytes_max: 256 * 1024,
    };
    Arc::new(ServiceBus::new(settings, clock))
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
                requires_session: true,
                ..EntitySettings::default()
            };
            let filter = Filter::Correlation(BTreeMap::from([("label".to_owned(), name.to_owned())]));
            assert!(emulator.create_subscription("tenant", name, settings, filter));
        }
        let bus = connect(&emulator, clock);
        *self.last.lock().unwrap() = Some(emulator);
        bus
    }

    /// None: the suite wants deferred messages of an earlier process in the depth, and those are with the topic until they are due.
    async fn reopen(&self) -> Option<Arc<dyn Bus>> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bus_conforms() {
    assert_eq!(bus::run(&Emulators::default()).await, Ok(()));
}
