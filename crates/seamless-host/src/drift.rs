//! Schema drift: what has changed in the live systems since the last start. A mapped field that is gone pauses, and the rest of its records goes on;
//! everything else is told.

use std::collections::{BTreeMap, BTreeSet};

use seamless_core::mapping::SideMapping;
use seamless_core::pipeline::Rows;
use seamless_core::{Error, ErrorKind, Expect, Result, RowKey, SchemaShape, Side, SystemId, Table};

use crate::books::Books;
use crate::build::SyncPlan;
use crate::connect::Live;

/// Native fields that are gone, by system and native entity.
pub(crate) type Gone = BTreeMap<(SystemId, String), BTreeSet<String>>;

impl SyncPlan {
    /// The plan without the fields that are gone. One that records are recognised by cannot be missed: then the plan stays, and the start is refused.
    pub(crate) fn without(&self, gone: &Gone) -> SyncPlan {
        let mut plan = self.clone();
        let paused: BTreeSet<String> = Side::BOTH
            .into_iter()
            .flat_map(|side| self.paused(side, gone))
            .collect();
        let matched = |name: &String| {
            let mut fields = self.model.match_rules.iter().flat_map(|rule| &rule.fields);
            fields.any(|field| field.field == *name)
        };
        if !paused.iter().any(matched) {
            // On both sides: an edit made meanwhile is then no part of what has been looked at, and is found when the field is back.
            for mapping in &mut plan.mappings {
                mapping.fields.retain(|name, _| !paused.contains(name));
            }
        }
        plan
    }

    /// Canonical fields of a side that need a native field that is gone.
    fn paused(&self, side: Side, gone: &Gone) -> BTreeSet<String> {
        let mapping = &self.mappings[side.index()];
        let key = (self.systems[side.index()].clone(), mapping.entity.clone());
        let Some(gone) = gone.get(&key) else {
            return BTreeSet::new();
        };
        let needs = |name: &&String| {
            let only = SideMapping {
                xref: None,
                fields: [((*name).clone(), mapping.fields[*name].clone())].into(),
                ..mapping.clone()
            };
            !only.native_paths().is_disjoint(gone)
        };
        mapping.fields.keys().filter(needs).cloned().collect()
    }
}

impl Books {
    /// Fields that were there at an earlier start and are gone.
    pub(crate) async fn gone(&self, live: &Live) -> Result<Gone> {
        let mut gone = Gone::new();
        for ((system, entity), now) in shapes(live) {
            let Some(before) = self.schema(&system, &entity).await? else {
                continue;
            };
            let fields: BTreeSet<String> = before
                .0
                .into_keys()
                .filter(|field| !now.0.contains_key(field))
                .collect();
            if !fields.is_empty() {
                gone.insert((system, entity), fields);
            }
        }
        Ok(gone)
    }

    /// Compares with the last start, tells what is different, and remembers. Fields that are gone are remembered for as long as a mapping needs them.
    pub(crate) async fn note_schemas(&self, live: &Live) -> Result<()> {
        let gone = self.gone(live).await?;
        let mut ops = Vec::new();
        for ((system, entity), now) in shapes(live) {
            let before = self.schema(&system, &entity).await?;
            let mut kept = now.clone();
            if let Some(before) = &before {
                for drift in before.drift(&now) {
                    tracing::warn!(%system, entity, field = drift.field, change = drift.change, "the system's schema has changed");
                }
            }
            let key = (system.clone(), entity.clone());
            let paused: BTreeSet<String> = self
                .plans
                .iter()
                .flat_map(|plan| paused_natives(plan, &key, &gone))
                .collect();
            let worker = format!("schema of {entity} in {system}");
            if paused.is_empty() {
                self.trouble(&worker, None);
            } else {
                let names: Vec<&str> = paused.iter().map(String::as_str).collect();
                let sentence = format!(
                    "{} is gone from {entity}: what is mapped to it is paused, everything else goes on; bring it back, map another field, or drop it from the mapping",
                    names.join(", ")
                );
                self.trouble(
                    &worker,
                    Some(&Error::new(ErrorKind::Refused, sentence).with("system", &system)),
                );
                if let Some(before) = before {
                    kept.0
                        .extend(before.0.into_iter().filter(|(field, _)| paused.contains(field)));
                }
            }
            ops.push(Rows::put_plain(schema_row(&system, &entity), Expect::Any, &kept)?);
        }
        self.store.commit(ops).await.map(drop)
    }

    async fn schema(&self, system: &SystemId, entity: &str) -> Result<Option<SchemaShape>> {
        let key = schema_row(system, entity);
        let row = self.row(&key).await?;
        row.map(|row| Rows::plain(&key, &row)).transpose()
    }
}

/// Native fields of an entity that are gone and mapped.
fn paused_natives(plan: &SyncPlan, key: &(SystemId, String), gone: &Gone) -> Vec<String> {
    let Some(fields) = gone.get(key) else {
        return Vec::new();
    };
    Side::BOTH
        .into_iter()
        .filter(|side| plan.systems[side.index()] == key.0 && plan.mappings[side.index()].entity == key.1)
        .flat_map(|side| plan.mappings[side.index()].native_paths())
        .filter(|native| fields.contains(native))
        .collect()
}

/// The systems that describe themselves.
fn shapes(live: &Live) -> impl Iterator<Item = ((SystemId, String), SchemaShape)> {
    live.iter()
        .filter(|(_, info)| !info.fields.is_empty())
        .map(|(key, info)| (key.clone(), SchemaShape::of(info)))
}

fn schema_row(system: &SystemId, entity: &str) -> RowKey {
    RowKey::new(Table::Meta, format!("schema/{system}/{entity}"))
}
