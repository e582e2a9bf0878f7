//! What is wrong with a record, and what is done about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Conduct, Drift, DriftField, DriftKind, DriftThen, Pass, Sweep};
use crate::contract::{Expect, Side};
use crate::error::{ErrorKind, Result};
use crate::mapping::Observed;
use crate::pipeline::engine::Engine;
use crate::pipeline::intake::{Fresh, Known};
use crate::pipeline::merge::{Fate, Half};
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::{OnDrift, SyncSpec};
use crate::pipeline::state::{Cursor, RecordKey, Rows, cursor_row, pair_row_of};
use crate::record::{NativeRecord, RecordId, Stamp};
use crate::value::Value;

/// A record with something wrong about it.
struct Finding {
    key: RecordKey,
    observed: Observed,
    content: String,
    known: Known,
    drift: Vec<Drift>,
}

impl Sweep {
    /// Looks at the records of a page for every sync, acts, and moves the pass on.
    pub(super) async fn examine(
        &mut self,
        records: Vec<NativeRecord>,
        next: &Pass,
        expect: Expect,
    ) -> Result<Vec<Drift>> {
        let mut all = Vec::new();
        let mut fresh = Vec::new();
        let mut ops = self.progress(next, expect)?;
        for (sync, side) in self.poller.routes.clone() {
            for finding in self.confirmed(&sync, side, &records).await? {
                let flows = sync.sends_from(side);
                let Finding {
                    key,
                    observed,
                    content,
                    known,
                    drift,
                } = finding;
                let is_news = |drift: &Drift| matches!(drift.then, DriftThen::Published);
                if drift
                    .iter()
                    .any(|drift| drift.kind == DriftKind::ReferenceCleared)
                {
                    ops.extend(known.restore_xref(&self.poller.engine, &sync, &key, &observed)?);
                }
                if flows && drift.iter().any(is_news) {
                    let engine = &self.poller.engine;
                    fresh.push(Fresh::new(engine, &sync, key, observed, content, &known));
                }
                all.extend(drift);
            }
        }
        if self.conduct == Conduct::Look {
            return Ok(all);
        }
        self.note(&all, next).await?;
        for drift in all.iter_mut().filter(|drift| drift.then == DriftThen::Restored) {
            if !self.restore(drift).await? {
                drift.then = DriftThen::Busy;
            }
        }
        self.poller.publish(fresh, ops).await?;
        Ok(all)
    }

    /// What a page shows may be overtaken by the time our books are read: whatever looks wrong is read once more, and counts only if no
    /// commit about it came in between.
    async fn confirmed(
        &mut self,
        sync: &Arc<SyncSpec>,
        side: Side,
        records: &[NativeRecord],
    ) -> Result<Vec<Finding>> {
        let engine = self.poller.engine.clone();
        let first = self.find(sync, side, records).await?;
        if first.is_empty() {
            return Ok(first);
        }
        let before: BTreeMap<RecordId, Expect> = first
            .into_iter()
            .map(|finding| (finding.key.id, finding.known.pair_expect))
            .collect();
        let ids: Vec<RecordId> = before.keys().cloned().collect();
        let again: Vec<NativeRecord> = engine
            .fetch(sync, side, &ids)
            .await?
            .into_values()
            .map(|seen| seen.native)
            .collect();
        let mut second = self.find(sync, side, &again).await?;
        second.retain(|finding| {
            let unchanged = before.get(&finding.key.id) == Some(&finding.known.pair_expect);
            unchanged && !finding.known.intent_open
        });
        Ok(second)
    }

    async fn find(
        &mut self,
        sync: &Arc<SyncSpec>,
        side: Side,
        records: &[NativeRecord],
    ) -> Result<Vec<Finding>> {
        let engine = self.poller.engine.clone();
        if engine.mistakes.has(Mistake::NothingReconciled) {
            return Ok(Vec::new());
        }
        let polled = polled_since(&engine, sync, side).await?;
        let mut taken = BTreeSet::new();
        let observed: Vec<Observed> = records
            .iter()
            .filter(|record| taken.insert(record.id.clone()))
            .map(|record| sync.side(side).observe(record))
            .collect();
        let keys: Vec<RecordKey> = observed
            .iter()
            .map(|observed| RecordKey::new(&sync.id, side, &observed.id))
            .collect();
        let known = Known::load(&engine, sync, &keys).await?;
        let mut findings = Vec::new();
        for ((observed, key), known) in observed.into_iter().zip(keys).zip(known) {
            if known.link.is_some() {
                self.met.insert(key.id.clone());
            }
            let content = engine.content_hash(sync, &observed);
            let drift = drift_of(&engine, sync, &key, &observed, &content, &known, polled);
            if !drift.is_empty() {
                findings.push(Finding {
                    key,
                    observed,
                    content,
                    known,
                    drift,
                });
            }
        }
        Ok(findings)
    }

    /// Has the source's values written again: the halves say that the target's value is settled and the source's is not, and the merge does the rest.
    /// False when somebody is at work on one of the two.
    async fn restore(&self, drift: &Drift) -> Result<bool> {
        let engine = &*self.poller.engine;
        let sync = engine.sync(&drift.record.sync)?.clone();
        let Some(other) = &drift.other else {
            return Ok(false);
        };
        let source = RecordKey::new(&sync.id, drift.record.side.other(), other);
        let claims: BTreeSet<String> = [&drift.record, &source]
            .map(|record| engine.record_claim(&sync, record.side, &record.id))
            .into();
        let Some(held) = self.poller.claimant.take(engine, &[claims]).await?.remove(0) else {
            return Ok(false);
        };
        let mut ops = held.releases(engine);
        if let Some((link, mut pair, expect)) = engine.pair_of(&drift.record).await?
            && link.other == *other
        {
            let (s, t) = (source.side.index(), drift.record.side.index());
            for (name, field) in &drift.fields {
                if let Some(halves) = pair.base.get_mut(name) {
                    halves[s] = dirty_half(&halves[s], &field.found);
                    halves[t] = Half::Known(field.found.clone());
                }
            }
            let row = pair_row_of(&drift.record, other);
            ops.push(engine.typed().put_sealed(row, expect, &pair)?);
            ops.push(engine.hint(&source)?);
        }
        match engine.store.commit(ops).await {
            Err(error) if error.kind == ErrorKind::Conflict => {
                // Others need not wait for the end of a lease. If the claims were lost, there is nothing to let go.
                drop(engine.store.commit(held.releases(engine)).await);
                Ok(false)
            }
            done => done.map(|_| true),
        }
    }
}

/// A half that makes its side dirty. An empty source that was never seen empties nothing, so that an empty one is given what it does not hold.
fn dirty_half(half: &Half, found: &Value) -> Half {
    match half {
        Half::Known(value) if value.is_empty() => Half::Known(found.clone()),
        _ => Half::Cleared,
    }
}

/// From which stamp on the next poll reads; `None` when it reads everything, or nothing has been read yet.
async fn polled_since(engine: &Engine, sync: &SyncSpec, side: Side) -> Result<Option<Stamp>> {
    let spec = sync.side(side);
    let key = cursor_row(&spec.system, &spec.mapping.entity);
    let row = engine.store.get(std::slice::from_ref(&key)).await?.remove(0);
    let cursor: Option<Cursor> = row.map(|row| Rows::plain(&key, &row)).transpose()?;
    let capabilities = &spec.capabilities;
    let cursor = cursor
        .and_then(|cursor| cursor.cursor)
        .filter(|_| capabilities.incremental);
    Ok(cursor.map(|cursor| {
        crate::pipeline::start_of(
            cursor,
            capabilities.cursor_overlap,
            capabilities.cursor_granularity,
        )
    }))
}

fn drift_of(
    engine: &Engine,
    sync: &SyncSpec,
    key: &RecordKey,
    observed: &Observed,
    content: &str,
    known: &Known,
    polled: Option<Stamp>,
) -> Vec<Drift> {
    let side = key.side;
    let mut found = Vec::new();
    let mut add = |kind, then, fields| {
        found.push(Drift {
            record: key.clone(),
            other: known.link.as_ref().map(|link| link.other.clone()),
            kind,
            then,
            fields,
        });
    };
    if let Some(link) = &known.link
        && sync.side(side).mapping.xref.is_some()
        && known.write_back.is_none()
    {
        match observed.xref.as_deref() {
            None => add(
                DriftKind::ReferenceCleared,
                DriftThen::WrittenBack,
                BTreeMap::new(),
            ),
            Some(named) if named != link.other.as_str() => {
                add(DriftKind::ReferenceChanged, DriftThen::Reported, BTreeMap::new());
            }
            Some(_) => {}
        }
    }
    let fields = differing(sync, side, observed, known, |flows| flows);
    // Our own last write is published once more by a poll, and says nothing: here it is no find.
    let as_settled = known
        .pair
        .as_ref()
        .is_some_and(|pair| pair.mapping[side.index()] == sync.side(side).mapping_version())
        && fields.is_empty()
        && observed.broken.is_empty()
        && known.is_settled();
    if sync.sends_from(side) && !as_settled && !known.says_nothing_new(engine, sync, side, observed, content)
    {
        let seen = known.pair.as_ref().and_then(|pair| pair.seen[side.index()]);
        let changed = observed.stamp.max(observed.created);
        let a_poll_brings_it = polled.is_none_or(|since| changed >= Some(since) && changed > seen);
        let kind = if a_poll_brings_it {
            DriftKind::Recent
        } else {
            DriftKind::Missed
        };
        let fields = fields.into_iter().map(|(name, (field, _))| (name, field));
        add(kind, DriftThen::Published, fields.collect());
    }
    let mut against: BTreeMap<DriftThen, BTreeMap<String, DriftField>> = BTreeMap::new();
    for (name, (field, on_drift)) in differing(sync, side, observed, known, |flows| !flows) {
        let then = match on_drift {
            OnDrift::Keep => DriftThen::Kept,
            OnDrift::Report => DriftThen::Reported,
            // A field that is required cannot be emptied, whatever the source says.
            OnDrift::Restore if is_required(sync, side, &name) && source_has_none(known, side, &name) => {
                DriftThen::Reported
            }
            OnDrift::Restore => DriftThen::Restored,
        };
        // What was never settled here was never ours to keep.
        if field.settled.is_some() {
            against.entry(then).or_default().insert(name, field);
        }
    }
    for (then, fields) in against {
        add(DriftKind::AgainstFlow, then, fields);
    }
    found
}

/// Fields that differ from this side's half of the base, among those that flow from here or among those that do not.
fn differing(
    sync: &SyncSpec,
    side: Side,
    observed: &Observed,
    known: &Known,
    wanted: impl Fn(bool) -> bool,
) -> BTreeMap<String, (DriftField, OnDrift)> {
    let there = &sync.side(side.other()).mapping.fields;
    let Some(pair) = &known.pair else {
        return BTreeMap::new();
    };
    // Halves of an older mapping are put into today's words by the applier.
    if pair.mapping[side.index()] != sync.side(side).mapping_version() {
        return BTreeMap::new();
    }
    let mut fields = BTreeMap::new();
    for (name, spec) in &sync.model.fields {
        let Some(found) = observed.fields.get(name) else {
            continue;
        };
        // What is not in the record was not read.
        if observed.absent.contains(name)
            || spec.passenger
            || !there.contains_key(name)
            || !wanted(sync.flow_of(spec).flows_from(side))
        {
            continue;
        }
        let half = pair.base.get(name).map(|halves| &halves[side.index()]);
        let settled = match half {
            Some(Half::Known(value)) if value == found || spec.compare.same(value, found) => continue,
            Some(Half::Known(value)) => Some(value.clone()),
            // What never arrived is nobody's edit here: the field waits, and is written again.
            Some(Half::Unseen(write)) if write.fate(spec.compare, side, found) != Fate::EditedSince => {
                continue;
            }
            Some(Half::Unseen(write)) => Some(write.sent.clone()),
            Some(Half::Cleared) | None => None,
        };
        let field = DriftField {
            settled,
            found: found.clone(),
        };
        fields.insert(name.clone(), (field, spec.on_drift));
    }
    fields
}

fn is_required(sync: &SyncSpec, side: Side, name: &str) -> bool {
    let field = sync.side(side).mapping.fields.get(name);
    field.is_some_and(|field| field.required)
}

fn source_has_none(known: &Known, side: Side, name: &str) -> bool {
    let halves = known.pair.as_ref().and_then(|pair| pair.base.get(name));
    halves
        .is_some_and(|halves| matches!(&halves[side.other().index()], Half::Known(value) if value.is_empty()))
}
