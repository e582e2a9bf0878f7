//! What may not happen to a data folder, and what the operator is told when it does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use seamless_core::{Error, ErrorKind, Expect, MessageId, Op, Outgoing, Retry, RowKey, Settlement, Table};
use seamless_sqlite::Sqlite;
use seamless_testkit::conformance::TestClock;

fn open(dir: &Path) -> Result<Sqlite, Error> {
    Sqlite::open(dir, "acme/prod", TestClock::new())
}

async fn put(sqlite: &Sqlite, key: &str) {
    let op = Op::Put {
        key: RowKey::new(Table::Link, key),
        expect: Expect::Any,
        value: vec![7; 200],
    };
    sqlite.store().commit(vec![op]).await.unwrap();
}

async fn has(sqlite: &Sqlite, key: &str) -> bool {
    sqlite
        .store()
        .get(&[RowKey::new(Table::Link, key)])
        .await
        .unwrap()[0]
        .is_some()
}

async fn publish(sqlite: &Sqlite, id: &str) {
    let message = Outgoing {
        id: MessageId(id.to_owned()),
        subscription: "crm".to_owned(),
        lane: "00".to_owned(),
        body: b"sealed body".to_vec(),
    };
    sqlite.bus().publish(vec![message]).await.unwrap();
}

/// A closed folder with 500 rows.
async fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = open(dir.path()).unwrap();
    let store = sqlite.store();
    let puts = (0..500).map(|n| Op::Put {
        key: RowKey::new(Table::Link, format!("{n:05}")),
        expect: Expect::Absent,
        value: vec![n as u8; 300],
    });
    store.commit(puts.collect()).await.unwrap();
    dir
}

#[tokio::test]
async fn a_second_host_is_refused_and_told_who_runs() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).map(drop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    let expected = format!(
        "another host (pid {}) is running on {}; stop it or use another data_dir",
        std::process::id(),
        dir.path().display()
    );
    assert_eq!(error.message(), expected);
    // The refused one has not disturbed the first; a bus that is still in use keeps the lock.
    put(&first, "k").await;
    let bus = first.bus();
    drop(first);
    assert_eq!(open(dir.path()).map(drop).unwrap_err().kind, ErrorKind::Refused);
    drop(bus);
    assert!(has(&open(dir.path()).unwrap(), "k").await);
}

#[tokio::test]
async fn everything_is_private() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("new/data");
    let sqlite = open(&dir).unwrap();
    put(&sqlite, "k").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "seamless.db",
            "seamless.db-shm",
            "seamless.db-wal",
            "seamless.lock"
        ]
    );
    // A copy restored with wide rights is narrowed.
    drop(sqlite);
    let file = dir.join("seamless.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&dir).unwrap());
    assert_eq!(mode(&file), 0o600);
}

#[tokio::test]
async fn a_killed_host_loses_nothing_that_it_reported() {
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sqlite = open(dir.path()).unwrap();
    put(&sqlite, "k").await;
    publish(&sqlite, "m").await;
    publish(&sqlite, "locked").await;
    let consumer = sqlite.bus().subscribe("crm").await.unwrap();
    assert_eq!(consumer.receive(2, Duration::ZERO).await.unwrap().len(), 2);
    // What is on the disk while the host runs is what a kill leaves.
    for name in ["seamless.db", "seamless.db-wal"] {
        fs::copy(dir.path().join(name), after.path().join(name)).unwrap();
    }
    let survivor = open(after.path()).unwrap();
    assert!(has(&survivor, "k").await);
    let deliveries = survivor
        .bus()
        .subscribe("crm")
        .await
        .unwrap()
        .receive(10, Duration::ZERO)
        .await
        .unwrap();
    // Locked by nobody any more, and the lost delivery counts.
    let seen: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.id.0.as_str(), delivery.delivery_count))
        .collect();
    assert_eq!(seen, [("m", 2), ("locked", 2)]);
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_left_as_it_is() {
    type Damage = fn(&fs::File);
    let cases: [(&str, Damage); 4] = [
        ("a page overwritten", |file| {
            file.write_all_at(&[0xa5; 4096], 4096 * 12).unwrap()
        }),
        ("cut in half", |file| {
            file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096)
                .unwrap()
        }),
        ("emptied", |file| file.set_len(0).unwrap()),
        ("header fields overwritten", |file| {
            file.write_all_at(&[0xff; 20], 16).unwrap()
        }),
    ];
    for (what, damage) in cases {
        let dir = filled().await;
        let path = dir.path().join("seamless.db");
        damage(&fs::File::options().write(true).open(&path).unwrap());
        let before = fs::read(&path).unwrap();
        let error = open(dir.path()).map(drop).expect_err(what);
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::Storage, Retry::Never),
            "{what}: {error}"
        );
        let sentence = error.to_string();
        for part in [
            path.to_str().unwrap(),
            "is damaged",
            "restore a backup",
            "seamless links rebuild",
        ] {
            assert!(
                sentence.contains(part),
                "{what}: '{part}' is missing in: {sentence}"
            );
        }
        assert!(fs::read(&path).unwrap() == before, "{what}: the file was changed");
    }
}

#[tokio::test]
async fn what_is_not_ours_is_refused() {
    type Change = fn(&Path);
    let cases: [(&str, Change); 4] = [
        ("is not a SQLite database", |path| {
            fs::write(path, "{\"json\": true, \"long\": \"enough\"}").unwrap()
        }),
        ("belongs to another application", |path| {
            fs::remove_file(path).unwrap();
            Connection::open(path)
                .unwrap()
                .execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 1")
                .unwrap();
        }),
        (
            "has schema 99, this program knows up to 1: use a newer one",
            |path| {
                Connection::open(path)
                    .unwrap()
                    .execute_batch("PRAGMA user_version = 99")
                    .unwrap();
            },
        ),
        ("is there, but not its database", |path| {
            fs::rename(path, path.with_extension("db-wal")).unwrap();
        }),
    ];
    for (expected, change) in cases {
        let dir = filled().await;
        change(&dir.path().join("seamless.db"));
        let error = open(dir.path()).map(drop).expect_err(expected);
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::Refused, Retry::Never),
            "{expected}: {error}"
        );
        assert!(error.message().contains(expected), "{error}");
    }

    let dir = filled().await;
    let error = Sqlite::open(dir.path(), "other/prod", TestClock::new())
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(
        error
            .message()
            .contains("belongs to 'acme/prod', not to 'other/prod'"),
        "{error}"
    );
    // None of the refusals holds the folder, and the right tenant still gets in.
    assert!(has(&open(dir.path()).unwrap(), "00499").await);
}

#[tokio::test]
async fn a_cut_body_is_delivered_and_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = open(dir.path()).unwrap();
    publish(&sqlite, "cut").await;
    publish(&sqlite, "whole").await;
    drop(sqlite);
    let connection = Connection::open(dir.path().join("seamless.db")).unwrap();
    connection
        .execute(
            "UPDATE message SET body = substr(body, 1, 3) WHERE id = 'cut'",
            [],
        )
        .unwrap();
    // What is not a body at all cannot even be stored.
    connection
        .execute("UPDATE message SET body = NULL WHERE id = 'whole'", [])
        .unwrap_err();
    drop(connection);
    let consumer = open(dir.path()).unwrap().bus().subscribe("crm").await.unwrap();
    let deliveries = consumer.receive(10, Duration::ZERO).await.unwrap();
    let bodies: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.body.as_slice())
        .collect();
    // The envelope notices: a bus does not read bodies.
    assert_eq!(bodies, [&b"sea"[..], b"sealed body"]);
}

#[tokio::test]
async fn a_clock_set_back_prolongs_no_wait() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = TestClock::new();
    ahead.advance(Duration::from_secs(86_400));
    let sqlite = Sqlite::open(dir.path(), "acme/prod", ahead).unwrap();
    publish(&sqlite, "deferred").await;
    let consumer = sqlite.bus().subscribe("crm").await.unwrap();
    let lock = consumer.receive(1, Duration::ZERO).await.unwrap().remove(0).lock;
    consumer
        .settle(vec![Settlement::Defer(lock, Duration::from_secs(10))])
        .await
        .unwrap();
    publish(&sqlite, "waiting").await;
    drop((sqlite, consumer));

    let clock = TestClock::new();
    let consumer = Sqlite::open(dir.path(), "acme/prod", clock.clone())
        .unwrap()
        .bus()
        .subscribe("crm")
        .await
        .unwrap();
    for (wait, expected) in [(0, "waiting"), (10, "deferred")] {
        clock.advance(Duration::from_secs(wait));
        let deliveries = consumer.receive(10, Duration::ZERO).await.unwrap();
        let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id.0.as_str()).collect();
        assert_eq!(ids, [expected], "after {wait} seconds");
    }
}
