//! The bus over HTTPS, against the emulator: the suite that the other buses pass, and a broker in trouble.
#![cfg(feature = "https")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stand;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::memory::MemoryStore;
use seamless_core::{Bus, ErrorKind};
use seamless_servicebus::{ConnectionString, ServiceBusHttps};

use stand::{Real, complete, emulator, message, settings};

fn bus(connection: &str) -> ServiceBusHttps {
    ServiceBusHttps::new(settings(connection), Real::new(), Arc::new(MemoryStore::new())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_broker_fails_in_every_way() {
    let emulator = emulator(false).await;
    let bus = bus(&emulator.http_connection_string());
    let count = 60;
    for number in 0..count {
        match number % 12 {
            0 => emulator.kill_connections(),
            4 => emulator.be_busy(1),
            _ => {}
        }
        let mut tries = 0;
        while let Err(error) = bus.publish(vec![message(number)]).await {
            assert!(error.is_transient(), "{error:?}");
            tries += 1;
            assert!(tries < 20, "{error:?}");
        }
    }
    assert_eq!(bus.depth("crm").await.unwrap(), count as u64);
    let consumer = bus.subscribe("crm").await.unwrap();
    let mut seen = BTreeSet::new();
    for round in 0..200 {
        match round % 4 {
            0 => emulator.kill_connections(),
            2 => emulator.lose_locks("tenant/Subscriptions/crm"),
            _ => {}
        }
        let Ok(deliveries) = consumer.receive(10, Duration::ZERO).await else {
            continue;
        };
        let mut settlements = Vec::new();
        for delivery in deliveries {
            seen.insert(delivery.id.0.clone());
            settlements.push(complete(delivery).await);
        }
        drop(consumer.settle(settlements).await);
        if bus.depth("crm").await.is_ok_and(|depth| depth == 0) {
            break;
        }
    }
    assert_eq!(seen.len(), count, "every message was delivered");
    assert_eq!(bus.depth("crm").await.unwrap(), 0, "and completed");
}

#[test]
fn a_namespace_that_the_library_cannot_address_is_refused() {
    for host in ["acme.servicebus.chinacloudapi.cn", "bus.example.com"] {
        let text = format!("Endpoint=sb://{host}/;SharedAccessKeyName=a;SharedAccessKey=b");
        let mut settings =
            settings("Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=a;SharedAccessKey=b");
        settings.connection = ConnectionString::parse(&text).unwrap();
        let made = ServiceBusHttps::new(settings, Real::new(), Arc::new(MemoryStore::new()));
        let error = made.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.to_string().contains("use AMQP there"), "{error}");
    }
}
