//! A host whose messages wait in a namespace of Azure Service Bus: who opens it, and what it says when the namespace refuses.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use seamless_emulator::{Emulator, Options};
use seamless_tests::{Ended, World};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Exit codes of `seamless --help`.
const CONFIG: i32 = 2;
const REFUSED: i32 = 3;

/// A certificate for `localhost` by itself, good from 2020 to 2120, and its key: made for this test, and worth nothing.
const CERTIFICATE: &str = "MIIBUTCB+KADAgECAhQEA32WdPaVvZe4xU1BiHLzwvXwVDAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCXel0D2N3hknetIvyOwu7zlj16t26a2rgDcp9uodap/qWyMWb0sdTQTON2z+24C9d/i4DrgwK4rnjxqH6GJJzOjJjAkMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAMBgNVHRMBAf8EAjAAMAoGCCqGSM49BAMCA0gAMEUCIEpdYpNmERn15GzKAYUwdgd35n5CeYt9ElK/cPMgJs1+AiEAlCHD6ZCgxUEgGHOVJ5boY2if2kYXJED4fhtin7iM3U8=";
const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgU//Xvqi1ZzGfnVptIWq5NlZW2Zyjjm8vqaYOXcamYpyhRANCAAQl3pdA9jd4ZJ3rSL8jsLu85Y9erdumtq4A3KfbqHWqf6lsjFm9LHU0Ezjds/tuAvXf4uA64MCuK548ah+hiScz";

const TOPIC: &str = "seamless-demo";
const BY_KEY: &str = "\n[bus]\nkind = \"service-bus\"\nconnection = { file = \"secrets/service-bus\" }\nmanage = { file = \"secrets/service-bus-manage\" }\n";

/// A tenant of small systems, and a namespace that is set up for it.
struct Scene {
    world: World,
    emulator: Emulator,
    // After what lives on it.
    runtime: Runtime,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let runtime = Runtime::new().unwrap();
        let emulator = runtime.block_on(Emulator::start(Options::default())).unwrap();
        let world = World::of(24, seed);
        let [limited, _] = emulator.limited_connection_strings();
        world.private("secrets/service-bus", &limited);
        world.private("secrets/service-bus-manage", &emulator.http_connection_string());
        let scene = Scene {
            world,
            emulator,
            runtime,
        };
        scene.bus(BY_KEY);
        let applied = scene.world.seamless(&["bus", "apply"]);
        assert_eq!(applied.code, 0, "{applied:?}");
        scene
    }

    /// Puts a `[bus]` in place of the one that is there.
    fn bus(&self, table: &str) {
        let file = self.world.path("tenant.toml");
        let tenant = fs::read_to_string(&file).unwrap();
        let before = tenant.split("\n[bus]").next().unwrap();
        fs::write(file, format!("{before}{table}")).unwrap();
    }

    fn subscription(name: &str) -> String {
        format!("{TOPIC}/Subscriptions/{name}")
    }
}

fn assert_says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, code, "{ended:?}");
    let said = ended.said();
    for word in words {
        assert!(said.contains(word), "nobody says {word:?}: {ended:?}");
    }
}

/// TLS in front of an address, with a certificate for `localhost` that nobody trusts who is not told to.
async fn encrypted(behind: SocketAddr) -> SocketAddr {
    let certificate = CertificateDer::from(STANDARD.decode(CERTIFICATE).unwrap());
    let key = PrivatePkcs8KeyDer::from(STANDARD.decode(KEY).unwrap());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us goes away in the middle.
                let Ok(mut outside) = acceptor.accept(stream).await else {
                    return;
                };
                let mut inside = TcpStream::connect(behind).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut outside, &mut inside).await);
            });
        }
    });
    address
}

/// Stands in for Microsoft Entra: whoever asks gets this token.
async fn authority(token: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 16_384];
            // A request this small comes in one piece or two; its head is enough to answer.
            drop(stream.read(&mut request).await);
            let body = format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}");
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    address
}

#[test]
fn an_identity_and_a_host_name_are_enough() {
    let scene = Scene::new(51);
    let world = &scene.world;
    let tcp = scene.runtime.block_on(encrypted(scene.emulator.amqp_address()));
    let web = scene.runtime.block_on(encrypted(scene.emulator.http_address()));
    let asked = scene.runtime.block_on(authority("token-of-the-workload"));
    fs::write(world.path("token"), "of-the-pod").unwrap();
    fs::write(
        world.path("ca.pem"),
        format!("-----BEGIN CERTIFICATE-----\n{CERTIFICATE}\n-----END CERTIFICATE-----\n"),
    )
    .unwrap();
    let token_file = world.path("token").display().to_string();
    let environment = [
        ("AZURE_AUTHORITY_HOST", asked.as_str()),
        ("AZURE_TENANT_ID", "directory"),
        ("AZURE_CLIENT_ID", "app-of-the-host"),
        ("AZURE_FEDERATED_TOKEN_FILE", token_file.as_str()),
    ];
    let table = |address: SocketAddr, rest: &str| {
        format!(
            "\n[bus]\nkind = \"service-bus\"\nnamespace = \"localhost:{}\"\nidentity = \"workload\"\n{rest}",
            address.port()
        )
    };
    let run = |args: &[&str]| world.seamless_with(&environment, args);
    let once = ["run", "--once", "--accept", "--json"];

    scene.bus(&table(tcp, "ca_file = \"ca.pem\"\n"));
    let missing = world.seamless(&["check"]);
    assert_says(
        &missing,
        CONFIG,
        &["AZURE_TENANT_ID", "tenant.toml", "bus.identity"],
    );
    assert_says(&run(&once), REFUSED, &["the key is not accepted"]);
    scene.emulator.accept_token("token-of-the-workload");
    assert_says(
        &run(&["check"]),
        0,
        &["localhost", "opened by the workload identity app-of-the-host"],
    );
    assert_says(&run(&once), 0, &[]);
    world.assert_in_step("by an identity");
    // The same, inside HTTPS: there the entities are managed, too.
    scene.bus(&table(web, "ca_file = \"ca.pem\"\ntransport = \"websocket\"\n"));
    assert_says(&run(&["bus", "plan"]), 0, &[]);
    let account = world.linked("crm", "account")[0]["id"].clone();
    world.edit("crm", "account", &account, json!({ "city": "Troy" }));
    assert_says(&run(&once), 0, &[]);
    world.assert_in_step("over a WebSocket");
    // A server that cannot prove who it is gets nothing.
    scene.bus(&table(web, "transport = \"websocket\"\n"));
    assert_says(&run(&once), REFUSED, &["TLS"]);
}

/// What a namespace may do to a host, and what the host says.
struct Trouble {
    name: &'static str,
    begin: fn(&Emulator),
    end: fn(&Emulator),
    says: &'static str,
    /// Whether the host waits for its end.
    waits: bool,
}

const TROUBLES: [Trouble; 3] = [
    Trouble {
        name: "disabled",
        begin: |emulator| emulator.set_disabled(TOPIC, true),
        end: |emulator| emulator.set_disabled(TOPIC, false),
        says: "the topic or subscription is disabled",
        waits: true,
    },
    Trouble {
        name: "quota full",
        begin: |emulator| {
            for name in ["crm", "autotask"] {
                emulator.set_quota(&Scene::subscription(name), 0);
            }
        },
        end: |emulator| {
            for name in ["crm", "autotask"] {
                emulator.set_quota(&Scene::subscription(name), 1_000_000);
            }
        },
        says: "the quota is used up",
        waits: true,
    },
    Trouble {
        name: "too large",
        begin: |emulator| emulator.set_message_bytes_max(TOPIC, 100),
        end: |emulator| emulator.set_message_bytes_max(TOPIC, 262_144),
        says: "the message is too large for the entity",
        waits: false,
    },
];

#[test]
fn what_the_namespace_refuses_is_said_and_nothing_is_lost() {
    let scene = Scene::new(52);
    let world = &scene.world;
    world.good_run();
    for (number, trouble) in TROUBLES.iter().enumerate() {
        let account = world.linked("crm", "account")[number]["id"].clone();
        world.edit(
            "crm",
            "account",
            &account,
            json!({ "city": format!("Troy {number}") }),
        );
        (trouble.begin)(&scene.emulator);
        let running = world.start(&["run", "--once", "--accept", "--json"]);
        // Long enough to meet it: a host that waits asks again after ten seconds.
        std::thread::sleep(Duration::from_secs(4));
        (trouble.end)(&scene.emulator);
        let ended = running.wait(Duration::from_secs(60));
        assert!(ended.said().contains(trouble.says), "{}: {ended:?}", trouble.name);
        if trouble.waits {
            assert_eq!(ended.code, 0, "{}: {ended:?}", trouble.name);
        } else {
            assert_eq!(ended.code, REFUSED, "{}: {ended:?}", trouble.name);
            world.good_run();
        }
        world.assert_in_step(trouble.name);
    }
}

#[test]
fn a_topic_that_is_gone_is_said_and_made_again() {
    let scene = Scene::new(53);
    let world = &scene.world;
    world.good_run();
    let account = world.linked("crm", "account")[0]["id"].clone();
    world.edit("crm", "account", &account, json!({ "city": "Troy" }));
    for path in [
        &Scene::subscription("crm"),
        &Scene::subscription("autotask"),
        TOPIC,
    ] {
        assert!(scene.emulator.remove(path), "{path}");
        let ended = world.run_once();
        assert_says(&ended, REFUSED, &["the topic or subscription does not exist"]);
    }
    assert_eq!(world.seamless(&["bus", "apply"]).code, 0);
    world.good_run();
    world.assert_in_step("with a new topic");
}

#[test]
fn a_connection_that_is_cut_again_and_again_loses_nothing() {
    let scene = Scene::new(54);
    let world = &scene.world;
    let running = world.start(&["run", "--once", "--accept", "--json"]);
    for _ in 0..20 {
        scene.emulator.kill_connections();
        scene.emulator.detach_links();
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = running.wait(Duration::from_secs(60));
    assert!(matches!(ended.code, 0 | REFUSED), "{ended:?}");
    world.good_run();
    world.assert_in_step("after the cuts");
}
