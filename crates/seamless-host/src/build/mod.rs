//! From configured syncs to what the engine runs: entity models, mappings, overrides.

mod mapping;

use std::collections::{BTreeMap, BTreeSet};

use seamless_core::mapping::SideMapping;
use seamless_core::pipeline::{
    Direction, EntityModel, FieldSpec, MatchField, MatchRule, Policy, ReferenceSpec, ScopeRule, SideSpec,
    SyncSpec,
};
use seamless_core::{Capabilities, EntityInfo, EntityName, Error, Result, Side, SyncId, SystemId};

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
    let mut plans = Vec::new();
    for (name, table) in &config.syncs {
        plans.push(
            Builder {
                config,
                plugins,
                name,
                table,
            }
            .plan()?,
        );
    }
    check_together(config, &plans)?;
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
            let own = self.model.fields.get(name).and_then(|spec| spec.direction);
            field.writable &= own.unwrap_or(self.direction).flows_from(side.other());
        }
        mapping
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

    fn model(&self, systems: &[SystemId; 2]) -> Result<EntityModel> {
        let wanted = self.table.entity(self.name);
        let known: Vec<&str> = self
            .plugins
            .models
            .iter()
            .map(|model| model.name.as_str())
            .collect();
        let found = self
            .plugins
            .models
            .iter()
            .find(|model| model.name.as_str() == wanted);
        let mut model = found.cloned().ok_or_else(|| {
            let path: &[&str] = if self.table.entity.is_some() {
                &["entity"]
            } else {
                &[]
            };
            self.problem(
                path,
                format!("there is no entity '{wanted}'{}", hint(wanted, &known)),
            )
        })?;
        for (name, table) in &self.table.fields {
            let spec = model.fields.entry(name.clone()).or_default();
            spec.compare = table.compare.unwrap_or(spec.compare);
            spec.passenger = table.passenger.unwrap_or(spec.passenger);
            if let Some(entity) = &table.reference {
                if !known.contains(&entity.as_str()) {
                    let message = format!("there is no entity '{entity}'{}", hint(entity, &known));
                    return Err(self.problem(&["fields", name, "reference"], message));
                }
                spec.reference = Some(ReferenceSpec {
                    entity: EntityName::from(entity.as_str()),
                    required: false,
                    outside: Default::default(),
                    named_by: None,
                });
            }
            match &mut spec.reference {
                Some(reference) => {
                    reference.required = table.reference_required.unwrap_or(reference.required);
                    reference.outside = table.outside.unwrap_or(reference.outside);
                    reference.named_by = table.named_by.clone().or(reference.named_by.take());
                }
                None if table.reference_required.is_some()
                    || table.outside.is_some()
                    || table.named_by.is_some() =>
                {
                    let message =
                        format!("{name} is no reference; say what it points to with reference = \"…\"");
                    return Err(self.problem(&["fields", name], message));
                }
                None => {}
            }
            if table.from.is_some() {
                spec.direction = Some(self.direction(systems, table.from.as_deref()));
            }
        }
        for (name, policy) in &self.table.policy {
            let spec = self.field(&mut model, name, &["policy", name])?;
            spec.policy = match policy.strip_prefix("owner:") {
                Some(system) if systems[0].as_str() == system => Policy::OwnerA,
                Some(_) => Policy::OwnerB,
                None if policy == "only-if-empty" => Policy::OnlyIfEmpty,
                None if policy == "newest" => Policy::Newest,
                None if policy == "ask" => Policy::Ask,
                None => Policy::SyncOwner,
            };
        }
        if let Some(rules) = &self.table.match_rules {
            model.match_rules.clear();
            for (index, rule) in rules.iter().enumerate() {
                let names: Vec<&str> = rule.fields.iter().map(|field| field.field.as_str()).collect();
                let place = index.to_string();
                for name in &names {
                    self.field(&mut model, name, &["match", &place, "fields"])?;
                }
                model.match_rules.push(MatchRule {
                    name: rule.name.clone().unwrap_or_else(|| names.join("+")),
                    fields: rule
                        .fields
                        .iter()
                        .map(|field| MatchField {
                            field: field.field.clone(),
                            normalise: field.normalise,
                        })
                        .collect(),
                });
            }
        }
        Ok(model)
    }

    fn field<'m>(&self, model: &'m mut EntityModel, name: &str, path: &[&str]) -> Result<&'m mut FieldSpec> {
        let entity = model.name.clone();
        let known: Vec<String> = model.fields.keys().cloned().collect();
        model.fields.get_mut(name).ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            self.problem(
                path,
                format!("{entity} has no field '{name}'{}", hint(name, &known)),
            )
        })
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

/// What only shows when all syncs are seen together.
fn check_together(config: &Config, plans: &[SyncPlan]) -> Result<()> {
    let between = |plan: &SyncPlan| plan.systems.iter().cloned().collect::<BTreeSet<_>>();
    for (index, plan) in plans.iter().enumerate() {
        let at = ["syncs", plan.id.as_str()];
        let twin = plans[..index]
            .iter()
            .find(|other| other.model.name == plan.model.name && between(other) == between(plan));
        if let Some(twin) = twin {
            let message = format!(
                "the syncs {} and {} keep the same entity between the same systems; drop one",
                twin.id, plan.id
            );
            return Err(config.problem(&at, message));
        }
        for (name, field) in &plan.model.fields {
            let Some(reference) = field.reference.as_ref().filter(|reference| reference.required) else {
                continue;
            };
            let kept = plans
                .iter()
                .any(|other| other.model.name == reference.entity && between(other) == between(plan));
            let used = plan
                .mappings
                .iter()
                .all(|mapping| mapping.fields.contains_key(name));
            if used && !kept {
                let entity = &reference.entity;
                let message = format!(
                    "{} needs its {entity} on both sides, but no sync keeps it there; add [syncs.{entity}]",
                    plan.id
                );
                return Err(config.problem(&at, message));
            }
        }
    }
    Ok(())
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
