//! Record content stays in the two systems and in sealed bytes: a marker in many fields is in no file, no log line, no bus row.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use seamless_tests::{World, number};
use serde_json::json;

const MARKER: &str = "Zyx7Qmarker";

/// The files under a folder that hold the marker, in any case, also with a zero byte after each character (UTF-16).
fn leaks(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(leaks(&path));
        } else if path.is_file() {
            let mut bytes = fs::read(&path).unwrap();
            bytes.make_ascii_lowercase();
            let wide: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
            let marker = MARKER.to_lowercase();
            if [&bytes, &wide].iter().any(|bytes| {
                bytes
                    .windows(marker.len())
                    .any(|window| window == marker.as_bytes())
            }) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Values that are carried over, values that are refused, values that make records wait or be set aside.
fn plant(world: &World) {
    let long = MARKER.repeat(30);
    let owner = world.get("/config")["autotask"]["default_owner_id"].clone();
    let name = |what: &str| format!("{MARKER} {what}");
    let account = world.create("crm", "account", json!({
        "name": name("Ltd"), "zip": "10001", "city": name("City"), "street": name("Street"), "website": format!("https://{MARKER}.example"),
        "phone": name("1"), "number": name("7"), "type": "customer",
    }));
    world.create(
        "crm",
        "account",
        json!({ "name": long, "zip": "10002", "country": MARKER, "type": MARKER }),
    );
    world.create("crm", "contact", json!({
        "account_id": account, "first_name": MARKER, "last_name": MARKER, "email": format!("{MARKER}@example.test"), "city": long,
    }));
    world.create(
        "crm",
        "contact",
        json!({ "account_id": account, "last_name": MARKER, "email": format!("{MARKER}-not-an-address") }),
    );
    world.create("autotask", "account", json!({
        "companyName": name("GmbH"), "postalCode": MARKER, "city": MARKER, "phone": MARKER, "companyType": 1, "ownerResourceID": owner,
    }));
    for twin in ["a", "b"] {
        world.create("autotask", "account", json!({
            "companyName": name("Twins"), "postalCode": "10003", "city": twin, "phone": "1", "companyType": 1, "ownerResourceID": owner,
        }));
    }
    world.create(
        "crm",
        "account",
        json!({ "name": name("Twins"), "zip": "10003", "type": "customer" }),
    );
    for (system, entity, field) in [
        ("crm", "account", "city"),
        ("autotask", "account", "address1"),
        ("autotask", "contact", "lastName"),
    ] {
        for record in world.records(system, entity).iter().take(5) {
            world.edit(system, entity, &record["id"], json!({ field: MARKER }));
        }
    }
}

#[test]
fn a_marker_in_record_fields_is_in_no_file_no_log_line_and_no_bus_row() {
    let world = World::of(60, 21);
    plant(&world);
    // First with messages left on the bus, because the CRM takes nothing, and killed while it is at it.
    world.faults(json!({ "unavailable": { "probability": 1.0, "system": "crm", "on": "writes" } }));
    world
        .start(&["run", "--once", "--accept", "--log", "trace"])
        .kill_after(Duration::from_secs(4));
    let queued = number(&world.status()["queues"]["crm"]["depth"]);
    assert!(queued > 5, "messages wait on the bus: {queued}");
    assert_eq!(
        leaks(&world.data()),
        Vec::<String>::new(),
        "with messages on the bus"
    );

    // Then to the end, with refused writes and lost answers.
    world.faults(json!({
        "error_500": { "next": 3, "on": "writes" }, "lost_answer": { "next": 3, "system": "autotask" },
    }));
    let done = world.seamless(&["run", "--once", "--accept", "--log", "trace"]);
    assert_eq!(done.code, 4, "something is set aside: {done:?}");
    world.assert_in_step("after a run with faults");
    // The tenant's folder has the data folder in it, and all that the commands said. Content is shown where a person asks for it: the
    // sentences of `status --parked` may quote the value that is wrong.
    let leaked: Vec<String> = leaks(world.folder())
        .into_iter()
        .filter(|file| !file.ends_with("-status.out"))
        .collect();
    assert_eq!(leaked, Vec::<String>::new());
}

#[test]
fn the_marker_would_be_found() {
    let world = World::of(10, 22);
    plant(&world);
    world.good_run();
    let account = world
        .linked("crm", "account")
        .into_iter()
        .find(|record| record["fields"]["city"] == MARKER)
        .unwrap();
    // `explain` is where content is shown: on a terminal, on request.
    let id = account["id"].as_str().unwrap();
    let explained = world.seamless(&["explain", "account", &format!("crm:{id}")]);
    assert!(explained.stdout.contains(MARKER), "{explained:?}");
    assert_eq!(
        leaks(world.folder()).len(),
        1,
        "the output of explain, and nothing else"
    );
}
