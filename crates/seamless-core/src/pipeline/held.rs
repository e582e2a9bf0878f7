//! Fields that wait alone: the rest of their records flows, and they go on by themselves once the cause is gone.

use std::collections::BTreeMap;

use super::conflict::ASKED;
use super::engine::Engine;
use super::state::RecordKey;
use crate::contract::Table;
use crate::error::Result;
use crate::record::{RecordId, SyncId};

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
    /// gone. What the other side refused is tried again. Returns how many. Called when the mapping changed, and by a running host now and then;
    /// never at a start, because a run that follows a finished one has nothing to write.
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
}
