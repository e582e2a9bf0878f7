//! The thread limit and the hourly limit.

mod common;

use std::time::{Duration, Instant};

use common::Bench;
use seamless_sandbox::{Config, Fault, Faults};
use serde_json::{Value as Json, json};

#[tokio::test]
async fn the_fourth_concurrent_call_to_an_endpoint_is_refused() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        latency: Fault::chance(1.0).delay(150),
        ..Faults::default()
    });
    let call = |path: &'static str| b.at("GET", path, Json::Null);
    // The child address counts under its parent; another endpoint has slots of its own.
    let (a, c, d, e, f) = tokio::join!(
        call("Companies/0"),
        call("Companies/0/Contacts"),
        call("Companies/0"),
        call("Companies/0"),
        call("Contacts/1"),
    );
    let mut statuses = [a.status, c.status, d.status, e.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(f.status, 200);
    let refused = [a, c, d, e].into_iter().find(|r| r.status == 429).unwrap();
    assert_eq!(
        refused.error(),
        "The Autotask API thread threshold of 3 threads has been exceeded"
    );
    let stats = b.admin("GET", "/stats", Json::Null).await;
    assert_eq!(stats["violations"]["over_threads"], 1);
    assert_eq!(stats["max_concurrency"]["companies"], 3);
    b.sandbox.set_faults(Faults::default());
    assert_eq!(
        b.at("GET", "Companies/0", Json::Null).await.status,
        200,
        "the slots are free again"
    );
}

#[tokio::test]
async fn the_hourly_limit_slows_then_refuses_then_forgets() {
    let config = Config {
        records: 8,
        hourly_limit: 8,
        clock_speed: 10.0,
        ..Config::default()
    };
    let b = Bench::new(config).await;
    let mut took = Vec::new();
    for _ in 0..8 {
        #[allow(clippy::disallowed_methods)] // a test of real latency needs the real clock
        let started = Instant::now();
        assert_eq!(b.at("GET", "ThresholdInformation", Json::Null).await.status, 200);
        took.push(started.elapsed());
    }
    assert!(
        took[5] >= Duration::from_millis(95),
        "1 s of latency on a clock ten times as fast: {took:?}"
    );
    assert!(took[3] >= Duration::from_millis(45), "{took:?}");
    let res = b.at("GET", "Companies/0", Json::Null).await;
    assert!(
        res.status == 429 && res.error().contains("threshold"),
        "{}",
        res.body
    );
    b.admin("POST", "/clock", json!({ "advance_secs": 3600 })).await;
    assert_eq!(b.at("GET", "Companies/0", Json::Null).await.status, 200);
    assert_eq!(
        b.admin("GET", "/stats", Json::Null).await["violations"]["over_budget"],
        1
    );
}
