//! How requests prove who they are.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{BodyFormat, Method};
use crate::stamp::StampFormat;

/// How requests prove who they are. Which keys go with which `kind` is checked when the manifest is read.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// `none`; `bearer` (secret `token`); `basic` (`username`, `password`); `api_key` (`api_key`); `oauth2`; `login`; `hmac`.
    #[serde(default)]
    pub kind: AuthKind,
    /// `api_key`, `login`: the header that carries the key or token; `hmac`: the one that carries the signature.
    #[serde(default)]
    pub header: Option<String>,
    /// `api_key`, `login`: the query parameter that carries it. A header is safer where the system takes both.
    #[serde(default)]
    pub query: Option<String>,
    /// `login`: the cookie that carries the token.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Text in front of the key, token or signature in the header (`"Token "`). `login` without it: `"Bearer "`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// `oauth2`: where the token comes from, a path below `base_url` or a whole URL (which may be another host's).
    #[serde(default)]
    pub token_url: Option<String>,
    /// `oauth2`: `client_credentials` (default), `refresh_token` or `password`.
    #[serde(default)]
    pub grant: Option<Grant>,
    /// `oauth2`: `scope` of the request.
    #[serde(default)]
    pub scope: Option<String>,
    /// `oauth2`: further parameters of the token request (`audience`).
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// `oauth2`: where client id and secret go, `body` (default) or `basic`; `login`: `basic` sends user and password so.
    #[serde(default)]
    pub client_auth: Option<ClientAuth>,
    /// `login`: path of the call that returns a token.
    #[serde(default)]
    pub path: Option<String>,
    /// `login`: `POST` (default) or `GET`.
    #[serde(default)]
    pub method: Option<Method>,
    /// `login`: its body; `{username}`, `{password}`, `{api_key}`, `{client_id}` and `{client_secret}` stand for the secrets.
    #[serde(default)]
    pub body: Option<Json>,
    /// `login`: encoding of the body, `json` (default) or `form`.
    #[serde(default)]
    pub format: BodyFormat,
    /// `login`, `oauth2`: path of the token in the answer (`oauth2`: `access_token`).
    #[serde(default)]
    pub token: Option<String>,
    /// `login`: header of the answer that is the token.
    #[serde(default)]
    pub token_header: Option<String>,
    /// `login`: cookie of the answer that is the token.
    #[serde(default)]
    pub token_cookie: Option<String>,
    /// `login`, `oauth2`: path of the token's life in seconds (`oauth2`: `expires_in`).
    #[serde(default)]
    pub expires_in: Option<String>,
    /// `login`, `oauth2`: the token's life, where the answer does not say it.
    #[serde(default)]
    pub lifetime_secs: Option<u64>,
    /// `hmac`: the text that is signed (secret `secret`), of `{method}`, `{path}`, `{query}`, `{timestamp}`, `{nonce}`, `{body}`,
    /// `{body_hash}`, `{host}` and `{api_key}`.
    #[serde(default)]
    pub sign: Option<String>,
    /// `hmac`: `sha256` (default) or `sha512`, for signature and body hash.
    #[serde(default)]
    pub algorithm: Option<HmacAlgorithm>,
    /// `hmac`: `hex` (default) or `base64`, for signature and body hash.
    #[serde(default)]
    pub encoding: Option<HmacEncoding>,
    /// `hmac`: how `{timestamp}` is written. Default `epoch_secs`.
    #[serde(default)]
    pub timestamp_format: Option<StampFormat>,
    /// `hmac`: further headers, of the same placeholders and `{signature}` (`{ X-Timestamp = "{timestamp}" }`).
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// Kinds of authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// No credentials.
    #[default]
    None,
    /// `Authorization: Bearer <token>`.
    Bearer,
    /// `Authorization: Basic <username:password>`.
    Basic,
    /// A key in a header or query parameter.
    ApiKey,
    /// A token from an OAuth2 token endpoint, renewed when it expires.
    Oauth2,
    /// A token from a call of the system's own, made again when the session has expired.
    Login,
    /// Every request is signed.
    Hmac,
}

/// OAuth2 grants that need no person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Secrets `client_id`, `client_secret`.
    #[default]
    ClientCredentials,
    /// `client_id`, `client_secret` and the refresh token in the tenant's `refresh_file`.
    RefreshToken,
    /// `client_id`, `client_secret`, `username`, `password`.
    Password,
}

/// Where the client's own credentials go in a token request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Among the other parameters.
    #[default]
    Body,
    /// `Authorization: Basic`.
    Basic,
}

/// Hash functions of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HmacAlgorithm {
    /// HMAC-SHA-256.
    #[default]
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// How signature and hash are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HmacEncoding {
    /// Lower-case hexadecimal.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}
