//! The connector on the simulated Autotask.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_autotask::Autotask;
use seamless_core::{
    Clock, Fields, ListRequest, NativeRecord, RecordId, Source, Stamp, Target, Timestamp, Value, Write,
    WriteAction,
};
use seamless_sandbox::{Config, Sandbox};
use seamless_testkit::conformance::connector::Opened;
use serde_json::{Value as Json, json};

/// A real clock: the sandbox runs in real time.
struct RealClock(tokio::time::Instant);

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-11-25T12:00:30Z").expect("a time")
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

pub struct Bench {
    pub sandbox: Sandbox,
    pub source: Arc<dyn Source>,
    pub target: Arc<dyn Target>,
}

pub async fn bench(config: Config, extra: Json) -> Bench {
    let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
    let (source, target) = connect(&sandbox, extra).await;
    Bench {
        sandbox,
        source,
        target,
    }
}

/// A connector of its own, with a budget of its own.
pub async fn connect(sandbox: &Sandbox, extra: Json) -> (Arc<dyn Source>, Arc<dyn Target>) {
    let mut settings = json!({
        "endpoint": sandbox.autotask_url, "allow_private_network": true, "username": "integration@example.test",
        "integration_code": {"env": "CODE"}, "secret": {"env": "SECRET"}, "default_owner_resource_id": 29682885, "timeout_secs": 10,
    });
    for (name, value) in extra.as_object().expect("an object") {
        settings[name] = value.clone();
    }
    let secrets = [("integration_code", "SANDBOX"), ("secret", "sandbox-secret")];
    let clock = Arc::new(RealClock(tokio::time::Instant::now()));
    let opened = Opened::by(&Autotask, settings, &secrets, clock).await;
    let Opened { source, target } = opened.expect("opens");
    (source, target)
}

pub fn config() -> Config {
    Config {
        records: 300,
        ..Config::default()
    }
}

impl Bench {
    /// Ids of all pages of a poll.
    pub async fn all(&self, entity: &str, since: Option<Stamp>, limit: usize) -> Vec<String> {
        let mut request = ListRequest {
            entity: entity.to_owned(),
            since,
            after: None,
            limit,
        };
        let mut ids = Vec::new();
        loop {
            let page = self.source.list(&request).await.expect("a page");
            ids.extend(page.records.into_iter().map(|record| record.id.0));
            if page.next.is_none() {
                return ids;
            }
            request.after = page.next;
        }
    }

    pub async fn source_records(&self, entity: &str) -> Vec<NativeRecord> {
        let request = ListRequest {
            entity: entity.to_owned(),
            since: None,
            after: None,
            limit: 500,
        };
        self.source.list(&request).await.expect("a page").records
    }

    pub async fn write(&self, entity: &str, action: WriteAction) -> seamless_core::Result<RecordId> {
        let write = Write {
            entity: entity.to_owned(),
            action,
            send_by: Duration::from_secs(600),
        };
        let mut outcomes = self.target.write(&[write]).await;
        outcomes.remove(0).map(|written| written.id)
    }

    /// Lets time pass for the simulated server.
    pub async fn turn_clock(&self, secs: u64) {
        let (status, _) = self
            .sandbox
            .admin("POST", "/clock", &json!({"advance_secs": secs}));
        assert_eq!(status, 200);
    }

    /// Calls whose path names this endpoint.
    pub fn calls_to(&self, endpoint: &str) -> usize {
        let (_, log) = self.sandbox.admin("GET", "/calls", &Json::Null);
        let calls = log["calls"].as_array().expect("calls");
        let named = |call: &&Json| {
            call["path"]
                .as_str()
                .is_some_and(|path| path.to_lowercase().contains(endpoint))
        };
        calls.iter().filter(named).count()
    }
}

pub fn fields(given: &[(&str, Value)]) -> Fields {
    given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}
