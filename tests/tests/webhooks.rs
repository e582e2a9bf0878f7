//! Events of Autotask reach a running host: signed ones bring a change at once, all others change nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use seamless_sandbox::{Config, HookForm};
use seamless_tests::{World, number, text};
use serde_json::{Value as Json, json};
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

/// A tenant whose host takes events and polls hardly ever.
fn listening(world: &World) -> SocketAddr {
    let address = free_address();
    world.private("secrets/webhooks", SECRET);
    world.configure("poll_interval_secs = 1", "poll_interval_secs = 3600");
    world.configure("[systems.crm]\n", &format!("webhook_secret = {{ file = \"secrets/webhooks\" }}\n\n[http]\nlisten = \"{address}\"\n\n[systems.crm]\n"));
    world.good_run();
    address
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
    let address = listening(&world);
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

/// How often something happened to the sandbox's events.
fn count(world: &World, what: &str) -> u64 {
    number(&world.get("/hooks")["counts"][what])
}

fn statuses(world: &World) -> Vec<u64> {
    let hooks = world.get("/hooks");
    let deliveries = hooks["deliveries"].as_array().expect("a list");
    deliveries
        .iter()
        .map(|delivery| number(&delivery["status"]))
        .collect()
}

#[test]
fn an_edit_in_autotask_reaches_the_crm_by_its_own_webhook() {
    let world = World::new(Config {
        records: 60,
        seed: 31,
        hourly_limit: 1_000_000,
        hook_form: HookForm::Both,
        ..Config::default()
    });
    let address = listening(&world);
    let url = format!("http://{address}/webhooks");
    let missing = world.seamless(&["autotask", "webhooks", "status", "--json"]);
    assert_eq!(missing.code, 4, "{missing:?}");
    for _ in 0..2 {
        let installed = world.seamless(&["autotask", "webhooks", "install", "--url", &url, "--json"]);
        assert_eq!(installed.code, 0, "{installed:?}");
        let states = installed.json();
        assert_eq!(states.as_array().map(Vec::len), Some(3), "{states:#}");
        for state in states.as_array().expect("states") {
            assert_eq!(
                (&state["active"], &state["mutes_us"]),
                (&json!(true), &json!(true)),
                "{state:#}"
            );
            assert!(number(&state["fields"]) > 20, "{state:#}");
        }
    }
    let callouts = world.get("/hooks")["callouts"].as_array().map(Vec::len);
    assert_eq!(callouts, Some(3), "installing twice is installing once");

    let host = world.start(&["run"]);
    wait_for("a listening host", || TcpStream::connect(address).is_ok());
    // The first look of a host comes with its start.
    std::thread::sleep(Duration::from_secs(2));
    let pairs: Vec<(Json, Json)> = world.linked("autotask", "account")[..4]
        .iter()
        .map(|account| {
            let record = world.record("autotask", "account", &account["id"]);
            (account["id"].clone(), record["counterpart"].clone())
        })
        .collect();
    let city = |at: usize| world.record("crm", "account", &pairs[at].1)["fields"]["city"].clone();
    let edit =
        |at: usize, city: &str| world.edit("autotask", "account", &pairs[at].0, json!({ "city": city }));
    // Signed over one form and over the other.
    for (at, name) in ["Größe & Söhne", "\"Quoted\" <'+`> 😀"].into_iter().enumerate() {
        edit(at, name);
        wait_for(name, || text(Some(&city(at))) == name);
    }
    assert_eq!(count(&world, "refused"), 0, "{:#}", world.get("/hooks"));

    // Forged and truncated ones are refused, and come again until they are right; what is behind them waits.
    let calls = world.last_call();
    world.faults(json!({ "hook_forged": { "next": 1 } }));
    edit(0, "Forged");
    wait_for("a refusal", || count(&world, "refused") == 1);
    world.faults(json!({ "hook_truncated": { "next": 1 } }));
    world.edit(
        "autotask",
        "contact",
        &world.linked("autotask", "contact")[0]["id"],
        json!({ "city": "Cut" }),
    );
    wait_for("another refusal", || count(&world, "refused") == 2);
    assert!(
        statuses(&world).iter().filter(|status| **status == 401).count() == 2,
        "{:?}",
        statuses(&world)
    );
    edit(1, "Behind");
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(world.writes_since(calls).len(), 0, "nobody was believed");
    world.post("/clock", json!({ "advance_secs": 31 }));
    wait_for("the second try", || text(Some(&city(0))) == "Forged");
    wait_for("what waited behind it", || text(Some(&city(1))) == "Behind");

    // Doubled, late and lost ones.
    let calls = world.last_call();
    world.faults(json!({ "hook_repeated": { "next": 1 }, "hook_late": { "next": 1, "delay_ms": 1500 } }));
    edit(2, "First");
    edit(2, "Second");
    wait_for("the last word", || text(Some(&city(2))) == "Second");
    wait_for("the late ones", || {
        count(&world, "delivered") == count(&world, "caused") + 1
    });
    std::thread::sleep(Duration::from_millis(600));
    let writes = world.writes_since(calls);
    assert!(writes.len() <= 2, "a repetition writes nothing: {writes:#?}");
    world.faults(json!({ "hook_lost": { "next": 1 } }));
    edit(3, "Lost");
    edit(2, "After the gap");
    wait_for("what follows a gap", || text(Some(&city(2))) == "After the gap");
    assert_ne!(text(Some(&city(3))), "Lost", "polling brings it");

    // A flood about one record, up to the vendor's threshold.
    let calls = world.last_call();
    let contact = world.linked("autotask", "contact")[1]["id"].clone();
    world.post(
        "/hooks/flood",
        json!({ "entity": "contact", "id": contact, "count": 3000 }),
    );
    wait_for("the threshold", || count(&world, "over_threshold") > 1_000);
    wait_for("the flood", || count(&world, "delivered") > 1_000);
    edit(0, "Still there");
    wait_for("a change amid the flood", || {
        text(Some(&city(0))) == "Still there"
    });
    assert!(
        world.writes_since(calls).len() < 5,
        "nothing was changed: nothing is written"
    );
    drop(host);

    // A host that is down: after 25 lost events in a row the callout is switched off, which `status` tells, and install puts right.
    for number in 0..25 {
        edit(0, &format!("Nobody hears {number}"));
        for _ in 0..5 {
            let before = statuses(&world).len();
            wait_for("a try", || {
                statuses(&world).len() > before || count(&world, "deactivated") == 1
            });
            world.post("/clock", json!({ "advance_secs": 31 }));
        }
    }
    wait_for("the end of it", || count(&world, "deactivated") == 1);
    let status = world.seamless(&["autotask", "webhooks", "status", "--json"]);
    assert_eq!(
        (status.code, &status.json()[0]["active"]),
        (4, &json!(false)),
        "{status:?}"
    );
    let again = world.seamless(&["autotask", "webhooks", "install", "--url", &url, "--json"]);
    assert_eq!(again.code, 0, "{again:?}");
    let removed = world.seamless(&["autotask", "webhooks", "remove", "--json"]);
    assert_eq!(removed.json()["removed"], 3);
    world.good_run();
    world.assert_in_step("after events");
}
