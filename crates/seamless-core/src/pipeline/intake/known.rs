//! What the store knows of a record, and whether what was read of it is news (R2).

use std::collections::BTreeMap;

use crate::contract::{Expect, Op, Row, RowKey, Side, Table};
use crate::error::Result;
use crate::mapping::Observed;
use crate::pipeline::engine::Engine;
use crate::pipeline::ledger::Reason;
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::{
    ClaimHolder, Link, Pair, Parked, RecordKey, Rows, Track, TrackState, WriteBack, expect_of, pair_row_of,
};

/// What the store knows of a record.
pub(in crate::pipeline) struct Known {
    track: Option<Track>,
    pub(super) track_expect: Expect,
    pub(in crate::pipeline) pair: Option<Pair>,
    pub(in crate::pipeline) pair_expect: Expect,
    pub(in crate::pipeline) link: Option<Link>,
    /// An id is on its way into its cross-reference field already.
    pub(in crate::pipeline) write_back: Option<WriteBack>,
    parked: Option<Parked>,
    pub(in crate::pipeline) intent_open: bool,
}

impl Known {
    /// A person cleared the cross-reference of a linked record: the store's link is the truth, and it is written again (R9).
    pub(in crate::pipeline) fn restore_xref(
        &self,
        engine: &Engine,
        sync: &SyncSpec,
        key: &RecordKey,
        observed: &Observed,
    ) -> Result<Option<Op>> {
        let Some(link) = &self.link else { return Ok(None) };
        if sync.side(key.side).mapping.xref.is_none() || observed.xref.is_some() {
            return Ok(None);
        }
        // One that clears the field is from before they were linked.
        let again = self.write_back.clone().filter(|row| row.xref == link.other);
        if again.as_ref().is_some_and(|row| row.parked.is_some()) {
            return Ok(None);
        }
        // One that is under way may have been written before the field was cleared: written down anew, it is not finished by that.
        let row = again.unwrap_or_else(|| WriteBack::new(link.other.clone(), engine.clock.now()));
        Ok(Some(Rows::put_plain(
            key.row(Table::WriteBack),
            Expect::Any,
            &row,
        )?))
    }

    /// Nothing that was published of it is still under way.
    pub(in crate::pipeline) fn is_settled(&self) -> bool {
        self.track
            .as_ref()
            .is_none_or(|track| track.state == TrackState::Settled)
    }

    pub(in crate::pipeline) async fn load(
        engine: &Engine,
        sync: &SyncSpec,
        keys: &[RecordKey],
    ) -> Result<Vec<Known>> {
        let mut rows = Vec::with_capacity(keys.len() * 5);
        for key in keys {
            rows.push(key.row(Table::Track));
            rows.push(key.row(Table::Link));
            rows.push(key.row(Table::Parked));
            rows.push(key.row(Table::WriteBack));
            rows.push(RowKey::new(
                Table::Claim,
                engine.record_claim(sync, key.side, &key.id),
            ));
        }
        let found = engine.store.get(&rows).await?;
        let links: Result<Vec<Option<Link>>> = (0..keys.len())
            .map(|i| optional(&rows[i * 5 + 1], &found[i * 5 + 1]))
            .collect();
        let links = links?;
        let mut linked = Vec::new();
        let mut pair_keys = Vec::new();
        for (index, (key, link)) in keys.iter().zip(&links).enumerate() {
            if let Some(link) = link {
                linked.push(index);
                pair_keys.push(pair_row_of(key, &link.other));
            }
        }
        let pair_rows = engine.store.get(&pair_keys).await?;
        let mut pairs: BTreeMap<usize, (Pair, Expect)> = BTreeMap::new();
        for ((index, key), row) in linked.into_iter().zip(&pair_keys).zip(&pair_rows) {
            if let Some(row) = row {
                pairs.insert(
                    index,
                    (engine.typed().sealed(key, row)?, Expect::Version(row.version)),
                );
            }
        }
        let mut known = Vec::with_capacity(keys.len());
        for (index, link) in links.into_iter().enumerate() {
            let at = index * 5;
            let parked = match &found[at + 2] {
                Some(row) => Some(engine.typed().sealed(&rows[at + 2], row)?),
                None => None,
            };
            let claim: Option<ClaimHolder> = optional(&rows[at + 4], &found[at + 4])?;
            let (pair, pair_expect) = pairs
                .remove(&index)
                .map_or((None, Expect::Absent), |(pair, expect)| (Some(pair), expect));
            known.push(Known {
                track: optional(&rows[at], &found[at])?,
                track_expect: expect_of(found[at].as_ref()),
                pair,
                pair_expect,
                link,
                write_back: optional(&rows[at + 3], &found[at + 3])?,
                parked,
                intent_open: matches!(claim, Some(ClaimHolder::Intent(_))),
            });
        }
        Ok(known)
    }

    pub(in crate::pipeline) fn says_nothing_new(
        &self,
        engine: &Engine,
        sync: &SyncSpec,
        side: Side,
        observed: &Observed,
        content: &str,
    ) -> bool {
        if let Some(parked) = &self.parked
            && (parked.content == content || parked.reason == Reason::Ignored)
            && !(parked.reason.awaits_person() && observed.xref.is_some())
            && !engine.mistakes.has(Mistake::ParkedRepublished)
        {
            return true;
        }
        let published = self.track.as_ref().filter(|track| track.content == content);
        if published.is_some_and(|track| track.state == TrackState::Confirmed)
            && !engine.mistakes.has(Mistake::OpenRepublished)
        {
            return true;
        }
        let Some(pair) = &self.pair else { return false };
        let was_decided = pair.decided[side.index()].as_deref() == Some(content);
        let settled_here = was_decided || equals_half(sync, side, pair, observed, engine);
        if engine.mistakes.has(Mistake::IntakeComparesWithBaseOnly) {
            return settled_here;
        }
        let is_settled = |track: &Track| track.state == TrackState::Settled;
        // What was decided on when the record was looked at again was never published.
        let by_a_look = was_decided && self.parked.is_none() && self.track.as_ref().is_some_and(is_settled);
        let was_told = self.track.is_none() || published.is_some_and(is_settled) || by_a_look;
        // What waits for a change may wait for the way back to what was agreed on.
        let waits = self.parked.is_some() || !pair.blocked.is_empty();
        settled_here && !self.intent_open && (was_told || self.is_settled() && !waits)
    }
}

/// Whether every field equals this side's half of the base.
fn equals_half(sync: &SyncSpec, side: Side, pair: &Pair, observed: &Observed, engine: &Engine) -> bool {
    let other = &sync.side(side.other()).mapping.fields;
    let half = if engine.mistakes.has(Mistake::OneBaseValue) {
        0
    } else {
        side.index()
    };
    observed.broken.is_empty()
        && observed.fields.iter().all(|(name, value)| {
            let Some(spec) = sync.model.fields.get(name) else {
                return true;
            };
            let flows = spec.direction.unwrap_or(sync.direction).flows_from(side);
            if spec.passenger || !flows || !other.contains_key(name) {
                return true;
            }
            pair.base
                .get(name)
                .is_some_and(|halves| !halves[half].is_dirty(value))
        })
}

fn optional<T: serde::de::DeserializeOwned>(key: &RowKey, row: &Option<Row>) -> Result<Option<T>> {
    row.as_ref().map(|row| Rows::plain(key, row)).transpose()
}
