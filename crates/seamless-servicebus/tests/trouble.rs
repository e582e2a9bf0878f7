//! What becomes of messages when the broker is in trouble: nothing is lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stand;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::memory::MemoryStore;
use seamless_core::{Bus, ErrorKind, MessageId, Outgoing, Settlement};
use seamless_emulator::Emulator;
use seamless_servicebus::ServiceBus;

use stand::{Jumping, bus, complete, emulator, message, websocket_bus};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_broker_fails_in_every_way() {
    let emulator = emulator(true).await;
    nothing_is_lost(&emulator, bus(&emulator)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_a_websocket_either() {
    let emulator = emulator(true).await;
    nothing_is_lost(&emulator, websocket_bus(&emulator)).await;
}

async fn nothing_is_lost(emulator: &Emulator, bus: ServiceBus) {
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
    let emulator = emulator(true).await;
    let bus = bus(&emulator);
    bus.publish(vec![message(0)]).await.unwrap();
    emulator.swallow_answers(1);
    let publishing = tokio::time::timeout(Duration::from_millis(200), bus.publish(vec![message(1)]));
    assert!(publishing.await.is_err(), "nobody answers");
    emulator.kill_connections();
    while bus.publish(vec![message(1)]).await.is_err() {}
    assert_eq!(bus.depth("crm").await.unwrap(), 2);
}

/// What is done to an emulator so that a send is refused, and what the error says.
struct Case {
    name: &'static str,
    /// Makes the connection string of the bus out of the right one.
    connection: fn(String) -> String,
    /// How far the namespace's clock is ahead of ours.
    ahead_secs: i64,
    body_bytes: usize,
    prepare: fn(&Emulator),
    kind: ErrorKind,
    waits: bool,
    says: &'static str,
}

const PLAIN: Case = Case {
    name: "",
    connection: |good| good,
    ahead_secs: 0,
    body_bytes: 10,
    prepare: |_| {},
    kind: ErrorKind::Auth,
    waits: false,
    says: "",
};

const CASES: [Case; 9] = [
    Case {
        name: "wrong key",
        connection: |good| good.replace("SharedAccessKey=", "SharedAccessKey=x"),
        says: "the key is not accepted; check SharedAccessKeyName and SharedAccessKey",
        ..PLAIN
    },
    Case {
        name: "unknown key name",
        connection: |good| good.replace("KeyName=Root", "KeyName=Other"),
        says: "the namespace has no key of that name",
        ..PLAIN
    },
    Case {
        name: "expired token",
        ahead_secs: 7_200,
        says: "the token has expired; set the clock of this machine right",
        ..PLAIN
    },
    Case {
        name: "missing topic",
        prepare: |emulator| assert!(emulator.remove("tenant")),
        kind: ErrorKind::NotFound,
        says: "the topic or subscription does not exist",
        ..PLAIN
    },
    Case {
        name: "missing subscription",
        prepare: |emulator| assert!(emulator.remove("tenant/Subscriptions/crm")),
        kind: ErrorKind::NotFound,
        says: "the topic or subscription does not exist",
        ..PLAIN
    },
    Case {
        name: "disabled entity",
        prepare: |emulator| emulator.set_disabled("tenant", true),
        kind: ErrorKind::Unavailable,
        waits: true,
        says: "the topic or subscription is disabled",
        ..PLAIN
    },
    Case {
        name: "quota full",
        prepare: |emulator| emulator.set_quota("tenant/Subscriptions/crm", 0),
        kind: ErrorKind::RateLimited,
        waits: true,
        says: "the quota is used up",
        ..PLAIN
    },
    Case {
        name: "busy",
        prepare: |emulator| emulator.be_busy(1),
        kind: ErrorKind::RateLimited,
        waits: true,
        says: "the namespace is busy",
        ..PLAIN
    },
    Case {
        name: "message too large",
        body_bytes: 100_000,
        prepare: |emulator| emulator.set_message_bytes_max("tenant", 65_536),
        kind: ErrorKind::Limit,
        says: "the message is too large for the entity",
        ..PLAIN
    },
];

async fn each_refusal_has_its_own_error(https: bool) {
    for case in &CASES {
        if https && case.name == "missing subscription" {
            // Nothing is asked of a subscription on the way; a host that starts looks at it.
            continue;
        }
        let emulator = stand::emulator_ahead(!https, case.ahead_secs).await;
        (case.prepare)(&emulator);
        let good = if https {
            emulator.http_connection_string()
        } else {
            emulator.connection_string()
        };
        let settings = stand::settings(&(case.connection)(good.clone()));
        let bus = stand::any_bus(https, settings);
        let mut sent = message(0);
        sent.body = vec![7; case.body_bytes];
        let error = bus.publish(vec![sent]).await.unwrap_err();
        let name = case.name;
        assert_eq!(error.kind, case.kind, "{name}: {error:?}");
        assert_eq!(error.is_transient(), case.waits, "{name}: {error:?}");
        let shown = format!("{error:?} {error}");
        assert!(shown.contains(case.says), "{name}: {shown}");
        let key = good
            .split("SharedAccessKey=")
            .nth(1)
            .unwrap()
            .split(';')
            .next()
            .unwrap();
        assert!(!shown.contains(key), "{name} shows the key");
        // What was wrong is put right, and the same message goes through.
        if case.waits {
            emulator.set_disabled("tenant", false);
            emulator.set_quota("tenant/Subscriptions/crm", 10);
            bus.publish(vec![message(0)]).await.unwrap();
            assert_eq!(bus.depth("crm").await.unwrap(), 1, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_over_amqp_has_its_own_error() {
    each_refusal_has_its_own_error(false).await;
}

#[cfg(feature = "https")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_over_https_has_its_own_error() {
    each_refusal_has_its_own_error(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_goes_out_and_comes_back() {
    let emulator = emulator(true).await;
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
    // Those that were looked through are free again.
    let ids: Vec<MessageId> = letters.iter().skip(12).map(|letter| letter.id.clone()).collect();
    emulator.be_busy(1);
    let error = bus.replay("crm", &ids).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(bus.replay("crm", &ids).await.unwrap(), 18);
    assert_eq!(bus.depth("crm").await.unwrap(), 30);
    assert!(bus.dead_letters("crm", None, 100).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_in_time_and_one_that_has_expired_is_replaced() {
    let clock = Jumping::new(0);
    let emulator = stand::emulator_by(true, clock.clone()).await;
    let settings = stand::settings(&emulator.connection_string());
    let bus = ServiceBus::new(settings, Arc::new(clock.clone()), Arc::new(MemoryStore::new())).unwrap();
    let consumer = bus.subscribe("crm").await.unwrap();
    let mut sent = 0;
    let mut seen = BTreeSet::new();
    // Forty minutes at a time: a token is renewed at half of its hour. Three hours at a time: everything has been taken away meanwhile.
    for (jump_secs, tries_max) in [(2_400, 1), (2_400, 1), (10_800, 2), (2_400, 1)] {
        clock.jump(jump_secs);
        // The namespace acts when its time has come.
        tokio::time::sleep(Duration::from_millis(50)).await;
        for _ in 0..10 {
            bus.publish(vec![message(sent)]).await.unwrap();
            sent += 1;
        }
        let mut tries = 0;
        while seen.len() < sent {
            let deliveries = match consumer.receive(10, Duration::from_millis(200)).await {
                Ok(deliveries) => deliveries,
                Err(error) => {
                    tries += 1;
                    assert!(
                        tries < tries_max && error.is_transient(),
                        "{jump_secs}: {error:?}"
                    );
                    continue;
                }
            };
            let mut settlements = Vec::new();
            for delivery in deliveries {
                seen.insert(delivery.id.0.clone());
                settlements.push(complete(delivery).await);
            }
            consumer.settle(settlements).await.unwrap();
        }
    }
    assert_eq!(bus.depth("crm").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_were_idle_for_too_long_are_attached_anew() {
    let emulator = emulator(true).await;
    let bus = bus(&emulator);
    for number in 0..5 {
        bus.publish(vec![message(number)]).await.unwrap();
        emulator.detach_links();
        emulator.blows_landed().await;
        // What the broker said has been heard.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bus.depth("crm").await.unwrap(), 5);
}

/// What becomes of messages that are out when this happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_comes_too_late_leaves_the_message() {
    type Blow = (&'static str, fn(&Emulator));
    let blows: [Blow; 3] = [
        ("cut", Emulator::kill_connections),
        ("detached", Emulator::detach_links),
        ("lock lost", |emulator| {
            emulator.lose_locks("tenant/Subscriptions/crm")
        }),
    ];
    for (name, blow) in blows {
        let emulator = emulator(true).await;
        let bus = bus(&emulator);
        bus.publish((0..12).map(message).collect()).await.unwrap();
        let consumer = bus.subscribe("crm").await.unwrap();
        let mut dead = BTreeSet::new();
        for round in 0..60 {
            let Ok(deliveries) = consumer.receive(12, Duration::from_millis(50)).await else {
                continue;
            };
            if round < 3 {
                blow(&emulator);
                emulator.blows_landed().await;
            }
            let settlements = deliveries.into_iter().map(|delivery| {
                dead.insert(delivery.id.0);
                let reason = seamless_core::DeadLetterReason {
                    code: "unreadable".to_owned(),
                    description: String::new(),
                };
                Settlement::DeadLetter(delivery.lock, reason)
            });
            drop(consumer.settle(settlements.collect()).await);
            if bus.depth("crm").await.is_ok_and(|depth| depth == 0) {
                break;
            }
        }
        assert_eq!(dead.len(), 12, "{name}");
        assert_eq!(bus.depth("crm").await.unwrap(), 0, "{name}");
        let letters = bus.dead_letters("crm", None, 100).await.unwrap();
        assert_eq!(letters.len(), 12, "{name}: none is lost, none is there twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_holds_on_to_an_accept_keeps_nothing_back() {
    let emulator = emulator(true).await;
    emulator.be_patient();
    let bus = bus(&emulator);
    let consumer = bus.subscribe("crm").await.unwrap();
    for round in 0..3 {
        bus.publish((round * 10..round * 10 + 10).map(message).collect())
            .await
            .unwrap();
        let mut left = 10;
        for _ in 0..50 {
            let deliveries = consumer.receive(10, Duration::from_millis(100)).await.unwrap();
            let mut settlements = Vec::new();
            for delivery in deliveries {
                left -= 1;
                settlements.push(complete(delivery).await);
            }
            consumer.settle(settlements).await.unwrap();
            if left == 0 {
                break;
            }
        }
        assert_eq!(left, 0, "round {round}");
    }
    assert_eq!(bus.depth("crm").await.unwrap(), 0);
    consumer.close().await.unwrap();
}
