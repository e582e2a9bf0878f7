//! A disk that is full, that fails to sync, that turns read-only, at every moment of a host's work: what was reported as done is there afterwards,
//! and after a failure nothing is reported as done any more.
//!
//! The work is done by a process of its own (this test binary, called again) under a small library in C that lets the n-th write, sync or open
//! of the database's files fail. `cc` is there wherever the bundled SQLite was built.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use seamless_core::envelope::{Identity, RowSeal};
use seamless_core::{
    ErrorKind, Expect, Keyset, MessageId, Op, Outgoing, Random, Result, Retry, RowKey, Table,
};
use seamless_sqlite::Sqlite;
use seamless_testkit::conformance::TestClock;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;
/// Names the folder to the process that does the work.
const FOLDER: &str = "SHIM_FOLDER";

struct Trouble {
    call: &'static str,
    errno: i32,
    stays: bool,
    /// What an operator is told.
    told: &'static [&'static str],
}

const TROUBLES: [Trouble; 6] = [
    Trouble {
        call: "write",
        errno: ENOSPC,
        stays: true,
        told: &["room", "cannot"],
    },
    Trouble {
        call: "write",
        errno: EIO,
        stays: false,
        told: &["check the disk", "cannot"],
    },
    Trouble {
        call: "write",
        errno: 0,
        stays: true,
        told: &["room", "cannot"],
    },
    Trouble {
        call: "sync",
        errno: EIO,
        stays: true,
        told: &["check the disk", "cannot"],
    },
    // The second sync says that all is well: it is not.
    Trouble {
        call: "sync",
        errno: EIO,
        stays: false,
        told: &["check the disk", "cannot"],
    },
    Trouble {
        call: "open",
        errno: EROFS,
        stays: true,
        told: &["cannot write", "check owner and rights", "cannot"],
    },
];
/// Moments tried for each trouble, spread over the whole work.
const MOMENTS_MAX: usize = 10;

#[test]
fn nothing_that_was_reported_is_lost_wherever_the_disk_fails() {
    let home = tempfile::tempdir().unwrap();
    let shim = build_shim(home.path());
    for trouble in &TROUBLES {
        let (mut failed, mut moment) = (0, 1);
        // The last moment is the first at which nothing fails any more: the work is over before.
        for _ in 0..MOMENTS_MAX {
            let folder = tempfile::tempdir().unwrap();
            let said = work_under(&shim, folder.path(), trouble, moment);
            let what = format!(
                "{} {} errno {}, stays {}",
                trouble.call, moment, trouble.errno, trouble.stays
            );
            let failure = said.iter().find_map(|line| line.strip_prefix("failed "));
            let done: BTreeSet<&str> = said
                .iter()
                .filter_map(|line| line.strip_prefix("done "))
                .collect();
            if let Some(failure) = failure {
                failed += 1;
                assert!(
                    trouble.told.iter().any(|part| failure.contains(part)),
                    "{what}: {failure}"
                );
                assert!(
                    !said.iter().any(|line| line == "used after a failure"),
                    "{what}: {said:?}"
                );
            }
            assert_reported_is_there(folder.path(), &done, &what);
            if failure.is_none() && !said.iter().any(|line| line == "closing failed") {
                break;
            }
            moment += 1 + moment / 3;
        }
        assert!(
            failed > 2,
            "{} errno {} failed {failed} times only",
            trouble.call,
            trouble.errno
        );
    }
}

/// The work, done by a process of its own; does nothing when the tests are run.
#[test]
fn work() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let sqlite = match open(Path::new(&folder)) {
            Ok(sqlite) => sqlite,
            Err(error) => return say(&format!("failed {error}")),
        };
        for number in 0..12 {
            let outcome = step(&sqlite, number).await;
            if let Err(error) = outcome {
                assert_eq!(error.kind, ErrorKind::Storage, "{error}");
                assert_eq!(error.retry, Retry::Never, "{error}");
                say(&format!("failed {error}"));
                // Nobody gets any further in this process.
                if step(&sqlite, 90).await.is_ok() || sqlite.store().get(&[row("0")]).await.is_ok() {
                    say("used after a failure");
                }
                return;
            }
            say(&format!("done {number}"));
        }
    });
}

/// A piece of a host's work: a row and a message, each on the disk when it returns. Some of them are large.
async fn step(sqlite: &Sqlite, number: usize) -> Result<()> {
    let put = Op::Put {
        key: row(&number.to_string()),
        expect: Expect::Any,
        value: vec![7; if number % 4 == 3 { 60_000 } else { 200 }],
    };
    let message = Outgoing {
        id: MessageId(number.to_string()),
        subscription: "crm".to_owned(),
        lane: "00".to_owned(),
        body: b"sealed body".to_vec(),
    };
    sqlite.bus().publish(vec![message]).await?;
    sqlite.store().commit(vec![put]).await.map(drop)
}

fn assert_reported_is_there(folder: &Path, done: &BTreeSet<&str>, what: &str) {
    let sqlite =
        open(folder).unwrap_or_else(|error| panic!("{what}: the folder does not open again: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for number in done {
            let found = sqlite.store().get(&[row(number)]).await.unwrap();
            assert!(
                found[0].is_some(),
                "{what}: row {number} was reported and is gone"
            );
        }
        let consumer = sqlite.bus().subscribe("crm").await.unwrap();
        let messages = consumer.receive(100, Duration::ZERO).await.unwrap();
        let messages: BTreeSet<&str> = messages.iter().map(|message| message.id.0.as_str()).collect();
        assert!(
            done.is_subset(&messages),
            "{what}: of {done:?} only {messages:?} are there"
        );
        assert!(step(&sqlite, 50).await.is_ok(), "{what}: work does not go on");
    });
}

fn work_under(shim: &Path, folder: &Path, trouble: &Trouble, moment: usize) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "work", "--nocapture"])
        .env("LD_PRELOAD", shim)
        .env("SHIM_CALL", trouble.call)
        .env("SHIM_AT", moment.to_string())
        .env("SHIM_ERRNO", trouble.errno.to_string())
        .env("SHIM_STAYS", u8::from(trouble.stays).to_string())
        .env(FOLDER, folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the work panicked at {moment}: {said}{trouble}"
    );
    let lines = said.lines().filter_map(|line| line.split_once("@ "));
    lines.map(|(_, line)| line.to_owned()).collect()
}

/// Past the test runner's own output.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n@ {line}").unwrap();
}

fn build_shim(folder: &Path) -> PathBuf {
    let shim = folder.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failing_disk/shim.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&shim)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success(), "cc cannot build the shim");
    shim
}

fn open(folder: &Path) -> Result<Sqlite> {
    Sqlite::open(folder, "acme/prod", TestClock::new())
}

fn row(key: &str) -> RowKey {
    RowKey::new(Table::Link, key)
}

/// Bits that turn: what is opened is what was sealed, or an error. A row can be missing, for its key may have turned.
#[test]
fn a_turned_bit_never_becomes_content() {
    let seal = seal();
    let content = |number: usize| format!("row {number} {}", "x".repeat(120));
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sqlite = open(folder.path()).unwrap();
    let puts = (0..80).map(|number| {
        let key = row(&format!("{number:03}"));
        let value = seal
            .seal(key.table, &key.key, content(number).as_bytes())
            .unwrap();
        Op::Put {
            key,
            expect: Expect::Absent,
            value,
        }
    });
    runtime.block_on(sqlite.store().commit(puts.collect())).unwrap();
    drop(sqlite);
    let whole = fs::read(folder.path().join("seamless.db")).unwrap();

    let (mut refused, mut unreadable) = (0, 0);
    for turn in 0..60 {
        let mut bytes = whole.clone();
        let at = turn * whole.len() / 60 + turn * 37 % 512;
        let at = at.min(whole.len() - 1);
        bytes[at] ^= 1 << (turn % 8);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("seamless.db"), &bytes).unwrap();
        let Ok(sqlite) = open(folder.path()) else {
            refused += 1;
            continue;
        };
        for number in 0..80 {
            let key = row(&format!("{number:03}"));
            match runtime.block_on(sqlite.store().get(std::slice::from_ref(&key))) {
                Err(_) => unreadable += 1,
                Ok(rows) => match rows
                    .into_iter()
                    .next()
                    .flatten()
                    .map(|row| seal.open(key.table, &key.key, &row.value))
                {
                    None | Some(Err(_)) => unreadable += 1,
                    Some(Ok(plain)) => {
                        assert_eq!(plain, content(number).into_bytes(), "bit {turn} at byte {at}")
                    }
                },
            }
        }
    }
    assert!(
        refused > 0 && unreadable > 0,
        "{refused} refused, {unreadable} unreadable: the bits hit nothing"
    );
}

#[derive(Default)]
struct Fixed(AtomicU8);

impl Random for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0x80 | self.0.fetch_add(1, Ordering::Relaxed));
    }
}

fn seal() -> RowSeal {
    let identity = Identity {
        environment: "prod".to_owned(),
        tenant: "acme".to_owned(),
    };
    let keys = Keyset::generate(&Fixed::default()).unwrap();
    RowSeal::new(Arc::new(keys), Arc::new(Fixed::default()), identity)
}
