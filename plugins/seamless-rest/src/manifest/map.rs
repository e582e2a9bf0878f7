//! The `map` section: a default mapping to a canonical entity, in a shorter form than the tenant's configuration.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use seamless_core::mapping::{FieldKind, FieldMapping, OptionMap, SideMapping, Transform};
use seamless_core::{Date, Timestamp, Value};
use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

/// Default mapping of a native entity to a canonical one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapSection {
    /// Native path of the cross-reference field.
    #[serde(default)]
    pub xref: Option<String>,
    /// Canonical field → native path, or a table with the details.
    pub fields: BTreeMap<String, MapField>,
}

/// How a canonical field lives here. A bare text is the native path of a text field.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(with = "MapFieldOrPath")]
pub struct MapField(pub MapFieldTable);

#[derive(JsonSchema)]
#[schemars(rename = "MapField", untagged)]
#[expect(dead_code, reason = "shape of the JSON Schema only")]
enum MapFieldOrPath {
    Path(String),
    Table(Box<MapFieldTable>),
}

/// The long form of a field mapping.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapFieldTable {
    /// Native path.
    pub native: String,
    /// Canonical type: `text` (default), `int`, `decimal`, `bool`, `date`, `time`, `choice`, `reference`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub kind: FieldKind,
    /// Native type, where it differs.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub native_kind: Option<FieldKind>,
    /// `trim`, `lowercase`, `uppercase`, `phone_digits`, `collapse`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub transforms: Vec<Transform>,
    /// Canonical option → native option. A list: the first is written, the others are only read.
    #[serde(default)]
    pub options: BTreeMap<String, Json>,
    /// Canonical option written where the source's has no counterpart here.
    #[serde(default)]
    pub write_fallback: Option<String>,
    /// Canonical option that an unknown native value is read as.
    #[serde(default)]
    pub read_fallback: Option<String>,
    /// Canonical options that are read but never written; the write fallback stands in for them.
    #[serde(default)]
    pub read_only_options: Vec<String>,
    /// Longest text, in characters.
    #[serde(default)]
    pub max_length: Option<usize>,
    /// Cut longer texts instead of refusing them.
    #[serde(default)]
    pub truncate: bool,
    /// A create needs it.
    #[serde(default)]
    pub required: bool,
    /// Canonical value written on create when the source has none.
    #[serde(default)]
    pub default: Option<Json>,
    /// Canonical fields of the source that a create takes the value from when the source has none, in order; `today` is the day of the create.
    #[serde(default)]
    pub default_from: Vec<String>,
    /// What `default_from` gives is never later than this canonical date.
    #[serde(default)]
    pub not_after: Option<String>,
    /// May be written. Default true.
    #[serde(default)]
    pub writable: Option<bool>,
    /// May be changed after the create. Default true.
    #[serde(default)]
    pub updatable: Option<bool>,
}

impl<'de> Deserialize<'de> for MapField {
    // By hand and not `untagged`: an untagged enum would lose the place and the name of a misspelt key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MapField, D::Error> {
        struct PathOrTable;

        impl<'de> Visitor<'de> for PathOrTable {
            type Value = MapField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a native path, or a table with `native`")
            }

            fn visit_str<E>(self, path: &str) -> Result<MapField, E> {
                Ok(MapField(MapFieldTable {
                    native: path.to_owned(),
                    ..Default::default()
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MapField, A::Error> {
                MapFieldTable::deserialize(MapAccessDeserializer::new(map)).map(MapField)
            }
        }

        deserializer.deserialize_any(PathOrTable)
    }
}

impl MapSection {
    /// The mapping as the engine takes it.
    pub(crate) fn side_mapping(&self, native_entity: &str) -> SideMapping {
        SideMapping {
            entity: native_entity.to_owned(),
            xref: self.xref.clone(),
            fields: self
                .fields
                .iter()
                .map(|(name, field)| (name.clone(), field.0.mapping()))
                .collect(),
        }
    }
}

impl MapFieldTable {
    fn mapping(&self) -> FieldMapping {
        FieldMapping {
            native: self.native.clone(),
            kind: self.kind,
            native_kind: self.native_kind,
            transforms: self.transforms.clone(),
            options: self.option_map(),
            max_length: self.max_length,
            truncate: self.truncate,
            required: self.required,
            default: self.default.as_ref().map(|json| typed(json, self.kind)),
            default_from: self.default_from.clone(),
            not_after: self.not_after.clone(),
            writable: self.writable.unwrap_or(true),
            updatable: self.updatable.unwrap_or(true),
        }
    }

    fn option_map(&self) -> Option<OptionMap> {
        if self.options.is_empty() {
            return None;
        }
        let mut pairs = Vec::new();
        for (canonical, native) in &self.options {
            match native {
                Json::Array(natives) => {
                    pairs.extend(
                        natives
                            .iter()
                            .map(|json| (canonical.clone(), Value::from_json(json))),
                    );
                }
                one => pairs.push((canonical.clone(), Value::from_json(one))),
            }
        }
        Some(OptionMap {
            pairs,
            write_fallback: self.write_fallback.clone(),
            read_fallback: self.read_fallback.clone(),
            read_only: self.read_only_options.clone(),
        })
    }
}

/// A default as a canonical value of its kind; what does not fit stays as written, and `check` reports it with the mapping.
fn typed(json: &Json, kind: FieldKind) -> Value {
    let plain = Value::from_json(json);
    match (kind, &plain) {
        (FieldKind::Date, Value::Text(text)) => Date::parse(text).map_or(plain, Value::Date),
        (FieldKind::Time, Value::Text(text)) => Timestamp::parse(text).map_or(plain, Value::Time),
        _ => plain,
    }
}
