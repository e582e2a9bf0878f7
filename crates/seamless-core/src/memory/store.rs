//! State as an ordered map, shared copy-on-write with its snapshots.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::contract::{Expect, Op, Row, RowKey, Scan, StateStore, Table};
use crate::error::Result;

/// A [`StateStore`] in memory. "Durable" means that it outlives the pipeline that uses it, as in the simulator's crashes.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<Arc<State>>,
}

/// The whole state of a [`MemoryStore`] at one moment. Costs nothing until the store changes.
#[derive(Clone)]
pub struct Snapshot(Arc<State>);

#[derive(Clone, Default)]
struct State {
    version: u64,
    rows: BTreeMap<RowKey, Stored>,
}

#[derive(Clone)]
struct Stored {
    version: u64,
    value: Arc<[u8]>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// The state as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().clone())
    }

    /// Goes back to a snapshot, version counter included.
    pub fn restore(&self, snapshot: &Snapshot) {
        *self.state() = snapshot.0.clone();
    }

    fn state(&self) -> MutexGuard<'_, Arc<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn get(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>> {
        let state = self.state();
        Ok(keys
            .iter()
            .map(|key| state.rows.get(key).map(Stored::to_row))
            .collect())
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<(String, Row)>> {
        let state = self.state();
        let found = state.range(scan.table, &scan.prefix, scan.after.as_deref());
        Ok(found
            .take(scan.limit)
            .map(|(key, stored)| (key.key.clone(), stored.to_row()))
            .collect())
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<u64> {
        Op::check_sizes(&ops)?;
        let mut state = self.state();
        let version = state.version + 1;
        state.check_expectations(&ops, version)?;
        // Only now, with every expectation met, is anything changed.
        if ops.iter().all(|op| matches!(op, Op::Check { .. })) {
            return Ok(state.version);
        }
        let state = Arc::make_mut(&mut state);
        state.version = version;
        for op in ops {
            match op {
                Op::Check { .. } => {}
                Op::Put { key, value, .. } => {
                    state.rows.insert(
                        key,
                        Stored {
                            version,
                            value: value.into(),
                        },
                    );
                }
                Op::Delete { key, .. } => {
                    state.rows.remove(&key);
                }
            }
        }
        Ok(version)
    }

    async fn count(&self, table: Table, prefix: &str) -> Result<u64> {
        Ok(self.state().range(table, prefix, None).count() as u64)
    }
}

impl State {
    /// Checks each operation against the state as changed by the ones before it.
    fn check_expectations(&self, ops: &[Op], next_version: u64) -> Result<()> {
        let mut changed: BTreeMap<&RowKey, Option<u64>> = BTreeMap::new();
        for op in ops {
            let (key, expect, after) = match op {
                Op::Check { key, expect } => (key, expect, None),
                Op::Put { key, expect, .. } => (key, expect, Some(Some(next_version))),
                Op::Delete { key, expect } => (key, expect, Some(None)),
            };
            let stored = || self.rows.get(key).map(|row| row.version);
            let actual = changed.get(key).copied().unwrap_or_else(stored);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => actual.is_none(),
                Expect::Version(version) => actual == Some(*version),
            };
            if !holds {
                return Err(key.has_changed());
            }
            if let Some(after) = after {
                changed.insert(key, after);
            }
        }
        Ok(())
    }

    fn range<'a>(
        &'a self,
        table: Table,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a RowKey, &'a Stored)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(RowKey::new(table, after)),
            _ => Bound::Included(RowKey::new(table, prefix)),
        };
        self.rows
            .range((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.table == table && key.key.starts_with(prefix))
    }
}

impl Stored {
    fn to_row(&self) -> Row {
        Row {
            version: self.version,
            value: self.value.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn put(key: &str, value: &[u8]) -> Op {
        Op::Put {
            key: RowKey::new(Table::Link, key),
            expect: Expect::Any,
            value: value.to_vec(),
        }
    }

    fn get(store: &MemoryStore, key: &str) -> Option<Row> {
        store
            .get(&[RowKey::new(Table::Link, key)])
            .now_or_never()
            .unwrap()
            .unwrap()
            .remove(0)
    }

    #[test]
    fn a_restored_snapshot_forgets_what_came_after_it() {
        let store = MemoryStore::new();
        let first = store
            .commit(vec![put("a", b"1")])
            .now_or_never()
            .unwrap()
            .unwrap();
        let snapshot = store.snapshot();
        store
            .commit(vec![put("a", b"2"), put("b", b"2")])
            .now_or_never()
            .unwrap()
            .unwrap();
        store.restore(&snapshot);
        assert!(
            get(&store, "a")
                == Some(Row {
                    version: first,
                    value: b"1".to_vec()
                })
        );
        assert!(get(&store, "b").is_none());
        // The snapshot itself is not touched by what the restored store does next.
        store
            .commit(vec![put("a", b"3")])
            .now_or_never()
            .unwrap()
            .unwrap();
        store.restore(&snapshot);
        assert!(
            get(&store, "a")
                == Some(Row {
                    version: first,
                    value: b"1".to_vec()
                })
        );
    }
}
