//! When somebody begins to watch, or nobody watches any more.

use std::collections::BTreeSet;

use super::watches;
use crate::contract::{Expect, Op, RowKey, Scan, Table};
use crate::error::Result;
use crate::pipeline::engine::Engine;
use crate::pipeline::state::{Rows, cursor_row};

const PREFIX: &str = "watched/";
const PAGE: usize = 500;

impl Engine {
    /// At the start of a host: what is watched from now on is read once from the beginning, so that its first change is not the first look at it; and what
    /// nobody watches any more is forgotten, so that a later watch begins anew. Safe to repeat.
    pub async fn settle_in_watches(&self) -> Result<()> {
        let watches = watches(self);
        let mut wanted = BTreeSet::new();
        for ((system, native), watches) in &watches {
            let cursor = cursor_row(system, native);
            for watch in watches {
                let path = format!("{system}/{}", watch.sync.model.name);
                let key = RowKey::new(Table::Meta, format!("{PREFIX}{path}"));
                let fields = watch.fields();
                let row = self.store.get(std::slice::from_ref(&key)).await?.remove(0);
                let known: Option<BTreeSet<String>> = row.map(|row| Rows::plain(&key, &row)).transpose()?;
                wanted.insert(path);
                if known.as_ref() == Some(&fields) {
                    continue;
                }
                let mut ops = vec![Rows::put_plain(key, Expect::Any, &fields)?];
                if !known.is_some_and(|known| fields.is_subset(&known)) {
                    ops.push(Op::Delete {
                        key: cursor.clone(),
                        expect: Expect::Any,
                    });
                }
                self.store.commit(ops).await?;
            }
        }
        self.forget_unwatched(&wanted).await
    }

    async fn forget_unwatched(&self, wanted: &BTreeSet<String>) -> Result<()> {
        let scan = |table, prefix: &str| Scan {
            table,
            prefix: prefix.to_owned(),
            after: None,
            limit: PAGE,
        };
        for (key, _) in self.store.scan(&scan(Table::Meta, PREFIX)).await? {
            let path = key.strip_prefix(PREFIX).unwrap_or_default().to_owned();
            if wanted.contains(&path) {
                continue;
            }
            let delete = |table, key| Op::Delete {
                key: RowKey::new(table, key),
                expect: Expect::Any,
            };
            loop {
                let rows = self
                    .store
                    .scan(&scan(Table::Watched, &format!("{path}/")))
                    .await?;
                if rows.is_empty() {
                    break;
                }
                let gone = rows.into_iter().map(|(key, _)| delete(Table::Watched, key));
                self.store.commit(gone.collect()).await?;
            }
            // Last: after a crash in between, the rest is forgotten at the next start.
            self.store.commit(vec![delete(Table::Meta, key)]).await?;
        }
        Ok(())
    }
}
