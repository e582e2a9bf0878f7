//! What a tenant's data folder holds, and the keys to read it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use seamless_core::envelope::{Hasher, RowSeal, Sealer};
use seamless_core::pipeline::{Counters, Engine, EventSpec, Mistakes, Rehearsal, Rows, SyncSpec, System};
use seamless_core::{
    BlobStore, Bus, ClaimCheck, Clock, Error, ErrorKind, KeyProvider, Keyset, Random, Result, Row, RowKey,
    Scan, StateStore, SyncId, SystemId, Table,
};
use seamless_sqlite::Sqlite;

use crate::blobs::FolderBlobs;
use crate::build::SyncPlan;
use crate::bus;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::keys;
use crate::random::OsRandom;
use crate::socket;

/// Store, bus and keys of a tenant. Opening them takes the folder's lock.
pub(crate) struct Books {
    pub(crate) config: Config,
    pub(crate) plans: Arc<Vec<SyncPlan>>,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seal: RowSeal,
    pub(crate) keys: Arc<Keyset>,
    /// The engine at work, for its counters.
    working: RwLock<Option<Arc<Engine>>>,
    /// The rehearsal under way, for its counters.
    rehearsal: RwLock<Option<Arc<Rehearsal>>>,
    /// What keeps workers from working, by worker.
    pub(crate) troubles: Mutex<BTreeMap<String, String>>,
}

/// Rows read at once.
const PAGE: usize = 500;
/// `status` and `explain` hold the lock for a moment when no host is running: who comes meanwhile waits for so long.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const LOCK_LOOK: Duration = Duration::from_millis(50);

async fn open_folder(dir: &Path, identity: &str, clock: &Arc<dyn Clock>) -> Result<Sqlite> {
    let started = clock.monotonic();
    loop {
        let (folder, named, of_bus) = (dir.to_owned(), identity.to_owned(), clock.clone());
        // Blocks: the whole file is checked.
        let opened = tokio::task::spawn_blocking(move || Sqlite::open(&folder, &named, of_bus)).await;
        let opened = opened.map_err(|_| Error::storage("opening the data folder failed unexpectedly"))?;
        let is_held =
            |error: &Error| error.kind == ErrorKind::Refused && error.message().starts_with("another host");
        match opened {
            Err(error) if is_held(&error) => {
                let waited = clock.monotonic().saturating_sub(started);
                if waited > LOCK_WAIT || socket::is_served(dir) {
                    return Err(error);
                }
                clock.sleep(LOCK_LOOK).await;
            }
            opened => return opened,
        }
    }
}

impl Books {
    /// Opens the data folder.
    pub(crate) async fn open(config: &Config, plans: Arc<Vec<SyncPlan>>) -> Result<Books> {
        let keys = keys::load(config)?;
        let identity = config.identity();
        let named = format!("{}/{}", identity.tenant, identity.environment);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let sqlite = open_folder(&config.data_dir, &named, &clock).await?;
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        let store = sqlite.store();
        let bus = match bus::open(config, clock.clone(), store.clone())? {
            Some(bus) => bus,
            None => sqlite.bus(),
        };
        let blobs: Arc<dyn BlobStore> = match config.blob_container(clock.clone())? {
            Some(container) => Arc::new(container),
            None => Arc::new(FolderBlobs::new(config.data_dir.join("blobs"))),
        };
        let bus: Arc<dyn Bus> = Arc::new(ClaimCheck::new(bus, blobs, clock.clone(), random.clone()));
        Ok(Books {
            config: config.clone(),
            plans,
            store,
            bus,
            clock,
            seal: RowSeal::new(keys.clone(), random, identity),
            keys,
            working: RwLock::new(None),
            rehearsal: RwLock::new(None),
            troubles: Mutex::default(),
        })
    }

    /// An engine on these books.
    pub(crate) fn engine(
        &self,
        syncs: Vec<SyncSpec>,
        systems: BTreeMap<SystemId, System>,
        events: EventSpec,
    ) -> Result<Arc<Engine>> {
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        let identity = self.config.identity();
        let syncs: BTreeMap<SyncId, Arc<SyncSpec>> = syncs
            .into_iter()
            .map(|sync| (sync.id.clone(), Arc::new(sync)))
            .collect();
        let engine = Arc::new(Engine {
            syncs,
            systems,
            events,
            store: self.store.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
            random: random.clone(),
            sealer: Sealer::new(self.keys.clone(), random.clone(), identity.clone())?,
            rows: RowSeal::new(self.keys.clone(), random, identity),
            hasher: Hasher::new(&self.keys.index()?),
            timings: self.config.timings,
            counters: Counters::default(),
            mistakes: Mistakes::none(),
            used: Default::default(),
        });
        *self.working.write().unwrap_or_else(PoisonError::into_inner) = Some(engine.clone());
        Ok(engine)
    }

    /// The engine at work, if there is one.
    pub(crate) fn working(&self) -> Option<Arc<Engine>> {
        self.working
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes the rehearsal under way.
    pub(crate) fn on_paper(&self, rehearsal: Option<Arc<Rehearsal>>) {
        *self.rehearsal.write().unwrap_or_else(PoisonError::into_inner) = rehearsal;
    }

    /// Counters of the rehearsal under way, else of the engine at work.
    pub(crate) fn counters(&self) -> BTreeMap<&'static str, u64> {
        let rehearsal = self.rehearsal.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(rehearsal) = &*rehearsal {
            return rehearsal.counters().all().into_iter().collect();
        }
        let engine = self.working();
        engine.map_or_else(BTreeMap::new, |engine| {
            engine.counters.all().into_iter().collect()
        })
    }

    /// The run is over.
    pub(crate) fn rest(&self) {
        *self.working.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Notes or clears what keeps a worker from working.
    pub(crate) fn trouble(&self, worker: &str, error: Option<&Error>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => drop(troubles.insert(worker.to_owned(), error.to_string())),
            None => drop(troubles.remove(worker)),
        }
    }

    /// Reads sealed rows.
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows::new(&self.seal)
    }

    /// A row.
    pub(crate) async fn row(&self, key: &RowKey) -> Result<Option<Row>> {
        Ok(self.store.get(std::slice::from_ref(key)).await?.remove(0))
    }

    /// Walks over all rows of a range, a page at a time; the visitor ends it with `false`.
    pub(crate) async fn each(
        &self,
        table: Table,
        prefix: &str,
        mut visit: impl FnMut(RowKey, Row) -> Result<bool> + Send,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let scan = Scan {
                table,
                prefix: prefix.to_owned(),
                after: after.clone(),
                limit: PAGE,
            };
            let rows = self.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (key, row) in rows {
                if !visit(RowKey::new(table, key), row)? {
                    return Ok(());
                }
            }
        }
    }
}
