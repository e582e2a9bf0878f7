//! Events of Autotask reach a running host: signed ones bring a change at once, all others change nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use seamless_tests::World;
use serde_json::json;
use sha1::Sha1;

const SECRET: &str = "a secret of twenty-four ch";

/// An address that is free at this moment.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback ports are there");
    listener.local_addr().expect("it has an address")
}

fn send(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the host listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .expect("a timeout can be set");
    // A server that refuses may close before everything is sent.
    drop(stream.write_all(request));
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), answer)
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    send(address, head.as_bytes())
}

fn post(address: SocketAddr, path: &str, body: &str, signature: Option<&str>) -> u16 {
    let signed = signature.map_or_else(String::new, |signature| {
        format!("X-Hook-Signature: sha1={signature}\r\n")
    });
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{signed}Content-Length: {length}\r\n\r\n{body}"
    );
    send(address, head.as_bytes()).0
}

fn signed(body: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("any length is a key");
    mac.update(body.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..400 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} did not happen");
}

#[test]
fn a_signed_event_brings_a_change_at_once_and_a_forged_one_nothing() {
    let world = World::of(40, 30);
    let address = free_address();
    world.private("secrets/webhooks", SECRET);
    world.configure("poll_interval_secs = 1", "poll_interval_secs = 3600");
    world.configure("[systems.crm]\n", &format!("webhook_secret = {{ file = \"secrets/webhooks\" }}\n\n[http]\nlisten = \"{address}\"\n\n[systems.crm]\n"));
    world.good_run();
    let host = world.start(&["run"]);
    wait_for("a listening host", || TcpStream::connect(address).is_ok());
    // The first look of a host comes with its start.
    std::thread::sleep(Duration::from_secs(2));

    let account = world.linked("autotask", "account")[0].clone();
    let counterpart = world.record("autotask", "account", &account["id"])["counterpart"].clone();
    let city = || world.record("crm", "account", &counterpart)["fields"]["city"].clone();
    world.edit(
        "autotask",
        "account",
        &account["id"],
        json!({ "city": "Troy & Cō" }),
    );
    let event =
        json!({ "Action": "Update", "Guid": "1", "EntityType": "Account", "Id": account["id"] }).to_string();

    let forged = signed(&event.replace("Update", "Create"));
    assert_eq!(post(address, "/webhooks/autotask", &event, None), 401);
    assert_eq!(post(address, "/webhooks/autotask", &event, Some(&forged)), 401);
    assert_eq!(
        post(address, "/webhooks/crm", &event, Some(&signed(&event))),
        404,
        "it sends no events"
    );
    assert_eq!(
        post(address, "/webhooks/nobody", &event, Some(&signed(&event))),
        404
    );
    assert_eq!(
        post(address, "/webhooks/autotask", "[]", Some(&signed("[]"))),
        400
    );
    let huge = "x".repeat(2 << 20);
    assert!(matches!(
        post(address, "/webhooks/autotask", &huge, Some(&signed(&huge))),
        0 | 413
    ));
    std::thread::sleep(Duration::from_millis(800));
    assert_ne!(city(), "Troy & Cō", "nobody was believed");

    assert_eq!(
        post(address, "/webhooks/autotask", &event, Some(&signed(&event))),
        200
    );
    wait_for("the change", || city() == "Troy & Cō");
    let calls = world.last_call();
    assert_eq!(
        post(address, "/webhooks/autotask", &event, Some(&signed(&event))),
        200,
        "a repetition is no news"
    );
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(world.writes_since(calls).len(), 0);

    assert_eq!(get(address, "/healthz").0, 200);
    assert_eq!(get(address, "/readyz").0, 200);
    let (status, metrics) = get(address, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("seamless_pairs{sync=\"account\"}"), "{metrics}");
    assert!(
        metrics.contains("seamless_budget_limit{system=\"autotask\"}"),
        "{metrics}"
    );
    assert_eq!(get(address, "/nowhere").0, 404);
    drop(host);
}
