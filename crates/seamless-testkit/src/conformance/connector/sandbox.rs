//! The systems of `seamless-sandbox` as peers, for the connectors that talk to them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use seamless_core::{Clock, Fields, RecordId, Result, Timestamp};
use seamless_sandbox::{Config, Entity, Fault as Trouble, Faults, On, Sandbox, System};
use serde_json::{Map, Value as Json, json};

use super::{Bench, Credentials, Fault, Opened, Peer, Subject};

/// Opens the connector on a sandbox, going by this clock.
pub type OpenOn = fn(&Sandbox, Arc<dyn Clock>, Credentials) -> BoxFuture<'static, Result<Opened>>;

/// Makes sandboxes.
pub struct SandboxBench {
    /// Which of the two systems the connector talks to.
    pub system: System,
    /// The entity of [`SandboxBench::subject`], as the sandbox calls it.
    pub entity: Entity,
    /// What the cases work with.
    pub subject: Subject,
    /// Opens the connector.
    pub open: OpenOn,
}

#[async_trait]
impl Bench for SandboxBench {
    fn subject(&self) -> Subject {
        self.subject.clone()
    }

    /// # Panics
    /// When no port of this machine is free.
    async fn fresh(&self) -> Box<dyn Peer> {
        let config = Config {
            records: 0,
            ..Config::default()
        };
        #[allow(clippy::expect_used, reason = "a test without a system cannot go on")]
        let sandbox = Arc::new(Sandbox::start(config).await.expect("the sandbox starts"));
        let clock = Arc::new(SandboxClock {
            start: Timestamp::default(),
            sandbox: sandbox.clone(),
        });
        let start = clock.now().minus(Duration::from_secs(1));
        Box::new(SandboxPeer {
            clock: Arc::new(SandboxClock {
                start,
                sandbox: sandbox.clone(),
            }),
            sandbox,
            system: self.system,
            entity: self.entity,
            open: self.open,
        })
    }
}

/// The sandbox's own time. Nobody waits for it: who sleeps moves it.
struct SandboxClock {
    sandbox: Arc<Sandbox>,
    start: Timestamp,
}

#[async_trait]
impl Clock for SandboxClock {
    fn now(&self) -> Timestamp {
        let (_, said) = self.sandbox.admin("GET", "/clock", &Json::Null);
        let now = said["now"].as_str().and_then(Timestamp::parse);
        now.unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.now().since(self.start)
    }

    async fn sleep(&self, duration: Duration) {
        let moved = json!({ "advance_secs": duration.as_secs_f64() });
        self.sandbox.admin("POST", "/clock", &moved);
    }
}

/// The people and the administrator of one of the two systems.
struct SandboxPeer {
    sandbox: Arc<Sandbox>,
    clock: Arc<SandboxClock>,
    system: System,
    entity: Entity,
    open: OpenOn,
}

impl SandboxPeer {
    /// What a person does. A refusal is a mistake of the test.
    fn ask(&self, route: &str, id: Option<&RecordId>, fields: Option<&Fields>) -> Json {
        let mut body = json!({ "system": self.system, "entity": self.entity });
        if let Some(id) = id {
            body["id"] = id.as_str().into();
        }
        if let Some(fields) = fields {
            // User-defined fields go by their own names here.
            let plain = |name: &str| name.strip_prefix("udf.").unwrap_or(name).to_owned();
            let native = fields.iter().map(|(name, value)| (plain(name), value.to_json()));
            body["fields"] = Json::Object(native.collect::<Map<String, Json>>());
        }
        let (status, answer) = self.sandbox.admin("POST", route, &body);
        assert_eq!(status, 200, "the sandbox refused {route}: {answer}");
        answer
    }

    fn trouble(&self, on: On) -> Trouble {
        Trouble {
            on,
            ..Trouble::chance(1.0).of(self.system)
        }
    }
}

#[async_trait]
impl Peer for SandboxPeer {
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    async fn open(&self, credentials: Credentials) -> Result<Opened> {
        (self.open)(&self.sandbox, self.clock.clone(), credentials).await
    }

    async fn seed(&self, records: &[Fields]) -> Vec<RecordId> {
        let ids = records.iter().map(|fields| {
            let id = &self.ask("/create", None, Some(fields))["id"];
            RecordId(id.as_str().map_or_else(|| id.to_string(), str::to_owned))
        });
        ids.collect()
    }

    async fn edit(&self, id: &RecordId, fields: &Fields) {
        self.ask("/edit", Some(id), Some(fields));
    }

    async fn delete(&self, id: &RecordId) -> bool {
        self.ask("/delete", Some(id), None)["deleted"] == true
    }

    async fn count(&self) -> usize {
        let (_, counts) = self.sandbox.admin("GET", "/count", &Json::Null);
        let entity = json!(self.entity);
        let count =
            &counts[json!(self.system).as_str().unwrap_or_default()][entity.as_str().unwrap_or_default()];
        count
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or_default()
    }

    async fn write_calls(&self) -> Option<usize> {
        let stats = self.sandbox.stats();
        let writes = stats[json!(self.system).as_str()?]["writes"].as_u64()?;
        usize::try_from(writes).ok()
    }

    async fn struck_calls(&self) -> Option<usize> {
        let stats = self.sandbox.stats();
        let faults = stats[json!(self.system).as_str()?]["faults"].as_object()?;
        let met: u64 = faults.values().filter_map(Json::as_u64).sum();
        usize::try_from(met).ok()
    }

    async fn strike(&self, fault: Fault) -> bool {
        let mut faults = Faults::default();
        let wait = |wait: Duration, on: On| Trouble {
            retry_after_secs: wait.as_secs(),
            ..self.trouble(on)
        };
        match fault {
            Fault::LostAnswers => faults.lost_answer = self.trouble(On::Writes),
            Fault::GarbledWrites => faults.truncated_body = self.trouble(On::Writes),
            Fault::Unexplained => faults.error_500_applied = self.trouble(On::Writes),
            Fault::ThrottledReads(secs) => faults.throttled = wait(secs, On::Reads),
            Fault::ThrottledWrites(secs) => faults.throttled = wait(secs, On::Writes),
            Fault::Garbled => faults.truncated_body = self.trouble(On::Reads),
            Fault::Huge => {
                faults.huge_body = Trouble {
                    bytes: 33 * 1024 * 1024,
                    ..self.trouble(On::Reads)
                }
            }
            Fault::EndlessList => faults.endless_paging = self.trouble(On::Reads),
            Fault::ForeignPage if self.system == System::Autotask => {
                faults.foreign_next_page = self.trouble(On::Reads);
            }
            Fault::IgnoredFilter => faults.ignored_filter = self.trouble(On::Reads),
            Fault::SearchLag => faults.search_lag = self.trouble(On::Any).delay(60_000),
            Fault::Dead if self.system == System::Autotask => faults.autotask_dead = true,
            Fault::Dead => faults.crm_dead = true,
            _ => return false,
        }
        self.sandbox.set_faults(faults);
        true
    }

    async fn heal(&self) {
        self.sandbox.set_faults(Faults::default());
    }
}
