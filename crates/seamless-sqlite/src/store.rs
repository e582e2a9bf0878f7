//! [`StateStore`] on the `state` table.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow};
use seamless_core::{Expect, Op, Result, Row, RowKey, Scan, StateStore, Table};

use crate::database::Database;
use crate::failure::Stop;

/// The state store of an open data folder.
pub(crate) struct SqliteStore {
    database: Arc<Database>,
}

impl SqliteStore {
    pub(crate) fn new(database: Arc<Database>) -> SqliteStore {
        SqliteStore { database }
    }
}

#[async_trait]
impl StateStore for SqliteStore {
    async fn get(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>> {
        let keys = keys.to_vec();
        self.database
            .read(move |connection| Ok(get(connection, &keys)?))
            .await
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<(String, Row)>> {
        let scan = scan.clone();
        self.database
            .read(move |connection| Ok(self::scan(connection, &scan)?))
            .await
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<u64> {
        Op::check_sizes(&ops)?;
        let version = self.database.write(move |connection, tally| {
            if ops.iter().any(|op| !matches!(op, Op::Check { .. })) {
                tally.version += 1;
            }
            ops.iter()
                .try_for_each(|op| apply(connection, tally.version, op))?;
            Ok(tally.version)
        });
        Ok(version.await?.unsigned_abs())
    }

    async fn count(&self, table: Table, prefix: &str) -> Result<u64> {
        let prefix = prefix.to_owned();
        self.database
            .read(move |connection| Ok(count(connection, table, &prefix)?))
            .await
    }
}

fn get(connection: &Connection, keys: &[RowKey]) -> Result<Vec<Option<Row>>, rusqlite::Error> {
    let mut statement =
        connection.prepare_cached("SELECT version, value FROM state WHERE tbl = ?1 AND key = ?2")?;
    let read = |key: &RowKey| {
        statement
            .query_row((key.table as u8, key.key.as_bytes()), |row| to_row(row, 0))
            .optional()
    };
    keys.iter().map(read).collect()
}

fn scan(connection: &Connection, scan: &Scan) -> Result<Vec<(String, Row)>, rusqlite::Error> {
    let (start, end) = range(&scan.prefix, scan.after.as_deref());
    let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT key, version, value FROM state WHERE tbl = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4",
    )?;
    let rows = statement.query_map((scan.table as u8, start, end, limit), |row| {
        let key = std::str::from_utf8(row.get_ref(0)?.as_blob()?)
            .map_err(|error| rusqlite::Error::Utf8Error(0, error))?;
        Ok((key.to_owned(), to_row(row, 1)?))
    })?;
    rows.collect()
}

fn count(connection: &Connection, table: Table, prefix: &str) -> Result<u64, rusqlite::Error> {
    let (start, end) = range(prefix, None);
    let sql = "SELECT count(*) FROM state WHERE tbl = ?1 AND key >= ?2 AND key < ?3";
    let count: i64 = connection
        .prepare_cached(sql)?
        .query_row((table as u8, start, end), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

fn apply(connection: &Connection, version: i64, op: &Op) -> Result<(), Stop> {
    const CHECK: &str = "SELECT version FROM state WHERE tbl = ?1 AND key = ?2";
    const PUT: &str = "INSERT INTO state (tbl, key, version, value) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (tbl, key) DO UPDATE SET version = excluded.version, value = excluded.value";
    const PUT_ABSENT: &str = "INSERT INTO state (tbl, key, version, value) VALUES (?1, ?2, ?3, ?4)
                              ON CONFLICT (tbl, key) DO NOTHING";
    const PUT_VERSION: &str =
        "UPDATE state SET version = ?3, value = ?4 WHERE tbl = ?1 AND key = ?2 AND version = ?5";
    const DELETE: &str = "DELETE FROM state WHERE tbl = ?1 AND key = ?2";
    const DELETE_VERSION: &str = "DELETE FROM state WHERE tbl = ?1 AND key = ?2 AND version = ?3";

    let (Op::Check { key, expect } | Op::Put { key, expect, .. } | Op::Delete { key, expect }) = op;
    let (table, bytes) = (key.table as u8, key.key.as_bytes());
    let statement = |sql| connection.prepare_cached(sql);
    let present = || {
        statement(CHECK)?
            .query_row((table, bytes), |row| row.get::<_, i64>(0))
            .optional()
    };
    let holds = match (op, *expect) {
        (Op::Check { .. }, Expect::Any) => true,
        (Op::Check { .. }, Expect::Version(expected)) => present()? == Some(stored(expected)),
        (Op::Check { .. } | Op::Delete { .. }, Expect::Absent) => present()?.is_none(),
        (Op::Put { value, .. }, Expect::Any) => statement(PUT)?.execute((table, bytes, version, value))? > 0,
        (Op::Put { value, .. }, Expect::Absent) => {
            statement(PUT_ABSENT)?.execute((table, bytes, version, value))? > 0
        }
        (Op::Put { value, .. }, Expect::Version(expected)) => {
            statement(PUT_VERSION)?.execute((table, bytes, version, value, stored(expected)))? > 0
        }
        (Op::Delete { .. }, Expect::Any) => statement(DELETE)?.execute((table, bytes)).map(|_| true)?,
        (Op::Delete { .. }, Expect::Version(expected)) => {
            statement(DELETE_VERSION)?.execute((table, bytes, stored(expected)))? > 0
        }
    };
    if holds {
        return Ok(());
    }
    Err(key.has_changed().into())
}

/// First key of a range, and the first one behind it.
fn range(prefix: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let start = match after {
        // Nothing sorts between a key and the same key with a zero byte.
        Some(after) if after >= prefix => [after.as_bytes(), &[0]].concat(),
        _ => prefix.as_bytes().to_vec(),
    };
    // No byte of UTF-8 is 0xff: the last byte can be raised, and 0xff is behind every key.
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0xff),
    }
    (start, end)
}

/// A version as stored. Ours are small; one that does not fit is nobody's.
fn stored(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(-1)
}

fn to_row(row: &SqlRow<'_>, first: usize) -> Result<Row, rusqlite::Error> {
    let version: i64 = row.get(first)?;
    Ok(Row {
        version: version.unsigned_abs(),
        value: row.get(first + 1)?,
    })
}
