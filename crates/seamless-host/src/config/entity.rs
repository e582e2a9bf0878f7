//! `[entities.<name>]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use seamless_core::Result;
use seamless_core::mapping::FieldKind;
use serde::Deserialize;

use super::{Config, FieldTable, MatchTable, clip, hint, is_name};

/// An entity of the tenant's own: what its records are, apart from any system. A sync maps it on both sides.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntityTable {
    /// Canonical fields by name.
    pub(crate) fields: BTreeMap<String, FieldTable>,
    /// How records are recognised on the other side besides their cross-references, in order. A sync may have rules of its own.
    #[serde(rename = "match", default)]
    pub(crate) match_rules: Vec<MatchTable>,
    /// Fields that must be equal too, before a record whose match is linked already counts as a suspected duplicate.
    #[serde(default)]
    pub(crate) identity: Vec<String>,
}

impl Config {
    /// What can be said of the entities without knowing those of the program.
    pub(super) fn check_entities(&self) -> Result<()> {
        for (name, entity) in &self.entities {
            let at = ["entities", name.as_str()];
            if !is_name(name) {
                let message = format!(
                    "'{}' is no name for an entity; use 1 to 40 of a-z, 0-9 and -",
                    clip(name)
                );
                return Err(self.problem(&at, message));
            }
            if entity.fields.is_empty() {
                return Err(self.problem(&at, format!("{name} has no field: nothing could be kept in step")));
            }
            let known: Vec<&str> = entity.fields.keys().map(String::as_str).collect();
            for (field, table) in &entity.fields {
                self.check_entity_field(name, field, table)?;
            }
            for (index, field) in entity.identity.iter().enumerate() {
                if !known.contains(&field.as_str()) {
                    let message = format!("{name} has no field '{}'{}", clip(field), hint(field, &known));
                    return Err(self.problem(&[at[0], at[1], "identity", &index.to_string()], message));
                }
            }
            for (index, rule) in entity.match_rules.iter().enumerate() {
                let path = [at[0], at[1], "match", &index.to_string()];
                if rule.fields.is_empty() {
                    return Err(self.problem(
                        &path,
                        "a match rule needs at least one field: it would match everything",
                    ));
                }
                let unknown = rule
                    .fields
                    .iter()
                    .find(|field| !known.contains(&field.field.as_str()));
                if let Some(field) = unknown {
                    let field = &field.field;
                    let message = format!("{name} has no field '{}'{}", clip(field), hint(field, &known));
                    return Err(self.problem(&path, message));
                }
            }
        }
        Ok(())
    }

    fn check_entity_field(&self, entity: &str, field: &str, table: &FieldTable) -> Result<()> {
        let at = |key: &'static str| ["entities", entity, "fields", field, key];
        if field.trim() != field || field.is_empty() {
            return Err(self.problem(
                &["entities", entity, "fields", field],
                format!(
                    "the field '{}' is blank or has white space around it",
                    clip(field)
                ),
            ));
        }
        if table.from.is_some() {
            let message = format!(
                "an entity knows no systems; say which way {field} flows in [syncs.<name>.fields]: {field} = {{ from = \"…\" }}"
            );
            return Err(self.problem(&at("from"), message));
        }
        let is_reference = table.kind == Some(FieldKind::Reference);
        if is_reference && table.reference.is_none() {
            let message = format!("{field} is a reference: say to which entity, reference = \"account\"");
            return Err(self.problem(&at("kind"), message));
        }
        if table.reference.is_some() && table.kind.is_some() && !is_reference {
            let message = format!("{field} points to a record: leave its kind out");
            return Err(self.problem(&at("kind"), message));
        }
        Ok(())
    }
}
