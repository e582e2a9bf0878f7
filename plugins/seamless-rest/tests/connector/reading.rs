//! Reading: every way of paging, changes, records by id and by field, on a scripted server.

use crate::support::{Reply, Seen, Server, empty, ids, ok, open, status};
use seamless_core::{ErrorKind, Lookup, RecordId, Timestamp, Value};
use serde_json::{Value as Json, json};

/// A manifest with one entity; `{list}` and what follows come from the case.
fn manifest(list: &str) -> String {
    format!(
        "manifest = 1\n[system]\nname = 'test'\n[limits]\npage_size = 10\n[entities.accounts]\nmodified = 'updated_at'\n\
         [entities.accounts.get]\npath = '/accounts/{{id}}'\n{list}"
    )
}

const LIST: &str = "[entities.accounts.list]\npath = '/accounts'\n";

fn rows(range: std::ops::Range<u32>) -> Vec<Json> {
    range
        .map(|id| json!({ "id": id, "name": format!("Account {id}"), "updated_at": "2026-11-23T10:00:00Z" }))
        .collect()
}

fn slice(count: u32, from: usize, size: usize) -> Vec<Json> {
    rows(1..count + 1).into_iter().skip(from).take(size).collect()
}

fn number(seen: &Seen, name: &str, default: usize) -> usize {
    seen.param(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test]
async fn every_way_of_paging_reads_every_record_once() {
    type Script = fn(&Seen) -> Reply;
    let cases: [(&str, Script); 8] = [
        ("kind = 'none'", |_| ok(json!({ "data": rows(1..36) }))),
        ("kind = 'offset'\nquery = 'skip'\nsize_query = 'take'", |seen| {
            ok(json!({ "data": slice(35, number(seen, "skip", 0), number(seen, "take", 10)) }))
        }),
        (
            "kind = 'page'\nquery = 'page'\nsize_query = 'per'\ntotal_header = 'X-Total-Count'",
            |seen| {
                let size = number(seen, "per", 10);
                let page = slice(35, (number(seen, "page", 1) - 1) * size, size);
                ok(json!({ "data": page })).with("x-total-count", "35")
            },
        ),
        // Past the last page this one says 404.
        ("kind = 'page'\nquery = 'page'\nsize_query = 'per'", |seen| {
            let size = number(seen, "per", 10);
            match slice(40, (number(seen, "page", 1) - 1) * size, size) {
                page if page.is_empty() => status(404, json!({ "error": "no such page" })),
                page => ok(json!({ "data": page })),
            }
        }),
        (
            "kind = 'cursor'\nquery = 'cursor'\nnext = 'meta.next'\nmore = 'meta.more'\nsize_query = 'limit'",
            |seen| {
                let from = number(seen, "cursor", 0);
                let next = from + 10;
                ok(json!({ "data": slice(35, from, 10), "meta": { "next": next, "more": next < 35 } }))
            },
        ),
        ("kind = 'next_url'\nnext = 'links.next'", |seen| {
            let from = number(seen, "from", 0);
            let host = &seen.headers["host"];
            let next =
                (from + 10 < 35).then(|| format!("http://{host}/accounts?from={}&x=%C3%A9", from + 10));
            ok(json!({ "data": slice(35, from, 10), "links": { "next": next } }))
        }),
        ("kind = 'link_header'", |seen| {
            let from = number(seen, "from", 0);
            let reply = ok(json!({ "data": slice(35, from, 10) }));
            if from + 10 < 35 {
                reply.with("link", format!("<?from={}>; rel=\"next\"", from + 10))
            } else {
                reply
            }
        }),
        ("kind = 'keyset'\nquery = 'id_gt'\nfield = 'id'", |seen| {
            ok(json!({ "data": slice(35, number(seen, "id_gt", 0), 10) }))
        }),
    ];
    for (page, script) in cases {
        let list = format!(
            "[entities.accounts.list]\npath = '/accounts'\nitems = 'data'\n[entities.accounts.list.page]\n{page}\n"
        );
        for limit in [4, 10, 500] {
            let server = Server::start(script).await;
            let rig = open(&manifest(&list), &server).await;
            let records = rig
                .list_all(None, limit)
                .await
                .unwrap_or_else(|error| panic!("{page} by {limit}: {error}"));
            let expected = if page.contains("'per'") && !page.contains("total") {
                40
            } else {
                35
            };
            let mut found: Vec<u32> = records
                .iter()
                .map(|record| record.id.0.parse().unwrap())
                .collect();
            found.sort_unstable();
            assert_eq!(found, (1..=expected).collect::<Vec<u32>>(), "{page} by {limit}");
        }
    }
}

#[tokio::test]
async fn since_is_sent_in_the_servers_own_form() {
    let cases = [
        (
            "path = '/accounts'\nsince = { query = 'since' }",
            "GET /accounts?since=2026-11-23T10:15:00.500Z",
        ),
        (
            "path = '/accounts'\nsince = { query = 'since', format = 'epoch_secs' }",
            "GET /accounts?since=1795428900",
        ),
        (
            "path = '/accounts'\nsince = { query = 'since', format = 'epoch_millis' }",
            "GET /accounts?since=1795428900500",
        ),
        (
            "path = '/accounts'\nsince = { query = 'since', format = 'date' }",
            "GET /accounts?since=2026-11-23",
        ),
        (
            "path = '/accounts'\nsince = { query = 'since', format = '%d.%m.%Y %H:%M:%S' }",
            "GET /accounts?since=23.11.2026 10:15:00",
        ),
        (
            "path = '/accounts'\nsince = { query = 'since', format = 'epoch_secs', exclusive = true }",
            "GET /accounts?since=1795428899",
        ),
        (
            "path = '/accounts'\nquery = { sort = 'id' }\nsince = { query = 'q', template = 'updated >= {since} or created >= {since}', format = 'date' }",
            "GET /accounts?sort=id&q=updated >= 2026-11-23 or created >= 2026-11-23",
        ),
        (
            "path = '/changes/{since}/accounts'\nsince = { format = 'epoch_secs' }",
            "GET /changes/1795428900/accounts",
        ),
    ];
    for (list, expected) in cases {
        let server = Server::start(|_| ok(json!([]))).await;
        let rig = open(&manifest(&format!("[entities.accounts.list]\n{list}\n")), &server).await;
        rig.list_all(Some("2026-11-23T10:15:00.5Z"), 100).await.unwrap();
        assert_eq!(server.lines(), [expected]);
        assert!(rig.source.capabilities("accounts").incremental);
    }
    let server = Server::start(|_| ok(json!([]))).await;
    let body = "[entities.accounts.list]\nmethod = 'POST'\npath = '/search'\nbody = { filter = { kind = 'company' } }\n\
                since = { body = 'filter.since', format = 'epoch_secs' }\n\
                page = { kind = 'offset', body = 'page.skip', size_body = 'page.take' }\n";
    open(&manifest(body), &server)
        .await
        .list_all(Some("2026-11-23T10:15:00.5Z"), 100)
        .await
        .unwrap();
    let expected =
        json!({ "filter": { "kind": "company", "since": 1_795_428_900 }, "page": { "skip": 0, "take": 10 } });
    assert_eq!(server.last().json(), expected);
}

#[tokio::test]
async fn a_record_keeps_ids_stamps_versions_and_exact_values() {
    let server = Server::start(|_| {
        Reply(
            200,
            vec![("date", "Mon, 23 Nov 2026 12:00:00 GMT".into())],
            r#"[{"uid":"é/ü","when":{"changed":1795428900,"made":null},"rev":7,"sum":12345678901234567.89,"owner":{"id":9007199254740993}}]"#
                .into(),
        )
    })
    .await;
    let text = "manifest = 1\n[system]\nname = 't'\n[entities.accounts]\nid = 'uid'\nmodified = 'when.changed'\n\
                created = 'when.made'\nversion = 'rev'\nstamp_format = 'epoch_secs'\nlist = { path = '/a' }\nget = { path = '/a/{id}' }\n";
    let rig = open(text, &server).await;
    let request = seamless_core::ListRequest {
        entity: "accounts".into(),
        since: None,
        after: None,
        limit: 10,
    };
    let page = rig.source.list(&request).await.unwrap();
    assert_eq!(page.server_time, Timestamp::parse("2026-11-23T12:00:00Z"));
    let record = &page.records[0];
    assert_eq!(record.id, RecordId::from("é/ü"));
    assert_eq!(
        record.stamp,
        Some(Timestamp::parse("2026-11-23T10:15:00Z").unwrap().into())
    );
    assert_eq!((record.created, record.version.as_deref()), (None, Some("7")));
    let plain = |path: &str| seamless_core::lookup(&record.fields, path).and_then(Value::to_plain);
    assert_eq!(plain("sum").as_deref(), Some("12345678901234567.89"));
    assert_eq!(plain("owner.id").as_deref(), Some("9007199254740993"));
}

#[tokio::test]
async fn fetch_leaves_out_what_does_not_exist() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/accounts/1" => ok(json!({ "id": 1 })),
        "/accounts/a%2Fb" => ok(json!({ "id": "a/b" })),
        // Merged into another one: the answer is a different record.
        "/accounts/5" => ok(json!({ "id": 1 })),
        "/accounts/6" => ok(Json::Null),
        _ => status(404, json!({})),
    })
    .await;
    let records = open(&manifest(LIST), &server)
        .await
        .fetch(&["1", "a/b", "5", "6", "7"])
        .await
        .unwrap();
    assert_eq!(ids(&records), ["1", "a/b"]);
}

#[tokio::test]
async fn a_batch_that_comes_back_short_is_confirmed_one_by_one() {
    let many = "[entities.accounts.list]\npath = '/accounts'\n\
                [entities.accounts.get_many]\npath = '/accounts'\nquery = { ids = '{ids}' }\njoin = ','\nids_max = 3\n";
    // The server cuts every answer after two records.
    let server = Server::start(|seen| match seen.param("ids") {
        Some(ids) => ok(ids
            .split(',')
            .filter(|id| *id != "9")
            .take(2)
            .map(|id| json!({ "id": id }))
            .collect()),
        None if seen.path == "/accounts/9" => empty(404),
        None => ok(json!({ "id": seen.path.trim_start_matches("/accounts/") })),
    })
    .await;
    let rig = open(&manifest(many), &server).await;
    let mut found = ids(&rig.fetch(&["1", "2", "3", "4", "9"]).await.unwrap());
    found.sort();
    assert_eq!(found, ["1", "2", "3", "4"]);
    let batches: Vec<String> = server
        .lines()
        .into_iter()
        .filter(|line| line.contains("ids="))
        .collect();
    assert_eq!(batches.len(), 2, "{batches:?}");
}

#[tokio::test]
async fn find_asks_in_the_servers_own_way() {
    let many = json!({ "field": "name", "values": ["O'Neil & Co", "Zoë", "nobody"] });
    let one = json!({ "filters": [{ "name": "name", "value": "O'Neil & Co" }] });
    let cases: [(&str, &str, Json); 7] = [
        (
            "query = { '{field}_like' = '^({values})$' }\nvalues_max = 5\njoin = '|'\nescape = { '|' = '\\|', '&' = '\\&' }",
            "GET /find?name_like=^(O'Neil \\& Co|Zoë|nobody)$",
            Json::Null,
        ),
        (
            "query = { '{field}' = '{value}' }",
            "GET /find?name=O'Neil & Co",
            Json::Null,
        ),
        (
            "query = { 'filter[{field}]' = '{values}' }\nvalues_max = 5",
            "GET /find?filter[name]=O'Neil & Co&filter[name]=Zoë&filter[name]=nobody",
            Json::Null,
        ),
        (
            "query = { name_in = '{values}' }\nvalues_max = 5\njoin = '|'\nfields = ['name']",
            "GET /find?name_in=O'Neil & Co|Zoë|nobody",
            Json::Null,
        ),
        (
            "query = { q = \"{field} eq '{value}'\" }\nescape = { \"'\" = \"''\" }\nnames = { name = 'Name' }",
            "GET /find?q=Name eq 'O''Neil & Co'",
            Json::Null,
        ),
        (
            "method = 'POST'\nbody = { field = '{field}', values = '{values}' }\nvalues_max = 100",
            "POST /find",
            many,
        ),
        (
            "method = 'POST'\nbody = { filters = [{ name = '{field}', value = '{value}' }] }",
            "POST /find",
            one,
        ),
    ];
    for (find, line, body) in cases {
        let server = Server::start(|_| {
            ok(json!([{ "id": 1, "name": "o'neil & CO" }, { "id": 2, "name": "Zoë" }, { "id": 3, "name": "Other" }]))
        })
        .await;
        let rig = open(
            &manifest(&format!(
                "{LIST}[entities.accounts.find]\npath = '/find'\n{find}\n"
            )),
            &server,
        )
        .await;
        let found = rig.find("name", &["O'Neil & Co", "Zoë", "nobody"]).await.unwrap();
        assert_eq!(found, [vec!["1".to_owned()], vec!["2".into()], vec![]], "{find}");
        let asked = server.seen();
        assert_eq!(
            asked.len(),
            if find.contains("values_max") { 1 } else { 3 },
            "{find}"
        );
        assert!(
            asked
                .iter()
                .any(|seen| seen.line() == line && seen.json() == body),
            "{find}: {:?}",
            server.lines()
        );
    }
}

#[tokio::test]
async fn a_value_cannot_pass_for_two() {
    let find = "[entities.accounts.find]\npath = '/find'\nquery = { name = '{values}' }\nvalues_max = 5\njoin = ','\nfields = ['name']\n";
    let server = Server::start(|_| ok(json!([]))).await;
    let error = open(&manifest(&format!("{LIST}{find}")), &server)
        .await
        .find("name", &["Smith, Jones"])
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (ErrorKind::Invalid, Some("name"))
    );
    assert!(!error.to_string().contains("Smith"), "{error}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn find_follows_pages_and_reads_stubs() {
    let find = format!(
        "{LIST}[entities.accounts.find]\npath = '/find'\nquery = {{ name = '{{value}}' }}\nfields = ['name']\nstubs = true\n\
         page = {{ kind = 'cursor', query = 'c', next = 'next' }}\nitems = 'rows'\n"
    );
    let server = Server::start(|seen| match (seen.path.as_str(), seen.param("c")) {
        ("/find", None) => ok(json!({ "rows": [{ "id": 1, "name": "x" }], "next": "b" })),
        ("/find", _) => ok(json!({ "rows": [{ "id": 2, "name": "X" }], "next": null })),
        ("/accounts/1", _) => ok(json!({ "id": 1, "name": "x", "phone": "5" })),
        // Renamed since the search index saw it.
        _ => ok(json!({ "id": 2, "name": "y" })),
    })
    .await;
    let rig = open(&manifest(&find), &server).await;
    let lookup = Lookup::Field {
        field: "name".into(),
        value: "x".into(),
    };
    let found = rig.source.find("accounts", &[lookup]).await.unwrap().remove(0);
    assert_eq!(ids(&found), ["1"]);
    assert!(found[0].fields.contains_key("phone"));
}

#[tokio::test]
async fn above_returns_later_ids_in_order() {
    let above =
        format!("{LIST}[entities.accounts.above]\npath = '/accounts'\nquery = {{ id_gt = '{{id}}' }}\n");
    let server = Server::start(|_| ok(json!([{ "id": 12 }, { "id": 11 }, { "id": 9 }]))).await;
    let rig = open(&manifest(&above), &server).await;
    let found = rig
        .source
        .find("accounts", &[Lookup::AboveId("10".into())])
        .await
        .unwrap();
    assert_eq!(ids(&found[0]), ["11", "12"]);
    assert!(rig.source.capabilities("accounts").ascending_ids);
    assert_eq!(server.last().param("id_gt"), Some("10"));
}

#[tokio::test]
async fn credentials_go_where_the_manifest_says_and_nowhere_else() {
    let cases = [
        ("kind = 'bearer'", "authorization", "Bearer s3cret-token"),
        ("kind = 'basic'", "authorization", "Basic YW5uOnMzY3JldC1wdw=="),
        (
            "kind = 'api_key'\nheader = 'X-Key'\nprefix = 'Token '",
            "x-key",
            "Token s3cret-key",
        ),
    ];
    for (auth, header, value) in cases {
        let server = Server::start(|_| status(401, json!({ "m": "bad" }))).await;
        let rig = open(&format!("{}[auth]\n{auth}\n", manifest(LIST)), &server).await;
        let error = rig.source.ping().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Auth);
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        assert_eq!(server.last().headers[header], value);
    }
    let page = "[entities.accounts.list]\npath = '/accounts'\nitems = 'data'\npage = { kind = 'next_url', next = 'next' }\n";
    let server = Server::start(|seen| {
        let next = seen
            .param("p")
            .is_none()
            .then(|| format!("{}?p=2&key={}", seen.path, seen.param("key").unwrap()));
        ok(json!({ "data": [{ "id": seen.param("p").unwrap_or("1") }], "next": next }))
    })
    .await;
    let rig = open(
        &format!("{}[auth]\nkind = 'api_key'\nquery = 'key'\n", manifest(page)),
        &server,
    )
    .await;
    let request = seamless_core::ListRequest {
        entity: "accounts".into(),
        since: None,
        after: None,
        limit: 10,
    };
    let token = rig.source.list(&request).await.unwrap().next.unwrap();
    assert!(
        !token.0.contains("s3cret"),
        "the token is kept on disk: {}",
        token.0
    );
    assert_eq!(rig.list_all(None, 10).await.unwrap().len(), 2);
    assert_eq!(server.last().params("key"), ["s3cret-key"]);
}

#[tokio::test]
async fn a_list_of_stubs_is_read_in_full() {
    let list = "[entities.accounts.list]\npath = '/ids'\nstubs = true\n";
    // A stub may be the id itself.
    let server = Server::start(|seen| match seen.path.as_str() {
        "/ids" => ok(json!([{ "id": 1 }, 2, "3"])),
        "/accounts/2" => empty(404),
        path => ok(json!({ "id": path.trim_start_matches("/accounts/"), "name": "full" })),
    })
    .await;
    let records = open(&manifest(list), &server)
        .await
        .list_all(None, 10)
        .await
        .unwrap();
    assert_eq!(ids(&records), ["1", "3"]);
    assert!(records.iter().all(|record| record.fields.contains_key("name")));
}
