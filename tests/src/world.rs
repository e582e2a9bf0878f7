//! A sandbox, and a tenant folder that points to it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use seamless_sandbox::{Config, Sandbox};
use seamless_testkit::sim::connectors::same_to_a_person;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::process::{Ended, Running};

/// Longest run of one command.
const RUN_MAX: Duration = Duration::from_secs(60);
/// The sandbox lists this many details, then only counts.
const DETAILS_MAX: usize = 50;
const SECRETS: [(&str, &str); 3] = [
    ("autotask-secret", "/autotask/secret"),
    ("autotask-integration-code", "/autotask/integration_code"),
    ("crm-token", "/crm/token"),
];

/// Two simulated systems and a tenant of its own. Everything goes when it is dropped.
pub struct World {
    // Before the runtime, whose threads it lives on.
    sandbox: Sandbox,
    runtime: Runtime,
    folder: TempDir,
    commands: AtomicU32,
}

impl World {
    /// Small messy systems.
    pub fn of(records: usize, seed: u64) -> World {
        // These tests are about other things than the hourly limit.
        World::new(Config {
            records,
            seed,
            crm_tickets: records / 6,
            crm_opportunities: records / 12,
            hourly_limit: 1_000_000,
            ..Config::default()
        })
    }

    /// Starts the sandbox and writes the tenant of the demo, with short waits.
    pub fn new(config: Config) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let sandbox = runtime
            .block_on(Sandbox::start(config))
            .expect("loopback ports are there");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let world = World {
            sandbox,
            runtime,
            folder,
            commands: AtomicU32::new(0),
        };
        world.write_tenant();
        world
    }

    fn write_tenant(&self) {
        let config = self.get("/config");
        fs::create_dir(self.path("secrets")).expect("a folder can be made");
        for (name, place) in SECRETS {
            self.private(&format!("secrets/{name}"), text(config.pointer(place)));
        }
        let tenant = demo_tenant(
            &self.sandbox.autotask_url,
            &self.sandbox.crm_url,
            text(config.pointer("/autotask/user")),
            number(&config["autotask"]["default_owner_id"]),
            number(&config["autotask"]["default_queue_id"]),
        )
        .replace("patience_secs = 10", "patience_secs = 2");
        fs::write(self.path("tenant.toml"), tenant).expect("the tenant can be written");
        fs::write(self.path("sandbox-crm.toml"), seamless_rest::SANDBOX_CRM)
            .expect("the manifest can be written");
        let keys = self.seamless(&["keys", "generate", "--out", "keys.json"]);
        assert_eq!(keys.code, 0, "{keys:?}");
    }

    /// Writes a file that only its owner can read, over an earlier one.
    pub fn private(&self, name: &str, content: &str) {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(name))
            .expect("a file can be written");
        file.write_all(content.as_bytes()).expect("a file can be written");
    }

    /// A path in the tenant's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Changes the configuration; what is replaced must be there.
    pub fn configure(&self, from: &str, to: &str) {
        let file = self.path("tenant.toml");
        let tenant = fs::read_to_string(&file).expect("the tenant can be read");
        assert!(tenant.contains(from), "tenant.toml has no {from:?}");
        fs::write(file, tenant.replace(from, to)).expect("the tenant can be written");
    }

    /// Runs the binary in the tenant's folder to its end.
    pub fn seamless(&self, args: &[&str]) -> Ended {
        self.start(args).wait(RUN_MAX)
    }

    /// `run --once`, first-merge overwrites accepted.
    pub fn run_once(&self) -> Ended {
        self.seamless(&["run", "--once", "--accept", "--json"])
    }

    /// `run --once`, which must end well (0, or 4 when something is set aside).
    pub fn good_run(&self) -> Ended {
        let ended = self.run_once();
        assert!(matches!(ended.code, 0 | 4), "{ended:?}");
        assert_eq!(ended.json()["settled"], true, "{ended:?}");
        ended
    }

    /// Runs the binary with environment variables of its own.
    pub fn seamless_with(&self, environment: &[(&str, &str)], args: &[&str]) -> Ended {
        self.begin(environment, args).wait(RUN_MAX)
    }

    /// Starts the binary.
    pub fn start(&self, args: &[&str]) -> Running {
        self.begin(&[], args)
    }

    fn begin(&self, environment: &[(&str, &str)], args: &[&str]) -> Running {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let name = format!("{number:03}-{}", args.first().unwrap_or(&""));
        Running::start(self.folder.path(), &name, environment, args)
    }

    /// `status --json`.
    pub fn status(&self) -> Json {
        let ended = self.seamless(&["status", "--json"]);
        assert!(matches!(ended.code, 0 | 4), "{ended:?}");
        ended.json()
    }

    /// A `GET` on the sandbox's admin interface.
    pub fn get(&self, path: &str) -> Json {
        self.admin("GET", path, &Json::Null)
    }

    /// A `POST` on the sandbox's admin interface.
    pub fn post(&self, path: &str, body: Json) -> Json {
        self.admin("POST", path, &body)
    }

    fn admin(&self, method: &str, path: &str, body: &Json) -> Json {
        // Within the runtime: some faults start timers.
        let _within = self.runtime.enter();
        let (status, answer) = self.sandbox.admin(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// Replaces the fault set.
    pub fn faults(&self, faults: Json) {
        self.post("/faults", faults);
    }

    /// A person edits a record.
    pub fn edit(&self, system: &str, entity: &str, id: &Json, fields: Json) {
        self.post(
            "/edit",
            json!({ "system": system, "entity": entity, "id": id, "fields": fields, "label": "a person" }),
        );
    }

    /// The same, but the record's change stamp does not show it.
    pub fn edit_quietly(&self, system: &str, entity: &str, id: &Json, fields: Json) {
        self.post(
            "/edit",
            json!({ "system": system, "entity": entity, "id": id, "fields": fields, "label": "nobody saw", "quiet": true }),
        );
    }

    /// Lets an hour pass in both systems and reads what there is, so that the next poll reads nothing again that is older.
    pub fn an_hour_later(&self) {
        self.post("/clock", json!({ "advance_secs": 3600 }));
        self.good_run();
    }

    /// A person makes a record; returns its id.
    pub fn create(&self, system: &str, entity: &str, fields: Json) -> Json {
        let made = self.post(
            "/create",
            json!({ "system": system, "entity": entity, "fields": fields, "label": "a person" }),
        );
        made["id"].clone()
    }

    /// A record with its counterpart.
    pub fn record(&self, system: &str, entity: &str, id: &Json) -> Json {
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        self.get(&format!("/record?system={system}&entity={entity}&id={id}"))
    }

    /// Up to 5,000 records.
    pub fn records(&self, system: &str, entity: &str) -> Vec<Json> {
        let page = self.get(&format!("/records?system={system}&entity={entity}&limit=5000"));
        page["records"].as_array().cloned().unwrap_or_default()
    }

    /// Records that carry the other system's id.
    pub fn linked(&self, system: &str, entity: &str) -> Vec<Json> {
        self.records(system, entity)
            .into_iter()
            .filter(|record| record["xref"].is_string())
            .collect()
    }

    /// The sandbox's judgement; Autotask owns contested fields.
    pub fn truth(&self) -> Json {
        self.get("/truth?owner=autotask")
    }

    /// Number of the last call.
    pub fn last_call(&self) -> u64 {
        number(&self.get("/calls?since=18446744073709551615&limit=1")["last_seq"])
    }

    /// Write calls after a call.
    pub fn writes_since(&self, call: u64) -> Vec<Json> {
        let calls = self.get(&format!("/calls?since={call}"));
        let calls = calls["calls"].as_array().cloned().unwrap_or_default();
        calls.into_iter().filter(|call| call["write"] == true).collect()
    }

    /// Nothing was duplicated, lost or echoed, and both sides agree, apart from records that the host has set aside with a reason.
    pub fn assert_in_step(&self, when: &str) {
        let truth = self.truth();
        let told = |name: &str| {
            let told = truth["details"][name].as_array().cloned().unwrap_or_default();
            assert_eq!(
                number(&truth[name]),
                told.len() as u64,
                "{when}: there are more {name} than are listed"
            );
            told
        };
        let duplicates = told("duplicates");
        assert!(duplicates.is_empty(), "duplicates {when}: {duplicates:#?}");
        if let Some(echo) = told("echo_writes").first() {
            panic!("echo_writes {when}: {echo:#} {:#}", self.explain(echo));
        }
        for edit in told("lost_edits") {
            let why = self.explain(&edit);
            assert!(
                was_first_merge(&edit, &why),
                "lost_edits {when}: {edit:#} {why:#}"
            );
        }
        let details = truth["details"]["differences"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(
            details.len() < DETAILS_MAX,
            "{when}: more differences than the sandbox lists: {details:#?}"
        );
        let aside = self.set_aside();
        let is_aside = |detail: &Json| {
            let (autotask, crm) = (&detail["autotask_id"], text(detail.get("crm_id")));
            aside.contains(&format!("autotask:{autotask}")) || aside.contains(&format!("crm:{crm}"))
        };
        let differ: Vec<&Json> = details
            .iter()
            .filter(|detail| !same_to_a_person(detail) && !is_aside(detail))
            .collect();
        assert!(differ.is_empty(), "the two sides differ {when}: {differ:#?}");
        let violations = &self.get("/stats")["violations"];
        assert_eq!(
            number(&violations["wrong_routes"]) + number(&violations["put_used"]),
            0,
            "{when}: {violations}"
        );
    }

    /// What the host says of the record of an edit.
    fn explain(&self, edit: &Json) -> Json {
        let id = edit["id"]
            .as_str()
            .map_or_else(|| edit["id"].to_string(), str::to_owned);
        let record = format!("{}:{id}", text(edit.get("system")));
        self.seamless(&["explain", text(edit.get("entity")), &record, "--json"])
            .json()
    }

    /// Records that the host has set aside or lets wait, as `system:id`.
    pub fn set_aside(&self) -> BTreeSet<String> {
        let ended = self.seamless(&["status", "--parked", "5000", "--json"]);
        let records = ended.json()["records"].as_array().cloned().unwrap_or_default();
        records
            .iter()
            .map(|record| text(record.get("record")).to_owned())
            .collect()
    }

    /// The tenant's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The tenant of the demo, on these systems.
pub(crate) fn demo_tenant(autotask_url: &str, crm_url: &str, user: &str, owner: u64, queue: u64) -> String {
    include_str!("../../crates/seamless/src/demo/tenant.toml")
        .replace("{autotask_url}", autotask_url)
        .replace("{crm_url}", crm_url)
        .replace("{autotask_user}", user)
        .replace("{owner_id}", &owner.to_string())
        .replace("{queue_id}", &queue.to_string())
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "world in {}", self.folder.path().display())
    }
}

/// Whether the host says that it was the first merge of a new pair that put another value over this edit: it was made after the two were linked, and
/// before that merge was over (docs/protocol.md, Left out, R4).
fn was_first_merge(edit: &Json, why: &Json) -> bool {
    let decisions = why["decisions"].as_array().into_iter().flatten();
    let mut fields = decisions.flat_map(|decision| decision["fields"].as_array().into_iter().flatten());
    let by_first_merge = |why: &Json| why == "first_merge_overwrite" || why == "filled_empty";
    fields.any(|field| by_first_merge(&field["why"]) && field["after"] == edit["here"])
}

/// A whole number; 0 for anything else.
pub fn number(json: &Json) -> u64 {
    json.as_u64().unwrap_or_default()
}

/// A text; empty for anything else.
pub fn text(json: Option<&Json>) -> &str {
    json.and_then(Json::as_str).unwrap_or_default()
}
