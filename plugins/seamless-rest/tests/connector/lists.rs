//! Lists that are more than one request: further lists, lists of changes, ends that the server tells.

use crate::support::{Reply, Seen, Server, ids, ok, open, status};
use seamless_core::{Effect, ErrorKind};
use serde_json::{Value as Json, json};

fn manifest(lists: &str) -> String {
    format!(
        "manifest = 1\n[system]\nname = 'test'\n[limits]\npage_size = 10\n[entities.accounts]\nmodified = 'at'\n\
         get = {{ path = '/accounts/{{id}}' }}\n{lists}"
    )
}

fn rows(ids: impl Iterator<Item = usize>) -> Vec<Json> {
    ids.map(|id| json!({ "id": id, "at": "2026-11-23T10:00:00Z" }))
        .collect()
}

fn number(seen: &Seen, name: &str, default: usize) -> usize {
    seen.param(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test]
async fn several_lists_are_read_as_one_and_changes_from_elsewhere() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/accounts" => ok(json!(rows(1..4))),
        "/archive" => {
            ok(json!({ "docs": rows(4..6).into_iter().map(|row| json!({ "doc": row })).collect::<Vec<_>>() }))
        }
        "/none" => status(404, json!({ "error": "nothing here" })),
        "/search" => ok(json!(rows(if seen.json()["created"].is_null() {
            2..3
        } else {
            3..4
        }))),
        _ => status(500, json!({})),
    })
    .await;
    let text = manifest(
        "list = { path = '/accounts' }\n\
         more_lists = [{ path = '/none', missing_is_empty = true }, { path = '/archive', items = 'docs', row = 'doc' }]\n\
         [[entities.accounts.changes]]\nmethod = 'POST'\npath = '/search'\nbody = { updated = '{since}' }\nsince = { format = 'epoch_secs' }\n\
         [[entities.accounts.changes]]\nmethod = 'POST'\npath = '/search'\nbody_template = '{\"created\": {{ since | tojson }}}'\n",
    );
    let rig = open(&text, &server).await;
    assert!(rig.source.capabilities("accounts").incremental);
    for limit in [1, 2, 100] {
        assert_eq!(
            ids(&rig.list_all(None, limit).await.unwrap()),
            ["1", "2", "3", "4", "5"],
            "by {limit}"
        );
    }
    let changed = rig.list_all(Some("2026-11-23T10:15:00Z"), 100).await.unwrap();
    assert_eq!(ids(&changed), ["2", "3"]);
    let asked: Vec<Json> = server.seen().iter().rev().take(2).map(Seen::json).collect();
    assert_eq!(
        asked,
        [
            json!({ "created": "2026-11-23T10:15:00.000Z" }),
            json!({ "updated": 1_795_428_900 })
        ]
    );
}

#[tokio::test]
async fn lists_end_where_the_server_says() {
    type Script = fn(&Seen) -> Reply;
    let cases: [(&str, usize, Script); 5] = [
        (
            "kind = 'page'\nquery = 'page'\nstable = true\npages = 'meta.last'",
            3,
            |seen| {
                let page = number(seen, "page", 1);
                ok(json!({ "data": rows((page - 1) * 10 + 1..page * 10 + 1), "meta": { "last": 3 } }))
            },
        ),
        (
            "kind = 'page'\nquery = 'page'\nfirst = 0\nstable = true\npages_header = 'X-Pages'",
            3,
            |seen| {
                let page = number(seen, "page", 0);
                ok(json!({ "data": rows(page * 10 + 1..page * 10 + 11) })).with("x-pages", "3")
            },
        ),
        (
            "kind = 'offset'\nquery = 'skip'\nstable = true\nmore = 'has_more'",
            3,
            |seen| {
                let skip = number(seen, "skip", 0);
                ok(json!({ "data": rows(skip + 1..skip + 11), "has_more": skip < 20 }))
            },
        ),
        (
            "kind = 'keyset'\nquery = 'starting_after'\nfield = 'id'\ndescending = true\nmore = 'has_more'",
            3,
            |seen| {
                let after = number(seen, "starting_after", 31);
                let page = rows((1..after).rev().take(10));
                ok(json!({ "data": page, "has_more": after > 11 }))
            },
        ),
        ("kind = 'next_url'\nnext_header = 'Next-Page'", 3, |seen| {
            let from = number(seen, "from", 1);
            let reply = ok(json!({ "data": rows(from..from + 10) }));
            let host = &seen.headers["host"];
            if from < 21 {
                reply.with("next-page", format!("http://{host}/accounts?from={}", from + 10))
            } else {
                reply
            }
        }),
    ];
    for (page, calls, script) in cases {
        let server = Server::start(script).await;
        let text = manifest(&format!(
            "[entities.accounts.list]\npath = '/accounts'\nitems = 'data'\n[entities.accounts.list.page]\n{page}\n"
        ));
        let mut found: Vec<usize> = open(&text, &server)
            .await
            .list_all(None, 100)
            .await
            .unwrap_or_else(|error| panic!("{page}: {error}"))
            .iter()
            .map(|record| record.id.0.parse().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, (1..=30).collect::<Vec<usize>>(), "{page}");
        assert_eq!(server.seen().len(), calls, "{page}: {:?}", server.lines());
    }
}

#[tokio::test]
async fn a_scan_finds_what_the_server_cannot_search() {
    let server = Server::start(|seen| {
        let skip = number(seen, "skip", 0);
        ok(rows(1..36)
            .into_iter()
            .skip(skip)
            .take(10)
            .map(|mut row| {
                row["name"] = format!("Account {}", row["id"]).into();
                row
            })
            .collect())
    })
    .await;
    let list = "list = { path = '/accounts', page = { kind = 'offset', query = 'skip' } }\n";
    let rig = open(&manifest(&format!("{list}find = {{ scan = true }}\n")), &server).await;
    let found = rig
        .find("name", &["account 3", "Account 35", "none"])
        .await
        .unwrap();
    assert_eq!(found, [vec!["3".to_owned()], vec!["35".to_owned()], vec![]]);
    let calls = server.seen().len();
    assert!(calls <= 5, "one reading serves all: {calls}");
    let short = open(
        &manifest(&format!("{list}find = {{ scan = true, rows_max = 20 }}\n")),
        &server,
    )
    .await;
    let error = short.find("name", &["x"]).await.unwrap_err();
    assert!(error.message().contains("raise find.rows_max"), "{error}");
}

#[tokio::test]
async fn a_system_behind_a_proxy_may_call_itself_something_else() {
    for (setting, is_read) in [("", false), (", ignore_host = true", true)] {
        let server = Server::start(|seen| match seen.param("from") {
            None => ok(json!({ "data": rows(1..3), "next": "http://internal:8080/accounts?from=3" })),
            Some(_) => ok(json!({ "data": rows(3..5), "next": null })),
        })
        .await;
        let text = manifest(&format!(
            "list = {{ path = '/accounts', items = 'data', page = {{ kind = 'next_url', next = 'next'{setting} }} }}"
        ));
        let read = open(&text, &server).await.list_all(None, 100).await;
        match read {
            Ok(records) => assert_eq!((is_read, ids(&records).len()), (true, 4)),
            Err(error) => assert!(
                !is_read && error.message().contains("not the configured origin"),
                "{error}"
            ),
        }
    }
}

#[tokio::test]
async fn a_throttled_read_is_made_again_and_a_throttled_write_is_not() {
    let mut calls = 0;
    let server = Server::start(move |seen| {
        calls += 1;
        match seen.method.as_str() {
            "GET" if calls < 3 => status(429, json!({})),
            "GET" => ok(json!(rows(1..3))),
            _ => status(429, json!({})).with("retry-after", "7"),
        }
    })
    .await;
    let text = manifest("list = { path = '/accounts' }\ncreate = { path = '/accounts' }");
    let rig = open(&text, &server).await;
    assert_eq!(rig.list_all(None, 100).await.unwrap().len(), 2);
    let error = rig.create(&[("name", "a".into())]).await.unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::RateLimited, Effect::NotApplied)
    );
    let posts = server
        .lines()
        .iter()
        .filter(|line| line.starts_with("POST"))
        .count();
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn a_stamp_may_be_computed_and_a_missing_record_be_told_by_another_status() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/accounts" => ok(json!([
            { "id": 1, "made": "2026-11-23T10:00:00Z", "changed": null },
            { "id": 2, "made": "2026-11-23T10:00:00Z", "changed": "2026-11-24T10:00:00Z" },
        ])),
        _ => status(403, json!({ "error": "forbidden, or not there" })),
    })
    .await;
    let text = "manifest = 1\n[system]\nname = 't'\n[entities.accounts]\nmodified = 'at'\ncomputed.at = '{{ changed or made }}'\n\
                list = { path = '/accounts' }\nget = { path = '/accounts/{id}', missing_status = [403] }\n";
    let rig = open(text, &server).await;
    let stamps: Vec<String> = rig
        .list_all(None, 10)
        .await
        .unwrap()
        .iter()
        .map(|record| seamless_core::Timestamp(record.stamp.unwrap().0).to_string())
        .collect();
    assert_eq!(stamps, ["2026-11-23T10:00:00.000Z", "2026-11-24T10:00:00.000Z"]);
    assert!(rig.fetch(&["9"]).await.unwrap().is_empty());
    let strict = text.replace(", missing_status = [403]", "");
    let error = open(&strict, &server).await.fetch(&["9"]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permission);
}

#[tokio::test]
async fn a_page_can_be_named_within_other_text() {
    let slice = |from: usize, size: usize| rows((1..=23).skip(from).take(size));
    let between = |text: &str, before: &str, after: &str| -> usize {
        let rest = &text[text.find(before).unwrap() + before.len()..];
        rest[..rest.find(after).unwrap_or(rest.len())].parse().unwrap()
    };
    // As QuickBooks, Flask-AppBuilder (Rison) and a query language in a JSON body have it.
    type Script = Box<dyn Fn(&Seen) -> Reply + Send>;
    let cases: [(&str, Script); 3] = [
        (
            "query = { query = 'select * from Customer startposition {page} maxresults {size}' }\nitems = 'data'\npage = { kind = 'offset', first = 1, total = 'total' }",
            Box::new(move |seen| {
                let query = seen.param("query").unwrap();
                let from = between(query, "startposition ", " ") - 1;
                ok(json!({ "data": slice(from, between(query, "maxresults ", " ")), "total": 23 }))
            }),
        ),
        (
            "query_template = { q = '(page:{{ page }},page_size:{{ size }})' }\nitems = 'data'\npage = { kind = 'page', first = 0 }",
            Box::new(move |seen| {
                let query = seen.param("q").unwrap();
                let size = between(query, "page_size:", ")");
                ok(json!({ "data": slice(between(query, "page:", ",") * size, size) }))
            }),
        ),
        (
            "method = 'POST'\nbody = { limit = '{size}', text = 'from {page}' }\nitems = 'data'\npage = { kind = 'offset' }",
            Box::new(move |seen| {
                let size = seen.json()["limit"].as_u64().unwrap() as usize;
                ok(
                    json!({ "data": slice(between(seen.json()["text"].as_str().unwrap(), "from ", " "), size) }),
                )
            }),
        ),
    ];
    for (list, script) in cases {
        let server = Server::start(script).await;
        let text = manifest(&format!("[entities.accounts.list]\npath = '/accounts'\n{list}\n"));
        let read = open(&text, &server).await.list_all(None, 100).await;
        let read = read.unwrap_or_else(|error| panic!("{list}: {error}"));
        let mut found: Vec<usize> = read.iter().map(|record| record.id.0.parse().unwrap()).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(
            found,
            (1..=23).collect::<Vec<usize>>(),
            "{list}: {:?}",
            server.lines()
        );
    }
}
