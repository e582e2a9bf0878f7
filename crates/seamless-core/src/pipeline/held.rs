//! Fields that wait alone: the rest of their records flows, and they go on by themselves once the cause is gone.

use std::collections::BTreeMap;

use super::conflict::ASKED;
use super::engine::Engine;
use super::state::{Hint, RecordKey, Rows, hint_row};
use crate::contract::{Expect, Row, RowKey, Scan, Table};
use crate::error::Result;
use crate::record::{RecordId, SyncId};

/// A linked record with fields that wait alone.
#[derive(Clone)]
pub struct Held {
    /// The record on the first side.
    pub record: RecordKey,
    /// Its counterpart.
    pub other: RecordId,
    /// Field → why it waits.
    pub fields: BTreeMap<String, String>,
}

impl Engine {
    /// Linked records with fields that wait alone, at most `max`.
    pub async fn held(&self, max: usize) -> Result<Vec<Held>> {
        let mut records = Vec::new();
        self.each_row(Table::Held, |key, _| {
            records.extend(self.record_of(&key.key));
            Ok(records.len() < max)
        })
        .await?;
        let mut held = Vec::with_capacity(records.len());
        for record in records {
            if let Some((link, pair, _)) = self.pair_of(&record).await? {
                held.push(Held {
                    record,
                    other: link.other,
                    fields: pair.blocked,
                });
            }
        }
        Ok(held)
    }

    /// Has every record of a sync looked at again that has a field waiting for something else than a person: an option may be back, a rule may be
    /// gone. What the other side refused is tried again. Returns how many. Called when the mapping changed, and by a running host now and then;
    /// never at a start, because a run that follows a finished one has nothing to write.
    pub async fn look_again_at_held(&self, sync: &SyncId) -> Result<u64> {
        let mut count = 0;
        for held in self.held(usize::MAX).await? {
            if held.record.sync != *sync || held.fields.values().all(|why| why == ASKED) {
                continue;
            }
            let other = RecordKey::new(sync, held.record.side.other(), &held.other);
            let mut ops = Vec::new();
            for record in [held.record, other] {
                let target = &self.sync(sync)?.side(record.side.other()).system;
                let row = hint_row(target, self.clock.now(), &record);
                ops.push(Rows::put_plain(row, Expect::Any, &Hint { record })?);
            }
            self.store.commit(ops).await?;
            count += 1;
        }
        Ok(count)
    }

    /// Walks over the rows of a table; the visitor ends it with `false`.
    pub(crate) async fn each_row(
        &self,
        table: Table,
        mut visit: impl FnMut(RowKey, Row) -> Result<bool> + Send,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let scan = Scan {
                table,
                prefix: String::new(),
                after: after.take(),
                limit: 500,
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
