//! How a record ends: what an item that needs no write, or a write that landed, means for link, base, seen versions, ledger and hints.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commit::{Outcome, commit_all};
use super::item::{End, Item};
use crate::contract::{Expect, MessageId, Op, Side, Table};
use crate::error::Result;
use crate::mapping::{FieldKind, Observed};
use crate::pipeline::events::{Landed, OwnWrite};
use crate::pipeline::ledger::{Entry, Reason};
use crate::pipeline::merge::{Base, FieldWrite, Half, Unseen, Why, is_missing, missing_sentence};
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::rewrite;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::{Pair, Parked, RecordKey};
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
    /// The system has confirmed the write.
    pub(crate) is_confirmed: bool,
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
        items[index].end = Some(match receipt {
            Some(receipt) => {
                // Released by the commit.
                items[index].held = Default::default();
                End::Done(receipt)
            }
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
    if let (None, Some(link)) = (&item.source, &item.link) {
        // It is gone: no field of it waits to be brought.
        release.push(Op::Delete {
            key: item.key.on_first_side(&link.other).row(Table::Held),
            expect: Expect::Any,
        });
    }
    let mut outcome = Outcome {
        sync: item.sync.clone(),
        key: item.key.clone(),
        messages: item.deliveries.iter().map(|(_, id)| id.clone()).collect(),
        release,
        pair: None,
        linked: false,
        unlinked: parked.is_some() && (item.link.is_none() || item.new_link.is_some()),
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
        is_confirmed,
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
        let compare = sync.model.compare_of(name);
        let Some(halves) = pair.base.get_mut(name) else {
            continue;
        };
        if is_missing(&sync, key.side.other(), name, readback, engine.mistakes) {
            if is_confirmed && write.why != Why::Created && !write.before_unknown {
                // It was there, took the write, and has gone since.
                continue;
            }
            // Whether the write arrived will be seen when the field is there again.
            halves[t] = Half::Unseen(Box::new(Unseen {
                sent: write.predicted.clone(),
                before: (!write.before_unknown).then(|| write.before.clone()),
                settled: settled.get(name).cloned(),
            }));
            let sentence = missing_sentence(&sync, key.side.other(), name);
            let note = format!("{name} waits: {sentence}");
            pair.blocked.insert(name.clone(), sentence);
            entries.push(Entry::new(now, &key, Reason::FieldBlocked, note).other(&target));
            continue;
        }
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
        let held_it_before = compare.same(&write.before, back) && (is_untouched || !has_few_values);
        if held_it_before && rewrite::same_but_for_form(&write.predicted, back) {
            // It arrived, and that is how this system writes it: nobody has edited anything in between.
            halves[t] = Half::Known(back.clone());
            continue;
        }
        if held_it_before {
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
        let there = key.side.other();
        let times = rewrite::note(engine, &mut pair, there, name, &write.predicted, back);
        let Some(halves) = pair.base.get_mut(name) else {
            continue;
        };
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
    let landed = Landed {
        target: &target,
        writes: &writes,
        mapping: landing.mapping[t],
        readback: readback.as_ref(),
        created,
    };
    let own_write = OwnWrite::of(engine, &sync, there, &landed);
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
        unlinked: false,
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
