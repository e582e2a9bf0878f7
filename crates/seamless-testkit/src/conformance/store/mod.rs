//! The suite of [`StateStore`].

mod commit;
mod read;

use std::sync::Arc;

use async_trait::async_trait;
use seamless_core::{Error, ErrorKind, Expect, Op, Row, RowKey, Scan, StateStore, Table};

use super::{CaseResult, Failure, Verdict, ensure, run_cases};

/// Makes the stores under test.
#[async_trait]
pub trait StoreFactory: Send + Sync {
    /// An empty store of its own.
    async fn fresh(&self) -> Arc<dyn StateStore>;

    /// The last fresh store, closed and opened again; `None` where nothing outlives the process.
    async fn reopen(&self) -> Option<Arc<dyn StateStore>>;
}

/// Runs every case.
pub async fn run(factory: &dyn StoreFactory) -> Verdict {
    use commit::*;
    use read::*;
    run_cases!(factory;
        reads_back_what_was_put,
        get_keeps_the_order_of_its_keys,
        deletes,
        expectations_decide,
        a_failed_operation_undoes_the_earlier_ones,
        a_later_operation_sees_the_earlier_ones,
        versions_only_rise,
        a_row_made_again_never_has_an_old_version,
        scans_in_key_order,
        keys_are_bytes_not_patterns,
        counts,
        keeps_large_values_and_long_keys,
        refuses_what_is_too_large,
        one_of_many_rivals_wins,
        commits_nothing_gladly,
        a_dropped_commit_is_whole_or_absent,
        survives_reopening,
    )
}

fn link(key: &str) -> RowKey {
    RowKey::new(Table::Link, key)
}

fn put(key: &str, expect: Expect, value: &[u8]) -> Op {
    Op::Put {
        key: link(key),
        expect,
        value: value.to_vec(),
    }
}

fn delete(key: &str, expect: Expect) -> Op {
    Op::Delete {
        key: link(key),
        expect,
    }
}

fn check(key: &str, expect: Expect) -> Op {
    Op::Check {
        key: link(key),
        expect,
    }
}

async fn get(store: &dyn StateStore, key: &str) -> Result<Option<Row>, Error> {
    Ok(store.get(&[link(key)]).await?.pop().flatten())
}

async fn scan(
    store: &dyn StateStore,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> CaseResult<Vec<String>> {
    let range = Scan {
        table: Table::Link,
        prefix: prefix.to_owned(),
        after: after.map(str::to_owned),
        limit,
    };
    let rows = store.scan(&range).await?;
    for (key, row) in &rows {
        ensure!(
            get(store, key).await?.as_ref() == Some(row),
            "scan and get differ on '{key}'"
        );
    }
    Ok(rows.into_iter().map(|(key, _)| key).collect())
}

/// Compares a commit's answer with what it had to be; a conflict must name its row.
fn judge(answer: Result<u64, Error>, holds: bool, key: &str) -> Result<(), Failure> {
    match answer {
        Ok(_) if holds => {}
        Ok(_) => return Err(format!("a commit went through although row '{key}' is not as expected").into()),
        Err(error) if holds => return Err(error.into()),
        Err(error) => {
            ensure!(
                error.kind == ErrorKind::Conflict,
                "answered {:?} instead of Conflict",
                error.kind
            );
            let row = ["table", "key"].map(|name| error.context(name));
            ensure!(
                row == [Some("Link"), Some(key)],
                "the conflict names {row:?} instead of the Link row '{key}'"
            );
        }
    }
    Ok(())
}
