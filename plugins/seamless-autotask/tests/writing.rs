//! Writes against a scripted server: what is sent where, and what each answer means.

mod server;

use std::sync::Arc;
use std::time::Duration;

use seamless_core::{Effect, ErrorKind, Fields, NativeRecord, RecordId, Value, Write, WriteAction};
use serde_json::{Value as Json, json};
use server::{Call, Reply, Server, errors, ok, rows, status};

const MARKER: &str = "Jane-Marker";

fn fields(pairs: &[(&str, Value)]) -> Fields {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn write(entity: &str, action: WriteAction) -> Write {
    Write {
        entity: entity.to_owned(),
        action,
        send_by: Duration::from_secs(10),
    }
}

fn create(entity: &str, pairs: &[(&str, Value)]) -> Write {
    write(
        entity,
        WriteAction::Create {
            fields: fields(pairs),
        },
    )
}

fn update(entity: &str, id: &str, own: &[(&str, Value)], pairs: &[(&str, Value)]) -> Write {
    let current = NativeRecord {
        id: RecordId::from(id),
        stamp: None,
        created: None,
        version: None,
        fields: fields(own),
    };
    write(
        entity,
        WriteAction::Update {
            current: Box::new(current),
            fields: fields(pairs),
        },
    )
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn done(call: &Call) -> Reply {
    match call.path.as_str() {
        "Countries/query" => rows(&[json!({"id": 40, "countryCode": "DE", "displayName": "Germany"})]),
        _ => ok(json!({"itemId": call.body["id"].as_i64().unwrap_or(77)})),
    }
}

#[tokio::test]
async fn each_write_goes_to_its_collection_with_what_changed_and_nothing_else() {
    let settings = json!({"default_owner_resource_id": 29, "default_company_type": 3});
    let company_7 = [("companyID", Value::Int(7))];
    let cases: Vec<(&str, Write, &str, Json)> = vec![
        (
            "company created with defaults, country and cross-reference",
            create(
                "Companies",
                &[
                    ("companyName", text("A")),
                    ("country", text("germany")),
                    ("udf.CRM ID", text("9")),
                    ("ownerResourceID", Value::Null),
                ],
            ),
            "POST Companies",
            json!({"companyName": "A", "companyType": 3, "ownerResourceID": 29, "countryID": 40,
                   "userDefinedFields": [{"name": "CRM ID", "value": "9"}]}),
        ),
        (
            "given values stay",
            create(
                "Companies",
                &[("companyType", Value::Int(1)), ("ownerResourceID", text("5"))],
            ),
            "POST Companies",
            json!({"companyType": 1, "ownerResourceID": 5}),
        ),
        (
            "contact created below its company",
            create(
                "Contacts",
                &[
                    ("companyID", text("7")),
                    ("lastName", text("B")),
                    ("externalID", text("12")),
                ],
            ),
            "POST Companies/7/Contacts",
            json!({"companyID": 7, "lastName": "B", "isActive": 1, "externalID": "12"}),
        ),
        (
            "inactive contact",
            create(
                "Contacts",
                &[("companyID", Value::Int(7)), ("isActive", Value::Bool(false))],
            ),
            "POST Companies/7/Contacts",
            json!({"companyID": 7, "isActive": 0}),
        ),
        (
            "contact updated below the company it has",
            update(
                "Contacts",
                "3",
                &company_7,
                &[("lastName", text("C")), ("udf.CRM ID", Value::Null)],
            ),
            "PATCH Companies/7/Contacts",
            json!({"id": 3, "lastName": "C", "userDefinedFields": [{"name": "CRM ID", "value": null}]}),
        ),
        (
            "company updated",
            update(
                "Companies",
                "3",
                &[],
                &[("country", Value::Null), ("isActive", Value::Bool(false))],
            ),
            "PATCH Companies",
            json!({"id": 3, "countryID": null, "isActive": false}),
        ),
        (
            "opportunity created",
            create("Opportunities", &[("title", text("T"))]),
            "POST Opportunities",
            json!({"title": "T", "ownerResourceID": 29}),
        ),
        (
            "ticket created",
            create("Tickets", &[("title", text("T"))]),
            "POST Tickets",
            json!({"title": "T"}),
        ),
    ];
    for (name, write, line, body) in cases {
        let server = Server::start(done).await;
        let is_update = matches!(write.action, WriteAction::Update { .. });
        let outcome = server
            .target(settings.clone())
            .await
            .write(&[write])
            .await
            .remove(0);
        assert_eq!(
            outcome.expect(name).id.as_str(),
            if is_update { "3" } else { "77" },
            "{name}"
        );
        let sent = server.last();
        assert_eq!((sent.line().as_str(), sent.body), (line, body), "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_without_a_call() {
    let cases: Vec<(&str, Write, Option<&str>)> = vec![
        (
            "contact without company",
            create("Contacts", &[("lastName", text("x"))]),
            Some("companyID"),
        ),
        (
            "contact moved",
            update(
                "Contacts",
                "3",
                &[("companyID", Value::Int(7))],
                &[("companyID", Value::Int(8))],
            ),
            Some("companyID"),
        ),
        (
            "contact whose company is not known",
            update("Contacts", "3", &[], &[("lastName", text("x"))]),
            Some("companyID"),
        ),
        (
            "unknown country",
            create("Companies", &[("country", text("Atlantis"))]),
            Some("country"),
        ),
        (
            "country of a ticket",
            create("Tickets", &[("country", text("DE"))]),
            Some("country"),
        ),
        (
            "nested field",
            create("Tickets", &[("a.b", text("x"))]),
            Some("a.b"),
        ),
        (
            "company deleted",
            write("Companies", WriteAction::Delete { id: "3".into() }),
            None,
        ),
    ];
    for (name, write, field) in cases {
        let server = Server::start(done).await;
        let error = server
            .target(json!({}))
            .await
            .write(&[write])
            .await
            .remove(0)
            .expect_err(name);
        let got = (
            error.kind,
            error.effect,
            error.is_transient(),
            error.field.as_deref(),
        );
        assert_eq!(
            got,
            (ErrorKind::Invalid, Effect::NotApplied, false, field),
            "{name}: {error:?}"
        );
        assert!(
            server.lines().iter().all(|line| line == "POST Countries/query"),
            "{name}"
        );
        assert!(
            !format!("{error:?}").contains("Atlantis"),
            "a value is in the message: {error:?}"
        );
    }
}

#[tokio::test]
async fn each_answer_says_what_became_of_the_write() {
    use Effect::{NotApplied, Unknown};
    use ErrorKind::*;
    let raw = |status: u16, body: &str| Reply {
        status,
        body: body.to_owned(),
        headers: String::new(),
    };
    let refusal = format!(
        "Value {MARKER} of email; Reference value on field: contactID of type: Contact does not exist"
    );
    let cases: Vec<(Reply, ErrorKind, Effect, Option<&str>)> = vec![
        (errors(&refusal), Invalid, NotApplied, Some("contactID")),
        (errors("phone is required"), Invalid, NotApplied, Some("phone")),
        (errors("You lack permission"), Permission, NotApplied, None),
        (
            status(
                500,
                json!({"errors": ["An unexpected error has occurred."], "errorId": 3}),
            ),
            Unavailable,
            Unknown,
            None,
        ),
        (raw(500, ""), Unavailable, Unknown, None),
        (
            raw(502, "<html><title>Bad Gateway</title></html>"),
            Unavailable,
            Unknown,
            None,
        ),
        (raw(0, ""), Unavailable, Unknown, None),
        (raw(429, ""), RateLimited, NotApplied, None),
        (
            errors("The Autotask API thread threshold of 3 threads has been exceeded"),
            RateLimited,
            NotApplied,
            None,
        ),
        (raw(404, "<html></html>"), NotFound, NotApplied, None),
        (status(405, json!({"Message": "no"})), Protocol, NotApplied, None),
        (ok(json!({})), Protocol, Unknown, None),
        (ok(json!({"itemId": null})), Protocol, Unknown, None),
        (raw(200, "<html></html>"), Protocol, Unknown, None),
        (raw(200, ""), Protocol, Unknown, None),
    ];
    for (reply, kind, effect, field) in cases {
        let shown = format!("{} {}", reply.status, reply.body);
        let reply = Arc::new(reply);
        let server = Server::start(move |_| Reply {
            status: reply.status,
            body: reply.body.clone(),
            headers: String::new(),
        })
        .await;
        let write = create("Companies", &[("companyName", text(MARKER))]);
        let error = server
            .target(json!({}))
            .await
            .write(&[write])
            .await
            .remove(0)
            .expect_err(&shown);
        assert_eq!(
            (error.kind, error.effect, error.field.as_deref()),
            (kind, effect, field),
            "{shown}: {error:?}"
        );
        assert_eq!(error.context("entity"), Some("Companies"));
        assert!(!format!("{error:?}").contains(MARKER), "{error:?}");
        assert_eq!(server.lines().len(), 1, "a write is never tried again: {shown}");
    }
}

#[tokio::test]
async fn an_answer_for_another_record_proves_nothing() {
    let server = Server::start(|_| ok(json!({"itemId": 4}))).await;
    let target = server.target(json!({})).await;
    let outcome = target
        .write(&[update("Companies", "3", &[], &[("city", text("x"))])])
        .await
        .remove(0);
    let error = outcome.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Protocol, Effect::Unknown));
    let as_text = Server::start(|_| ok(json!({"itemId": "3"}))).await;
    let target = as_text.target(json!({})).await;
    target
        .write(&[update("Companies", "3", &[], &[("city", text("x"))])])
        .await
        .remove(0)
        .unwrap();
}

#[tokio::test]
async fn a_write_after_a_move_is_made_once_where_the_tenant_is_now() {
    let server = Server::start_in_zones(
        |asked| format!("zone{asked}"),
        |call| {
            if call.zone == "zone1" {
                status(401, json!({}))
            } else {
                done(call)
            }
        },
    )
    .await;
    let target = server.target(json!({})).await;
    target
        .write(&[create("Tickets", &[("title", text("x"))])])
        .await
        .remove(0)
        .unwrap();
    let zones: Vec<String> = server.calls().iter().map(|call| call.zone.clone()).collect();
    assert_eq!(zones, ["", "zone1", "", "zone2"]);
}

#[tokio::test]
async fn a_late_write_is_not_sent() {
    let server = Server::start(done).await;
    let target = server.target(json!({})).await;
    server.clock.advance(Duration::from_secs(11));
    let error = target
        .write(&[create("Tickets", &[("title", text("x"))])])
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!(
        (error.kind, error.effect, error.is_transient()),
        (ErrorKind::Unavailable, Effect::NotApplied, true)
    );
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn outcomes_come_in_order_and_fail_one_by_one() {
    let server = Server::start(|call| match call.body["title"].as_str() {
        Some("bad") => errors("title is required"),
        Some(title) => ok(json!({"itemId": title})),
        None => errors("no title"),
    })
    .await;
    let titles = ["1", "bad", "3", "4", "bad", "6"];
    let writes: Vec<Write> = titles
        .iter()
        .map(|title| create("Tickets", &[("title", text(title))]))
        .collect();
    let outcomes = server.target(json!({})).await.write(&writes).await;
    let ids: Vec<Option<String>> = outcomes
        .into_iter()
        .map(|outcome| outcome.ok().map(|written| written.id.0))
        .collect();
    let expected = titles.map(|title| (title != "bad").then(|| title.to_owned()));
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_contact_is_deleted_below_its_company() {
    let server = Server::start(|call| match call.line().as_str() {
        "GET Contacts/3" => ok(json!({"item": {"id": 3, "companyID": 7}})),
        "GET Contacts/4" => ok(json!({"item": null})),
        _ => ok(json!({"itemId": 3})),
    })
    .await;
    let target = server.target(json!({})).await;
    let delete = |id: &str| write("Contacts", WriteAction::Delete { id: id.into() });
    target.write(&[delete("3")]).await.remove(0).unwrap();
    assert_eq!(server.last().line(), "DELETE Companies/7/Contacts/3");
    let error = target.write(&[delete("4")]).await.remove(0).unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::NotFound, Effect::NotApplied)
    );
}
