//! One file, both contracts: the suites that the in-memory implementations pass.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use seamless_core::{Bus, Clock, StateStore};
use seamless_sqlite::Sqlite;
use seamless_testkit::conformance::{TestClock, bus, store};
use tempfile::TempDir;

/// Opens a new folder for each case; keeps the last one to open it again.
#[derive(Default)]
struct Folders {
    last: Mutex<Option<(TempDir, Arc<dyn Clock>)>>,
}

impl Folders {
    fn fresh(&self, clock: Arc<dyn Clock>) -> Sqlite {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(dir.path(), "tenant", clock.clone()).unwrap();
        *self.last.lock().unwrap() = Some((dir, clock));
        sqlite
    }

    /// The lock file proves that the case has let go of everything.
    fn reopen(&self) -> Sqlite {
        let last = self.last.lock().unwrap();
        let (dir, clock) = last.as_ref().unwrap();
        Sqlite::open(dir.path(), "tenant", clock.clone()).unwrap()
    }
}

#[async_trait]
impl store::StoreFactory for Folders {
    async fn fresh(&self) -> Arc<dyn StateStore> {
        self.fresh(TestClock::new()).store()
    }

    async fn reopen(&self) -> Option<Arc<dyn StateStore>> {
        Some(self.reopen().store())
    }
}

#[async_trait]
impl bus::BusFactory for Folders {
    async fn fresh(&self, clock: Arc<dyn Clock>) -> Arc<dyn Bus> {
        self.fresh(clock).bus()
    }

    async fn reopen(&self) -> Option<Arc<dyn Bus>> {
        Some(self.reopen().bus())
    }
}

#[tokio::test]
async fn store_conforms() {
    assert_eq!(store::run(&Folders::default()).await, Ok(()));
}

#[tokio::test]
async fn bus_conforms() {
    assert_eq!(bus::run(&Folders::default()).await, Ok(()));
}
