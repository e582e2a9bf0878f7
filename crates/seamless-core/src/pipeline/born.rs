//! Records that one sync has just created and another may not find yet (R9).
//!
//! Two systems may both bring one customer to a third. Claims on match keys keep the two syncs apart; but a search may lag behind the first one's create, and
//! the second would create the customer again. So each create leaves a note under the keys by which other syncs would look for it, for as long as the search may lag.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::matching::{key_of, signature};
use super::spec::{MatchRule, SyncSpec};
use super::state::Rows;
use crate::contract::{Expect, Op, RowKey, Scan, Side, Table};
use crate::error::Result;
use crate::mapping::Observed;
use crate::record::{EntityName, RecordId, SystemId};
use crate::value::Timestamp;

/// A new record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Birth {
    id: RecordId,
    until: Timestamp,
}

const PREFIX: &str = "born/";

/// Records seen under one key; more of them are ambiguous in any case.
const BIRTHS_MAX: usize = 10;

fn prefix_of(
    engine: &Engine,
    system: &SystemId,
    entity: &EntityName,
    rule: &MatchRule,
    key: &[String],
) -> String {
    let hash = engine
        .hasher
        .match_claim(entity, &signature(rule), &key.join("\u{1f}"));
    format!("{PREFIX}{system}/{entity}/{hash}/")
}

impl Engine {
    /// Other syncs that keep the same entity of this system in step.
    pub(crate) fn syncs_beside(
        &self,
        sync: &SyncSpec,
        system: &SystemId,
    ) -> impl Iterator<Item = &Arc<SyncSpec>> {
        self.syncs.values().filter(move |other| {
            other.id != sync.id
                && other.model.name == sync.model.name
                && other.sides.iter().any(|side| side.system == *system)
        })
    }

    /// The rules by which this sync and those beside it recognise records, each once.
    pub(crate) fn rules_around(&self, sync: &SyncSpec) -> BTreeMap<String, MatchRule> {
        let beside = Side::BOTH
            .into_iter()
            .flat_map(|side| self.syncs_beside(sync, &sync.side(side).system));
        let rules = sync.model.match_rules.iter();
        rules
            .chain(beside.flat_map(|other| &other.model.match_rules))
            .map(|rule| (signature(rule), rule.clone()))
            .collect()
    }

    /// The notes that a create leaves for the syncs beside this one.
    pub(crate) fn note_birth(&self, sync: &SyncSpec, side: Side, record: &Observed) -> Result<Vec<Op>> {
        let spec = sync.side(side);
        let birth = Birth {
            id: record.id.clone(),
            until: self
                .clock
                .now()
                .plus(spec.capabilities.search_lag_max * 2 + self.timings.send_within),
        };
        let rules = self
            .syncs_beside(sync, &spec.system)
            .flat_map(|other| &other.model.match_rules);
        rules
            .filter_map(|rule| Some((rule, key_of(rule, record)?)))
            .map(|(rule, key)| {
                let prefix = prefix_of(self, &spec.system, &sync.model.name, rule, &key);
                let row = RowKey::new(Table::Meta, format!("{prefix}{}", birth.id));
                Rows::put_plain(row, Expect::Any, &birth)
            })
            .collect()
    }

    /// By source record and rule: what a sync beside this one has just created on the other side.
    pub(crate) async fn births(
        &self,
        sync: &SyncSpec,
        side: Side,
        sources: &[&Observed],
    ) -> Result<Vec<((usize, usize), Observed)>> {
        let there = sync.side(side.other());
        if self.syncs_beside(sync, &there.system).next().is_none() {
            return Ok(Vec::new());
        }
        let mut born: Vec<((usize, usize), RecordId)> = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            for (number, rule) in sync.model.match_rules.iter().enumerate() {
                let Some(key) = key_of(rule, source) else { continue };
                let scan = Scan {
                    table: Table::Meta,
                    prefix: prefix_of(self, &there.system, &sync.model.name, rule, &key),
                    after: None,
                    limit: BIRTHS_MAX,
                };
                for (key, row) in self.store.scan(&scan).await? {
                    let birth: Birth = Rows::plain(&RowKey::new(Table::Meta, key), &row)?;
                    if birth.until > self.clock.now() {
                        born.push(((at, number), birth.id));
                    }
                }
            }
        }
        let ids: Vec<RecordId> = born.iter().map(|(_, id)| id.clone()).collect();
        let found = self.fetch(sync, side.other(), &ids).await?;
        let seen = |(place, id): ((usize, usize), RecordId)| Some((place, found.get(&id)?.observed.clone()));
        Ok(born.into_iter().filter_map(seen).collect())
    }

    /// Forgets notes that have served. Called at the start of a host, and now and then.
    pub async fn forget_births(&self) -> Result<()> {
        let mut after = None;
        loop {
            let scan = Scan {
                table: Table::Meta,
                prefix: PREFIX.to_owned(),
                after: after.take(),
                limit: 500,
            };
            let rows = self.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut ops = Vec::new();
            for (key, row) in rows {
                let key = RowKey::new(Table::Meta, key);
                let birth: Birth = Rows::plain(&key, &row)?;
                if birth.until <= self.clock.now() {
                    ops.push(Op::Delete {
                        key,
                        expect: Expect::Any,
                    });
                }
            }
            self.store.commit(ops).await?;
        }
    }
}
