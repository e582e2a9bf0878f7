//! `check --conformance` of the real binary, against the sandbox.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod common;

use common::{Tenant, text};
use seamless_sandbox::Config;
use serde_json::Value as Json;

fn outcome<'a>(badge: &'a Json, case: &str) -> &'a str {
    let cases = badge["cases"].as_array().unwrap();
    let tried = cases.iter().find(|tried| tried["case"] == case);
    tried.unwrap_or_else(|| panic!("no case '{case}': {badge:#}"))["outcome"]
        .as_str()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_badge_shows_what_is_kept_and_writes_only_when_told_to() {
    let tenant = Tenant::start(Config {
        records: 60,
        ..Config::default()
    })
    .await;
    let writes = || tenant.sandbox.stats()["writes"].as_u64().unwrap();
    let (exit, report) = tenant.json(&["check", "--conformance"]).await;
    assert_eq!((exit, writes()), (0, 0), "{report:#}");
    let badges = report["conformance"].as_array().unwrap();
    let named: Vec<String> = badges
        .iter()
        .map(|badge| format!("{} {}", badge["system"], badge["entity"]))
        .collect();
    assert_eq!(named.len(), 4, "{named:?}");
    for badge in badges {
        for case in [
            "pages lose nothing",
            "lists since a stamp",
            "lists and single reads agree",
            "missing ids are left out",
        ] {
            assert_eq!(outcome(badge, case), "kept", "{badge:#}");
        }
    }

    // The sandbox's CRM deletes nothing, so the record stays, and is named: done, with something left for a person.
    let (exit, report) = tenant.json(&["check", "--conformance", "crm", "--write"]).await;
    assert_eq!(exit, 4, "{report:#}");
    let accounts = &report["conformance"][0];
    for case in [
        "a create arrives",
        "a create is found",
        "an update changes what was sent",
        "an old version is refused",
    ] {
        assert_eq!(outcome(accounts, case), "kept", "{accounts:#}");
    }
    assert_eq!(
        accounts["left_behind"].as_array().unwrap().len(),
        1,
        "{accounts:#}"
    );
    let shown = text(&tenant.run(&["check", "--conformance", "crm"]).await.stdout);
    assert!(
        shown.contains("crm accounts, conformance\n  declared: lists of changes"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_is_not_kept_is_exit_code_3() {
    let tenant = Tenant::start(Config {
        records: 60,
        ..Config::default()
    })
    .await;
    // A parameter that the system does not know: it is ignored, and everything comes.
    let manifest = std::fs::read_to_string(tenant.path("crm.toml")).unwrap();
    let wrong = manifest.replace("\"modified_since\"", "\"modified_after\"");
    std::fs::write(tenant.path("crm.toml"), wrong).unwrap();
    let (exit, report) = tenant.json(&["check", "--conformance", "crm"]).await;
    assert_eq!(exit, 3, "{report:#}");
    assert_eq!(
        outcome(&report["conformance"][0], "nothing is changed tomorrow"),
        "broken"
    );
    assert_eq!(outcome(&report["conformance"][0], "lists since a stamp"), "kept");

    // What cannot work at all is told by the check itself, and not tried.
    tenant.configure(|text| {
        text.replace("sandbox-secret", "other")
            .replace("env = \"AT_SECRET\"", "env = \"NO_SUCH_NAME\"")
    });
    let (exit, report) = tenant.json(&["check", "--conformance"]).await;
    assert_eq!(
        (exit, report["conformance"].as_array().unwrap().len()),
        (2, 0),
        "{report:#}"
    );
}
