//! Servers that misbehave: each mistake is noticed and named, nothing is taken on trust.

use crate::support::{Reply, Seen, Server, empty, ok, open, open_with, status};
use seamless_core::{ErrorKind, Result};
use serde_json::{Value as Json, json};

fn manifest(list: &str) -> String {
    format!(
        "manifest = 1\n[system]\nname = 'test'\n[limits]\npage_size = 10\n[entities.accounts]\n\
         get = {{ path = '/accounts/{{id}}' }}\nfind = {{ path = '/find', query = {{ '{{field}}' = '{{value}}' }} }}\n\
         [entities.accounts.list]\npath = '/accounts'\nitems = 'data'\n[entities.accounts.list.page]\n{list}\n"
    )
}

fn rows(range: std::ops::Range<u32>) -> Vec<Json> {
    range
        .map(|id| json!({ "id": id, "name": format!("n{id}") }))
        .collect()
}

async fn poll(page: &str, script: impl FnMut(&Seen) -> Reply + Send + 'static) -> (Result<usize>, Server) {
    let server = Server::start(script).await;
    let read = open(&manifest(page), &server).await.list_all(None, 100).await;
    (read.map(|records| records.len()), server)
}

#[tokio::test]
async fn endless_lists_are_protocol_errors() {
    let mut calls = 0;
    let cursor = "kind = 'cursor'\nquery = 'c'\nnext = 'next'";
    let (read, server) = poll(cursor, |_| ok(json!({ "data": rows(1..3), "next": "same" }))).await;
    assert!(read.unwrap_err().message().contains("endless"));
    assert!(server.seen().len() <= 3);
    let (read, _) = poll(cursor, |seen| {
        let next = if seen.param("c") == Some("a") { "b" } else { "a" };
        ok(json!({ "data": rows(if next == "a" { 1..3 } else { 3..5 }), "next": next }))
    })
    .await;
    assert!(read.unwrap_err().message().contains("circle"));
    let (read, _) = poll(cursor, move |_| {
        calls += 1;
        ok(json!({ "data": [], "next": calls }))
    })
    .await;
    assert!(read.unwrap_err().message().contains("empty pages"));
    let (read, _) = poll("kind = 'next_url'\nnext = 'next'", |_| {
        ok(json!({ "data": rows(1..3), "next": "/accounts?p=2" }))
    })
    .await;
    assert_eq!(read.unwrap_err().kind, ErrorKind::Protocol);
    let (read, _) = poll("kind = 'page'\nquery = 'page'", |_| {
        ok(json!({ "data": rows(1..11) }))
    })
    .await;
    assert!(read.unwrap_err().message().contains("ignore 'page'"));
}

#[tokio::test]
async fn a_next_page_on_another_host_is_not_followed() {
    let foreign = Server::start(|_| ok(json!({ "data": [] }))).await;
    for url in [
        format!("{}/accounts?p=2", foreign.url),
        "//evil.example/x".into(),
        "http://a:b@127.0.0.1/".into(),
    ] {
        let link = url.clone();
        let (read, _) = poll("kind = 'next_url'\nnext = 'next'", move |_| {
            ok(json!({ "data": rows(1..3), "next": url }))
        })
        .await;
        assert_eq!(read.unwrap_err().kind, ErrorKind::Protocol);
        let (read, _) = poll("kind = 'link_header'", move |_| {
            ok(json!({ "data": rows(1..3) })).with("link", format!("<{link}>; rel=next"))
        })
        .await;
        assert_eq!(read.unwrap_err().kind, ErrorKind::Protocol);
    }
    assert!(foreign.seen().is_empty());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let foreign = Server::start(|_| ok(json!({ "data": [] }))).await;
    let to = foreign.url.clone();
    let (read, _) = poll("kind = 'none'", move |_| empty(302).with("location", to.clone())).await;
    assert_eq!(read.unwrap_err().kind, ErrorKind::Protocol);
    assert!(foreign.seen().is_empty());
}

#[tokio::test]
async fn rows_that_move_between_pages_are_still_read() {
    for (page, first) in [
        ("kind = 'offset'\nquery = 'n'\nsize_query = 's'", 0),
        ("kind = 'page'\nquery = 'n'\nsize_query = 's'", 1),
    ] {
        let mut ids: Vec<u32> = (1..45).collect();
        let mut calls = 0;
        let server = Server::start(move |seen| {
            let size: usize = seen.param("s").unwrap().parse().unwrap();
            let at: usize = seen.param("n").unwrap().parse().unwrap();
            let from = if first == 0 { at } else { (at - 1) * size };
            let page: Vec<Json> = ids
                .iter()
                .skip(from)
                .take(size)
                .map(|id| json!({ "id": id }))
                .collect();
            calls += 1;
            // After the first and the third call somebody deletes the first five rows.
            if calls == 1 || calls == 3 {
                ids.drain(..5);
            }
            ok(json!({ "data": page }))
        })
        .await;
        let records = open(&manifest(page), &server)
            .await
            .list_all(None, 100)
            .await
            .unwrap();
        let mut found: Vec<u32> = records
            .iter()
            .map(|record| record.id.0.parse().unwrap())
            .collect();
        found.sort_unstable();
        found.dedup();
        for id in 11..45 {
            assert!(found.contains(&id), "{page}: {id} was never seen");
        }
    }
}

#[tokio::test]
async fn an_ignored_filter_is_not_believed() {
    // Few rows: all of them were returned, so dropping the wrong ones gives the right answer.
    let server = Server::start(|_| ok(rows(1..4).into())).await;
    let found = open(&manifest("kind = 'none'"), &server)
        .await
        .find("name", &["n2", "nobody"])
        .await
        .unwrap();
    assert_eq!(found, [vec!["2".to_owned()], vec![]]);
    // A full page of wrong rows: the right one may be on the next.
    let server = Server::start(|_| ok(rows(1..11).into())).await;
    let error = open(&manifest("kind = 'none'"), &server)
        .await
        .find("name", &["n99"])
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.message().contains("ignore the filter by 'name'"), "{error}");
}

#[tokio::test]
async fn a_long_unpaged_answer_is_asked_for_in_smaller_parts() {
    let text = manifest("kind = 'none'").replace(
        "'{field}' = '{value}' } }",
        "'{field}' = '{values}' }, values_max = 8 }",
    );
    // Every value has four records, and the server cuts after ten rows.
    let server = Server::start(|seen| {
        let of = |value: &&str| {
            (0..4)
                .map(|n| json!({ "id": format!("{value}-{n}"), "name": value }))
                .collect::<Vec<_>>()
        };
        ok(seen.params("name").iter().flat_map(of).take(10).collect())
    })
    .await;
    let found = open(&text, &server)
        .await
        .find("name", &["a", "b", "c", "d", "e"])
        .await
        .unwrap();
    assert!(found.iter().all(|ids| ids.len() == 4), "{found:?}");
}

#[tokio::test]
async fn answers_without_sense_name_what_is_wrong() {
    type Script = fn(&Seen) -> Reply;
    let cases: [(Script, ErrorKind, &str); 8] = [
        (
            |_| ok(json!({ "data": [{ "id": 1 }, { "name": "x" }] })),
            ErrorKind::Protocol,
            "record 2 of the answer has no 'id'",
        ),
        (
            |_| ok(json!({ "data": [{ "id": null }] })),
            ErrorKind::Protocol,
            "record 1 of the answer has no 'id'",
        ),
        (
            |_| ok(json!({ "data": ["x"] })),
            ErrorKind::Protocol,
            "a record is not an object",
        ),
        (
            |_| ok(json!({ "data": { "id": 1 } })),
            ErrorKind::Protocol,
            "no list at 'data'",
        ),
        (
            |_| ok(json!({ "items": [] })),
            ErrorKind::Protocol,
            "nothing at 'data'",
        ),
        (
            |_| Reply(200, Vec::new(), "<html><title>Login</title>".into()),
            ErrorKind::Protocol,
            "html",
        ),
        (
            |_| Reply(200, Vec::new(), "[".repeat(100_000)),
            ErrorKind::Protocol,
            "not readable as json",
        ),
        (|_| status(500, json!({})), ErrorKind::Unavailable, "failed"),
    ];
    for (script, kind, part) in cases {
        let (read, _) = poll("kind = 'none'", script).await;
        let error = read.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.context("entity"), Some("accounts"), "{error}");
        assert_eq!(
            error.effect,
            seamless_core::Effect::NotApplied,
            "reading changes nothing"
        );
    }
    let (read, _) = poll("kind = 'none'", |_| ok(json!({ "data": null }))).await;
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn a_stamp_of_another_form_is_not_guessed() {
    let text =
        manifest("kind = 'none'").replace("[entities.accounts]\n", "[entities.accounts]\nmodified = 'at'\n");
    let server =
        Server::start(|_| ok(json!({ "data": [{ "id": 1, "at": null }, { "id": 2, "at": "last week" }] })))
            .await;
    let error = open(&text, &server).await.list_all(None, 10).await.unwrap_err();
    assert!(
        error
            .message()
            .contains("'at' of record 2 is not an RFC 3339 time"),
        "{error}"
    );
    assert!(!error.to_string().contains("last week"), "{error}");
}

#[tokio::test]
async fn a_huge_body_stops_at_the_cap() {
    let server = Server::start(|_| ok(json!({ "data": [{ "id": 1, "name": "x".repeat(200_000) }] }))).await;
    let rig = open_with(
        &manifest("kind = 'none'"),
        &server.url,
        json!({ "body_bytes_max": 100_000 }),
    )
    .await
    .unwrap();
    assert_eq!(rig.list_all(None, 10).await.unwrap_err().kind, ErrorKind::Limit);
}

#[tokio::test]
async fn a_timestamp_that_loses_its_time_of_day_widens_the_granularity() {
    let text = manifest("kind = 'none'").replace(
        "[entities.accounts]\n",
        "[entities.accounts]\nmodified = 'at'\nstamp_format = 'date'\n",
    );
    let server = Server::start(|_| ok(json!({ "data": [] }))).await;
    let capabilities = open(&text, &server).await.source.capabilities("accounts");
    assert_eq!(capabilities.cursor_granularity.as_secs(), 86_400);
}

#[tokio::test]
async fn a_dead_server_is_unavailable_and_a_private_one_needs_permission() {
    let rig = open_with(&manifest("kind = 'none'"), "http://127.0.0.1:1", json!({}))
        .await
        .unwrap();
    assert_eq!(rig.source.ping().await.unwrap_err().kind, ErrorKind::Unavailable);
    let refused = open_with(
        &manifest("kind = 'none'"),
        "http://127.0.0.1:1",
        json!({ "allow_private_network": false }),
    )
    .await;
    assert_eq!(refused.err().map(|error| error.kind), Some(ErrorKind::Config));
}

#[tokio::test]
async fn a_system_that_shows_strangers_nothing_is_not_believed() {
    let text = manifest("kind = 'none'").replace(
        "name = 'test'",
        "name = 'test'\nping = '/me'\nconfirm_empty = true",
    );
    for (me, kind) in [(200, None), (401, Some(ErrorKind::Auth))] {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/me" => status(me, json!({})),
            "/accounts" => ok(json!({ "data": [] })),
            _ => status(404, json!({})),
        })
        .await;
        let rig = open(&text, &server).await;
        assert_eq!(rig.list_all(None, 10).await.err().map(|error| error.kind), kind);
        assert_eq!(rig.fetch(&["7"]).await.err().map(|error| error.kind), kind);
    }
}
