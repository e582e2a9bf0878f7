//! Zone, credentials, lists, records by id and metadata, against a scripted server.

mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seamless_core::{
    Effect, ErrorKind, ListRequest, PageToken, RecordId, Stamp, Timestamp, UsedFields, Value, lookup,
};
use serde_json::{Value as Json, json};
use server::{Call, Reply, SECRET, Server, errors, ok, rows, status};

fn company(id: i64) -> Json {
    json!({"id": id, "companyName": format!("Company {id}")})
}

fn list(entity: &str, since: Option<&str>, after: Option<&str>, limit: usize) -> ListRequest {
    ListRequest {
        entity: entity.to_owned(),
        since: since.map(|time| Stamp::from(Timestamp::parse(time).expect("a time"))),
        after: after.map(|token| PageToken(token.to_owned())),
        limit,
    }
}

fn ids(ids: &[&str]) -> Vec<RecordId> {
    ids.iter().map(|id| RecordId::from(*id)).collect()
}

fn info() -> Reply {
    ok(json!({"info": {"canCreate": true}}))
}

#[tokio::test]
async fn the_zone_is_asked_for_once_and_credentials_go_to_the_zone_only() {
    let server = Server::start(|_| info()).await;
    let source = server.source(json!({})).await;
    let pings = (0..8).map(|_| source.ping());
    for ping in futures::future::join_all(pings).await {
        ping.unwrap();
    }
    let calls = server.calls();
    assert_eq!(calls.iter().filter(|call| call.path == "zone").count(), 1);
    assert!(!calls[0].headers.contains_key("secret") && !calls[0].headers.contains_key("apiintegrationcode"));
    for call in &calls[1..] {
        assert_eq!(
            (call.zone.as_str(), call.path.as_str()),
            ("zone1", "Companies/entityInformation")
        );
        let sent = ["apiintegrationcode", "username", "secret", "content-type"]
            .map(|name| call.headers[name].as_str());
        assert_eq!(sent, ["code", "user@EXAMPLE.COM", SECRET, "application/json"]);
    }
}

#[tokio::test]
async fn a_moved_tenant_is_found_again_and_the_call_repeated_once() {
    let server = Server::start_in_zones(
        |asked| format!("zone{asked}"),
        |call| {
            if call.zone == "zone1" {
                status(401, json!({"errors": ["no"]}))
            } else {
                info()
            }
        },
    )
    .await;
    let source = server.source(json!({})).await;
    source.ping().await.unwrap();
    source.ping().await.unwrap();
    let zones: Vec<String> = server.calls().iter().map(|call| call.zone.clone()).collect();
    assert_eq!(zones, ["", "zone1", "", "zone2", "zone2"]);
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again_for_a_minute() {
    let server = Server::start(|_| status(401, json!({"errors": ["no"]}))).await;
    let source = server.source(json!({})).await;
    for _ in 0..5 {
        let error = source.ping().await.unwrap_err();
        assert_eq!(
            (error.kind, error.effect, error.is_transient()),
            (ErrorKind::Auth, Effect::NotApplied, false)
        );
        assert!(!format!("{error:?}").contains(SECRET));
    }
    assert_eq!(
        server.lines().len(),
        2,
        "once, and once more after asking for the zone again"
    );
    server.clock.advance(Duration::from_secs(61));
    source.ping().await.unwrap_err();
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn an_unknown_user_is_an_error_that_says_so() {
    let server = Server::start_in_zones(|_| String::new(), |_| info()).await;
    let error = server.source(json!({})).await.ping().await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Auth, Effect::NotApplied));
    assert!(error.message().contains("'username'"), "{error}");
    assert!(!error.to_string().contains("user@EXAMPLE.COM"), "{error}");
}

#[tokio::test]
async fn a_poll_asks_for_changed_or_created_and_pages_by_id() {
    let server = Server::start(|call| match call.conditions().last() {
        Some(last) if last["op"] == "gt" => rows(&[company(9)]),
        _ => rows(&[company(3), company(7)]),
    })
    .await;
    let source = server.source(json!({})).await;
    let since = "2026-11-23T10:00:00Z";
    let first = source
        .list(&list("Companies", Some(since), None, 2))
        .await
        .unwrap();
    assert_eq!(first.next, Some(PageToken("7".into())));
    assert_eq!(first.server_time, Timestamp::parse_http(server::DATE));
    let or = json!({"op": "or", "items": [
        {"op": "gte", "field": "lastTrackedModifiedDateTime", "value": "2026-11-23T10:00:00.000Z"},
        {"op": "gte", "field": "createDate", "value": "2026-11-23T10:00:00.000Z"},
    ]});
    assert_eq!(
        server.last().body,
        json!({"filter": [{"op": "and", "items": [or]}], "MaxRecords": 2})
    );
    let second = source
        .list(&list("Companies", Some(since), Some("7"), 2))
        .await
        .unwrap();
    assert_eq!((second.records[0].id.as_str(), second.next), ("9", None));
    let above = json!({"op": "gt", "field": "id", "value": 7});
    assert_eq!(server.last().body["filter"][0]["items"], json!([or, above]));
    assert!(server.lines().iter().all(|line| line == "POST Companies/query"));
}

#[tokio::test]
async fn each_entity_has_its_own_stamp_and_opportunities_have_none() {
    let server = Server::start(|_| rows(&[])).await;
    let source = server.source(json!({})).await;
    let cases = [
        ("Contacts", Some("lastModifiedDate")),
        ("Tickets", Some("lastTrackedModificationDateTime")),
        ("Opportunities", None),
    ];
    for (entity, stamp) in cases {
        source
            .list(&list(entity, Some("2026-01-01T00:00:00Z"), None, 10))
            .await
            .unwrap();
        let asked = server.last().body["filter"][0]["items"][0].clone();
        match stamp {
            Some(stamp) => assert_eq!(asked["items"][0]["field"], stamp),
            // The first sweep is a whole one.
            None => assert_eq!(asked, json!({"op": "gte", "field": "id", "value": 0})),
        }
        assert_eq!(source.capabilities(entity).incremental, stamp.is_some());
    }
}

#[tokio::test]
async fn pages_that_would_not_end_are_protocol_errors() {
    let cases: Vec<(&str, Json)> = vec![
        ("not above the last id", json!({"items": [company(5)]})),
        ("not ascending", json!({"items": [company(9), company(8)]})),
        ("twice", json!({"items": [company(9), company(9)]})),
        ("without id", json!({"items": [{"companyName": "x"}]})),
        (
            "more than asked",
            json!({"items": [company(6), company(7), company(8), company(9)]}),
        ),
        ("no items", json!({"errors": []})),
        ("no rows", json!({"items": [1]})),
    ];
    for (name, answer) in cases {
        let server = Server::start(move |_| ok(answer.clone())).await;
        let source = server.source(json!({})).await;
        let error = source
            .list(&list("Companies", None, Some("5"), 3))
            .await
            .expect_err(name);
        assert_eq!(error.kind, ErrorKind::Protocol, "{name}: {error:?}");
        assert_eq!(error.context("entity"), Some("Companies"), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_sends_shorter_pages_than_asked_is_read_to_the_end() {
    let next = json!({"nextPageUrl": "http://elsewhere.example.com/V1.0/Companies/query/next?paging=1"});
    let server = Server::start(move |_| ok(json!({"items": [company(1)], "pageDetails": next}))).await;
    let page = server
        .source(json!({}))
        .await
        .list(&list("Companies", None, None, 100))
        .await
        .unwrap();
    assert_eq!(
        page.next,
        Some(PageToken("1".into())),
        "the link says that there is more; it is not followed"
    );
    assert_eq!(server.lines(), ["POST Companies/query"]);
}

#[tokio::test]
async fn countries_are_read_once_and_shown_by_code() {
    let server = Server::start(|call| match call.path.as_str() {
        "Countries/query" => rows(&[
            json!({"id": 40, "countryCode": "DE"}),
            json!({"id": 41, "displayName": "Elbonia"}),
        ]),
        _ => rows(&[
            json!({"id": 1, "countryID": 40}),
            json!({"id": 2, "countryID": 41}),
            json!({"id": 3, "countryID": null}),
        ]),
    })
    .await;
    let source = server.source(json!({})).await;
    for _ in 0..3 {
        let page = source.list(&list("Contacts", None, None, 10)).await.unwrap();
        let countries: Vec<&Value> = page
            .records
            .iter()
            .map(|record| &record.fields["country"])
            .collect();
        assert_eq!(
            countries,
            [&Value::from("DE"), &Value::from("Elbonia"), &Value::Null]
        );
    }
    assert_eq!(
        server
            .lines()
            .iter()
            .filter(|line| *line == "POST Countries/query")
            .count(),
        1
    );
}

/// Autotask leaves a user-defined field out where no row of an answer has a value in it: only the metadata tell an empty one from one that is gone.
#[tokio::test]
async fn empty_fields_are_filled_in_and_those_that_are_gone_are_missing() {
    let server = Server::start(|call| match call.path.as_str() {
        "Companies/entityInformation/userDefinedFields" => {
            ok(json!({"fields": [{"name": "CRM ID", "type": "string"}, {"name": "Region", "type": "string"}]}))
        }
        _ => rows(&[
            json!({"id": 1, "companyName": "One", "fax": null, "userDefinedFields": [{"name": "CRM ID", "value": "c-1"}]}),
            json!({"id": 2, "companyName": "Two", "userDefinedFields": []}),
        ]),
    })
    .await;
    let source = server.source(json!({})).await;
    let used = |mapped: &[&str]| UsedFields {
        mapped: mapped.iter().map(|name| (*name).to_owned()).collect(),
        xrefs: ["udf.Partner ID".to_owned()].into(),
    };
    let mapped = [
        "companyName",
        "fax",
        "phone",
        "udf.CRM ID",
        "udf.Region",
        "udf.Gone",
    ];
    source.narrow("Companies", &used(&mapped));
    let page = source.list(&list("Companies", None, None, 10)).await.unwrap();
    let held = |path: &str| {
        let values = page.records.iter().map(|record| lookup(&record.fields, path));
        values.map(|value| value.cloned()).collect::<Vec<_>>()
    };
    let empty = || Some(Value::Null);
    assert_eq!(held("companyName"), [Some("One".into()), Some("Two".into())]);
    assert_eq!(held("fax"), [empty(), empty()]);
    assert_eq!(held("phone"), [empty(), empty()]);
    assert_eq!(held("udf.CRM ID"), [Some("c-1".into()), empty()]);
    assert_eq!(held("udf.Region"), [empty(), empty()]);
    assert_eq!(held("udf.Gone"), [None, None], "nobody has emptied it");
    let asked = |path: &str| server.lines().iter().filter(|line| line.ends_with(path)).count();
    assert_eq!(
        asked("userDefinedFields"),
        1,
        "one call for the answer, not one a record"
    );

    source.narrow("Companies", &used(&["companyName", "udf.CRM ID"]));
    source.list(&list("Companies", None, None, 10)).await.unwrap();
    assert_eq!(
        asked("userDefinedFields"),
        1,
        "one row has a value in it, and nobody minds an empty cross-reference"
    );
}

#[tokio::test]
async fn one_record_is_read_by_its_url_and_may_be_missing_in_many_ways() {
    let cases: Vec<(Reply, usize)> = vec![
        (ok(json!({"item": company(5)})), 1),
        (ok(json!({"items": [company(5)]})), 1),
        (ok(json!({"item": null})), 0),
        (status(404, json!({"errors": ["none"]})), 0),
    ];
    for (reply, count) in cases {
        let reply = Arc::new(reply);
        let server = Server::start(move |_| Reply {
            status: reply.status,
            body: reply.body.clone(),
            headers: String::new(),
        })
        .await;
        let found = server
            .source(json!({}))
            .await
            .fetch("Companies", &ids(&["5", "none"]))
            .await
            .unwrap();
        assert_eq!(found.len(), count);
        assert_eq!(server.lines(), ["GET Companies/5"]);
    }
    let server = Server::start(|_| ok(json!({"item": company(6)}))).await;
    let error = server
        .source(json!({}))
        .await
        .fetch("Companies", &ids(&["5"]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
}

#[tokio::test]
async fn many_records_go_by_in_and_what_a_search_does_not_show_yet_by_url() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST Companies/query" => rows(&[company(1), company(2)]),
        "GET Companies/3" => ok(json!({"item": company(3)})),
        _ => ok(json!({"item": null})),
    })
    .await;
    let found = server
        .source(json!({}))
        .await
        .fetch("Companies", &ids(&["1", "2", "3", "4", "2"]))
        .await
        .unwrap();
    let found: Vec<&str> = found.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(found, ["1", "2", "3"]);
    let asked = server
        .calls()
        .into_iter()
        .find(|call| call.path == "Companies/query")
        .unwrap();
    assert_eq!(
        asked.conditions(),
        [json!({"op": "in", "field": "id", "value": [1, 2, 3, 4]})]
    );
    let mut lines = server.lines();
    lines.sort();
    assert_eq!(
        lines,
        ["GET Companies/3", "GET Companies/4", "POST Companies/query"]
    );

    let server = Server::start(|_| rows(&[company(1), company(99)])).await;
    let error = server
        .source(json!({}))
        .await
        .fetch("Companies", &ids(&["1", "2"]))
        .await
        .unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::Protocol,
        "rows that were not asked for: {error:?}"
    );
}

#[tokio::test]
async fn fields_options_and_rights_are_described_live() {
    fn field(name: &str, kind: &str) -> Json {
        json!({"name": name, "dataType": kind, "length": 0, "isRequired": false, "isReadOnly": false, "isReference": false,
               "referenceEntityType": "", "isPickList": false, "picklistValues": null})
    }
    let server = Server::start(|call: &Call| {
        let mut name = field("companyName", "string");
        name["length"] = json!(100);
        name["isRequired"] = json!(true);
        let mut kind = field("companyType", "short");
        kind["isPickList"] = json!(true);
        kind["picklistValues"] = json!([
            {"value": "1", "label": "Customer", "isActive": true}, {"value": "2", "label": "Lead", "isActive": false},
        ]);
        let mut parent = field("parentCompanyID", "integer");
        parent["referenceEntityType"] = json!("Company");
        match call.path.as_str() {
            "Companies/entityInformation/fields" => ok(json!({"fields": [name, kind, parent, field("countryID", "integer")]})),
            "Companies/entityInformation/userDefinedFields" => ok(json!({"fields": [{"name": "CRM ID", "type": "string", "length": 255}]})),
            _ => ok(json!({"info": {"canCreate": true, "canUpdate": true, "userAccessForCreate": 1, "userAccessForUpdate": 0,
                                   "hasUserDefinedFields": false}})),
        }
    })
    .await;
    let info = server
        .source(json!({}))
        .await
        .describe("Companies")
        .await
        .unwrap();
    assert_eq!((info.can_create, info.can_update), (true, false));
    let names: Vec<&str> = info.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "companyName",
            "companyType",
            "parentCompanyID",
            "countryID",
            "country",
            "udf.CRM ID"
        ]
    );
    assert_eq!(
        (
            info.fields[0].length,
            info.fields[0].required,
            info.fields[1].length
        ),
        (Some(100), true, None)
    );
    let options = info.fields[1].options.as_ref().unwrap();
    assert_eq!(
        (&options[0].value, options[0].label.as_str(), options[1].active),
        (&Value::Int(1), "Customer", false)
    );
    assert_eq!(
        (
            info.fields[2].reference.as_deref(),
            info.fields[0].reference.as_deref()
        ),
        (Some("Companies"), None)
    );
    assert_eq!(info.fields[5].data_type, "string");
}

#[tokio::test]
async fn faults_limits_and_rights_are_told_apart() {
    let cases: Vec<(Reply, ErrorKind, bool)> = vec![
        (
            errors("Unable to find nope in the Company Entity."),
            ErrorKind::Invalid,
            false,
        ),
        (
            errors("The logged in Resource does not have the adequate permissions."),
            ErrorKind::Permission,
            false,
        ),
        (
            errors("The Autotask API thread threshold of 3 threads has been exceeded"),
            ErrorKind::RateLimited,
            true,
        ),
        (
            status(
                500,
                json!({"errors": ["An unexpected error has occurred."], "errorId": 1}),
            ),
            ErrorKind::Unavailable,
            true,
        ),
        (
            Reply {
                status: 0,
                body: String::new(),
                headers: String::new(),
            },
            ErrorKind::Unavailable,
            true,
        ),
        (
            Reply {
                status: 200,
                body: "<html></html>".into(),
                headers: String::new(),
            },
            ErrorKind::Protocol,
            false,
        ),
    ];
    for (reply, kind, later) in cases {
        let reply = Arc::new(reply);
        let shown = reply.body.clone();
        let server = Server::start(move |_| Reply {
            status: reply.status,
            body: reply.body.clone(),
            headers: String::new(),
        })
        .await;
        let error = server
            .source(json!({}))
            .await
            .list(&list("Companies", None, None, 5))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.is_transient(), error.effect),
            (kind, later, Effect::NotApplied),
            "{shown}: {error:?}"
        );
        assert_eq!(server.lines().len(), 1, "nothing is tried again here: {shown}");
    }
}

#[tokio::test]
async fn an_unknown_entity_or_token_is_named_without_a_call() {
    let called = Arc::new(AtomicBool::new(false));
    let flag = called.clone();
    let server = Server::start(move |_| {
        flag.store(true, Ordering::SeqCst);
        info()
    })
    .await;
    let source = server.source(json!({})).await;
    let error = source.list(&list("Accounts", None, None, 5)).await.unwrap_err();
    assert!(
        error.kind == ErrorKind::Config && error.message().contains("'Accounts'"),
        "{error}"
    );
    assert_eq!(
        source
            .list(&list("Companies", None, Some("x"), 5))
            .await
            .unwrap_err()
            .kind,
        ErrorKind::Protocol
    );
    assert!(!called.load(Ordering::SeqCst));
}
