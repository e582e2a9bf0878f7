//! Fenced leases (R6).
//!
//! A claim is a row; its version fences: whoever lost it cannot commit, because every commit checks the version. A lease has no end
//! on any shared clock: one who wants it watches the row on its own monotonic clock, and takes it when it has not changed for the whole lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use super::engine::Engine;
use super::mistakes::Mistake;
use super::state::{ClaimHolder, Rows};
use crate::contract::{Expect, Op, Row, RowKey, Table};
use crate::error::{ErrorKind, Result};

/// A worker's hold on claims: its name, and what it has seen of others' claims.
pub(crate) struct Claimant {
    name: String,
    watched: Mutex<BTreeMap<String, (u64, Duration)>>,
}

/// Claims held: key → row version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) versions: BTreeMap<String, u64>,
}

impl Claimant {
    /// A claimant with a random name.
    pub(crate) fn new(engine: &Engine) -> Claimant {
        Claimant {
            name: engine.name(),
            watched: Mutex::new(BTreeMap::new()),
        }
    }

    /// Takes each set of keys as a whole, or not at all. Never waits. Sets are served in order; a later one that overlaps an earlier
    /// one of the same call gets nothing.
    pub(crate) async fn take(&self, engine: &Engine, sets: &[BTreeSet<String>]) -> Result<Vec<Option<Held>>> {
        let keys: Vec<String> = sets
            .iter()
            .flatten()
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let rows: BTreeMap<String, Option<Row>> = self.read(engine, &keys).await?;
        let mut gone = BTreeSet::new();
        let mut granted: Vec<bool> = Vec::with_capacity(sets.len());
        for set in sets {
            let free = set.iter().all(|key| {
                !gone.contains(key)
                    && rows
                        .get(key)
                        .is_none_or(|row| self.is_free(engine, key, row.as_ref()))
            });
            if free {
                gone.extend(set.iter().cloned());
            }
            granted.push(free);
        }
        let ops_of = |set: &BTreeSet<String>| -> Result<Vec<Op>> {
            set.iter()
                .map(|key| self.put(key, rows.get(key).and_then(Option::as_ref)))
                .collect()
        };
        let mut all = Vec::new();
        for (set, _) in sets.iter().zip(&granted).filter(|(_, granted)| **granted) {
            all.extend(ops_of(set)?);
        }
        let whole = if all.is_empty() {
            None
        } else {
            Some(engine.store.commit(all).await)
        };
        let mut held = Vec::with_capacity(sets.len());
        for (set, granted) in sets.iter().zip(granted) {
            held.push(match (&whole, granted) {
                (Some(Ok(version)), true) => Some(Held::of(set, *version)),
                (Some(Err(error)), true) if error.kind == ErrorKind::Conflict => {
                    // Somebody took one of them meanwhile: try set by set.
                    match engine.store.commit(ops_of(set)?).await {
                        Ok(version) => Some(Held::of(set, version)),
                        Err(error) if error.kind == ErrorKind::Conflict => None,
                        Err(error) => return Err(error),
                    }
                }
                (_, true) => match whole {
                    Some(Err(error)) => return Err(error),
                    _ => Some(Held::default()),
                },
                (_, false) => None,
            });
        }
        Ok(held)
    }

    /// Writes the claims again under new versions, so that watchers start over. `None` when one was lost.
    pub(crate) async fn renew(&self, engine: &Engine, held: &Held) -> Result<Option<Held>> {
        let ops: Result<Vec<Op>> = held
            .versions
            .iter()
            .map(|(key, version)| {
                let holder = ClaimHolder::Worker(self.name.clone());
                Rows::put_plain(
                    RowKey::new(Table::Claim, key.clone()),
                    Expect::Version(*version),
                    &holder,
                )
            })
            .collect();
        match engine.store.commit(ops?).await {
            Ok(version) => Ok(Some(Held::of(held.versions.keys(), version))),
            Err(error) if error.kind == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, engine: &Engine, keys: &[String]) -> Result<BTreeMap<String, Option<Row>>> {
        let rows: Vec<RowKey> = keys
            .iter()
            .map(|key| RowKey::new(Table::Claim, key.clone()))
            .collect();
        let found = engine.store.get(&rows).await?;
        Ok(keys.iter().cloned().zip(found).collect())
    }

    fn put(&self, key: &str, row: Option<&Row>) -> Result<Op> {
        let expect = super::state::expect_of(row);
        Rows::put_plain(
            RowKey::new(Table::Claim, key),
            expect,
            &ClaimHolder::Worker(self.name.clone()),
        )
    }

    /// Free: no row, our own (a worker does one thing at a time), or unchanged for a whole lease while we watched.
    fn is_free(&self, engine: &Engine, key: &str, row: Option<&Row>) -> bool {
        let Some(row) = row else { return true };
        let row_key = RowKey::new(Table::Claim, key);
        match Rows::plain(&row_key, row) {
            Ok(ClaimHolder::Intent(_)) => return engine.mistakes.has(Mistake::OpenIntentNoClaim),
            Ok(ClaimHolder::Worker(name)) if name == self.name => return true,
            _ => {}
        }
        let now = engine.clock.monotonic();
        let mut watched = self
            .watched
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if watched.len() > WATCHED_MAX {
            watched.clear();
        }
        let entry = watched.entry(key.to_owned()).or_insert((row.version, now));
        if entry.0 != row.version {
            *entry = (row.version, now);
        }
        now.saturating_sub(entry.1) >= engine.timings.claim_lease
    }
}

/// Forgetting what was watched only delays a take-over by one lease.
const WATCHED_MAX: usize = 10_000;

impl Held {
    fn of<'k>(keys: impl IntoIterator<Item = &'k String>, version: u64) -> Held {
        Held {
            versions: keys.into_iter().map(|key| (key.clone(), version)).collect(),
        }
    }

    /// Adds another hold.
    pub(crate) fn join(&mut self, other: Held) {
        self.versions.extend(other.versions);
    }

    /// Commits only while they are still held.
    pub(crate) fn checks(&self, engine: &Engine) -> Vec<Op> {
        self.ops(engine, |key, expect| Op::Check { key, expect })
    }

    /// Lets go, and commits only while they were still held.
    pub(crate) fn releases(&self, engine: &Engine) -> Vec<Op> {
        self.ops(engine, |key, expect| Op::Delete { key, expect })
    }

    /// Hands them over to an intent.
    pub(crate) fn hand_over(&self, engine: &Engine, intent: &str) -> Result<Vec<Op>> {
        self.held_by(engine, &ClaimHolder::Intent(intent.to_owned()))
    }

    /// Takes them back from an intent.
    pub(crate) fn hand_back(&self, engine: &Engine, claimant: &Claimant) -> Result<Vec<Op>> {
        self.held_by(engine, &ClaimHolder::Worker(claimant.name.clone()))
    }

    fn held_by(&self, engine: &Engine, holder: &ClaimHolder) -> Result<Vec<Op>> {
        let claim = |(key, version): (&String, &u64)| {
            Rows::put_plain(
                RowKey::new(Table::Claim, key.clone()),
                fence(engine, *version),
                holder,
            )
        };
        self.versions.iter().map(claim).collect()
    }

    /// The same claims after a commit that wrote them.
    pub(crate) fn at(&self, version: u64) -> Held {
        Held::of(self.versions.keys(), version)
    }

    fn ops(&self, engine: &Engine, op: impl Fn(RowKey, Expect) -> Op) -> Vec<Op> {
        self.versions
            .iter()
            .map(|(key, version)| op(RowKey::new(Table::Claim, key.clone()), fence(engine, *version)))
            .collect()
    }
}

fn fence(engine: &Engine, version: u64) -> Expect {
    if engine.mistakes.has(Mistake::NoFencing) {
        Expect::Any
    } else {
        Expect::Version(version)
    }
}

#[cfg(test)]
mod tests;
