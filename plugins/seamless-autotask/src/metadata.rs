//! What the tenant's Autotask says about its own fields.

use std::collections::BTreeMap;
use std::sync::Arc;

use seamless_core::{EntityInfo, Error, FieldInfo, OptionInfo, Result, Value};
use serde_json::Value as Json;

use crate::client::{Client, in_entity, whole};
use crate::entity::{Entity, collection};
use crate::record::{COUNTRY, COUNTRY_ID, UDF};

/// How a field's values travel: a text against a whole number finds nothing, without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldType {
    Whole,
    Decimal,
    Bool,
    Other,
}

/// Types of an entity's ordinary fields, by name in lower case: names match in any case.
pub(crate) type FieldTypes = BTreeMap<String, FieldType>;

impl Client {
    /// Fields, user-defined fields and rights of an entity, live.
    pub(crate) async fn describe(&self, entity: &'static Entity) -> Result<EntityInfo> {
        let name = entity.name;
        let info = self.metadata(name, "").await?;
        let info = &info["info"];
        let mut fields: Vec<FieldInfo> = list(&self.metadata(name, "/fields").await?, name)?
            .iter()
            .filter_map(ordinary)
            .collect();
        // What we supply ourselves is nothing that a mapping has to.
        let supplied = self.create_defaults(entity);
        for field in fields
            .iter_mut()
            .filter(|field| supplied.iter().any(|(name, _)| *name == field.name))
        {
            field.required = false;
        }
        if entity.country && fields.iter().any(|field| field.name == COUNTRY_ID) {
            fields.push(FieldInfo {
                name: COUNTRY.to_owned(),
                data_type: "country code".to_owned(),
                length: None,
                required: false,
                read_only: false,
                options: None,
                reference: None,
            });
        }
        // Asked even where `hasUserDefinedFields` is false: it has been seen to be wrong.
        let user_defined = self.metadata(name, "/userDefinedFields").await?;
        fields.extend(list(&user_defined, name)?.iter().filter_map(user_defined_field));
        Ok(EntityInfo {
            fields,
            can_create: allowed(info, "canCreate", "userAccessForCreate"),
            can_update: allowed(info, "canUpdate", "userAccessForUpdate"),
        })
    }

    /// Types of an entity's fields, read once.
    pub(crate) async fn field_types(&self, entity: &'static Entity) -> Result<Arc<FieldTypes>> {
        let mut types = self.types.lock().await;
        if let Some(known) = types.get(entity.name) {
            return Ok(known.clone());
        }
        let answer = self.metadata(entity.name, "/fields").await?;
        let named = |json: &Json| {
            Some((
                text(json, "name")?.to_lowercase(),
                field_type(&text(json, "dataType")?),
            ))
        };
        let read: Arc<FieldTypes> = Arc::new(list(&answer, entity.name)?.iter().filter_map(named).collect());
        types.insert(entity.name, read.clone());
        Ok(read)
    }

    async fn metadata(&self, entity: &str, part: &str) -> Result<Json> {
        self.get(entity, &format!("{entity}/entityInformation{part}"))
            .await
            .map_err(|e| in_entity(e, entity))
    }
}

fn list<'a>(answer: &'a Json, entity: &str) -> Result<&'a Vec<Json>> {
    answer["fields"].as_array().ok_or_else(|| {
        in_entity(
            Error::protocol("autotask described an entity without 'fields'"),
            entity,
        )
    })
}

fn ordinary(json: &Json) -> Option<FieldInfo> {
    let data_type = text(json, "dataType").unwrap_or_default();
    field(json, text(json, "name")?, data_type)
}

fn user_defined_field(json: &Json) -> Option<FieldInfo> {
    let data_type = text(json, "type")
        .or_else(|| text(json, "dataType"))
        .unwrap_or_default();
    field(json, format!("{UDF}.{}", text(json, "name")?), data_type)
}

fn field(json: &Json, name: String, data_type: String) -> Option<FieldInfo> {
    let flag = |name: &str| json[name].as_bool().unwrap_or(false);
    let is_whole = field_type(&data_type) == FieldType::Whole;
    let options = json["picklistValues"]
        .as_array()
        .filter(|_| flag("isPickList"))
        .map(|entries| {
            entries
                .iter()
                .filter_map(|entry| option(entry, is_whole))
                .collect()
        });
    Some(FieldInfo {
        length: whole(&json["length"])
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length > 0),
        required: flag("isRequired"),
        read_only: flag("isReadOnly"),
        options,
        reference: text(json, "referenceEntityType").map(|singular| collection(&singular).to_owned()),
        name,
        data_type,
    })
}

/// An option's value is a text here even where records carry the number.
fn option(json: &Json, is_whole: bool) -> Option<OptionInfo> {
    let value = match whole(&json["value"]) {
        Some(number) if is_whole => Value::Int(number),
        _ => Value::Text(text(json, "value")?),
    };
    let label = text(json, "label").unwrap_or_default();
    Some(OptionInfo {
        value,
        label,
        active: json["isActive"].as_bool().unwrap_or(true),
    })
}

fn field_type(data_type: &str) -> FieldType {
    match data_type.to_ascii_lowercase().as_str() {
        "integer" | "long" | "short" => FieldType::Whole,
        "decimal" | "double" => FieldType::Decimal,
        "boolean" => FieldType::Bool,
        _ => FieldType::Other,
    }
}

fn text(json: &Json, name: &str) -> Option<String> {
    json[name]
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Both the entity and the user must allow it; what is not said is not forbidden. User access: 0 none, 1 all, 2 restricted.
fn allowed(info: &Json, entity: &str, user: &str) -> bool {
    info[entity].as_bool().unwrap_or(true) && whole(&info[user]) != Some(0)
}
