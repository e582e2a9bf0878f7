//! The connector against the simulated Autotask: whole tasks, with the traps and faults of the real interface.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_autotask::Autotask;
use seamless_core::{
    Clock, Effect, ErrorKind, Fields, ListRequest, Lookup, RecordId, Source, Stamp, Target, Timestamp, Value,
    Write, WriteAction, lookup,
};
use seamless_sandbox::{Config, Fault, Faults, On, Sandbox, System, UdfIn};
use seamless_testkit::conformance::connector::Opened;
use serde_json::{Value as Json, json};

/// A real clock: the sandbox runs in real time.
struct RealClock(tokio::time::Instant);

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

struct Bench {
    sandbox: Sandbox,
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
}

async fn bench(config: Config, extra: Json) -> Bench {
    let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
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
    Bench {
        sandbox,
        source,
        target,
    }
}

fn config() -> Config {
    Config {
        records: 300,
        ..Config::default()
    }
}

impl Bench {
    /// Ids of all pages of a poll.
    async fn all(&self, entity: &str, since: Option<Stamp>, limit: usize) -> Vec<String> {
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

    async fn owner(&self) -> Value {
        let page = self
            .source
            .list(&ListRequest {
                entity: "Companies".into(),
                since: None,
                after: None,
                limit: 50,
            })
            .await;
        let records = page.expect("a page").records;
        records
            .iter()
            .find_map(|record| {
                record
                    .fields
                    .get("ownerResourceID")
                    .filter(|v| !v.is_empty())
                    .cloned()
            })
            .expect("an owner")
    }

    async fn write(&self, entity: &str, action: WriteAction) -> seamless_core::Result<RecordId> {
        let write = Write {
            entity: entity.to_owned(),
            action,
            send_by: Duration::from_secs(600),
        };
        self.target
            .write(&[write])
            .await
            .remove(0)
            .map(|written| written.id)
    }

    async fn create_company(&self, name: &str, crm_id: &str) -> seamless_core::Result<RecordId> {
        let fields: Fields = [
            ("companyName", Value::from(name)),
            ("companyType", Value::Int(1)),
            ("phone", Value::from("123")),
            ("ownerResourceID", self.owner().await),
            ("country", Value::from("de")),
            ("udf.CRM ID", Value::from(crm_id)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        self.write("Companies", WriteAction::Create { fields }).await
    }
}

fn crm(id: &str) -> Lookup {
    Lookup::Field {
        field: "udf.CRM ID".into(),
        value: Value::from(id),
    }
}

#[tokio::test]
async fn every_record_is_read_once_whatever_the_page_size() {
    let bench = bench(config(), json!({})).await;
    bench.source.ping().await.unwrap();
    for entity in ["Companies", "Contacts"] {
        let whole = bench.all(entity, None, 500).await;
        assert!(whole.len() > 20, "{entity}: {}", whole.len());
        assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len());
        assert_eq!(bench.all(entity, None, 7).await, whole);
        let future = Stamp::from(Timestamp::parse("2100-01-01T00:00:00Z").unwrap());
        assert_eq!(bench.all(entity, Some(future), 500).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_company_and_its_contact_are_created_found_changed_and_read_back() {
    for udf_in in [UdfIn::Unsupported, UdfIn::Works, UdfIn::NoRows] {
        let bench = bench(Config { udf_in, ..config() }, json!({})).await;
        let company = bench.create_company("Größe & Söhne", "crm-1").await.unwrap();
        let other = bench.create_company("Other", "crm-2").await.unwrap();
        // The second round meets a verdict on `in` that is known already.
        for _ in 0..2 {
            let found = bench
                .target
                .find("Companies", &[crm("crm-1"), crm("none"), crm("CRM-2")])
                .await
                .unwrap();
            let found: Vec<Vec<&RecordId>> = found
                .iter()
                .map(|records| records.iter().map(|r| &r.id).collect())
                .collect();
            assert_eq!(found, [vec![&company], vec![], vec![&other]], "{udf_in:?}");
        }
        let contact: Fields = [
            ("companyID", Value::from(company.as_str())),
            ("firstName", Value::from("Jane")),
            ("lastName", Value::from("Doe")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let contact = bench
            .write("Contacts", WriteAction::Create { fields: contact })
            .await
            .unwrap();
        let current = bench
            .target
            .fetch("Contacts", std::slice::from_ref(&contact))
            .await
            .unwrap()
            .remove(0);
        assert_eq!(current.fields["isActive"], Value::Int(1));
        assert!(current.stamp.is_some() && current.created.is_some());
        let fields: Fields = [
            ("city".to_owned(), Value::from("Köln")),
            ("udf.CRM ID".to_owned(), Value::from("crm-3")),
        ]
        .into();
        bench
            .write(
                "Contacts",
                WriteAction::Update {
                    current: Box::new(current),
                    fields,
                },
            )
            .await
            .unwrap();
        let ids = [contact, RecordId::from("999999999")];
        let after = bench.target.fetch("Contacts", &ids).await.unwrap();
        assert_eq!(after.len(), 1);
        assert_eq!(
            (&after[0].fields["city"], &after[0].fields["lastName"]),
            (&Value::from("Köln"), &Value::from("Doe"))
        );
        assert_eq!(
            lookup(&after[0].fields, "udf.CRM ID"),
            Some(&Value::from("crm-3"))
        );
        let company = bench
            .target
            .fetch("Companies", &[company])
            .await
            .unwrap()
            .remove(0);
        assert_eq!(company.fields["country"], Value::from("DE"));
    }
}

#[tokio::test]
async fn refusals_name_their_field() {
    let bench = bench(config(), json!({})).await;
    let error = bench.create_company(&"x".repeat(101), "crm-1").await.unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Invalid, Effect::NotApplied),
        "{error:?}"
    );
    assert_eq!(error.field.as_deref(), Some("companyName"), "{error:?}");
    let fields: Fields = [("companyName".to_owned(), Value::from("x"))].into();
    let error = bench
        .write("Companies", WriteAction::Create { fields })
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.effect, error.field.is_some()),
        (ErrorKind::Invalid, Effect::NotApplied, true),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_moved_tenant_goes_unnoticed() {
    let faults = Faults {
        zone_moved: Fault::next(1).of(System::Autotask).at("query"),
        ..Faults::default()
    };
    let bench = bench(config(), json!({})).await;
    bench.source.ping().await.unwrap();
    bench.sandbox.set_faults(faults);
    assert!(!bench.all("Companies", None, 50).await.is_empty());
}

#[tokio::test]
async fn wrong_credentials_say_so() {
    let config = Config {
        autotask_secret: "another".into(),
        ..config()
    };
    let error = bench(config, json!({})).await.source.ping().await.unwrap_err();
    assert_eq!(
        (error.kind, error.is_transient()),
        (ErrorKind::Auth, false),
        "{error:?}"
    );
    let config = Config {
        integration_code: "another".into(),
        ..self::config()
    };
    let error = bench(config, json!({})).await.source.ping().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth, "{error:?}");
    let error = bench(self::config(), json!({"username": "nobody"}))
        .await
        .source
        .ping()
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth, "{error:?}");
}

#[tokio::test]
async fn many_calls_at_once_stay_below_the_thread_limit() {
    let slow = Fault {
        delay_ms: 5,
        ..Fault::chance(1.0)
    };
    let bench = bench(
        Config {
            faults: Faults {
                latency: slow,
                ..Faults::default()
            },
            ..config()
        },
        json!({}),
    )
    .await;
    let ids: Vec<RecordId> = bench
        .all("Companies", None, 500)
        .await
        .into_iter()
        .map(RecordId)
        .collect();
    let calls = ids
        .iter()
        .take(30)
        .map(|id| bench.source.fetch("Companies", std::slice::from_ref(id)));
    for found in futures::future::join_all(calls).await {
        assert_eq!(found.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_new_record_is_fetched_although_searches_do_not_show_it_yet() {
    let bench = bench(config(), json!({})).await;
    bench.sandbox.set_faults(Faults {
        search_lag: Fault::chance(1.0).delay(60_000),
        ..Faults::default()
    });
    let ids = [
        bench.create_company("A", "crm-1").await.unwrap(),
        bench.create_company("B", "crm-2").await.unwrap(),
    ];
    assert_eq!(
        bench.target.find("Companies", &[crm("crm-1")]).await.unwrap(),
        [vec![]]
    );
    assert_eq!(bench.target.fetch("Companies", &ids).await.unwrap().len(), 2);
}

#[tokio::test]
async fn each_fault_says_what_became_of_a_write() {
    use Effect::{NotApplied, Unknown};
    let on_write = || Fault {
        on: On::Writes,
        ..Fault::next(1)
    };
    let none = Faults::default;
    let cases: Vec<(&str, Faults, ErrorKind, Effect)> = vec![
        (
            "lost answer",
            Faults {
                lost_answer: on_write(),
                ..none()
            },
            ErrorKind::Unavailable,
            Unknown,
        ),
        (
            "500",
            Faults {
                error_500: on_write(),
                ..none()
            },
            ErrorKind::Unavailable,
            Unknown,
        ),
        (
            "500, applied",
            Faults {
                error_500_applied: on_write(),
                ..none()
            },
            ErrorKind::Unavailable,
            Unknown,
        ),
        (
            "503",
            Faults {
                unavailable: on_write(),
                ..none()
            },
            ErrorKind::Unavailable,
            Unknown,
        ),
        (
            "half a body",
            Faults {
                truncated_body: on_write(),
                ..none()
            },
            ErrorKind::Protocol,
            Unknown,
        ),
        (
            "huge body",
            Faults {
                huge_body: on_write(),
                ..none()
            },
            ErrorKind::Limit,
            Unknown,
        ),
        (
            "dead server",
            Faults {
                autotask_dead: true,
                ..none()
            },
            ErrorKind::Unavailable,
            NotApplied,
        ),
    ];
    let bench = bench(config(), json!({})).await;
    let owner = bench.owner().await;
    for (name, faults, kind, effect) in cases {
        bench.sandbox.set_faults(faults);
        let fields: Fields = [
            ("companyName", Value::from(name)),
            ("companyType", Value::Int(1)),
            ("phone", Value::from("123")),
            ("ownerResourceID", owner.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let error = bench
            .write("Companies", WriteAction::Create { fields })
            .await
            .expect_err(name);
        assert_eq!((error.kind, error.effect), (kind, effect), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_kept_by_every_call() {
    let bench = bench(config(), json!({})).await;
    let owner = bench.owner().await;
    bench.sandbox.set_faults(Faults {
        throttled: Fault {
            retry_after_secs: 30,
            ..Fault::next(1)
        },
        ..Faults::default()
    });
    let company = || {
        let fields = [
            ("companyName", Value::from("A")),
            ("companyType", Value::Int(1)),
            ("phone", Value::from("123")),
            ("ownerResourceID", owner.clone()),
        ];
        WriteAction::Create {
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    };
    for _ in 0..2 {
        let error = bench.write("Companies", company()).await.unwrap_err();
        assert_eq!(
            (error.kind, error.effect, error.is_transient()),
            (ErrorKind::RateLimited, Effect::NotApplied, true)
        );
    }
    let calls = bench.sandbox.stats()["autotask"]["calls"].clone();
    let error = bench
        .target
        .find("Contacts", &[Lookup::AboveId("0".into())])
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::RateLimited);
    assert_eq!(
        bench.sandbox.stats()["autotask"]["calls"],
        calls,
        "nothing was sent meanwhile"
    );
    assert!(bench.target.usage().unwrap().held.unwrap() > Duration::from_secs(20));
}

#[tokio::test]
async fn paging_faults_lose_nothing_and_end() {
    let bench = bench(config(), json!({})).await;
    let whole = bench.all("Contacts", None, 500).await;
    let queries = || Fault::chance(1.0).at("query");
    let endless = Faults {
        endless_paging: queries(),
        ..Faults::default()
    };
    let foreign = Faults {
        foreign_next_page: queries(),
        ..Faults::default()
    };
    for faults in [endless, foreign] {
        bench.sandbox.set_faults(faults);
        assert_eq!(bench.all("Contacts", None, 40).await, whole);
    }
}

#[tokio::test]
async fn the_tenants_fields_are_described() {
    let bench = bench(config(), json!({})).await;
    for entity in ["Companies", "Contacts", "Tickets", "Opportunities"] {
        let info = bench.source.describe(entity).await.unwrap();
        assert!(info.can_create && info.can_update);
        let field = |name: &str| info.fields.iter().find(|field| field.name == name);
        assert!(field("udf.CRM ID").is_some(), "{entity}");
        assert!(field("id").is_some_and(|id| id.read_only));
    }
    let info = bench.source.describe("Companies").await.unwrap();
    let kind = info
        .fields
        .iter()
        .find(|field| field.name == "companyType")
        .unwrap();
    assert!(
        kind.options
            .as_ref()
            .unwrap()
            .iter()
            .any(|option| option.value == Value::Int(1) && option.active)
    );
}

impl Bench {
    async fn surveyed(&self, entity: &str, limit: usize) -> seamless_core::Result<Vec<String>> {
        let mut request = ListRequest {
            entity: entity.to_owned(),
            since: None,
            after: None,
            limit,
        };
        let mut ids = Vec::new();
        loop {
            let page = self.source.survey(&request).await?;
            ids.extend(page.records.into_iter().map(|record| record.id.0));
            if page.next.is_none() {
                return Ok(ids);
            }
            request.after = page.next;
        }
    }
}

#[tokio::test]
async fn a_survey_sees_every_record_in_the_middle_of_a_poll_and_does_not_disturb_it() {
    let config = Config {
        opportunities: 40,
        ..config()
    };
    let bench = bench(config, json!({})).await;
    for entity in ["Companies", "Opportunities"] {
        let whole = bench.all(entity, None, 500).await;
        assert_eq!(bench.surveyed(entity, 7).await.unwrap(), whole, "{entity}");
    }
    // The second sweep leaves closed opportunities out; the survey between its pages does not.
    let every = bench.surveyed("Opportunities", 500).await.unwrap();
    let mut request = ListRequest {
        entity: "Opportunities".into(),
        since: None,
        after: None,
        limit: 4,
    };
    let mut open = Vec::new();
    loop {
        let page = bench.source.list(&request).await.unwrap();
        open.extend(page.records.into_iter().map(|record| record.id.0));
        assert_eq!(bench.surveyed("Opportunities", 500).await.unwrap(), every);
        if page.next.is_none() {
            break;
        }
        request.after = page.next;
    }
    assert!(
        open.len() < every.len() && !open.is_empty(),
        "{} of {}",
        open.len(),
        every.len()
    );
}

#[tokio::test]
async fn a_survey_is_the_first_to_wait_when_calls_run_short() {
    let bench = bench(config(), json!({ "hourly_requests": 100 })).await;
    let id = RecordId(bench.all("Companies", None, 1_000).await.remove(0));
    while bench.source.usage().unwrap().used < 50 {
        bench
            .source
            .fetch("Companies", std::slice::from_ref(&id))
            .await
            .unwrap();
    }
    let refused = bench.surveyed("Companies", 500).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::RateLimited, "{refused:?}");
    let before = bench.sandbox.stats()["autotask"]["calls"].clone();
    bench.surveyed("Companies", 500).await.unwrap_err();
    assert_eq!(
        bench.sandbox.stats()["autotask"]["calls"],
        before,
        "nothing is sent"
    );
    let found = bench.source.fetch("Companies", &[id]).await.unwrap();
    assert_eq!(found.len(), 1, "others go on");
}

#[tokio::test]
async fn a_new_primary_contact_takes_the_place_of_the_old_one_and_a_poll_shows_both() {
    let bench = bench(config(), json!({})).await;
    let company = bench.create_company("One", "crm-1").await.unwrap();
    let person = |name: &str| -> Fields {
        [
            ("companyID", Value::from(company.as_str())),
            ("firstName", Value::from(name)),
            ("lastName", Value::from("Doe")),
            ("primaryContact", Value::Bool(true)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    };
    let create = |name: &str| bench.write("Contacts", WriteAction::Create { fields: person(name) });
    let first = create("Jane").await.unwrap();
    let before = contact(&bench.target, &first).await;
    assert_eq!(before.fields["primaryContact"], Value::Bool(true));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = create("Joan").await.unwrap();
    let old = contact(&bench.target, &first).await;
    let new = contact(&bench.target, &second).await;
    assert_eq!(
        old.fields["primaryContact"],
        Value::Bool(false),
        "there is one only"
    );
    assert_eq!(new.fields["primaryContact"], Value::Bool(true));
    assert!(
        old.stamp > before.stamp,
        "what the system did is a change like any other"
    );
    let changed = bench.all("Contacts", old.stamp, 500).await;
    assert!(
        changed.contains(&first.0) && changed.contains(&second.0),
        "{changed:?}"
    );
}

async fn contact(target: &Arc<dyn Target>, id: &RecordId) -> seamless_core::NativeRecord {
    let found = target.fetch("Contacts", std::slice::from_ref(id)).await;
    found.expect("it can be read").remove(0)
}

#[tokio::test]
async fn a_category_fills_what_nobody_sent_and_an_inactive_one_is_refused() {
    let bench = bench(config(), json!({})).await;
    let company = bench.create_company("One", "crm-1").await.unwrap();
    let ticket = |category: Option<i64>| -> Fields {
        let mut fields: Fields = [
            ("companyID", Value::from(company.as_str())),
            ("title", Value::from("Printer")),
            ("status", Value::Int(1)),
            ("priority", Value::Int(2)),
            ("queueID", Value::Int(29_682_833)),
            ("dueDateTime", Value::from("2030-01-01T00:00:00Z")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        fields.extend(category.map(|category| ("ticketCategory".to_owned(), Value::Int(category))));
        fields
    };
    let made = bench
        .write("Tickets", WriteAction::Create { fields: ticket(None) })
        .await
        .unwrap();
    let read = bench.target.fetch("Tickets", &[made]).await.unwrap().remove(0);
    assert_eq!(
        read.fields["ticketCategory"],
        Value::Int(3),
        "the default category"
    );
    let refused = bench
        .write(
            "Tickets",
            WriteAction::Create {
                fields: ticket(Some(9)),
            },
        )
        .await
        .unwrap_err();
    assert_eq!(
        (refused.kind, refused.effect, refused.field.as_deref()),
        (ErrorKind::Invalid, Effect::NotApplied, Some("ticketCategory")),
        "{refused:?}"
    );
}
