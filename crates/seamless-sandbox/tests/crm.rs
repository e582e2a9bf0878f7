//! The CRM: another style altogether.

mod common;

use common::{Bench, send};
use seamless_sandbox::Config;
use serde_json::{Value as Json, json};

#[tokio::test]
async fn a_bearer_token_is_needed() {
    let b = Bench::clean().await;
    let url = format!("{}/api/accounts", b.sandbox.crm_url);
    let res = send(&url, "GET", &[("Authorization", "Bearer wrong")], "")
        .await
        .unwrap();
    assert_eq!(
        (res.status, res.json()["error"]["code"].clone()),
        (401, json!("unauthorized"))
    );
}

#[tokio::test]
async fn lists_are_ordered_by_stamp_and_id_and_end() {
    let b = Bench::new(Config {
        records: 600,
        ..Config::default()
    })
    .await;
    let total = b.admin("GET", "/count", Json::Null).await["crm"]["contact"]
        .as_u64()
        .unwrap();
    let (mut cursor, mut keys) = (String::new(), Vec::new());
    loop {
        let page = b
            .crm("GET", &format!("contacts?limit=50&cursor={cursor}"), Json::Null)
            .await
            .json();
        for row in page["data"].as_array().unwrap() {
            keys.push((
                row["updated_at"].as_str().map(str::to_owned),
                row["id"].as_str().unwrap().to_owned(),
            ));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(keys.len() as u64, total);
    assert!(
        keys.is_sorted(),
        "records without a stamp first, then by (stamp, id)"
    );
    assert!(keys[0].0.is_none());
    // Inclusive, and without the stampless ones.
    let (stamp, id) = keys[keys.len() - 3].clone();
    let path = format!("contacts?modified_since={}", stamp.unwrap());
    let page = b.crm("GET", &path, Json::Null).await.json();
    assert_eq!(
        (
            page["data"].as_array().unwrap().len(),
            page["data"][0]["id"].clone()
        ),
        (3, json!(id))
    );
    for bad in [
        "contacts?limit=201",
        "contacts?modified_since=soon",
        "contacts?cursor=%21",
    ] {
        assert_eq!(b.crm("GET", bad, Json::Null).await.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn records_are_created_changed_and_guarded_by_versions() {
    let b = Bench::clean().await;
    let res = b
        .crm(
            "POST",
            "accounts",
            json!({ "name": "Acme", "zip": "1", "type": "customer" }),
        )
        .await;
    assert_eq!((res.status, res.header("etag").as_deref()), (201, Some("\"1\"")));
    let account = res.json()["data"].clone();
    let path = format!("accounts/{}", account["id"].as_str().unwrap());
    let url = format!("{}/api/{path}", b.sandbox.crm_url);
    let patch = async |tag: &str| {
        let headers = [("Authorization", "Bearer sandbox-token"), ("If-Match", tag)];
        send(&url, "PATCH", &headers, "{\"autotask_id\":\"17\"}")
            .await
            .unwrap()
    };
    let changed = patch("\"1\"").await;
    assert_eq!(
        (changed.status, changed.json()["data"]["version"].clone()),
        (200, json!(2))
    );
    assert!(changed.json()["data"]["updated_at"].as_str() >= account["updated_at"].as_str());
    assert_eq!(patch("\"1\"").await.status, 412);
    let body = json!({ "last_name": "Lovelace", "account_id": account["id"], "email": "ada@acme.example" });
    let contact = b.crm("POST", "contacts", body).await.json()["data"].clone();
    assert_eq!(
        (&contact["account_id"], &contact["active"]),
        (&account["id"], &json!(true))
    );
    assert_eq!(
        b.crm("GET", &path, Json::Null).await.json()["data"]["autotask_id"],
        "17"
    );
    assert_eq!(
        b.crm("GET", "accounts/A999999", Json::Null).await.json()["error"]["code"],
        "not_found"
    );
    assert_eq!(b.crm("PUT", &path, json!({})).await.status, 405);
}

#[tokio::test]
async fn bodies_are_validated_by_field() {
    let b = Bench::clean().await;
    let rows = [
        ("accounts", json!({ "zip": "1" }), "name"),
        ("accounts", json!({ "name": "x".repeat(201) }), "name"),
        ("accounts", json!({ "name": "x", "type": "friend" }), "type"),
        (
            "accounts",
            json!({ "name": "x", "country": "Austria" }),
            "country",
        ),
        ("accounts", json!({ "name": "x", "colour": "red" }), "colour"),
        (
            "accounts",
            json!({ "name": "x", "parent_id": "A999999" }),
            "parent_id",
        ),
        ("accounts", json!({ "name": "x", "active": "yes" }), "active"),
        ("contacts", json!({ "email": "nobody" }), "email"),
        (
            "opportunities",
            json!({ "title": "x", "status": "perhaps" }),
            "status",
        ),
    ];
    for (path, body, field) in rows {
        let res = b.crm("POST", path, body).await;
        let error = res.json()["error"].clone();
        assert_eq!(
            (res.status, &error["code"], &error["field"]),
            (422, &json!("invalid"), &json!(field))
        );
    }
    let body = json!({ "subject": "Printer", "status": "new", "due_at": "2026-01-01T00:00:00Z" });
    let res = b.crm("POST", "tickets", body).await;
    assert_eq!(res.json()["data"]["due_at"], "2026-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn search_finds_any_of_the_values_without_case() {
    let b = Bench::clean().await;
    let rows = b.crm("GET", "contacts?limit=3", Json::Null).await.json()["data"].clone();
    let mails: Vec<String> = (0..3)
        .map(|i| rows[i]["email"].as_str().unwrap().to_uppercase())
        .collect();
    let search = async |body: Json| b.crm("POST", "contacts/search", body).await;
    let found = search(json!({ "field": "email", "values": mails })).await.json()["data"].clone();
    assert_eq!(found.as_array().unwrap().len(), 3);
    let found = search(json!({ "field": "id", "values": [rows[0]["id"]] }))
        .await
        .json()["data"]
        .clone();
    assert_eq!(found[0], rows[0]);
    assert_eq!(
        search(json!({ "field": "shoe", "values": ["1"] })).await.status,
        422
    );
    assert_eq!(
        search(json!({ "field": "email", "values": vec!["x"; 101] }))
            .await
            .status,
        422
    );
    assert_eq!(
        b.admin("GET", "/stats", Json::Null).await["writes"],
        0,
        "a search is a read"
    );
}
