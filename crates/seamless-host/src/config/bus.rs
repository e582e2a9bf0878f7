//! `[bus]`: where messages wait between the systems.

use std::time::Duration;

use schemars::JsonSchema;
use seamless_core::Result;
use seamless_servicebus::{ConnectionString, Settings};
use serde::Deserialize;
use serde_json::Value as Json;

use super::Config;
use crate::secret::SecretRef;

/// `[bus]`. Without this table messages wait in the data folder.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BusTable {
    /// `service-bus`: Azure Service Bus, over AMQP. `service-bus-https`: the same over port 443 alone, slower.
    kind: BusKind,
    /// Where the connection string is: `{ env = "SERVICE_BUS" }` or `{ file = "secrets/service-bus" }` (a file with mode 0600). Its key needs the
    /// rights Send and Listen.
    connection: Json,
    /// Where the connection string is whose key has the right Manage: for `seamless bus`, and over HTTPS for counting. Default: `connection`.
    manage: Option<Json>,
    /// The topic of the tenant. Default `seamless-` and the tenant's name.
    topic: Option<String>,
    /// How long the subscriptions lock a session, in seconds, 5 to 300. Default 60.
    #[serde(default = "lock_secs")]
    lock_secs: u64,
    /// The largest message that the topic takes, in bytes. Default 262144: the Standard tier.
    #[serde(default = "message_bytes_max")]
    message_bytes_max: usize,
}

/// Kinds of bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BusKind {
    /// Azure Service Bus over AMQP: lanes are sessions.
    ServiceBus,
    /// Azure Service Bus over HTTPS: no sessions, one message a call.
    ServiceBusHttps,
}

fn lock_secs() -> u64 {
    60
}

fn message_bytes_max() -> usize {
    256 * 1024
}

/// A checked `[bus]`; the connection string stays where it is.
#[derive(Clone, Debug)]
pub(crate) struct ServiceBusConfig {
    kind: BusKind,
    connection: SecretRef,
    manage: Option<SecretRef>,
    topic: String,
    lock_duration: Duration,
    message_bytes_max: usize,
}

impl Config {
    /// Which service bus it is and what it is asked for; none when messages wait in the data folder. Reads the secrets.
    pub(crate) fn service_bus(&self) -> Result<Option<(BusKind, Settings)>> {
        let Some(bus) = &self.bus else {
            return Ok(None);
        };
        let read = |key: &str, secret: &SecretRef| {
            let secret = secret.resolve(&self.dir);
            secret
                .and_then(|secret| ConnectionString::parse(secret.expose()))
                .map_err(|error| self.located(&["bus", key], error))
        };
        let settings = Settings {
            connection: read("connection", &bus.connection)?,
            identity: None,
            extra_roots: Vec::new(),
            manage: bus
                .manage
                .as_ref()
                .map(|secret| read("manage", secret))
                .transpose()?,
            topic: bus.topic.clone(),
            lock_duration: bus.lock_duration,
            message_bytes_max: bus.message_bytes_max,
        };
        Ok(Some((bus.kind, settings)))
    }

    pub(super) fn check_bus(&self, table: BusTable) -> Result<ServiceBusConfig> {
        let secret = |key: &'static str, value: &Json| {
            SecretRef::of(value).ok_or_else(|| {
                let message = format!(
                    "the connection string is a secret and must not stand in this file; write {key} = {{ env = \"SERVICE_BUS\" }} or \
                     {key} = {{ file = \"secrets/service-bus\" }}, and change the key if this file was shared"
                );
                self.problem(&["bus", key], message)
            })
        };
        let connection = secret("connection", &table.connection)?;
        let manage = table
            .manage
            .as_ref()
            .map(|value| secret("manage", value))
            .transpose()?;
        if !(5..=300).contains(&table.lock_secs) {
            let message = format!("lock_secs must be 5 to 300, not {}", table.lock_secs);
            return Err(self.problem(&["bus", "lock_secs"], message));
        }
        if !(65_536..=104_857_600).contains(&table.message_bytes_max) {
            let message = format!(
                "message_bytes_max must be 65536 to 104857600, not {}",
                table.message_bytes_max
            );
            return Err(self.problem(&["bus", "message_bytes_max"], message));
        }
        let topic = table.topic.unwrap_or_else(|| format!("seamless-{}", self.tenant));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if topic.is_empty() || topic.len() > 200 || !topic.chars().all(plain) {
            let message = "a topic has 1 to 200 letters, digits and any of - _ . /";
            return Err(self.problem(&["bus", "topic"], message));
        }
        Ok(ServiceBusConfig {
            kind: table.kind,
            connection,
            manage,
            topic,
            lock_duration: Duration::from_secs(table.lock_secs),
            message_bytes_max: table.message_bytes_max,
        })
    }
}
