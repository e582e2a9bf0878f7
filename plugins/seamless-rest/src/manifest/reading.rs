//! How records are listed, read and found.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Paging, Since};

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

pub(super) fn post() -> Method {
    Method::Post
}

pub(super) fn patch() -> Method {
    Method::Patch
}

pub(super) fn delete() -> Method {
    Method::Delete
}

/// Reading records, all of them or what has changed. `{since}` stands for the moment, `{parent}` for the parent's id.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// `GET` (default) or `POST`.
    #[serde(default = "get")]
    pub method: Method,
    /// Path; may contain `{since}` and `{parent}`.
    pub path: String,
    /// Fixed query parameters, the sort order among them; `{since}` and `{parent}` in values.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Query parameters whose values are templates.
    #[serde(default)]
    pub query_template: BTreeMap<String, String>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Fixed JSON body of a POST; `{since}` and `{parent}` in texts.
    #[serde(default)]
    pub body: Option<Json>,
    /// The body as a template instead, which must give JSON (XML where `system.format` is `xml`).
    #[serde(default)]
    pub body_template: Option<String>,
    /// Path of the record inside each row (`doc`); empty (default) when the row is the record.
    #[serde(default)]
    pub row: String,
    /// The server says "not found" when there are no records.
    #[serde(default)]
    pub missing_is_empty: bool,
    /// Path of the array of records; empty (default) when the body itself is the array.
    #[serde(default)]
    pub items: String,
    /// How to ask for changes only. Without it every poll reads everything, and content is compared.
    #[serde(default)]
    pub since: Option<Since>,
    /// How to go on. Default: one answer holds everything.
    #[serde(default)]
    pub page: Paging,
    /// Rows hold little more than the id, or are the ids: each record is read with `get`.
    #[serde(default)]
    pub stubs: bool,
}

/// Reading one record.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// Path with `{id}` (which may stand in `query` instead); `{parent}`.
    pub path: String,
    /// Query parameters; `{id}` and `{parent}`.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Path of the record in the answer; empty (default) when the body itself is the record.
    #[serde(default)]
    pub item: String,
    /// Statuses that mean "no such record" here, besides 404 and 410 (403 where a system does not tell the two apart).
    #[serde(default)]
    pub missing_status: Vec<u16>,
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
    /// Query parameters whose values are templates.
    #[serde(default)]
    pub query_template: BTreeMap<String, String>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON body of a POST; `{ids}`.
    #[serde(default)]
    pub body: Option<Json>,
    /// The body as a template instead.
    #[serde(default)]
    pub body_template: Option<String>,
    /// Path of the record inside each row.
    #[serde(default)]
    pub row: String,
    /// The server says "not found" when there are no records.
    #[serde(default)]
    pub missing_is_empty: bool,
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
    /// The server cannot search: the whole list is read, and compared here.
    #[serde(default)]
    pub scan: bool,
    /// `scan`: most records read for one search. Default 20000.
    #[serde(default)]
    pub rows_max: Option<usize>,
    /// Path; may contain `{field}`.
    #[serde(default)]
    pub path: String,
    /// Query parameters; names may contain `{field}`, values all three.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Query parameters whose values are templates.
    #[serde(default)]
    pub query_template: BTreeMap<String, String>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON body of a POST.
    #[serde(default)]
    pub body: Option<Json>,
    /// The body as a template instead.
    #[serde(default)]
    pub body_template: Option<String>,
    /// Path of the record inside each row.
    #[serde(default)]
    pub row: String,
    /// The server says "not found" when there are no records.
    #[serde(default)]
    pub missing_is_empty: bool,
    /// Puts the values into one query parameter, separated by this (`","`).
    #[serde(default)]
    pub join: Option<String>,
    /// Replacements inside a value that stands within other text (`{ "'" = "''" }`), so that it cannot break out; `{}` where
    /// nothing in it has a meaning.
    #[serde(default)]
    pub escape: Option<BTreeMap<String, String>>,
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
    /// Rows hold little more than the id and the field, or are the ids: each record is read with `get`.
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
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Path of the array of records.
    #[serde(default)]
    pub items: String,
    /// Path of the record inside each row.
    #[serde(default)]
    pub row: String,
    /// The server says "not found" when there are no records.
    #[serde(default)]
    pub missing_is_empty: bool,
    /// How long answers go on.
    #[serde(default)]
    pub page: Paging,
}
