//! Records that look different on the wire: lifted members, lists of named members, parents, computed and rewritten fields, bodies of
//! any shape, XML.

use crate::support::{Reply, Server, empty, held, ids, ok, open, status};
use seamless_core::{Effect, ErrorKind, Lookup, Timestamp, Value, WriteAction, lookup};
use serde_json::{Value as Json, json};

fn manifest(entity: &str) -> String {
    format!(
        "manifest = 1\n[system]\nname = 'test'\n[limits]\npage_size = 10\n[entities.accounts]\n{entity}\n\
         [entities.accounts.list]\npath = '/accounts'\n[entities.accounts.get]\npath = '/accounts/{{id}}'\n"
    )
}

fn text(record: &seamless_core::NativeRecord, path: &str) -> Option<String> {
    lookup(&record.fields, path).and_then(Value::to_plain)
}

#[tokio::test]
async fn json_api_records_are_lifted_and_written_in_their_envelope() {
    let server = Server::start(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/accounts") => ok(json!([
            { "type": "accounts", "id": "5", "attributes": { "name": "Acme", "id": "not this one", "type": "customer" } },
        ])),
        ("POST", _) => status(201, json!({ "data": { "type": "accounts", "id": "9" } })),
        _ => empty(204),
    })
    .await;
    let entity = "lift = ['attributes']\n\
        create = { path = '/accounts', item = 'data', headers = { Content-Type = 'application/vnd.api+json' }, body = { data = { type = 'accounts', attributes = '{record}' } } }\n\
        update = { path = '/accounts/{id}', body = { data = { type = 'accounts', id = '{id}', attributes = '{record}' } } }";
    let rig = open(&manifest(entity), &server).await;
    let records = rig.list_all(None, 10).await.unwrap();
    assert_eq!(
        (ids(&records), text(&records[0], "name")),
        (vec!["5".to_owned()], Some("Acme".into()))
    );
    assert_eq!(
        text(&records[0], "type").as_deref(),
        Some("customer"),
        "the envelope's own type gives way"
    );
    let created = rig.create(&[("name", "New".into())]).await.unwrap();
    assert_eq!(created.id.as_str(), "9");
    let expected = json!({ "data": { "type": "accounts", "attributes": { "name": "New" } } });
    assert_eq!(server.last().json(), expected);
    assert_eq!(server.last().headers["content-type"], "application/vnd.api+json");
    rig.update(records[0].clone(), &[("name", "B".into())])
        .await
        .unwrap();
    let expected = json!({ "data": { "type": "accounts", "id": "5", "attributes": { "name": "B" } } });
    assert_eq!(server.last().json(), expected);
}

#[tokio::test]
async fn custom_fields_in_a_list_are_paths_both_ways() {
    let row =
        || json!({ "id": 1, "cf": [{ "id": 3, "value": "x", "name": "Tier" }, { "id": 4, "value": null }] });
    for (whole, expected) in [
        (false, json!({ "cf": [{ "id": 3, "value": "y" }] })),
        (
            true,
            json!({ "cf": [{ "id": 3, "value": "y" }, { "id": 4, "value": null }] }),
        ),
    ] {
        let server = Server::start(move |seen| match seen.method.as_str() {
            "GET" => ok(json!([row()])),
            _ => empty(204),
        })
        .await;
        let entity = format!(
            "keyed.cf = {{ key = 'id', value = 'value', numeric = true, whole = {whole} }}\n\
             create = {{ path = '/accounts' }}\nupdate = {{ path = '/accounts/{{id}}' }}"
        );
        let rig = open(&manifest(&entity), &server).await;
        let record = rig.list_all(None, 10).await.unwrap().remove(0);
        assert_eq!(text(&record, "cf.3").as_deref(), Some("x"));
        rig.update(record, &[("cf.3", "y".into())]).await.unwrap();
        assert_eq!(server.last().json(), expected);
    }
}

#[tokio::test]
async fn hyperlinked_references_are_computed_and_written_back() {
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => ok(
            json!([{ "id": 1, "company": "/api/companies/42/", "first": "Ann", "last": "Lee" }, { "id": 2 }]),
        ),
        _ => status(201, json!({ "id": 3 })),
    })
    .await;
    let entity = "computed.company_id = \"{{ (company | split('/'))[3] | int }}\"\n\
        computed.name = '{{ first }} {{ last }}'\n\
        written.company_id = { as = 'company', template = '/api/companies/{{ value }}/' }\n\
        written.tags = { template = \"{{ value | split(',') }}\" }\n\
        create = { path = '/accounts' }";
    let broken = manifest("computed.x = '{{ first + 1 }}'");
    let error = open(&broken, &server).await.list_all(None, 10).await.unwrap_err();
    assert!(error.message().contains("'x' cannot be computed"), "{error}");
    assert!(!error.to_string().contains("Ann"), "{error}");
    let rig = open(&manifest(entity), &server).await;
    let records = rig.list_all(None, 10).await.unwrap();
    assert_eq!(text(&records[0], "company_id").as_deref(), Some("42"));
    assert_eq!(text(&records[0], "name").as_deref(), Some("Ann Lee"));
    assert_eq!(text(&records[1], "company_id"), None);
    rig.create(&[("company_id", "7".into()), ("tags", "a,b".into())])
        .await
        .unwrap();
    let expected = json!({ "company": "/api/companies/7/", "tags": ["a", "b"] });
    assert_eq!(server.last().json(), expected);
}

/// Contacts exist below their company only, and number from 1 there.
const BELOW: &str = "manifest = 1\n[system]\nname = 'test'\n[limits]\npage_size = 2\n\
    [entities.companies]\nlist = { path = '/companies', page = { kind = 'page', query = 'page', size_query = 'per' } }\nget = { path = '/companies/{id}' }\n\
    [entities.accounts]\nparent = { entity = 'companies', field = 'company_id', in_id = true }\n\
    list = { path = '/companies/{parent}/contacts', page = { kind = 'offset', query = 'skip', size_query = 'take' } }\n\
    get = { path = '/companies/{parent}/contacts/{id}' }\nfind = { scan = true }\n\
    create = { path = '/companies/{company_id}/contacts' }\nupdate = { path = '/companies/{company_id}/contacts/{id}' }\n\
    delete = { path = '/companies/{company_id}/contacts/{id}' }\n";

async fn below() -> Server {
    Server::start(|seen| {
        let number =
            |name: &str, default: usize| seen.param(name).map_or(default, |text| text.parse().unwrap());
        let parts: Vec<&str> = seen.path.split('/').skip(1).collect();
        match (seen.method.as_str(), parts.as_slice()) {
            ("GET", ["companies"]) => {
                let skip = (number("page", 1) - 1) * 2;
                ok((1..=5).skip(skip).take(2).map(|id| json!({ "id": id })).collect())
            }
            // The fourth is gone by the time its contacts are asked for.
            ("GET", ["companies", "4", "contacts"]) => status(404, json!({})),
            ("GET", ["companies", company, "contacts"]) => {
                let count: usize = company.parse().unwrap();
                let rows = (1..=count).skip(number("skip", 0)).take(number("take", 99));
                ok(rows
                    .map(|id| json!({ "id": id, "mail": format!("{id}@{company}") }))
                    .collect())
            }
            ("GET", ["companies", company, "contacts", id]) => {
                ok(json!({ "id": id.parse::<u32>().unwrap(), "mail": format!("{id}@{company}") }))
            }
            ("POST", _) => status(201, json!({ "id": 8 })),
            _ => empty(204),
        }
    })
    .await
}

#[tokio::test]
async fn records_below_parents_are_listed_read_found_and_written() {
    let server = below().await;
    let rig = open(BELOW, &server).await;
    let expected = [
        "1/1", "2/1", "2/2", "3/1", "3/2", "3/3", "5/1", "5/2", "5/3", "5/4", "5/5",
    ];
    for limit in [1, 2, 5, 500] {
        let mut found = ids(&rig.list_all(None, limit).await.unwrap());
        found.sort();
        found.dedup();
        assert_eq!(found, expected, "by {limit}");
    }
    let record = rig.fetch(&["3/2"]).await.unwrap().remove(0);
    assert_eq!(
        (record.id.as_str(), text(&record, "mail").as_deref()),
        ("3/2", Some("2@3"))
    );
    assert_eq!(text(&record, "company_id").as_deref(), Some("3"));
    assert_eq!(
        rig.find("mail", &["2@5", "9@9"]).await.unwrap(),
        [vec!["5/2".to_owned()], vec![]]
    );
    let created = rig
        .create(&[("company_id", "2".into()), ("mail", "x".into())])
        .await
        .unwrap();
    assert_eq!(
        (created.id.as_str(), server.last().path.as_str()),
        ("2/8", "/companies/2/contacts")
    );
    rig.update(record, &[("mail", "y".into())]).await.unwrap();
    assert_eq!(server.last().path, "/companies/3/contacts/2");
    rig.write(WriteAction::Delete { id: "3/2".into() }).await.unwrap();
    assert_eq!(server.last().line(), "DELETE /companies/3/contacts/2");
}

#[tokio::test]
async fn bodies_take_any_shape() {
    let cases = [
        // A list of one, the id among the fields (HaloPSA).
        (
            "numeric_ids = true\nupdate = { method = 'POST', path = '/accounts', id_body = 'id', body = ['{record}'] }",
            "POST /accounts",
            json!([{ "id": 7, "name": "New" }]),
        ),
        // The id in the query (PostgREST).
        (
            "update = { path = '/accounts', query = { id = 'eq.{id}' } }",
            "PATCH /accounts?id=eq.7",
            json!({ "name": "New" }),
        ),
        // A call of a method (JSON-RPC).
        (
            "numeric_ids = true\nupdate = { method = 'POST', path = '/rpc', body = { method = 'write', args = [['{id}'], '{record}'] } }",
            "POST /rpc",
            json!({ "method": "write", "args": [[7], { "name": "New" }] }),
        ),
        // One operation a field (ConnectWise).
        (
            "keyed.cf = { key = 'id', value = 'value', numeric = true }\nupdate = { path = '/accounts/{id}', format = 'json_patch', patch_op = 'replace' }",
            "PATCH /accounts/7",
            json!([{ "op": "replace", "path": "/name", "value": "New" }]),
        ),
        (
            "update = { path = '/accounts/{id}', body_template = '{\"set\": {{ record | tojson }}, \"was\": {{ current.name | tojson }}, \"id\": {{ id | tojson }}}' }",
            "PATCH /accounts/7",
            json!({ "set": { "name": "New" }, "was": "Old", "id": "7" }),
        ),
    ];
    for (entity, line, body) in cases {
        let server = Server::start(|_| empty(204)).await;
        let rig = open(&manifest(entity), &server).await;
        let current = held("7", None, &[("name", "Old".into())]);
        rig.update(current, &[("name", "New".into())])
            .await
            .unwrap_or_else(|error| panic!("{entity}: {error}"));
        assert_eq!(
            (server.lines(), server.last().json()),
            (vec![line.to_owned()], body),
            "{entity}"
        );
    }
}

#[tokio::test]
async fn a_json_patch_replaces_lists_of_named_members_as_a_whole() {
    let server = Server::start(|_| ok(json!({}))).await;
    let entity = "keyed.cf = { key = 'id', value = 'value', numeric = true, whole = true }\n\
        update = { path = '/accounts/{id}', format = 'json_patch' }";
    let rig = open(&manifest(entity), &server).await;
    let fields = Value::from_json(&json!({ "3": "x", "4": "z" }));
    let current = held("7", None, &[("cf", fields)]);
    rig.update(current, &[("cf.3", "y".into()), ("address.city", "Oslo".into())])
        .await
        .unwrap();
    assert_eq!(
        server.last().headers["content-type"],
        "application/json-patch+json"
    );
    let expected = json!([
        { "op": "add", "path": "/address/city", "value": "Oslo" },
        { "op": "add", "path": "/cf", "value": [{ "id": 3, "value": "y" }, { "id": 4, "value": "z" }] },
    ]);
    assert_eq!(server.last().json(), expected);
}

const XML: &str = "manifest = 1\n[system]\nname = 'test'\nformat = 'xml'\n[errors]\nmessage = 'error.text'\n\
    [[errors.rules]]\npath = 'error.@code'\nequals = ['17']\nmeans = 'refused'\n\
    [entities.accounts]\nid = '@id'\nlist = { path = '/accounts', items = 'accounts.account' }\n\
    get = { path = '/accounts/{id}', item = 'account' }\n\
    create = { path = '/accounts', format = 'xml', wrap = 'account', item = 'account' }\n\
    update = { path = '/accounts/{id}', method = 'PUT', format = 'xml', wrap = 'account' }\n";

fn xml(code: u16, text: &str) -> Reply {
    Reply(
        code,
        vec![("content-type", "application/xml".into())],
        text.into(),
    )
}

#[tokio::test]
async fn xml_is_read_and_written() {
    let lists = [
        ("<accounts/>", 0),
        ("<accounts><account id='1'><name>A</name></account></accounts>", 1),
        ("<accounts><account id='1'/><account id='2'/></accounts>", 2),
    ];
    for (list, count) in lists {
        let server = Server::start(move |_| xml(200, list)).await;
        let rig = open(XML, &server).await;
        assert_eq!(rig.list_all(None, 10).await.unwrap().len(), count, "{list}");
        assert_eq!(server.last().headers["accept"], "application/xml");
    }
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => xml(200, "<?xml version='1.0'?><account id='7'><name>R&amp;D</name><address><city>Oslo</city></address></account>"),
        "POST" if seen.body.contains("bad") => xml(200, "<error code='17'><text>no &lt;bad&gt; here</text></error>"),
        "POST" => xml(201, "<account id='9'/>"),
        _ => xml(200, "<ok/>"),
    })
    .await;
    let rig = open(XML, &server).await;
    let record = rig.fetch(&["7"]).await.unwrap().remove(0);
    assert_eq!(text(&record, "name").as_deref(), Some("R&D"));
    assert_eq!(text(&record, "address.city").as_deref(), Some("Oslo"));
    let created = rig
        .create(&[("name", "R&D <é>".into()), ("address.city", "Oslo".into())])
        .await
        .unwrap();
    assert_eq!(created.id.as_str(), "9");
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><account><address><city>Oslo</city></address><name>R&amp;D &lt;é&gt;</name></account>";
    assert_eq!(
        (
            server.last().body.as_str(),
            server.last().headers["content-type"].as_str()
        ),
        (expected, "application/xml")
    );
    rig.update(record, &[("name", "B".into())]).await.unwrap();
    assert!(server.last().body.contains("<name>B</name>"));
    let refused = rig.create(&[("name", "bad".into())]).await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.effect),
        (ErrorKind::Invalid, Effect::NotApplied)
    );
    // A text in XML cannot be told from what we sent, so it is not repeated.
    assert!(!refused.to_string().contains("bad"), "{refused}");
}

#[tokio::test]
async fn creates_can_carry_a_key_of_their_own() {
    let server = Server::start(|_| status(201, json!({ "id": 1 }))).await;
    let entity = "create = { path = '/accounts', idempotency_header = 'Idempotency-Key' }\n\
        map.account = { xref = 'ours', fields = { name = 'name' } }";
    let rig = open(&manifest(entity), &server).await;
    let mut keys = Vec::new();
    for ours in [Some("17"), Some("17"), Some("18"), None, None] {
        let mut fields: Vec<(&str, Value)> = vec![("name", "A".into())];
        fields.extend(ours.map(|ours| ("ours", ours.into())));
        rig.create(&fields).await.unwrap();
        keys.push(server.last().headers["idempotency-key"].clone());
    }
    assert_eq!(keys[0], keys[1], "the same source record");
    let mut distinct = keys.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "{keys:?}");
    assert!(keys.iter().all(|key| key.len() == 36), "{keys:?}");
}

#[tokio::test]
async fn an_update_confirmed_in_plain_text_is_done_and_a_page_is_not() {
    for (body, is_done) in [
        ("OK", true),
        ("", true),
        ("<html><title>Sign in</title></html>", false),
    ] {
        let server = Server::start(move |_| Reply(200, Vec::new(), body.into())).await;
        let rig = open(&manifest("update = { path = '/accounts/{id}' }"), &server).await;
        let outcome = rig.update(held("7", None, &[]), &[("name", "x".into())]).await;
        assert_eq!(outcome.is_ok(), is_done, "{body}");
        if let Err(error) = outcome {
            assert_eq!(error.effect, Effect::Unknown);
        }
    }
}

#[tokio::test]
async fn option_lists_come_from_the_system() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/statuses" => ok(json!({ "data": [
            { "id": 1, "name": "New", "enabled": true }, { "id": 2, "name": "Old", "enabled": false },
        ] })),
        "/tags" => ok(json!(["a", "b"])),
        _ => status(404, json!({})),
    })
    .await;
    let fields = "fields.status = { options_from = { path = '/statuses', query = { all = '1' }, items = 'data', value = 'id', label = 'name', active = 'enabled' } }\n\
        fields.tag = { options_from = { path = '/tags' } }\nfields.name = {}";
    let info = open(&manifest(fields), &server)
        .await
        .source
        .describe("accounts")
        .await
        .unwrap();
    let told = |name: &str| {
        let field = info.fields.iter().find(|field| field.name == name).unwrap();
        field.options.as_ref().map(|options| {
            let told = options.iter().map(|option| {
                (
                    option.value.to_plain().unwrap(),
                    option.label.clone(),
                    option.active,
                )
            });
            told.collect::<Vec<_>>()
        })
    };
    assert_eq!(
        told("status"),
        Some(vec![
            ("1".into(), "New".into(), true),
            ("2".into(), "Old".into(), false)
        ])
    );
    assert_eq!(
        told("tag"),
        Some(vec![
            ("a".into(), "a".into(), true),
            ("b".into(), "b".into(), true)
        ])
    );
    assert_eq!(told("name"), None);
    let missing = manifest("fields.x = { options_from = { path = '/nowhere' } }");
    let error = open(&missing, &server)
        .await
        .source
        .describe("accounts")
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (ErrorKind::NotFound, Some("x"))
    );
}

#[tokio::test]
async fn searches_are_made_by_template_where_placeholders_do_not_reach() {
    let server = Server::start(|seen| {
        let where_: Json = seen
            .param("where")
            .map_or(Json::Null, |text| serde_json::from_str(text).unwrap());
        let wanted = where_["name"]["$in"].as_array().cloned().unwrap_or_default();
        ok(wanted
            .iter()
            .enumerate()
            .map(|(id, name)| json!({ "id": id + 1, "name": name }))
            .collect())
    })
    .await;
    let find = "[entities.accounts.find]\npath = '/accounts'\nvalues_max = 10\n\
        query_template = { where = '{\"{{ field }}\": {\"$in\": {{ values | tojson }}}}' }\n";
    let rig = open(&(manifest("") + find), &server).await;
    let found = rig.find("name", &["A \"quoted\" & Co", "B}{"]).await.unwrap();
    assert_eq!(found, [vec!["1".to_owned()], vec!["2".to_owned()]]);
    let lookups = [Lookup::Field {
        field: "name".into(),
        value: "x".into(),
    }];
    assert!(rig.source.find("accounts", &lookups).await.is_ok());
}

#[tokio::test]
async fn nothing_and_moments_are_written_in_the_systems_own_words() {
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => ok(json!([{ "id": 1, "due": 1_795_428_900, "begins": "23.11.2026 11:15", "ends": null }])),
        _ => status(201, json!({ "id": 2 })),
    })
    .await;
    let entity = "null_as = ''\nstamp_zone = 'Europe/Berlin'\nfields.due.format = 'epoch_secs'\n\
        fields.begins.format = '%d.%m.%Y %H:%M'\nfields.ends.format = 'date'\ncreate = { path = '/accounts' }";
    let rig = open(&manifest(entity), &server).await;
    let record = rig.list_all(None, 10).await.unwrap().remove(0);
    for path in ["due", "begins"] {
        assert_eq!(
            text(&record, path).as_deref(),
            Some("2026-11-23T10:15:00.000Z"),
            "{path}"
        );
    }
    assert_eq!(text(&record, "ends"), None);
    let moment = Timestamp::parse("2026-07-01T10:15:00Z").unwrap();
    rig.create(&[
        ("due", Value::Time(moment)),
        ("begins", "2026-07-01T10:15:00Z".into()),
        ("ends", Value::Null),
        ("name", "2026-07-01T10:15:00Z".into()),
    ])
    .await
    .unwrap();
    let expected = json!({ "due": 1_782_900_900, "begins": "01.07.2026 12:15", "ends": "", "name": "2026-07-01T10:15:00Z" });
    assert_eq!(server.last().json(), expected);
}
