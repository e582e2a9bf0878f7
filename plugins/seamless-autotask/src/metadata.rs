//! What the tenant's Autotask says about its own fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use seamless_core::{DependentOptions, EntityInfo, Error, FieldInfo, OptionInfo, Result, Value};
use serde_json::Value as Json;

use crate::client::{Client, in_entity, whole};
use crate::entity::{Entity, collection};
use crate::people::PERSONS;
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

/// What an entity's own description says of its ordinary fields, kept for a while.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) types: FieldTypes,
    /// Option lists that hang on another field.
    pub(crate) dependents: Vec<DependentOptions>,
    fields: Vec<FieldInfo>,
}

/// Descriptions by entity, and when they were read.
#[derive(Default)]
pub(crate) struct Described {
    facts: tokio::sync::Mutex<BTreeMap<&'static str, (Duration, Arc<Facts>)>>,
    whole: tokio::sync::Mutex<BTreeMap<&'static str, (Duration, EntityInfo)>>,
    /// What the last ping was answered: the description that follows need not ask again.
    pinged: tokio::sync::Mutex<Option<(Duration, Json)>>,
}

/// What a ping asks for: cheap, and it needs the credentials.
const PINGED: &str = "Companies";

impl Client {
    /// Fields, user-defined fields and rights of an entity, live or read a short while ago.
    pub(crate) async fn describe(&self, entity: &'static Entity) -> Result<EntityInfo> {
        let name = entity.name;
        // Held while asking, so that any number of callers ask once.
        let mut whole = self.described.whole.lock().await;
        if let Some((read, info)) = whole.get(name)
            && self.is_current(*read)
        {
            return Ok(info.clone());
        }
        let pinged = match name {
            PINGED => self.described.pinged.lock().await.take(),
            _ => None,
        };
        let info = match pinged.filter(|(read, _)| self.is_current(*read)) {
            Some((_, info)) => info,
            None => self.metadata(name, "").await?,
        };
        let info = &info["info"];
        let mut fields = self.facts(entity).await?.fields.clone();
        // What we supply ourselves is nothing that a mapping has to.
        let supplied = self.create_defaults(entity);
        for field in fields
            .iter_mut()
            .filter(|field| supplied.iter().any(|(name, _)| *name == field.name))
        {
            field.required = false;
        }
        let has = |fields: &[FieldInfo], name: &str| fields.iter().any(|field| field.name == name);
        if entity.country && has(&fields, COUNTRY_ID) {
            fields.push(presented(COUNTRY, "country code", false));
        }
        for (email, id) in PERSONS {
            if let Some(field) = fields.iter().find(|field| field.name == id) {
                let read_only = field.read_only;
                fields.push(presented(email, "e-mail address of a resource", read_only));
            }
        }
        // Asked even where `hasUserDefinedFields` is false: it has been seen to be wrong.
        let user_defined = self.metadata(name, "/userDefinedFields").await?;
        fields.extend(list(&user_defined, name)?.iter().filter_map(user_defined_field));
        let info = EntityInfo {
            fields,
            can_create: allowed(info, "canCreate", "userAccessForCreate"),
            can_update: allowed(info, "canUpdate", "userAccessForUpdate"),
        };
        whole.insert(name, (self.clock.monotonic(), info.clone()));
        Ok(info)
    }

    /// The names of an entity's user-defined fields, as they are now.
    pub(crate) async fn user_defined(&self, entity: &Entity) -> Result<BTreeSet<String>> {
        let answer = self.metadata(entity.name, "/userDefinedFields").await?;
        let fields = list(&answer, entity.name)?;
        Ok(fields.iter().filter_map(|field| text(field, "name")).collect())
    }

    /// One cheap call that needs zone and credentials.
    pub(crate) async fn ping(&self) -> Result<()> {
        let answer = self.metadata(PINGED, "").await?;
        *self.described.pinged.lock().await = Some((self.clock.monotonic(), answer));
        Ok(())
    }

    /// Types, options and option parents of an entity's ordinary fields.
    pub(crate) async fn facts(&self, entity: &'static Entity) -> Result<Arc<Facts>> {
        let mut facts = self.described.facts.lock().await;
        if let Some((read, known)) = facts.get(entity.name)
            && self.is_current(*read)
        {
            return Ok(known.clone());
        }
        let answer = self.metadata(entity.name, "/fields").await?;
        let read = Arc::new(Facts::read(list(&answer, entity.name)?));
        facts.insert(entity.name, (self.clock.monotonic(), read.clone()));
        Ok(read)
    }

    /// A refusal that says that the tenant's fields are not what we think: the next question reads them again.
    pub(crate) async fn forget_description(&self, entity: &Entity) {
        self.described.facts.lock().await.remove(entity.name);
        self.described.whole.lock().await.remove(entity.name);
    }

    fn is_current(&self, read: Duration) -> bool {
        self.clock.monotonic().saturating_sub(read) < Duration::from_secs(self.settings.metadata_secs)
    }

    pub(crate) async fn metadata(&self, entity: &str, part: &str) -> Result<Json> {
        self.get(entity, &format!("{entity}/entityInformation{part}"))
            .await
            .map_err(|e| in_entity(e, entity))
    }
}

impl Facts {
    fn read(fields: &[Json]) -> Facts {
        let named = |json: &Json| {
            Some((
                text(json, "name")?.to_lowercase(),
                field_type(&text(json, "dataType")?),
            ))
        };
        Facts {
            types: fields.iter().filter_map(named).collect(),
            dependents: fields.iter().filter_map(dependent).collect(),
            fields: fields.iter().filter_map(ordinary).collect(),
        }
    }

    /// The options of a field.
    pub(crate) fn options(&self, name: &str) -> &[OptionInfo] {
        let field = self.fields.iter().find(|field| field.name == name);
        field
            .and_then(|field| field.options.as_deref())
            .unwrap_or_default()
    }
}

/// A field that the connector presents in place of a number.
fn presented(name: &str, data_type: &str, read_only: bool) -> FieldInfo {
    FieldInfo {
        data_type: data_type.to_owned(),
        read_only,
        ..FieldInfo::text(name)
    }
}

/// An option list that hangs on another field.
fn dependent(json: &Json) -> Option<DependentOptions> {
    let parent = text(json, "picklistParentValueField")?;
    let value = |json: &Json| match json {
        Json::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let pair = |entry: &Json| Some((value(&entry["value"])?, value(&entry["parentValue"])?));
    let parents: BTreeMap<String, String> = json["picklistValues"]
        .as_array()?
        .iter()
        .filter_map(pair)
        .collect();
    (!parents.is_empty()).then_some(DependentOptions {
        field: text(json, "name")?,
        parent,
        parents,
    })
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
