//! Large bodies in a container of Azure Blob Storage: a server of our own that answers as the documentation says, on loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stand;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seamless_core::{BlobStore, ErrorKind, Secret};
use seamless_servicebus::AzureBlobs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use stand::Real;

const CONTAINER: &str = "/account/claims";
/// `a+b/c=`, as a signature may look.
const SIGNATURE: &str = "a%2Bb%2Fc%3D";
const NOW: &str = "Thu, 26 Nov 2026 08:00:00 GMT";
/// Two hours before.
const OLD: &str = "Thu, 26 Nov 2026 06:00:00 GMT";
/// Names in a page of this server: small, so that there are several.
const PAGE: usize = 2;

/// Bodies by name, with the time of each.
type Kept = Arc<Mutex<BTreeMap<String, (&'static str, Vec<u8>)>>>;

/// What a server answers: status, error code, body.
type Answer = (u16, &'static str, Vec<u8>);

async fn container() -> (String, Kept) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}{CONTAINER}", listener.local_addr().unwrap());
    let kept = Kept::default();
    let shared = kept.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, shared.clone()));
        }
    });
    (address, kept)
}

async fn serve(mut stream: TcpStream, kept: Kept) {
    let mut read = Vec::new();
    let head = loop {
        if let Some(at) = read.windows(4).position(|part| part == b"\r\n\r\n") {
            break String::from_utf8(read.drain(..at + 4).collect()).unwrap();
        }
        if stream.read_buf(&mut read).await.unwrap() == 0 {
            return;
        }
    };
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    while read.len() < length {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the body is whole");
    }
    let (status, code, body) = answer(&head, read, &kept);
    let mut text = format!(
        "HTTP/1.1 {status} said\r\nx-ms-request-id: 1\r\nx-ms-version: 2021-12-02\r\ndate: {NOW}\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    );
    if !code.is_empty() {
        text += &format!("x-ms-error-code: {code}\r\n");
    }
    stream.write_all((text + "\r\n").as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

fn answer(head: &str, body: Vec<u8>, kept: &Kept) -> Answer {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap();
    let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    if query.get("sig") != Some(&SIGNATURE) {
        return (403, "AuthenticationFailed", Vec::new());
    }
    let Some(rest) = path.strip_prefix(CONTAINER) else {
        return (404, "ContainerNotFound", Vec::new());
    };
    let name = rest.trim_start_matches('/').to_owned();
    let mut kept = kept.lock().unwrap();
    match method {
        "PUT" if header(head, "x-ms-blob-type") != Some("BlockBlob") => {
            (400, "MissingRequiredHeader", Vec::new())
        }
        "PUT" => {
            kept.insert(name, (NOW, body));
            (201, "", Vec::new())
        }
        "GET" if name.is_empty() => {
            assert_eq!((query["restype"], query["comp"]), ("container", "list"));
            (
                200,
                "",
                list(&kept, query["prefix"], query.get("marker").copied()),
            )
        }
        "GET" => match kept.get(&name) {
            Some((_, body)) => (200, "", body.clone()),
            None => (404, "BlobNotFound", Vec::new()),
        },
        "DELETE" => match kept.remove(&name) {
            Some(_) => (202, "", Vec::new()),
            None => (404, "BlobNotFound", Vec::new()),
        },
        other => panic!("{other}"),
    }
}

/// As the service lists: a byte order mark, properties, and a marker where there is more.
fn list(kept: &BTreeMap<String, (&'static str, Vec<u8>)>, prefix: &str, marker: Option<&str>) -> Vec<u8> {
    let prefix = prefix.replace("%2F", "/");
    let skip: usize = marker.map_or(0, |marker| marker.parse().unwrap());
    let names: Vec<_> = kept
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix))
        .collect();
    let blobs: String = names
        .iter()
        .skip(skip)
        .take(PAGE)
        .map(|(name, (at, body))| {
            format!(
                "<Blob><Name>{name}</Name><Properties><Last-Modified>{at}</Last-Modified><Content-Length>{}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>",
                body.len()
            )
        })
        .collect();
    let next = if skip + PAGE < names.len() {
        format!("<NextMarker>{}</NextMarker>", skip + PAGE)
    } else {
        "<NextMarker />".to_owned()
    };
    format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>{blobs}</Blobs>{next}</EnumerationResults>")
        .into_bytes()
}

fn blobs(container: &str, signature: &str) -> AzureBlobs {
    let url = format!("{container}?sv=2021-12-02&sp=rcwdl&sig={signature}");
    AzureBlobs::new(&Secret::new(url), Vec::new(), Real::new()).unwrap()
}

#[tokio::test]
async fn bodies_are_kept_by_name_and_orphans_are_found() {
    let (address, kept) = container().await;
    let blobs = blobs(&address, SIGNATURE);
    assert!(blobs.get("crm/a1", 10).await.unwrap().is_none());
    let large = vec![7; 3 << 20];
    blobs.put("crm/a1", large.clone()).await.unwrap();
    assert_eq!(blobs.get("crm/a1", 4 << 20).await.unwrap(), Some(large));
    let too_large = blobs.get("crm/a1", 1 << 20).await.unwrap_err();
    assert_eq!(too_large.kind, ErrorKind::Limit);

    for number in 0..5 {
        let mut kept = kept.lock().unwrap();
        kept.insert(format!("crm/old{number}"), (OLD, Vec::new()));
        kept.insert(format!("autotask/old{number}"), (OLD, Vec::new()));
    }
    let hour = Duration::from_secs(3_600);
    let orphans = blobs.list("crm", hour, 10).await.unwrap();
    assert_eq!(
        orphans,
        ["crm/old0", "crm/old1", "crm/old2", "crm/old3", "crm/old4"]
    );
    assert_eq!(blobs.list("crm", hour, 3).await.unwrap().len(), 3);
    assert!(blobs.list("crm", 3 * hour, 10).await.unwrap().is_empty());
    for name in orphans {
        blobs.delete(&name).await.unwrap();
    }
    assert!(blobs.list("crm", hour, 10).await.unwrap().is_empty());
    blobs.delete("crm/a1").await.unwrap();
    blobs.delete("crm/a1").await.unwrap();
    assert!(blobs.get("crm/a1", 10).await.unwrap().is_none());
    for name in ["a1", "crm/", "crm/a/b", "../a1", "crm/.."] {
        assert!(blobs.get(name, 10).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_container_is_said_without_its_signature() {
    let (address, _) = container().await;
    let other = address.replace("claims", "others");
    let cases = [
        (address.as_str(), "bm9uZQ", ErrorKind::Auth, "has it expired"),
        (
            other.as_str(),
            SIGNATURE,
            ErrorKind::NotFound,
            "there is no such container",
        ),
    ];
    for (container, signature, kind, says) in cases {
        let blobs = blobs(container, signature);
        for error in [
            blobs.put("crm/a1", vec![1]).await.unwrap_err(),
            blobs.get("crm/a1", 10).await.unwrap_err(),
            blobs.delete("crm/a1").await.unwrap_err(),
            blobs.list("crm", Duration::ZERO, 10).await.unwrap_err(),
        ] {
            let shown = format!("{error:?} {error}");
            assert_eq!(error.kind, kind, "{shown}");
            assert!(shown.contains(says) && !shown.contains(signature), "{shown}");
        }
    }
    let cases = [
        (
            "https://a.blob.core.windows.net/claims",
            "no shared access signature",
        ),
        (
            "https://a.blob.core.windows.net/claims?sv=1",
            "no whole shared access signature",
        ),
        (
            "http://a.blob.core.windows.net/claims?sig=secret",
            "does not begin with https://",
        ),
    ];
    for (url, says) in cases {
        let error = AzureBlobs::new(&Secret::new(url), Vec::new(), Real::new());
        let error = error.err().unwrap().to_string();
        assert!(
            error.contains(says) && !error.contains("secret"),
            "{url}: {error}"
        );
    }
}
