//! References (R10) and merge (R4).

use std::collections::BTreeMap;

use super::Applier;
use super::item::Item;
use super::lost::hold_lost_creates;
use crate::contract::{RowKey, Side, Table};
use crate::error::Result;
use crate::mapping::Observed;
use crate::pipeline::Engine;
use crate::pipeline::ledger::Reason;
use crate::pipeline::merge::{MergeInput, Resolved, Why, merge};
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::origin::{self, Origins};
use crate::pipeline::rewrite;
use crate::pipeline::spec::{FIRST_MERGE_OVERWRITES_MAX, SyncSpec};
use crate::pipeline::state::{Link, Parked, RecordKey, Rows};
use crate::record::{RecordId, SyncId};
use crate::value::{Date, Value};

/// Reads the targets and merges. Afterwards an open item is one that has something to write.
pub(super) async fn plan(applier: &Applier, items: &mut [Item]) -> Result<()> {
    let engine = &*applier.engine;
    read_targets(engine, items).await?;
    for item in items.iter_mut().filter(|item| item.open()) {
        engine.follow_mapping(item).await?;
    }
    let parents = load_parents(engine, items).await?;
    let mut origins = origin::origins(engine, items).await?;
    let mut overwrites: BTreeMap<SyncId, u64> = BTreeMap::new();
    for (index, item) in items.iter_mut().enumerate().filter(|(_, item)| item.open()) {
        merge_item(
            engine,
            item,
            &parents,
            &origins.remove(&index).unwrap_or_default(),
        );
        hold_first_merge(engine, item, &mut overwrites).await?;
    }
    hold_lost_creates(engine, items).await
}

/// The record a reference names, as a record of its own sync.
pub(crate) fn parent_key(
    engine: &Engine,
    sync: &SyncSpec,
    side: Side,
    field: &str,
    id: &RecordId,
) -> Option<RecordKey> {
    let reference = sync.model.fields.get(field)?.reference.as_ref()?;
    let (parent_sync, swapped) = engine.sync_of(&reference.entity, sync)?;
    let side = if swapped { side.other() } else { side };
    Some(RecordKey::new(&parent_sync.id, side, id))
}

async fn read_targets(engine: &Engine, items: &mut [Item]) -> Result<()> {
    let mut groups: BTreeMap<(SyncId, Side), Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        if item.open() && item.link.is_some() {
            groups
                .entry((item.sync.id.clone(), item.other()))
                .or_default()
                .push(index);
        }
    }
    for ((sync, side), indexes) in groups {
        let sync = engine.sync(&sync)?.clone();
        let ids: Vec<RecordId> = indexes
            .iter()
            .filter_map(|index| items[*index].target_id().cloned())
            .collect();
        // Before the call: the answer may be long on its way.
        let read_at = engine.clock.monotonic();
        let mut found = engine.fetch(&sync, side, &ids).await?;
        for index in indexes {
            let item = &mut items[index];
            let Some(id) = item.target_id().cloned() else {
                continue;
            };
            item.read_at = read_at;
            item.target = found.remove(&id);
            if item.target.is_none() && !engine.mistakes.has(Mistake::GoneIsRecreated) {
                let sentence = format!(
                    "its counterpart {id} no longer exists there, or is not visible any more; restore it, or give the API user the right to see it"
                );
                let key = RecordKey::new(&item.sync.id, item.other(), &id);
                item.park(engine, Reason::ParkedCounterpartGone, sentence, vec![key]);
            }
        }
    }
    Ok(())
}

/// What is known of the records that sources refer to.
#[derive(Default)]
struct Parents {
    /// Counterparts.
    linked: BTreeMap<RecordKey, RecordId>,
    /// Records without counterpart that take no part, and why.
    left_out: BTreeMap<RecordKey, Reason>,
}

async fn load_parents(engine: &Engine, items: &[Item]) -> Result<Parents> {
    let mut keys: Vec<RecordKey> = Vec::new();
    for item in items.iter().filter(|item| item.open()) {
        let Some(source) = &item.source else { continue };
        keys.extend(
            references(&item.sync, source)
                .filter_map(|(field, id)| parent_key(engine, &item.sync, item.side(), field, &id)),
        );
    }
    keys.sort();
    keys.dedup();
    let mut rows: Vec<RowKey> = keys.iter().map(|key| key.row(Table::Link)).collect();
    rows.extend(keys.iter().map(|key| key.row(Table::Parked)));
    let found = engine.store.get(&rows).await?;
    let mut parents = Parents::default();
    for (at, key) in keys.iter().enumerate() {
        if let Some(row) = &found[at] {
            let link: Link = Rows::plain(&rows[at], row)?;
            parents.linked.insert(key.clone(), link.other);
            continue;
        }
        let at = at + keys.len();
        if let Some(row) = &found[at] {
            let reason = engine.typed().sealed::<Parked>(&rows[at], row)?.reason;
            if reason.is_left_out() {
                parents.left_out.insert(key.clone(), reason);
            }
        }
    }
    Ok(parents)
}

fn references<'a>(
    sync: &'a SyncSpec,
    source: &'a Observed,
) -> impl Iterator<Item = (&'a str, RecordId)> + 'a {
    let fields = sync
        .model
        .fields
        .iter()
        .filter(|(_, spec)| spec.reference.is_some());
    fields.filter_map(|(name, _)| {
        let id = source.fields.get(name)?.to_plain()?;
        Some((name.as_str(), RecordId(id)))
    })
}

fn merge_item(engine: &Engine, item: &mut Item, parents: &Parents, origins: &Origins) {
    let Some(source) = item.source.clone() else { return };
    let last_seen = &item.pair.decided[item.side().index()];
    if engine.mistakes.has(Mistake::SameByLastSeen)
        && last_seen.as_ref() == Some(&engine.content_hash(&item.sync, &source))
    {
        item.target = None;
        item.commit(Vec::new());
        return;
    }
    if item.link.is_none() && !item.sync.direction.flows_from(item.side()) {
        // Single fields may flow against the sync (a number that the target gives); records are not made that way.
        let sentence = "the sync flows the other way, and no record there belongs to it";
        item.park(engine, Reason::OutOfScope, sentence.to_owned(), Vec::new());
        return;
    }
    let mut resolved = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for (field, id) in references(&item.sync, &source) {
        let key = parent_key(engine, &item.sync, item.side(), field, &id);
        let counterpart = key.as_ref().and_then(|key| parents.linked.get(key).cloned());
        let missing = || match &key {
            Some(key) if !parents.left_out.contains_key(key) => Resolved::Unlinked(id.clone()),
            _ => Resolved::Outside(id.clone()),
        };
        resolved.insert(
            field.to_owned(),
            counterpart.map_or_else(missing, Resolved::Counterpart),
        );
        keys.insert(field.to_owned(), key);
    }
    let mut base = (item.new_link.is_none() && item.link.is_some()).then(|| item.pair.base.clone());
    if engine.mistakes.has(Mistake::OneBaseValue) {
        // One value for both: what the first side held stands for the other as well.
        base = base.map(|base| {
            base.into_iter()
                .map(|(name, [a, _])| (name, [a.clone(), a]))
                .collect()
        });
    }
    let target = item.target.as_ref().map(|seen| &seen.observed);
    let mut plan = merge(&MergeInput {
        sync: &item.sync,
        side: item.side(),
        source: &source,
        target,
        base: base.as_ref(),
        references: &resolved,
        seen: item.pair.seen,
        unexplained: &rewrite::unexplained(engine, &item.pair, item.side(), &source, target),
        held: &item.pair.blocked,
        answers: &item.pair.answers,
        origins,
        newest_guard: engine.timings.newest_guard,
        today: Date::of(engine.clock.now()).unwrap_or_default(),
        mistakes: engine.mistakes,
    });
    item.pair.answers.retain(|name, _| !plan.answered.contains(name));
    item.pulls = plan
        .pulls
        .iter()
        .filter_map(|field| keys.get(field).cloned().flatten())
        // What a person has set aside stays so.
        .filter(|key| {
            parents
                .left_out
                .get(key)
                .is_some_and(|reason| *reason != Reason::Ignored)
        })
        .collect();
    if let Some(field) = plan.skipped.take() {
        let sentence = format!("left out, because the record in {field} takes no part in the sync");
        item.park(engine, Reason::SkippedReference, sentence, Vec::new());
        return;
    }
    if let Some((field, id)) = plan.waits_for.take() {
        wait_for_parent(engine, item, &field, &id, keys.get(&field).cloned().flatten());
        return;
    }
    for field in plan.pending.keys() {
        if let Some(Some(key)) = keys.get(field) {
            item.pending.insert(field.clone(), key.clone());
        }
    }
    if item.link.is_none()
        && !engine.mistakes.has(Mistake::RequiredFieldIgnored)
        && let Some(sentence) = plan.refuses_create(&item.sync.side(item.other()).mapping)
    {
        item.merge = plan;
        item.park(engine, Reason::ParkedRequired, sentence, Vec::new());
        return;
    }
    if item.link.is_none() {
        // Optional fields that cannot be translated are left out of the create and listed.
        plan.blocked.retain(|field, _| !plan.writes.contains_key(field));
    }
    if engine.mistakes.has(Mistake::BlockedFieldHoldsRecord) && !plan.blocked.is_empty() {
        plan.writes.clear();
    }
    if engine.mistakes.has(Mistake::WholeRecordWrite) {
        write_everything(item, &source, &mut plan);
    }
    item.merge = plan;
    if item.merge.writes.is_empty() && item.link.is_some() {
        item.commit(Vec::new());
    }
}

/// The planted mistake: every field of the source is written, changed or not.
fn write_everything(item: &Item, source: &Observed, plan: &mut crate::pipeline::merge::Merge) {
    let (Some(target), false) = (&item.target, plan.writes.is_empty()) else {
        return;
    };
    let mapping = &item.sync.side(item.other()).mapping;
    for (name, value) in &source.fields {
        let spec = item.sync.model.fields.get(name);
        if plan.writes.contains_key(name)
            || spec.is_none_or(|spec| spec.passenger || spec.reference.is_some())
        {
            continue;
        }
        if let (Some(field), Ok(projection)) = (mapping.fields.get(name), mapping.project(name, value)) {
            let write = crate::pipeline::merge::FieldWrite {
                path: field.native.clone(),
                native: projection.native,
                predicted: projection.predicted,
                before: target.observed.fields.get(name).cloned().unwrap_or(Value::Null),
                before_unknown: target.observed.absent.contains(name),
                why: Why::SourceChanged,
                loss: projection.lossy,
                origin: None,
            };
            plan.writes.insert(name.clone(), write);
        }
    }
}

fn wait_for_parent(engine: &Engine, item: &mut Item, field: &str, id: &RecordId, key: Option<RecordKey>) {
    match key {
        Some(parent) => {
            let sentence = format!("waits for {field} {id}, which has no counterpart yet");
            item.wait_for(engine, parent, sentence);
        }
        None => {
            let sentence = format!(
                "needs the counterpart of {field} {id}, but no sync between these two systems covers that entity"
            );
            item.park(engine, Reason::ParkedReference, sentence, Vec::new());
        }
    }
}

/// R4: a first load with many first-merge overwrites waits for a person's consent.
async fn hold_first_merge(
    engine: &Engine,
    item: &mut Item,
    counted: &mut BTreeMap<SyncId, u64>,
) -> Result<()> {
    let overwrites = item.merge.first_merge_overwrites();
    if !item.open() || overwrites == 0 || item.sync.first_merge_accepted {
        return Ok(());
    }
    if !counted.contains_key(&item.sync.id) {
        let made = engine.first_merge_overwrites(&item.sync.id).await?;
        counted.insert(item.sync.id.clone(), made);
    }
    let made = counted.entry(item.sync.id.clone()).or_default();
    if *made + overwrites > FIRST_MERGE_OVERWRITES_MAX {
        let sentence = format!(
            "linking it would overwrite {overwrites} field(s) with the owner's value, and the first load has more than {FIRST_MERGE_OVERWRITES_MAX} such overwrites; look at them, then run again with --accept"
        );
        item.park(engine, Reason::ParkedFirstMerge, sentence, Vec::new());
        if let Some(super::item::End::Commit {
            parked: Some(Parked { candidates, .. }),
            ..
        }) = &mut item.end
        {
            candidates.extend(
                item.link
                    .take()
                    .map(|link| RecordKey::new(&item.sync.id, item.key.side.other(), &link.other)),
            );
        }
        item.new_link = None;
    } else {
        *made += overwrites;
    }
    Ok(())
}
