//! The one commit in which a record's outcome becomes state: link, base, seen versions, ledger, intent, claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::item::{End, Item};
use crate::contract::{Expect, MessageId, Op, RowKey, Scan, Side, Table};
use crate::error::{ErrorKind, Result};
use crate::mapping::{FieldKind, Observed};
use crate::pipeline::events::OwnWrite;
use crate::pipeline::ledger::{Entry, Reason};
use crate::pipeline::merge::{Base, FieldWrite, Half, Why};
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::{
    Hint, Link, Pair, Parked, RecordKey, Rewrite, Rows, Track, TrackState, WriteBack, expect_of, hint_row,
    pair_row_of, waiting_anchor, waiting_row,
};
use crate::pipeline::{CommitReceipt, Engine};
use crate::record::{RecordId, Stamp};
use crate::value::Timestamp;

/// A write that landed, or a pair that needed none.
pub(crate) struct Landing {
    pub(crate) sync: Arc<SyncSpec>,
    pub(crate) key: RecordKey,
    pub(crate) source_stamp: Option<Stamp>,
    pub(crate) source_content: String,
    pub(crate) target: RecordId,
    pub(crate) target_stamp: Option<Stamp>,
    pub(crate) target_xref: Option<String>,
    pub(crate) readback: Option<Observed>,
    pub(crate) writes: BTreeMap<String, FieldWrite>,
    pub(crate) planned: Base,
    pub(crate) blocked: BTreeMap<String, String>,
    pub(crate) pending: BTreeMap<String, RecordKey>,
    pub(crate) pair: Pair,
    pub(crate) pair_expect: Expect,
    pub(crate) new_link: Option<(Reason, String)>,
    /// Mapping versions that the halves are written under.
    pub(crate) mapping: [u64; 2],
    pub(crate) hint_target: bool,
    /// Records to be taken in although they are left out.
    pub(crate) pulls: Vec<RecordKey>,
    pub(crate) first_merge: u64,
    pub(crate) messages: Vec<MessageId>,
    pub(crate) release: Vec<Op>,
    pub(crate) entries: Vec<Entry>,
}

/// A record's outcome, ready to be turned into operations.
struct Outcome {
    sync: Arc<SyncSpec>,
    key: RecordKey,
    messages: Vec<MessageId>,
    release: Vec<Op>,
    pair: Option<(RecordId, Pair, Expect)>,
    linked: bool,
    wrote_target: bool,
    parked: Option<Parked>,
    pending: BTreeMap<String, RecordKey>,
    hint_target: Option<RecordKey>,
    pulls: Vec<RecordKey>,
    write_backs: Vec<(RecordKey, RecordId)>,
    first_merge: u64,
    entries: Vec<Entry>,
    /// What was written into a watched record.
    own_write: Option<OwnWrite>,
    /// The record was created, and looked like this.
    born: Option<Observed>,
}

/// Commits the items that end without a write.
pub(super) async fn finish(engine: &Engine, items: &mut [Item]) -> Result<()> {
    let mut outcomes = Vec::new();
    let mut indexes = Vec::new();
    for (index, item) in items.iter_mut().enumerate() {
        if !matches!(item.end, Some(End::Commit { .. })) {
            continue;
        }
        let Some(End::Commit { parked, entries }) = item.end.take() else {
            continue;
        };
        outcomes.push(outcome_of(engine, item, parked, entries));
        indexes.push(index);
    }
    for (index, receipt) in indexes.into_iter().zip(commit_all(engine, outcomes).await?) {
        // Released by the commit, or lost: either way not held any more.
        items[index].held = Default::default();
        items[index].end = Some(match receipt {
            Some(receipt) => End::Done(receipt),
            None => End::Defer(engine.timings.defer_min),
        });
    }
    Ok(())
}

/// Commits writes that landed. `None` where the claim was lost: the intent is somebody else's now.
pub(crate) async fn commit_landed(
    engine: &Engine,
    landings: Vec<Landing>,
) -> Result<Vec<Option<CommitReceipt>>> {
    let outcomes = landings
        .into_iter()
        .map(|landing| outcome_of_landing(engine, landing))
        .collect();
    commit_all(engine, outcomes).await
}

/// Ledger entries for links, conflicts and waiting fields of an item.
pub(super) fn entries_of(item: &Item, now: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    let add = |entries: &mut Vec<Entry>, reason: Reason, note: String| {
        let mut entry = Entry::new(now, &item.key, reason, note);
        entry.other = item.target_id().cloned();
        entries.push(entry);
    };
    if let Some((reason, note)) = &item.new_link {
        add(&mut entries, *reason, note.clone());
    }
    for conflict in &item.merge.conflicts {
        let reason = if conflict.winner == item.side() {
            Reason::ConflictWon
        } else {
            Reason::ConflictLost
        };
        let winner = &item.sync.side(conflict.winner).system;
        let when = if conflict.first_merge {
            "differed when they were linked"
        } else {
            "was changed on both sides"
        };
        add(
            &mut entries,
            reason,
            format!("{} {when}; {winner} wins", conflict.field),
        );
    }
    for (field, reason) in &item.merge.blocked {
        if item.pair.blocked.get(field) != Some(reason) {
            add(
                &mut entries,
                Reason::FieldBlocked,
                format!("{field} waits: {reason}"),
            );
        }
    }
    for (field, parent) in &item.pending {
        let note = format!("{field} is left out until {} has a counterpart", parent.path());
        add(&mut entries, Reason::ReferencePending, note);
    }
    entries
}

fn outcome_of(engine: &Engine, item: &mut Item, parked: Option<Parked>, entries: Vec<Entry>) -> Outcome {
    let mut release = item.held.releases(engine);
    release.extend(item.hints.iter().map(|(row, version)| Op::Delete {
        key: row.clone(),
        expect: Expect::Version(*version),
    }));
    let mut outcome = Outcome {
        sync: item.sync.clone(),
        key: item.key.clone(),
        messages: item.deliveries.iter().map(|(_, id)| id.clone()).collect(),
        release,
        pair: None,
        linked: false,
        wrote_target: false,
        parked,
        pending: BTreeMap::new(),
        hint_target: None,
        pulls: item.pulls.clone(),
        write_backs: Vec::new(),
        first_merge: 0,
        entries,
        own_write: None,
        born: None,
    };
    let (Some(source), Some(target), None) = (&item.source, &item.target, &outcome.parked) else {
        return outcome;
    };
    // A pair that needs no write: what was agreed, lost or seen still has to be kept.
    let (s, t) = (item.side().index(), item.other().index());
    let mut pair = Pair {
        base: item.merge.base.clone(),
        blocked: item.merge.blocked.clone(),
        ..item.pair.clone()
    };
    pair.mapping = versions(&item.sync);
    pair.decided[s] = Some(item.content(engine, source));
    pair.origins
        .retain(|field, _| item.pair.base.get(field) == item.merge.base.get(field));
    // What the target was decided on stands only as long as its halves do.
    let stands = engine.mistakes.has(Mistake::DecisionOutlivesHalf);
    if halves_changed(&item.pair, &pair, t) && !stands {
        pair.decided[t] = None;
    }
    let target_content = engine.content_hash(&item.sync, &target.observed);
    if item.merge.hint_target && pair.decided[t].as_ref() != Some(&target_content) {
        outcome.hint_target = Some(RecordKey::new(&item.sync.id, item.other(), &target.observed.id));
    }
    see(engine, &mut pair, s, source.stamp, t, target.observed.stamp);
    outcome.entries.extend(entries_of(item, engine.clock.now()));
    outcome.first_merge = item.merge.first_merge_overwrites();
    outcome.pending = item.pending.clone();
    if let Some((reason, _)) = &item.new_link {
        let by_person = *reason == Reason::LinkedByPerson;
        outcome.linked = true;
        engine.counters.linked.add(1);
        let target_key = RecordKey::new(&item.sync.id, item.other(), &target.observed.id);
        // The source's snapshot may be older than a person's clearing of its field: the write-back looks for itself.
        write_back(
            &item.sync,
            &item.key,
            None,
            &target.observed.id,
            &mut outcome.write_backs,
        );
        write_back(
            &item.sync,
            &target_key,
            // Who links by hand may have unlinked before: a clearing that is still to be written is taken back, whatever the field holds now.
            target.observed.xref.as_deref().filter(|_| !by_person),
            &item.key.id,
            &mut outcome.write_backs,
        );
    }
    engine.counters.conflicts.add(item.merge.conflicts.len() as u64);
    engine.counters.applied.add(1);
    if pair != item.pair || item.pair_expect == Expect::Absent {
        outcome.pair = Some((target.observed.id.clone(), pair, item.pair_expect));
    }
    outcome
}

/// What is said of a field that a system confirmed and did not write: it drops what it does not know, or says yes and means no.
const NOT_ARRIVED: &str = "the other side confirmed the write and holds what it held before: a rule there (a workflow rule) took it back, or the field is called otherwise, or is not writable";

fn outcome_of_landing(engine: &Engine, landing: Landing) -> Outcome {
    let Landing {
        sync,
        key,
        source_stamp,
        target,
        target_stamp,
        readback,
        writes,
        planned,
        new_link,
        ..
    } = landing;
    let (s, t) = (key.side.index(), key.side.other().index());
    let settled = landing.pair.base.clone();
    let mut origins = landing.pair.origins;
    origins.retain(|field, _| landing.pair.base.get(field) == planned.get(field));
    let given = |(field, write): (&String, &FieldWrite)| Some((field.clone(), write.origin.clone()?));
    origins.extend(writes.iter().filter_map(given));
    let mut pair = Pair {
        base: planned,
        blocked: landing.blocked,
        origins,
        ..landing.pair
    };
    pair.mapping = landing.mapping;
    pair.decided[s] = Some(landing.source_content);
    pair.decided[t] = None;
    let mut hint = landing.hint_target;
    let mut entries = landing.entries;
    let now = engine.clock.now();
    for (name, write) in writes.iter().filter(|(_, write)| write.why != Why::Passenger) {
        let Some(readback) = &readback else {
            // Not visible yet: the prediction stands, and the record is looked at again.
            hint = true;
            continue;
        };
        let Some(back) = readback.fields.get(name) else {
            continue;
        };
        let compare = sync
            .model
            .fields
            .get(name)
            .map(|spec| spec.compare)
            .unwrap_or_default();
        let Some(halves) = pair.base.get_mut(name) else {
            continue;
        };
        if compare.same(&write.predicted, back) || engine.mistakes.has(Mistake::ReadBackUnpredicted) {
            halves[t] = Half::Known(back.clone());
            continue;
        }
        // Somebody who changes it back in this moment picks the very value only where there are few.
        let there = sync.side(key.side.other()).mapping.fields.get(name);
        let has_few_values = there.is_some_and(|field| {
            matches!(
                field.kind,
                FieldKind::Bool | FieldKind::Choice | FieldKind::Reference
            )
        });
        let is_untouched = readback.stamp.is_some() && readback.stamp == target_stamp;
        if compare.same(&write.before, back) && (is_untouched || !has_few_values) {
            // Confirmed, and nothing has changed. Taking it for somebody's edit would carry the old value back over the new one.
            match settled.get(name) {
                Some(halves) => pair.base.insert(name.clone(), halves.clone()),
                None => pair.base.remove(name),
            };
            pair.blocked.insert(name.clone(), NOT_ARRIVED.to_owned());
            let note = format!("{name} waits: {NOT_ARRIVED}");
            entries.push(Entry::new(now, &key, Reason::FieldBlocked, note).other(&target));
            continue;
        }
        let hash = engine.hash(&BTreeMap::from([
            ("sent".to_owned(), write.predicted.clone()),
            ("back".to_owned(), back.clone()),
        ]));
        let slot = format!("{}/{name}", key.side.other().letter());
        let times = pair
            .rewrites
            .get(&slot)
            .filter(|rewrite| rewrite.hash == hash)
            .map_or(1, |rewrite| rewrite.times + 1);
        pair.rewrites.insert(slot, Rewrite { hash, times });
        if times >= 2 {
            // The same value has come back the same twice: that is how this system writes it.
            halves[t] = Half::Known(back.clone());
        } else {
            hint = true;
            engine.counters.open_window.add(1);
            let note = if compare.same(&write.before, back) {
                format!(
                    "{name} was written, and holds again what it held before: a rule of the system (a workflow rule), or somebody, took the change back at once"
                )
            } else {
                format!(
                    "{name} was read back differently from what was written: somebody edited it just then, or the system rewrites it"
                )
            };
            entries.push(Entry::new(now, &key, Reason::UndeclaredRewrite, note).other(&target));
        }
    }
    if let (Some((Reason::Created, _)), Some(readback)) = (&new_link, &readback) {
        keep_what_it_was_born_with(&sync, &writes, readback, t, &mut pair);
    }
    let seen_target = readback.as_ref().and_then(|record| record.stamp).or(target_stamp);
    see(engine, &mut pair, s, source_stamp, t, seen_target);
    let target_key = RecordKey::new(&sync.id, key.side.other(), &target);
    let created = target_stamp.is_none() && writes.values().any(|write| write.why == Why::Created);
    let there = key.side.other();
    let own_write = OwnWrite::of(engine, &sync, there, &target, &writes, readback.as_ref(), created);
    let mut write_backs = Vec::new();
    if let Some((reason, _)) = &new_link {
        engine.counters.linked.add(1);
        let by_person = *reason == Reason::LinkedByPerson;
        write_back(&sync, &key, None, &target, &mut write_backs);
        write_back(
            &sync,
            &target_key,
            landing.target_xref.as_deref().filter(|_| !by_person),
            &key.id,
            &mut write_backs,
        );
    }
    engine.counters.applied.add(1);
    Outcome {
        messages: landing.messages,
        release: landing.release,
        pair: Some((target, pair, landing.pair_expect)),
        linked: new_link.is_some(),
        wrote_target: true,
        parked: None,
        pending: landing.pending,
        hint_target: hint.then_some(target_key),
        pulls: landing.pulls,
        write_backs,
        first_merge: landing.first_merge,
        entries,
        own_write,
        born: readback.filter(|_| created),
        sync,
        key,
    }
}

/// What the system itself gives to a new record (the defaults of a category) is nobody's edit, where the field only follows.
fn keep_what_it_was_born_with(
    sync: &SyncSpec,
    writes: &BTreeMap<String, FieldWrite>,
    born: &Observed,
    t: usize,
    pair: &mut Pair,
) {
    let there = if t == 0 { Side::A } else { Side::B };
    for (name, halves) in &mut pair.base {
        let follows = sync
            .model
            .fields
            .get(name)
            .is_some_and(|spec| !sync.flow_of(spec).flows_from(there));
        if let (true, false, Some(value)) = (follows, writes.contains_key(name), born.fields.get(name)) {
            halves[t] = Half::Known(value.clone());
        }
    }
}

fn halves_changed(before: &Pair, after: &Pair, side: usize) -> bool {
    after.base.iter().any(|(name, halves)| {
        before
            .base
            .get(name)
            .is_none_or(|before| before[side] != halves[side])
    })
}

pub(super) fn versions(sync: &SyncSpec) -> [u64; 2] {
    [sync.sides[0].mapping_version(), sync.sides[1].mapping_version()]
}

/// A commit marks as seen the versions of both records it read (R5).
fn see(engine: &Engine, pair: &mut Pair, s: usize, source: Option<Stamp>, t: usize, target: Option<Stamp>) {
    pair.seen[s] = pair.seen[s].max(source);
    if !engine.mistakes.has(Mistake::OneSideSeen) {
        pair.seen[t] = pair.seen[t].max(target);
    }
}

fn write_back(
    sync: &SyncSpec,
    record: &RecordKey,
    holds: Option<&str>,
    xref: &RecordId,
    into: &mut Vec<(RecordKey, RecordId)>,
) {
    if sync.side(record.side).mapping.xref.is_some() && holds != Some(xref.as_str()) {
        into.push((record.clone(), xref.clone()));
    }
}

/// Commits all outcomes together; where that conflicts, one by one. `None`: the claim was lost, or the parent it waits for has just been linked.
async fn commit_all(engine: &Engine, outcomes: Vec<Outcome>) -> Result<Vec<Option<CommitReceipt>>> {
    if outcomes.is_empty() {
        return Ok(Vec::new());
    }
    let context = Context::load(engine, &outcomes).await?;
    let mut all = engine
        .mark_used_if(outcomes.iter().any(|outcome| outcome.linked))
        .await?;
    let mut whole = true;
    for outcome in &outcomes {
        match outcome.ops(engine, &context)? {
            Some(ops) => all.extend(ops),
            None => whole = false,
        }
    }
    all.extend(context.first_merge_ops(engine, &outcomes).await?);
    if whole {
        match engine.commit(all).await {
            Ok(receipt) => return Ok(vec![Some(receipt); outcomes.len()]),
            Err(error) if error.kind == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    let mut receipts = Vec::with_capacity(outcomes.len());
    for outcome in &outcomes {
        receipts.push(commit_one(engine, outcome).await?);
    }
    Ok(receipts)
}

/// Intake may touch the track, and a child may start to wait, while we commit: read again and try again. A lost claim stays lost.
const TRIES: u32 = 6;

async fn commit_one(engine: &Engine, outcome: &Outcome) -> Result<Option<CommitReceipt>> {
    for _ in 0..TRIES {
        let context = Context::load(engine, std::slice::from_ref(outcome)).await?;
        let Some(mut ops) = outcome.ops(engine, &context)? else {
            return Ok(None);
        };
        ops.extend(engine.mark_used_if(outcome.linked).await?);
        ops.extend(
            context
                .first_merge_ops(engine, std::slice::from_ref(outcome))
                .await?,
        );
        match engine.commit(ops).await {
            Ok(receipt) => return Ok(Some(receipt)),
            Err(error) if error.kind == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Rows that an outcome's operations depend on, read together.
struct Context {
    rows: BTreeMap<RowKey, Option<crate::contract::Row>>,
    wakes: BTreeMap<RecordKey, Vec<Op>>,
}

impl Context {
    async fn load(engine: &Engine, outcomes: &[Outcome]) -> Result<Context> {
        let mut keys = Vec::new();
        let mut linked = Vec::new();
        for outcome in outcomes {
            keys.push(outcome.key.row(Table::Track));
            keys.extend(outcome.parents().map(|parent| parent.row(Table::Link)));
            keys.extend(outcome.own_write.iter().map(|write| write.row.clone()));
            if outcome.linked
                && let Some((target, _, _)) = &outcome.pair
            {
                linked.push(outcome.key.clone());
                linked.push(RecordKey::new(&outcome.sync.id, outcome.key.side.other(), target));
            }
        }
        let found = engine.store.get(&keys).await?;
        let rows = keys.into_iter().zip(found).collect();
        let wakes = wake_ops(engine, &linked).await?;
        Ok(Context { rows, wakes })
    }

    fn row(&self, key: &RowKey) -> Option<&crate::contract::Row> {
        self.rows.get(key).and_then(Option::as_ref)
    }

    async fn first_merge_ops(&self, engine: &Engine, outcomes: &[Outcome]) -> Result<Vec<Op>> {
        let mut sums: BTreeMap<&crate::record::SyncId, u64> = BTreeMap::new();
        for outcome in outcomes.iter().filter(|outcome| outcome.first_merge > 0) {
            *sums.entry(&outcome.sync.id).or_default() += outcome.first_merge;
        }
        let mut ops = Vec::new();
        for (sync, sum) in sums {
            ops.push(engine.count_first_merge(sync, sum).await?);
        }
        Ok(ops)
    }
}

/// What linking these records wakes: every child that waits for one of them gets a hint, in the linker's own commit (R10).
pub(crate) async fn wake_ops(engine: &Engine, linked: &[RecordKey]) -> Result<BTreeMap<RecordKey, Vec<Op>>> {
    let anchors: Vec<RowKey> = linked.iter().map(waiting_anchor).collect();
    let rows = engine.store.get(&anchors).await?;
    let mut wakes = BTreeMap::new();
    for ((record, anchor), row) in linked.iter().zip(anchors).zip(rows) {
        let mut ops = Vec::new();
        if engine.mistakes.has(Mistake::ParentWakeLost) {
            wakes.insert(record.clone(), ops);
            continue;
        }
        if row.is_some() {
            let mut after = anchor.key.clone();
            loop {
                let scan = Scan {
                    table: Table::Waiting,
                    prefix: anchor.key.clone(),
                    after: Some(after),
                    limit: 1_000,
                };
                let children = engine.store.scan(&scan).await?;
                let Some((last, _)) = children.last() else { break };
                after = last.clone();
                for (key, child_row) in children {
                    let key = RowKey::new(Table::Waiting, key);
                    let child: RecordKey = Rows::plain(&key, &child_row)?;
                    let sync = engine.sync(&child.sync)?;
                    let target = &sync.side(child.side.other()).system;
                    ops.push(Op::Delete {
                        key,
                        expect: Expect::Version(child_row.version),
                    });
                    let hint = Hint {
                        record: child.clone(),
                    };
                    ops.push(Rows::put_plain(
                        hint_row(target, engine.clock.now(), &child),
                        Expect::Any,
                        &hint,
                    )?);
                }
            }
            ops.push(Op::Delete {
                key: anchor,
                expect: expect_of(row.as_ref()),
            });
        } else {
            ops.push(Op::Check {
                key: anchor,
                expect: Expect::Absent,
            });
        }
        wakes.insert(record.clone(), ops);
    }
    Ok(wakes)
}

impl Outcome {
    /// Parents that must still be without counterpart.
    fn parents(&self) -> impl Iterator<Item = &RecordKey> {
        self.parked
            .iter()
            .filter_map(|parked| parked.waits_for.as_ref())
            .chain(self.pending.values())
    }

    /// The operations; `None` when the parent it wants to wait for has just been linked.
    fn ops(&self, engine: &Engine, context: &Context) -> Result<Option<Vec<Op>>> {
        let mut ops = self.release.clone();
        let track_key = self.key.row(Table::Track);
        if let Some(row) = context.row(&track_key) {
            let track: Track = Rows::plain(&track_key, row)?;
            if self.messages.contains(&track.message) && track.state != TrackState::Settled {
                let settled = Track {
                    state: TrackState::Settled,
                    ..track
                };
                ops.push(Rows::put_plain(
                    track_key,
                    Expect::Version(row.version),
                    &settled,
                )?);
            }
        }
        for parent in self.parents() {
            let link = parent.row(Table::Link);
            if context.row(&link).is_some() {
                if self.parked.is_some() {
                    return Ok(None);
                }
                // The parent came between: look again at once.
                ops.push(self.hint(engine, &self.key)?);
                continue;
            }
            if !engine.mistakes.has(Mistake::ParentWakeLost) {
                ops.push(Op::Check {
                    key: link,
                    expect: Expect::Absent,
                });
            }
            ops.push(Rows::put_plain(
                waiting_row(parent, &self.key),
                Expect::Any,
                &self.key,
            )?);
            ops.push(Op::Put {
                key: waiting_anchor(parent),
                expect: Expect::Any,
                value: Vec::new(),
            });
        }
        let parked_row = self.key.row(Table::Parked);
        match &self.parked {
            Some(parked) => ops.push(engine.typed().put_sealed(parked_row, Expect::Any, parked)?),
            None => ops.push(Op::Delete {
                key: parked_row,
                expect: Expect::Any,
            }),
        }
        if let Some((target, pair, expect)) = &self.pair {
            let target_key = RecordKey::new(&self.sync.id, self.key.side.other(), target);
            ops.push(
                engine
                    .typed()
                    .put_sealed(pair_row_of(&self.key, target), *expect, pair)?,
            );
            if self.linked {
                ops.push(Rows::put_plain(
                    self.key.row(Table::Link),
                    Expect::Absent,
                    &Link {
                        other: target.clone(),
                    },
                )?);
                let back = Link {
                    other: self.key.id.clone(),
                };
                ops.push(Rows::put_plain(
                    target_key.row(Table::Link),
                    Expect::Absent,
                    &back,
                )?);
                for record in [&self.key, &target_key] {
                    ops.extend(context.wakes.get(record).cloned().unwrap_or_default());
                }
            }
            let key = self.key.on_first_side(target).row(Table::Held);
            let expect = Expect::Any;
            ops.push(if pair.blocked.is_empty() {
                Op::Delete { key, expect }
            } else {
                let value = Vec::new();
                Op::Put { key, expect, value }
            });
            if self.linked {
                for record in [&self.key, &target_key] {
                    ops.push(Op::Delete {
                        key: record.row(Table::Decision),
                        expect: Expect::Any,
                    });
                }
            }
            if self.linked || self.wrote_target {
                // What the target was parked with has been overtaken.
                ops.push(Op::Delete {
                    key: target_key.row(Table::Parked),
                    expect: Expect::Any,
                });
            }
        }
        for (record, xref) in &self.write_backs {
            let row = WriteBack {
                xref: xref.clone(),
                over: None,
                tries: 0,
                parked: None,
                due: engine.clock.now(),
            };
            ops.push(Rows::put_plain(record.row(Table::WriteBack), Expect::Any, &row)?);
        }
        if let Some(record) = &self.hint_target {
            ops.push(self.hint(engine, record)?);
        }
        if let Some(record) = &self.born {
            ops.extend(engine.note_birth(&self.sync, self.key.side.other(), record)?);
        }
        if let Some(write) = &self.own_write {
            ops.extend(write.op(engine, context.row(&write.row))?);
        }
        for record in &self.pulls {
            ops.extend(engine.take_in(record)?);
        }
        for entry in &self.entries {
            let row = entry.row(engine.salt());
            ops.push(engine.typed().put_sealed(row, Expect::Any, entry)?);
        }
        Ok(Some(ops))
    }

    fn hint(&self, engine: &Engine, record: &RecordKey) -> Result<Op> {
        let target = &self.sync.side(record.side.other()).system;
        let hint = Hint {
            record: record.clone(),
        };
        Rows::put_plain(hint_row(target, engine.clock.now(), record), Expect::Any, &hint)
    }
}
