//! One native entity: where its id and stamps are, and how it is listed, read, found and written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{CapabilitySpec, MapSection, Paging, Since};
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
    /// Path of the version for compare-and-set.
    #[serde(default)]
    pub version: Option<String>,
    /// Header of the single-record answer that carries the version (`ETag`).
    #[serde(default)]
    pub version_header: Option<String>,
    /// Reading changes.
    pub list: List,
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

/// HTTP methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

fn get() -> Method {
    Method::Get
}

fn post() -> Method {
    Method::Post
}

fn patch() -> Method {
    Method::Patch
}

fn delete() -> Method {
    Method::Delete
}

/// Reading changes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// `GET` (default) or `POST`.
    #[serde(default = "get")]
    pub method: Method,
    /// Path; may contain `{since}`.
    pub path: String,
    /// Fixed query parameters, the sort order among them.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Fixed JSON body of a POST.
    #[serde(default)]
    pub body: Option<Json>,
    /// Path of the array of records; empty (default) when the body itself is the array.
    #[serde(default)]
    pub items: String,
    /// How to ask for changes only. Without it every poll reads everything, and content is compared.
    #[serde(default)]
    pub since: Option<Since>,
    /// How to go on. Default: one answer holds everything.
    #[serde(default)]
    pub page: Paging,
    /// Rows hold little more than the id: each record is read with `get`.
    #[serde(default)]
    pub stubs: bool,
}

/// Reading one record.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// Path with `{id}`.
    pub path: String,
    /// Fixed query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Path of the record in the answer; empty (default) when the body itself is the record.
    #[serde(default)]
    pub item: String,
}

/// Reading several records by id. `{ids}` stands for the ids: alone in a query parameter it is repeated (or joined, with
/// `join`), alone in a JSON body it is an array.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetMany {
    /// `GET` (default) or `POST`.
    #[serde(default = "get")]
    pub method: Method,
    /// Path.
    pub path: String,
    /// Query parameters; `{ids}`.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// JSON body of a POST; `{ids}`.
    #[serde(default)]
    pub body: Option<Json>,
    /// Puts the ids into one query parameter, separated by this (`","`).
    #[serde(default)]
    pub join: Option<String>,
    /// Ids are numbers in the JSON body.
    #[serde(default)]
    pub numeric: bool,
    /// Most ids in one call.
    pub ids_max: usize,
    /// Path of the array of records.
    #[serde(default)]
    pub items: String,
}

/// Searching. `{field}` stands for the field, `{value}` for the value, `{values}` for all values of one call: alone in a
/// query parameter `{values}` is repeated (or joined, with `join`), alone in a JSON body it is an array.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// `GET` (default) or `POST`.
    #[serde(default = "get")]
    pub method: Method,
    /// Path; may contain `{field}` and `{value}`.
    pub path: String,
    /// Query parameters; names may contain `{field}`, values all three.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// JSON body of a POST.
    #[serde(default)]
    pub body: Option<Json>,
    /// Puts the values into one query parameter, separated by this (`","`).
    #[serde(default)]
    pub join: Option<String>,
    /// Replacements inside a value that stands within other text (`{ "'" = "''" }`), so that it cannot break out.
    #[serde(default)]
    pub escape: BTreeMap<String, String>,
    /// Most values in one call. Default 1.
    #[serde(default = "one")]
    pub values_max: usize,
    /// Fields that can be searched; all when empty.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Native path → the server's name for it in a search, where they differ.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// Path of the array of records.
    #[serde(default)]
    pub items: String,
    /// How long answers go on. Default: one answer holds everything.
    #[serde(default)]
    pub page: Paging,
    /// The server also returns near matches (parts of words, prefixes): many wrong rows are no sign of an ignored filter.
    #[serde(default)]
    pub near_matches: bool,
    /// Rows hold little more than the id and the field: each record is read with `get`.
    #[serde(default)]
    pub stubs: bool,
}

fn one() -> usize {
    1
}

/// Records with an id above `{id}`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Above {
    /// Path.
    pub path: String,
    /// Query parameters; `{id}`.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Path of the array of records.
    #[serde(default)]
    pub items: String,
    /// How long answers go on.
    #[serde(default)]
    pub page: Paging,
}

/// How a written body is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// JSON.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`, nested paths as `a[b]`.
    Form,
}

/// Creating. The path may contain fields of the record (`/companies/{account_id}/contacts`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// `POST` (default) or `PUT`.
    #[serde(default = "post")]
    pub method: Method,
    /// Path.
    pub path: String,
    /// Puts the record under this path of the body.
    #[serde(default)]
    pub wrap: String,
    /// Fixed fields that every new record gets.
    #[serde(default)]
    pub fixed: BTreeMap<String, Json>,
    /// Encoding.
    #[serde(default)]
    pub format: BodyFormat,
    /// Path of the record in the answer; its id is looked for there.
    #[serde(default)]
    pub item: String,
    /// Path of the new id in the answer, where it is not in the record (`result.new_id`).
    #[serde(default)]
    pub id: Option<String>,
    /// Header whose last path segment is the new id (`Location`), for answers without a body.
    #[serde(default)]
    pub id_header: Option<String>,
}

/// Updating. The path contains `{id}` and may contain fields of the record.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// `PATCH` (default), `PUT` or `POST`.
    #[serde(default = "patch")]
    pub method: Method,
    /// Path.
    pub path: String,
    /// Fields that are not sent stay as they are (default). `false`: the record is read, changed and sent as a whole.
    #[serde(default = "yes")]
    pub partial: bool,
    /// A change inside a nested object leaves the object's other members alone. Without it (default) the whole object is sent
    /// as last read, because most servers replace it.
    #[serde(default)]
    pub merges_nested: bool,
    /// `partial = false`: paths that must not be sent back (`updated_at`).
    #[serde(default)]
    pub omit: Vec<String>,
    /// Puts the record under this path of the body.
    #[serde(default)]
    pub wrap: String,
    /// Fixed fields that every update sends.
    #[serde(default)]
    pub fixed: BTreeMap<String, Json>,
    /// Encoding.
    #[serde(default)]
    pub format: BodyFormat,
    /// Header that carries the expected version (`If-Match`; a bare version is put in quotes there).
    #[serde(default)]
    pub version_header: Option<String>,
    /// Path in the body that carries the expected version.
    #[serde(default)]
    pub version_body: Option<String>,
    /// Query parameter that carries the expected version.
    #[serde(default)]
    pub version_query: Option<String>,
}

fn yes() -> bool {
    true
}

/// Removing, hard or soft.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// `DELETE` (default), or `PATCH`, `PUT`, `POST` for a soft delete.
    #[serde(default = "delete")]
    pub method: Method,
    /// Path with `{id}`.
    pub path: String,
    /// JSON body of a soft delete (`{ deleted = true }`).
    #[serde(default)]
    pub body: Option<Json>,
}

/// What is known about a field.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// The system's type name. Default `text`.
    #[serde(default, rename = "type")]
    pub data_type: Option<String>,
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
    /// Options that old records still hold but that cannot be chosen any more.
    #[serde(default)]
    pub inactive_options: Vec<Json>,
    /// The native entity it points to.
    #[serde(default)]
    pub reference: Option<String>,
}
