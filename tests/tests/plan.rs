//! Plans at the command line: nothing is written to make one, exactly that is written to carry it out, and what has changed since is refused.

use std::time::Duration;

use seamless_tests::{World, number, text};
use serde_json::{Value as Json, json};

/// What a system's record holds, by the native path of the plan.
fn held(world: &World, shown: &str, sync: &str, path: &str) -> Json {
    let (system, id) = shown.split_once(':').expect("records are shown as system:id");
    let id = id.parse::<u64>().map_or_else(|_| json!(id), |id| json!(id));
    let fields = world.record(system, sync, &id)["fields"].clone();
    path.split('.').fold(fields, |value, part| value[part].clone())
}

fn plan(world: &World, file: &str) -> Json {
    let planned = world.seamless(&["plan", "--out", file, "--json"]);
    assert_eq!(planned.code, 6, "{planned:?}");
    planned.json()
}

fn items<'a>(plan: &'a Json, step: &str) -> Vec<&'a Json> {
    let all = plan["items"].as_array().expect("a plan has items");
    all.iter().filter(|item| item["step"] == step).collect()
}

#[test]
fn a_plan_writes_nothing_and_apply_writes_exactly_that() {
    let world = World::of(150, 6);
    let calls = world.last_call();
    let planned = plan(&world, "first.plan");
    assert_eq!(world.writes_since(calls).len(), 0, "a plan writes nothing");
    for sync in ["account", "contact", "ticket", "opportunity"] {
        let counts = &planned["syncs"][sync];
        let links: u64 = counts["link"]
            .as_object()
            .map_or(0, |by_rule| by_rule.values().map(number).sum());
        assert!(number(&counts["create"]) + links > 0, "{sync}: {counts:#}");
    }
    assert!(
        number(&planned["cost"]["autotask"]["writes"]) > 0,
        "{:#}",
        planned["cost"]
    );
    let shown = world.seamless(&["plan", "show", "first.plan", "--json"]);
    assert_eq!(
        (shown.code, shown.json()),
        (6, planned.clone()),
        "the file says the same"
    );

    let applied = world.seamless(&["apply", "first.plan", "--accept", "--json"]);
    assert!(matches!(applied.code, 0 | 4), "{applied:?}");
    let applied = applied.json();
    let writes = world.writes_since(calls);
    let creates = writes.iter().filter(|call| call["method"] == "POST").count();
    assert!(
        creates <= items(&planned, "create").len(),
        "{creates} records made"
    );
    let refused: Vec<&str> = applied["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|refused| text(refused["planned"].get("record")))
        .collect();
    for update in items(&planned, "update") {
        let (record, other) = (text(update.get("record")), text(update.get("other")));
        if refused.contains(&record) || other.starts_with("new:") {
            continue;
        }
        for field in update["fields"].as_object().expect("fields").values() {
            let path = text(field.get("path"));
            let now = held(&world, other, text(update.get("sync")), path);
            assert!(
                now == field["to"] || text(field.get("to")).starts_with("new:"),
                "{other} {path}: {now} is not {}",
                field["to"]
            );
        }
    }
    world.good_run();
    world.assert_in_step("after a plan was carried out");
    let again = world.seamless(&["plan", "--json"]);
    assert_eq!(again.code, 0, "nothing is left to do: {again:?}");
    assert_eq!(again.json()["changes"], false);
}

#[test]
fn what_has_changed_since_is_refused_item_by_item() {
    let world = World::of(80, 7);
    world.good_run();
    let pairs = world.linked("crm", "account");
    let [kept, stale] = [&pairs[0], &pairs[1]];
    for account in [kept, stale] {
        world.edit("crm", "account", &account["id"], json!({ "city": "Troy" }));
    }
    let planned = plan(&world, "stale.plan");
    assert_eq!(items(&planned, "update").len(), 2, "{planned:#}");
    let field = &items(&planned, "update")[0]["fields"]["address.city"];
    assert_eq!(
        (&field["to"], text(field.get("why"))),
        (&json!("Troy"), "source_changed"),
        "{field:#}"
    );

    world.edit("crm", "account", &stale["id"], json!({ "city": "Rome" }));
    let calls = world.last_call();
    let applied = world.seamless(&["apply", "stale.plan", "--json"]);
    assert_eq!(applied.code, 4, "{applied:?}");
    let applied = applied.json();
    assert_eq!(number(&applied["done"]), 1, "{applied:#}");
    let refused = applied["refused"].as_array().expect("a list");
    assert_eq!(refused.len(), 1, "{applied:#}");
    assert_eq!(
        refused[0]["planned"]["record"],
        format!("crm:{}", text(stale.get("id")))
    );
    assert_eq!(world.writes_since(calls).len(), 1, "the other one is written");
    world.good_run();
    world.assert_in_step("after a stale plan");
}

#[test]
fn a_plan_is_made_and_carried_out_beside_a_running_host() {
    let world = World::of(60, 8);
    world.configure("poll_interval_secs = 1", "poll_interval_secs = 3600");
    world.good_run();
    let host = world.start(&["run"]);
    for _ in 0..100 {
        if world.seamless(&["status", "--json"]).json()["running"] == true {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // The first look of a host comes with its start.
    std::thread::sleep(Duration::from_millis(1500));
    let account = world.linked("crm", "account")[0].clone();
    world.edit("crm", "account", &account["id"], json!({ "city": "Troy" }));
    plan(&world, "beside.plan");
    let calls = world.last_call();
    let applied = world.seamless(&["apply", "beside.plan", "--json"]);
    assert_eq!(
        (applied.code, number(&applied.json()["done"])),
        (0, 1),
        "{applied:?}"
    );
    assert_eq!(world.writes_since(calls).len(), 1);
    drop(host);
}

#[test]
fn a_plan_of_another_tenant_or_cut_short_is_refused_with_a_sentence() {
    let (world, other) = (World::of(40, 9), World::of(40, 9));
    plan(&world, "own.plan");
    std::fs::copy(world.path("own.plan"), other.path("foreign.plan")).expect("a file can be copied");
    let bytes = std::fs::read(world.path("own.plan")).expect("a file can be read");
    std::fs::write(world.path("cut.plan"), &bytes[..bytes.len() / 2]).expect("a file can be written");
    for (world, file) in [
        (&other, "foreign.plan"),
        (&world, "cut.plan"),
        (&world, "none.plan"),
    ] {
        let calls = world.last_call();
        let ended = world.seamless(&["apply", file]);
        assert!(matches!(ended.code, 1..=3), "{file}: {ended:?}");
        assert!(ended.stderr.contains(file), "{file}: {ended:?}");
        assert_eq!(world.writes_since(calls).len(), 0, "{file}");
    }
}
