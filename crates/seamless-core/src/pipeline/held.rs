//! Fields that wait alone: the rest of their records flows, and they go on by themselves once the cause is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conflict::ASKED;
use super::engine::Engine;
use super::state::{RecordKey, Rows};
use crate::contract::{Expect, RowKey, Table};
use crate::error::Result;
use crate::record::{RecordId, SyncId};
use crate::value::Timestamp;

/// A linked record with fields that wait alone.
pub(super) struct HeldFields {
    /// The record on the first side.
    pub(super) record: RecordKey,
    /// Its counterpart.
    pub(super) other: RecordId,
    /// Field → why it waits.
    pub(super) fields: BTreeMap<String, String>,
}

impl Engine {
    /// Linked records with fields that wait alone, of one sync or of all, as far as they are wanted; at most `max`.
    pub(super) async fn held(
        &self,
        sync: Option<&SyncId>,
        max: usize,
        wanted: impl Fn(&HeldFields) -> bool + Send,
    ) -> Result<Vec<HeldFields>> {
        let mut records = Vec::new();
        self.each_row(Table::Held, |key, _| {
            let record = self.record_of(&key.key);
            records.extend(record.filter(|record| sync.is_none_or(|sync| record.sync == *sync)));
            Ok(true)
        })
        .await?;
        let mut held = Vec::new();
        for record in records {
            if held.len() >= max {
                break;
            }
            if let Some((link, pair, _)) = self.pair_of(&record).await? {
                let found = HeldFields {
                    record,
                    other: link.other,
                    fields: pair.blocked,
                };
                held.extend(wanted(&found).then_some(found));
            }
        }
        Ok(held)
    }

    /// Has every record of a sync looked at again that has a field waiting for something else than a person: an option may be back, a rule may be
    /// gone. What the other side refused is tried again. Returns how many. Called when the mapping changed, and now and then; never at each start,
    /// because a run that follows a finished one has nothing to write.
    pub async fn look_again_at_held(&self, sync: &SyncId) -> Result<u64> {
        let mut count = 0;
        let curable = |held: &HeldFields| held.fields.values().any(|why| why != ASKED);
        for held in self.held(Some(sync), usize::MAX, curable).await? {
            let other = RecordKey::new(sync, held.record.side.other(), &held.other);
            // A record that is set aside as a whole brings no field.
            let aside = [&held.record, &other].map(|record| record.row(Table::Parked));
            if self.store.get(&aside).await?.iter().any(Option::is_some) {
                continue;
            }
            let mut ops = Vec::new();
            for record in [held.record, other] {
                ops.push(self.hint(&record)?);
            }
            self.store.commit(ops).await?;
            count += 1;
        }
        Ok(count)
    }

    /// The same for all syncs. Notes when it was begun, once it is done: after a crash in between it is done again.
    pub async fn look_again_at_all_held(&self) -> Result<u64> {
        let now = Rows::put_plain(looked_row(), Expect::Any, &self.clock.now())?;
        let mut count = 0;
        for sync in self.syncs.keys() {
            count += self.look_again_at_held(sync).await?;
        }
        self.store.commit(vec![now]).await?;
        Ok(count)
    }

    /// The same for runs that end, if it was not done for `every`. A clock that was set back makes it due.
    pub async fn look_again_at_all_held_if_due(&self, every: Duration) -> Result<u64> {
        let row = self.store.get(&[looked_row()]).await?.remove(0);
        let looked: Option<Timestamp> = row.map(|row| Rows::plain(&looked_row(), &row)).transpose()?;
        let now = self.clock.now();
        match looked {
            Some(looked) if looked <= now && now < looked.plus(every) => Ok(0),
            _ => self.look_again_at_all_held().await,
        }
    }
}

/// When the fields that wait were last looked at.
fn looked_row() -> RowKey {
    RowKey::new(Table::Meta, "held-looked-at")
}
