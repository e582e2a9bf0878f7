//! How records are created, changed and removed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::Method;
use super::reading::{delete, patch, post};

/// How a written body is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// JSON.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`, nested paths as `a[b]`.
    Form,
    /// XML: members are elements, `@name` an attribute, `#text` the text beside attributes.
    Xml,
    /// `update` only: a list of `{ op, path, value }` (RFC 6902), one for each changed field.
    JsonPatch,
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
    /// Query parameters, filled like the path.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The whole body, where `wrap` does not say enough: `"{record}"` stands for the record, `"{id}"` for its id.
    #[serde(default)]
    pub body: Option<Json>,
    /// The body as a template instead: `record`, `id` and `current` are known there.
    #[serde(default)]
    pub body_template: Option<String>,
    /// Header with a key under which the system makes the record once only (`Idempotency-Key`).
    #[serde(default)]
    pub idempotency_header: Option<String>,
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

/// Updating. `{id}` stands in the path, the query or the body; path and query may also name fields of the record.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// `PATCH` (default), `PUT` or `POST`.
    #[serde(default = "patch")]
    pub method: Method,
    /// Path.
    pub path: String,
    /// Query parameters, filled like the path.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The whole body, where `wrap` does not say enough: `"{record}"` stands for the record, `"{id}"` for its id.
    #[serde(default)]
    pub body: Option<Json>,
    /// The body as a template instead: `record`, `id` and `current` are known there.
    #[serde(default)]
    pub body_template: Option<String>,
    /// Path of the body that carries the id, for systems whose update has it there.
    #[serde(default)]
    pub id_body: Option<String>,
    /// `format = "json_patch"`: `add` (default, which also replaces) or `replace`.
    #[serde(default)]
    pub patch_op: Option<String>,
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
    /// Path with `{id}` (which may stand in `query` or `body` instead).
    pub path: String,
    /// Query parameters, filled like the path.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON body of a soft delete (`{ deleted = true }`); `"{id}"`.
    #[serde(default)]
    pub body: Option<Json>,
}
