//! Everything that can be wrong from outside: each failure says what it is and what to do, ends with its exit code, and loses nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rusqlite::Connection;
use seamless_sandbox::Config;
use seamless_tests::{Ended, World, number, text};
use serde_json::{Value as Json, json};

/// Exit codes of `seamless --help`.
const FAILURE: i32 = 1;
const CONFIG: i32 = 2;
const REFUSED: i32 = 3;
const ATTENTION: i32 = 4;

/// The exit code, and words that the message must have, in any case.
fn assert_fails(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, code, "{ended:?}");
    let said = ended.said().to_lowercase();
    for word in words {
        assert!(
            said.contains(&word.to_lowercase()),
            "nobody says {word:?}: {ended:?}"
        );
    }
    assert!(!said.contains("panicked"), "{ended:?}");
}

/// A failure of one system leaves everything as it was; once it is over, a run ends well.
fn assert_recovers(world: &World) {
    world.faults(json!({}));
    world.good_run();
    world.assert_in_step("after the failure was over");
}

#[test]
fn a_wrong_password_names_the_system_and_writes_nothing() {
    for (secret, system) in [("autotask-secret", "autotask"), ("crm-token", "crm")] {
        let world = World::of(30, 11);
        let right = fs::read_to_string(world.path(&format!("secrets/{secret}"))).unwrap();
        world.private(&format!("secrets/{secret}"), "wrong-horse-battery");
        let calls = world.last_call();
        let ended = world.run_once();
        assert_fails(&ended, REFUSED, &[system, "401"]);
        assert!(
            !ended.said().contains("wrong-horse-battery"),
            "a secret is told: {ended:?}"
        );
        assert!(world.writes_since(calls).is_empty());
        assert_fails(&world.seamless(&["check"]), REFUSED, &[system]);
        world.private(&format!("secrets/{secret}"), &right);
        assert_recovers(&world);
    }
}

#[test]
fn a_dead_server_is_named_and_the_next_run_goes_on() {
    for (fault, system) in [("autotask_dead", "autotask"), ("crm_dead", "crm")] {
        let world = World::of(30, 12);
        world.faults(json!({ (fault): true }));
        assert_fails(&world.run_once(), REFUSED, &[system, "connect"]);
        world.faults(json!({}));
        world.good_run();
        let account = world.linked("crm", "account")[0]["id"].clone();
        world.edit("crm", "account", &account, json!({ "city": "Troy" }));
        world.faults(json!({ (fault): true }));
        assert_fails(&world.run_once(), REFUSED, &[system]);
        assert_recovers(&world);
        let other = &world.record("crm", "account", &account)["counterpart"];
        assert_eq!(
            world.record("autotask", "account", other)["fields"]["city"],
            "Troy"
        );
    }
}

#[test]
fn a_missing_user_defined_field_is_named_before_anything_is_written() {
    let missing = [
        Config {
            udf: None,
            records: 20,
            ..Config::default()
        },
        Config {
            udf_missing_on: vec!["Contact".to_owned()],
            records: 20,
            ..Config::default()
        },
    ];
    for config in missing {
        let world = World::new(config);
        let ended = world.run_once();
        assert_fails(&ended, REFUSED, &["CRM ID"]);
        assert!(world.writes_since(0).is_empty(), "{ended:?}");
        assert_fails(&world.seamless(&["check"]), REFUSED, &["CRM ID"]);
    }
}

#[test]
fn a_misspelt_setting_is_told_with_its_place_and_a_suggestion() {
    let cases: [(&str, &str, i32, &[&str]); 5] = [
        (
            "data_dir",
            "data_dri",
            CONFIG,
            &["data_dri", "did you mean 'data_dir'", "tenant.toml"],
        ),
        (
            "poll_interval_secs",
            "poll_intervall_secs",
            CONFIG,
            &["poll_intervall_secs", "did you mean 'poll_interval_secs'"],
        ),
        (
            "search_lag_secs = 1",
            "serch_lag_secs = 1",
            CONFIG,
            &["serch_lag_secs", "search_lag_secs", "autotask"],
        ),
        (
            "[syncs.contact]\n",
            "[syncs.account.map.crm]\nphnoe = \"phone\"\n\n[syncs.contact]\n",
            CONFIG,
            &["phnoe", "did you mean 'phone'"],
        ),
        (
            "[syncs.contact]\n",
            "[syncs.account.map.autotask]\nphone = \"phoen\"\n\n[syncs.contact]\n",
            REFUSED,
            &["phoen", "autotask"],
        ),
    ];
    for (right, wrong, code, words) in cases {
        let world = World::of(10, 13);
        world.configure(right, wrong);
        let ended = world.run_once();
        assert_fails(&ended, code, words);
        assert!(world.writes_since(0).is_empty(), "{ended:?}");
        world.configure(wrong, right);
        assert_recovers(&world);
    }
}

#[test]
fn a_second_host_on_the_same_folder_refuses() {
    let world = World::of(20, 14);
    world.good_run();
    let mut first = world.start(&["run"]);
    wait_until("the first host answers", || world.status()["running"] == true);
    assert_fails(&world.run_once(), REFUSED, &["another host", "pid"]);
    assert!(first.is_alive(), "the first host goes on");
    first.kill();
    assert_recovers(&world);
}

#[test]
fn a_corrupted_database_is_left_alone_and_a_backup_goes_on() {
    let world = World::of(60, 15);
    world.good_run();
    let file = world.data().join("seamless.db");
    let backup = fs::read(&file).unwrap();
    let damaged = fs::OpenOptions::new().write(true).open(&file).unwrap();
    for page in 1..backup.len() as u64 / 4096 {
        damaged.write_all_at(&[0xa5; 512], page * 4096).unwrap();
    }
    let damaged = fs::read(&file).unwrap();
    let calls = world.last_call();
    assert_fails(&world.run_once(), FAILURE, &["seamless.db", "damaged"]);
    assert_eq!(fs::read(&file).unwrap(), damaged, "the file is left as it is");
    assert!(world.writes_since(calls).is_empty());
    world.private("data/seamless.db", "");
    assert_fails(&world.run_once(), FAILURE, &["seamless.db"]);
    fs::write(&file, backup).unwrap();
    assert_recovers(&world);
}

/// The links and cursors of what came after the backup are gone. Its records name their counterparts: they are linked again, not created.
#[test]
fn an_old_backup_makes_no_duplicate_and_takes_no_edit_back() {
    let world = World::of(60, 17);
    world.good_run();
    let file = world.data().join("seamless.db");
    let backup = fs::read(&file).unwrap();

    world.create(
        "crm",
        "account",
        json!({ "name": "Late Dairy", "zip": "12180", "city": "Troy" }),
    );
    let owner = world.get("/config")["autotask"]["default_owner_id"].clone();
    let made = json!({ "companyName": "Late Bakery", "companyType": 1, "phone": "518-555-0101", "postalCode": "12207", "ownerResourceID": owner });
    let bakery = world.create("autotask", "account", made);
    let pairs = world.linked("crm", "account");
    let [first, second] = [&pairs[0]["id"], &pairs[1]["id"]];
    world.edit("crm", "account", first, json!({ "city": "Utica" }));
    world.edit(
        "autotask",
        "account",
        &world.record("crm", "account", second)["counterpart"],
        json!({ "city": "Rome" }),
    );
    world.good_run();
    let after = world.last_call();

    for name in ["seamless.db-wal", "seamless.db-shm"] {
        drop(fs::remove_file(world.data().join(name)));
    }
    fs::write(&file, backup).unwrap();
    // Life goes on before anybody runs it again.
    world.edit("autotask", "account", &bakery, json!({ "city": "Elmira" }));
    world.good_run();
    world.assert_in_step("after an old backup was restored");
    let written = world.writes_since(after);
    assert!(
        written.iter().all(|call| call["effect"] != "create"),
        "created again: {written:#?}"
    );
    for (id, city) in [(first, "Utica"), (second, "Rome")] {
        assert_eq!(world.record("crm", "account", id)["fields"]["city"], city);
    }
}

#[test]
fn a_lost_database_is_refused_before_anything_is_written() {
    let world = World::of(60, 16);
    world.good_run();
    fs::rename(world.data(), world.path("kept")).unwrap();
    let calls = world.last_call();
    assert_fails(&world.run_once(), REFUSED, &["empty"]);
    assert!(
        world.writes_since(calls).is_empty(),
        "nothing may be written without the links"
    );
    // The refusal has to last: the second try knows no more than the first.
    assert_fails(&world.run_once(), REFUSED, &["empty"]);
    assert!(world.writes_since(calls).is_empty());
    fs::remove_dir_all(world.data()).unwrap();
    fs::rename(world.path("kept"), world.data()).unwrap();
    assert_recovers(&world);
    assert!(world.writes_since(calls).is_empty());
}

#[test]
fn a_truncated_message_is_set_aside_and_the_record_is_not_lost() {
    let world = World::of(30, 17);
    let account = world_with_a_message_on_the_bus(&world);
    let bus = Connection::open(world.data().join("seamless.db")).unwrap();
    let cut = bus
        .execute(
            "UPDATE message SET body = substr(body, 1, 40) WHERE state <> 2",
            [],
        )
        .unwrap();
    drop(bus);
    assert_eq!(cut, 1, "one message was on the bus");
    world.faults(json!({}));
    assert_unopened(&world, &account);
}

#[test]
fn an_envelope_of_another_tenant_is_never_opened() {
    let world = World::of(30, 18);
    let account = world_with_a_message_on_the_bus(&world);
    // The same keys, as an operator with several tenants might have it: the tenant itself must keep them apart.
    let foreign = World::of(30, 18);
    foreign.configure("tenant = \"demo\"", "tenant = \"other\"");
    foreign.private("keys.json", &fs::read_to_string(world.path("keys.json")).unwrap());
    world_with_a_message_on_the_bus(&foreign);
    let theirs = Connection::open(foreign.data().join("seamless.db")).unwrap();
    let body: Vec<u8> = theirs
        .query_row("SELECT body FROM message WHERE state <> 2", [], |row| row.get(0))
        .unwrap();
    let ours = Connection::open(world.data().join("seamless.db")).unwrap();
    assert_eq!(
        ours.execute("UPDATE message SET body = ?1 WHERE state <> 2", [body])
            .unwrap(),
        1
    );
    drop(ours);
    world.faults(json!({}));
    assert_unopened(&world, &account);
    // The whole database of another tenant is refused as well.
    let ended = {
        world.configure("tenant = \"demo\"", "tenant = \"other\"");
        world.run_once()
    };
    assert_fails(&ended, REFUSED, &["demo", "other"]);
}

/// A linked account was edited in Autotask, and the message about it cannot be applied yet. Returns the account.
fn world_with_a_message_on_the_bus(world: &World) -> Json {
    world.good_run();
    let account = world.linked("autotask", "account")[0]["id"].clone();
    world.edit("autotask", "account", &account, json!({ "city": "Cohoes" }));
    world.faults(json!({ "unavailable": { "probability": 1.0, "system": "crm", "on": "writes" } }));
    // Whether it gives up by itself or is killed: the message stays.
    world.start(&["run", "--once"]).kill_after(Duration::from_secs(3));
    account
}

/// The message is set aside, counted, and told; the next edit of the record goes its way.
fn assert_unopened(world: &World, account: &Json) {
    let ended = world.run_once();
    assert_fails(&ended, ATTENTION, &[]);
    assert_eq!(number(&ended.json()["dead_letters"]), 1, "{ended:?}");
    let status = world.seamless(&["status"]);
    assert_fails(&status, ATTENTION, &["cannot be opened"]);
    world.edit("autotask", "account", account, json!({ "city": "Watervliet" }));
    let again = world.run_once();
    assert_eq!(again.code, ATTENTION, "{again:?}");
    let other = &world.record("autotask", "account", account)["counterpart"];
    assert_eq!(
        world.record("crm", "account", other)["fields"]["city"],
        "Watervliet"
    );
    world.assert_in_step("after a message was set aside");
}

#[test]
fn a_server_that_breaks_its_protocol_is_named_and_nothing_is_lost() {
    let always = |system: &str| json!({ "probability": 1.0, "system": system, "on": "reads" });
    // `None`: Autotask is read by `id >`, so that its address of a next page plays no part.
    let cases: [(&str, &str, Option<&[&str]>); 9] = [
        ("autotask", "endless_paging", None),
        ("autotask", "foreign_next_page", None),
        ("crm", "endless_paging", Some(&["page"])),
        ("autotask", "huge_body", Some(&["bytes"])),
        ("crm", "huge_body", Some(&["bytes"])),
        ("autotask", "truncated_body", Some(&["json"])),
        ("crm", "truncated_body", Some(&["json"])),
        ("autotask", "cut_body", Some(&[])),
        ("crm", "cut_body", Some(&[])),
    ];
    for (system, fault, words) in cases {
        println!("{system} {fault}");
        let world = World::of(60, 19);
        world.faults(json!({ (fault): always(system) }));
        let Some(words) = words else {
            world.good_run();
            world.assert_in_step(fault);
            assert!(
                number(&world.get("/stats")[system]["faults"][fault]) > 0,
                "the fault struck"
            );
            continue;
        };
        let ended = world.run_once();
        assert_fails(&ended, REFUSED, &[&[system], words].concat());
        assert!(world.writes_since(0).is_empty(), "{ended:?}");
        world.faults(json!({}));
        assert_eq!(world.seamless(&["check"]).code, 0);
    }
}

#[test]
fn a_host_that_runs_for_ever_outlives_a_failure() {
    let world = World::of(40, 20);
    world.good_run();
    let mut host = world.start(&["run"]);
    wait_until("the host answers", || world.status()["running"] == true);
    let account = world.linked("autotask", "account")[0]["id"].clone();
    let other = world.record("autotask", "account", &account)["counterpart"].clone();
    world.faults(json!({ "crm_dead": true }));
    world.edit("autotask", "account", &account, json!({ "city": "Menands" }));
    wait_until("status tells the trouble", || {
        let troubles = world.status()["troubles"].to_string();
        troubles.contains("crm")
    });
    assert!(host.is_alive());
    world.faults(json!({}));
    wait_until("the edit arrives", || {
        world.record("crm", "account", &other)["fields"]["city"] == "Menands"
    });
    host.kill();
    world.assert_in_step("after an outage");
    assert!(!text(world.status().get("tenant")).is_empty());
}

/// Looks again and again, up to half a minute.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not within 30 seconds: {what}");
}
