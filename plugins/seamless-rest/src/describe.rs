//! What is known about fields: from the manifest, and option lists from the system itself.

use futures::future::try_join_all;
use seamless_core::{EntityInfo, Error, FieldInfo, OptionInfo, Result, Value};
use serde_json::Value as Json;

use crate::call::Call;
use crate::connector::Connector;
use crate::json_path::{dig, plain};
use crate::manifest::{FieldSpec, Method, OptionsFrom};
use crate::rows::Native;

/// Longer lists are no option lists.
const OPTIONS_MAX: usize = 5_000;

impl Connector {
    /// What the manifest and the system know about the fields.
    pub(crate) async fn describe(&self, name: &str) -> Result<EntityInfo> {
        let native = self.native(name)?;
        let fields = native
            .entity
            .fields
            .iter()
            .map(|(name, field)| self.field(native, name, field));
        Ok(EntityInfo {
            fields: try_join_all(fields).await?,
            can_create: native.entity.create.is_some(),
            can_update: native.entity.update.is_some(),
        })
    }

    async fn field(&self, native: Native<'_>, name: &str, field: &FieldSpec) -> Result<FieldInfo> {
        let option = |json: &Json, active| OptionInfo {
            value: Value::from_json(json),
            label: plain(json).unwrap_or_default(),
            active,
        };
        let mut options: Vec<OptionInfo> = field.options.iter().map(|json| option(json, true)).collect();
        if let Some(from) = &field.options_from {
            options.extend(self.options(native, name, from).await?);
        }
        options.extend(field.inactive_options.iter().map(|json| option(json, false)));
        Ok(FieldInfo {
            name: name.to_owned(),
            data_type: field.data_type.clone().unwrap_or_else(|| "text".into()),
            length: field.max_length,
            required: field.required,
            read_only: field.read_only,
            options: (!options.is_empty() || field.options_from.is_some()).then_some(options),
            reference: field.reference.clone(),
        })
    }

    /// An option list as the system keeps it.
    async fn options(&self, native: Native<'_>, field: &str, from: &OptionsFrom) -> Result<Vec<OptionInfo>> {
        let mut call = Call::new(Method::Get, from.path.clone());
        call.query = from
            .query
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let named = |error: Error| self.named(native, error.field(field));
        let answer = self.read(native.name, call, None).await.map_err(named)?;
        let rows = answer.rows(&from.items).map_err(named)?;
        let option = |row: &Json| {
            let value = dig(row, &from.value).filter(|value| plain(value).is_some())?;
            let label = from.label.as_deref().and_then(|path| plain(dig(row, path)?));
            let active = from.active.as_deref().and_then(|path| plain(dig(row, path)?));
            Some(OptionInfo {
                value: Value::from_json(value),
                label: label.or_else(|| plain(value)).unwrap_or_default(),
                active: !active.is_some_and(|text| matches!(text.as_str(), "false" | "0")),
            })
        };
        let options: Option<Vec<OptionInfo>> = rows.iter().take(OPTIONS_MAX).map(option).collect();
        options.ok_or_else(|| {
            let message = format!(
                "an option has no plain value at '{}'; see options_from",
                from.value
            );
            named(Error::protocol(message))
        })
    }
}
