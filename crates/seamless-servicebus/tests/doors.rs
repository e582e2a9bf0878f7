//! Ways in: TLS, and an identity in place of a key.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stand;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use seamless_core::memory::MemoryStore;
use seamless_core::{Bus, ErrorKind, Secret};
use seamless_servicebus::{ConnectionString, Identity, Provisioner, ServiceBus, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use stand::{Real, emulator, message, settings};

/// A certificate for `localhost` by itself, good from 2020 to 2120, and its key: made for this test, and worth nothing.
const CERTIFICATE: &str = "MIIBUTCB+KADAgECAhQEA32WdPaVvZe4xU1BiHLzwvXwVDAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCXel0D2N3hknetIvyOwu7zlj16t26a2rgDcp9uodap/qWyMWb0sdTQTON2z+24C9d/i4DrgwK4rnjxqH6GJJzOjJjAkMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAMBgNVHRMBAf8EAjAAMAoGCCqGSM49BAMCA0gAMEUCIEpdYpNmERn15GzKAYUwdgd35n5CeYt9ElK/cPMgJs1+AiEAlCHD6ZCgxUEgGHOVJ5boY2if2kYXJED4fhtin7iM3U8=";
const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgU//Xvqi1ZzGfnVptIWq5NlZW2Zyjjm8vqaYOXcamYpyhRANCAAQl3pdA9jd4ZJ3rSL8jsLu85Y9erdumtq4A3KfbqHWqf6lsjFm9LHU0Ezjds/tuAvXf4uA64MCuK548ah+hiScz";

fn bus(settings: Settings) -> ServiceBus {
    ServiceBus::new(settings, Real::new(), Arc::new(MemoryStore::new())).unwrap()
}

/// TLS in front of an address, with a certificate for `localhost` that nobody else trusts. Where, and the certificate.
async fn encrypted(behind: SocketAddr) -> (SocketAddr, Vec<u8>) {
    let certificate = CertificateDer::from(STANDARD.decode(CERTIFICATE).unwrap());
    let key = PrivatePkcs8KeyDer::from(STANDARD.decode(KEY).unwrap());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(key))
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
    (address, certificate.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_with_who_can_prove_who_it_is() {
    let emulator = emulator(true).await;
    let (address, certificate) = encrypted(emulator.amqp_address()).await;
    let plain = emulator.connection_string();
    let connection = plain
        .replace(
            &format!(":{};", emulator.amqp_address().port()),
            &format!(":{};", address.port()),
        )
        .replace(";UseDevelopmentEmulator=true", "");
    let mut trusting = settings(&connection);
    trusting.extra_roots = vec![certificate];
    let trusting = bus(trusting);
    trusting.verify(&["crm".to_owned()]).await.unwrap();
    trusting.publish((0..50).map(message).collect()).await.unwrap();
    assert_eq!(trusting.depth("crm").await.unwrap(), 50);

    let error = bus(settings(&connection))
        .publish(vec![message(99)])
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("TLS"), "{error}");
    assert_eq!(trusting.depth("crm").await.unwrap(), 50, "and nothing was sent");
}

/// Answers every request with a token, and keeps the requests.
async fn authority(token: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 16_384];
            let mut length = 0;
            // A head, and whatever body its length promises.
            loop {
                length += stream.read(&mut request[length..]).await.unwrap();
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let promised = head
                    .to_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next().map(str::to_owned))
                    .map_or(0, |count| count.parse::<usize>().unwrap());
                if body.len() >= promised {
                    kept.lock().unwrap().push(text);
                    break;
                }
            }
            let body = format!("{{\"access_token\":\"{token}\",\"expires_in\":\"3600\"}}");
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_opens_what_a_key_would() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "of-the-pod\n").unwrap();
    let (managed_at, asked_managed) = authority("token-of-the-machine").await;
    let (app_at, asked_app) = authority("token-of-the-app").await;
    let (workload_at, asked_workload) = authority("token-of-the-workload").await;
    let identities = [
        (
            "token-of-the-machine",
            Identity::Managed {
                endpoint: managed_at,
                header: None,
                client_id: Some("mine".to_owned()),
            },
        ),
        (
            "token-of-the-app",
            Identity::Managed {
                endpoint: format!("{app_at}msi/token"),
                header: Some(Secret::new("platform")),
                client_id: None,
            },
        ),
        (
            "token-of-the-workload",
            Identity::Workload {
                authority: workload_at,
                tenant: "directory".to_owned(),
                client_id: "app".to_owned(),
                token_file,
            },
        ),
    ];
    for (token, identity) in identities {
        let emulator = emulator(true).await;
        let mut settings = settings(&emulator.connection_string());
        // The key is none: only the token can open it.
        let text = emulator
            .connection_string()
            .replace("SharedAccessKey=", "SharedAccessKey=no");
        settings.connection = ConnectionString::parse(&text).unwrap();
        settings.identity = Some(identity);
        let mut managing = settings.clone();
        let bus = bus(settings);
        let error = bus.publish(vec![message(0)]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Auth, "{token}: {error:?}");
        emulator.accept_token(token);
        bus.publish(vec![message(0)]).await.unwrap();
        assert_eq!(bus.depth("crm").await.unwrap(), 1);
        // Entities are managed with the same token.
        managing.connection = ConnectionString::parse(&emulator.http_connection_string()).unwrap();
        let provisioner = Provisioner::new(&managing, Real::new()).unwrap();
        let blueprint = managing.blueprint(&["crm".to_owned()], true);
        let plan = provisioner.plan(&blueprint).await.unwrap();
        assert_eq!(plan.tier, "Standard");
    }
    let first = |asked: &Arc<Mutex<Vec<String>>>| asked.lock().unwrap()[0].clone();
    let managed = first(&asked_managed);
    assert!(
        managed.starts_with("GET /metadata/identity/oauth2/token?") && managed.contains("metadata: true"),
        "{managed}"
    );
    assert!(managed.contains("client_id=mine"), "{managed}");
    let app = first(&asked_app);
    assert!(
        app.starts_with("GET /msi/token?") && app.contains("x-identity-header: platform"),
        "{app}"
    );
    let workload = first(&asked_workload);
    assert!(
        workload.starts_with("POST /directory/oauth2/v2.0/token"),
        "{workload}"
    );
    assert!(workload.contains("client_assertion=of-the-pod"), "{workload}");
    let asked = asked_managed.lock().unwrap().len();
    assert_eq!(
        asked, 2,
        "a token is kept as long as it is good: one by the bus, one by the provisioner"
    );
}
