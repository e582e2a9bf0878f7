//! An engine on virtual time, whose store and bus take time and can fail it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use seamless_core::envelope::{Hasher, Identity, RowSeal, Sealer};
use seamless_core::pipeline::{Engine, EventSpec, Mistakes, SyncSpec, System, Timings};
use seamless_core::{KeyProvider, Keyset, Result, SyncId, SystemId};

use super::chaos::{ChaosBus, ChaosStore};
use super::executor::Sim;
use super::rng::{Rng, SharedRng};

/// What an engine is made of, besides its systems and syncs.
pub(super) struct Parts {
    pub(super) seed: u64,
    pub(super) mistakes: Mistakes,
    pub(super) keys: Arc<Keyset>,
    pub(super) sim: Sim,
    pub(super) store: ChaosStore,
    pub(super) bus: ChaosBus,
    pub(super) timings: Timings,
    pub(super) events: EventSpec,
}

impl Parts {
    pub(super) fn engine(
        self,
        systems: BTreeMap<SystemId, System>,
        syncs: BTreeMap<SyncId, Arc<SyncSpec>>,
    ) -> Result<Arc<Engine>> {
        let random = Arc::new(SharedRng(Mutex::new(Rng::new(self.seed))));
        let keys: Arc<dyn KeyProvider> = self.keys.clone();
        let hasher = Hasher::new(&keys.index()?);
        Ok(Arc::new(Engine {
            events: self.events,
            syncs,
            systems,
            store: Arc::new(self.store),
            bus: Arc::new(self.bus),
            clock: Arc::new(self.sim),
            sealer: Sealer::new(keys, random.clone(), identity())?,
            random,
            rows: row_seal(&self.keys, self.seed ^ 1),
            hasher,
            timings: self.timings,
            counters: Default::default(),
            mistakes: self.mistakes,
            used: AtomicBool::new(false),
        }))
    }
}

/// Seals and opens rows, with chance of its own.
pub(super) fn row_seal(keys: &Arc<Keyset>, seed: u64) -> RowSeal {
    let random = Arc::new(SharedRng(Mutex::new(Rng::new(seed))));
    RowSeal::new(keys.clone(), random, identity())
}

fn identity() -> Identity {
    Identity {
        environment: "sim".into(),
        tenant: "sim".into(),
    }
}
