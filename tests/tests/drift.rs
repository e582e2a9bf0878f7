//! A live system whose fields change while nobody looks.

use std::time::Duration;

use seamless_tests::{World, text};
use serde_json::json;

#[test]
fn a_field_that_is_gone_pauses_and_the_rest_goes_on() {
    let world = World::of(40, 40);
    world.good_run();
    let account = world.linked("crm", "account")[0].clone();
    let counterpart = world.record("crm", "account", &account["id"])["counterpart"].clone();
    let there = |field: &str| world.record("autotask", "account", &counterpart)["fields"][field].clone();

    world.faults(json!({ "missing_fields": ["webAddress"] }));
    world.edit(
        "crm",
        "account",
        &account["id"],
        json!({ "website": "https://new.example", "city": "Troy" }),
    );
    world.good_run();
    assert_eq!(there("city"), "Troy", "the rest goes on");
    assert_ne!(there("webAddress"), "https://new.example", "the field is paused");

    world.faults(json!({}));
    world.good_run();
    assert_eq!(there("webAddress"), "https://new.example", "it goes on by itself");
    world.assert_in_step("after a field was away");
}

#[test]
fn a_field_that_records_come_without_waits_and_empties_nothing() {
    let world = World::of(40, 42);
    let account = world.create(
        "crm",
        "account",
        json!({ "name": "Aperture", "zip": "48201", "website": "https://a.example", "city": "Flint", "phone": "810-555-0101" }),
    );
    world.good_run();
    let counterpart = world.record("crm", "account", &account)["counterpart"].clone();
    let there = |field: &str| world.record("autotask", "account", &counterpart)["fields"][field].clone();
    assert_eq!(there("webAddress"), "https://a.example");

    // The manifest names the fields, so nothing but the records tells.
    world.faults(json!({ "crm_missing_fields": ["website"] }));
    world.edit("crm", "account", &account, json!({ "city": "Troy" }));
    world.good_run();
    assert_eq!(there("city"), "Troy", "the rest goes on");
    assert_eq!(there("webAddress"), "https://a.example", "nobody has emptied it");
    let waiting = world.seamless(&["status", "--parked", "1000"]).stdout;
    assert!(
        waiting.contains("website is not in the record, although"),
        "{waiting}"
    );
    world.edit(
        "autotask",
        "account",
        &counterpart,
        json!({ "webAddress": "https://b.example" }),
    );
    world.good_run();

    world.faults(json!({}));
    world.configure("[run]\n", "[run]\nlook_again_secs = 1\n");
    std::thread::sleep(Duration::from_millis(1_100));
    world.good_run();
    let here = world.record("crm", "account", &account)["fields"]["website"].clone();
    assert_eq!(here, "https://b.example", "what was edited meanwhile arrives");
    world.assert_in_step("after a field was away");
}

#[test]
fn what_nothing_can_do_without_stops_the_start() {
    let world = World::of(20, 41);
    world.good_run();
    for missing in ["CRM ID", "postalCode"] {
        world.faults(json!({ "missing_fields": [missing] }));
        let calls = world.last_call();
        let ended = world.run_once();
        assert_eq!(ended.code, 3, "{missing}: {ended:?}");
        assert!(ended.said().contains(missing), "{missing}: {ended:?}");
        assert!(world.writes_since(calls).is_empty());
    }
    let told = world.seamless(&["discover", "autotask", "Companies"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.stdout.contains("companyName") && !told.stdout.contains("postalCode"),
        "{}",
        told.stdout
    );
    let all = world.seamless(&["discover", "--json"]);
    let found = all.json().as_array().cloned().expect("a list");
    assert!(
        found.iter().any(|one| text(one.get("entity")) == "Opportunities"),
        "{all:?}"
    );
}
