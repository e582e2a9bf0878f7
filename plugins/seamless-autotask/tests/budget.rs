//! The hour that all software of a tenant shares, on the simulated Autotask: we stop before the vendor stops everybody.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;

use bench::{bench, connect};
use seamless_core::{ErrorKind, RecordId};
use seamless_sandbox::Config;
use serde_json::json;

const LIMIT: u32 = 26;
const CALLS_OF_OTHERS: usize = 12;

#[tokio::test]
async fn what_other_software_used_counts_from_the_start() {
    let others = bench(
        Config {
            records: 20,
            hourly_limit: LIMIT,
            ..Config::default()
        },
        json!({}),
    )
    .await;
    let company = RecordId::from(others.all("Companies", None, 1).await.remove(0));
    let used = others.sandbox.stats()["autotask"]["calls"].as_u64().unwrap();
    assert!(used < CALLS_OF_OTHERS as u64, "{used}");
    for _ in used..CALLS_OF_OTHERS as u64 {
        others
            .source
            .fetch("Companies", std::slice::from_ref(&company))
            .await
            .unwrap();
    }

    let (ours, _) = connect(&others.sandbox, json!({})).await;
    let mut refused = None;
    for _ in 0..LIMIT {
        if let Err(error) = ours.fetch("Companies", std::slice::from_ref(&company)).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("the hour ends");
    assert_eq!(refused.kind, ErrorKind::RateLimited, "{refused}");
    assert!(refused.to_string().contains("not sent"), "{refused}");
    let stats = others.sandbox.stats();
    assert_eq!(stats["violations"]["over_budget"], 0, "{stats:#}");
    assert!(stats["autotask"]["calls"].as_u64().unwrap() > CALLS_OF_OTHERS as u64 + 6);
}
