//! Events that the system sends by itself.

use schemars::JsonSchema;
use serde::Deserialize;

use super::HmacEncoding;
use crate::stamp::StampFormat;

/// How the system's events are recognised as its own. The secret is the tenant's `webhook_secret`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Header that carries the signature, or the secret itself.
    pub header: String,
    /// What is compared: `sha256` (default), `sha1` or `sha512`, an HMAC over `sign`; or `secret`, the secret itself.
    #[serde(default)]
    pub algorithm: WebhookAlgorithm,
    /// `hex` (default) or `base64`.
    #[serde(default)]
    pub encoding: HmacEncoding,
    /// Text in front of the signature in its header (`sha256=`). Where the header holds several parts (`t=1,v1=ab`), the name of
    /// the right one with its `=`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// The text that is signed, of `{body}`, `{timestamp}`, `{method}` and `{url}` (the tenant's `webhook_url`). Default `{body}`.
    #[serde(default)]
    pub sign: Option<String>,
    /// Header with the `{timestamp}`; events older or newer than five minutes are refused.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// Text in front of the timestamp in its header (`t=`).
    #[serde(default)]
    pub timestamp_prefix: Option<String>,
    /// How the timestamp is written. Default `epoch_secs`.
    #[serde(default)]
    pub timestamp_format: Option<StampFormat>,
    /// Header with a name of its own for each call (`X-Event-Id`): a call that has been heard is not heard again. Without it, calls with a signed
    /// timestamp are known by their signature.
    #[serde(default)]
    pub id_header: Option<String>,
    /// Path of the list of events in a body that holds several; empty (default) when the body is one event or a list of them.
    #[serde(default)]
    pub events: String,
}

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookAlgorithm {
    /// HMAC-SHA-256.
    #[default]
    Sha256,
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-512.
    Sha512,
    /// The header carries the secret as it is.
    Secret,
}

/// How events name records of an entity.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookEntity {
    /// Path of the record's id in an event.
    pub id: String,
    /// Path of the text that says what an event is about. Without it every event is about this entity.
    #[serde(default)]
    pub path: Option<String>,
    /// Header that says it, instead of a path.
    #[serde(default)]
    pub header: Option<String>,
    /// The event is about this entity when the text equals one of these (ignoring case).
    #[serde(default)]
    pub equals: Vec<String>,
    /// … or when it starts with this (`company.`).
    #[serde(default)]
    pub starts: Option<String>,
}
