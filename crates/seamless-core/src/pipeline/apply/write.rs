//! Intent, write, read-back (R7, R8).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Applier;
use super::finish::{Landing, commit_landed};
use super::item::{End, Item};
use crate::contract::{Expect, Lookup, Op, RowKey, Table, Write, WriteAction, Written};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::mapping::{Observed, with_whole_lists};
use crate::pipeline::Engine;
use crate::pipeline::claims::Held;
use crate::pipeline::ledger::{Entry, EntryField, Reason};
use crate::pipeline::merge::Why;
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::Intent;
use crate::record::RecordId;
use crate::value::{Fields, Value};

/// Writes what the open items have to write, and commits what landed. A record whose target refuses one field is written once more without it: each
/// round leaves out at least one field, so there is an end.
pub(super) async fn write(applier: &Applier, items: &mut [Item]) -> Result<()> {
    while items.iter().any(Item::open) {
        write_once(applier, items).await?;
    }
    Ok(())
}

async fn write_once(applier: &Applier, items: &mut [Item]) -> Result<()> {
    let engine = &*applier.engine;
    let mut work = Vec::new();
    for (index, item) in items.iter().enumerate().filter(|(_, item)| item.open()) {
        work.push(prepare(engine, item, index)?);
    }
    if work.is_empty() {
        return Ok(());
    }
    add_high_water(engine, items, &mut work).await?;
    let work = commit_intents(engine, items, work).await?;
    let writes: Vec<Write> = work.iter().map(|job| job.write.clone()).collect();
    if writes.is_empty() {
        return Ok(());
    }
    let outcomes = engine
        .system(&items[work[0].index].sync, items[work[0].index].other())?
        .target
        .write(&writes)
        .await;
    if outcomes.len() != work.len() {
        return Err(Error::protocol(
            "the connector answered another number of writes than it was given",
        ));
    }
    let mut stop = None;
    let mut landed: Vec<(Job, RecordId)> = Vec::new();
    for (job, outcome) in work.into_iter().zip(outcomes) {
        match outcome {
            Ok(Written { id }) => landed.push((job, id)),
            Err(error) => {
                if let Some(id) = failed(applier, &mut items[job.index], &job, &error).await? {
                    landed.push((job, id));
                } else if matches!(
                    error.kind,
                    ErrorKind::Auth | ErrorKind::Permission | ErrorKind::RateLimited
                ) {
                    stop.get_or_insert(error);
                }
            }
        }
    }
    read_back_and_commit(engine, items, landed).await?;
    stop.map_or(Ok(()), Err)
}

/// A write with its intent.
struct Job {
    index: usize,
    name: String,
    intent: Intent,
    write: Write,
    /// The claims after they were handed over to the intent.
    held: Held,
}

fn prepare(engine: &Engine, item: &Item, index: usize) -> Result<Job> {
    let spec = item.sync.side(item.other());
    let source = item
        .source
        .as_ref()
        .ok_or_else(|| Error::storage("an item without source reached its write"))?;
    let now = engine.clock.monotonic();
    let written: Fields = item
        .merge
        .writes
        .values()
        .map(|write| (write.path.clone(), write.native.clone()))
        .collect();
    let current = item.target.as_ref().map(|target| &target.native.fields);
    let mut fields = with_whole_lists(written, current);
    let creating = item.target.is_none();
    let (action, send_by) = match &item.target {
        Some(target) => {
            let any_age = engine.mistakes.has(Mistake::StaleReadUnbounded);
            let fresh = if spec.capabilities.compare_and_set || any_age {
                now + engine.timings.send_within
            } else {
                item.read_at + engine.timings.stale_read_max
            };
            (
                WriteAction::Update {
                    current: Box::new(target.native.clone()),
                    fields,
                },
                fresh,
            )
        }
        None => {
            if let Some(path) = &spec.mapping.xref
                && !engine.mistakes.has(Mistake::NoExternalKey)
            {
                fields.insert(path.clone(), Value::Text(item.key.id.0.clone()));
            }
            // What no search showed may be there by now: a create goes out soon after, or is looked for again.
            let searched = item.read_at + 2 * engine.timings.send_within;
            let send_by = (now + engine.timings.send_within).min(searched);
            (WriteAction::Create { fields }, send_by)
        }
    };
    let lag = if creating {
        spec.capabilities.search_lag_max
    } else {
        Duration::ZERO
    };
    let made = engine.clock.now();
    let deadline = made.plus(send_by.saturating_sub(now) + spec.capabilities.settle_after + lag);
    let intent = Intent {
        source: item.key.clone(),
        source_stamp: source.stamp,
        source_content: item.content(engine, source),
        target: item.target_id().cloned(),
        target_stamp: item.target.as_ref().and_then(|target| target.observed.stamp),
        new_link: item
            .new_link
            .clone()
            .filter(|_| !engine.mistakes.has(Mistake::IntentWithoutLink)),
        writes: item.merge.writes.clone(),
        planned: item.merge.base.clone(),
        high_water: None,
        deadline,
        made,
        claims: item.held.versions.keys().cloned().collect(),
        messages: item.deliveries.iter().map(|(_, id)| id.clone()).collect(),
        mapping: super::finish::versions(&item.sync),
        blocked: item.merge.blocked.clone(),
        pending: BTreeMap::new(),
    };
    let send_by = if engine.mistakes.has(Mistake::SendByUnchecked) {
        Duration::MAX
    } else {
        send_by
    };
    let write = Write {
        entity: spec.mapping.entity.clone(),
        action,
        send_by,
    };
    let name = format!("{}/{}", item.sync.id, engine.name());
    Ok(Job {
        index,
        name,
        intent,
        write,
        held: Held::default(),
    })
}

/// Creates remember the highest id seen so far: what is found above it later may be theirs.
async fn add_high_water(engine: &Engine, items: &[Item], work: &mut [Job]) -> Result<()> {
    let mut marks: BTreeMap<RowKey, Option<RecordId>> = BTreeMap::new();
    for job in work.iter_mut().filter(|job| job.intent.target.is_none()) {
        let item = &items[job.index];
        let spec = item.sync.side(item.other());
        if !spec.capabilities.ascending_ids {
            continue;
        }
        let row = Engine::highest_row(&spec.system, &spec.mapping.entity);
        if !marks.contains_key(&row) {
            marks.insert(row.clone(), engine.highest(&row).await?);
        }
        job.intent.high_water = Some(marks[&row].clone().unwrap_or_else(|| RecordId::from("0")));
    }
    Ok(())
}

/// Makes the intents durable and hands the claims over to them. Items that lost a claim meanwhile drop out.
async fn commit_intents(engine: &Engine, items: &mut [Item], work: Vec<Job>) -> Result<Vec<Job>> {
    if engine.mistakes.has(Mistake::NoIntent) {
        return Ok(work
            .into_iter()
            .map(|job| Job {
                held: items[job.index].held.clone(),
                ..job
            })
            .collect());
    }
    let ops_of = |items: &[Item], job: &Job| -> Result<Vec<Op>> {
        let mut ops = items[job.index].held.hand_over(engine, &job.name)?;
        let row = RowKey::new(Table::Intent, job.name.clone());
        ops.push(engine.typed().put_sealed(row, Expect::Absent, &job.intent)?);
        if job.intent.target.is_none() {
            // A lost call of its counterpart may have been found out meanwhile.
            ops.push(Op::Check {
                key: items[job.index].key.row(Table::Link),
                expect: Expect::Absent,
            });
        }
        Ok(ops)
    };
    let mut all = engine.mark_used().await?;
    for job in &work {
        all.extend(ops_of(items, job)?);
    }
    let whole = engine.store.commit(all).await;
    let mut ready = Vec::with_capacity(work.len());
    for mut job in work {
        let version = match &whole {
            Ok(version) => *version,
            Err(error) if error.kind == ErrorKind::Conflict => {
                match engine.store.commit(ops_of(items, &job)?).await {
                    Ok(version) => version,
                    Err(error) if error.kind == ErrorKind::Conflict => {
                        items[job.index].end = Some(End::Defer(engine.timings.defer_min));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(_) => break,
        };
        job.held = items[job.index].held.at(version);
        // From here on the claims are the intent's.
        items[job.index].held = Held::default();
        ready.push(job);
    }
    whole.or_else(|error| {
        if error.kind == ErrorKind::Conflict {
            Ok(0)
        } else {
            Err(error)
        }
    })?;
    Ok(ready)
}

/// A write that failed. `Some(id)`: it landed after all.
async fn failed(applier: &Applier, item: &mut Item, job: &Job, error: &Error) -> Result<Option<RecordId>> {
    let engine = &*applier.engine;
    match error.effect {
        Effect::NotApplied => {
            if let Some(field) = refused_field(item, error) {
                hand_back(applier, item, job).await?;
                let place = &item.sync.side(item.other()).system;
                let sentence = format!(
                    "{place} refused it: {}; it is tried again when the record changes, and now and then",
                    error.message()
                );
                item.hold(engine, &field, sentence);
                return Ok(None);
            }
            take_back(engine, item, job).await?;
            if error.is_transient() || !matches!(error.kind, ErrorKind::Invalid | ErrorKind::NotFound) {
                item.end = Some(End::Defer(match error.retry {
                    crate::error::Retry::Later { after } => after.unwrap_or(engine.timings.defer_min),
                    crate::error::Retry::Never => engine.timings.defer_min,
                }));
                return Ok(None);
            }
            let place = &item.sync.side(item.other()).system;
            let sentence = match &error.field {
                Some(field) => format!(
                    "{place} refused it because of {field}: {}; correct it on either side",
                    error.message()
                ),
                None => format!(
                    "{place} refused it: {}; correct it on either side",
                    error.message()
                ),
            };
            let candidates = item.target_key().into_iter().collect();
            item.park(engine, Reason::ParkedRefused, sentence, candidates);
            Ok(None)
        }
        Effect::Applied | Effect::Unknown => {
            engine.counters.unknown.add(1);
            tracing::warn!(record = %item.key.path(), %error, "the outcome of a write is unknown; it will be looked up");
            if job.intent.target.is_none()
                && let Some(found) = search_now(engine, item).await
            {
                return Ok(Some(found));
            }
            if engine.mistakes.has(Mistake::RecreateWithoutWait) && job.intent.target.is_none()
                || engine.mistakes.has(Mistake::NoIntent)
            {
                take_back(engine, item, job).await?;
                item.end = Some(End::Defer(engine.timings.defer_min));
                return Ok(None);
            }
            let wait = job.intent.deadline.since(engine.clock.now());
            item.end = Some(End::Defer(wait + engine.timings.defer_min));
            Ok(None)
        }
    }
}

/// The field that a refusal is about, if the record can be written without it.
fn refused_field(item: &Item, error: &Error) -> Option<String> {
    let named = error
        .field
        .as_deref()
        .filter(|_| error.kind == ErrorKind::Invalid)?;
    let (name, _) = item
        .merge
        .writes
        .iter()
        .find(|(name, write)| write.path.eq_ignore_ascii_case(named) || name.as_str() == named)?;
    let is_needed = || {
        let mapping = &item.sync.side(item.other()).mapping;
        mapping.fields.get(name).is_some_and(|field| field.required)
    };
    (item.target.is_some() || !is_needed()).then(|| name.clone())
}

/// The answer of a create was lost: it may be there already. A search that fails says nothing; the resolver asks again.
async fn search_now(engine: &Engine, item: &Item) -> Option<RecordId> {
    let spec = item.sync.side(item.other());
    let field = spec.mapping.xref.clone()?;
    let lookup = Lookup::Field {
        field,
        value: Value::Text(item.key.id.0.clone()),
    };
    let target = &engine.system(&item.sync, item.other()).ok()?.target;
    let found = target.find(&spec.mapping.entity, &[lookup]).await.ok()?;
    let ours: Vec<RecordId> = found
        .into_iter()
        .flatten()
        .map(|native| spec.observe(&native))
        .filter(|record| record.xref.as_deref() == Some(item.key.id.as_str()))
        .map(|record| record.id)
        .collect();
    match ours.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// The call was certainly not made: the intent goes, the claims are a worker's again (and released at the end of the step).
async fn take_back(engine: &Engine, item: &mut Item, job: &Job) -> Result<()> {
    let mut ops = job.held.releases(engine);
    if !engine.mistakes.has(Mistake::NoIntent) {
        ops.push(Op::Delete {
            key: RowKey::new(Table::Intent, job.name.clone()),
            expect: Expect::Any,
        });
    }
    match engine.store.commit(ops).await {
        Err(error) if error.kind == ErrorKind::Conflict => {}
        done => drop(done?),
    }
    item.held = Held::default();
    Ok(())
}

/// The call was certainly not made, and another one is to follow: the intent goes, the claims are the worker's again.
async fn hand_back(applier: &Applier, item: &mut Item, job: &Job) -> Result<()> {
    let engine = &*applier.engine;
    if engine.mistakes.has(Mistake::NoIntent) {
        return Ok(());
    }
    let mut ops = job.held.hand_back(engine, &applier.claimant)?;
    ops.push(Op::Delete {
        key: RowKey::new(Table::Intent, job.name.clone()),
        expect: Expect::Any,
    });
    match engine.store.commit(ops).await {
        Ok(version) => item.held = job.held.at(version),
        // Lost meanwhile: whoever has them decides anew.
        Err(error) if error.kind == ErrorKind::Conflict => {
            item.end = Some(End::Defer(engine.timings.defer_min))
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn read_back_and_commit(
    engine: &Engine,
    items: &mut [Item],
    landed: Vec<(Job, RecordId)>,
) -> Result<()> {
    let mut groups: BTreeMap<crate::record::SyncId, Vec<RecordId>> = BTreeMap::new();
    for (job, id) in &landed {
        groups
            .entry(items[job.index].sync.id.clone())
            .or_default()
            .push(id.clone());
    }
    let mut back: BTreeMap<(crate::record::SyncId, RecordId), Observed> = BTreeMap::new();
    let mut failure = None;
    for (sync, ids) in groups {
        let spec: std::sync::Arc<SyncSpec> = engine.sync(&sync)?.clone();
        let side = items[landed[0].0.index].other();
        let unique: BTreeSet<RecordId> = ids.into_iter().collect();
        let ids: Vec<RecordId> = unique.into_iter().collect();
        match engine
            .fetch(&spec, side_of(items, &landed, &sync).unwrap_or(side), &ids)
            .await
        {
            Ok(found) => back.extend(
                found
                    .into_iter()
                    .map(|(id, seen)| ((sync.clone(), id), seen.observed)),
            ),
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure {
        // Written, but not read back: the intents stay, and are resolved later.
        for (job, _) in &landed {
            let wait = job.intent.deadline.since(engine.clock.now());
            items[job.index].end = Some(End::Defer(wait + engine.timings.defer_min));
        }
        return Err(error);
    }
    let mut landings = Vec::new();
    let mut indexes = Vec::new();
    for (job, id) in landed {
        let item = &items[job.index];
        let readback = back.get(&(item.sync.id.clone(), id.clone())).cloned();
        indexes.push(job.index);
        landings.push(landing(engine, item, job, id, readback));
    }
    let done = commit_landed(engine, landings).await?;
    for (index, receipt) in indexes.into_iter().zip(done) {
        items[index].written = receipt.is_some();
        items[index].end = Some(match receipt {
            Some(receipt) => End::Done(receipt),
            None => End::Defer(engine.timings.defer_min),
        });
    }
    Ok(())
}

fn side_of(
    items: &[Item],
    landed: &[(Job, RecordId)],
    sync: &crate::record::SyncId,
) -> Option<crate::contract::Side> {
    landed
        .iter()
        .map(|(job, _)| &items[job.index])
        .find(|item| item.sync.id == *sync)
        .map(Item::other)
}

fn landing(engine: &Engine, item: &Item, job: Job, id: RecordId, readback: Option<Observed>) -> Landing {
    let now = engine.clock.now();
    let created = job.intent.target.is_none();
    let mut entries = super::finish::entries_of(item, now);
    let reason = if created { Reason::Created } else { Reason::Updated };
    let fields = job
        .intent
        .writes
        .iter()
        .filter(|(_, write)| write.why != Why::Passenger)
        .map(|(name, write)| (name.clone(), EntryField::of(write)))
        .collect();
    entries.push(Entry {
        fields,
        ..Entry::new(now, &item.key, reason, "").other(&id)
    });
    let counter = if created {
        &engine.counters.created
    } else {
        &engine.counters.updated
    };
    counter.add(1);
    engine.counters.conflicts.add(item.merge.conflicts.len() as u64);
    let mut release = job.held.releases(engine);
    if !engine.mistakes.has(Mistake::NoIntent) {
        let expect = if engine.mistakes.has(Mistake::NoFencing) {
            Expect::Any
        } else {
            present(&job.held)
        };
        release.push(Op::Delete {
            key: RowKey::new(Table::Intent, job.name.clone()),
            expect,
        });
    }
    release.extend(item.hints.iter().map(|(row, version)| Op::Delete {
        key: row.clone(),
        expect: Expect::Version(*version),
    }));
    Landing {
        sync: item.sync.clone(),
        key: item.key.clone(),
        source_stamp: job.intent.source_stamp,
        source_content: job.intent.source_content,
        target: id,
        target_stamp: job.intent.target_stamp,
        target_xref: match &item.target {
            Some(target) => target.observed.xref.clone(),
            None if engine.mistakes.has(Mistake::NoExternalKey) => None,
            None => Some(item.key.id.0.clone()),
        },
        readback,
        is_confirmed: true,
        writes: job.intent.writes,
        planned: job.intent.planned,
        blocked: job.intent.blocked,
        pending: item.pending.clone(),
        pair: item.pair.clone(),
        pair_expect: item.pair_expect,
        new_link: if created {
            Some((Reason::Created, String::new()))
        } else {
            item.new_link.clone()
        },
        mapping: job.intent.mapping,
        hint_target: item.merge.hint_target,
        pulls: item.pulls.clone(),
        first_merge: item.merge.first_merge_overwrites(),
        messages: job.intent.messages,
        release,
        entries,
    }
}

/// The intent row has the version of the commit that handed the claims over to it.
fn present(held: &Held) -> Expect {
    held.versions
        .values()
        .next()
        .map_or(Expect::Any, |version| Expect::Version(*version))
}
