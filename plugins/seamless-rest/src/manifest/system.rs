//! The system as a whole: where it is, who we are, how much it takes, how it refuses.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where the system is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// What people call it.
    pub name: String,
    /// Address that every path is appended to (`https://crm.example.com/api/v2`). The tenant's `endpoint` overrides it.
    #[serde(default)]
    pub base_url: Option<String>,
    /// What answers are written in, `json` (default) or `xml`.
    #[serde(default)]
    pub format: AnswerFormat,
    /// Path that `ping` reads. Without it, `ping` reads one record of the first entity.
    #[serde(default)]
    pub ping: Option<String>,
    /// The system shows strangers empty lists and missing records instead of refusing them: nothing is only believed to be there when `ping`, which a
    /// stranger must be refused, succeeds as well. Default false.
    #[serde(default)]
    pub confirm_empty: bool,
    /// Headers sent with every request (`Accept`, an API version). No secrets: those belong to `auth`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Query parameters sent with every request. No secrets: those belong to `auth`.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
}

/// What answers are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// JSON.
    #[default]
    Json,
    /// XML, read as if it were JSON: an element is a member of its parent (a list where it repeats), `@name` an attribute, `#text`
    /// the text beside attributes.
    Xml,
}

/// How much the system takes. The tenant's settings may lower or raise each.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests a second over all entities; no limit without it.
    #[serde(default)]
    pub requests_per_second: Option<f64>,
    /// Calls under way at once, per endpoint. Default 4.
    #[serde(default = "four")]
    pub concurrency: usize,
    /// Header with the calls left (`X-RateLimit-Remaining`). At 0 nothing is sent until the time in `reset_header`.
    #[serde(default)]
    pub remaining_header: Option<String>,
    /// Header that says when calls are allowed again (`X-RateLimit-Reset`): seconds from now, or a time since 1970.
    #[serde(default)]
    pub reset_header: Option<String>,
    /// Header that asks for a pause in seconds, whatever the status (`Backoff`). `Retry-After` is known anyway.
    #[serde(default)]
    pub pause_header: Option<String>,
    /// Records asked for per page: no more than the server's own maximum. Default 100.
    #[serde(default = "hundred")]
    pub page_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            requests_per_second: None,
            concurrency: four(),
            remaining_header: None,
            reset_header: None,
            pause_header: None,
            page_size: hundred(),
        }
    }
}

fn four() -> usize {
    4
}

fn hundred() -> usize {
    100
}

/// What the system promises. Every key left out falls back to the system's, then to the weakest promise.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapabilitySpec {
    /// How long a sent write can still take effect after its answer was lost. Default 330.
    #[serde(default)]
    pub settle_after_secs: Option<u64>,
    /// How long a new record can stay invisible to `find`. Default 60.
    #[serde(default)]
    pub search_lag_secs: Option<u64>,
    /// How far behind the cursor to read again, because stamps land late. Default 120.
    #[serde(default)]
    pub overlap_secs: Option<u64>,
    /// Resolution of the modified stamp. Default 1000 (a day where stamps are dates).
    #[serde(default)]
    pub granularity_ms: Option<u64>,
    /// Whether our cross-reference field is `unique`, `searchable` or there is `none`. Default `none`.
    #[serde(default)]
    pub external_key: Option<ExternalKeySpec>,
    /// Whether records leave out fields that are empty. Where they do not, a field that held something and is not in a record any more has not been
    /// read: it waits, and empties nothing on the other side. Default false.
    #[serde(default)]
    pub omits_empty: Option<bool>,
}

/// See `seamless_core::ExternalKey`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExternalKeySpec {
    /// The system refuses a second record with the same key.
    Unique,
    /// The key can be searched; two records may carry it.
    Searchable,
    /// Nothing of the kind.
    None,
}

/// How refusals look. Paths lead into the JSON body of the answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// Path of the sentence for people (`error.message`).
    #[serde(default)]
    pub message: Option<String>,
    /// Path of the native field at fault (`error.field`).
    #[serde(default)]
    pub field: Option<String>,
    /// Path of an object whose members are called as the fields at fault and hold a sentence, a list of them, or an object with a `message`
    /// (`errors` in `{"errors": {"email": ["is not valid"]}}`; empty for the whole body). Takes the place of `field`, and of `message` where there is none.
    #[serde(default)]
    pub by_field: Option<String>,
    /// Path of the error code (`error.code`).
    #[serde(default)]
    pub code: Option<String>,
    /// Rules that overrule the HTTP status, first match wins. Needed where a refusal is a 200.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// What an answer means. All conditions given must hold; at least one is needed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The HTTP status is one of these.
    #[serde(default)]
    pub status: Vec<u16>,
    /// Look at this header …
    #[serde(default)]
    pub header: Option<String>,
    /// … or at this path of the JSON body …
    #[serde(default)]
    pub path: Option<String>,
    /// … or at the body's text (`true`).
    #[serde(default)]
    pub text: bool,
    /// It is there (`true`) or not (`false`); null counts as not there.
    #[serde(default)]
    pub exists: Option<bool>,
    /// It equals one of these (compared as text, upper and lower case alike).
    #[serde(default)]
    pub equals: Vec<String>,
    /// It contains this (upper and lower case alike).
    #[serde(default)]
    pub contains: Option<String>,
    /// What the answer means then.
    pub means: Meaning,
}

/// Meanings of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// Success.
    Done,
    /// The record was refused as it is; nothing changed.
    Refused,
    /// A record with this key exists already; nothing changed.
    Duplicate,
    /// The expected version did not hold; nothing changed.
    Conflict,
    /// No such record.
    Missing,
    /// Slow down; nothing changed.
    Throttled,
    /// Credentials are wrong or expired; where a token can be renewed, it is, and the call is made once more.
    Unauthorized,
    /// The session has expired: as `unauthorized`, for answers that say it with another status.
    SessionExpired,
    /// The credentials lack a right.
    Forbidden,
    /// The server failed; whether anything changed is unknown.
    Fault,
}
