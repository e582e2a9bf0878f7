//! Settings of one Autotask system.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use seamless_core::{Error, OpenContext, Result, Secret, read_settings};
use seamless_http::HttpSettings;
use serde::Deserialize;

/// The `[systems.<name>]` table of an Autotask system, without its `kind`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutotaskSettings {
    /// Where the zone is asked for. Default `https://webservices.autotask.net`; a sandbox's address in tests.
    pub endpoint: String,
    /// The API user (`xyz@EXAMPLE.COM`): plain text, or a reference to a secret.
    pub username: Option<serde_json::Value>,
    /// Tracking identifier of the integration (`ApiIntegrationCode`): a reference to a secret.
    pub integration_code: Option<serde_json::Value>,
    /// The API user's secret: a reference to a secret.
    pub secret: Option<serde_json::Value>,
    /// Resource who owns companies and opportunities created without an owner. Must be a person: an API-only user cannot own records.
    pub default_owner_resource_id: Option<i64>,
    /// Company type given to companies created without one, e.g. 1 for Customer.
    pub default_company_type: Option<i64>,
    /// Secret that Autotask signs its events with, 16 to 64 characters: a reference to a secret. Needed for webhooks only.
    pub webhook_secret: Option<serde_json::Value>,
    /// The secret before that one, while events signed with it may still come: a reference to a secret.
    pub webhook_secret_previous: Option<serde_json::Value>,
    /// Our own resource id, whose changes cause no events. Default: found by the user name.
    pub api_resource_id: Option<i64>,
    /// People whose e-mail address in the other system is not the one in Autotask: address there → resource id.
    pub people: BTreeMap<String, i64>,
    /// The role in which a resource is assigned to tickets, where it is not its own default role: resource id → role id.
    pub resource_roles: BTreeMap<String, i64>,
    /// Role for resources for which Autotask names none. Default none: such an assignment is then refused.
    pub default_role_id: Option<i64>,
    /// Queue of tickets that have neither a queue nor an assigned resource. Default none: Autotask then refuses them.
    pub default_queue_id: Option<i64>,
    /// Due date of tickets created without one, in hours from the call. Default none: Autotask then refuses them, unless their category
    /// supplies one.
    pub default_due_hours: Option<u64>,
    /// How often opportunities that are lost, closed or implemented are read, in seconds. Default 86,400. Autotask has no change stamp for
    /// opportunities: open ones are read with every poll, all of them at the start and this often. 0 reads all with every poll.
    pub closed_sweep_secs: u64,
    /// Opportunity statuses that count as closed. Default: those whose label says lost, closed or implemented.
    pub closed_opportunity_statuses: Option<Vec<i64>>,
    /// How long Autotask's description of its fields is taken as current, in seconds. Default 900.
    pub metadata_secs: u64,
    /// Allows plain http and private addresses, for a sandbox. Default false.
    pub allow_private_network: bool,
    /// Calls at once for each endpoint, 1 to 3. Default 2: Autotask allows 3, and frees a slot a little after its answer.
    pub concurrency_per_endpoint: usize,
    /// Calls of a rolling hour that all integrations of the tenant together may make. Default 10,000, the vendor's limit; less keeps more of it
    /// for others. Autotask's own word counts where it is lower.
    pub hourly_requests: u64,
    /// Calls a second over all endpoints. Default none. The hourly limit of 10,000 is shared by all integrations of a tenant.
    pub requests_per_second: Option<f64>,
    /// Longest whole call, in seconds. Default 330: Autotask gives up by itself after 300.
    pub timeout_secs: u64,
    /// How long a call whose answer was lost can still take effect, in seconds. Default 330.
    pub settle_after_secs: u64,
    /// How long a new record can stay invisible to searches, in seconds. Default 60.
    pub search_lag_secs: u64,
    /// How far behind the cursor every poll reads again, in seconds. Default 120: change stamps land late.
    pub overlap_secs: u64,
    /// Records a page, 1 to 500. Default 500.
    pub page_size: usize,
    /// Whether `in` works on user-defined fields: `probe` (default) finds out, `yes` and `no` decide.
    pub udf_in: UdfIn,
}

/// Whether many values of a user-defined field can be searched in one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UdfIn {
    /// Find out, with values that are known to exist.
    #[default]
    Probe,
    /// It works.
    Yes,
    /// It does not: one call for each value.
    No,
}

impl Default for AutotaskSettings {
    fn default() -> Self {
        AutotaskSettings {
            endpoint: "https://webservices.autotask.net".to_owned(),
            username: None,
            integration_code: None,
            secret: None,
            default_owner_resource_id: None,
            default_company_type: None,
            webhook_secret: None,
            webhook_secret_previous: None,
            api_resource_id: None,
            people: BTreeMap::new(),
            resource_roles: BTreeMap::new(),
            default_role_id: None,
            default_queue_id: None,
            default_due_hours: None,
            closed_sweep_secs: 86_400,
            closed_opportunity_statuses: None,
            metadata_secs: 900,
            allow_private_network: false,
            concurrency_per_endpoint: 2,
            hourly_requests: 10_000,
            requests_per_second: None,
            timeout_secs: 330,
            settle_after_secs: 330,
            search_lag_secs: 60,
            overlap_secs: 120,
            page_size: 500,
            udf_in: UdfIn::Probe,
        }
    }
}

impl AutotaskSettings {
    /// Reads and checks the table; errors name the setting.
    pub(crate) fn parse(settings: &serde_json::Value) -> Result<AutotaskSettings> {
        let parsed: AutotaskSettings = read_settings(settings)?;
        let missing = [
            ("username", &parsed.username),
            ("integration_code", &parsed.integration_code),
            ("secret", &parsed.secret),
        ];
        if let Some((name, _)) = missing.iter().find(|(_, value)| value.is_none()) {
            return Err(Error::config(format!("autotask setting '{name}' is missing")));
        }
        if !(1..=3).contains(&parsed.concurrency_per_endpoint) {
            return Err(Error::config(
                "autotask setting 'concurrency_per_endpoint' must be 1, 2 or 3",
            ));
        }
        if !(100..=1_000_000).contains(&parsed.hourly_requests) {
            return Err(Error::config(
                "autotask setting 'hourly_requests' must be at least 100",
            ));
        }
        if !(1..=500).contains(&parsed.page_size) {
            return Err(Error::config(
                "autotask setting 'page_size' must be between 1 and 500",
            ));
        }
        if parsed.timeout_secs == 0 {
            return Err(Error::config(
                "autotask setting 'timeout_secs' must be at least 1",
            ));
        }
        parsed
            .http(&parsed.endpoint)
            .validate()
            .map_err(|e| e.with("setting", "endpoint"))?;
        Ok(parsed)
    }

    /// The client settings for a base URL: the endpoint, or the zone.
    pub(crate) fn http(&self, base_url: &str) -> HttpSettings {
        let whole_call = Duration::from_secs(self.timeout_secs);
        HttpSettings {
            allow_private_network: self.allow_private_network,
            total_timeout: whole_call,
            // A slow query is silent for minutes before its first byte.
            read_timeout: whole_call,
            body_bytes_max: 32 * 1024 * 1024,
            requests_per_second: self.requests_per_second,
            concurrency_per_endpoint: self.concurrency_per_endpoint,
            ..HttpSettings::new(base_url)
        }
    }
}

/// What every call carries.
pub(crate) struct Credentials {
    pub(crate) username: Secret,
    pub(crate) integration_code: Secret,
    pub(crate) secret: Secret,
    /// What events may be signed with, the present one first.
    pub(crate) webhook_secrets: Vec<Secret>,
}

impl Credentials {
    pub(crate) fn from_context(ctx: &OpenContext, settings: &AutotaskSettings) -> Result<Credentials> {
        let resolved = |name: &str| ctx.secrets.get(name).cloned();
        let needed = |name: &str| {
            resolved(name).ok_or_else(|| Error::config(format!("autotask secret '{name}' is not resolved")))
        };
        let plain = settings
            .username
            .as_ref()
            .and_then(serde_json::Value::as_str)
            .map(Secret::new);
        let username = resolved("username").or(plain).ok_or_else(|| {
            Error::config("autotask setting 'username' is neither a text nor a resolved secret")
        })?;
        Ok(Credentials {
            username,
            integration_code: needed("integration_code")?,
            secret: needed("secret")?,
            webhook_secrets: ["webhook_secret", "webhook_secret_previous"]
                .into_iter()
                .filter_map(resolved)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_minimal_table_is_enough_and_mistakes_are_named() {
        let good = json!({"username": "u", "integration_code": "c", "secret": {"env": "S"}});
        assert_eq!(AutotaskSettings::parse(&good).unwrap().page_size, 500);
        let cases = [
            (json!({"user": "u"}), "user"),
            (json!({"username": "u", "secret": "s"}), "integration_code"),
            (json!({"page_size": 501}), "page_size"),
            (json!({"concurrency_per_endpoint": 4}), "concurrency_per_endpoint"),
            (json!({"udf_in": "maybe"}), "maybe"),
            (json!({"endpoint": "http://example.com"}), "https"),
            (json!({"endpoint": "https://127.0.0.1"}), "allow_private_network"),
        ];
        for (change, part) in cases {
            let mut table = if change.get("user").is_some() || change.get("username").is_some() {
                json!({})
            } else {
                good.clone()
            };
            for (name, value) in change.as_object().unwrap() {
                table[name] = value.clone();
            }
            let error = AutotaskSettings::parse(&table).expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
