//! A scripted Autotask on loopback: answers by a function, remembers every call.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seamless_autotask::Autotask;
use seamless_core::{
    Clock, OpenContext, Secret, Shared, Source, SourcePlugin, Target, TargetPlugin, Timestamp,
};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const SECRET: &str = "s3cr3t-marker";
pub const DATE: &str = "Mon, 23 Nov 2026 12:00:00 GMT";

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    /// Without the zone's prefix: `Companies/query`, or `zone`.
    pub path: String,
    /// The first segment of the zone's URL.
    pub zone: String,
    pub headers: BTreeMap<String, String>,
    pub body: Json,
}

impl Call {
    /// `POST Companies/query`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The conditions of a query, whatever group they are in.
    pub fn conditions(&self) -> Vec<Json> {
        self.body["filter"][0]["items"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

/// An answer; status 0 cuts the connection.
pub struct Reply {
    pub status: u16,
    pub body: String,
    pub headers: String,
}

pub fn ok(body: Json) -> Reply {
    status(200, body)
}

pub fn status(status: u16, body: Json) -> Reply {
    Reply {
        status,
        body: body.to_string(),
        headers: String::new(),
    }
}

pub fn errors(text: &str) -> Reply {
    status(500, json!({ "errors": [text] }))
}

pub fn rows(items: &[Json]) -> Reply {
    ok(
        json!({"items": items, "pageDetails": {"count": items.len(), "requestCount": 500, "nextPageUrl": null}}),
    )
}

pub struct Server {
    pub port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
    pub clock: Arc<TestClock>,
}

impl Server {
    /// Starts a server that answers zone information itself and everything else by `answer`.
    pub async fn start(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_in_zones(|_| "zone1".to_owned(), answer).await
    }

    /// As [`Server::start`]; `zone` names the zone for the n-th question; an empty name is an unknown user.
    pub async fn start_in_zones(
        zone: impl Fn(usize) -> String + Send + Sync + 'static,
        answer: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let log = calls.clone();
        let answer = Arc::new(move |call: &Call, asked: usize| match call.path.as_str() {
            "zone" if zone(asked).is_empty() => errors("Zone information could not be determined"),
            // Without a slash at the end: the connector has to join.
            "zone" => ok(json!({"zoneName": "z", "url": format!("http://127.0.0.1:{port}/{}", zone(asked))})),
            _ => answer(call),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (log.clone(), answer.clone());
                tokio::spawn(async move { converse(stream, log, &*answer).await });
            }
        });
        Server {
            port,
            calls,
            clock: Arc::default(),
        }
    }

    /// Calls so far, zone information included.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("not poisoned").clone()
    }

    /// `METHOD path` of the calls so far, without zone information.
    pub fn lines(&self) -> Vec<String> {
        self.calls()
            .iter()
            .filter(|call| call.path != "zone")
            .map(Call::line)
            .collect()
    }

    /// The last call.
    pub fn last(&self) -> Call {
        self.calls().pop().expect("a call")
    }

    fn context(&self, extra: Json) -> OpenContext {
        let mut settings = json!({
            "endpoint": format!("http://127.0.0.1:{}", self.port), "allow_private_network": true,
            "username": "user@EXAMPLE.COM", "integration_code": {"env": "C"}, "secret": {"env": "S"}, "timeout_secs": 5,
        });
        for (name, value) in extra.as_object().expect("an object") {
            settings[name] = value.clone();
        }
        OpenContext {
            system: "autotask".into(),
            settings,
            secrets: [("integration_code", "code"), ("secret", SECRET)]
                .map(|(name, secret)| (name.to_owned(), Secret::new(secret)))
                .into(),
            clock: self.clock.clone(),
            network: None,
            shared: Shared::default(),
        }
    }

    pub async fn source(&self, extra: Json) -> Arc<dyn Source> {
        SourcePlugin::open(&Autotask, &self.context(extra))
            .await
            .expect("opens")
    }

    pub async fn target(&self, extra: Json) -> Arc<dyn Target> {
        TargetPlugin::open(&Autotask, &self.context(extra))
            .await
            .expect("opens")
    }
}

/// Time that moves only when told to.
#[derive(Default)]
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

async fn converse(
    mut stream: TcpStream,
    log: Arc<Mutex<Vec<Call>>>,
    answer: &(dyn Fn(&Call, usize) -> Reply + Send + Sync),
) {
    while let Some(call) = read_call(&mut stream).await {
        let asked = {
            let mut log = log.lock().expect("not poisoned");
            log.push(call.clone());
            log.iter().filter(|call| call.path == "zone").count()
        };
        let reply = answer(&call, asked);
        if reply.status == 0 {
            return;
        }
        let length = reply.body.len();
        let head = format!(
            "HTTP/1.1 {} X\r\ndate: {DATE}\r\ncontent-type: application/json\r\n{}content-length: {length}\r\n\r\n",
            reply.status, reply.headers
        );
        if stream.write_all((head + &reply.body).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_call(stream: &mut TcpStream) -> Option<Call> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                break (head, bytes.split_off(end + 4));
            }
        }
        let mut buffer = [0; 16_384];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    };
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, url) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let (zone, path) = match url.split_once("/V1.0/") {
        Some((zone, path)) => (zone.trim_matches('/').to_owned(), path.to_owned()),
        None => {
            assert_eq!(
                url,
                "/atservicesrest/v1.0/zoneInformation?user=user%40EXAMPLE.COM"
            );
            (String::new(), "zone".to_owned())
        }
    };
    let body = serde_json::from_slice(&body).unwrap_or(Json::Null);
    Some(Call {
        method,
        path,
        zone,
        headers,
        body,
    })
}
