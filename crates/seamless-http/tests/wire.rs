//! The client against a raw server on loopback: each way a call can fail, and what it may have done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{Clock, Effect, Error, ErrorKind, Secret, Timestamp};
use seamless_http::{HttpClient, HttpSettings, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SECRET: &str = "s3cr3t-marker";
const OK: &str = "HTTP/1.1 200 OK\r\ndate: Mon, 23 Nov 2026 12:00:00 GMT\r\ncontent-length: 2\r\n\r\n{}";

/// What the server does with a request; connections are kept open unless it says so.
#[derive(Clone)]
enum Act {
    Say(Vec<u8>),
    /// Says it, then closes.
    SayAndCut(Vec<u8>),
    /// Reads the request and never answers.
    Silence,
    /// One byte every 20 ms, for ever.
    Drip,
}

struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
    /// Requests that arrived complete, body included.
    requests: Arc<AtomicUsize>,
}

async fn serve(act: Act) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("http://{}/api", listener.local_addr().expect("bound"));
    let server = Server {
        url,
        connections: Arc::default(),
        requests: Arc::default(),
    };
    let (connections, requests) = (server.connections.clone(), server.requests.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(converse(stream, act.clone(), requests.clone()));
        }
    });
    server
}

async fn converse(mut stream: TcpStream, act: Act, requests: Arc<AtomicUsize>) {
    while read_request(&mut stream).await.is_some() {
        requests.fetch_add(1, Ordering::SeqCst);
        match &act {
            Act::Say(bytes) => drop(stream.write_all(bytes).await),
            Act::SayAndCut(bytes) => {
                drop(stream.write_all(bytes).await);
                return;
            }
            Act::Silence => std::future::pending().await,
            Act::Drip => {
                drop(
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                        .await,
                );
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

/// The head of a complete request, or `None` when the connection ended before it was complete.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse().expect("a number"));
            if bytes.len() >= end + 4 + length {
                return Some(head);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Time that moves only when told to, or by sleeping; every look at it costs `tick`.
#[derive(Default)]
struct TestClock {
    millis: AtomicU64,
    tick: u64,
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.millis.fetch_add(self.tick, Ordering::SeqCst))
    }
    async fn sleep(&self, duration: Duration) {
        self.millis
            .fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }
}

fn settings(url: &str) -> HttpSettings {
    HttpSettings {
        allow_private_network: true,
        ..HttpSettings::new(url)
    }
}

fn client(settings: HttpSettings) -> HttpClient {
    HttpClient::new(settings, Arc::new(TestClock::default())).expect("good settings")
}

fn write() -> Request {
    Request::post("records")
        .secret_header("secret", &Secret::new(SECRET))
        .query("token", SECRET)
        .json(&serde_json::json!({"name": "x"}))
        .writes()
}

fn assert_discreet(error: &Error) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(!shown.contains('?'), "the query is in the error: {shown}");
}

#[tokio::test]
async fn each_transport_failure_says_what_it_may_have_done() {
    let quick = |url: &str| HttpSettings {
        connect_timeout: Duration::from_millis(300),
        read_timeout: Duration::from_millis(200),
        total_timeout: Duration::from_millis(600),
        body_bytes_max: 1_000,
        ..settings(url)
    };
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        format!("http://{}", listener.local_addr().expect("bound"))
    };
    let say = |text: &str| Act::SayAndCut(text.as_bytes().to_vec());
    use Effect::{NotApplied, Unknown};
    use ErrorKind::{Limit, Protocol, Unavailable};
    let cases: Vec<(&str, String, ErrorKind, Effect)> = vec![
        ("connection refused", closed, Unavailable, NotApplied),
        (
            "unknown host",
            "http://no-such-host.invalid".into(),
            Unavailable,
            NotApplied,
        ),
        ("no answer", serve(Act::Silence).await.url, Unavailable, Unknown),
        ("slow loris", serve(Act::Drip).await.url, Unavailable, Unknown),
        (
            "cut before the head",
            serve(say("")).await.url,
            Unavailable,
            Unknown,
        ),
        (
            "cut within the body",
            serve(say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"))
                .await
                .url,
            Unavailable,
            Unknown,
        ),
        (
            "not http",
            serve(say("220 smtp ready\r\n\r\n")).await.url,
            Unavailable,
            Unknown,
        ),
        (
            "broken gzip",
            serve(say(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd",
            ))
            .await
            .url,
            Protocol,
            Unknown,
        ),
        (
            "huge plain body",
            serve(say(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{}",
                "x".repeat(2_000)
            )))
            .await
            .url,
            Limit,
            Unknown,
        ),
    ];
    for (name, url, kind, effect) in cases {
        let client = client(quick(&url));
        let error = client.send(write()).await.expect_err(name);
        assert_eq!((error.kind, error.effect), (kind, effect), "{name}: {error:?}");
        assert_eq!(error.is_transient(), kind == Unavailable, "{name}: {error:?}");
        assert_discreet(&error);
        let read = client
            .send(Request::get("records").query("token", SECRET))
            .await
            .expect_err(name);
        assert_eq!(
            (read.kind, read.effect),
            (kind, NotApplied),
            "{name}, as a read: {read:?}"
        );
        assert_discreet(&read);
    }
}

#[tokio::test]
async fn a_compressed_bomb_stops_at_the_cap() {
    let bomb = gzip_of_zeros(256 * 1024 * 1024);
    assert!(bomb.len() < 3 * 1024 * 1024);
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    )
    .into_bytes();
    answer.extend(bomb);
    let server = serve(Act::SayAndCut(answer)).await;
    let error = client(settings(&server.url))
        .send(Request::get(""))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Limit, "{error:?}");
}

/// A gzip stream of zeros, made by hand: one literal, then "258 times the byte before" again and again (fixed Huffman codes).
fn gzip_of_zeros(length: usize) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut count) = (0u64, 0);
    let mut push = |code: u64, width: u32, bytes: &mut Vec<u8>| {
        for bit in 0..width {
            bits |= (code >> bit & 1) << count;
            count += 1;
            if count == 8 {
                bytes.push(bits as u8);
                (bits, count) = (0, 0);
            }
        }
    };
    push(0b011, 3, &mut bytes); // last block, fixed codes
    push(0b0000_1100, 8, &mut bytes); // literal 0 (00110000, highest bit first)
    for _ in 0..length / 258 {
        push(0b1010_0011, 8, &mut bytes); // length 258 (code 285: 11000101, highest bit first)
        push(0, 5, &mut bytes); // distance 1
    }
    push(0, 7, &mut bytes); // end of block
    push(0, 7, &mut bytes); // fill the last byte
    bytes.extend([0; 8]);
    bytes
}

#[tokio::test]
async fn redirects_are_answers_and_are_not_followed() {
    let elsewhere = serve(Act::Say(OK.into())).await;
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.url
    );
    let server = serve(Act::Say(answer.into_bytes())).await;
    let response = client(settings(&server.url)).send(write()).await.unwrap();
    assert_eq!(response.status, 302);
    assert_eq!(seamless_http::status_error(&response).kind, ErrorKind::Protocol);
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn next_pages_must_stay_on_the_origin() {
    let client = client(settings("https://crm.example.com/api/v2"));
    let own = [
        (
            "https://crm.example.com/api/v2/contacts?page=2",
            "https://crm.example.com/api/v2/contacts?page=2",
        ),
        (
            "/api/v2/contacts?page=2",
            "https://crm.example.com/api/v2/contacts?page=2",
        ),
        (
            "contacts?page=2",
            "https://crm.example.com/api/v2/contacts?page=2",
        ),
        ("https://CRM.example.com:443/x", "https://crm.example.com/x"),
    ];
    for (url, absolute) in own {
        assert_eq!(client.same_origin(url).unwrap(), absolute);
    }
    let foreign = [
        ("https://evil.example.com/api/v2?page=2", "evil.example.com"),
        ("http://crm.example.com/api/v2", "http://crm.example.com"),
        ("https://crm.example.com:8443/", ":8443"),
        ("//evil.example.com/", "evil.example.com"),
        ("https://crm.example.com@evil.example.com/", "evil.example.com"),
        ("https://user:pass@crm.example.com/", "crm.example.com"),
        ("https://crm.example.com.evil.org/", "crm.example.com.evil.org"),
        ("file:///etc/passwd", ""),
    ];
    for (url, named) in foreign {
        let error = client.same_origin(url).expect_err(url);
        assert_eq!(error.kind, ErrorKind::Protocol);
        assert!(error.message().contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_foreign_absolute_url_is_refused_before_anything_is_sent() {
    let server = serve(Act::Say(OK.into())).await;
    let client = client(settings(&server.url));
    for path in ["http://evil.example.com/", "a/../b", "a/%2e%2E/b", ".."] {
        client.send(Request::get(path)).await.expect_err(path);
    }
    assert_eq!(
        (client.calls(), server.connections.load(Ordering::SeqCst)),
        (0, 0)
    );
}

#[tokio::test]
async fn private_addresses_are_refused() {
    for url in [
        "https://127.0.0.1:1/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://10.0.0.1",
    ] {
        let error = HttpSettings::new(url).validate().expect_err(url);
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message().contains("allow_private_network"), "{error}");
    }
    let error = client(HttpSettings::new("https://localhost:1/"))
        .send(write())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Config, Effect::NotApplied),
        "{error:?}"
    );
    assert!(error.message().contains("allow_private_network"), "{error}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let cases = [
        ("http://crm.example.com", "https://"),
        ("ftp://crm.example.com", "https://"),
        ("crm.example.com", "url"),
        ("https://user:marker@crm.example.com", "credentials"),
        ("https://crm.example.com?x=marker", "query"),
    ];
    for (url, part) in cases {
        let error = HttpSettings::new(url).validate().expect_err(url);
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(
            error.message().contains(part) && !error.message().contains("marker"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_late_call_is_not_sent() {
    let server = serve(Act::Say(OK.into())).await;
    // Late already when its turn comes.
    let clock = Arc::new(TestClock {
        millis: 5_000.into(),
        tick: 0,
    });
    let at_queue = HttpClient::new(settings(&server.url), clock).unwrap();
    // In time when it leaves the queue, late when the connection asks for the body: each look at the clock takes 600 ms.
    let clock = Arc::new(TestClock {
        millis: 0.into(),
        tick: 600,
    });
    let at_wire = HttpClient::new(settings(&server.url), clock).unwrap();
    for (client, by) in [(at_queue, 4_999), (at_wire, 500)] {
        let error = client
            .send(write().send_by(Duration::from_millis(by)))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.effect),
            (ErrorKind::Unavailable, Effect::NotApplied),
            "{error:?}"
        );
        assert!(
            error.is_transient() && error.message().contains("not sent"),
            "{error:?}"
        );
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    let clock = Arc::new(TestClock::default());
    let in_time = HttpClient::new(settings(&server.url), clock).unwrap();
    in_time
        .send(write().send_by(Duration::from_secs(1)))
        .await
        .unwrap();
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_rate_limit_waits_on_the_clock_and_gives_up_what_would_be_late() {
    let server = serve(Act::Say(OK.into())).await;
    let clock = Arc::new(TestClock::default());
    let settings = HttpSettings {
        requests_per_second: Some(1.0),
        ..settings(&server.url)
    };
    let client = HttpClient::new(settings, clock.clone()).unwrap();
    for _ in 0..4 {
        client.send(Request::get("")).await.unwrap();
    }
    assert_eq!(clock.monotonic(), Duration::from_secs(3));
    let error = client
        .send(write().send_by(Duration::from_millis(3_500)))
        .await
        .unwrap_err();
    assert_eq!(error.effect, Effect::NotApplied);
    assert_eq!((client.calls(), server.requests.load(Ordering::SeqCst)), (4, 4));
}

#[tokio::test]
async fn connections_are_reused_and_the_servers_clock_is_told() {
    let server = serve(Act::Say(OK.into())).await;
    let client = client(settings(&server.url));
    for _ in 0..20 {
        let response = client.send(write()).await.unwrap();
        assert_eq!(response.server_time, Timestamp::parse("2026-11-23T12:00:00Z"));
        assert_eq!(response.json().unwrap(), serde_json::json!({}));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    assert_eq!(client.calls(), 20);
}

#[tokio::test]
async fn an_endpoint_has_no_more_calls_at_once_than_allowed() {
    let server = serve(Act::Silence).await;
    let settings = HttpSettings {
        concurrency_per_endpoint: 2,
        ..settings(&server.url)
    };
    let client = Arc::new(client(settings));
    let calls: Vec<_> = ["a", "a", "a", "b"]
        .map(|endpoint| {
            let client = client.clone();
            tokio::spawn(async move { client.send(Request::get("").endpoint(endpoint)).await.map(drop) })
        })
        .into();
    // Three arrive (two of a, one of b); the fourth would arrive within this time if nothing held it.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 3);
    assert_eq!(client.calls(), 3);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn headers_that_cannot_be_sent_are_named_without_their_value() {
    let client = client(settings("https://crm.example.com"));
    let request = Request::get("").secret_header("token", &Secret::new(format!("{SECRET}\n")));
    let error = client.send(request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message().contains("'token'"), "{error}");
    assert_discreet(&error);
}
