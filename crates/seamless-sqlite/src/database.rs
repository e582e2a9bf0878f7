//! One open data folder: its lock, its two connections, its time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use seamless_core::{Bus, Clock, Error, Result, StateStore, Timestamp};
use tokio::sync::Notify;

use crate::bus::SqliteBus;
use crate::failure::{Health, Stop};
use crate::folder::{self, FolderLock};
use crate::message;
use crate::schema::{self, SCHEMA};
use crate::store::SqliteStore;
use crate::worker::{Tally, Worker};

/// An open data folder. Clones, the store and the bus share it; the last of them that is dropped closes it.
#[derive(Clone)]
pub struct Sqlite {
    database: Arc<Database>,
}

impl Sqlite {
    /// Opens the data folder, makes it if it is missing, and takes its lock. `identity` names the tenant and environment;
    /// a file that was made for another one is refused.
    ///
    /// Blocks: the whole file is checked. `Refused` when another host is running on the folder or the file is not ours;
    /// `Storage`/`Never` when it is damaged.
    pub fn open(dir: &Path, identity: &str, clock: Arc<dyn Clock>) -> Result<Sqlite> {
        Ok(Sqlite {
            database: Arc::new(Database::open(dir, identity, clock)?),
        })
    }

    /// The state store.
    pub fn store(&self) -> Arc<dyn StateStore> {
        Arc::new(SqliteStore::new(self.database.clone()))
    }

    /// The bus.
    pub fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(SqliteBus::new(self.database.clone()))
    }
}

/// What store and bus share. Fields are dropped in order: the writer after the reader, so that it closes the file and folds
/// the write-ahead log into it; the lock last.
pub(crate) struct Database {
    reader: Worker,
    writer: Worker,
    health: Arc<Health>,
    changed: Arc<Notify>,
    time: Arc<BusTime>,
    _lock: FolderLock,
}

impl Database {
    fn open(dir: &Path, identity: &str, clock: Arc<dyn Clock>) -> Result<Database> {
        schema::check_library()?;
        folder::create(dir)?;
        let lock = FolderLock::take(dir)?;
        let file = dir.join(schema::FILE_NAME);
        let health = Arc::new(Health::new(&file));
        let time = Arc::new(BusTime::start(clock));

        let writer = schema::open(&file, identity, &SCHEMA)?;
        let tally = prepare(&writer, &time).map_err(|error| health.fail(&error))?;
        let reader = schema::open_second(&file).map_err(|error| health.fail(&error))?;
        let changed = Arc::new(Notify::new());
        Ok(Database {
            reader: Worker::reader(reader, health.clone())?,
            writer: Worker::writer(writer, tally, health.clone(), changed.clone())?,
            health,
            changed,
            time,
            _lock: lock,
        })
    }

    /// Runs reading work on the second connection, in one snapshot that has every commit that returned before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        self.reader
            .ask(&self.health, |connection, _| work(connection))
            .await
    }

    /// Runs writing work; returns when it is durable. Work that stops changes nothing.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &mut Tally) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        self.writer.ask(&self.health, work).await
    }

    /// Told after each commit that gives a consumer something to look for.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// The bus's time.
    pub(crate) fn time(&self) -> &Arc<BusTime> {
        &self.time
    }
}

/// Reads the counters, and frees what a host that is no more had locked.
fn prepare(writer: &Connection, time: &BusTime) -> Result<Tally, rusqlite::Error> {
    message::free_after_restart(writer, time.micros())?;
    Tally::read(writer)
}

/// Time for due dates and locks, in microseconds. Wall-clock time at the start, so that due dates survive a restart; from then
/// on monotonic, so that a clock that is set does not move them.
pub(crate) struct BusTime {
    clock: Arc<dyn Clock>,
    started: Timestamp,
    started_monotonic: Duration,
}

impl BusTime {
    fn start(clock: Arc<dyn Clock>) -> BusTime {
        BusTime {
            started: clock.now(),
            started_monotonic: clock.monotonic(),
            clock,
        }
    }

    /// Now.
    pub(crate) fn micros(&self) -> i64 {
        self.started
            .plus(self.clock.monotonic().saturating_sub(self.started_monotonic))
            .0
    }

    /// The clock behind it.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

/// The error of work whose thread is gone: only a panic there can end it before its last user.
pub(crate) fn ended() -> Error {
    Error::storage("the database thread has ended; restart the host")
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use seamless_core::{ErrorKind, Expect, Op, Retry, RowKey, Table};
    use seamless_testkit::conformance::TestClock;

    use super::*;

    fn put(key: &str, bytes: usize) -> Vec<Op> {
        vec![Op::Put {
            key: RowKey::new(Table::Link, key),
            expect: Expect::Absent,
            value: vec![7; bytes],
        }]
    }

    #[tokio::test]
    async fn a_full_disk_stops_everything_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(dir.path(), "t", TestClock::new()).unwrap();
        let store = sqlite.store();
        store.commit(put("before", 100)).await.unwrap();
        let limit = sqlite
            .database
            .write(|connection, _| Ok(connection.pragma_update(None, "max_page_count", 40)?));
        limit.await.unwrap();

        // A rival of the same group that would fit fails too: nobody is told "done" unless it is durable.
        let outcomes = join_all([store.commit(put("large", 1 << 20)), store.commit(put("small", 1))]).await;
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind, error.retry), (ErrorKind::Storage, Retry::Never));
            assert!(error.message().contains("make room on the disk"), "{error}");
        }
        // From now on every call says so, readers and the bus as well.
        assert!(store.commit(put("later", 1)).await.is_err());
        assert!(store.get(&[]).await.is_err());
        assert!(sqlite.bus().depth("crm").await.is_err());

        drop((sqlite, store));
        let store = Sqlite::open(dir.path(), "t", TestClock::new()).unwrap().store();
        assert_eq!(
            store.count(Table::Link, "").await.unwrap(),
            1,
            "only the row that was reported as done"
        );
        store.commit(put("later", 1)).await.unwrap();
    }

    #[tokio::test]
    async fn another_programs_lock_is_waited_out_not_fatal() {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(dir.path(), "t", TestClock::new()).unwrap();
        let no_patience = sqlite
            .database
            .write(|connection, _| Ok(connection.busy_timeout(Duration::ZERO)?));
        no_patience.await.unwrap();
        let other = Connection::open(dir.path().join(schema::FILE_NAME)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let store = sqlite.store();
        for outcome in join_all([store.commit(put("a", 1)), store.commit(put("b", 1))]).await {
            let error = outcome.unwrap_err();
            assert_eq!(
                (error.kind, error.is_transient()),
                (ErrorKind::Storage, true),
                "{error}"
            );
        }
        other.execute_batch("ROLLBACK").unwrap();
        store.commit(put("a", 1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_group_keeps_what_succeeds_and_undoes_what_conflicts() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path(), "t", TestClock::new()).unwrap().store();
        // Each key twice: far more work at once than one group or the queue takes.
        let outcomes = join_all((0..2_000).map(|n| store.commit(put(&format!("k{}", n / 2), 10)))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1_000);
        let mut versions: Vec<u64> = outcomes.into_iter().flatten().collect();
        versions.dedup();
        assert_eq!(versions.len(), 1_000, "commits share a version");
        assert_eq!(store.count(Table::Link, "").await.unwrap(), 1_000);
    }
}
