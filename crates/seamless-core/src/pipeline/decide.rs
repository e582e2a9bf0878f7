//! What only a person can decide, and how their word gets in: matches that are in doubt, conflicts that are asked, links made and undone by hand.
//!
//! Nothing here writes to a system. A decision is a row and a hint; the applier follows it under the usual claims.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::wake_ops;
use super::claims::Claimant;
use super::conflict::ASKED;
use super::engine::Engine;
use super::held::HeldFields;
use super::ledger::{Entry, Reason};
use super::spec::SyncSpec;
use super::state::{
    Answer, Decision, Link, Pair, Parked, RecordKey, Rows, WriteBack, expect_of, pair_row_of,
};
use crate::contract::{Expect, Op, Side, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Observed;
use crate::record::RecordId;
use crate::value::Value;

/// What a person is asked.
#[derive(Clone)]
pub struct Review {
    /// The record.
    pub record: RecordKey,
    /// Its counterpart, when the question is about fields of a pair.
    pub other: Option<RecordId>,
    /// Why it was set aside, and what to do.
    pub parked: Option<Parked>,
    /// Fields that were changed on both sides.
    pub asked: BTreeSet<String>,
}

/// What became of links that were imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    /// Pairs linked.
    pub linked: u64,
    /// Pairs that were linked already.
    pub kept: u64,
    /// Pairs that were refused, with the reason.
    pub refused: Vec<(RecordId, RecordId, String)>,
}

impl Reason {
    /// Questions of who belongs to whom: for `review`. What was refused or is incomplete is for the record's own system.
    pub const IS_REVIEWED: [Reason; 7] = [
        Reason::ParkedAmbiguous,
        Reason::ParkedSuspectedDuplicate,
        Reason::ParkedCopiedReference,
        Reason::ParkedSeveralRecovered,
        Reason::ParkedSimilar,
        Reason::ReportedDuplicate,
        Reason::Unlinked,
    ];
}

impl Engine {
    /// What waits for a person's word, at most so many: first the records, then the conflicts.
    pub async fn reviews(&self, max: usize) -> Result<Vec<Review>> {
        let mut reviews = Vec::new();
        self.each_row(Table::Parked, |key, row| {
            let parked: Parked = self.typed().sealed(&key, &row)?;
            if let Some(record) = self.record_of(&key.key)
                && Reason::IS_REVIEWED.contains(&parked.reason)
            {
                reviews.push(Review {
                    record,
                    other: None,
                    parked: Some(parked),
                    asked: BTreeSet::new(),
                });
            }
            Ok(reviews.len() < max)
        })
        .await?;
        let is_asked = |held: &HeldFields| held.fields.values().any(|why| why == ASKED);
        let room = max.saturating_sub(reviews.len());
        for held in self.held(None, room, is_asked).await? {
            let asked = held.fields.into_iter().filter(|(_, why)| why == ASKED);
            reviews.push(Review {
                asked: asked.map(|(name, _)| name).collect(),
                other: Some(held.other),
                record: held.record,
                parked: None,
            });
        }
        reviews.truncate(max);
        Ok(reviews)
    }

    /// Records as they are now; those that are gone are left out.
    pub async fn look_at(&self, records: &[RecordKey]) -> Result<BTreeMap<RecordKey, Observed>> {
        let mut groups: BTreeMap<(crate::record::SyncId, Side), Vec<RecordId>> = BTreeMap::new();
        for record in records {
            let group = groups.entry((record.sync.clone(), record.side)).or_default();
            group.push(record.id.clone());
        }
        let mut found = BTreeMap::new();
        for ((sync, side), ids) in groups {
            let spec = self.sync(&sync)?.clone();
            for (id, seen) in self.fetch(&spec, side, &ids).await? {
                found.insert(RecordKey::new(&sync, side, &id), seen.observed);
            }
        }
        Ok(found)
    }

    /// Notes what a person has decided about a record without counterpart, and has it looked at. [`ErrorKind::Refused`] when the decision cannot be followed.
    pub async fn decide(&self, record: &RecordKey, decision: Decision) -> Result<()> {
        let refused = |why: String| Error::new(ErrorKind::Refused, why).with("record", record.path());
        if let Some(link) = self.link_of(record).await? {
            return Err(refused(format!(
                "it is linked to {} already; `seamless review unlink` takes them apart",
                link.other
            )));
        }
        let mut wanted = vec![record.clone()];
        if let Decision::Link { other } = &decision {
            let other = RecordKey::new(&record.sync, record.side.other(), other);
            if let Some(link) = self.link_of(&other).await? {
                return Err(refused(format!(
                    "{} is linked to {} already; `seamless review unlink` takes them apart",
                    other.id, link.other
                )));
            }
            wanted.push(other);
        }
        let found = self.look_at(&wanted).await?;
        if let Some(gone) = wanted.iter().find(|record| !found.contains_key(record)) {
            return Err(refused(format!(
                "there is no record {} there, or it is not visible",
                gone.id
            )));
        }
        let mut ops = vec![Rows::put_plain(
            record.row(Table::Decision),
            Expect::Any,
            &decision,
        )?];
        ops.push(self.hint(record)?);
        if let Decision::Link { other } = &decision {
            // Said of both: whichever is looked at first, nothing else happens to the other one in between.
            let other = RecordKey::new(&record.sync, record.side.other(), other);
            let back = Decision::Link {
                other: record.id.clone(),
            };
            ops.push(Rows::put_plain(other.row(Table::Decision), Expect::Any, &back)?);
        }
        self.store.commit(ops).await.map(drop)
    }

    /// Forgets what a person has decided about a record, and has it looked at. False when nothing had been decided.
    pub async fn forget_decision(&self, record: &RecordKey) -> Result<bool> {
        let key = record.row(Table::Decision);
        let row = self.store.get(std::slice::from_ref(&key)).await?.remove(0);
        if row.is_none() {
            return Ok(false);
        }
        let gone = |key| Op::Delete {
            key,
            expect: Expect::Any,
        };
        let ops = vec![gone(key), gone(record.row(Table::Parked)), self.hint(record)?];
        self.store.commit(ops).await?;
        Ok(true)
    }

    /// Notes whose value of a field stands, between the two that both sides hold now.
    pub async fn answer(&self, record: &RecordKey, field: &str, winner: Side) -> Result<()> {
        let refused = |why: &str| Error::new(ErrorKind::Refused, why).with("record", record.path());
        let Some((link, mut pair, expect)) = self.pair_of(record).await? else {
            return Err(refused("it has no counterpart: there is no conflict to decide"));
        };
        if pair
            .blocked
            .get(field)
            .is_none_or(|why| why != super::conflict::ASKED)
        {
            return Err(refused(
                "nothing is asked about this field of it; see `seamless review`",
            ));
        }
        let other = RecordKey::new(&record.sync, record.side.other(), &link.other);
        let found = self.look_at(&[record.clone(), other.clone()]).await?;
        let value = |record: &RecordKey| -> Option<Value> { found.get(record)?.fields.get(field).cloned() };
        let (Some(here), Some(there)) = (value(record), value(&other)) else {
            return Err(refused(
                "one of the two records is gone, or its field cannot be read",
            ));
        };
        let mut values = [here, there];
        if record.side == Side::B {
            values.reverse();
        }
        pair.answers.insert(field.to_owned(), Answer { winner, values });
        // Content that was decided on is looked at again.
        pair.decided = [None, None];
        let row = pair_row_of(record, &link.other);
        let ops = vec![
            self.typed().put_sealed(row, expect, &pair)?,
            self.hint(record)?,
            self.hint(&other)?,
        ];
        self.store.commit(ops).await.map(drop)
    }

    /// Takes two linked records apart. Both wait for a person's word; their cross-reference fields are cleared where they name each other.
    pub async fn unlink(&self, record: &RecordKey) -> Result<RecordKey> {
        let refused = |why: &str| Error::new(ErrorKind::Refused, why).with("record", record.path());
        let Some(link) = self.link_of(record).await? else {
            return Err(refused("it is not linked"));
        };
        let sync = self.sync(&record.sync)?.clone();
        let other = RecordKey::new(&record.sync, record.side.other(), &link.other);
        let claims: BTreeSet<String> = [record, &other]
            .map(|record| self.record_claim(&sync, record.side, &record.id))
            .into();
        let Some(held) = Claimant::new(self).take(self, &[claims]).await?.remove(0) else {
            return Err(refused(
                "it is being worked on, or a call about it is still under way; try again later",
            ));
        };
        let mut ops = held.releases(self);
        ops.extend(self.unlink_ops(&sync, record, &other).await?);
        self.store.commit(ops).await?;
        Ok(other)
    }

    async fn unlink_ops(&self, sync: &SyncSpec, record: &RecordKey, other: &RecordKey) -> Result<Vec<Op>> {
        let now = self.clock.now();
        let mut ops = Vec::new();
        let rows = [
            record.row(Table::Link),
            other.row(Table::Link),
            pair_row_of(record, &other.id),
        ];
        for (key, row) in rows.iter().zip(self.store.get(&rows).await?) {
            ops.push(Op::Delete {
                key: key.clone(),
                expect: expect_of(row.as_ref()),
            });
        }
        ops.push(Op::Delete {
            key: record.on_first_side(&other.id).row(Table::Held),
            expect: Expect::Any,
        });
        for (own, there) in [(record, other), (other, record)] {
            ops.push(Rows::put_plain(
                own.row(Table::Decision),
                Expect::Any,
                &Decision::Unlinked,
            )?);
            let parked = Parked {
                reason: Reason::Unlinked,
                sentence: format!(
                    "a person has unlinked it from {}; say with `seamless review` what it is",
                    there.id
                ),
                // No content equals this: the next look fills it in.
                content: String::new(),
                since: now,
                waits_for: None,
                candidates: vec![there.clone()],
            };
            ops.push(
                self.typed()
                    .put_sealed(own.row(Table::Parked), Expect::Any, &parked)?,
            );
            if sync.side(own.side).mapping.xref.is_some() {
                let clear = WriteBack {
                    over: Some(there.id.clone()),
                    ..WriteBack::new(RecordId(String::new()), now)
                };
                ops.push(Rows::put_plain(own.row(Table::WriteBack), Expect::Any, &clear)?);
            }
            let entry = Entry::new(now, own, Reason::Unlinked, "a person took them apart").other(&there.id);
            ops.push(
                self.typed()
                    .put_sealed(entry.row(self.salt()), Expect::Any, &entry)?,
            );
        }
        Ok(ops)
    }

    /// Links pairs that a person names, where both records exist and neither is linked. The base stays empty: first-merge rules decide on differences (R4).
    pub async fn import_links(&self, sync: &SyncSpec, pairs: &[(RecordId, RecordId)]) -> Result<Imported> {
        let mut imported = Imported::default();
        for page in pairs.chunks(200) {
            let keys: Vec<[RecordKey; 2]> = page
                .iter()
                .map(|(a, b)| {
                    [
                        RecordKey::new(&sync.id, Side::A, a),
                        RecordKey::new(&sync.id, Side::B, b),
                    ]
                })
                .collect();
            let found = self.look_at(&keys.concat()).await?;
            for ([a, b], (a_id, b_id)) in keys.iter().zip(page) {
                let gone = [a, b].into_iter().find(|record| !found.contains_key(record));
                let links = (self.link_of(a).await?, self.link_of(b).await?);
                let why = match (gone, links) {
                    (Some(gone), _) => {
                        let system = &sync.side(gone.side).system;
                        format!("there is no record {} in {system}, or it is not visible", gone.id)
                    }
                    (None, (Some(link), _)) if link.other == *b_id => {
                        imported.kept += 1;
                        continue;
                    }
                    (None, (None, None)) => {
                        if self.link_by_hand(sync, a, b).await? {
                            imported.linked += 1;
                            continue;
                        }
                        "a call about one of them is still under way; try again later".to_owned()
                    }
                    (None, _) => "one of them is linked to another record already".to_owned(),
                };
                imported.refused.push((a_id.clone(), b_id.clone(), why));
            }
        }
        self.store.commit(self.mark_used().await?).await?;
        Ok(imported)
    }

    /// False when somebody else holds one of the two.
    async fn link_by_hand(&self, sync: &SyncSpec, a: &RecordKey, b: &RecordKey) -> Result<bool> {
        let claims: BTreeSet<String> = [a, b]
            .map(|record| self.record_claim(sync, record.side, &record.id))
            .into();
        let Some(held) = Claimant::new(self).take(self, &[claims]).await?.remove(0) else {
            return Ok(false);
        };
        let mut ops = held.releases(self);
        ops.extend(self.pair_ops(sync, a, b).await?);
        let now = self.clock.now();
        for record in [a, b] {
            ops.push(self.hint(record)?);
            ops.push(Op::Delete {
                key: record.row(Table::Parked),
                expect: Expect::Any,
            });
        }
        let entry = Entry::new(now, a, Reason::LinkedByPerson, "imported").other(&b.id);
        ops.push(
            self.typed()
                .put_sealed(entry.row(self.salt()), Expect::Any, &entry)?,
        );
        match self.store.commit(ops).await {
            // Somebody came between: another link, or a child that has just begun to wait.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
            done => done.map(|_| true),
        }
    }

    /// The rows of a new pair without base, its children woken, its cross-references on their way.
    async fn pair_ops(&self, sync: &SyncSpec, a: &RecordKey, b: &RecordKey) -> Result<Vec<Op>> {
        let pair = Pair {
            mapping: [sync.sides[0].mapping_version(), sync.sides[1].mapping_version()],
            ..Pair::default()
        };
        let link = |other: &RecordKey| Link {
            other: other.id.clone(),
        };
        let mut ops = vec![
            Rows::put_plain(a.row(Table::Link), Expect::Absent, &link(b))?,
            Rows::put_plain(b.row(Table::Link), Expect::Absent, &link(a))?,
            self.typed()
                .put_sealed(pair_row_of(a, &b.id), Expect::Any, &pair)?,
        ];
        let wakes = wake_ops(self, &[a.clone(), b.clone()]).await?;
        ops.extend(wakes.into_values().flatten());
        for (record, other) in [(a, b), (b, a)] {
            ops.push(Op::Delete {
                key: record.row(Table::Decision),
                expect: Expect::Any,
            });
            if sync.side(record.side).mapping.xref.is_some() {
                let row = WriteBack::new(other.id.clone(), self.clock.now());
                ops.push(Rows::put_plain(record.row(Table::WriteBack), Expect::Any, &row)?);
            }
        }
        Ok(ops)
    }

    /// The operations that take in a record that is outside the scope, because another one refers to it.
    pub(crate) fn take_in(&self, record: &RecordKey) -> Result<Vec<Op>> {
        Ok(vec![
            Rows::put_plain(record.row(Table::Decision), Expect::Any, &Decision::Include)?,
            self.hint(record)?,
        ])
    }

    async fn link_of(&self, record: &RecordKey) -> Result<Option<Link>> {
        let key = record.row(Table::Link);
        let row = self.store.get(std::slice::from_ref(&key)).await?.remove(0);
        row.map(|row| Rows::plain(&key, &row)).transpose()
    }

    pub(super) async fn pair_of(&self, record: &RecordKey) -> Result<Option<(Link, Pair, Expect)>> {
        let Some(link) = self.link_of(record).await? else {
            return Ok(None);
        };
        let key = pair_row_of(record, &link.other);
        let row = self.store.get(std::slice::from_ref(&key)).await?.remove(0);
        let expect = expect_of(row.as_ref());
        let pair = row.map(|row| self.typed().sealed(&key, &row)).transpose()?;
        Ok(Some((link, pair.unwrap_or_default(), expect)))
    }
}
