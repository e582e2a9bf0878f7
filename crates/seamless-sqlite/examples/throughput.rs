//! Measures row operations and messages a second:
//! `cargo run --release -p seamless-sqlite --example throughput [folder [scattered]]`.
//! The folder is made; it should be new, and on the disk that is to be measured.
#![expect(clippy::disallowed_methods, reason = "measures real time")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use seamless_core::pipeline::commit_with_receipt;
use seamless_core::{Error, Expect, MessageId, Op, Outgoing, RowKey, Settlement, Table};
use seamless_sqlite::Sqlite;
use seamless_testkit::conformance::TestClock;

const ROWS: usize = 200_000;
const ROWS_A_COMMIT: usize = 500;
const MESSAGES: usize = 50_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let temporary = tempfile::tempdir().map_err(|error| Error::storage(error.to_string()))?;
    let dir = std::env::args()
        .nth(1)
        .map_or(temporary.path().join("data"), PathBuf::from);
    let sqlite = Sqlite::open(&dir, "throughput", TestClock::new())?;
    let (store, bus) = (sqlite.store(), sqlite.bus());
    // Keys of a first load arrive roughly in order; scattered ones are the worst case.
    let scattered = std::env::args().any(|argument| argument == "scattered");
    let key = move |n: usize| {
        let id = if scattered {
            n.wrapping_mul(0x9e37_79b1) & 0xffff_ffff
        } else {
            n
        };
        RowKey::new(Table::Pair, format!("accounts/a/{id:010}"))
    };
    let puts = |expect: Expect, value: u8| {
        (0..ROWS / ROWS_A_COMMIT).map(move |commit| -> Vec<Op> {
            let rows = commit * ROWS_A_COMMIT..(commit + 1) * ROWS_A_COMMIT;
            rows.map(|n| Op::Put {
                key: key(n),
                expect,
                value: vec![value; 250],
            })
            .collect()
        })
    };

    for (what, expect, at_once) in [
        ("insert rows", Expect::Absent, 1),
        ("update rows", Expect::Any, 1),
        ("update rows, 8 at once", Expect::Any, 8),
    ] {
        let start = Instant::now();
        let commits: Vec<Vec<Op>> = puts(expect, 1).collect();
        for group in commits.chunks(at_once) {
            try_join_all(group.iter().map(|ops| store.commit(ops.clone()))).await?;
        }
        report(what, ROWS, start);
    }

    let start = Instant::now();
    for first in (0..ROWS).step_by(2_500) {
        let keys: Vec<RowKey> = (first..first + 2_500).map(key).collect();
        store.get(&keys).await?;
    }
    report("get rows, 2,500 a call", ROWS, start);

    let start = Instant::now();
    try_join_all((0..20_000).map(|n| {
        store.commit(vec![Op::Put {
            key: key(n),
            expect: Expect::Any,
            value: vec![2; 250],
        }])
    }))
    .await?;
    report("commits of one row, many at once", 20_000, start);

    let start = Instant::now();
    for first in (0..MESSAGES).step_by(500) {
        let message = |n: usize| Outgoing {
            id: MessageId(format!("message-{n}")),
            subscription: "crm".to_owned(),
            lane: "00".to_owned(),
            body: vec![3; 800],
        };
        bus.publish((first..first + 500).map(message).collect()).await?;
    }
    report("publish messages, 500 a batch", MESSAGES, start);

    let start = Instant::now();
    let consumer = bus.subscribe("crm").await?;
    let receipt = commit_with_receipt(&*store, vec![]).await?;
    let mut received = 0;
    loop {
        let deliveries = consumer.receive(500, Duration::ZERO).await?;
        if deliveries.is_empty() {
            break;
        }
        received += deliveries.len();
        consumer
            .settle(
                deliveries
                    .into_iter()
                    .map(|delivery| Settlement::Complete(delivery.lock, receipt))
                    .collect(),
            )
            .await?;
    }
    report("receive and complete messages", received, start);
    Ok(())
}

fn report(what: &str, count: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what:<36} {:>9.0} a second ({count} in {seconds:.2} s)",
        count as f64 / seconds
    );
}
