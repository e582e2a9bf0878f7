//! The main job: once, again, and after a person's edit.

use seamless_tests::{World, number};
use serde_json::{Value as Json, json};

/// A linked pair that has something in a field, seen from one side.
fn linked_with(world: &World, system: &str, entity: &str, field: &str) -> Json {
    let filled = |record: &Json| {
        record["fields"][field]
            .as_str()
            .is_some_and(|text| !text.trim().is_empty())
    };
    world
        .linked(system, entity)
        .into_iter()
        .find(filled)
        .expect("some pair has a value there")
}

#[test]
fn a_first_load_brings_both_in_step_and_a_second_run_writes_nothing() {
    let world = World::of(300, 3);
    let first = world.good_run().json();
    assert!(number(&first["counters"]["created"]) > 100, "{first:#}");
    assert!(
        number(&first["linked"]) > number(&first["counters"]["created"]),
        "some pairs existed already: {first:#}"
    );
    world.assert_in_step("after the first load");

    let calls = world.last_call();
    world.good_run();
    let writes = world.writes_since(calls);
    assert!(writes.is_empty(), "{writes:#?}");
}

#[test]
fn an_edit_of_one_field_is_one_patch_of_that_field() {
    let world = World::of(120, 4);
    world.good_run();
    let cases = [
        ("crm", "account", "city", "autotask", "city"),
        ("crm", "contact", "last_name", "autotask", "lastName"),
        ("autotask", "account", "companyName", "crm", "name"),
        ("autotask", "contact", "firstName", "crm", "first_name"),
    ];
    for (here, entity, field, there, counterpart_field) in cases {
        let record = linked_with(&world, here, entity, field);
        let calls = world.last_call();
        world.edit(here, entity, &record["id"], json!({ field: "Edited" }));
        world.good_run();
        let writes = world.writes_since(calls);
        let case = format!("{here} {entity} {field}: {writes:#?}");
        assert_eq!(writes.len(), 1, "{case}");
        assert_eq!(writes[0]["method"], "PATCH", "{case}");
        assert_eq!(writes[0]["system"], there, "{case}");
        assert_eq!(writes[0]["fields"], json!([counterpart_field]), "{case}");
    }
    world.assert_in_step("after four edits");
}

#[test]
fn two_edits_of_different_fields_both_stand_and_of_one_field_the_owner_wins() {
    let world = World::of(60, 5);
    world.good_run();
    let account = linked_with(&world, "crm", "account", "city");
    let other = world.record("crm", "account", &account["id"])["counterpart"].clone();
    world.edit(
        "crm",
        "account",
        &account["id"],
        json!({ "city": "Troy", "website": "https://crm.example" }),
    );
    world.edit(
        "autotask",
        "account",
        &other,
        json!({ "phone": "42", "webAddress": "https://autotask.example" }),
    );
    world.good_run();
    let (crm, autotask) = (
        world.record("crm", "account", &account["id"]),
        world.record("autotask", "account", &other),
    );
    let sides = |crm_field: &str, autotask_field: &str| {
        [&crm["fields"][crm_field], &autotask["fields"][autotask_field]]
    };
    assert_eq!(sides("city", "city"), ["Troy"; 2]);
    assert_eq!(sides("phone", "phone"), ["42"; 2]);
    assert_eq!(sides("website", "webAddress"), ["https://autotask.example"; 2]);
    world.assert_in_step("after a conflict");

    let explained = world.seamless(&["explain", "account", &format!("autotask:{other}"), "--json"]);
    assert_eq!(explained.code, 0, "{explained:?}");
    let decisions = explained.json()["decisions"].to_string();
    assert!(
        decisions.contains("conflict"),
        "the ledger tells who won: {decisions}"
    );
    assert!(
        decisions.contains("https://crm.example") || decisions.contains("autotask wins"),
        "{decisions}"
    );
}
