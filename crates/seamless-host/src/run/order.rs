//! Pollers in the order in which a first load reads: parents first, systems side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use seamless_core::SystemId;
use seamless_core::pipeline::{Engine, Poller};

use crate::build::{SyncPlan, rank};

/// The pollers of an engine by system, parents first.
pub(crate) fn pollers(engine: &Arc<Engine>, plans: &[SyncPlan]) -> BTreeMap<SystemId, Vec<Poller>> {
    let mut by_system: BTreeMap<SystemId, Vec<Poller>> = BTreeMap::new();
    for poller in Poller::all(engine) {
        by_system.entry(poller.system().clone()).or_default().push(poller);
    }
    for pollers in by_system.values_mut() {
        pollers.sort_by_key(|poller| rank(plans, poller.system(), poller.entity()));
    }
    by_system
}
