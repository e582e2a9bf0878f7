//! A good guest in somebody else's API: whatever goes wrong there, none of its rules is broken. Counted by the sandbox.

use std::time::Duration;

use seamless_sandbox::Config;
use seamless_tests::{World, number};
use serde_json::{Value as Json, json};

/// A bad day: the tenant moves, faults come in every dress, pages lead astray, answers are slow.
fn bad_day() -> Json {
    let of_autotask = |mut fault: Json| {
        fault["system"] = json!("autotask");
        fault
    };
    json!({
        "zone_moved": of_autotask(json!({ "next": 1, "path": "query" })),
        "error_500": of_autotask(json!({ "probability": 0.03 })),
        "error_500_applied": of_autotask(json!({ "probability": 0.03, "on": "writes" })),
        "unavailable": of_autotask(json!({ "probability": 0.03 })),
        "throttled": of_autotask(json!({ "next": 2, "retry_after_secs": 1 })),
        "lost_answer": of_autotask(json!({ "probability": 0.03, "on": "writes" })),
        "truncated_body": of_autotask(json!({ "probability": 0.01 })),
        "latency": of_autotask(json!({ "probability": 0.3, "delay_ms": 30 })),
        "foreign_next_page": of_autotask(json!({ "next": 3, "path": "query" })),
    })
}

#[test]
fn no_rule_of_autotask_is_broken_on_a_bad_day() {
    let world = World::new(Config {
        records: 60,
        seed: 77,
        crm_tickets: 10,
        crm_opportunities: 5,
        hourly_limit: 100_000,
        ..Config::default()
    });
    world.faults(bad_day());
    let host = world.start(&["run"]);
    let pairs = |entity: &str| world.linked("autotask", entity);
    for _ in 0..400 {
        if pairs("contact").len() > 10 && pairs("ticket").len() > 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for round in 0..6 {
        for (entity, here, there) in [("account", "city", "city"), ("contact", "lastName", "last_name")] {
            for (at, record) in pairs(entity).iter().take(6).enumerate() {
                let value = format!("Round {round} {at}");
                if at % 2 == 0 {
                    world.edit("autotask", entity, &record["id"], json!({ here: value }));
                } else {
                    let counterpart = world.record("autotask", entity, &record["id"])["counterpart"].clone();
                    world.edit("crm", entity, &counterpart, json!({ there: value }));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    // Once more, in the middle of it.
    world.faults(bad_day());
    std::thread::sleep(Duration::from_secs(1));
    let struck = world.get("/stats")["autotask"]["faults"].clone();
    for fault in ["error_500", "unavailable", "latency", "throttled"] {
        assert!(number(&struck[fault]) > 0, "{fault} never came: {struck:#}");
    }
    assert!(
        number(&world.get("/stats")["autotask"]["by_status"]["401"]) > 0,
        "the tenant moved"
    );
    drop(host);
    world.faults(json!({}));
    world.good_run();
    let stats = world.get("/stats");
    let violations = stats["violations"].as_object().expect("counters");
    for name in [
        "over_threads",
        "over_budget",
        "wrong_routes",
        "put_used",
        "unchanged_patches",
        "dropped_conditions",
        "foreign_credentials",
    ] {
        assert_eq!(violations.get(name), Some(&json!(0)), "{name}: {violations:#?}");
    }
    let peaks = stats["max_concurrency"].as_object().expect("peaks");
    assert!(
        peaks.values().all(|peak| number(peak) <= 2),
        "two at once: {peaks:#?}"
    );
    assert!(peaks.contains_key("companies"), "{peaks:#?}");
    world.assert_in_step("after a bad day");
}
