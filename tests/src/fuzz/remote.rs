//! What remote systems answer, and where lists go on: the real connectors against a server that sends whatever the input says.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use seamless_autotask::Autotask;
use seamless_core::pipeline::{Cursor, start_of};
use seamless_core::{
    Clock, ListRequest, Lookup, OpenContext, PageToken, Result, Secret, Shared, Source, SourcePlugin, Stamp,
    Target, TargetPlugin, Timestamp, Write, WriteAction,
};
use seamless_rest::{Manifest, Rest, SANDBOX_CRM};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use super::PART;
use super::peer::Peer;

/// More pages than any input is worth.
const PAGES_MAX: usize = 12;
const LIMIT: usize = 50;
const STATUSES: [u16; 8] = [200, 200, 200, 500, 400, 404, 429, 401];

/// A status by the first byte, then answers in turn.
pub(super) fn autotask(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    let bodies = || rest.split(|byte| *byte == PART).map(<[u8]>::to_vec).collect();
    on_peer(async |peer| {
        let zone = json!({"zoneName": "z", "url": format!("{}/zone/", peer.url)}).to_string();
        // The highest bit leaves even the zone to the input.
        let fixed = (first & 0x80 == 0).then_some(("zoneInformation", zone));
        peer.answer(STATUSES[usize::from(first % 8)], bodies(), fixed);
        let settings = json!({
            "endpoint": peer.url, "allow_private_network": true, "username": "u", "integration_code": {"env": "C"},
            "secret": {"env": "S"}, "timeout_secs": 5, "page_size": LIMIT,
        });
        let context = context(settings, &["integration_code", "secret"]);
        let source = SourcePlugin::open(&Autotask, &context).await.expect("opens");
        let target = TargetPlugin::open(&Autotask, &context).await.expect("opens");
        let entity = ["Companies", "Contacts", "Tickets", "Opportunities"][usize::from(first / 8 % 4)];
        every_call(&*source, &*target, entity, "companyName").await;
    });
}

/// A manifest, then answers in turn to whatever it makes of them.
pub(super) fn manifest(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == PART);
    let text = super::text(parts.next().unwrap_or_default()).into_owned();
    let manifest = match Manifest::parse(&text, "crm.toml") {
        Ok(manifest) => manifest,
        Err(error) => {
            assert!(
                error.to_string().contains("crm.toml"),
                "the error does not name the file: {error}"
            );
            return;
        }
    };
    let Some(entity) = manifest.entities.keys().next() else {
        return;
    };
    let bodies: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    on_peer(async |peer| {
        peer.answer(200, bodies, None);
        let settings = json!({
            "manifest_toml": text, "endpoint": peer.url, "allow_private_network": true, "timeout_secs": 5,
            "requests_per_second": 1_000_000.0,
        });
        let context = context(settings, &["token", "api_key", "username", "password"]);
        let (Ok(source), Ok(target)) = (
            SourcePlugin::open(&Rest, &context).await,
            TargetPlugin::open(&Rest, &context).await,
        ) else {
            return;
        };
        every_call(&*source, &*target, entity, "name").await;
    });
}

/// A page token that somebody else may have written, for both connectors; and the stored cursor.
pub(super) fn cursor(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == PART);
    let token = super::text(parts.next().unwrap_or_default()).into_owned();
    let body = parts.next().unwrap_or_default().to_vec();
    if let Ok(Cursor {
        cursor: Some(stamp), ..
    }) = serde_json::from_str(&token)
    {
        for seconds in [0, 1, 120, u64::MAX] {
            let span = Duration::from_secs(seconds);
            let start = start_of(stamp, span, Duration::from_secs(1));
            assert!(
                start <= stamp || seconds == 0,
                "a poll would start behind its cursor"
            );
            assert!(start_of(stamp, Duration::ZERO, span) <= stamp, "flooring rises");
        }
    }
    on_peer(async |peer| {
        let rest = json!({
            "manifest_toml": SANDBOX_CRM, "endpoint": peer.url, "allow_private_network": true, "timeout_secs": 5,
        });
        let autotask = json!({
            "endpoint": peer.url, "allow_private_network": true, "username": "u", "integration_code": {"env": "C"},
            "secret": {"env": "S"}, "timeout_secs": 5,
        });
        let zone = json!({"zoneName": "z", "url": format!("{}/zone/", peer.url)}).to_string();
        peer.answer(200, vec![body], Some(("zoneInformation", zone)));
        let source = SourcePlugin::open(&Rest, &context(rest, &["token"]))
            .await
            .expect("opens");
        pages(&*source, "accounts", Some(token.clone())).await;
        let context = context(autotask, &["integration_code", "secret"]);
        let source = SourcePlugin::open(&Autotask, &context).await.expect("opens");
        for entity in ["Companies", "Opportunities"] {
            pages(&*source, entity, Some(token.clone())).await;
        }
    });
}

async fn every_call(source: &dyn Source, target: &dyn Target, entity: &str, field: &str) {
    pages(source, entity, None).await;
    note(source.ping().await.map(drop));
    note(source.describe(entity).await.map(drop));
    note(source.fetch(entity, &["17".into(), "18".into()]).await.map(drop));
    let lookups = [Lookup::Field {
        field: field.to_owned(),
        value: "Acme".into(),
    }];
    let found = source.find(entity, &lookups).await;
    if let Ok(found) = &found {
        assert_eq!(found.len(), 1, "one question, one answer");
        for record in found.iter().flatten() {
            let held = seamless_core::lookup(&record.fields, field).and_then(seamless_core::Value::to_plain);
            assert!(
                held.is_some_and(|held| held.to_lowercase() == "acme"),
                "found what does not match"
            );
        }
    }
    note(found.map(drop));
    let write = Write {
        entity: entity.to_owned(),
        action: WriteAction::Create {
            fields: [(field.to_owned(), "Quillon Works".into())].into(),
        },
        send_by: Duration::MAX,
    };
    let mut outcomes = target.write(&[write]).await;
    assert_eq!(outcomes.len(), 1, "one write, one outcome");
    note(outcomes.remove(0).map(drop));
}

/// A list, as far as it goes: pages within their bounds, tokens that lead on.
async fn pages(source: &dyn Source, entity: &str, after: Option<String>) {
    let mut request = ListRequest {
        entity: entity.to_owned(),
        since: Some(Stamp(1)),
        after: after.map(PageToken),
        limit: LIMIT,
    };
    for _ in 0..PAGES_MAX {
        match source.list(&request).await {
            Ok(page) => {
                assert!(
                    page.records.len() <= LIMIT,
                    "a page of {} records",
                    page.records.len()
                );
                let Some(next) = page.next else { return };
                assert!(next.0.len() <= 1024, "a token of {} bytes", next.0.len());
                assert!(Some(&next) != request.after.as_ref(), "a page leads to itself");
                request.after = Some(next);
            }
            Err(error) => return note(Err(error)),
        }
    }
}

fn note(outcome: Result<()>) {
    if let Err(error) = outcome {
        let told = format!("{error} {error:?}");
        assert!(
            !told.contains("Quillon") && !told.contains("s3cret"),
            "an error tells content or a secret"
        );
        assert!(told.len() < 4096, "an error of {} bytes", told.len());
    }
}

fn context(settings: Json, secrets: &[&str]) -> OpenContext {
    OpenContext {
        system: "crm".into(),
        settings,
        secrets: secrets
            .iter()
            .map(|name| ((*name).to_owned(), Secret::new(format!("s3cret-{name}"))))
            .collect(),
        clock: Arc::<Moving>::default(),
        network: None,
        shared: Shared::default(),
    }
}

/// Nobody waits for it: who sleeps moves it.
#[derive(Default)]
struct Moving(AtomicU64);

#[async_trait]
impl Clock for Moving {
    fn now(&self) -> Timestamp {
        Timestamp(1_764_000_000_000_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(1_000_000 + self.0.load(Ordering::Relaxed))
    }

    async fn sleep(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros())
            .unwrap_or(u64::MAX / 4)
            .min(1 << 40);
        self.0.fetch_add(micros.max(1), Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

/// One runtime and one server a thread: starting them would take most of the time.
fn on_peer(run: impl AsyncFnOnce(&Peer)) {
    thread_local! {
        static STAGE: RefCell<Option<(Runtime, Peer)>> = const { RefCell::new(None) };
    }
    STAGE.with_borrow_mut(|stage| {
        let (runtime, peer) = stage.get_or_insert_with(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let peer = runtime.block_on(Peer::start());
            (runtime, peer)
        });
        let bounded = async {
            let within = tokio::time::timeout(Duration::from_secs(20), run(peer)).await;
            assert!(within.is_ok(), "still at it after 20 seconds");
        };
        runtime.block_on(bounded);
    });
}

pub(super) fn autotask_seeds() -> Vec<Vec<u8>> {
    let rows = json!({"items": [
        {"id": 17, "companyName": "Acme", "countryID": null, "lastTrackedModifiedDateTime": "2026-01-01T00:00:00.1Z",
            "assetValue": 0.1, "userDefinedFields": [{"name": "CRM ID", "value": "8"}]},
        {"id": 18, "companyName": "Bolt", "phone": "1", "title": "T", "lastActivity": "2026-01-01T00:00:00"},
    ], "pageDetails": {"count": 2, "requestCount": 50, "prevPageUrl": null, "nextPageUrl": null}});
    let fields = json!({"fields": [
        {"name": "id", "dataType": "long", "length": 0, "isRequired": true, "isReadOnly": true},
        {"name": "companyType", "dataType": "short", "isPickList": true, "picklistParentValueField": "x",
            "picklistValues": [{"value": "1", "label": "Customer", "isActive": true, "parentValue": "2"}]},
    ]});
    let info = json!({"info": {"canCreate": true, "canUpdate": true, "userAccessForCreate": "All"}});
    let item = json!({"item": {"id": 17, "companyName": "Acme"}});
    let refusal = json!({"errors": ["Value does not exist for the required field companyName. ; on record number [1]."]});
    let with = |first: u8, bodies: &[&Json]| {
        let bodies: Vec<String> = bodies.iter().map(|body| body.to_string()).collect();
        [&[first], bodies.join("\u{1e}").as_bytes()].concat()
    };
    let mut seeds: Vec<Vec<u8>> = (0..4)
        .map(|entity| with(entity * 8, &[&rows, &info, &fields, &rows, &item]))
        .collect();
    seeds.extend([
        with(3, &[&refusal]),
        with(6, &[&refusal]),
        with(0x80, &[&json!({"zoneName": "z", "url": "http://169.254.169.254/"})]),
        with(0, &[&json!({"items": [{"id": 99}, {"id": 1}], "pageDetails": {"nextPageUrl": "http://elsewhere.example/"}})]),
        [&[0], "[".repeat(5_000).as_bytes()].concat(),
    ]);
    seeds
}

pub(super) fn manifest_seeds() -> Vec<Vec<u8>> {
    let real = include_str!("../../../examples/real-rest/manifest.toml");
    let page = r#"{"data":[{"id":"A1","name":"Acme","updated_at":"2026-01-01T00:00:00Z","version":1}],"next_cursor":"x"}"#;
    let kinds = [
        "offset",
        "page",
        "cursor",
        "next_url",
        "keyset",
        "link_header",
        "none",
    ];
    let mut seeds = super::inputs([SANDBOX_CRM, real]);
    seeds.push(format!("{SANDBOX_CRM}\u{1e}{page}\u{1e}{{\"data\":[],\"next_cursor\":null}}").into_bytes());
    seeds.push(format!("{real}\u{1e}[{{\"id\":1}},{{\"id\":2}}]").into_bytes());
    for kind in kinds {
        let paged = SANDBOX_CRM.replacen("kind = \"cursor\"", &format!("kind = \"{kind}\""), 1);
        seeds.push(format!("{paged}\u{1e}{page}").into_bytes());
    }
    seeds
}

pub(super) fn cursor_seeds() -> Vec<Vec<u8>> {
    super::inputs([
        "17\u{1e}{\"items\":[{\"id\":18}]}",
        "9223372036854775807\u{1e}{\"items\":[]}",
        "{\"cursor\":9223372036854775807,\"newest_seen\":0,\"resume\":null}",
        "{\"cursor\":-9223372036854775808,\"newest_seen\":0,\"resume\":{\"since\":1,\"after\":\"x\",\"start\":1,\"newest\":1}}",
        r#"{"part":0,"parents":null,"walk":{"pages":1,"size":50,"at":{"Value":"x"},"empties":0,"same":0,"last":0,"mark":0,"through":null}}"#,
        r#"{"part":0,"parents":null,"walk":{"pages":4294967295,"size":0,"at":{"Count":{"next":18446744073709551615,"anchor":"1","back":18446744073709551615,"seen":18446744073709551615,"steps_back":255}},"empties":255,"same":255,"last":0,"mark":0,"through":null}}"#,
        r#"{"part":0,"parents":null,"walk":{"pages":1,"size":50,"at":{"Url":"//169.254.169.254/"},"empties":0,"same":0,"last":0,"mark":0,"through":"1"}}"#,
        r#"{"part":18446744073709551615,"parents":{"walk":{"pages":1,"size":50,"at":"Start","empties":0,"same":0,"last":0,"mark":0,"through":null},"at":"1"},"walk":null}"#,
    ])
}
