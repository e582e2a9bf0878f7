//! Reconciliation: what change stamps do not show is found, listed, and then goes the way of every change. Edits against the flow are a choice.

use seamless_tests::{World, number, text};
use serde_json::{Value as Json, json};

fn world() -> World {
    let world = World::of(60, 41);
    world.good_run();
    world.an_hour_later();
    world
}

/// Exit code and report of a reconciliation.
fn reconcile(world: &World, more: &[&str]) -> (i32, Json) {
    let args = [&["reconcile", "--json"], more].concat();
    let ended = world.seamless(&args);
    assert!(matches!(ended.code, 0 | 4), "{ended:?}");
    let report = ended.json();
    assert!(number(&report["read"]) > 100, "{report:#}");
    (ended.code, report)
}

/// The one line about a record.
fn line<'a>(report: &'a Json, record: &str) -> &'a Json {
    let lines = report["drift"].as_array().expect("a list");
    let mut found = lines.iter().filter(|line| line["record"] == record);
    let line = found
        .next()
        .unwrap_or_else(|| panic!("{record} is not in {report:#}"));
    assert!(found.next().is_none(), "{report:#}");
    line
}

fn found(report: &Json) -> u64 {
    report["found"]
        .as_object()
        .expect("counts")
        .values()
        .map(number)
        .sum()
}

fn field(world: &World, system: &str, entity: &str, id: &Json, name: &str) -> Json {
    world.record(system, entity, id)["fields"][name].clone()
}

/// A linked record and its counterpart.
fn pair(world: &World, system: &str, entity: &str, at: usize) -> (Json, Json) {
    let id = world.linked(system, entity)[at]["id"].clone();
    let other = world.record(system, entity, &id)["counterpart"].clone();
    assert!(!other.is_null());
    (id, other)
}

#[test]
fn a_change_whose_stamp_did_not_move_is_found_told_and_brought() {
    let world = world();
    let before = world.last_call();
    let (code, report) = reconcile(&world, &["--repair"]);
    assert_eq!((code, found(&report)), (0, 0), "all is well: {report:#}");
    assert_eq!(world.writes_since(before).len(), 0, "and nothing is written");

    let (account, crm_account) = pair(&world, "autotask", "account", 0);
    let (contact, crm_contact) = pair(&world, "autotask", "contact", 3);
    let old = field(&world, "crm", "account", &crm_account, "city");
    world.edit_quietly("autotask", "account", &account, json!({ "city": "Quietly" }));
    // The other way round, and into a field of the other side.
    world.edit_quietly(
        "crm",
        "contact",
        &crm_contact,
        json!({ "last_name": "Nobody Saw" }),
    );
    world.good_run();
    assert_eq!(
        field(&world, "crm", "account", &crm_account, "city"),
        old,
        "no poll sees it"
    );

    let before = world.last_call();
    let (code, report) = reconcile(&world, &[]);
    assert_eq!((code, found(&report)), (4, 2), "{report:#}");
    let told = line(&report, &format!("autotask:{account}"));
    assert_eq!(told["kind"], "missed");
    assert_eq!(told["fields"]["address.city"]["new"], "Quietly");
    assert_eq!(told["fields"]["address.city"]["old"], old);
    let told = line(&report, &format!("crm:{}", text(Some(&crm_contact))));
    assert_eq!(
        (&told["kind"], &told["then"]),
        (&json!("missed"), &json!("published"))
    );
    assert_eq!(world.writes_since(before).len(), 0, "looking changes nothing");
    let (_, only_contacts) = reconcile_sync(&world, "contact");
    assert_eq!(found(&only_contacts), 1, "{only_contacts:#}");

    let (code, report) = reconcile(&world, &["--repair"]);
    assert_eq!((code, number(&report["remaining"])), (0, 0), "{report:#}");
    assert_eq!(field(&world, "crm", "account", &crm_account, "city"), "Quietly");
    assert_eq!(
        field(&world, "autotask", "contact", &contact, "lastName"),
        "Nobody Saw"
    );
    let why = world.seamless(&["explain", "account", &format!("autotask:{account}"), "--json"]);
    let decisions = why.json()["decisions"].clone();
    let at = |reason: &str| {
        let list = decisions.as_array().expect("decisions");
        list.iter().rposition(|decision| decision["reason"] == reason)
    };
    assert!(at("drift").is_some(), "{decisions:#}");
    world.assert_in_step("after a repair");

    let before = world.last_call();
    let (code, report) = reconcile(&world, &["--repair"]);
    assert_eq!((code, found(&report)), (0, 0), "{report:#}");
    assert_eq!(world.writes_since(before).len(), 0);
}

fn reconcile_sync(world: &World, sync: &str) -> (i32, Json) {
    let ended = world.seamless(&["reconcile", "--json", "--sync", sync]);
    (ended.code, ended.json())
}

#[test]
fn an_edit_against_the_flow_is_kept_restored_or_reported_and_listed_in_any_case() {
    let world = world();
    let (ticket, crm_ticket) = pair(&world, "autotask", "ticket", 1);
    let shown = format!("autotask:{ticket}");
    let right = field(&world, "autotask", "ticket", &ticket, "title");
    world.edit("autotask", "ticket", &ticket, json!({ "title": "By hand" }));
    world.good_run();
    assert_eq!(field(&world, "autotask", "ticket", &ticket, "title"), "By hand");

    for _ in 0..2 {
        let (code, report) = reconcile(&world, &["--repair"]);
        assert_eq!((code, number(&report["remaining"])), (4, 1), "{report:#}");
        let told = line(&report, &shown);
        assert_eq!(
            (&told["kind"], &told["then"]),
            (&json!("against_flow"), &json!("kept"))
        );
        assert_eq!(told["fields"]["title"], json!({ "old": right, "new": "By hand" }));
    }
    assert_eq!(field(&world, "autotask", "ticket", &ticket, "title"), "By hand");
    let of_ticket = |status: &Json| {
        let syncs = status["syncs"].as_array().expect("syncs").clone();
        syncs
            .into_iter()
            .find(|sync| sync["name"] == "ticket")
            .expect("the sync")
    };
    let sync = of_ticket(&world.status());
    assert_eq!(sync["drift"], json!({ "against_flow": 1 }));
    assert_eq!(sync["drift_reported"], 0);

    world.configure(
        "[syncs.ticket.fields]",
        "on_drift = \"report\"\n[syncs.ticket.fields]",
    );
    let (code, report) = reconcile(&world, &["--repair"]);
    assert_eq!((code, &line(&report, &shown)["then"]), (4, &json!("reported")));
    assert_eq!(of_ticket(&world.status())["drift_reported"], 1);
    assert_eq!(field(&world, "autotask", "ticket", &ticket, "title"), "By hand");

    // One field is more precious than the others.
    world.configure(
        "ticket_number = { from = \"autotask\" }",
        "ticket_number = { from = \"autotask\" }\ntitle = { on_drift = \"restore\" }",
    );
    let (code, report) = reconcile(&world, &["--repair"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(line(&report, &shown)["then"], "restored");
    assert_eq!(field(&world, "autotask", "ticket", &ticket, "title"), right);
    assert_eq!(of_ticket(&world.status())["drift_reported"], 0);
    let why = world.seamless(&[
        "explain",
        "ticket",
        &format!("crm:{}", text(Some(&crm_ticket))),
        "--json",
    ]);
    assert!(
        why.json().to_string().contains("By hand"),
        "what was overwritten is kept: {why:?}"
    );
    let (code, _) = reconcile(&world, &["--repair"]);
    assert_eq!(code, 0);
}

#[test]
fn an_emptied_field_is_restored_too_and_one_filled_against_an_empty_source_is_emptied() {
    let world = world();
    world.configure(
        "[syncs.ticket.fields]",
        "on_drift = \"restore\"\n[syncs.ticket.fields]",
    );
    let (full, crm_full) = pair(&world, "autotask", "ticket", 0);
    let (empty, crm_empty) = pair(&world, "autotask", "ticket", 2);
    world.edit("crm", "ticket", &crm_full, json!({ "body": "All of it" }));
    world.edit("crm", "ticket", &crm_empty, json!({ "body": null }));
    world.good_run();
    let description = |id: &Json| field(&world, "autotask", "ticket", id, "description");
    assert_eq!(description(&full), "All of it");
    world.edit("autotask", "ticket", &full, json!({ "description": null }));
    world.edit("autotask", "ticket", &empty, json!({ "description": "Unasked" }));
    let (code, report) = reconcile(&world, &["--repair"]);
    assert_eq!((code, found(&report)), (0, 2), "{report:#}");
    assert_eq!(description(&full), "All of it");
    assert!(
        description(&empty).is_null() || description(&empty) == "",
        "{}",
        description(&empty)
    );
}

#[test]
fn cleared_references_are_written_again_and_what_is_gone_or_renamed_is_told() {
    let world = world();
    // Autotask only receives tickets: no poll ever looks at this one.
    let (ticket, crm_ticket) = pair(&world, "autotask", "ticket", 0);
    let (account, crm_account) = pair(&world, "autotask", "account", 1);
    let (renamed, crm_renamed) = pair(&world, "autotask", "contact", 0);
    let (_, lost) = pair(&world, "autotask", "contact", 5);
    let udf = world.get("/config")["autotask"]["udf"].clone();
    let udf = text(Some(&udf)).to_owned();
    world.edit_quietly("autotask", "ticket", &ticket, json!({ udf.as_str(): null }));
    world.edit_quietly("crm", "account", &crm_account, json!({ "autotask_id": null }));
    world.edit_quietly(
        "autotask",
        "contact",
        &renamed,
        json!({ udf.as_str(): "C999999" }),
    );
    world.post(
        "/delete",
        json!({ "system": "crm", "entity": "contact", "id": lost }),
    );

    let before = world.last_call();
    let (code, report) = reconcile(&world, &["--repair"]);
    assert_eq!(
        (code, found(&report), number(&report["remaining"])),
        (4, 4, 2),
        "{report:#}"
    );
    let of_crm = |id: &Json| format!("crm:{}", text(Some(id)));
    assert_eq!(
        line(&report, &format!("autotask:{ticket}"))["kind"],
        "reference_cleared"
    );
    assert_eq!(line(&report, &of_crm(&crm_account))["then"], "written_back");
    assert_eq!(
        line(&report, &format!("autotask:{renamed}"))["kind"],
        "reference_changed"
    );
    assert_eq!(line(&report, &of_crm(&lost))["kind"], "gone");
    assert_eq!(field(&world, "autotask", "ticket", &ticket, &udf), crm_ticket);
    assert_eq!(
        text(Some(&field(
            &world,
            "crm",
            "account",
            &crm_account,
            "autotask_id"
        ))),
        account.to_string()
    );
    assert_eq!(
        field(&world, "autotask", "contact", &renamed, &udf),
        "C999999",
        "a person's word: not overwritten"
    );
    assert!(!crm_renamed.is_null());
    let writes = world.writes_since(before);
    assert_eq!(writes.len(), 2, "nobody creates, deletes or unlinks: {writes:#?}");
}

#[test]
fn a_running_host_reconciles_when_asked() {
    let world = world();
    let (account, crm_account) = pair(&world, "autotask", "account", 2);
    world.edit_quietly("autotask", "account", &account, json!({ "city": "Quietly" }));
    world.configure("poll_interval_secs = 1", "poll_interval_secs = 3600");
    let host = world.start(&["run"]);
    let mut code = 2;
    // It answers once it has reached its systems.
    for _ in 0..100 {
        let ended = world.seamless(&["reconcile", "--json", "--repair", "--sync", "account"]);
        code = ended.code;
        if code == 0 && number(&ended.json()["found"]["missed"]) == 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(code, 0);
    for _ in 0..100 {
        if field(&world, "crm", "account", &crm_account, "city") == "Quietly" {
            return drop(host);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the running host did not bring it");
}
