//! One side's mapping: the connector's own, then what the tenant changes of it.

use std::collections::{BTreeMap, BTreeSet};

use seamless_core::mapping::{FieldMapping, OptionMap, SideMapping, is_template};
use seamless_core::pipeline::EntityModel;
use seamless_core::{Result, SystemId, Value};
use serde_json::Value as Json;

use super::Builder;
use crate::config::{FieldChange, XrefChange, hint};

impl Builder<'_> {
    /// A side's mapping, and which of its option numbers nobody wrote down.
    pub(super) fn mapping(
        &self,
        model: &EntityModel,
        system: &SystemId,
    ) -> Result<(SideMapping, BTreeSet<String>)> {
        let configured = &self.config.systems[system.as_str()];
        let plugin = self.plugins.source(self.config, system)?;
        let own = plugin
            .default_mapping(&configured.settings, &model.name)
            .map_err(|error| self.config.settings_problem(system.as_str(), error))?;
        let from_plugin = own.is_some();
        let native = self.table.native.get(system.as_str());
        let mut mapping = own
            .or_else(|| (self.plugins.defaults)(&configured.kind, &model.name))
            .or_else(|| native.map(|native| nothing_mapped(native)))
            .ok_or_else(|| {
                let message = format!(
                    "{system} has no mapping for {} by itself; say what it is called there, [syncs.{}.native] {system} = \"…\", \
                     and map its fields in [syncs.{}.map.{system}]",
                    model.name, self.name, self.name
                );
                self.problem(&["entity"], message)
            })?;
        if let Some(native) = native {
            mapping.entity.clone_from(native);
        }
        match self.table.xref.get(system.as_str()) {
            Some(XrefChange::None) => mapping.xref = None,
            Some(XrefChange::Native(native)) => mapping.xref = Some(native.clone()),
            None => {}
        }
        let changes = self.table.map.get(system.as_str());
        for (name, change) in changes.into_iter().flatten() {
            self.change(&mut mapping, model, system, name, change)?;
        }
        mapping.fields.retain(|name, _| model.fields.contains_key(name));
        if let Err(mistakes) = mapping.validate() {
            let mistake = mistakes.into_iter().next().unwrap_or_default();
            let field = mistake.split(':').next().unwrap_or_default().to_owned();
            return Err(self.problem(
                &["map", system.as_str(), &field],
                format!("the mapping of {system} is wrong: {mistake}"),
            ));
        }
        let written_down = |name: &String| {
            changes.and_then(|changes| changes.get(name)).is_some_and(|change| {
                matches!(change, FieldChange::Change(table) if table.options.as_ref().is_some_and(|options| options.pairs.is_some()))
            })
        };
        let relabel = mapping
            .fields
            .keys()
            .filter(|name| !from_plugin && !written_down(name))
            .cloned()
            .collect();
        Ok((mapping, relabel))
    }

    fn change(
        &self,
        mapping: &mut SideMapping,
        model: &EntityModel,
        system: &SystemId,
        name: &str,
        change: &FieldChange,
    ) -> Result<()> {
        let path = ["map", system.as_str(), name];
        if !model.fields.contains_key(name) {
            let known: Vec<&str> = model.fields.keys().map(String::as_str).collect();
            let message = format!(
                "{} has no field '{name}'{} A field of your own is declared in [syncs.{}.fields] first",
                model.name,
                match hint(name, &known) {
                    hint if hint.ends_with('?') => hint,
                    _ => ".".to_owned(),
                },
                self.name
            );
            return Err(self.problem(&path, message));
        }
        let table = match change {
            FieldChange::Drop => {
                mapping.fields.remove(name);
                return Ok(());
            }
            FieldChange::Change(table) => table,
        };
        let before = mapping.fields.remove(name);
        let native = table
            .native
            .clone()
            .or_else(|| before.as_ref().map(|field| field.native.clone()))
            .ok_or_else(|| {
                self.problem(
                    &path,
                    format!("{system} does not map {name} by itself; say which field: native = \"…\""),
                )
            })?;
        let is_reference = model.fields[name].reference.is_some();
        let mut field = before.unwrap_or_else(|| {
            if is_reference {
                FieldMapping::reference(&native, Default::default())
            } else {
                FieldMapping::new(&native, self.kinds.get(name).copied().unwrap_or_default())
            }
        });
        field.native = native;
        field.kind = table.kind.unwrap_or(field.kind);
        field.native_kind = table.native_kind.or(field.native_kind);
        field.max_length = table.max_length.or(field.max_length);
        field.truncate = table.truncate.unwrap_or(field.truncate);
        field.required = table.required.unwrap_or(field.required);
        let is_template = is_template(&field.native);
        field.writable = table.writable.unwrap_or(field.writable && !is_template);
        field.updatable = table.updatable.unwrap_or(field.updatable);
        if let Some(transforms) = &table.transforms {
            field.transforms = transforms.clone();
        }
        if let Some(default) = &table.default {
            field.default = Some(self.scalar(default, &["map", system.as_str(), name, "default"])?);
        }
        if let Some(fields) = &table.default_from {
            field.default_from.clone_from(fields);
        }
        field.not_after = table.not_after.clone().or(field.not_after);
        if let Some(changes) = &table.options {
            let mut options = field.options.take().unwrap_or_default();
            if let Some(pairs) = &changes.pairs {
                let at = ["map", system.as_str(), name, "options", "pairs"];
                let pairs = pairs
                    .iter()
                    .map(|(option, native)| Ok((option.clone(), self.scalar(native, &at)?)));
                options.pairs = pairs.collect::<Result<_>>()?;
            }
            options = OptionMap {
                write_fallback: changes.write_fallback.clone().or(options.write_fallback),
                read_fallback: changes.read_fallback.clone().or(options.read_fallback),
                read_only: changes.read_only.clone().unwrap_or(options.read_only),
                pairs: options.pairs,
            };
            field.options = Some(options);
            // Options carry their own native values; the type that a list without any was stored as says nothing beside them.
            field.native_kind = table.native_kind;
        }
        mapping.fields.insert(name.to_owned(), field);
        Ok(())
    }

    pub(super) fn scalar(&self, json: &Json, path: &[&str]) -> Result<Value> {
        match Value::from_json(json) {
            Value::List(_) | Value::Map(_) => {
                Err(self.problem(path, "expected a text, a number, true or false"))
            }
            scalar => Ok(scalar),
        }
    }
}

/// A side that the connector knows nothing of: everything is in the configuration.
fn nothing_mapped(native: &str) -> SideMapping {
    SideMapping {
        entity: native.to_owned(),
        xref: None,
        fields: BTreeMap::new(),
    }
}
