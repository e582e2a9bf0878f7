//! Events: only what the system has signed, and soon, leads to a look at a record.

use std::collections::BTreeMap;

use crate::support::{Server, ok, open_with};
use hmac::{Hmac, KeyInit, Mac};
use seamless_core::{ErrorKind, Nudge, WebhookCall};
use serde_json::json;
use sha2::Sha256;

const ENTITIES: &str = "\
[entities.accounts]
list = { path = '/accounts' }
get = { path = '/accounts/{id}' }
webhook = { id = 'objectId', path = 'type', starts = 'company.' }
[entities.contacts]
list = { path = '/contacts' }
get = { path = '/contacts/{id}' }
webhook = { id = 'objectId', path = 'type', equals = ['contact.created', 'contact.updated'] }
";

const URL: &str = "https://hooks.example.com/webhooks/crm";

fn hex(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn call(headers: &[(&str, &str)], body: &str) -> WebhookCall {
    WebhookCall {
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        body: body.as_bytes().to_vec(),
    }
}

async fn event(webhook: &str, call: &WebhookCall) -> seamless_core::Result<Vec<Nudge>> {
    let server = Server::start(|_| ok(json!([]))).await;
    let text = format!("manifest = 1\n[system]\nname = 't'\n[webhook]\n{webhook}\n{ENTITIES}");
    let rig = open_with(&text, &server.url, json!({ "webhook_url": URL }))
        .await
        .unwrap();
    let nudges = rig.source.verify_webhook(call);
    if nudges.is_ok() && webhook.contains("timestamp_header") {
        let again = rig.source.verify_webhook(call);
        assert_eq!(again.unwrap_err().kind, ErrorKind::Conflict, "played again");
    }
    assert!(server.seen().is_empty(), "an event makes no call");
    nudges
}

#[tokio::test]
async fn signed_events_name_records_of_their_entity() {
    let body = r#"[{"type":"company.changed","objectId":5},{"type":"contact.created","objectId":"c7"},{"type":"deal.created","objectId":1}]"#;
    let signature = format!("sha256={}", hex("s3cret-hook", body));
    let webhook = "header = 'X-Signature'\nprefix = 'sha256='";
    let told = event(webhook, &call(&[("x-signature", &signature)], body))
        .await
        .unwrap();
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|nudge| (nudge.entity.as_str(), nudge.id.as_str()))
        .collect();
    assert_eq!(told, [("accounts", "5"), ("contacts", "c7")]);
    // The former secret is good while both are in use.
    let former = format!("sha256={}", hex("s3cret-hook-before", body));
    assert!(
        event(webhook, &call(&[("x-signature", &former)], body))
            .await
            .is_ok()
    );
    for (headers, body) in [
        (vec![("x-signature", signature.as_str())], "[]"),
        (vec![("x-signature", "sha256=00")], body),
        (vec![("x-signature", "sha1=00")], body),
        (vec![], body),
    ] {
        let error = event(webhook, &call(&headers, body)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Auth, "{headers:?}");
    }
}

#[tokio::test]
async fn old_events_are_refused_and_parts_of_a_header_are_told_apart() {
    // The clock of these tests stands at 2026-11-23T12:00:00Z.
    let body = r#"{"type":"company.x","objectId":5}"#;
    let webhook = "header = 'Sig'\nprefix = 'v1='\nsign = '{timestamp}.{body}'\ntimestamp_header = 'Sig'\ntimestamp_prefix = 't='";
    for (time, is_good) in [
        (1_795_435_200_i64, true),
        (1_795_435_200 - 3_600, false),
        (1_795_435_200 + 3_600, false),
    ] {
        let signature = hex("s3cret-hook", &format!("{time}.{body}"));
        let header = format!("t={time},v0=00,v1={signature}");
        let told = event(webhook, &call(&[("sig", &header)], body)).await;
        assert_eq!(told.is_ok(), is_good, "{time}: {told:?}");
    }
    let token = "header = 'X-Token'\nalgorithm = 'secret'";
    assert_eq!(
        event(token, &call(&[("x-token", "s3cret-hook")], body))
            .await
            .unwrap()
            .len(),
        1
    );
    let error = event(token, &call(&[("x-token", "s3cret-hoo")], body))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth);
    let error = event(
        token,
        &call(&[("x-token", "s3cret-hook")], r#"{"type":"company.x"}"#),
    )
    .await
    .unwrap_err();
    assert!(
        error.message().contains("no record's id at 'objectId'"),
        "{error}"
    );
}

#[tokio::test]
async fn method_and_address_can_be_signed_too() {
    let body = r#"[{"type":"company.changed","objectId":5}]"#;
    let webhook = "header = 'X-Signature-v3'\nsign = '{method}{url}{body}{timestamp}'\ntimestamp_header = 'X-Timestamp'\ntimestamp_format = 'epoch_millis'";
    let time = "1795435200123";
    for (url, is_good) in [(URL, true), ("https://elsewhere.example/webhooks/crm", false)] {
        let signature = hex("s3cret-hook", &format!("POST{url}{body}{time}"));
        let told = event(
            webhook,
            &call(&[("x-signature-v3", &signature), ("x-timestamp", time)], body),
        )
        .await;
        assert_eq!(told.is_ok(), is_good, "{url}: {told:?}");
    }
    let text = format!("manifest = 1\n[system]\nname = 't'\n[webhook]\n{webhook}\n{ENTITIES}");
    let rig = open_with(&text, "http://127.0.0.1:1", json!({})).await.unwrap();
    let error = rig.source.verify_webhook(&call(&[], body)).unwrap_err();
    assert!(error.message().contains("'webhook_url' is missing"), "{error}");
}

#[tokio::test]
async fn a_call_with_a_name_is_heard_once_and_what_says_the_same_is_not_the_same() {
    let server = Server::start(|_| ok(json!([]))).await;
    let body = r#"{"type":"company.x","objectId":5}"#;
    let signature = hex("s3cret-hook", body);
    for (more, second) in [("id_header = 'X-Id'", Some(ErrorKind::Conflict)), ("", None)] {
        let text =
            format!("manifest = 1\n[system]\nname = 't'\n[webhook]\nheader = 'Sig'\n{more}\n{ENTITIES}");
        let rig = open_with(&text, &server.url, json!({})).await.unwrap();
        let call = |id| call(&[("sig", &signature), ("x-id", id)], body);
        assert!(rig.source.verify_webhook(&call("1")).is_ok());
        assert!(rig.source.verify_webhook(&call("2")).is_ok());
        let again = rig.source.verify_webhook(&call("1"));
        assert_eq!(again.err().map(|error| error.kind), second, "{more}");
    }
}
