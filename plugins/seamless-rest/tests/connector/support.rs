//! A scripted server on loopback, and a connector opened on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use seamless_core::{
    Clock, Fields, ListRequest, Lookup, NativeRecord, OpenContext, RecordId, Result, Secret, Shared, Source,
    SourcePlugin, Target, TargetPlugin, Timestamp, Value, Write, WriteAction, Written,
};
use seamless_rest::Rest;
use serde_json::{Value as Json, json};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn params(&self, name: &str) -> Vec<&str> {
        self.query
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or(Json::Null)
    }

    pub(crate) fn line(&self) -> String {
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!(
            "{} {}{}{}",
            self.method,
            self.path,
            if query.is_empty() { "" } else { "?" },
            query.join("&")
        )
    }
}

/// What the server answers.
pub(crate) struct Reply(
    pub(crate) u16,
    pub(crate) Vec<(&'static str, String)>,
    pub(crate) String,
);

pub(crate) fn ok(body: Json) -> Reply {
    Reply(200, Vec::new(), body.to_string())
}

pub(crate) fn status(status: u16, body: Json) -> Reply {
    Reply(status, Vec::new(), body.to_string())
}

pub(crate) fn empty(status: u16) -> Reply {
    Reply(status, Vec::new(), String::new())
}

impl Reply {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.1.push((name, value.into()));
        self
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts a server that answers by the script.
    pub(crate) async fn start(script: impl FnMut(&Seen) -> Reply + Send + 'static) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (seen.clone(), Arc::new(Mutex::new(script)));
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (log, script) = (log.clone(), script.clone());
            async move {
                let request = Seen {
                    method: method.to_string(),
                    path: uri.path().to_owned(),
                    query: axum::extract::Query::try_from_uri(&uri)
                        .map(|query| query.0)
                        .unwrap_or_default(),
                    headers: headers
                        .iter()
                        .map(|(name, value)| {
                            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
                        })
                        .collect(),
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                log.lock().unwrap().push(request.clone());
                let Reply(status, headers, body) = (script.lock().unwrap())(&request);
                let mut response: Response = (StatusCode::from_u16(status).unwrap(), body).into_response();
                response.headers_mut().remove("content-type");
                for (name, value) in headers {
                    response.headers_mut().append(name, value.parse().unwrap());
                }
                response
            }
        };
        let app = axum::Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Server { url, seen }
    }

    /// What was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last request.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("nothing was asked")
    }

    /// Method and URL of every request.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

pub(crate) struct TestClock(tokio::time::Instant);

impl TestClock {
    pub(crate) fn start() -> TestClock {
        TestClock(tokio::time::Instant::now())
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-11-23T12:00:00Z").unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Both sides of a connector.
pub(crate) struct Rig {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) target: Arc<dyn Target>,
}

/// Opens a manifest on a server.
pub(crate) async fn open(manifest: &str, server: &Server) -> Rig {
    open_with(manifest, &server.url, json!({})).await.unwrap()
}

/// Opens a manifest with further settings.
pub(crate) async fn open_with(manifest: &str, url: &str, more: Json) -> Result<Rig> {
    let mut settings = json!({
        "kind": "rest", "manifest_toml": manifest, "endpoint": url, "allow_private_network": true, "timeout_secs": 5,
    });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    SourcePlugin::validate(&Rest, &settings)?;
    let secrets = [
        ("token", "s3cret-token"),
        ("api_key", "s3cret-key"),
        ("username", "ann"),
        ("password", "s3cret-pw"),
        ("client_id", "s3cret-client"),
        ("client_secret", "s3cret-cs"),
        ("secret", "s3cret-hmac"),
        ("webhook_secret", "s3cret-hook"),
        ("webhook_secret_previous", "s3cret-hook-before"),
    ];
    let ctx = OpenContext {
        system: "crm".into(),
        settings,
        secrets: secrets
            .iter()
            .map(|(name, secret)| ((*name).to_owned(), Secret::new(*secret)))
            .collect(),
        clock: Arc::new(TestClock::start()),
        network: None,
        shared: Shared::default(),
    };
    Ok(Rig {
        source: SourcePlugin::open(&Rest, &ctx).await?,
        target: TargetPlugin::open(&Rest, &ctx).await?,
    })
}

impl Rig {
    /// A poll from start to end, through the tokens.
    pub(crate) async fn list_all(&self, since: Option<&str>, limit: usize) -> Result<Vec<NativeRecord>> {
        let mut request = ListRequest {
            entity: "accounts".into(),
            since: since.map(|text| Timestamp::parse(text).unwrap().into()),
            after: None,
            limit,
        };
        let mut records = Vec::new();
        loop {
            let page = self.source.list(&request).await?;
            assert!(
                page.records.len() <= limit,
                "{} records, {limit} asked for",
                page.records.len()
            );
            records.extend(page.records);
            match page.next {
                None => return Ok(records),
                Some(next) => {
                    assert!(next.0.len() <= 1024, "token of {} bytes", next.0.len());
                    assert_ne!(request.after.as_ref(), Some(&next), "the same token again");
                    request.after = Some(next);
                }
            }
        }
    }

    /// Ids found for each value of a field.
    pub(crate) async fn find(&self, field: &str, values: &[&str]) -> Result<Vec<Vec<String>>> {
        let lookups: Vec<Lookup> = values
            .iter()
            .map(|value| Lookup::Field {
                field: field.into(),
                value: (*value).into(),
            })
            .collect();
        let found = self.source.find("accounts", &lookups).await?;
        Ok(found.iter().map(|records| ids(records)).collect())
    }

    pub(crate) async fn fetch(&self, ids: &[&str]) -> Result<Vec<NativeRecord>> {
        let ids: Vec<RecordId> = ids.iter().map(|id| RecordId::from(*id)).collect();
        self.source.fetch("accounts", &ids).await
    }

    pub(crate) async fn create(&self, fields: &[(&str, Value)]) -> Result<Written> {
        self.write(WriteAction::Create {
            fields: to_fields(fields),
        })
        .await
    }

    pub(crate) async fn update(&self, current: NativeRecord, fields: &[(&str, Value)]) -> Result<Written> {
        self.write(WriteAction::Update {
            current: Box::new(current),
            fields: to_fields(fields),
        })
        .await
    }

    pub(crate) async fn write(&self, action: WriteAction) -> Result<Written> {
        let write = Write {
            entity: "accounts".into(),
            action,
            send_by: Duration::from_secs(60),
        };
        self.target.write(&[write]).await.remove(0)
    }
}

pub(crate) fn to_fields(fields: &[(&str, Value)]) -> Fields {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

pub(crate) fn ids(records: &[NativeRecord]) -> Vec<String> {
    records.iter().map(|record| record.id.0.clone()).collect()
}

/// A record as the engine would hold it.
pub(crate) fn held(id: &str, version: Option<&str>, fields: &[(&str, Value)]) -> NativeRecord {
    NativeRecord {
        id: id.into(),
        stamp: None,
        created: None,
        version: version.map(str::to_owned),
        fields: to_fields(fields),
    }
}
