//! What only shows when all syncs are seen together.

use std::collections::{BTreeMap, BTreeSet};

use seamless_core::pipeline::{Direction, Policy};
use seamless_core::{Error, Result, Side, SystemId};

use super::SyncPlan;
use crate::config::{Config, hint};

/// Refuses syncs that would work against each other.
pub(super) fn check(config: &Config, plans: &[SyncPlan]) -> Result<()> {
    for (index, plan) in plans.iter().enumerate() {
        no_twin(config, plan, &plans[..index])?;
        parents_kept(config, plan, plans)?;
    }
    no_second_way(config, plans)?;
    for plan in plans {
        xref_alone(config, plan, plans)?;
    }
    owners_known(config, plans)?;
    one_owner(config, plans)
}

fn between(plan: &SyncPlan) -> BTreeSet<SystemId> {
    plan.systems.iter().cloned().collect()
}

fn at(plan: &SyncPlan) -> [&str; 2] {
    ["syncs", plan.id.as_str()]
}

fn no_twin(config: &Config, plan: &SyncPlan, before: &[SyncPlan]) -> Result<()> {
    let same = |other: &&SyncPlan| other.model.name == plan.model.name && between(other) == between(plan);
    let Some(twin) = before.iter().find(same) else {
        return Ok(());
    };
    let message = format!(
        "the syncs {} and {} keep the same entity between the same systems; drop one",
        twin.id, plan.id
    );
    Err(config.problem(&at(plan), message))
}

fn parents_kept(config: &Config, plan: &SyncPlan, plans: &[SyncPlan]) -> Result<()> {
    for (name, field) in &plan.model.fields {
        let Some(reference) = field.reference.as_ref().filter(|reference| reference.required) else {
            continue;
        };
        let kept = plans
            .iter()
            .any(|other| other.model.name == reference.entity && between(other) == between(plan));
        if plan.maps(name) && !kept {
            let entity = &reference.entity;
            let message = format!(
                "{} needs its {entity} on both sides, but no sync keeps it there; add [syncs.{entity}]",
                plan.id
            );
            return Err(config.problem(&at(plan), message));
        }
    }
    Ok(())
}

/// Two syncs that keep their ids in one field would overwrite each other's for ever.
fn xref_alone(config: &Config, plan: &SyncPlan, plans: &[SyncPlan]) -> Result<()> {
    for (system, mapping) in plan.systems.iter().zip(&plan.mappings) {
        let Some(xref) = &mapping.xref else { continue };
        for other in plans.iter().filter(|other| other.id != plan.id) {
            let Some(side) = other.side_of(system.as_str()) else {
                continue;
            };
            let theirs = &other.mappings[side.index()];
            if theirs.entity != mapping.entity {
                continue;
            }
            let native = &mapping.entity;
            if theirs.xref.as_ref() == Some(xref) {
                let message = format!(
                    "{} and {} both keep the other system's id in {xref} of {native} in {system}; each needs a field of its own, like \
                     [syncs.{}.xref] {system} = \"udf.…\"",
                    other.id, plan.id, plan.id
                );
                return Err(config.problem(&[at(plan)[0], at(plan)[1], "xref"], message));
            }
            if let Some((field, _)) = theirs.fields.iter().find(|(_, field)| field.native == *xref) {
                let message = format!(
                    "{field} of {} is mapped to {xref} of {native} in {system}, where {} keeps the other system's id; map another field",
                    other.id, plan.id
                );
                return Err(config.problem(&[at(plan)[0], at(plan)[1], "xref"], message));
            }
        }
    }
    Ok(())
}

/// A record that reaches a system by two ways is created there twice, and one that comes back to where it was made is created once more there.
fn no_second_way(config: &Config, plans: &[SyncPlan]) -> Result<()> {
    for plan in plans {
        let same: Vec<&SyncPlan> = plans
            .iter()
            .filter(|other| other.model.name == plan.model.name)
            .collect();
        for start in &plan.systems {
            let mut reached = BTreeMap::new();
            let mut way = vec![start.clone()];
            if let Some((one, two)) = second_way(&same, &mut way, &mut reached) {
                let message = format!(
                    "{} reaches {} by two ways, {} and {}: it would be created there twice; drop one of these syncs, or let it flow one way",
                    plan.model.name,
                    one.last().map(SystemId::as_str).unwrap_or_default(),
                    shown(&one),
                    shown(&two)
                );
                return Err(config.problem(&at(plan), message));
            }
        }
    }
    Ok(())
}

/// Follows the flow from the end of `way`; two ways to one system, if there are.
fn second_way(
    plans: &[&SyncPlan],
    way: &mut Vec<SystemId>,
    reached: &mut BTreeMap<SystemId, Vec<SystemId>>,
) -> Option<(Vec<SystemId>, Vec<SystemId>)> {
    let here = way.last()?.clone();
    for plan in plans {
        let Some(side) = plan.side_of(here.as_str()) else {
            continue;
        };
        let next = &plan.systems[side.other().index()];
        let back = way.len() > 1 && way[way.len() - 2] == *next;
        if back || !plan.direction.flows_from(side) {
            continue;
        }
        way.push(next.clone());
        if way[0] == *next {
            return Some((vec![next.clone()], way.clone()));
        }
        if let Some(other) = reached.insert(next.clone(), way.clone()) {
            return Some((other, way.clone()));
        }
        let found = second_way(plans, way, reached);
        if found.is_some() {
            return found;
        }
        way.pop();
    }
    None
}

fn shown(way: &[SystemId]) -> String {
    let names: Vec<&str> = way.iter().map(SystemId::as_str).collect();
    names.join(" → ")
}

/// Owner lists name fields and systems that are there, and leave none of the field's systems out.
fn owners_known(config: &Config, plans: &[SyncPlan]) -> Result<()> {
    for (entity, lists) in &config.owners {
        let same: Vec<&SyncPlan> = plans
            .iter()
            .filter(|plan| plan.model.name.as_str() == entity)
            .collect();
        if same.is_empty() {
            let known: Vec<&str> = plans.iter().map(|plan| plan.model.name.as_str()).collect();
            let message = format!("no sync keeps '{entity}'{}", hint(entity, &known));
            return Err(config.problem(&["owners", entity], message));
        }
        for (field, list) in lists {
            let wrong =
                |message: String| -> Result<()> { Err(config.problem(&["owners", entity, field], message)) };
            let carriers: Vec<&&SyncPlan> = same
                .iter()
                .filter(|plan| field == "*" || plan.maps(field))
                .collect();
            if carriers.is_empty() {
                let known: Vec<&str> = same
                    .iter()
                    .flat_map(|plan| plan.model.fields.keys().map(String::as_str))
                    .collect();
                return wrong(format!(
                    "no sync of {entity} carries '{field}' on both sides{}",
                    hint(field, &known)
                ));
            }
            let systems: BTreeSet<&str> = carriers
                .iter()
                .flat_map(|plan| plan.systems.iter().map(SystemId::as_str))
                .collect();
            let named: BTreeSet<&str> = list.iter().map(String::as_str).collect();
            if let Some(stranger) = named.iter().find(|name| !systems.contains(**name)) {
                let known: Vec<&str> = systems.into_iter().collect();
                return wrong(format!(
                    "'{stranger}' is not among the systems that carry it{}",
                    hint(stranger, &known)
                ));
            }
            if named.len() < list.len() {
                return wrong("a system stands on the list twice".to_owned());
            }
            let left_out: Vec<&str> = systems.difference(&named).copied().collect();
            if !left_out.is_empty() {
                return wrong(format!(
                    "the list leaves out {}; name every system that carries the field, the one whose value stands first",
                    left_out.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// A field of a shared record may be owned by one of the systems around it, or by the one that they share. Two owners would each win in their own sync, and
/// what stands would depend on who comes last.
fn one_owner(config: &Config, plans: &[SyncPlan]) -> Result<()> {
    for plan in plans {
        for shared in Side::BOTH {
            let hub = &plan.systems[shared.index()];
            for field in plan.model.fields.keys() {
                let own = |plan: &SyncPlan, hub: Side| plan.wins_over(field, hub);
                if !own(plan, shared) {
                    continue;
                }
                let rival = plans.iter().find(|other| {
                    other.id < plan.id
                        && other.model.name == plan.model.name
                        && other
                            .side_of(hub.as_str())
                            .is_some_and(|side| own(other, side) && other.shares(plan, side, shared))
                });
                if let Some(rival) = rival {
                    return Err(ambiguous(config, plan, rival, hub, field));
                }
            }
        }
    }
    Ok(())
}

fn ambiguous(config: &Config, plan: &SyncPlan, rival: &SyncPlan, hub: &SystemId, field: &str) -> Error {
    let around = |plan: &SyncPlan| {
        let other = plan.systems.iter().find(|system| *system != hub);
        other.cloned().unwrap_or_else(|| hub.clone())
    };
    let (one, two) = (around(rival), around(plan));
    let entity = &plan.model.name;
    let message = format!(
        "{one} (by {}) and {two} (by {}) both own {field} of {entity} in {hub}; say whose value stands: [owners.{entity}] \"{field}\" = \
         [\"{one}\", \"{two}\", \"{hub}\"], or \"*\" for all fields",
        rival.id, plan.id
    );
    config.problem(&at(plan), message)
}

impl SyncPlan {
    /// Whether a field is mapped on both sides.
    fn maps(&self, field: &str) -> bool {
        self.mappings
            .iter()
            .all(|mapping| mapping.fields.contains_key(field))
    }

    /// Whether two syncs are about the same native entity of the system that they share.
    fn shares(&self, other: &SyncPlan, here: Side, there: Side) -> bool {
        self.mappings[here.index()].entity == other.mappings[there.index()].entity
    }

    /// Whether the other side's value stands against that of `hub`, by this sync's own rules and not by a list that goes across syncs.
    fn wins_over(&self, field: &str, hub: Side) -> bool {
        let Some(spec) = self.model.fields.get(field) else {
            return false;
        };
        let written = self.mappings[hub.index()].fields.get(field);
        let flows = self.flows(field, hub.other());
        if spec.passenger || !spec.owners.is_empty() || !self.maps(field) || !flows {
            return false;
        }
        if !written.is_some_and(|field| field.writable) {
            return false;
        }
        let direction = spec.direction.unwrap_or(self.direction);
        let owner = match spec.policy {
            Policy::OwnerA => Side::A,
            Policy::OwnerB => Side::B,
            Policy::SyncOwner | Policy::OnlyIfEmpty => self.owner,
            // Neither side owns it.
            Policy::Newest | Policy::Ask => hub,
        };
        direction != Direction::TwoWay || owner != hub
    }
}
