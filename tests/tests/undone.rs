//! A 200 is no proof: a workflow rule may have taken the change back by the time it is read again.

use seamless_tests::{World, text};
use serde_json::json;

#[test]
fn a_change_that_a_workflow_rule_takes_back_is_told() {
    let world = World::of(40, 52);
    world.good_run();
    let ticket = world.linked("autotask", "ticket")[0]["id"].clone();
    let record = world.record("autotask", "ticket", &ticket);
    let (before, crm_ticket) = (record["fields"]["title"].clone(), record["counterpart"].clone());
    world.faults(json!({ "undone_write": { "next": 1, "system": "autotask", "path": "/Tickets" } }));
    world.edit("crm", "ticket", &crm_ticket, json!({ "subject": "Ruled out" }));
    world.good_run();
    assert_eq!(
        world.record("autotask", "ticket", &ticket)["fields"]["title"],
        before
    );
    let shown = format!("crm:{}", text(Some(&crm_ticket)));
    let why = world.seamless(&["explain", "ticket", &shown]);
    let said = "the other side confirmed the write and holds what it held before: a rule there";
    assert!(
        format!("{why:?}").contains(&format!("title waits: {said}")),
        "{why:?}"
    );
    let listed = world.seamless(&["status", "--parked", "50"]);
    assert!(
        format!("{listed:?}").contains(&format!("title waits alone: {said}")),
        "{listed:?}"
    );

    let calls = world.last_call();
    world.good_run();
    assert_eq!(world.writes_since(calls).len(), 0, "nobody fights with a rule");
    // The rule is gone, and somebody types it once more.
    world.edit("crm", "ticket", &crm_ticket, json!({ "subject": "Ruled in" }));
    world.good_run();
    assert_eq!(
        world.record("autotask", "ticket", &ticket)["fields"]["title"],
        "Ruled in"
    );
}
