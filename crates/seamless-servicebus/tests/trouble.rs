//! What becomes of messages when the broker is in trouble: nothing is lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::MemoryStore;
use seamless_core::pipeline::commit_with_receipt;
use seamless_core::{Bus, Clock, Delivery, ErrorKind, MessageId, Outgoing, Retry, Settlement, Timestamp};
use seamless_emulator::{Emulator, EntitySettings, Filter, Options, TopicSettings};
use seamless_servicebus::{ConnectionString, ServiceBus, Settings};

struct Real(tokio::time::Instant);

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

const LOCK: Duration = Duration::from_millis(400);

async fn emulator() -> Emulator {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let topic = TopicSettings {
        duplicate_window: Some(Duration::from_secs(600)),
        ..TopicSettings::default()
    };
    emulator.create_topic("tenant", topic);
    let settings = EntitySettings {
        requires_session: true,
        lock_duration: LOCK,
        max_delivery_count: 100,
        ..EntitySettings::default()
    };
    let filter = Filter::Correlation(BTreeMap::from([("label".to_owned(), "crm".to_owned())]));
    assert!(emulator.create_subscription("tenant", "crm", settings, filter));
    emulator
}

fn bus_with(connection: &str) -> ServiceBus {
    let settings = Settings {
        connection: ConnectionString::parse(connection).unwrap(),
        topic: "tenant".to_owned(),
        lock_duration: LOCK,
        message_bytes_max: 256 * 1024,
    };
    ServiceBus::new(settings, Arc::new(Real(tokio::time::Instant::now())))
}

fn bus(emulator: &Emulator) -> ServiceBus {
    bus_with(&emulator.connection_string())
}

fn message(number: usize) -> Outgoing {
    Outgoing {
        id: MessageId(format!("m{number}")),
        subscription: "crm".to_owned(),
        lane: format!("{:02x}", number % 8),
        body: format!("body {number}").into_bytes(),
    }
}

async fn complete(delivery: Delivery) -> Settlement {
    let receipt = commit_with_receipt(&MemoryStore::new(), vec![]).await.unwrap();
    Settlement::Complete(delivery.lock, receipt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_broker_fails_in_every_way() {
    let emulator = emulator().await;
    let bus = bus(&emulator);
    let count = 120;
    let batches: Vec<Vec<Outgoing>> = (0..count / 10)
        .map(|batch| (batch * 10..batch * 10 + 10).map(message).collect())
        .collect();
    for (number, batch) in batches.into_iter().enumerate() {
        match number % 4 {
            0 => emulator.kill_connections(),
            1 => emulator.be_busy(3),
            2 => emulator.detach_links(),
            _ => {}
        }
        let mut tries = 0;
        while let Err(error) = bus.publish(batch.clone()).await {
            assert!(error.is_transient(), "{error:?}");
            tries += 1;
            assert!(tries < 20, "{error:?}");
        }
    }
    assert_eq!(bus.depth("crm").await.unwrap(), count as u64);

    let consumer = bus.subscribe("crm").await.unwrap();
    let mut seen = BTreeSet::new();
    for round in 0..400 {
        match round % 5 {
            0 => emulator.kill_connections(),
            2 => emulator.detach_links(),
            4 => emulator.lose_locks("tenant/Subscriptions/crm"),
            _ => {}
        }
        let Ok(deliveries) = consumer.receive(10, Duration::from_millis(50)).await else {
            continue;
        };
        let mut settlements = Vec::new();
        for delivery in deliveries {
            seen.insert(delivery.id.0.clone());
            settlements.push(complete(delivery).await);
        }
        // A settlement that fails is a message that comes again.
        drop(consumer.settle(settlements).await);
        if bus.depth("crm").await.is_ok_and(|depth| depth == 0) {
            break;
        }
    }
    assert_eq!(seen.len(), count, "every message was delivered");
    assert_eq!(bus.depth("crm").await.unwrap(), 0, "and completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_an_unknown_effect_and_a_resend_is_absorbed() {
    let emulator = emulator().await;
    let bus = bus(&emulator);
    bus.publish(vec![message(0)]).await.unwrap();
    emulator.swallow_answers(1);
    let publishing = tokio::time::timeout(Duration::from_millis(200), bus.publish(vec![message(1)]));
    assert!(publishing.await.is_err(), "nobody answers");
    emulator.kill_connections();
    while bus.publish(vec![message(1)]).await.is_err() {}
    assert_eq!(bus.depth("crm").await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_has_its_own_error() {
    let emulator = emulator().await;
    let good = emulator.connection_string();
    let wrong_key = bus_with(&good.replace("SharedAccessKey=", "SharedAccessKey=x"));
    let error = wrong_key.publish(vec![message(0)]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth, "{error:?}");
    let shown = format!("{error:?} {error}");
    let key = good
        .split("SharedAccessKey=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    assert!(!shown.contains(key), "{shown}");

    let bus = bus(&emulator);
    let mut lost = message(0);
    lost.subscription = "nobody".to_owned();
    let error = bus.publish(vec![lost]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");

    emulator.be_busy(1);
    let error = bus.publish(vec![message(0)]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::RateLimited, "{error:?}");
    assert!(matches!(error.retry, Retry::Later { after: Some(_) }));

    emulator.set_disabled("tenant", true);
    let error = bus.publish(vec![message(0)]).await.unwrap_err();
    assert!(
        error.is_transient() && error.to_string().contains("disabled"),
        "{error:?}"
    );
    emulator.set_disabled("tenant", false);
    bus.publish(vec![message(0)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_goes_out_and_comes_back() {
    let emulator = emulator().await;
    let bus = bus(&emulator);
    bus.publish((0..30).map(message).collect()).await.unwrap();
    let consumer = bus.subscribe("crm").await.unwrap();
    let mut left = 30;
    while left > 0 {
        let deliveries = consumer.receive(10, Duration::from_secs(1)).await.unwrap();
        left -= deliveries.len();
        let dead = deliveries.into_iter().map(|delivery| {
            let reason = seamless_core::DeadLetterReason {
                code: "unreadable".to_owned(),
                description: "it has no key".to_owned(),
            };
            Settlement::DeadLetter(delivery.lock, reason)
        });
        consumer.settle(dead.collect()).await.unwrap();
    }
    let letters = bus.dead_letters("crm", None, 100).await.unwrap();
    assert_eq!(letters.len(), 30);
    assert_eq!(letters[0].reason.code, "unreadable");
    let ids: Vec<MessageId> = letters.iter().take(12).map(|letter| letter.id.clone()).collect();
    assert_eq!(bus.replay("crm", &ids).await.unwrap(), 12);
    assert_eq!(bus.depth("crm").await.unwrap(), 12);
    assert_eq!(bus.dead_letters("crm", None, 100).await.unwrap().len(), 18);
}
