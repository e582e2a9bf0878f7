//! Tries one operation of a manifest on the live server and prints what came out of it. A tool for writing manifests: it
//! shows record content, and it may reach private addresses.
//!
//! ```text
//! cargo run -p seamless-rest --example try -- MANIFEST ENTITY ping
//! cargo run -p seamless-rest --example try -- MANIFEST ENTITY list [SINCE]
//! cargo run -p seamless-rest --example try -- MANIFEST ENTITY get ID...
//! cargo run -p seamless-rest --example try -- MANIFEST ENTITY find FIELD VALUE...
//! cargo run -p seamless-rest --example try -- MANIFEST ENTITY create FIELD=VALUE...
//! cargo run -p seamless-rest --example try -- MANIFEST ENTITY update ID FIELD=VALUE...
//! cargo run -p seamless-rest --example try -- MANIFEST ENTITY delete ID
//! ```
//!
//! A value is JSON where it reads as JSON, else text. `REST_ENDPOINT` overrides the manifest's address; secrets come from
//! `REST_TOKEN`, `REST_API_KEY`, `REST_USERNAME` and `REST_PASSWORD`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use seamless_core::{
    Clock, Fields, ListRequest, Lookup, NativeRecord, OpenContext, RecordId, Secret, Shared, Source,
    SourcePlugin, Target, TargetPlugin, Timestamp, Value, Write, WriteAction,
};
use seamless_rest::Rest;
use serde_json::{Value as Json, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [manifest, entity, operation, rest @ ..] = arguments.as_slice() else {
        bail!("usage: try MANIFEST ENTITY ping|list|get|find|create|update|delete ...");
    };
    let mut settings = json!({ "kind": "rest", "manifest": manifest, "allow_private_network": true });
    if let Ok(endpoint) = std::env::var("REST_ENDPOINT") {
        settings["endpoint"] = endpoint.into();
    }
    let secret = |name: &str| {
        let value = std::env::var(format!("REST_{}", name.to_uppercase())).ok()?;
        Some((name.to_owned(), Secret::new(value)))
    };
    let ctx = OpenContext {
        system: "try".into(),
        settings,
        secrets: ["token", "api_key", "username", "password"]
            .into_iter()
            .filter_map(secret)
            .collect(),
        clock: Arc::new(LiveClock(tokio::time::Instant::now())),
        shared: Shared::default(),
    };
    let source = SourcePlugin::open(&Rest, &ctx).await?;
    let target = TargetPlugin::open(&Rest, &ctx).await?;
    match (operation.as_str(), rest) {
        ("ping", []) => {
            source.ping().await?;
            println!("the system answers");
        }
        ("list", []) => list(&*source, entity, None).await?,
        ("list", [since]) => list(&*source, entity, Some(since)).await?,
        ("get", ids) => {
            let ids: Vec<RecordId> = ids.iter().map(|id| RecordId(id.clone())).collect();
            print(&source.fetch(entity, &ids).await?);
        }
        ("find", [field, values @ ..]) => {
            let lookup = |value: &String| Lookup::Field {
                field: field.clone(),
                value: parse(value),
            };
            let lookups: Vec<Lookup> = values.iter().map(lookup).collect();
            for (value, found) in values.iter().zip(source.find(entity, &lookups).await?) {
                println!("{field} = {value}: {} found", found.len());
                print(&found);
            }
        }
        ("create", fields) => {
            write(
                &*target,
                entity,
                WriteAction::Create {
                    fields: assignments(fields)?,
                },
            )
            .await?
        }
        ("update", [id, fields @ ..]) => {
            let current = source.fetch(entity, &[RecordId(id.clone())]).await?.pop();
            let current = Box::new(current.with_context(|| format!("there is no record {id}"))?);
            write(
                &*target,
                entity,
                WriteAction::Update {
                    current,
                    fields: assignments(fields)?,
                },
            )
            .await?;
        }
        ("delete", [id]) => {
            write(
                &*target,
                entity,
                WriteAction::Delete {
                    id: RecordId(id.clone()),
                },
            )
            .await?
        }
        _ => bail!("'{operation}' is no operation, or its arguments do not fit"),
    }
    Ok(())
}

async fn list(source: &dyn Source, entity: &str, since: Option<&String>) -> anyhow::Result<()> {
    let since = since
        .map(|text| Timestamp::parse(text).context("SINCE is no RFC 3339 time"))
        .transpose()?;
    let mut request = ListRequest {
        entity: entity.to_owned(),
        since: since.map(Into::into),
        after: None,
        limit: 500,
    };
    let mut count = 0;
    loop {
        let page = source.list(&request).await?;
        count += page.records.len();
        print(&page.records);
        match page.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    println!("{count} records");
    Ok(())
}

async fn write(target: &dyn Target, entity: &str, action: WriteAction) -> anyhow::Result<()> {
    let write = Write {
        entity: entity.to_owned(),
        action,
        send_by: Duration::from_secs(60),
    };
    for outcome in target.write(&[write]).await {
        let written = outcome.map_err(|error| {
            let (effect, field) = (error.effect, error.field.clone());
            anyhow::Error::new(error).context(format!("the write failed; effect {effect:?}, field {field:?}"))
        })?;
        println!("written: record {}", written.id);
    }
    Ok(())
}

fn print(records: &[NativeRecord]) {
    for record in records {
        let stamp = record
            .stamp
            .map_or_else(|| "none".to_owned(), |stamp| Timestamp(stamp.0).to_string());
        let version = record.version.as_deref().unwrap_or("none");
        let fields: BTreeMap<&String, Json> = record
            .fields
            .iter()
            .map(|(name, value)| (name, value.to_json()))
            .collect();
        println!(
            "record {} (stamp {stamp}, version {version}): {}",
            record.id,
            json!(fields)
        );
    }
}

fn assignments(arguments: &[String]) -> anyhow::Result<Fields> {
    let assignment = |argument: &String| {
        let (field, value) = argument
            .split_once('=')
            .with_context(|| format!("'{argument}' is not FIELD=VALUE"))?;
        Ok((field.to_owned(), parse(value)))
    };
    arguments.iter().map(assignment).collect()
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).map_or_else(|_| text.into(), |json| Value::from_json(&json))
}

struct LiveClock(tokio::time::Instant);

#[async_trait]
impl Clock for LiveClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
