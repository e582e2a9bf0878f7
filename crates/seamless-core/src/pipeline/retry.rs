//! Looking again at what was set aside, when its cause may be gone.

use super::engine::Engine;
use super::ledger::Reason;
use super::state::{Hint, Parked, RecordKey, Rows, Track, TrackState, hint_row};
use crate::contract::{Expect, MessageId, Nudge, RowKey, Scan, Side, Table};
use crate::error::Result;
use crate::record::{RecordId, SyncId, SystemId};

/// Rows looked at in one go.
const PAGE: usize = 500;

impl Engine {
    /// Looks again at every record parked for one of these reasons: people may have told twins apart, or accepted a first merge. Writes nothing by itself.
    /// Returns how many. Called at the start of a host.
    pub async fn look_again(&self, reasons: &[Reason]) -> Result<u64> {
        let mut after = None;
        let mut count = 0;
        loop {
            let scan = Scan {
                table: Table::Parked,
                prefix: String::new(),
                after: after.take(),
                limit: PAGE,
            };
            let rows = self.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(count);
            };
            after = Some(last.clone());
            let mut ops = Vec::new();
            for (key, row) in &rows {
                let row_key = RowKey::new(Table::Parked, key.clone());
                let parked: Parked = self.typed().sealed(&row_key, row)?;
                let Some(record) = self.record_of(key).filter(|_| reasons.contains(&parked.reason)) else {
                    continue;
                };
                let target = &self.sync(&record.sync)?.side(record.side.other()).system;
                let hint = Hint {
                    record: record.clone(),
                };
                ops.push(Rows::put_plain(
                    hint_row(target, self.clock.now(), &record),
                    Expect::Any,
                    &hint,
                )?);
                count += 1;
            }
            self.store.commit(ops).await?;
        }
    }

    /// Looks at the records that a system's events name, whatever else they say. Events about entities that no sync uses mean nothing. Returns how many
    /// records will be looked at.
    pub async fn nudge(&self, system: &SystemId, nudges: &[Nudge]) -> Result<u64> {
        let mut ops = Vec::new();
        for nudge in nudges {
            for (id, sync) in &self.syncs {
                let named = |side: &Side| {
                    let spec = sync.side(*side);
                    spec.system == *system && spec.mapping.entity == nudge.entity
                };
                let Some(side) = Side::BOTH.into_iter().find(named) else {
                    continue;
                };
                let record = RecordKey::new(id, side, &nudge.id);
                let row = hint_row(&sync.side(side.other()).system, self.clock.now(), &record);
                ops.push(Rows::put_plain(row, Expect::Any, &Hint { record })?);
            }
        }
        let count = ops.len() as u64;
        if count > 0 {
            self.store.commit(ops).await?;
        }
        Ok(count)
    }

    /// Messages that cannot be opened say nothing of their record, but its track knows the message: the record is looked at again.
    pub(crate) async fn look_at_records_of(&self, messages: &[MessageId]) -> Result<()> {
        let mut after = None;
        loop {
            let scan = Scan {
                table: Table::Track,
                prefix: String::new(),
                after: after.take(),
                limit: 5_000,
            };
            let rows = self.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut ops = Vec::new();
            for (key, row) in &rows {
                let track: Track = Rows::plain(&RowKey::new(Table::Track, key.clone()), row)?;
                let Some(record) = self.record_of(key).filter(|_| messages.contains(&track.message)) else {
                    continue;
                };
                let target = &self.sync(&record.sync)?.side(record.side.other()).system;
                let hint = Hint {
                    record: record.clone(),
                };
                ops.push(Rows::put_plain(
                    hint_row(target, self.clock.now(), &record),
                    Expect::Any,
                    &hint,
                )?);
                // Whoever looks at it settles it: nothing is under way any more.
                let settled = Track {
                    state: TrackState::Settled,
                    ..track
                };
                let row_key = RowKey::new(Table::Track, key.clone());
                ops.push(Rows::put_plain(row_key, Expect::Version(row.version), &settled)?);
            }
            self.store.commit(ops).await?;
        }
    }

    /// The record that a row's key names; `None` when its sync is not configured.
    pub fn record_of(&self, path: &str) -> Option<RecordKey> {
        let mut words = path.splitn(3, '/');
        let (sync, side, id) = (words.next()?, words.next()?, words.next()?);
        let side = Side::BOTH
            .into_iter()
            .find(|known| known.letter().to_string() == side)?;
        self.syncs
            .get_key_value(&SyncId::from(sync))
            .map(|(sync, _)| RecordKey::new(sync, side, &RecordId::from(id)))
    }
}

impl Reason {
    /// Reasons whose cause can go away without an edit of the record itself: twins told apart, a default configured, a parent's sync added, a
    /// counterpart restored. Looking again costs reads only. What the other side *refused* is not among them: trying again would be a write.
    pub const MAY_BE_CURED: [Reason; 6] = [
        Reason::ParkedAmbiguous,
        Reason::ParkedSuspectedDuplicate,
        Reason::ParkedCopiedReference,
        Reason::ParkedRequired,
        Reason::ParkedReference,
        Reason::ParkedCounterpartGone,
    ];
}
