//! A field that the other side refuses waits alone: the rest of its record flows, and it goes on by itself.

use seamless_tests::{World, number, text};
use serde_json::{Value as Json, json};

fn held(world: &World) -> Vec<Json> {
    let ended = world.seamless(&["status", "--parked", "1000", "--json"]);
    let records = ended.json()["records"].as_array().cloned().unwrap_or_default();
    records
        .into_iter()
        .filter(|record| record["reason"] == "field_blocked")
        .collect()
}

#[test]
fn a_refused_field_waits_alone_and_goes_on_once_it_can() {
    let world = World::of(60, 50);
    world.good_run();
    let shown = |ticket: &Json| format!("crm:{}", text(ticket.get("id")));
    let held_of = |record: &str| -> Option<String> {
        let names = |held: &Json| held["record"] == record || held["candidates"].to_string().contains(record);
        let found = held(&world).into_iter().find(names)?;
        Some(text(found.get("sentence")).to_owned())
    };
    let tickets = world.linked("crm", "ticket");
    let ticket = tickets.iter().find(|ticket| held_of(&shown(ticket)).is_none());
    let ticket = ticket.expect("some ticket has nothing that waits");
    let record = shown(ticket);
    let counterpart = world.record("crm", "ticket", &ticket["id"])["counterpart"].clone();
    let assignee = ticket["fields"]["assignee_email"].clone();
    world.edit(
        "crm",
        "ticket",
        &ticket["id"],
        json!({ "subject": "Edited", "assignee_email": "nobody@nowhere.example" }),
    );
    world.good_run();
    let title = world.record("autotask", "ticket", &counterpart)["fields"]["title"].clone();
    assert_eq!(title, "Edited", "the rest of the record flows");
    let sentence = held_of(&record).unwrap_or_default();
    assert!(
        sentence.contains("assignee waits alone") && sentence.contains("e-mail address"),
        "{sentence}"
    );
    let status = world.status();
    let syncs = status["syncs"].as_array().expect("syncs");
    let count: u64 = syncs.iter().map(|sync| number(&sync["fields_held"])).sum();
    assert_eq!(count as usize, held(&world).len());

    let calls = world.last_call();
    world.good_run();
    assert_eq!(
        world.writes_since(calls).len(),
        0,
        "a run that follows has nothing to write"
    );

    world.edit(
        "crm",
        "ticket",
        &ticket["id"],
        json!({ "assignee_email": assignee }),
    );
    world.good_run();
    assert_eq!(held_of(&record), None, "nothing waits any more");
    world.assert_in_step("after a field waited");
}

#[test]
fn a_new_record_goes_without_an_optional_field_that_is_refused() {
    let world = World::of(40, 51);
    world.good_run();
    let account = world.linked("crm", "account")[0]["id"].clone();
    let ticket = world.create(
        "crm",
        "ticket",
        json!({ "subject": "Printer", "account_id": account, "status": "new", "priority": "medium",
                "due_at": "2027-01-01T10:00:00Z", "assignee_email": "nobody@nowhere.example" }),
    );
    world.good_run();
    let made = world.record("crm", "ticket", &ticket);
    assert!(
        !made["counterpart"].is_null(),
        "{made:#}; set aside: {:?}",
        world.set_aside()
    );
    assert!(
        held(&world)
            .iter()
            .any(|held| text(held.get("sentence")).contains("assignee waits alone"))
    );
}
