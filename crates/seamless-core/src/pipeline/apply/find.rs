//! Matching (R9): an unlinked record looks for its counterpart.

use std::collections::{BTreeMap, BTreeSet};

use super::Applier;
use super::item::{End, Item};
use super::taken::Taken;
use crate::capability::ExternalKey;
use crate::contract::{Lookup, RowKey, Scan, Side, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Observed;
use crate::pipeline::Engine;
use crate::pipeline::ledger::Reason;
use crate::pipeline::matching::{self, Candidate, RuleOutcome};
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::{MatchRule, SyncSpec};
use crate::pipeline::state::{Decision, Intent, Link, RecordKey};
use crate::record::{RecordId, SyncId};
use crate::value::Value;

/// What the look-ups for one record brought.
#[derive(Default)]
pub(super) struct Findings {
    /// Records on the other side whose cross-reference names the source.
    pub(super) naming_us: Vec<Observed>,
    /// The record that the source's cross-reference names.
    pub(super) named: Option<Observed>,
    /// Others on the source's own side that name the same record.
    pub(super) namesakes: Vec<Observed>,
    /// By rule: records there, records on the source's own side.
    pub(super) rules: Vec<(Vec<Observed>, Vec<Observed>)>,
}

/// Finds counterparts for the unlinked items and claims them.
pub(super) async fn link_new(applier: &Applier, items: &mut [Item]) -> Result<()> {
    let engine = &*applier.engine;
    let mut groups: BTreeMap<(SyncId, Side), Vec<usize>> = BTreeMap::new();
    for (index, item) in items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.open() && item.link.is_none())
    {
        groups
            .entry((item.sync.id.clone(), item.side()))
            .or_default()
            .push(index);
    }
    for ((sync, side), indexes) in groups {
        let sync = engine.sync(&sync)?.clone();
        refuse_empty_state(engine, items, &indexes).await?;
        let ghosts = open_creates(engine, &sync, side.other()).await?;
        let ours = open_creates(engine, &sync, side).await?;
        // Before the calls: the answers may be long on their way.
        let searched_at = engine.clock.monotonic();
        let findings = look_up(engine, &sync, side, items, &indexes).await?;
        let taken = Taken::load(engine, &sync, side, items, &indexes, &findings).await?;
        for (index, findings) in indexes.iter().zip(findings) {
            let item = &mut items[*index];
            item.read_at = searched_at;
            decide(engine, item, findings, &taken, &ghosts, &ours);
        }
    }
    // A record just found is claimed by try, never by waiting.
    applier
        .claim(items, |item, engine| {
            if item.new_link.is_some() {
                item.record_claims(engine)
            } else {
                BTreeSet::new()
            }
        })
        .await
}

/// A fresh store that meets cross-references has lost its state: going on would create everything again.
async fn refuse_empty_state(engine: &Engine, items: &[Item], indexes: &[usize]) -> Result<()> {
    let stamped = indexes.iter().find(|index| {
        items[**index]
            .source
            .as_ref()
            .is_some_and(|source| source.xref.is_some())
    });
    let Some(index) = stamped else { return Ok(()) };
    if engine.is_used().await? {
        return Ok(());
    }
    Err(empty_state(&items[*index].key))
}

/// The refusal for an empty store that meets full systems.
pub(crate) fn empty_state(record: &RecordKey) -> Error {
    Error::new(
        ErrorKind::Refused,
        "the state store is empty, but records carry cross-references from an earlier synchronisation: the store was lost or replaced; \
         restore its backup, or run `seamless links rebuild` to link the records that name each other",
    )
    .with("record", record.path())
}

async fn look_up(
    engine: &Engine,
    sync: &SyncSpec,
    side: Side,
    items: &[Item],
    indexes: &[usize],
) -> Result<Vec<Findings>> {
    let (own, there) = (sync.side(side), sync.side(side.other()));
    let rules = &sync.model.match_rules;
    let mut lookups: Vec<Lookup> = Vec::new();
    let mut plans: Vec<(Option<usize>, Vec<Option<usize>>)> = Vec::new();
    let mut twins: Vec<Lookup> = Vec::new();
    let mut twin_plans: Vec<(Option<usize>, Vec<Option<usize>>)> = Vec::new();
    let mut named: BTreeSet<RecordId> = BTreeSet::new();
    for index in indexes {
        let item = &items[*index];
        let Some(source) = &item.source else { continue };
        let by_xref = naming(there, &item.key.id.0).map(|lookup| push(&mut lookups, lookup));
        let same_xref = source.xref.as_ref().and_then(|xref| naming(own, xref));
        let by_namesake = same_xref.map(|lookup| push(&mut twins, lookup));
        let mut by_rule = Vec::new();
        let mut by_twin = Vec::new();
        for rule in rules {
            let asked = matching::key_of(rule, source).is_some();
            by_rule.push(
                asked
                    .then(|| probe(there, rule, source))
                    .flatten()
                    .map(|l| push(&mut lookups, l)),
            );
            by_twin.push(
                asked
                    .then(|| probe(own, rule, source))
                    .flatten()
                    .map(|l| push(&mut twins, l)),
            );
        }
        plans.push((by_xref, by_rule));
        twin_plans.push((by_namesake, by_twin));
        named.extend(source.xref.iter().map(|xref| RecordId(xref.clone())));
    }
    let target = &engine.system(sync, side.other())?.target;
    let found = find_all(target.as_ref(), &there.mapping.entity, &lookups).await?;
    let own_target = &engine.system(sync, side)?.target;
    let found_twins = find_all(own_target.as_ref(), &own.mapping.entity, &twins).await?;
    let named: Vec<RecordId> = named.into_iter().collect();
    let named = engine.fetch(sync, side.other(), &named).await?;
    let sources: Vec<&Observed> = indexes
        .iter()
        .filter_map(|index| items[*index].source.as_ref())
        .collect();
    let births = engine.births(sync, side, &sources).await?;
    let observe =
        |side: Side, at: &Option<usize>, found: &[Vec<crate::record::NativeRecord>]| -> Vec<Observed> {
            let records = at.and_then(|at| found.get(at));
            records
                .into_iter()
                .flatten()
                .map(|native| sync.side(side).observe(native))
                .collect()
        };
    let mut all = Vec::with_capacity(indexes.len());
    let mut plans = plans.into_iter().zip(twin_plans).enumerate();
    for index in indexes {
        let item = &items[*index];
        let (Some(source), Some((place, ((by_xref, by_rule), (by_namesake, by_twin))))) = (
            &item.source,
            if item.source.is_some() { plans.next() } else { None },
        ) else {
            all.push(Findings::default());
            continue;
        };
        let mut naming_us = observe(side.other(), &by_xref, &found);
        naming_us.retain(|record| record.xref.as_deref() == Some(item.key.id.as_str()));
        let mut namesakes = observe(side, &by_namesake, &found_twins);
        namesakes.retain(|record| record.xref == source.xref && record.id != item.key.id);
        let mut per_rule = Vec::new();
        for (number, ((rule, at), twin_at)) in rules.iter().zip(by_rule).zip(by_twin).enumerate() {
            let key = matching::key_of(rule, source);
            let same = |record: &Observed| key.is_some() && matching::key_of(rule, record) == key;
            let mut records = observe(side.other(), &at, &found);
            // The search may not show them yet.
            for (_, born) in births.iter().filter(|(at, _)| *at == (place, number)) {
                if records.iter().all(|record| record.id != born.id) {
                    records.push(born.clone());
                }
            }
            records.retain(same);
            let mut twins = observe(side, &twin_at, &found_twins);
            twins.retain(|record| same(record) && record.id != item.key.id);
            per_rule.push((records, twins));
        }
        let named = source
            .xref
            .as_ref()
            .and_then(|xref| named.get(&RecordId(xref.clone())));
        all.push(Findings {
            naming_us,
            named: named.map(|seen| seen.observed.clone()),
            namesakes,
            rules: per_rule,
        });
    }
    Ok(all)
}

async fn find_all(
    target: &dyn crate::contract::Target,
    entity: &str,
    lookups: &[Lookup],
) -> Result<Vec<Vec<crate::record::NativeRecord>>> {
    if lookups.is_empty() {
        return Ok(Vec::new());
    }
    let found = target.find(entity, lookups).await?;
    if found.len() != lookups.len() {
        return Err(Error::protocol(
            "the connector answered another number of look-ups than it was asked",
        ));
    }
    Ok(found)
}

fn push(lookups: &mut Vec<Lookup>, lookup: Lookup) -> usize {
    lookups.push(lookup);
    lookups.len() - 1
}

/// The question which records carry a cross-reference, where it can be asked.
fn naming(side: &crate::pipeline::spec::SideSpec, xref: &str) -> Option<Lookup> {
    let field = side.mapping.xref.clone()?;
    let can_search = matches!(
        side.capabilities.external_key,
        ExternalKey::Unique | ExternalKey::Searchable
    );
    can_search.then(|| Lookup::Field {
        field,
        value: Value::Text(xref.to_owned()),
    })
}

/// The question for a rule: its first field, as this side writes it.
fn probe(side: &crate::pipeline::spec::SideSpec, rule: &MatchRule, source: &Observed) -> Option<Lookup> {
    let field = rule.fields.first()?;
    let value = source.fields.get(&field.field)?;
    let path = &side.mapping.fields.get(&field.field)?.native;
    let native = side
        .mapping
        .project(&field.field, value)
        .map(|projection| projection.native);
    let native = native.unwrap_or_else(|_| value.clone());
    (!native.is_empty()).then(|| Lookup::Field {
        field: path.clone(),
        value: native,
    })
}

/// High-water ids of the create intents that are open into a side.
async fn open_creates(engine: &Engine, sync: &SyncSpec, into: Side) -> Result<Vec<i64>> {
    if !sync.side(into).capabilities.ascending_ids {
        return Ok(Vec::new());
    }
    let scan = Scan {
        table: Table::Intent,
        prefix: format!("{}/", sync.id),
        after: None,
        limit: 1_000,
    };
    let mut marks = Vec::new();
    for (key, row) in engine.store.scan(&scan).await? {
        let intent: Intent = engine.typed().sealed(&RowKey::new(Table::Intent, key), &row)?;
        if intent.target.is_none() && intent.source.side.other() == into {
            marks.extend(intent.high_water.and_then(|id| id.0.parse::<i64>().ok()));
        }
    }
    Ok(marks)
}

/// A record that nobody refers to and that is newer than an open create: it may be that create's ghost.
fn may_be_ghost(record: &Observed, linked: bool, marks: &[i64]) -> bool {
    let id = record.id.0.parse::<i64>().ok();
    !linked && record.xref.is_none() && id.is_some_and(|id| marks.iter().any(|mark| id > *mark))
}

fn decide(engine: &Engine, item: &mut Item, found: Findings, taken: &Taken, ghosts: &[i64], ours: &[i64]) {
    let Some(source) = item.source.clone() else { return };
    let wait = engine.timings.defer_min * 4;
    if may_be_ghost(&source, false, ours) {
        item.end = Some(End::Defer(wait));
        return;
    }
    if follow_person(engine, item, &source, taken) {
        return;
    }
    let there = |record: &Observed| RecordKey::new(&item.sync.id, item.other(), &record.id);
    if let Some(named) = &found.named {
        let key = there(named);
        if taken.apart.contains(&key) {
            let sentence = format!(
                "its cross-reference names {}, which a person has set aside; say with `seamless review` what it is, or clear the field",
                named.id
            );
            item.park(engine, Reason::ParkedCopiedReference, sentence, vec![key]);
            return;
        }
        let belongs_to_another =
            taken.linked.contains_key(&key) || named.xref.as_ref().is_some_and(|xref| *xref != item.key.id.0);
        if belongs_to_another && !engine.mistakes.has(Mistake::CopyFollowed) {
            let sentence = format!(
                "its cross-reference names {}, which belongs to another record: probably a copy made by a person; clear the field in one of the two",
                named.id
            );
            item.park(engine, Reason::ParkedCopiedReference, sentence, vec![key]);
            return;
        }
        if taken.busy(&key) {
            item.end = Some(End::Defer(wait));
            return;
        }
        if !found.namesakes.is_empty() {
            let sentence = format!(
                "{} other record(s) here name {}, too: one of them is a copy made by a person; clear the field in all but one",
                found.namesakes.len(),
                named.id
            );
            let mut candidates = vec![key];
            let own = |record: &Observed| RecordKey::new(&item.sync.id, item.side(), &record.id);
            candidates.extend(found.namesakes.iter().map(own));
            item.park(engine, Reason::ParkedCopiedReference, sentence, candidates);
            return;
        }
        let id = named.id.clone();
        link(
            item,
            &id,
            Reason::LinkedByReference,
            "its cross-reference names it",
        );
        return;
    }
    let lost = source.xref.as_deref().filter(|_| found.named.is_none());
    if lost.is_some_and(|id| {
        taken
            .intended
            .contains(&RecordKey::new(&item.sync.id, item.other(), &id.into()))
    }) {
        // We made it for a record that was deleted meanwhile, and do not know yet that we did.
        item.end = Some(End::Defer(wait));
        return;
    }
    let free: Vec<&Observed> = found
        .naming_us
        .iter()
        .filter(|record| !taken.busy(&there(record)))
        .collect();
    match free.as_slice() {
        [] => {}
        [one] => {
            let id = one.id.clone();
            link(
                item,
                &id,
                Reason::LinkedByReference,
                "its counterpart's cross-reference names it",
            );
            return;
        }
        several => {
            let candidates = several.iter().map(|record| there(record)).collect();
            let sentence = format!(
                "{} records carry its cross-reference; clear all but one",
                several.len()
            );
            item.park(engine, Reason::ParkedAmbiguous, sentence, candidates);
            return;
        }
    }
    if let Some(parked) = taken.aside.get(&item.key)
        && !engine.mistakes.has(Mistake::SimilarForgotten)
    {
        // Another edit of it decides nothing (R8): neither a rule nor a create takes it from the person who was asked.
        let parked = parked.clone();
        item.park(engine, parked.reason, parked.sentence, parked.candidates);
        return;
    }
    let rules = item.sync.model.match_rules.clone();
    for (rule, (records, twins)) in rules.iter().zip(found.rules) {
        if records
            .iter()
            .any(|record| may_be_ghost(record, taken.has(&there(record)), ghosts))
        {
            item.end = Some(End::Defer(wait));
            return;
        }
        let all_free = engine.mistakes.has(Mistake::LinkedIsCandidate);
        let candidate = |side: Side, record: Observed| Candidate {
            // Where its cross-reference names somebody else it is spoken for, even where our books do not know it.
            taken: !all_free
                && (taken.has(&RecordKey::new(&item.sync.id, side, &record.id))
                    || record
                        .xref
                        .as_ref()
                        .is_some_and(|xref| side != item.side() && *xref != item.key.id.0)),
            same_identity: same_identity(&item.sync, item.side(), &source, side, &record),
            record,
        };
        let records: Vec<Candidate> = records
            .into_iter()
            .map(|record| candidate(item.other(), record))
            .collect();
        let twins: Vec<Candidate> = if engine.mistakes.has(Mistake::OneSidedMatch) {
            Vec::new()
        } else {
            twins
                .into_iter()
                .map(|record| candidate(item.side(), record))
                .collect()
        };
        match matching::judge(&records, &twins) {
            RuleOutcome::Link(id) => {
                link(item, &id, Reason::LinkedByRule, &format!("by {}", rule.name));
                return;
            }
            RuleOutcome::NoMatch => {}
            RuleOutcome::SuspectedDuplicate(id) => {
                let sentence = format!(
                    "{id} there is the same by {} and name, but belongs to another record; merge the two here, tell them apart, or decide with `seamless review`",
                    rule.name
                );
                let key = RecordKey::new(&item.sync.id, item.other(), &id);
                item.park(engine, Reason::ParkedSuspectedDuplicate, sentence, vec![key]);
                return;
            }
            RuleOutcome::Ambiguous => {
                let free = |candidates: &[Candidate], side: Side| -> Vec<RecordKey> {
                    let free = candidates.iter().filter(|candidate| !candidate.taken);
                    free.map(|candidate| RecordKey::new(&item.sync.id, side, &candidate.record.id))
                        .collect()
                };
                let mut candidates = free(&records, item.other());
                let own = free(&twins, item.side());
                let sentence = match (candidates.len(), own.len()) {
                    (0, here) => format!(
                        "{here} other record(s) here have the same {}; tell them apart, merge them, or decide with `seamless review`",
                        rule.name
                    ),
                    (there, 0) => format!(
                        "{there} records there have its {}; tell them apart, merge them, or decide with `seamless review`",
                        rule.name
                    ),
                    (there, here) => format!(
                        "{there} record(s) there and {here} other(s) here have its {}, and nothing says which belong together; tell them apart, merge them, or decide with `seamless review`",
                        rule.name
                    ),
                };
                candidates.extend(own);
                item.park(engine, Reason::ParkedAmbiguous, sentence, candidates);
                return;
            }
        }
    }
}

/// A person's word comes before every rule. Returns whether it says everything.
fn follow_person(engine: &Engine, item: &mut Item, source: &Observed, taken: &Taken) -> bool {
    match item.decision.clone() {
        Some(Decision::Link { other }) => {
            let key = RecordKey::new(&item.sync.id, item.other(), &other);
            if taken.linked.contains_key(&key) {
                let sentence =
                    format!("a person linked it to {other}, which belongs to another record by now");
                item.park(engine, Reason::ParkedAmbiguous, sentence, vec![key]);
            } else if taken.intended.contains(&key) {
                item.end = Some(End::Defer(engine.timings.defer_min * 4));
            } else {
                link(item, &other, Reason::LinkedByPerson, "a person said so");
            }
        }
        Some(Decision::Create) => {}
        Some(Decision::Ignore) => {
            let sentence = "a person has set it aside for good; `seamless review again` takes that back";
            item.park(engine, Reason::Ignored, sentence.to_owned(), Vec::new());
        }
        Some(Decision::Unlinked) if engine.mistakes.has(Mistake::UnlinkedRelinked) => return false,
        Some(Decision::Unlinked) => {
            let sentence =
                "a person has unlinked it; say with `seamless review` what it is: link, create or ignore";
            item.park(engine, Reason::Unlinked, sentence.to_owned(), Vec::new());
        }
        Some(Decision::Include) => return false,
        None => {
            let broken = item.sync.scope[item.side().index()]
                .iter()
                .find(|rule| !rule.holds(source));
            let Some(rule) = broken else { return false };
            let sentence = format!(
                "it is outside the scope of the sync: {} is none of those wanted",
                rule.field
            );
            item.park(engine, Reason::OutOfScope, sentence, Vec::new());
        }
    }
    true
}

fn link(item: &mut Item, id: &RecordId, reason: Reason, note: &str) {
    item.link = Some(Link { other: id.clone() });
    item.new_link = Some((reason, note.to_owned()));
}

/// Equal in every identity field. References are compared within one side only.
fn same_identity(sync: &SyncSpec, side: Side, source: &Observed, other: Side, record: &Observed) -> bool {
    sync.model.identity.iter().all(|name| {
        let Some(spec) = sync.model.fields.get(name) else {
            return true;
        };
        if spec.reference.is_some() && side != other {
            return true;
        }
        match (source.fields.get(name), record.fields.get(name)) {
            (Some(a), Some(b)) => spec.compare.same(a, b) || lower(a) == lower(b),
            _ => false,
        }
    })
}

fn lower(value: &Value) -> Option<String> {
    value.to_plain().map(|text| text.trim().to_lowercase())
}
