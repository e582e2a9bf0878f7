//! The manifests of the gallery. Those of vendors are held against answers as the vendors document them; none of this proves that the
//! vendors answer so.

use std::path::{Path, PathBuf};

use crate::support::{Server, empty, held, ids, ok, open_with, status};
use seamless_core::{Value, lookup};
use seamless_rest::Manifest;
use serde_json::{Value as Json, json};

fn gallery() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[test]
fn every_manifest_reads() {
    let mut read = 0;
    let mut folders = vec![gallery()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() && !name.starts_with('.') {
                folders.push(path);
            } else if name == "manifest.toml"
                || path.parent().is_some_and(|parent| parent.ends_with("vendors"))
            {
                let text = std::fs::read_to_string(&path).unwrap();
                Manifest::parse(&text, &name).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                read += 1;
            }
        }
    }
    assert!(read >= 9, "{read}");
}

/// A vendor's manifest, its first entity under the name that the rig of these tests uses.
fn vendor(file: &str, entity: &str) -> String {
    let text = std::fs::read_to_string(gallery().join("manifests/vendors").join(file)).unwrap();
    text.replace(&format!("entities.{entity}"), "entities.accounts")
}

#[tokio::test]
async fn hubspot_as_documented() {
    let row = |id: u32| {
        json!({ "id": id.to_string(), "properties": { "name": format!("C{id}"), "hs_object_id": id.to_string() },
            "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-11-23T10:00:00.123Z", "archived": false })
    };
    let server = Server::start(move |seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/crm/v3/objects/companies") => match seen.param("after") {
            None => ok(json!({ "results": [row(1), row(2)], "paging": { "next": { "after": "2", "link": "https://elsewhere" } } })),
            Some(_) => ok(json!({ "results": [row(3)] })),
        },
        ("POST", "/crm/v3/objects/companies/search") => {
            let filters = &seen.json()["filterGroups"][0]["filters"];
            match filters[1]["value"].as_str() {
                None => ok(json!({ "total": 1, "results": [row(2)] })),
                Some("0") => ok(json!({ "total": 2, "results": [row(1), row(2)] })),
                Some(_) => ok(json!({ "total": 0, "results": [] })),
            }
        }
        ("POST", "/crm/v3/objects/companies/batch/read") => {
            let wanted = seen.json()["inputs"].as_array().unwrap().clone();
            let row = |input: &Json| row(input["id"].as_str().unwrap().parse().unwrap());
            ok(json!({ "status": "COMPLETE", "results": wanted.iter().map(row).collect::<Vec<_>>() }))
        }
        ("POST", "/crm/v3/objects/companies") => status(201, json!({ "id": "512", "properties": {} })),
        ("PATCH", _) => ok(row(1)),
        _ => status(404, json!({ "status": "error", "message": "resource not found" })),
    })
    .await;
    let rig = open_with(&vendor("hubspot.toml", "companies"), &server.url, json!({}))
        .await
        .unwrap();
    assert_eq!(ids(&rig.list_all(None, 100).await.unwrap()), ["1", "2", "3"]);
    let changed = rig.list_all(Some("2026-11-23T10:15:00Z"), 100).await.unwrap();
    assert_eq!(ids(&changed), ["1", "2"]);
    let first = server
        .seen()
        .into_iter()
        .find(|seen| seen.path.ends_with("/search"))
        .unwrap()
        .json();
    assert_eq!(
        first["filterGroups"][0]["filters"][0]["value"],
        1_795_428_900_000_i64
    );
    assert_eq!(first["filterGroups"][0]["filters"][1]["value"], "0");
    assert_eq!(ids(&rig.fetch(&["7", "8"]).await.unwrap()), ["7", "8"]);
    assert_eq!(rig.find("name", &["C2"]).await.unwrap(), [["2"]]);
    let created = rig.create(&[("name", "New".into())]).await.unwrap();
    assert_eq!(
        (created.id.as_str(), server.last().json()),
        ("512", json!({ "properties": { "name": "New" } }))
    );
    rig.update(changed[0].clone(), &[("phone", "5".into())])
        .await
        .unwrap();
    assert_eq!(server.last().line(), "PATCH /crm/v3/objects/companies/1");
    assert_eq!(server.last().json(), json!({ "properties": { "phone": "5" } }));
}

#[tokio::test]
async fn connectwise_as_documented() {
    let row = |id: u32| {
        json!({ "id": id, "identifier": "acme", "name": "Ac\"me, Inc", "_info": { "lastUpdated": "2026-11-23T10:00:00Z" },
            "customFields": [{ "id": 1, "caption": "Autotask id", "type": "Text", "value": "17" }] })
    };
    let server = Server::start(move |seen| match seen.method.as_str() {
        "GET" if seen.path == "/company/companies" && seen.param("pageId").is_none() => {
            let host = &seen.headers["host"];
            ok(json!([row(1)])).with("link", format!("<http://{host}/company/companies?pageId=1>; rel=\"next\""))
        }
        "GET" if seen.path == "/company/companies" => ok(json!([])),
        "GET" => ok(row(1)),
        "POST" => status(400, json!({ "code": "InvalidObject", "message": "company object is invalid",
            "errors": [{ "code": "MissingRequiredField", "message": "Status is required", "field": "status" }] })),
        _ => ok(row(1)),
    })
    .await;
    let rig = open_with(
        &vendor("connectwise-psa.toml", "companies"),
        &server.url,
        json!({}),
    )
    .await
    .unwrap();
    let records = rig.list_all(Some("2026-11-23T10:15:00.5Z"), 100).await.unwrap();
    assert_eq!(
        lookup(&records[0].fields, "customFields.1")
            .and_then(Value::to_plain)
            .as_deref(),
        Some("17")
    );
    let first = &server.seen()[0];
    assert_eq!(
        first.param("conditions"),
        Some("lastUpdated >= [2026-11-23T10:15:00Z]")
    );
    assert_eq!(first.headers["pagination-type"], "forward-only");
    assert_eq!(
        rig.find("name", &["Ac\"me, Inc", "Other"]).await.unwrap()[0],
        ["1"]
    );
    let asked = server
        .seen()
        .into_iter()
        .rev()
        .find_map(|seen| seen.param("conditions").map(str::to_owned));
    assert_eq!(asked.as_deref(), Some("name in (\"Ac\\\"me, Inc\",\"Other\")"));
    let refused = rig.create(&[("name", "New".into())]).await.unwrap_err();
    assert_eq!(
        (refused.field.as_deref(), refused.context("it says")),
        (Some("status"), Some("Status is required"))
    );
    rig.update(records[0].clone(), &[("name", "B".into())])
        .await
        .unwrap();
    assert_eq!(
        server.last().json(),
        json!([{ "op": "replace", "path": "/name", "value": "B" }])
    );
    assert_eq!(server.last().headers["content-type"], "application/json");
}

#[tokio::test]
async fn halo_as_documented() {
    let row = |id: u32| json!({ "id": id, "name": format!("Client {id}") });
    let server = Server::start(move |seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("POST", "/auth/token") => {
            ok(json!({ "access_token": "t1", "expires_in": 3600, "token_type": "Bearer" }))
        }
        ("GET", "/Client") => ok(json!({ "record_count": 2, "clients": [row(1), row(2)] })),
        ("GET", path) => {
            let mut client = row(path.rsplit('/').next().unwrap().parse().unwrap());
            client["customfields"] = json!([{ "id": 3, "name": "CFAutotaskId", "value": "17" }]);
            ok(client)
        }
        ("POST", _) => status(201, row(9)),
        _ => empty(405),
    })
    .await;
    let token = format!("{}/auth/token", server.url);
    let rig = open_with(
        &vendor("halopsa.toml", "clients"),
        &server.url,
        json!({ "sign_in_url": token }),
    )
    .await
    .unwrap();
    let records = rig.list_all(None, 100).await.unwrap();
    assert_eq!(ids(&records), ["1", "2"]);
    assert_eq!(
        lookup(&records[0].fields, "customfields.CFAutotaskId")
            .and_then(Value::to_plain)
            .as_deref(),
        Some("17")
    );
    assert_eq!(rig.find("name", &["client 2"]).await.unwrap(), [["2"]]);
    assert_eq!(
        rig.create(&[("name", "New".into())]).await.unwrap().id.as_str(),
        "9"
    );
    assert_eq!(server.last().json(), json!([{ "name": "New" }]));
    let fields: &[(&str, Value)] = &[("name", "B".into()), ("customfields.CFAutotaskId", "18".into())];
    rig.update(held("1", None, &[]), fields).await.unwrap();
    assert_eq!(server.last().line(), "POST /Client");
    assert_eq!(
        server.last().json(),
        json!([{ "id": 1, "name": "B", "customfields": [{ "name": "CFAutotaskId", "value": "18" }] }])
    );
}
