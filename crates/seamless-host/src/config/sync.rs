//! `[syncs.<name>]`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use seamless_core::mapping::{Compare, FieldKind, Transform};
use seamless_core::pipeline::{NamedBy, Normaliser, OnDrift, Outside};
use seamless_core::{Result, SystemId};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;

use super::{Config, clip, hint, is_name};

/// One entity kept in step between two systems.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncTable {
    /// The canonical entity (`account`, `contact`). Default: the sync's name.
    pub(crate) entity: Option<String>,
    /// The two systems.
    pub(crate) between: (String, String),
    /// The one system that changes are taken from. Without it changes flow both ways.
    pub(crate) from: Option<String>,
    /// What becomes of an edit on the side that only follows, once reconciliation has found it: `keep` (default) leaves it until the source changes the
    /// field, `restore` writes the source's value again, `report` leaves it and has `status` ask for a person. It is listed in any case.
    #[schemars(with = "Option<String>")]
    pub(crate) on_drift: Option<OnDrift>,
    /// The system that wins when both sides changed a field. Default: the `autotask` system where there is one, else the first; one-way: `from`.
    pub(crate) owner: Option<String>,
    /// How records are recognised on the other side besides their cross-references, in order. Default: the entity's own rules.
    #[serde(rename = "match")]
    pub(crate) match_rules: Option<Vec<MatchTable>>,
    /// By system: the native field that holds the other system's id, or false for none. Default: the connector's.
    #[serde(default)]
    pub(crate) xref: BTreeMap<String, XrefChange>,
    /// By system: what the entity is called there (`Companies`, `assets`). Default: the connector's.
    #[serde(default)]
    pub(crate) native: BTreeMap<String, String>,
    /// By system and canonical field: what to change of the default mapping.
    #[serde(default)]
    pub(crate) map: BTreeMap<String, BTreeMap<String, FieldChange>>,
    /// By canonical field: who wins when both sides changed it: `owner:<system>`, `only-if-empty`, `newest`, `ask` or `sync-owner`.
    #[serde(default)]
    pub(crate) policy: BTreeMap<String, String>,
    /// By system and canonical field: the values with which a record of that system takes part. A record that is linked stays in step whatever it
    /// holds. Default: all records.
    #[serde(default)]
    pub(crate) scope: BTreeMap<String, BTreeMap<String, Vec<Json>>>,
    /// Canonical fields of your own, or other rules for those of the entity. Each needs a mapping on both sides.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, FieldTable>,
}

/// A way to recognise a record.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MatchTable {
    /// Name in the ledger. Default: the fields.
    pub(crate) name: Option<String>,
    /// Canonical fields, all of which must be equal and not empty. The first one is asked of the server: name the most selective first.
    pub(crate) fields: Vec<MatchFieldTable>,
}

/// A field of a match rule: its name, or a table.
#[derive(Clone, Debug)]
pub(crate) struct MatchFieldTable {
    pub(crate) field: String,
    pub(crate) normalise: Normaliser,
}

/// What a canonical field is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldTable {
    /// Canonical type, where a mapping does not say it: `text` (default), `int`, `decimal`, `bool`, `date`, `time` or `choice`.
    #[schemars(with = "Option<String>")]
    pub(crate) kind: Option<FieldKind>,
    /// When two values count as equal: `exact`, `ignore_case` or `phone_digits`.
    #[schemars(with = "Option<String>")]
    pub(crate) compare: Option<Compare>,
    /// The entity it points to.
    pub(crate) reference: Option<String>,
    /// The record cannot be written without what it points to.
    pub(crate) reference_required: Option<bool>,
    /// What becomes of the reference when the record it points to takes no part in the sync: `wait` (default), `null`, `skip` or `pull`.
    #[schemars(with = "Option<String>")]
    pub(crate) outside: Option<Outside>,
    /// How the record is found where the source names it by something else than its id.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) named_by: Option<NamedBy>,
    /// Travels along with other changes but never causes a write.
    pub(crate) passenger: Option<bool>,
    /// Changes of this field are taken from this system only.
    pub(crate) from: Option<String>,
    /// What becomes of an edit on the side that only follows; see the sync's own `on_drift`.
    #[schemars(with = "Option<String>")]
    pub(crate) on_drift: Option<OnDrift>,
}

/// `false`, or the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum XrefChange {
    None,
    Native(String),
}

/// `false` drops the field, a text renames it, a table changes more.
#[derive(Clone, Debug)]
pub(crate) enum FieldChange {
    Drop,
    Change(Box<MapTable>),
}

/// What to change of a field's mapping; what is not said stays as the connector has it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MapTable {
    /// Native path.
    pub(crate) native: Option<String>,
    /// Canonical type: `text`, `int`, `decimal`, `bool`, `date`, `time`, `choice` or `reference`.
    #[schemars(with = "Option<String>")]
    pub(crate) kind: Option<FieldKind>,
    /// Native type, where it differs.
    #[schemars(with = "Option<String>")]
    pub(crate) native_kind: Option<FieldKind>,
    /// `trim`, `lowercase`, `uppercase`, `phone_digits`, `collapse`; in order.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) transforms: Option<Vec<Transform>>,
    /// Canonical option ↔ native option.
    pub(crate) options: Option<OptionsTable>,
    /// Longest text, in characters.
    pub(crate) max_length: Option<usize>,
    /// Cut longer texts instead of refusing them.
    pub(crate) truncate: Option<bool>,
    /// A create needs it.
    pub(crate) required: Option<bool>,
    /// Canonical value written on a create when the source has none.
    pub(crate) default: Option<Json>,
    /// Canonical fields of the source that a create takes the value from when the source has none, in order; `today` is the day of the create (UTC).
    pub(crate) default_from: Option<Vec<String>>,
    /// What `default_from` gives is never later than this canonical date.
    pub(crate) not_after: Option<String>,
    /// May be written.
    pub(crate) writable: Option<bool>,
    /// May be changed after the create.
    pub(crate) updatable: Option<bool>,
}

/// Options; what is not said stays as the connector has it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OptionsTable {
    /// Pairs like `["customer", 1]`, in place of all default ones.
    pub(crate) pairs: Option<Vec<(String, Json)>>,
    /// Canonical option written where the source's has no counterpart here.
    pub(crate) write_fallback: Option<String>,
    /// Canonical option that unknown native ones are read as.
    pub(crate) read_fallback: Option<String>,
    /// Canonical options that are read but never written.
    pub(crate) read_only: Option<Vec<String>>,
}

/// Policies that name no system.
const PLAIN_POLICIES: [&str; 4] = ["only-if-empty", "newest", "ask", "sync-owner"];

impl SyncTable {
    /// The two systems' names.
    pub(crate) fn systems(&self) -> [SystemId; 2] {
        [
            SystemId::from(self.between.0.as_str()),
            SystemId::from(self.between.1.as_str()),
        ]
    }

    /// The canonical entity's name.
    pub(crate) fn entity<'a>(&'a self, name: &'a str) -> &'a str {
        self.entity.as_deref().unwrap_or(name)
    }
}

impl Config {
    /// What can be said of the syncs without knowing entities and connectors.
    pub(super) fn check_syncs(&self) -> Result<()> {
        if self.syncs.is_empty() {
            return Err(self.problem(&["syncs"], "there is nothing to do: no [syncs.<name>] table"));
        }
        for (name, sync) in &self.syncs {
            self.check_sync(name, sync)?;
        }
        Ok(())
    }

    fn check_sync(&self, name: &str, sync: &SyncTable) -> Result<()> {
        let at = ["syncs", name];
        if !is_name(name) {
            let message = format!(
                "'{}' is no name for a sync; use 1 to 40 of a-z, 0-9 and -",
                clip(name)
            );
            return Err(self.problem(&at, message));
        }
        let configured: Vec<&str> = self.systems.keys().map(String::as_str).collect();
        let (a, b) = (sync.between.0.as_str(), sync.between.1.as_str());
        for (index, system) in [a, b].into_iter().enumerate() {
            if !configured.contains(&system) {
                let message = format!(
                    "there is no system '{}'{}",
                    clip(system),
                    hint(system, &configured)
                );
                return Err(self.problem(&[at[0], at[1], "between", &index.to_string()], message));
            }
        }
        if a == b {
            return Err(self.problem(
                &[at[0], at[1], "between"],
                format!("a sync needs two systems, not {a} twice"),
            ));
        }
        let both = [a, b];
        let of_both = |path: &[&str], system: &str| -> Result<()> {
            if both.contains(&system) {
                return Ok(());
            }
            let message = format!(
                "'{}' is not one of this sync's systems{}",
                clip(system),
                hint(system, &both)
            );
            let path: Vec<&str> = at.iter().chain(path).copied().collect();
            Err(self.problem(&path, message))
        };
        for (key, system) in [("from", &sync.from), ("owner", &sync.owner)] {
            system
                .as_deref()
                .map_or(Ok(()), |system| of_both(&[key], system))?;
        }
        sync.xref
            .keys()
            .try_for_each(|system| of_both(&["xref", system], system))?;
        for (system, native) in &sync.native {
            of_both(&["native", system], system)?;
            if native.trim().is_empty() {
                return Err(self.problem(
                    &[at[0], at[1], "native", system],
                    format!("the entity needs a name in {system}"),
                ));
            }
        }
        sync.map
            .keys()
            .try_for_each(|system| of_both(&["map", system], system))?;
        for (field, table) in &sync.fields {
            table
                .from
                .as_deref()
                .map_or(Ok(()), |system| of_both(&["fields", field, "from"], system))?;
        }
        for (field, policy) in &sync.policy {
            match policy.strip_prefix("owner:") {
                Some(system) => of_both(&["policy", field], system)?,
                None if PLAIN_POLICIES.contains(&policy.as_str()) => {}
                None => {
                    let owners: Vec<String> = both.iter().map(|system| format!("owner:{system}")).collect();
                    let known: Vec<&str> = owners.iter().map(String::as_str).chain(PLAIN_POLICIES).collect();
                    let message = format!("'{}' is no policy{}", clip(policy), hint(policy, &known));
                    return Err(self.problem(&[at[0], at[1], "policy", field], message));
                }
            }
        }
        for (index, rule) in sync.match_rules.iter().flatten().enumerate() {
            if rule.fields.is_empty() {
                let path = [at[0], at[1], "match", &index.to_string()];
                return Err(self.problem(
                    &path,
                    "a match rule needs at least one field: it would match everything",
                ));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for FieldChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FieldChange, D::Error> {
        struct Change;
        impl<'de> Visitor<'de> for Change {
            type Value = FieldChange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, a native field, or a table like { native = \"phone\", max_length = 20 }")
            }

            fn visit_bool<E: serde::de::Error>(self, keep: bool) -> Result<FieldChange, E> {
                if keep {
                    return Err(E::custom(
                        "true says nothing: leave the line out to keep the default mapping",
                    ));
                }
                Ok(FieldChange::Drop)
            }

            fn visit_str<E: serde::de::Error>(self, native: &str) -> Result<FieldChange, E> {
                let table = MapTable {
                    native: Some(native.to_owned()),
                    ..MapTable::default()
                };
                Ok(FieldChange::Change(Box::new(table)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldChange, A::Error> {
                let table = MapTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FieldChange::Change(Box::new(table)))
            }
        }
        deserializer.deserialize_any(Change)
    }
}

impl JsonSchema for FieldChange {
    fn schema_name() -> Cow<'static, str> {
        "FieldChange".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<MapTable>();
        json_schema!({ "anyOf": [{ "const": false }, { "type": "string" }, table] })
    }
}

impl<'de> Deserialize<'de> for XrefChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<XrefChange, D::Error> {
        struct Xref;
        impl Visitor<'_> for Xref {
            type Value = XrefChange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false or a native field like \"udf.CRM ID\"")
            }

            fn visit_bool<E: serde::de::Error>(self, keep: bool) -> Result<XrefChange, E> {
                if keep {
                    return Err(E::custom(
                        "true says nothing: leave the line out to keep the default field",
                    ));
                }
                Ok(XrefChange::None)
            }

            fn visit_str<E: serde::de::Error>(self, native: &str) -> Result<XrefChange, E> {
                Ok(XrefChange::Native(native.to_owned()))
            }
        }
        deserializer.deserialize_any(Xref)
    }
}

impl JsonSchema for XrefChange {
    fn schema_name() -> Cow<'static, str> {
        "XrefChange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": false }, { "type": "string" }] })
    }
}

/// The long form of a match field.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MatchFieldLong {
    /// Canonical field.
    field: String,
    /// How values are made alike before they are compared: `text` (default), `email`, `phone`, `domain`, `name` or `exact`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    normalise: Normaliser,
}

impl<'de> Deserialize<'de> for MatchFieldTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MatchFieldTable, D::Error> {
        struct Field;
        impl<'de> Visitor<'de> for Field {
            type Value = MatchFieldTable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a canonical field, or a table like { field = \"email\", normalise = \"email\" }")
            }

            fn visit_str<E: serde::de::Error>(self, field: &str) -> Result<MatchFieldTable, E> {
                Ok(MatchFieldTable {
                    field: field.to_owned(),
                    normalise: Normaliser::default(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MatchFieldTable, A::Error> {
                let long = MatchFieldLong::deserialize(MapAccessDeserializer::new(map))?;
                Ok(MatchFieldTable {
                    field: long.field,
                    normalise: long.normalise,
                })
            }
        }
        deserializer.deserialize_any(Field)
    }
}

impl JsonSchema for MatchFieldTable {
    fn schema_name() -> Cow<'static, str> {
        "MatchField".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<MatchFieldLong>();
        json_schema!({ "anyOf": [{ "type": "string" }, long] })
    }
}
