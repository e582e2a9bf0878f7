//! Writing: bodies, paths, versions, and what answers mean.

use crate::support::{Reply, Server, empty, held, ok, open, status};
use seamless_core::{Effect, ErrorKind, Retry, Value, WriteAction};
use serde_json::{Value as Json, json};

const MANIFEST: &str = "manifest = 1\n[system]\nname = 'test'\n[errors]\nmessage = 'error.message'\nfield = 'error.field'\n\
     code = 'error.code'\n[entities.accounts]\nversion = 'rev'\nlist = { path = '/accounts' }\n\
     get = { path = '/accounts/{id}' }\n";

fn manifest(more: &str) -> String {
    format!("{MANIFEST}{more}\n")
}

#[tokio::test]
async fn creates_send_the_declared_shape_and_read_the_id() {
    let fields: &[(&str, Value)] = &[
        ("name", "Blåbær 株式会社".into()),
        ("address.city", "Oslo".into()),
        ("owner.id", Value::Int(5)),
        ("phone", Value::Null),
    ];
    let body = json!({ "name": "Blåbær 株式会社", "address": { "city": "Oslo" }, "owner": { "id": 5 }, "phone": null });
    let mut written_as = body.clone();
    written_as.as_object_mut().unwrap().remove("owner");
    written_as["owner_id"] = json!(5);
    written_as["source"] = json!("seamless");
    type Script = fn() -> Reply;
    let cases: [(&str, Json, Script); 6] = [
        ("create = { path = '/accounts' }", body.clone(), || {
            status(201, json!({ "id": 77, "name": "x" }))
        }),
        (
            "create = { path = '/accounts', wrap = 'data', item = 'data' }",
            json!({ "data": body.clone() }),
            || status(200, json!({ "data": { "id": "77" } })),
        ),
        (
            "create = { path = '/accounts', id = 'result.new' }",
            body.clone(),
            || ok(json!({ "result": { "new": 77 } })),
        ),
        (
            "create = { path = '/accounts', id_header = 'Location' }",
            body.clone(),
            || empty(201).with("location", "https://crm.example/accounts/77/?x=1"),
        ),
        (
            "create = { path = '/accounts', item = 'data' }\ncomputed.id = \"{{ (url | split('/'))[-2] }}\"",
            body.clone(),
            || {
                status(
                    201,
                    json!({ "data": { "url": "https://crm.example/accounts/77/" } }),
                )
            },
        ),
        (
            "create = { path = '/accounts', fixed = { source = 'seamless' } }\nwrite_as = { 'owner.id' = 'owner_id' }",
            written_as,
            || status(201, json!({ "id": 77 })),
        ),
    ];
    for (create, expected, script) in cases {
        let server = Server::start(move |_| script()).await;
        let written = open(&manifest(create), &server)
            .await
            .create(fields)
            .await
            .unwrap();
        assert_eq!(written.id.as_str(), "77", "{create}");
        assert_eq!(server.last().json(), expected, "{create}");
        assert_eq!(server.lines(), ["POST /accounts"], "{create}");
    }
}

#[tokio::test]
async fn forms_and_parents_in_the_path() {
    let server = Server::start(|_| status(201, json!({ "id": 1 }))).await;
    let form = "create = { path = '/companies/{account_id}/contacts', format = 'form', wrap = 'contact' }";
    let rig = open(&manifest(form), &server).await;
    rig.create(&[
        ("account_id", "a/1".into()),
        ("name", "R&D = é".into()),
        ("address.city", "Oslo".into()),
    ])
    .await
    .unwrap();
    assert_eq!(server.last().path, "/companies/a%2F1/contacts");
    assert_eq!(
        server.last().body,
        "contact%5Baccount_id%5D=a%2F1&contact%5Baddress%5D%5Bcity%5D=Oslo&contact%5Bname%5D=R%26D%20%3D%20%C3%A9"
    );
    let error = rig.create(&[("name", "x".into())]).await.unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (ErrorKind::Invalid, Some("account_id"))
    );
    assert_eq!(server.seen().len(), 1, "nothing is sent without the parent");
}

#[tokio::test]
async fn partial_updates_send_the_change_and_the_expected_version() {
    let cases = [
        (
            "update = { path = '/accounts/{id}' }",
            "PATCH /accounts/7",
            None,
            json!({ "name": "New" }),
        ),
        (
            "update = { path = '/accounts/{id}', version_header = 'If-Match' }",
            "PATCH /accounts/7",
            Some(("if-match", "\"3\"")),
            json!({ "name": "New" }),
        ),
        (
            "update = { method = 'POST', path = '/accounts/{id}', version_header = 'X-Rev', wrap = 'account' }",
            "POST /accounts/7",
            Some(("x-rev", "3")),
            json!({ "account": { "name": "New" } }),
        ),
        (
            "update = { method = 'PUT', path = '/accounts/{id}', version_body = 'meta.rev' }",
            "PUT /accounts/7",
            None,
            json!({ "name": "New", "meta": { "rev": 3 } }),
        ),
        (
            "update = { path = '/accounts/{id}', version_query = 'rev' }",
            "PATCH /accounts/7?rev=3",
            None,
            json!({ "name": "New" }),
        ),
    ];
    for (update, line, header, body) in cases {
        let server = Server::start(|_| empty(204)).await;
        let rig = open(&manifest(update), &server).await;
        // Answered with nothing: the status alone confirms.
        let written = rig
            .update(
                held("7", Some("3"), &[("name", "Old".into())]),
                &[("name", "New".into())],
            )
            .await
            .unwrap();
        assert_eq!(written.id.as_str(), "7");
        assert_eq!(server.lines(), [line]);
        assert_eq!(server.last().json(), body);
        assert_eq!(
            rig.source.capabilities("accounts").compare_and_set,
            update.contains("version")
        );
        if let Some((name, value)) = header {
            assert_eq!(server.last().headers[name], value);
        }
    }
}

#[tokio::test]
async fn a_change_inside_an_object_keeps_its_other_members() {
    let current = || {
        let parts = [("city", "Oslo"), ("zip", "0150"), ("hash", "x")]
            .map(|(key, text)| (key.to_owned(), Value::from(text)));
        let mails = Value::List(vec![
            Value::Map([("at".to_owned(), Value::from("a"))].into()),
            Value::from("other"),
        ]);
        held(
            "7",
            None,
            &[
                ("address", Value::Map(parts.into())),
                ("mails", mails),
                ("name", "Old".into()),
            ],
        )
    };
    let change: &[(&str, Value)] = &[
        ("address.zip", "0151".into()),
        ("mails.0.at", "b".into()),
        ("phone.work", "5".into()),
    ];
    let cases = [
        (
            "update = { path = '/accounts/{id}' }\nfields = { 'address.hash' = { read_only = true } }",
            json!({ "address": { "city": "Oslo", "zip": "0151" }, "mails": [{ "at": "b" }, "other"], "phone": { "work": "5" } }),
        ),
        (
            "update = { path = '/accounts/{id}', merges_nested = true }",
            json!({ "address": { "zip": "0151" }, "mails": { "0": { "at": "b" } }, "phone": { "work": "5" } }),
        ),
    ];
    for (update, body) in cases {
        let server = Server::start(|_| empty(204)).await;
        open(&manifest(update), &server)
            .await
            .update(current(), change)
            .await
            .unwrap();
        assert_eq!(server.last().json(), body, "{update}");
    }
}

#[tokio::test]
async fn an_update_without_the_version_it_promises_is_not_sent() {
    let server = Server::start(|_| empty(204)).await;
    let rig = open(
        &manifest("update = { path = '/accounts/{id}', version_header = 'If-Match' }"),
        &server,
    )
    .await;
    let error = rig
        .update(held("7", None, &[]), &[("name", "New".into())])
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Protocol, Effect::NotApplied)
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_etag_of_the_single_record_guards_its_update() {
    let text = MANIFEST.replace("version = 'rev'", "version_header = 'ETag'");
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => ok(json!({ "id": 7 })).with("etag", "W/\"abc\""),
        _ => status(412, json!({})),
    })
    .await;
    let rig = open(
        &format!("{text}update = {{ path = '/accounts/{{id}}', version_header = 'If-Match' }}\n"),
        &server,
    )
    .await;
    let record = rig.fetch(&["7"]).await.unwrap().remove(0);
    let error = rig.update(record, &[("name", "New".into())]).await.unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Conflict, Effect::NotApplied)
    );
    assert_eq!(server.last().headers["if-match"], "W/\"abc\"");
}

#[tokio::test]
async fn whole_updates_keep_every_other_field() {
    let update = "update = { method = 'PUT', path = '/accounts/{id}', partial = false, omit = ['updated'], version_header = 'If-Match' }\n\
                  write_as = { 'owner.id' = 'owner_id' }\nfields = { id = { read_only = true }, name = {} }";
    let script = |rev: u32| {
        move |seen: &crate::support::Seen| match seen.method.as_str() {
            "GET" => Reply(
                200,
                Vec::new(),
                format!(
                    r#"{{"id":7,"rev":{rev},"name":"Old","sum":0.10000000000000000001,"updated":"x","owner":{{"id":5}},"tags":["a"]}}"#
                ),
            ),
            _ => ok(json!({ "id": 7 })),
        }
    };
    let server = Server::start(script(3)).await;
    let rig = open(&manifest(update), &server).await;
    rig.update(held("7", Some("3"), &[]), &[("name", "New".into())])
        .await
        .unwrap();
    let sent = server.last();
    assert_eq!(sent.line(), "PUT /accounts/7");
    assert!(
        sent.body.contains("0.10000000000000000001"),
        "numbers survive to the last digit: {}",
        sent.body
    );
    let mut body = sent.json();
    body.as_object_mut().unwrap().remove("sum");
    assert_eq!(
        body,
        json!({ "name": "New", "owner": {}, "owner_id": 5, "rev": 3, "tags": ["a"] })
    );

    let server = Server::start(script(4)).await;
    let error = open(&manifest(update), &server)
        .await
        .update(held("7", Some("3"), &[]), &[("name", "New".into())])
        .await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Conflict, Effect::NotApplied)
    );
    assert_eq!(
        server.lines(),
        ["GET /accounts/7"],
        "changed since it was read: nothing is written"
    );
}

#[tokio::test]
async fn deletes_hard_and_soft() {
    let delete = |id: &str| WriteAction::Delete { id: id.into() };
    let server = Server::start(|seen| empty(if seen.path.ends_with('9') { 404 } else { 204 })).await;
    let rig = open(&manifest("delete = { path = '/accounts/{id}' }"), &server).await;
    rig.write(delete("7")).await.unwrap();
    rig.write(delete("9")).await.unwrap();
    assert_eq!(server.lines(), ["DELETE /accounts/7", "DELETE /accounts/9"]);

    let server = Server::start(|_| ok(json!({}))).await;
    let soft = "delete = { method = 'PATCH', path = '/accounts/{id}', body = { archived = true } }";
    open(&manifest(soft), &server)
        .await
        .write(delete("7"))
        .await
        .unwrap();
    assert_eq!(
        (server.last().line().as_str(), server.last().json()),
        ("PATCH /accounts/7", json!({ "archived": true }))
    );

    // What the call names beside the id is read first (CouchDB's revision).
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => ok(json!({ "id": 7, "rev": "3-x" })),
        _ => ok(json!({})),
    })
    .await;
    let revised = "delete = { path = '/accounts/{id}', query = { rev = '{rev}' }, headers = { If-Match = '{version}' } }";
    open(&manifest(revised), &server)
        .await
        .write(delete("7"))
        .await
        .unwrap();
    assert_eq!(server.lines(), ["GET /accounts/7", "DELETE /accounts/7?rev=3-x"]);
    assert_eq!(server.last().headers["if-match"], "3-x");

    let server = Server::start(|_| empty(204)).await;
    let error = open(MANIFEST, &server)
        .await
        .write(delete("7"))
        .await
        .unwrap_err();
    assert!(error.message().contains("describes no 'delete'"), "{error}");
}

#[tokio::test]
async fn refusals_are_classified_with_their_effect() {
    use Effect::{NotApplied, Unknown};
    use ErrorKind::{Auth, Conflict, Invalid, NotFound, Permission, Protocol, RateLimited, Unavailable};
    let refusal =
        || json!({ "error": { "code": "too_long", "field": "name", "message": "name is too long" } });
    let cases = [
        (400, Invalid, NotApplied, false),
        (401, Auth, NotApplied, false),
        (403, Permission, NotApplied, false),
        (404, NotFound, NotApplied, false),
        (409, Conflict, NotApplied, true),
        (412, Conflict, NotApplied, true),
        (422, Invalid, NotApplied, false),
        (429, RateLimited, NotApplied, true),
        (301, Protocol, NotApplied, false),
        // "See the new record there": it has been made.
        (303, Protocol, Unknown, false),
        (405, Protocol, NotApplied, false),
        (500, Unavailable, Unknown, true),
        (503, Unavailable, Unknown, true),
        (504, Unavailable, Unknown, true),
    ];
    for (code, kind, effect, transient) in cases {
        let server = Server::start(move |_| status(code, refusal()).with("retry-after", "7")).await;
        let rig = open(&manifest("create = { path = '/accounts' }"), &server).await;
        let error = rig.create(&[("name", "secret-marker".into())]).await.unwrap_err();
        assert_eq!(
            (error.kind, error.effect, error.is_transient()),
            (kind, effect, transient),
            "{code}: {error}"
        );
        assert_eq!(error.field.as_deref(), Some("name"), "{code}");
        assert_eq!(error.context("it says"), Some("name is too long"), "{code}");
        assert_eq!(
            (error.context("system"), error.context("entity")),
            (Some("crm"), Some("accounts")),
            "{code}"
        );
        if matches!(code, 429 | 503) {
            assert_eq!(
                error.retry,
                Retry::Later {
                    after: Some(std::time::Duration::from_secs(7))
                }
            );
        }
        assert_eq!(server.seen().len(), 1, "a write is never repeated");
    }
}

#[tokio::test]
async fn what_a_refusal_repeats_of_the_record_is_blanked_out() {
    let server = Server::start(|_| {
        status(
            422,
            json!({ "error": { "message": "e-mail JANE@example.com is taken", "field": "email" } }),
        )
    })
    .await;
    for create in [
        "create = { path = '/accounts' }",
        "create = { path = '/accounts', format = 'form' }",
    ] {
        let error = open(&manifest(create), &server)
            .await
            .create(&[("email", "jane@example.com".into())])
            .await
            .unwrap_err();
        assert!(!format!("{error:?}").to_lowercase().contains("jane"), "{error:?}");
        assert_eq!(error.field.as_deref(), Some("email"));
    }
}

#[tokio::test]
async fn rules_overrule_the_status() {
    let rules = "[[errors.rules]]\nstatus = [200]\npath = 'success'\nequals = ['false', '0']\nmeans = 'refused'\n\
                 [[errors.rules]]\npath = 'error.code'\nequals = ['DUPLICATE_VALUE']\nmeans = 'duplicate'\n\
                 [[errors.rules]]\nstatus = [403]\nheader = 'x-rate-remaining'\nequals = ['0']\nmeans = 'throttled'\n\
                 [[errors.rules]]\nstatus = [500]\ntext = true\ncontains = 'Validation failed'\nmeans = 'refused'\n\
                 [[errors.rules]]\nstatus = [404]\npath = 'done'\nexists = true\nmeans = 'done'\n";
    let text = manifest(&format!("create = {{ path = '/accounts' }}\n{rules}"));
    type Script = fn() -> Reply;
    let cases: [(Script, Option<ErrorKind>, Effect); 7] = [
        (
            || ok(json!({ "success": false, "error": { "message": "no" } })),
            Some(ErrorKind::Invalid),
            Effect::NotApplied,
        ),
        (|| ok(json!({ "success": true, "id": 1 })), None, Effect::Applied),
        (
            || status(400, json!({ "error": { "code": "duplicate_value" } })),
            Some(ErrorKind::Conflict),
            Effect::NotApplied,
        ),
        (
            || status(403, json!({})).with("x-rate-remaining", "0"),
            Some(ErrorKind::RateLimited),
            Effect::NotApplied,
        ),
        (
            || status(403, json!({})).with("x-rate-remaining", "9"),
            Some(ErrorKind::Permission),
            Effect::NotApplied,
        ),
        (
            || status(500, json!({ "m": "validation FAILED for name" })),
            Some(ErrorKind::Invalid),
            Effect::NotApplied,
        ),
        (
            || status(404, json!({ "done": 1, "id": 1 })),
            None,
            Effect::Applied,
        ),
    ];
    for (index, (script, kind, effect)) in cases.into_iter().enumerate() {
        let server = Server::start(move |_| script()).await;
        match open(&text, &server).await.create(&[("name", "x".into())]).await {
            Ok(_) => assert_eq!(kind, None, "case {index}"),
            Err(error) => assert_eq!(
                (Some(error.kind), error.effect),
                (kind, effect),
                "case {index}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_read_leaves_the_outcome_unknown() {
    for script in [
        || empty(201),
        || ok(json!({ "name": "x" })),
        || Reply(200, Vec::new(), "<html>".into()),
    ] {
        let server = Server::start(move |_| script()).await;
        let error = open(&manifest("create = { path = '/accounts' }"), &server)
            .await
            .create(&[])
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::Protocol, Effect::Unknown));
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn a_late_write_is_not_sent() {
    let server = Server::start(|_| status(201, json!({ "id": 1 }))).await;
    let rig = open(&manifest("create = { path = '/accounts' }"), &server).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let action = WriteAction::Create {
        fields: Default::default(),
    };
    let write = seamless_core::Write {
        entity: "accounts".into(),
        action,
        send_by: std::time::Duration::ZERO,
    };
    let error = rig.target.write(&[write]).await.remove(0).unwrap_err();
    assert_eq!((error.effect, error.is_transient()), (Effect::NotApplied, true));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn refusals_by_field_name_the_field_and_the_sentence() {
    for (path, body, field, sentence) in [
        (
            "errors",
            json!({ "message": "", "errors": { "email": ["is not valid"] } }),
            Some("email"),
            "is not valid",
        ),
        (
            "data",
            json!({ "data": { "phone": { "code": "x", "message": "is too long" } } }),
            Some("phone"),
            "is too long",
        ),
        (
            "",
            json!({ "status": 400, "city": ["is unknown"] }),
            Some("city"),
            "is unknown",
        ),
        (
            "errors",
            json!({ "errors": { "zip": "is missing" } }),
            Some("zip"),
            "is missing",
        ),
        ("", json!({ "detail": "not like this" }), None, ""),
    ] {
        let server = Server::start(move |_| status(400, body.clone())).await;
        let text = manifest("create = { path = '/accounts' }").replace(
            "message = 'error.message'\nfield = 'error.field'\ncode = 'error.code'",
            &format!("by_field = '{path}'"),
        );
        let error = open(&text, &server)
            .await
            .create(&[("name", "Acme".into())])
            .await
            .unwrap_err();
        assert_eq!(error.field.as_deref(), field, "{path}: {error}");
        assert!(error.to_string().contains(sentence), "{path}: {error}");
    }
}
