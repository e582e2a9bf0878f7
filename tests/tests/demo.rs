//! The two commands a newcomer tries first.

use std::fs;
use std::time::Duration;

use seamless_tests::{World, number, text};
use serde_json::Value as Json;

#[test]
fn the_demo_keeps_its_promise_and_says_so_in_one_object() {
    // Of the world only the folder is used: the demo brings a sandbox and a tenant of its own.
    let world = World::of(4, 41);
    let ended = world.seamless(&["demo", "--records", "150", "--seed", "5", "--once", "--json"]);
    assert!(matches!(ended.code, 0 | 4), "{ended:?}");
    let outcome = ended.json();
    for zero in ["duplicates", "lost_edits", "echo_writes", "idle_writes"] {
        assert_eq!(outcome[zero], 0, "{outcome:#}");
    }
    for counted in [
        "records",
        "created",
        "updated",
        "linked",
        "unchanged",
        "conflicts",
        "autotask_calls",
        "crm_calls",
    ] {
        assert!(number(&outcome[counted]) > 0, "{counted}: {outcome:#}");
    }
    assert!(
        outcome["seconds"].is_number() && outcome["peak_rss_mb"].is_number(),
        "{outcome:#}"
    );
    let parked = outcome["parked_by_reason"].as_object().expect("an object");
    assert_eq!(
        parked
            .values()
            .map(|reason| number(&reason["count"]))
            .sum::<u64>(),
        number(&outcome["parked"])
    );
    assert!(
        parked
            .values()
            .all(|reason| !text(reason.get("example")).is_empty()),
        "{outcome:#}"
    );
    assert_eq!(ended.code, if number(&outcome["parked"]) > 0 { 4 } else { 0 });
    let story = outcome["story"].as_array().expect("a list");
    assert!(story.len() >= 8, "{outcome:#}");
    assert!(
        story.iter().all(|told| told["as_promised"] == true),
        "{outcome:#}"
    );
}

#[test]
fn the_sandbox_says_where_it_is_and_writes_a_tenant_that_runs() {
    let world = World::of(4, 42);
    let sandbox = world.start(&[
        "sandbox",
        "--records",
        "20",
        "--json",
        "--print-tenant",
        "printed",
    ]);
    let tenant = world.path("printed/tenant.toml");
    let mut ready = Json::Null;
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(50));
        // One line, written when everything is ready.
        let said = fs::read_dir(world.folder())
            .expect("a folder")
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().ends_with("sandbox.out"));
        ready = said
            .and_then(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
            .unwrap_or_default();
        if ready.is_object() {
            break;
        }
    }
    for url in ["autotask_url", "crm_url", "admin_url"] {
        assert!(text(ready.get(url)).starts_with("http://127.0.0.1:"), "{ready}");
    }
    let tenant = tenant.display().to_string();
    let ran = world.seamless(&["run", "--once", "--accept", "--config", &tenant]);
    assert!(matches!(ran.code, 0 | 4), "{ran:?}");
    sandbox.kill();
}
