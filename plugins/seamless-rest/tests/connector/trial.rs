//! Trying operations: what is shown, what is warned of, and what is never shown.

use std::sync::Arc;

use crate::support::{Server, TestClock, empty, ok, open, status, to_fields};
use seamless_core::{OpenContext, Secret, Shared, Timestamp};
use seamless_rest::{Operation, Trial, draft, try_operation};
use serde_json::{Value as Json, json};

const MANIFEST: &str = "manifest = 1\n[system]\nname = 't'\nheaders = { X-App = 'app' }\n[auth]\nkind = 'api_key'\nquery = 'key'\n\
    [errors]\nfield = 'field'\nrules = [{ status = [200], path = 'success', equals = ['false'], means = 'refused' }]\n\
    [entities.accounts]\nmodified = 'at'\nversion = 'rev'\n\
    list = { path = '/accounts', items = 'data', since = { query = 'since' }, page = { kind = 'cursor', query = 'cursor', next = 'next' } }\n\
    get = { path = '/accounts/{id}' }\nfind = { path = '/accounts', query = { '{field}' = '{value}' }, items = 'data' }\n\
    create = { path = '/accounts' }\nupdate = { path = '/accounts/{id}' }\n";

async fn tried(server: &Server, operation: Operation) -> Trial {
    let ctx = OpenContext {
        system: "try".into(),
        settings: json!({ "manifest_toml": MANIFEST, "endpoint": server.url, "allow_private_network": true, "timeout_secs": 5 }),
        secrets: [("api_key".to_owned(), Secret::new("s3cret-key"))].into(),
        clock: Arc::new(TestClock::start()),
        network: None,
        shared: Shared::default(),
    };
    try_operation(&ctx, "accounts", &operation).await.unwrap()
}

fn row(id: u32) -> Json {
    json!({ "id": id, "name": format!("A{id}"), "at": "2026-11-23T00:00:00Z", "rev": 1 })
}

#[tokio::test]
async fn a_list_shows_calls_pages_and_odd_stamps_but_no_secret() {
    let server = Server::start(|seen| {
        let first = seen.param("cursor").is_none();
        let (from, next) = if first { (1, json!("c2")) } else { (3, Json::Null) };
        ok(json!({ "data": [row(from), row(from + 1)], "next": next, "echo": "your key is s3cret-key" }))
    })
    .await;
    let since = Timestamp::parse("2026-11-25T00:00:00Z");
    let trial = tried(&server, Operation::List { since }).await;
    let text = trial.to_string();
    for part in [
        "→ GET http://127.0.0.1",
        "/accounts?since=2026-11-25T00%3A00%3A00.000Z",
        "X-App: app",
        "(the key goes into the query parameter key)",
        "← 200",
        "status 200 means: done",
        "the list is at 'data': 2 row(s); the next page is at \"c2\"",
        "no next page is named",
        "4 records; that is the end of the list",
        "record 1  modified 2026-11-23T00:00:00.000Z",
        "name = \"A1\"",
        "your key is ***",
        "midnight in every record",
        "4 of 4 records were changed before that moment: the system ignores the filter",
        "✓ done",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
    assert!(!serde_json::to_string(&trial).unwrap().contains("s3cret"));
}

#[tokio::test]
async fn a_find_is_made_twice_to_see_whether_the_filter_counts() {
    let server = Server::start(|_| ok(json!({ "data": (1..40).map(row).collect::<Vec<_>>() }))).await;
    let find = Operation::Find {
        field: "name".into(),
        values: vec!["A1".into()],
    };
    let trial = tried(&server, find.clone()).await;
    assert!(
        trial
            .failed
            .unwrap()
            .contains("seems to ignore the filter by 'name'")
    );
    let honest = Server::start(|seen| match seen.param("name") {
        Some("A1") => ok(json!({ "data": [row(1)] })),
        _ => ok(json!({ "data": [] })),
    })
    .await;
    let trial = tried(&honest, find).await;
    assert!(trial.failed.is_none() && trial.records.len() == 1, "{trial}");
}

#[tokio::test]
async fn writes_are_read_back_and_compared() {
    // Drops 'phone', rewrites the name, and has stamps that never change.
    let mut held = row(7);
    held["fax"] = "1".into();
    let server = Server::start(move |seen| match seen.method.as_str() {
        "GET" => ok(held.clone()),
        "POST" if seen.body.contains("Bad") => ok(json!({ "success": false, "field": "name" })),
        "POST" => status(201, json!({ "id": 7 })),
        _ => {
            held["name"] = "NEW".into();
            held["fax"] = Json::Null;
            empty(204)
        }
    })
    .await;
    let fields = to_fields(&[("name", "New".into()), ("phone", "5".into())]);
    let trial = tried(
        &server,
        Operation::Create {
            fields: fields.clone(),
        },
    )
    .await;
    let text = trial.to_string();
    assert!(text.contains("created as record 7"), "{text}");
    assert!(text.contains("! 'phone' was sent but did not arrive"), "{text}");
    let id = "7".into();
    let text = tried(&server, Operation::Update { id, fields }).await.to_string();
    for part in [
        "! 'name' came back otherwise than it was sent",
        "! 'at' is the same as before",
        "! the version is the same as before",
        "! 'fax' was not sent and is empty now",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let fields = to_fields(&[("name", "Bad".into())]);
    let text = tried(&server, Operation::Create { fields }).await.to_string();
    assert!(
        text.contains("errors.rules.0 holds: refused")
            && text.contains("✗ ")
            && text.contains("; field: name; effect: NotApplied"),
        "{text}"
    );
}

#[test]
fn a_description_becomes_a_draft_that_reads() {
    let account = json!({ "type": "object", "properties": {
        "id": { "type": "string", "readOnly": true }, "name": { "type": "string", "maxLength": 80 },
        "type": { "type": "string", "enum": ["a", "b"] }, "updated_at": { "type": "string", "format": "date-time" },
    } });
    let reference = json!({ "$ref": "#/components/schemas/Account" });
    let body = |schema: &Json| json!({ "content": { "application/json": { "schema": schema } } });
    let parameter = |name: &str| json!({ "in": "query", "name": name, "schema": { "type": "string" } });
    let openapi = json!({
        "openapi": "3.0.0", "info": { "title": "A \"CRM\"" }, "servers": [{ "url": "https://crm.example/api" }],
        "components": { "schemas": { "Account": account }, "securitySchemes": { "key": { "type": "apiKey", "in": "header", "name": "X-Key" } } },
        "paths": {
            "/accounts": {
                "get": {
                    "parameters": (["updated_since", "page", "per_page", "name"].map(parameter)),
                    "responses": { "200": body(&json!({ "properties": { "data": { "type": "array", "items": reference } } })) },
                },
                "post": { "requestBody": body(&reference), "responses": { "201": body(&json!({ "properties": { "data": reference } })) } },
            },
            "/accounts/{accountId}": {
                "get": { "responses": { "200": body(&json!({ "properties": { "data": reference } })) } },
                "patch": { "requestBody": body(&json!({ "properties": { "account": reference } })), "responses": {} },
            },
            "/health": { "get": { "responses": {} } },
        },
    });
    let text = draft(&openapi.to_string(), "openapi.json").unwrap();
    for part in [
        "name = 'A \"CRM\"'",
        "base_url = \"https://crm.example/api\"",
        "header = \"X-Key\"",
        "[entities.accounts]",
        "modified = \"updated_at\"",
        "items = \"data\"",
        "since = { query = \"updated_since\" }",
        "page = { kind = \"page\", query = \"page\", size_query = \"per_page\" }",
        "path = \"/accounts/{id}\"",
        "fields = [\"name\"]",
        "item = \"data\"",
        "method = \"PATCH\"",
        "wrap = \"account\"",
        "name = { type = \"string\", max_length = 80 }",
        "type = { type = \"string\", options = [\"a\", \"b\"] }",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("health"), "{text}");
    let swagger = json!({
        "swagger": "2.0", "host": "crm.example", "basePath": "/v1",
        "definitions": { "Thing": { "properties": { "_id": {}, "title": { "type": "string" } } } },
        "paths": {
            "/things": { "get": { "responses": { "200": { "schema": { "type": "array", "items": { "$ref": "#/definitions/Thing" } } } } },
                "post": { "parameters": [{ "in": "body", "schema": { "$ref": "#/definitions/Thing" } }], "responses": {} } },
            "/things/{id}": { "get": { "responses": { "200": { "schema": { "$ref": "#/definitions/Thing" } } } },
                "put": { "responses": {} } },
        },
    });
    let text = draft(&swagger.to_string(), "swagger.json").unwrap();
    for part in [
        "https://crm.example/v1",
        "id = \"_id\"",
        "scan = true",
        "method = \"PUT\"",
        "partial = false",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // The same in YAML: a reference to a list of parameters, a key that is a number.
    let yaml = "swagger: '2.0'\nhost: crm.example\nbasePath: /v1\ndefinitions:\n  Thing: &thing\n    properties: {_id: {}, title: {type: string}}\n\
        paths:\n  /things:\n    get:\n      responses:\n        200: {schema: {type: array, items: *thing}}\n    post:\n      parameters:\n      \
        - {in: body, schema: {$ref: '#/definitions/Thing'}}\n      responses: {}\n  /things/{id}:\n    get: {responses: {200: {schema: *thing}}}\n    put: {responses: {}}\n";
    assert_eq!(draft(yaml, "swagger.yaml").unwrap(), text);
    for (text, part) in [
        ("openapi: 3.0.0", "no 'paths'"),
        ("paths: {/a: [}", "not readable as yaml"),
        ("{\"paths\":", "not readable as json"),
        ("{}", "no 'paths'"),
        ("{\"paths\":{}}", "no path that is read as a list"),
    ] {
        assert!(
            draft(text, "x.json").unwrap_err().message().contains(part),
            "{text}"
        );
    }
}

#[tokio::test]
async fn check_is_told_of_ignored_filters_and_lost_times_of_day() {
    let text = MANIFEST.replace("kind = 'api_key'\nquery = 'key'", "kind = 'none'")
        + "map.account = { xref = 'ours', fields = { name = 'name' } }\n";
    let careless = Server::start(|_| ok(json!({ "data": (1..40).map(row).collect::<Vec<_>>() }))).await;
    let entities = ["accounts".to_owned(), "others".to_owned()];
    let told = open(&text, &careless)
        .await
        .source
        .examine(&entities)
        .await
        .unwrap();
    let told: Vec<(bool, &str)> = told
        .iter()
        .map(|remark| (remark.wrong, remark.sentence.as_str()))
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].0 && told[0].1.contains("midnight in every record"),
        "{told:?}"
    );
    assert!(!told[1].0 && told[1].1.contains("'since' is ignored"), "{told:?}");
    assert!(
        told[2].0 && told[2].1.contains("seems to ignore the filter by 'ours'"),
        "{told:?}"
    );
    let careful = Server::start(|seen| {
        // A moment in the future may be refused: whoever refuses it looks at it.
        if seen.param("since").is_some() {
            return status(400, json!({ "error": "since is in the future" }));
        }
        let is_plain = seen.param("ours").is_none();
        let mut row = row(1);
        row["at"] = "2026-11-23T10:00:00Z".into();
        ok(json!({ "data": if is_plain { vec![row] } else { Vec::new() } }))
    })
    .await;
    assert_eq!(
        open(&text, &careful)
            .await
            .source
            .examine(&entities)
            .await
            .unwrap(),
        []
    );
}
