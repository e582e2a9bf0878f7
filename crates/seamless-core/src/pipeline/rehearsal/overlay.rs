//! A store that shows another one, and keeps every change to itself.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::contract::{Expect, Op, Row, RowKey, Scan, StateStore, Table};
use crate::error::Result;
use crate::pipeline::state::{ClaimHolder, Rows};

/// Copy-on-write over a store that is only read. For one worker at a time: two commits at once would not see each other's expectations.
///
/// Claims of workers are not shown: they belong to whoever runs on the base, and a rehearsal gets in nobody's way. Claims of open intents are.
pub(super) struct Overlay {
    base: Arc<dyn StateStore>,
    own: Mutex<Own>,
}

struct Own {
    version: u64,
    rows: BTreeMap<RowKey, Change>,
}

#[derive(Clone)]
struct Change {
    /// `None`: deleted here.
    row: Option<Row>,
    /// The base has a row of this key.
    over_base: bool,
}

/// Versions given here can never be those of the base.
const FIRST_VERSION: u64 = 1 << 62;

impl Overlay {
    pub(super) fn new(base: Arc<dyn StateStore>) -> Overlay {
        Overlay {
            base,
            own: Mutex::new(Own {
                version: FIRST_VERSION,
                rows: BTreeMap::new(),
            }),
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn base(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>> {
        let found = self.base.get(keys).await?;
        let shown = |(key, row): (&RowKey, Option<Row>)| row.filter(|row| !is_workers_claim(key, row));
        Ok(keys.iter().zip(found).map(shown).collect())
    }
}

fn is_workers_claim(key: &RowKey, row: &Row) -> bool {
    key.table == Table::Claim && matches!(Rows::plain(key, row), Ok(ClaimHolder::Worker(_)))
}

#[async_trait]
impl StateStore for Overlay {
    async fn get(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>> {
        let mut found: Vec<Option<Option<Row>>> = {
            let own = self.own();
            let here = |key| own.rows.get(key).map(|change| change.row.clone());
            keys.iter().map(here).collect()
        };
        let missing: Vec<usize> = (0..keys.len()).filter(|at| found[*at].is_none()).collect();
        let asked: Vec<RowKey> = missing.iter().map(|at| keys[*at].clone()).collect();
        for (at, row) in missing.into_iter().zip(self.base(&asked).await?) {
            found[at] = Some(row);
        }
        Ok(found.into_iter().map(Option::flatten).collect())
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<(String, Row)>> {
        let here = self.own().range(scan.table, &scan.prefix, scan.after.as_deref());
        let hidden = here.iter().filter(|(_, change)| change.over_base).count();
        let wanted = Scan {
            limit: scan.limit.saturating_add(hidden),
            ..scan.clone()
        };
        let mut merged: BTreeMap<String, Row> = BTreeMap::new();
        for (key, row) in self.base.scan(&wanted).await? {
            let row_key = RowKey::new(scan.table, key);
            if !is_workers_claim(&row_key, &row) {
                merged.insert(row_key.key, row);
            }
        }
        for (key, change) in here {
            match change.row {
                Some(row) => drop(merged.insert(key, row)),
                None => drop(merged.remove(&key)),
            }
        }
        Ok(merged.into_iter().take(scan.limit).collect())
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<u64> {
        Op::check_sizes(&ops)?;
        let keys: Vec<RowKey> = ops.iter().map(|op| key_of(op).clone()).collect();
        let base = self.base(&keys).await?;
        let mut own = self.own();
        let version = own.version + 1;
        let mut changed: BTreeMap<RowKey, Change> = BTreeMap::new();
        for ((op, key), base) in ops.into_iter().zip(keys).zip(base) {
            let over_base = base.is_some();
            let now = changed
                .get(&key)
                .or_else(|| own.rows.get(&key))
                .map_or(base, |change| change.row.clone());
            let (expect, after) = match op {
                Op::Check { expect, .. } => (expect, None),
                Op::Put { expect, value, .. } => (expect, Some(Some(Row { version, value }))),
                Op::Delete { expect, .. } => (expect, Some(None)),
            };
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => now.is_none(),
                Expect::Version(version) => now.is_some_and(|row| row.version == version),
            };
            if !holds {
                return Err(key.has_changed());
            }
            if let Some(row) = after {
                changed.insert(key, Change { row, over_base });
            }
        }
        own.version = version;
        own.rows.extend(changed);
        Ok(version)
    }

    async fn count(&self, table: Table, prefix: &str) -> Result<u64> {
        let here = self.own().range(table, prefix, None);
        let over = here.iter().filter(|(_, change)| change.over_base).count() as u64;
        let live = here.iter().filter(|(_, change)| change.row.is_some()).count() as u64;
        Ok((self.base.count(table, prefix).await?).saturating_sub(over) + live)
    }
}

impl Own {
    fn range(&self, table: Table, prefix: &str, after: Option<&str>) -> Vec<(String, Change)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(RowKey::new(table, after)),
            _ => Bound::Included(RowKey::new(table, prefix)),
        };
        self.rows
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.table == table && key.key.starts_with(prefix))
            .map(|(key, change)| (key.key.clone(), change.clone()))
            .collect()
    }
}

fn key_of(op: &Op) -> &RowKey {
    let (Op::Check { key, .. } | Op::Put { key, .. } | Op::Delete { key, .. }) = op;
    key
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::memory::MemoryStore;

    fn now<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
        future.now_or_never().unwrap()
    }

    fn put(key: &str, expect: Expect, value: &str) -> Op {
        let key = RowKey::new(Table::Link, key);
        let value = value.as_bytes().to_vec();
        Op::Put { key, expect, value }
    }

    fn delete(key: &str) -> Op {
        Op::Delete {
            key: RowKey::new(Table::Link, key),
            expect: Expect::Any,
        }
    }

    fn shown(store: &dyn StateStore, prefix: &str, after: Option<&str>, limit: usize) -> String {
        let scan = Scan {
            table: Table::Link,
            prefix: prefix.into(),
            after: after.map(Into::into),
            limit,
        };
        let rows = now(store.scan(&scan)).unwrap();
        let shown = rows
            .iter()
            .map(|(key, row)| format!("{key}={}", String::from_utf8_lossy(&row.value)));
        shown.collect::<Vec<_>>().join(" ")
    }

    fn both() -> (Arc<MemoryStore>, Overlay) {
        let base = Arc::new(MemoryStore::new());
        let rows = ["a/1", "a/2", "a/3", "a/4", "b/1"].map(|key| put(key, Expect::Any, "base"));
        now(base.commit(rows.into())).unwrap();
        (base.clone(), Overlay::new(base))
    }

    #[test]
    fn changes_are_seen_here_and_nowhere_else() {
        let (base, over) = both();
        let before = shown(&*base, "", None, 99);
        now(over.commit(vec![
            put("a/2", Expect::Any, "new"),
            delete("a/3"),
            put("a/25", Expect::Absent, "x"),
        ]))
        .unwrap();
        assert_eq!(shown(&over, "a/", None, 99), "a/1=base a/2=new a/25=x a/4=base");
        assert_eq!(shown(&over, "a/", None, 3), "a/1=base a/2=new a/25=x");
        assert_eq!(shown(&over, "a/", Some("a/25"), 3), "a/4=base");
        assert_eq!(now(over.count(Table::Link, "a/")).unwrap(), 4);
        assert_eq!(shown(&*base, "", None, 99), before);
    }

    #[test]
    fn expectations_hold_over_both_and_a_failed_commit_changes_nothing() {
        let (_, over) = both();
        let key = RowKey::new(Table::Link, "a/1");
        let version = now(over.get(std::slice::from_ref(&key))).unwrap()[0]
            .clone()
            .unwrap()
            .version;
        let stale = |version| {
            vec![
                put("a/9", Expect::Absent, "y"),
                put("a/1", Expect::Version(version), "z"),
            ]
        };
        assert!(now(over.commit(stale(version + 1))).is_err());
        assert_eq!(shown(&over, "a/9", None, 9), "");
        let newer = now(over.commit(stale(version))).unwrap();
        assert!(newer > FIRST_VERSION);
        assert!(now(over.commit(stale(newer))).is_err(), "a/9 is there now");
        now(over.commit(vec![put("a/1", Expect::Version(newer), "w"), delete("a/9")])).unwrap();
        assert_eq!(shown(&over, "a/9", None, 9), "");
    }

    #[test]
    fn claims_of_running_workers_are_not_in_the_way_and_those_of_intents_are() {
        let (base, _) = both();
        let claim = |key: &str, holder: &ClaimHolder| {
            Rows::put_plain(RowKey::new(Table::Claim, key), Expect::Any, holder).unwrap()
        };
        let rows = vec![
            claim("w", &ClaimHolder::Worker("w".into())),
            claim("i", &ClaimHolder::Intent("i".into())),
        ];
        now(base.commit(rows)).unwrap();
        let over = Overlay::new(base);
        let found = now(over.get(&["w", "i"].map(|key| RowKey::new(Table::Claim, key)))).unwrap();
        assert!(found[0].is_none() && found[1].is_some());
        let mine = ClaimHolder::Worker("me".into());
        let take = Rows::put_plain(RowKey::new(Table::Claim, "w"), Expect::Absent, &mine).unwrap();
        now(over.commit(vec![take])).unwrap();
    }
}
