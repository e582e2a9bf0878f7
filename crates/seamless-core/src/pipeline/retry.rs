//! Looking again at what was set aside, when its cause may be gone.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::Engine;
use super::ledger::Reason;
use super::mistakes::Mistake;
use super::state::{Parked, RecordKey, Rows, Track, TrackState};
use crate::contract::{Expect, MessageId, Nudge, Op, RowKey, Scan, Side, Table};
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
                ops.push(self.hint(&record)?);
                if parked.reason == Reason::ParkedNotLanded {
                    ops.push(Op::Delete {
                        key: row_key,
                        expect: Expect::Version(row.version),
                    });
                }
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
                ops.push(self.hint(&RecordKey::new(id, side, &nudge.id))?);
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
        let looked = self.look_at_tracked(|_, track| messages.contains(&track.message));
        looked.await.map(drop)
    }

    /// Where a bus holds fewer messages for a system than are known to be under way, some were lost: a queue was purged, or the store comes from
    /// a backup and the messages were settled since. Nothing would publish them again, for their content is known; so the records are looked
    /// at, and events are published again. Returns how many of both. Called at the start of a host and now and then: other messages may hide what is
    /// missing until they are settled. A record that is looked at needlessly, because its message was published or settled meanwhile, costs reads only.
    pub async fn look_for_lost_messages(&self) -> Result<u64> {
        let events = self.put_out_lost_events().await?;
        let mut under_way: BTreeMap<&SystemId, u64> = BTreeMap::new();
        self.each_row(Table::Track, |key, row| {
            let track: Track = Rows::plain(&key, &row)?;
            if track.state == TrackState::Confirmed
                && let Some(record) = self.record_of(&key.key)
            {
                *under_way.entry(self.target_of(&record)?).or_default() += 1;
            }
            Ok(true)
        })
        .await?;
        let mut lost = BTreeSet::new();
        for (system, count) in under_way {
            if self.bus.depth(system.as_str()).await? < count {
                lost.insert(system);
            }
        }
        if lost.is_empty() || self.mistakes.has(Mistake::LostMessagesForgotten) {
            return Ok(events);
        }
        let looked = self.look_at_tracked(|record, track| {
            let target = self.target_of(record);
            track.state == TrackState::Confirmed && target.is_ok_and(|target| lost.contains(target))
        });
        let records = looked.await?;
        tracing::warn!(
            records,
            "messages are missing on the bus: it was purged, or the store comes from a backup; their records are looked at again"
        );
        Ok(records + events)
    }

    /// Looks again at the records whose track is `wanted`.
    async fn look_at_tracked(&self, wanted: impl Fn(&RecordKey, &Track) -> bool + Send) -> Result<u64> {
        let (mut after, mut count) = (None, 0);
        loop {
            let scan = Scan {
                table: Table::Track,
                prefix: String::new(),
                after: after.take(),
                limit: 5_000,
            };
            let rows = self.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(count);
            };
            after = Some(last.clone());
            let mut ops = Vec::new();
            for (key, row) in &rows {
                let track: Track = Rows::plain(&RowKey::new(Table::Track, key.clone()), row)?;
                let Some(record) = self.record_of(key).filter(|record| wanted(record, &track)) else {
                    continue;
                };
                ops.push(self.hint(&record)?);
                // Whoever looks at it settles it: nothing is under way any more.
                let settled = Track {
                    state: TrackState::Settled,
                    ..track
                };
                let row_key = RowKey::new(Table::Track, key.clone());
                ops.push(Rows::put_plain(row_key, Expect::Version(row.version), &settled)?);
                count += 1;
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
    /// counterpart restored. Looking again costs reads only. What the other side *refused* is not among them: trying again would be a write. What never
    /// landed is, for nothing said no to the record: it costs one create.
    pub const MAY_BE_CURED: [Reason; 7] = [
        Reason::ParkedAmbiguous,
        Reason::ParkedSuspectedDuplicate,
        Reason::ParkedCopiedReference,
        Reason::ParkedRequired,
        Reason::ParkedReference,
        Reason::ParkedCounterpartGone,
        Reason::ParkedNotLanded,
    ];
}
