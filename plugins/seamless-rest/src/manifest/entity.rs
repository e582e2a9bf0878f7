//! One native entity: where its id and stamps are, and how it is listed, read, found and written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    Above, CapabilitySpec, Create, Delete, Find, Get, GetMany, List, MapSection, Update, WebhookEntity,
};
use crate::stamp::StampFormat;

/// A native entity.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Path of the id, text or number. Default `id`.
    #[serde(default = "id")]
    pub id: String,
    /// Path of the stamp of the last change.
    #[serde(default)]
    pub modified: Option<String>,
    /// Path of the stamp of creation.
    #[serde(default)]
    pub created: Option<String>,
    /// How stamps are written: `rfc3339` (default), `epoch_secs`, `epoch_millis`, `date`, or a strftime pattern.
    #[serde(default)]
    pub stamp_format: StampFormat,
    /// Offset of stamps that name none (`+02:00`). Default UTC.
    #[serde(default)]
    pub stamp_utc_offset: Option<String>,
    /// Zone of stamps that name none, where its offset changes with the season (`Europe/Berlin`).
    #[serde(default)]
    pub stamp_zone: Option<String>,
    /// Path of the version for compare-and-set.
    #[serde(default)]
    pub version: Option<String>,
    /// Header of the single-record answer that carries the version (`ETag`).
    #[serde(default)]
    pub version_header: Option<String>,
    /// Ids are numbers where they are written in a JSON body.
    #[serde(default)]
    pub numeric_ids: bool,
    /// What is written for nothing, where that is not null (`""`).
    #[serde(default)]
    pub null_as: Option<Json>,
    /// Objects of a row whose members belong to the record itself (`attributes` of JSON:API).
    #[serde(default)]
    pub lift: Vec<String>,
    /// Lists of `{ id, value }` (custom fields) that are read and written as objects, by path.
    #[serde(default)]
    pub keyed: BTreeMap<String, Keyed>,
    /// Fields that are made from others when a record is read: path → template over the record.
    #[serde(default)]
    pub computed: BTreeMap<String, String>,
    /// The record that each one hangs under, where it is listed by parent or has its id in the URL.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// Reading records.
    pub list: List,
    /// Further lists whose records belong to the entity too, read one after the other.
    #[serde(default)]
    pub more_lists: Vec<List>,
    /// Lists that are read instead when only changes are asked for: one, or several whose answers are merged (created since,
    /// then updated since).
    #[serde(default)]
    pub changes: Vec<List>,
    /// Reading one record.
    #[serde(default)]
    pub get: Option<Get>,
    /// Reading several records by id in one call. Must be as current as `get`.
    #[serde(default)]
    pub get_many: Option<GetMany>,
    /// Searching by a field.
    #[serde(default)]
    pub find: Option<Find>,
    /// Records with an id above `{id}`, ascending. Only where ids are numbers that only rise.
    #[serde(default)]
    pub above: Option<Above>,
    /// Creating.
    #[serde(default)]
    pub create: Option<Create>,
    /// Updating.
    #[serde(default)]
    pub update: Option<Update>,
    /// Removing; only used where the operator enables deletes.
    #[serde(default)]
    pub delete: Option<Delete>,
    /// Path as read → path as written, where they differ (`"owner.id" = "owner_id"`).
    #[serde(default)]
    pub write_as: BTreeMap<String, String>,
    /// Path as read → how it is written, where a name is not enough.
    #[serde(default)]
    pub written: BTreeMap<String, WrittenAs>,
    /// How the system's events name records of this entity.
    #[serde(default)]
    pub webhook: Option<WebhookEntity>,
    /// Promises of this entity that differ from the system's.
    #[serde(default)]
    pub capabilities: CapabilitySpec,
    /// What is known about the fields, for `check` and `init`. When given, mappings may only name these.
    #[serde(default)]
    pub fields: BTreeMap<String, FieldSpec>,
    /// Default mappings by canonical entity.
    #[serde(default)]
    pub map: BTreeMap<String, MapSection>,
}

fn id() -> String {
    "id".into()
}

/// A list of members that name themselves, read as an object: `[{ id = 3, value = "x" }]` as `{ 3 = "x" }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keyed {
    /// Path of the name in each member (`id`).
    pub key: String,
    /// Path of the value in each member (`value`).
    pub value: String,
    /// Names are numbers when written.
    #[serde(default)]
    pub numeric: bool,
    /// The system replaces the list as a whole: all members are sent with a change. Without it only the changed ones are.
    #[serde(default)]
    pub whole: bool,
}

/// The record that each one hangs under.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Native entity of the parents. `{parent}` in `list` is filled with the id of each of them in turn.
    pub entity: String,
    /// Path of the parent's id in records; put there when the system leaves it out.
    pub field: String,
    /// Ids are unique below one parent only: records are known as `parent/id`.
    #[serde(default)]
    pub in_id: bool,
}

/// How a field is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenAs {
    /// Path as written. Default: as read.
    #[serde(default, rename = "as")]
    pub path: Option<String>,
    /// Template of the value; `value` is the field's, `record` all fields that are written. A template of nothing but one
    /// expression keeps its type.
    pub template: String,
}

/// What is known about a field.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// The system's type name. Default `text`.
    #[serde(default, rename = "type")]
    pub data_type: Option<String>,
    /// How a moment in this field is written, where that is not RFC 3339: as `stamp_format`.
    #[serde(default)]
    pub format: Option<StampFormat>,
    /// Longest text, in characters.
    #[serde(default)]
    pub max_length: Option<usize>,
    /// A create without it is refused.
    #[serde(default)]
    pub required: bool,
    /// Cannot be written.
    #[serde(default)]
    pub read_only: bool,
    /// Stored values of an option list.
    #[serde(default)]
    pub options: Vec<Json>,
    /// Where the option list comes from, instead of `options`.
    #[serde(default)]
    pub options_from: Option<OptionsFrom>,
    /// Options that old records still hold but that cannot be chosen any more.
    #[serde(default)]
    pub inactive_options: Vec<Json>,
    /// The native entity it points to.
    #[serde(default)]
    pub reference: Option<String>,
}

/// An option list that the system knows itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionsFrom {
    /// Path of the call.
    pub path: String,
    /// Query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Path of the array of options; empty (default) when the body is the array.
    #[serde(default)]
    pub items: String,
    /// Path of the stored value in each option; empty (default) when the option itself is the value.
    #[serde(default)]
    pub value: String,
    /// Path of the text for people. Default: the value.
    #[serde(default)]
    pub label: Option<String>,
    /// Path of a truth value that is false for options that cannot be chosen any more.
    #[serde(default)]
    pub active: Option<String>,
}
