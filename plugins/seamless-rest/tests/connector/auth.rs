//! Tokens that expire, sessions, signatures, and the pace a system asks for.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use futures::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use seamless_core::{Effect, Error, ErrorKind, Retry};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::support::{Reply, Seen, Server, empty, held, ids, ok, open, open_with, status};

const ENTITY: &str = "\
[entities.accounts.list]
path = '/accounts'
[entities.accounts.get]
path = '/accounts/{id}'
[entities.accounts.find]
path = '/accounts'
query = { '{field}' = '{value}' }
[entities.accounts.create]
path = '/accounts'
[entities.accounts.update]
path = '/accounts/{id}'
";

fn manifest(auth: &str) -> String {
    format!("manifest = 1\n[system]\nname = 'CRM'\n[auth]\n{auth}\n{ENTITY}")
}

const CLIENT: &str = "kind = 'oauth2'\ntoken_url = '/token'\nscope = 'all'\nparams = { audience = 'crm' }";

/// A server whose tokens are `t1`, `t2`, …; only the newest one is valid, and `revoke` makes even that one void.
async fn token_server(revoke: Arc<AtomicUsize>, expires_in: Json) -> Server {
    let mut issued = 0;
    Server::start(move |seen| {
        if seen.path == "/token" {
            issued += 1;
            return ok(json!({ "access_token": format!("t{issued}"), "expires_in": expires_in }));
        }
        let valid = format!("Bearer t{issued}");
        let is_void = revoke.load(Ordering::SeqCst) >= issued;
        if is_void || seen.headers.get("authorization") != Some(&valid) {
            return status(401, json!({ "error": "expired" }));
        }
        match seen.method.as_str() {
            "GET" if seen.path == "/accounts" => ok(json!([{ "id": 1 }])),
            "GET" => ok(json!({ "id": 1, "name": "Acme" })),
            _ => ok(json!({ "id": 7 })),
        }
    })
    .await
}

fn calls<'a>(seen: &'a [Seen], path: &str) -> Vec<&'a Seen> {
    seen.iter().filter(|seen| seen.path == path).collect()
}

fn no_secret(error: &Error) {
    let told = format!("{error} {error:?}");
    assert!(!told.contains("s3cret") && !told.contains("refresh-"), "{told}");
}

#[tokio::test]
async fn one_token_serves_calls_that_start_together() {
    let server = token_server(Arc::default(), json!(3600)).await;
    let rig = open(&manifest(CLIENT), &server).await;
    let lists = join_all((0..8).map(|_| rig.list_all(None, 10))).await;
    assert!(lists.iter().all(Result::is_ok));
    let seen = server.seen();
    let tokens = calls(&seen, "/token");
    assert_eq!(tokens.len(), 1);
    for part in [
        "grant_type=client_credentials",
        "client_secret=s3cret-cs",
        "scope=all",
        "audience=crm",
    ] {
        assert!(tokens[0].body.contains(part), "{part}: {}", tokens[0].body);
    }
}

#[tokio::test]
async fn an_expired_token_costs_one_renewal_and_the_refused_write_is_made_once_more() {
    let revoked = Arc::new(AtomicUsize::new(0));
    let server = token_server(revoked.clone(), json!(3600)).await;
    let rig = open(&manifest(CLIENT), &server).await;
    rig.list_all(None, 10).await.unwrap();
    revoked.store(1, Ordering::SeqCst);
    let names = ["a", "b", "c", "d"];
    let written = join_all(names.map(async |name| rig.create(&[("name", name.into())]).await)).await;
    assert!(
        written
            .iter()
            .all(|written| written.as_ref().unwrap().id.as_str() == "7")
    );
    let seen = server.seen();
    assert_eq!(calls(&seen, "/token").len(), 2);
    let posts = seen
        .iter()
        .filter(|seen| seen.method == "POST" && seen.path == "/accounts");
    let accepted = posts.filter(|seen| seen.headers["authorization"] == "Bearer t2");
    assert_eq!(accepted.count(), 4, "each write landed once");
}

#[tokio::test]
async fn a_token_that_stays_refused_is_an_error_after_one_more_try() {
    let server = token_server(Arc::new(AtomicUsize::new(99)), json!(3600)).await;
    let rig = open(&manifest(CLIENT), &server).await;
    let error = rig.create(&[("name", "a".into())]).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Auth, Effect::NotApplied));
    let posts = server
        .lines()
        .iter()
        .filter(|line| *line == "POST /accounts")
        .count();
    assert_eq!(posts, 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    let server = token_server(Arc::default(), json!("0")).await;
    let rig = open(&manifest(CLIENT), &server).await;
    rig.list_all(None, 10).await.unwrap();
    rig.list_all(None, 10).await.unwrap();
    assert_eq!(
        server.lines(),
        ["POST /token", "GET /accounts", "POST /token", "GET /accounts"]
    );
}

/// A server that takes whoever comes with an old token for a guest, and shows a guest an empty list.
#[tokio::test]
async fn a_token_that_tells_its_own_end_is_renewed_before_it() {
    let mut issued = 0;
    let server = Server::start(move |seen| {
        if seen.path == "/login" {
            issued += 1;
            // The test's clock stands at noon; the server's own, which it tells, is what counts.
            let claims = json!({ "sub": issued, "exp": 1_795_435_200 + 1 });
            let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string());
            return ok(json!({ "token": format!("e30.{claims}.sig{issued}") }))
                .with("date", "Mon, 23 Nov 2026 12:00:00 GMT");
        }
        let valid = seen.headers["authorization"].ends_with(&format!("sig{issued}"));
        ok(if valid { json!([{ "id": 1 }]) } else { json!([]) })
    })
    .await;
    let auth = "kind = 'login'\npath = '/login'\nbody = { user = '{username}', pass = '{password}' }\ntoken = 'token'";
    let rig = open(&manifest(auth), &server).await;
    for _ in 0..2 {
        assert_eq!(ids(&rig.list_all(None, 10).await.unwrap()), ["1"]);
    }
    // Half its life of one second.
    tokio::time::sleep(std::time::Duration::from_millis(550)).await;
    rig.list_all(None, 10).await.unwrap();
    assert_eq!(calls(&server.seen(), "/login").len(), 2);
}

#[tokio::test]
async fn a_rotated_refresh_token_is_on_disk_before_the_new_token_is_used() {
    let folder = std::env::temp_dir().join(format!("seamless-rest-refresh-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("refresh");
    std::fs::remove_file(&file).ok();
    let mut new = std::fs::OpenOptions::new();
    std::io::Write::write_all(
        &mut new.create_new(true).write(true).mode(0o600).open(&file).unwrap(),
        b"refresh-1\n",
    )
    .unwrap();
    let (mut valid, on_disk) = (1, file.clone());
    let server = Server::start(move |seen| {
        let kept = std::fs::read_to_string(&on_disk).unwrap();
        if seen.path == "/accounts" {
            assert_eq!(kept, format!("refresh-{valid}"), "not kept before the first use");
            return ok(json!([]));
        }
        if !seen.body.contains(&format!("refresh_token=refresh-{valid}")) {
            return status(
                400,
                json!({ "error": "invalid_grant", "error_description": seen.body }),
            );
        }
        valid += 1;
        ok(json!({ "access_token": "a", "refresh_token": format!("refresh-{valid}") }))
    })
    .await;
    let auth = "kind = 'oauth2'\ntoken_url = '/token'\ngrant = 'refresh_token'\nclient_auth = 'basic'";
    let more = json!({ "refresh_file": file });
    for _ in 0..3 {
        // A restarted host goes on with the token that the last one kept.
        let rig = open_with(&manifest(auth), &server.url, more.clone())
            .await
            .unwrap();
        rig.list_all(None, 10).await.unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "refresh-4");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );

    std::fs::write(&file, "refresh-2").unwrap();
    let rig = open_with(&manifest(auth), &server.url, more).await.unwrap();
    let error = rig.list_all(None, 10).await.unwrap_err();
    assert_eq!(
        (error.kind, error.context("code")),
        (ErrorKind::Auth, Some("invalid_grant"))
    );
    no_secret(&error);
    std::fs::remove_dir_all(&folder).unwrap();

    let error = open_with(&manifest(auth), &server.url, json!({}))
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("refresh_file"), "{error}");
}

#[tokio::test]
async fn an_expired_session_that_is_told_with_200_leads_to_one_new_login() {
    let mut logins = 0;
    let mut served = 0;
    let server = Server::start(move |seen| {
        if seen.path == "/session" {
            logins += 1;
            assert_eq!(seen.json(), json!({ "user": "ann", "pass": "s3cret-pw" }));
            return empty(204)
                .with("set-cookie", "theme=dark")
                .with("set-cookie", format!("sid=s{logins}; Path=/; HttpOnly"));
        }
        served += 1;
        if served == 2 {
            return ok(json!({ "error": "Session expired, please log in" }));
        }
        assert_eq!(seen.headers["cookie"], format!("sid=s{logins}"));
        ok(json!([{ "id": "x" }]))
    })
    .await;
    let auth = "kind = 'login'\npath = '/session'\nbody = { user = '{username}', pass = '{password}' }\ntoken_cookie = 'sid'\n\
                cookie = 'sid'\n[[errors.rules]]\nstatus = [200]\npath = 'error'\ncontains = 'session expired'\nmeans = 'session_expired'";
    let rig = open(&manifest(auth), &server).await;
    for _ in 0..2 {
        assert_eq!(ids(&rig.list_all(None, 10).await.unwrap()), ["x"]);
    }
    let expected = [
        "POST /session",
        "GET /accounts",
        "GET /accounts",
        "POST /session",
        "GET /accounts",
    ];
    assert_eq!(server.lines(), expected);
}

#[tokio::test]
async fn a_refused_login_is_not_repeated_at_once_and_shows_no_secret() {
    let server = Server::start(|seen| status(403, json!({ "said": seen.body }))).await;
    let auth = "kind = 'login'\npath = '/login'\nformat = 'form'\nbody = { u = '{username}', p = '{password}' }\ntoken = 'token'";
    let rig = open(&manifest(auth), &server).await;
    for _ in 0..3 {
        let error = rig.list_all(None, 10).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Auth);
        no_secret(&error);
    }
    assert_eq!(server.lines(), ["POST /login"]);
}

#[tokio::test]
async fn a_sign_in_that_cannot_be_reached_is_tried_again_later() {
    let server = Server::start(|_| status(503, json!({}))).await;
    let rig = open(&manifest(CLIENT), &server).await;
    let error = rig.create(&[("name", "a".into())]).await.unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Unavailable, Effect::NotApplied)
    );
    assert!(error.is_transient());
    assert_eq!(server.lines(), ["POST /token"]);
}

/// What the documentation of a signing system would tell its customers to do.
fn expected_signature(seen: &Seen, query: &str) -> String {
    let hash: String = Sha256::digest(seen.body.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = format!(
        "{}\n{}\n{query}\n{}\n{hash}",
        seen.method, seen.path, seen.headers["x-time"]
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret-hmac").unwrap();
    mac.update(text.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn requests_are_signed_as_the_manifest_says() {
    let server = Server::start(|seen| {
        let query = if seen.query.is_empty() { "" } else { "name=a%26b" };
        let wanted = format!("HMAC s3cret-key:{}", expected_signature(seen, query));
        if seen.headers.get("authorization") != Some(&wanted) {
            return Reply(401, Vec::new(), String::new());
        }
        if seen.method == "GET" {
            ok(json!([{ "id": 1, "name": "A&B" }]))
        } else {
            ok(json!({ "id": 1 }))
        }
    })
    .await;
    let auth = "kind = 'hmac'\nsign = \"{method}\\n{path}\\n{query}\\n{timestamp}\\n{body_hash}\"\nheader = 'Authorization'\n\
                prefix = 'HMAC {api_key}:'\nheaders = { x-time = '{timestamp}', x-once = '{nonce}' }";
    let rig = open(&manifest(auth), &server).await;
    assert_eq!(rig.find("name", &["a&b"]).await.unwrap(), [["1"]]);
    rig.create(&[("name", "Ünïted".into())]).await.unwrap();
    rig.update(held("1", None, &[]), &[("name", "x".into())])
        .await
        .unwrap();
    let mut once: Vec<String> = server
        .seen()
        .iter()
        .map(|seen| seen.headers["x-once"].clone())
        .collect();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 3, "a nonce is used once");
}

#[tokio::test]
async fn nothing_is_sent_before_the_time_that_the_system_names() {
    let server = Server::start(|_| {
        ok(json!([]))
            .with("x-left", "0")
            .with("x-reset", "120")
            .with("date", "Mon, 23 Nov 2026 12:00:00 GMT")
    })
    .await;
    let limits = "kind = 'none'\n[limits]\nremaining_header = 'x-left'\nreset_header = 'x-reset'";
    let rig = open(&manifest(limits), &server).await;
    rig.list_all(None, 10).await.unwrap();
    let error = rig.create(&[("name", "a".into())]).await.unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::RateLimited, Effect::NotApplied)
    );
    let Retry::Later { after: Some(after) } = error.retry else {
        panic!("{error:?}")
    };
    assert!((100..=120).contains(&after.as_secs()), "{after:?}");
    assert_eq!(server.lines(), ["GET /accounts"]);
}

#[tokio::test]
async fn a_reset_time_is_reckoned_by_the_servers_clock() {
    let server = Server::start(|_| {
        // 2026-11-23T12:01:00Z
        status(429, json!({}))
            .with("x-reset", "1795435260")
            .with("date", "Mon, 23 Nov 2026 12:00:00 GMT")
    })
    .await;
    let rig = open(
        &manifest("kind = 'none'\n[limits]\nreset_header = 'x-reset'"),
        &server,
    )
    .await;
    let error = rig.list_all(None, 10).await.unwrap_err();
    assert_eq!(
        error.retry,
        Retry::Later {
            after: Some(std::time::Duration::from_secs(60))
        }
    );
}
