//! Runs of the real binary against the sandbox: what they do, and how they fail.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{Tenant, finish, text};
use seamless_sandbox::{Config, Fault, Faults, System};
use serde_json::{Value as Json, json};

fn small() -> Config {
    Config {
        records: 120,
        ..Config::default()
    }
}

fn writes(tenant: &Tenant) -> u64 {
    tenant.sandbox.stats()["writes"].as_u64().unwrap()
}

/// Loads both ways and expects the host to settle.
async fn load(tenant: &Tenant) -> Json {
    let (exit, summary) = tenant.json(&["run", "--once"]).await;
    assert!([0, 4].contains(&exit), "{exit} {summary:#}");
    assert_eq!(summary["settled"], true, "{summary:#}");
    summary
}

fn assert_true_to_people(tenant: &Tenant) {
    let truth = tenant.sandbox.truth(System::Autotask);
    for name in ["duplicates", "lost_edits", "echo_writes"] {
        assert_eq!(truth[name], 0, "{name}: {truth:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_load_settles_and_the_next_run_writes_nothing() {
    let tenant = Tenant::start(Config {
        records: 300,
        ..Config::default()
    })
    .await;
    let (exit, report) = tenant.json(&["check"]).await;
    assert_eq!((exit, &report["ok"]), (0, &json!(true)), "{report:#}");
    let summary = load(&tenant).await;
    assert!(summary["linked"].as_u64().unwrap() > 100, "{summary:#}");
    assert_true_to_people(&tenant);

    let before = writes(&tenant);
    let again = load(&tenant).await;
    assert_eq!(writes(&tenant), before, "{again:#}");
    assert_true_to_people(&tenant);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_one_field_is_one_write_and_can_be_explained() {
    let tenant = Tenant::start(Config {
        mess: false,
        ..small()
    })
    .await;
    load(&tenant).await;
    let (_, records) = tenant
        .sandbox
        .admin("GET", "/records?system=crm&entity=account&limit=1", &Json::Null);
    let id = records["records"][0]["id"].as_str().unwrap().to_owned();
    let edit =
        json!({"system": "crm", "entity": "account", "id": id, "fields": {"city": "Troy"}, "label": "moved"});
    assert_eq!(tenant.sandbox.admin("POST", "/edit", &edit).0, 200);

    let before = writes(&tenant);
    let summary = load(&tenant).await;
    assert_eq!(writes(&tenant), before + 1, "{summary:#}");
    assert_true_to_people(&tenant);

    let (exit, why) = tenant.json(&["explain", "account", &format!("crm:{id}")]).await;
    assert_eq!(exit, 0, "{why:#}");
    assert_eq!(why["fields"]["address.city"]["here"], "Troy");
    assert_eq!(why["fields"]["address.city"]["there"], "Troy");
    let last = why["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["reason"], &last["fields"][0]["after"]),
        (&json!("updated"), &json!("Troy")),
        "{why:#}"
    );
    let shown = tenant.run(&["explain", "account", &format!("crm:{id}")]).await;
    assert!(
        text(&shown.stdout).contains("address.city"),
        "{}",
        text(&shown.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_message_and_exit_code() {
    let tenant = Tenant::start(small()).await;
    let endless = Fault {
        next: 1_000,
        ..Fault::chance(0.0)
    };
    let of = |system| endless.clone().of(system);
    let cases: [(&str, Faults, i32, &str, &str); 4] = [
        (
            "dead autotask",
            Faults {
                autotask_dead: true,
                ..Faults::default()
            },
            3,
            "unavailable",
            "",
        ),
        (
            "dead crm",
            Faults {
                crm_dead: true,
                ..Faults::default()
            },
            3,
            "unavailable",
            "",
        ),
        (
            "endless",
            Faults {
                endless_paging: of(System::Crm),
                ..Faults::default()
            },
            3,
            "protocol",
            "page",
        ),
        (
            "huge",
            Faults {
                huge_body: of(System::Crm),
                ..Faults::default()
            },
            3,
            "limit",
            "",
        ),
    ];
    for (name, faults, exit, kind, part) in cases {
        tenant.sandbox.set_faults(faults);
        let (code, document) = tenant.json(&["run", "--once"]).await;
        assert_eq!(
            (code, &document["error"]["kind"]),
            (exit, &json!(kind)),
            "{name}: {document:#}"
        );
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{name}: {message}");
    }
    tenant.sandbox.set_faults(Faults::default());
    load(&tenant).await;
    assert_true_to_people(&tenant);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_stop_at_once_and_no_secret_is_told() {
    let tenant = Tenant::start(small()).await;
    let mut command = tenant.command(&["run", "--once", "--json", "--log", "trace"]);
    command.env("AT_SECRET", "hunter2-hunter2");
    let output = finish(command).await;
    let document: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &document["error"]["kind"]),
        (Some(3), &json!("auth")),
        "{document:#}"
    );
    for told in [text(&output.stdout), text(&output.stderr)] {
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_user_defined_field_is_named_before_anything_is_written() {
    let config = Config {
        udf_missing_on: vec!["Contact".to_owned()],
        ..small()
    };
    let tenant = Tenant::start(config).await;
    let (exit, report) = tenant.json(&["check"]).await;
    assert_eq!(exit, 3, "{report:#}");
    assert!(report.to_string().contains("CRM ID"), "{report:#}");
    let (exit, document) = tenant.json(&["run", "--once"]).await;
    assert_eq!(
        (exit, &document["error"]["kind"]),
        (3, &json!("refused")),
        "{document:#}"
    );
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("udf.CRM ID"),
        "{document:#}"
    );
    assert_eq!(writes(&tenant), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_setting_is_shown_with_its_place() {
    let tenant = Tenant::start(small()).await;
    tenant.configure(|text| text.replace("default_owner_resource_id", "default_owner_ressource_id"));
    let (exit, document) = tenant.json(&["check", "--offline"]).await;
    assert_eq!(exit, 2, "{document:#}");
    assert!(
        document
            .to_string()
            .contains("did you mean 'default_owner_resource_id'?"),
        "{document:#}"
    );
    let (exit, document) = tenant.json(&["run", "--once"]).await;
    let error = &document["error"];
    assert_eq!(
        (exit, &error["line"], &error["column"]),
        (2, &json!(12), &json!(1)),
        "{document:#}"
    );
    assert_eq!(error["key"], "systems.autotask.default_owner_ressource_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_lost_damaged_or_another_tenants_is_refused() {
    let tenant = Tenant::start(small()).await;
    load(&tenant).await;
    let before = writes(&tenant);
    let data = tenant.path("data");
    let file = data.join("seamless.db");
    let whole = std::fs::read(&file).unwrap();

    let mut damaged = whole.clone();
    for byte in damaged.iter_mut().skip(8_192).take(40_960) {
        *byte = 0x5a;
    }
    std::fs::write(&file, &damaged).unwrap();
    let (exit, document) = tenant.json(&["run", "--once"]).await;
    assert_eq!(
        (exit, &document["error"]["kind"]),
        (1, &json!("storage")),
        "{document:#}"
    );
    assert!(document.to_string().contains("restore a backup"), "{document:#}");

    std::fs::write(&file, &whole).unwrap();
    tenant.configure(|text| text.replace("\"acme\"", "\"other\""));
    let (exit, document) = tenant.json(&["run", "--once"]).await;
    assert!(exit == 3 || exit == 1, "{document:#}");
    assert!(
        document["error"]["message"].as_str().unwrap().contains("acme"),
        "{document:#}"
    );

    tenant.configure(|text| text);
    std::fs::remove_dir_all(&data).unwrap();
    let (exit, document) = tenant.json(&["run", "--once"]).await;
    assert_eq!(
        (exit, &document["error"]["kind"]),
        (3, &json!("refused")),
        "{document:#}"
    );
    assert!(document.to_string().contains("links rebuild"), "{document:#}");
    assert_eq!(writes(&tenant), before);

    // The real data are put back: nothing was lost.
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::write(&file, &whole).unwrap();
    load(&tenant).await;
    assert_eq!(writes(&tenant), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_secrets_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let tenant = Tenant::start(small()).await;
    let keys = tenant.path("keys.json");
    let mode = |mode| std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(
        std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777,
        0o600
    );
    mode(0o640);
    let (exit, document) = tenant.json(&["status"]).await;
    assert_eq!(exit, 2, "{document:#}");
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("chmod 600"),
        "{document:#}"
    );
    mode(0o600);

    let before = std::fs::read(&keys).unwrap();
    let (exit, document) = tenant
        .json(&["keys", "generate", "--out", keys.to_str().unwrap()])
        .await;
    assert_eq!(
        (exit, &document["error"]["kind"]),
        (3, &json!("refused")),
        "{document:#}"
    );
    assert_eq!(std::fs::read(&keys).unwrap(), before);

    let mut command = tenant.command(&["run", "--once", "--json"]);
    command.env_remove("CRM_TOKEN");
    let output = finish(command).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stdout).contains("CRM_TOKEN is not set"),
        "{}",
        text(&output.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_host_answers_keeps_others_out_and_stops_gracefully() {
    let tenant = Tenant::start(small()).await;
    tenant.configure(|text| text + "poll_interval_secs = 1\n");
    let mut running = tenant
        .command(&["run"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_loaded = |status: &Json| {
        let depth: u64 = ["autotask", "crm"]
            .iter()
            .filter_map(|name| status["queues"][name]["depth"].as_u64())
            .sum();
        status["running"] == true && status["used"] == true && depth == 0
    };
    let mut status = Json::Null;
    for _ in 0..100 {
        status = tenant.json(&["status"]).await.1;
        if is_loaded(&status) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(is_loaded(&status), "{status:#}");

    let (exit, document) = tenant.json(&["run", "--once"]).await;
    assert_eq!(
        (exit, &document["error"]["kind"]),
        (3, &json!("refused")),
        "{document:#}"
    );
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("another host"),
        "{document:#}"
    );
    let (exit, parked) = tenant.json(&["status", "--parked"]).await;
    assert!(
        [0, 4].contains(&exit) && parked["records"].is_array(),
        "{parked:#}"
    );
    let (exit, document) = tenant.json(&["explain", "account", "autotsk:1"]).await;
    assert_eq!(exit, 3, "{document:#}");
    assert!(
        document.to_string().contains("did you mean 'autotask'?"),
        "{document:#}"
    );

    let pid = running.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = tokio::task::spawn_blocking(move || running.wait())
        .await
        .unwrap()
        .unwrap();
    assert!([Some(0), Some(4)].contains(&ended.code()), "{ended}");
    load(&tenant).await;
    assert_true_to_people(&tenant);
}
