//! Intents past their deadline (R7, R8): what became of the call whose answer was lost?
//!
//! Intents are work items of their own; nothing here depends on the message that made them.

mod suspects;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::suspects::{SUSPECT_WAITS, find_stamped, report_twins};
use super::apply::{Landing, commit_landed};
use super::claims::Claimant;
use super::engine::Engine;
use super::ledger::{Entry, EntryField, Reason};
use super::merge::{Half, Why, is_missing};
use super::mistakes::Mistake;
use super::rewrite;
use super::spec::SyncSpec;
use super::state::{
    ClaimHolder, Intent, Pair, Parked, RecordKey, Rows, Suspect, expect_of, pair_row_of, suspect_row,
};
use crate::contract::{Expect, Lookup, Op, Row, RowKey, Scan, Table};
use crate::error::{ErrorKind, Result};
use crate::mapping::{Observed, SideMapping};
use crate::record::RecordId;
use crate::value::Value;

/// Resolves intents, and searches again for re-created records.
pub struct Resolver {
    engine: Arc<Engine>,
    claimant: Claimant,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolveStep {
    /// Intents resolved.
    pub resolved: usize,
    /// Intents still open.
    pub open: usize,
}

impl Resolver {
    /// A resolver.
    pub fn new(engine: &Arc<Engine>) -> Resolver {
        Resolver {
            engine: engine.clone(),
            claimant: Claimant::new(engine),
        }
    }

    /// Resolves what is due. Cancel safe at every await.
    pub async fn step(&self) -> Result<ResolveStep> {
        let engine = &*self.engine;
        let scan = Scan {
            table: Table::Intent,
            prefix: String::new(),
            after: None,
            limit: 500,
        };
        let mut step = ResolveStep::default();
        let mut failure = None;
        for (key, row) in engine.store.scan(&scan).await? {
            let row_key = RowKey::new(Table::Intent, key);
            let intent: Intent = engine.typed().sealed(&row_key, &row)?;
            let early = engine.mistakes.has(Mistake::UnknownUpdateAtOnce) && intent.target.is_some();
            if intent.deadline > engine.clock.now() && !early {
                step.open += 1;
                continue;
            }
            // One intent's system being down must not keep the others waiting.
            match self.resolve(&row_key, &row, intent).await {
                Ok(true) => step.resolved += 1,
                Ok(false) => step.open += 1,
                Err(error) => {
                    step.open += 1;
                    failure.get_or_insert(error);
                }
            }
        }
        self.search_suspects().await?;
        failure.map_or(Ok(step), Err)
    }

    async fn resolve(&self, key: &RowKey, row: &Row, intent: Intent) -> Result<bool> {
        let engine = &*self.engine;
        let lease = BTreeSet::from([format!("intent/{}", key.key)]);
        let Some(held) = self.claimant.take(engine, &[lease]).await?.remove(0) else {
            return Ok(false);
        };
        let sync = engine.sync(&intent.source.sync)?.clone();
        let mut release = held.releases(engine);
        release.push(Op::Delete {
            key: key.clone(),
            expect: Expect::Version(row.version),
        });
        release.extend(self.claims_of(key, &intent).await?);
        let side = intent.source.side.other();
        let version = intent.mapping[side.index()];
        // What was planned under an older mapping is compared under it.
        let older = if version == sync.side(side).mapping_version() {
            None
        } else {
            engine.mapping(&sync.id, side, version).await?
        };
        let mapping = older.unwrap_or_else(|| Arc::new(sync.side(side).mapping.clone()));
        let case = Case {
            engine,
            sync,
            intent,
            mapping,
            release,
        };
        let done = match case.intent.target.clone() {
            Some(target) => case.update(&target).await,
            None => case.create().await,
        };
        match done {
            Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// The releases of the claims that the intent holds.
    async fn claims_of(&self, key: &RowKey, intent: &Intent) -> Result<Vec<Op>> {
        let keys: Vec<RowKey> = intent
            .claims
            .iter()
            .map(|claim| RowKey::new(Table::Claim, claim.clone()))
            .collect();
        let rows = self.engine.store.get(&keys).await?;
        let mut ops = Vec::new();
        for (claim, row) in keys.into_iter().zip(rows) {
            let Some(row) = row else { continue };
            if Rows::plain::<ClaimHolder>(&claim, &row)? == ClaimHolder::Intent(key.key.clone()) {
                ops.push(Op::Delete {
                    key: claim,
                    expect: Expect::Version(row.version),
                });
            }
        }
        Ok(ops)
    }
}

/// One intent being resolved.
struct Case<'e> {
    engine: &'e Engine,
    sync: Arc<SyncSpec>,
    intent: Intent,
    /// The target's mapping that the plan was made under.
    mapping: Arc<SideMapping>,
    release: Vec<Op>,
}

impl Case<'_> {
    /// A lost update: field by field, what does the target hold now?
    async fn update(self, target: &RecordId) -> Result<()> {
        let side = self.intent.source.side.other();
        let mut found = self
            .engine
            .fetch(&self.sync, side, std::slice::from_ref(target))
            .await?;
        let Some(seen) = found.remove(target) else {
            return self
                .give_back(
                    Reason::RecoveredNotApplied,
                    "the record is gone there",
                    Vec::new(),
                )
                .await;
        };
        let pair_key = pair_row_of(&self.intent.source, target);
        let row = self
            .engine
            .store
            .get(std::slice::from_ref(&pair_key))
            .await?
            .remove(0);
        let mut before: Pair = match &row {
            Some(row) => self.engine.typed().sealed(&pair_key, row)?,
            None => Pair::default(),
        };
        let now = self.sync.side(side).observe_by(&self.mapping, &seen.native);
        let mut planned = self.intent.planned.clone();
        let landed = |name: &String, write: &super::merge::FieldWrite| {
            let compare = self.sync.model.compare_of(name);
            now.fields.get(name).is_some_and(|now| {
                compare.same(&write.predicted, now) || rewrite::same_but_for_form(&write.predicted, now)
            })
        };
        // Nobody can tell yet: the field has gone since.
        let unseen = |name: &String| is_missing(&self.sync, side, name, &now, self.engine.mistakes);
        let all = self.intent.writes.iter().any(|(name, write)| landed(name, write));
        let mut applied = 0;
        for (name, write) in &self.intent.writes {
            let whole = self.engine.mistakes.has(Mistake::AllOrNothingResolve) && all;
            if whole || landed(name, write) {
                applied += 1;
                continue;
            }
            if unseen(name) {
                if before.base.contains_key(name) && before.mapping != self.intent.mapping {
                    before.base.insert(name.clone(), self.unsettled(write));
                }
                continue;
            }
            // Not landed, or edited by a person since: the old base stands, so the field is dirty and merged again.
            match before.base.get(name) {
                // Its halves are in the words of another mapping than the plan's: the source is dirty, and the target holds what it held.
                Some(_) if before.mapping != self.intent.mapping => {
                    planned.insert(name.clone(), self.unsettled(write));
                }
                Some(halves) => drop(planned.insert(name.clone(), halves.clone())),
                None => drop(planned.remove(name)),
            }
        }
        let reason = if applied > 0 {
            Reason::RecoveredApplied
        } else {
            Reason::RecoveredNotApplied
        };
        let note = format!("{applied} of {} fields had landed", self.intent.writes.len());
        let writes = self
            .intent
            .writes
            .iter()
            .filter(|(name, write)| landed(name, write) || unseen(name));
        let writes: BTreeMap<_, _> = writes
            .map(|(name, write)| (name.clone(), write.clone()))
            .collect();
        let landing = self.landing(
            target.clone(),
            now,
            writes,
            planned,
            before,
            expect_of(row.as_ref()),
            self.intent.new_link.clone(),
        );
        self.commit(landing, reason, note).await
    }

    fn unsettled(&self, write: &super::merge::FieldWrite) -> [Half; 2] {
        let mut halves = [Half::Cleared, Half::Cleared];
        halves[self.intent.source.side.other().index()] = Half::Known(write.before.clone());
        halves
    }

    /// A lost create: is it there?
    async fn create(self) -> Result<()> {
        let stamped = find_stamped(self.engine, &self.sync, &self.mapping, &self.intent.source).await?;
        if let Some(first) = stamped.first().cloned() {
            if self.was_there_before(&first) {
                // Linked once, by a store that is no more: to take it for what we sent would make every difference its edit.
                let note = "the create did not land: the record that carries its cross-reference is older, and is linked by that";
                return self
                    .give_back(Reason::RecoveredNotApplied, note, Vec::new())
                    .await;
            }
            let twins = if stamped.len() > 1 {
                report_twins(self.engine, &self.sync, &self.intent.source, &stamped).await?
            } else {
                Vec::new()
            };
            return self.adopt(first, twins, "found by its cross-reference").await;
        }
        let above = if self.engine.mistakes.has(Mistake::RecreateWithoutHighWater) {
            Vec::new()
        } else {
            self.above_high_water().await?
        };
        let equal: Vec<&Observed> = above
            .iter()
            .filter(|record| record.xref.is_none() && self.equals_sent(record))
            .collect();
        match equal.as_slice() {
            [one] => {
                let one = (*one).clone();
                return self
                    .adopt(
                        one,
                        Vec::new(),
                        "found by what was sent, above the ids known before",
                    )
                    .await;
            }
            [] => {}
            several => {
                let several: Vec<Observed> = several.iter().map(|record| (*record).clone()).collect();
                let sentence = "several new records equal what was sent, and none says whose it is; keep one of them, with this record's id in its cross-reference field";
                return self
                    .park(Reason::ParkedSeveralRecovered, sentence, &several)
                    .await;
            }
        }
        let similar: Vec<Observed> = above
            .iter()
            .filter(|record| record.xref.is_none() && self.is_similar(record))
            .cloned()
            .collect();
        if !similar.is_empty() {
            let sentence = "after a create without answer a similar record appeared; if it is the same, put this record's id into its cross-reference field, else make the two differ";
            return self.park(Reason::ParkedSimilar, sentence, &similar).await;
        }
        let due = self.engine.clock.now().plus(SUSPECT_WAITS[0]);
        let suspect = Suspect {
            source: self.intent.source.clone(),
            searches: 0,
        };
        let row = Rows::put_plain(suspect_row(due, &suspect.source), Expect::Any, &suspect)?;
        self.give_back(
            Reason::RecoveredNotApplied,
            "the create did not land; it is made again",
            vec![row],
        )
        .await
    }

    /// Whether the record was known before the create.
    fn was_there_before(&self, record: &Observed) -> bool {
        let number = |id: &RecordId| id.0.parse::<i64>().ok();
        let mark = self.intent.high_water.as_ref().and_then(number);
        mark.zip(number(&record.id)).is_some_and(|(mark, id)| id <= mark)
    }

    /// Unlinked records that are newer than what was known before the create.
    async fn above_high_water(&self) -> Result<Vec<Observed>> {
        let Some(mark) = self.intent.high_water.clone() else {
            return Ok(Vec::new());
        };
        let side = self.intent.source.side.other();
        let target = &self.engine.system(&self.sync, side)?.target;
        let found = target
            .find(&self.mapping.entity, &[Lookup::AboveId(mark)])
            .await?;
        let records: Vec<Observed> = found
            .into_iter()
            .flatten()
            .map(|native| self.sync.side(side).observe_by(&self.mapping, &native))
            .collect();
        let keys: Vec<RecordKey> = records
            .iter()
            .map(|record| RecordKey::new(&self.sync.id, side, &record.id))
            .collect();
        let rows: Vec<RowKey> = keys.iter().map(|key| key.row(Table::Link)).collect();
        let links = self.engine.store.get(&rows).await?;
        Ok(records
            .into_iter()
            .zip(links)
            .filter(|(_, link)| link.is_none())
            .map(|(record, _)| record)
            .collect())
    }

    fn equals_sent(&self, record: &Observed) -> bool {
        self.intent
            .writes
            .iter()
            .all(|(name, write)| self.holds(record, name, &write.predicted))
    }

    /// Same name, and the same match key or at least half of the mapped fields equal.
    fn is_similar(&self, record: &Observed) -> bool {
        let identity = self.sync.model.identity.iter().filter(|name| {
            self.sync
                .model
                .fields
                .get(*name)
                .is_some_and(|spec| spec.reference.is_none())
        });
        let mut named = false;
        for name in identity {
            named = true;
            let Some(write) = self.intent.writes.get(name) else {
                return false;
            };
            if !self.holds(record, name, &write.predicted) {
                return false;
            }
        }
        let equal = self
            .intent
            .writes
            .iter()
            .filter(|(name, write)| self.holds(record, name, &write.predicted))
            .count();
        let by_key = self.sync.model.match_rules.iter().any(|rule| {
            rule.fields.iter().all(|field| {
                let sent = self
                    .intent
                    .writes
                    .get(&field.field)
                    .and_then(|write| field.normalise.apply(&write.predicted));
                let there = record
                    .fields
                    .get(&field.field)
                    .and_then(|value| field.normalise.apply(value));
                sent.is_some() && sent == there
            })
        });
        named && (by_key || equal * 2 >= self.intent.writes.len())
    }

    fn holds(&self, record: &Observed, name: &String, value: &Value) -> bool {
        let compare = self.sync.model.compare_of(name);
        record
            .fields
            .get(name)
            .is_some_and(|now| compare.same(value, now))
    }

    /// The create landed: link it.
    async fn adopt(mut self, record: Observed, more: Vec<Op>, note: &str) -> Result<()> {
        self.release.extend(more);
        let id = record.id.clone();
        let writes = self.intent.writes.clone();
        let planned = self.intent.planned.clone();
        let link = Some((Reason::LinkedByRecovery, note.to_owned()));
        let landing = self.landing(id, record, writes, planned, Pair::default(), Expect::Absent, link);
        self.engine.counters.created.add(1);
        self.commit(landing, Reason::LinkedByRecovery, note.to_owned())
            .await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a landing, named where it is built"
    )]
    fn landing(
        &self,
        target: RecordId,
        readback: Observed,
        writes: BTreeMap<String, super::merge::FieldWrite>,
        planned: super::merge::Base,
        pair: Pair,
        pair_expect: Expect,
        new_link: Option<(Reason, String)>,
    ) -> Landing {
        let unmarked = self.engine.mistakes.has(Mistake::IntentSeenNotMarked);
        Landing {
            sync: self.sync.clone(),
            key: self.intent.source.clone(),
            source_stamp: self.intent.source_stamp.filter(|_| !unmarked),
            source_content: self.intent.source_content.clone(),
            target,
            target_stamp: self.intent.target_stamp,
            target_xref: readback.xref.clone(),
            readback: Some(readback),
            is_confirmed: false,
            writes,
            planned,
            blocked: self.intent.blocked.clone(),
            pending: BTreeMap::new(),
            pair,
            pair_expect,
            new_link,
            mapping: self.intent.mapping,
            hint_target: true,
            pulls: Vec::new(),
            first_merge: 0,
            messages: self.intent.messages.clone(),
            release: self.release.clone(),
            entries: Vec::new(),
        }
    }

    /// Commits, and has the source looked at again: what did not land is still dirty.
    async fn commit(&self, mut landing: Landing, reason: Reason, note: String) -> Result<()> {
        let fields = self
            .intent
            .writes
            .iter()
            .filter(|(_, write)| write.why != Why::Passenger);
        let fields = fields
            .map(|(name, write)| (name.clone(), EntryField::of(write)))
            .collect();
        let entry = Entry::new(self.engine.clock.now(), &self.intent.source, reason, note);
        let entry = Entry {
            fields,
            ..entry.other(&landing.target)
        };
        landing.entries.push(entry);
        landing.release.push(self.engine.hint(&self.intent.source)?);
        match commit_landed(self.engine, vec![landing]).await?.remove(0) {
            Some(_) => Ok(()),
            None => Err(crate::error::Error::conflict(
                "the intent was resolved by another worker",
            )),
        }
    }

    /// The call did not land: the record is free again and looked at again.
    async fn give_back(self, reason: Reason, note: &str, more: Vec<Op>) -> Result<()> {
        let mut ops = self.release.clone();
        ops.extend(more);
        ops.push(self.engine.hint(&self.intent.source)?);
        let entry = Entry::new(self.engine.clock.now(), &self.intent.source, reason, note);
        ops.push(
            self.engine
                .typed()
                .put_sealed(entry.row(self.engine.salt()), Expect::Any, &entry)?,
        );
        self.engine.store.commit(ops).await.map(drop)
    }

    /// Source and candidates all go to a person; none is a candidate until then.
    async fn park(self, reason: Reason, sentence: &str, candidates: &[Observed]) -> Result<()> {
        let engine = self.engine;
        let side = self.intent.source.side.other();
        let keys: Vec<RecordKey> = candidates
            .iter()
            .map(|record| RecordKey::new(&self.sync.id, side, &record.id))
            .collect();
        let now = engine.clock.now();
        let parked = |content: String, candidates: Vec<RecordKey>| Parked {
            reason,
            sentence: sentence.to_owned(),
            content,
            since: now,
            waits_for: None,
            candidates,
        };
        let mut ops = self.release.clone();
        for (record, key) in candidates.iter().zip(&keys) {
            let row = parked(
                engine.content_hash(&self.sync, record),
                vec![self.intent.source.clone()],
            );
            ops.push(
                engine
                    .typed()
                    .put_sealed(key.row(Table::Parked), Expect::Any, &row)?,
            );
        }
        engine.counters.parked.add(1 + keys.len() as u64);
        let row = parked(self.intent.source_content.clone(), keys);
        ops.push(
            engine
                .typed()
                .put_sealed(self.intent.source.row(Table::Parked), Expect::Any, &row)?,
        );
        let entry = Entry::new(now, &self.intent.source, reason, sentence);
        ops.push(
            engine
                .typed()
                .put_sealed(entry.row(engine.salt()), Expect::Any, &entry)?,
        );
        engine.store.commit(ops).await.map(drop)
    }
}
