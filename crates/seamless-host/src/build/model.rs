//! Entity models: the program's, the tenant's own (`[entities.<name>]`), and what a sync changes of them.

use std::collections::BTreeMap;

use seamless_core::mapping::FieldKind;
use seamless_core::pipeline::{
    EntityModel, FieldSpec, MatchField, MatchRule, NamedBy, Policy, ReferenceSpec,
};
use seamless_core::{EntityName, Result, SystemId};

use super::Builder;
use crate::config::{Config, FieldTable, MatchTable, SyncTable, hint};
use crate::host::Plugins;

/// The program's entities and the tenant's own.
pub(super) fn models(config: &Config, plugins: &Plugins) -> Result<Vec<EntityModel>> {
    let mut models = plugins.models.clone();
    let known: Vec<String> = models
        .iter()
        .map(|model| model.name.0.clone())
        .chain(config.entities.keys().cloned())
        .collect();
    for (name, table) in &config.entities {
        if models.iter().any(|model| model.name.as_str() == name) {
            let message = format!(
                "the entity {name} is there already: change its fields in [syncs.{name}.fields], or choose another name"
            );
            return Err(config.problem(&["entities", name], message));
        }
        let mut fields = BTreeMap::new();
        for (field, change) in &table.fields {
            let mut spec = FieldSpec::default();
            if let Err((key, message)) = change_spec(&mut spec, field, change, &known) {
                return Err(config.problem(&["entities", name, "fields", field, key], message));
            }
            fields.insert(field.clone(), spec);
        }
        models.push(EntityModel {
            name: EntityName::from(name.as_str()),
            fields,
            match_rules: table.match_rules.iter().map(match_rule).collect(),
            identity: table.identity.clone(),
        });
    }
    Ok(models)
}

/// The canonical types that the configuration gives to an entity's fields.
pub(super) fn kinds(config: &Config, entity: &str, sync: &SyncTable) -> BTreeMap<String, FieldKind> {
    let own = config.entities.get(entity).map(|entity| &entity.fields);
    own.into_iter()
        .chain([&sync.fields])
        .flatten()
        .filter_map(|(name, field)| Some((name.clone(), field.kind?)))
        .collect()
}

/// The error: the key that is wrong, and what is wrong with it.
type Wrong = (&'static str, String);

fn change_spec(
    spec: &mut FieldSpec,
    name: &str,
    table: &FieldTable,
    entities: &[String],
) -> Result<(), Wrong> {
    spec.compare = table.compare.unwrap_or(spec.compare);
    spec.passenger = table.passenger.unwrap_or(spec.passenger);
    spec.on_drift = table.on_drift.unwrap_or(spec.on_drift);
    if let Some(entity) = &table.reference {
        if !entities.contains(entity) {
            let known: Vec<&str> = entities.iter().map(String::as_str).collect();
            return Err((
                "reference",
                format!("there is no entity '{entity}'{}", hint(entity, &known)),
            ));
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
        None => {
            let needs_reference = [
                ("reference_required", table.reference_required.is_some()),
                ("outside", table.outside.is_some()),
                ("named_by", table.named_by.is_some()),
            ];
            if let Some((key, _)) = needs_reference.into_iter().find(|(_, set)| *set) {
                let message = format!("{name} is no reference; say what it points to with reference = \"…\"");
                return Err((key, message));
            }
        }
    }
    Ok(())
}

fn match_rule(table: &MatchTable) -> MatchRule {
    let names: Vec<&str> = table.fields.iter().map(|field| field.field.as_str()).collect();
    MatchRule {
        name: table.name.clone().unwrap_or_else(|| names.join("+")),
        fields: table
            .fields
            .iter()
            .map(|field| MatchField {
                field: field.field.clone(),
                normalise: field.normalise,
            })
            .collect(),
    }
}

impl Builder<'_> {
    /// The entity as this sync has it.
    pub(super) fn model(&self, systems: &[SystemId; 2]) -> Result<EntityModel> {
        let wanted = self.table.entity(self.name);
        let known: Vec<String> = self.models.iter().map(|model| model.name.0.clone()).collect();
        let found = self.models.iter().find(|model| model.name.as_str() == wanted);
        let mut model = found.cloned().ok_or_else(|| {
            let path: &[&str] = if self.table.entity.is_some() {
                &["entity"]
            } else {
                &[]
            };
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let message = format!(
                "there is no entity '{wanted}'{}; one of your own is declared in [entities.{wanted}]",
                hint(wanted, &names)
            );
            self.problem(path, message)
        })?;
        for spec in model.fields.values_mut() {
            spec.on_drift = self.table.on_drift.unwrap_or(spec.on_drift);
        }
        for (name, table) in &self.table.fields {
            let spec = model.fields.entry(name.clone()).or_default();
            change_spec(spec, name, table, &known)
                .map_err(|(key, message)| self.problem(&["fields", name, key], message))?;
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
        self.owner_lists(&mut model)?;
        if let Some(rules) = &self.table.match_rules {
            for (index, rule) in rules.iter().enumerate() {
                let place = index.to_string();
                for field in &rule.fields {
                    self.field(&mut model, &field.field, &["match", &place, "fields"])?;
                }
            }
            model.match_rules = rules.iter().map(match_rule).collect();
        }
        self.check_names(&model)?;
        self.check_on_drift(&model, systems)?;
        Ok(model)
    }

    /// An edit against the flow needs a flow: where changes go both ways it is an edit like any other.
    fn check_on_drift(&self, model: &EntityModel, systems: &[SystemId; 2]) -> Result<()> {
        let whole = self.direction(systems, self.table.from.as_deref());
        let two_way =
            |spec: &FieldSpec| spec.direction.unwrap_or(whole) == seamless_core::pipeline::Direction::TwoWay;
        if self.table.on_drift.is_some() && model.fields.values().all(two_way) {
            let message = "on_drift says nothing here: every field of this sync flows both ways";
            return Err(self.problem(&["on_drift"], message.to_owned()));
        }
        for (name, table) in &self.table.fields {
            if table.on_drift.is_some() && model.fields.get(name).is_some_and(two_way) {
                let message = format!(
                    "on_drift says nothing here: {name} flows both ways; add from = \"…\" if it is to flow one way"
                );
                return Err(self.problem(&["fields", name, "on_drift"], message));
            }
        }
        Ok(())
    }

    /// Owner lists go across syncs, so that they stand beside them.
    fn owner_lists(&self, model: &mut EntityModel) -> Result<()> {
        let Some(lists) = self.config.owners.get(model.name.as_str()) else {
            return Ok(());
        };
        for (name, spec) in &mut model.fields {
            let by_name = lists.get(name);
            if by_name.is_some() && self.table.policy.contains_key(name) {
                let message = format!(
                    "{name} has a list in [owners.{}], which goes across all syncs; drop this policy or take the field off the list",
                    model.name
                );
                return Err(self.problem(&["policy", name], message));
            }
            let for_all = || lists.get("*").filter(|_| !self.table.policy.contains_key(name));
            if let Some(list) = by_name.or_else(for_all).filter(|_| !spec.passenger) {
                spec.owners = list
                    .iter()
                    .map(|system| SystemId::from(system.as_str()))
                    .collect();
            }
        }
        Ok(())
    }

    /// Where a field names its record by another one (`contact_email`), that one has to be there.
    fn check_names(&self, model: &EntityModel) -> Result<()> {
        for (name, spec) in &model.fields {
            let configured = self
                .table
                .fields
                .get(name)
                .is_some_and(|table| table.named_by.is_some());
            let Some((reference, named_by)) = spec
                .reference
                .as_ref()
                .and_then(|reference| Some((reference, reference.named_by.as_ref()?)))
                .filter(|_| configured)
            else {
                continue;
            };
            let NamedBy { field, within, .. } = named_by;
            let path = ["fields", name.as_str(), "named_by"];
            for own in [Some(field), within.as_ref()].into_iter().flatten() {
                if !model.fields.contains_key(own) {
                    let known: Vec<&str> = model.fields.keys().map(String::as_str).collect();
                    let message = format!("{} has no field '{own}'{}", model.name, hint(own, &known));
                    return Err(self.problem(&path, message));
                }
            }
            let there = self.models.iter().find(|other| other.name == reference.entity);
            for (other, wanted) in there
                .into_iter()
                .flat_map(|other| [Some(&named_by.equals), within.as_ref()].map(|wanted| (other, wanted)))
            {
                let Some(wanted) = wanted.filter(|wanted| !other.fields.contains_key(*wanted)) else {
                    continue;
                };
                let known: Vec<&str> = other.fields.keys().map(String::as_str).collect();
                let message = format!("{} has no field '{wanted}'{}", other.name, hint(wanted, &known));
                return Err(self.problem(&path, message));
            }
        }
        Ok(())
    }

    fn field<'m>(&self, model: &'m mut EntityModel, name: &str, path: &[&str]) -> Result<&'m mut FieldSpec> {
        if !model.fields.contains_key(name) {
            let known: Vec<&str> = model.fields.keys().map(String::as_str).collect();
            let message = format!("{} has no field '{name}'{}", model.name, hint(name, &known));
            return Err(self.problem(path, message));
        }
        Ok(model.fields.entry(name.to_owned()).or_default())
    }
}
