//! When deferred messages come: the service keeps them where nobody can count them, so the times are rows of the state store.

use std::sync::Arc;

use seamless_core::{Expect, Op, Result, Row, RowKey, Scan, StateStore, Table, Timestamp};

/// Rows read at once.
pub(crate) const PAGE: usize = 100;
/// The first part of the key of such a row.
const NOTE: &str = "bus-note";

/// Rows of one bus.
pub(crate) struct Notes {
    store: Arc<dyn StateStore>,
}

impl Notes {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Notes {
        Notes { store }
    }

    /// Notes that a subscription gets a message at that time; `name` is never the same twice.
    pub(crate) async fn note(&self, subscription: &str, due: Timestamp, name: &str) -> Result<()> {
        let row = put(&key(NOTE, subscription, due, name), Vec::new());
        self.store.commit(vec![row]).await.map(drop)
    }

    /// Takes a note back.
    pub(crate) async fn forget(&self, subscription: &str, due: Timestamp, name: &str) -> Result<()> {
        let row = delete(&key(NOTE, subscription, due, name));
        self.store.commit(vec![row]).await.map(drop)
    }

    /// How many notes are not due yet; the others go.
    pub(crate) async fn noted(&self, subscription: &str, now: Timestamp) -> Result<u64> {
        let prefix = prefix(NOTE, subscription);
        self.drop_until(&prefix, now).await?;
        self.store.count(Table::Meta, &prefix).await
    }

    async fn drop_until(&self, prefix: &str, now: Timestamp) -> Result<()> {
        loop {
            let rows = page(&*self.store, prefix, None).await?;
            let over: Vec<Op> = rows
                .iter()
                .take_while(|(key, _)| due(key, prefix).is_some_and(|due| due <= now))
                .map(|(key, _)| delete(key))
                .collect();
            let whole = over.len() == PAGE;
            if !over.is_empty() {
                self.store.commit(over).await?;
            }
            if !whole {
                return Ok(());
            }
        }
    }
}

pub(crate) async fn page(
    store: &dyn StateStore,
    prefix: &str,
    after: Option<String>,
) -> Result<Vec<(String, Row)>> {
    let scan = Scan {
        table: Table::Meta,
        prefix: prefix.to_owned(),
        after,
        limit: PAGE,
    };
    store.scan(&scan).await
}

pub(crate) fn put(key: &str, value: Vec<u8>) -> Op {
    Op::Put {
        key: RowKey::new(Table::Meta, key),
        expect: Expect::Any,
        value,
    }
}

pub(crate) fn delete(key: &str) -> Op {
    Op::Delete {
        key: RowKey::new(Table::Meta, key),
        expect: Expect::Any,
    }
}

pub(crate) fn prefix(kind: &str, subscription: &str) -> String {
    format!("{kind}/{subscription}/")
}

/// Sorts by time.
pub(crate) fn key(kind: &str, subscription: &str, at: Timestamp, name: &str) -> String {
    format!("{}{:020}/{name}", prefix(kind, subscription), at.0.max(0))
}

/// The time in a key.
pub(crate) fn due(key: &str, prefix: &str) -> Option<Timestamp> {
    let digits = key.strip_prefix(prefix)?.get(..20)?;
    digits.parse().ok().map(Timestamp)
}
