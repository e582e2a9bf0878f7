//! From configured syncs to what the engine runs: entity models, mappings, overrides.

mod mapping;
mod model;
mod together;

use std::collections::{BTreeMap, BTreeSet};

use seamless_core::mapping::{FieldKind, SideMapping, TODAY};
use seamless_core::pipeline::{Direction, EntityModel, ScopeRule, SideSpec, SyncSpec};
use seamless_core::{Capabilities, EntityInfo, Error, Result, Side, SyncId, SystemId};

use crate::config::{Config, SyncTable, hint};
use crate::host::Plugins;

/// A sync as configured, before the live systems have been asked.
#[derive(Clone, Debug)]
pub(crate) struct SyncPlan {
    pub(crate) id: SyncId,
    pub(crate) model: EntityModel,
    pub(crate) systems: [SystemId; 2],
    pub(crate) mappings: [SideMapping; 2],
    /// Fields whose options nobody wrote down: their numbers are found by label.
    relabel: [BTreeSet<String>; 2],
    pub(crate) direction: Direction,
    pub(crate) owner: Side,
    scope: [Vec<ScopeRule>; 2],
}

/// All syncs, parents first.
pub(crate) fn plan_syncs(config: &Config, plugins: &Plugins) -> Result<Vec<SyncPlan>> {
    let models = model::models(config, plugins)?;
    let mut plans = Vec::new();
    for (name, table) in &config.syncs {
        plans.push(
            Builder {
                config,
                plugins,
                models: &models,
                kinds: model::kinds(config, table.entity(name), table),
                name,
                table,
            }
            .plan()?,
        );
    }
    together::check(config, &plans)?;
    Ok(parents_first(plans))
}

impl SyncPlan {
    /// The sync with what the live systems say of themselves.
    pub(crate) fn spec(
        &self,
        capabilities: [Capabilities; 2],
        live: Option<&[EntityInfo; 2]>,
        accepted: bool,
    ) -> SyncSpec {
        let side = |side: Side, capabilities: Capabilities| {
            let configured = || self.mappings[side.index()].clone();
            let mapping = live.map_or_else(configured, |live| self.live_mapping(side, &live[side.index()]));
            SideSpec::new(self.systems[side.index()].clone(), mapping, capabilities)
        };
        let [a, b] = capabilities;
        SyncSpec {
            id: self.id.clone(),
            model: self.model.clone(),
            sides: [side(Side::A, a), side(Side::B, b)],
            direction: self.direction,
            owner: self.owner,
            first_merge_accepted: accepted,
            scope: self.scope.clone(),
        }
    }

    /// A side's mapping with live lengths, and live option numbers where nobody wrote them down.
    pub(crate) fn live_mapping(&self, side: Side, live: &EntityInfo) -> SideMapping {
        let mut mapping = self.mappings[side.index()].with_live(live);
        let labelled = self.mappings[side.index()].with_live_options(live);
        for name in &self.relabel[side.index()] {
            if let (Some(field), Some(found)) = (mapping.fields.get_mut(name), labelled.fields.get(name)) {
                field.options = found.options.clone();
            }
        }
        mapping
    }

    /// The side's mapping as far as it is used: fields that never flow here need not be writable.
    pub(crate) fn used_mapping(&self, side: Side, live: &EntityInfo) -> SideMapping {
        let mut mapping = self.live_mapping(side, live);
        for (name, field) in &mut mapping.fields {
            field.writable &= self.flows(name, side.other());
        }
        mapping
    }

    /// Whether changes of a field made on `from` reach the other side.
    pub(crate) fn flows(&self, field: &str, from: Side) -> bool {
        let own = self.model.fields.get(field).and_then(|spec| spec.direction);
        own.unwrap_or(self.direction).flows_from(from)
    }

    /// Which records of a side take part.
    pub(crate) fn scope(&self, side: Side) -> &[ScopeRule] {
        &self.scope[side.index()]
    }

    /// How data flows, for people.
    pub(crate) fn flow(&self) -> String {
        let [a, b] = &self.systems;
        match self.direction {
            Direction::TwoWay => format!("{a} <-> {b}"),
            Direction::AToB => format!("{a} -> {b}"),
            Direction::BToA => format!("{b} -> {a}"),
        }
    }

    /// The side of a system.
    pub(crate) fn side_of(&self, system: &str) -> Option<Side> {
        Side::BOTH
            .into_iter()
            .find(|side| self.systems[side.index()].as_str() == system)
    }

    fn refers_to(&self, other: &SyncPlan) -> bool {
        self.id != other.id
            && self.model.fields.values().any(|field| {
                field
                    .reference
                    .as_ref()
                    .is_some_and(|reference| reference.entity == other.model.name)
            })
    }
}

struct Builder<'a> {
    config: &'a Config,
    plugins: &'a Plugins,
    /// The program's entities and the tenant's own.
    models: &'a [EntityModel],
    /// Canonical types that the configuration gives to fields.
    kinds: BTreeMap<String, FieldKind>,
    name: &'a str,
    table: &'a SyncTable,
}

impl Builder<'_> {
    fn plan(&self) -> Result<SyncPlan> {
        let systems = self.table.systems();
        let model = self.model(&systems)?;
        let (a, relabel_a) = self.mapping(&model, &systems[0])?;
        let (b, relabel_b) = self.mapping(&model, &systems[1])?;
        let mappings = [a, b];
        self.check_model(&model, &mappings)?;
        let direction = self.direction(&systems, self.table.from.as_deref());
        let model_fields: Vec<String> = model.fields.keys().cloned().collect();
        Ok(SyncPlan {
            id: SyncId::from(self.name),
            model,
            owner: self.owner(&systems),
            scope: self.scope(&model_fields, &systems)?,
            systems,
            mappings,
            relabel: [relabel_a, relabel_b],
            direction,
        })
    }

    fn problem(&self, path: &[&str], message: impl Into<String>) -> Error {
        let path: Vec<&str> = ["syncs", self.name].iter().chain(path).copied().collect();
        self.config.problem(&path, message)
    }

    fn scope(&self, fields: &[String], systems: &[SystemId; 2]) -> Result<[Vec<ScopeRule>; 2]> {
        let mut scope = [Vec::new(), Vec::new()];
        for (system, conditions) in &self.table.scope {
            let Some(side) = systems.iter().position(|known| known.as_str() == system) else {
                let known: Vec<&str> = systems.iter().map(SystemId::as_str).collect();
                let message = format!("the sync has no system '{system}'{}", hint(system, &known));
                return Err(self.problem(&["scope", system], message));
            };
            for (field, values) in conditions {
                if !fields.contains(field) {
                    let known: Vec<&str> = fields.iter().map(String::as_str).collect();
                    let message = format!("there is no field '{field}'{}", hint(field, &known));
                    return Err(self.problem(&["scope", system, field], message));
                }
                let at = ["scope", system.as_str(), field.as_str()];
                let plain = values
                    .iter()
                    .map(|value| Ok(self.scalar(value, &at)?.to_plain().unwrap_or_default()));
                scope[side].push(ScopeRule {
                    field: field.clone(),
                    any_of: plain.collect::<Result<_>>()?,
                });
            }
        }
        Ok(scope)
    }

    fn direction(&self, systems: &[SystemId; 2], from: Option<&str>) -> Direction {
        match from {
            None => Direction::TwoWay,
            Some(from) if systems[0].as_str() == from => Direction::AToB,
            Some(_) => Direction::BToA,
        }
    }

    /// The default owner is Autotask, where there is one: the record of the trade is kept there.
    fn owner(&self, systems: &[SystemId; 2]) -> Side {
        let kind = |side: Side| {
            self.config
                .systems
                .get(systems[side.index()].as_str())
                .map(|system| system.kind.as_str())
        };
        match self.table.owner.as_deref().or(self.table.from.as_deref()) {
            Some(owner) if systems[1].as_str() == owner => Side::B,
            Some(_) => Side::A,
            None if kind(Side::A) != Some("autotask") && kind(Side::B) == Some("autotask") => Side::B,
            None => Side::A,
        }
    }

    fn check_model(&self, model: &EntityModel, mappings: &[SideMapping; 2]) -> Result<()> {
        let mapped = |name: &str| mappings.iter().all(|mapping| mapping.fields.contains_key(name));
        if !model.fields.keys().any(|name| mapped(name)) {
            return Err(self.problem(
                &["map"],
                "no field is mapped on both sides: nothing could be kept in step",
            ));
        }
        for name in self.table.fields.keys() {
            if !mapped(name) {
                let message = format!(
                    "{name} needs a mapping on both sides: add it to [syncs.{}.map.<system>]",
                    self.name
                );
                return Err(self.problem(&["fields", name], message));
            }
        }
        for (system, mapping) in self.table.systems().iter().zip(mappings) {
            self.check_defaults(model, system, mapping)?;
        }
        for rule in &model.match_rules {
            if let Some(field) = rule.fields.iter().find(|field| !mapped(&field.field)) {
                let message = format!(
                    "the match rule '{}' needs {}, which is not mapped on both sides",
                    rule.name, field.field
                );
                return Err(self.problem(&["match"], message));
            }
        }
        Ok(())
    }
}

impl Builder<'_> {
    /// Defaults are taken from fields that the source has: canonical ones, and no ids of another system.
    fn check_defaults(&self, model: &EntityModel, system: &SystemId, mapping: &SideMapping) -> Result<()> {
        for (name, field) in &mapping.fields {
            let from = field.default_from.iter().filter(|source| *source != TODAY);
            for (key, source) in from
                .map(|source| ("default_from", source))
                .chain(field.not_after.iter().map(|source| ("not_after", source)))
            {
                let path = ["map", system.as_str(), name, key];
                match model.fields.get(source) {
                    Some(spec) if spec.reference.is_some() => {
                        let message =
                            format!("{source} is a reference, whose id means nothing on the other side");
                        return Err(self.problem(&path, message));
                    }
                    Some(_) => {}
                    None => {
                        let known: Vec<&str> =
                            model.fields.keys().map(String::as_str).chain([TODAY]).collect();
                        let message =
                            format!("{} has no field '{source}'{}", model.name, hint(source, &known));
                        return Err(self.problem(&path, message));
                    }
                }
            }
            let is_reference = model
                .fields
                .get(name)
                .is_some_and(|spec| spec.reference.is_some());
            if is_reference && !field.default_from.is_empty() {
                let message = format!("{name} is a reference and cannot be taken from another field");
                return Err(self.problem(&["map", system.as_str(), name, "default_from"], message));
            }
        }
        Ok(())
    }
}

/// Parents before children, as far as references have no circle.
fn parents_first(mut plans: Vec<SyncPlan>) -> Vec<SyncPlan> {
    let mut sorted: Vec<SyncPlan> = Vec::with_capacity(plans.len());
    while !plans.is_empty() {
        let free = |plan: &SyncPlan| !plans.iter().any(|other| plan.refers_to(other));
        let next = plans.iter().position(free).unwrap_or(0);
        sorted.push(plans.remove(next));
    }
    sorted
}

/// Where an entity of a system stands in the order of the syncs: parents are read first.
pub(crate) fn rank(plans: &[SyncPlan], system: &SystemId, native: &str) -> usize {
    let uses = |plan: &SyncPlan| {
        plan.side_of(system.as_str())
            .is_some_and(|side| plan.mappings[side.index()].entity == native)
    };
    plans.iter().position(uses).unwrap_or(usize::MAX)
}

/// The distinct native entities of a system that some sync uses.
pub(crate) fn natives(plans: &[SyncPlan]) -> BTreeMap<SystemId, BTreeSet<String>> {
    let mut natives: BTreeMap<SystemId, BTreeSet<String>> = BTreeMap::new();
    for plan in plans {
        for side in Side::BOTH {
            let entity = plan.mappings[side.index()].entity.clone();
            natives
                .entry(plan.systems[side.index()].clone())
                .or_default()
                .insert(entity);
        }
    }
    natives
}
