//! `[bus]`: where messages wait between the systems.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use seamless_core::{Clock, Error, Result};
use seamless_servicebus::{AzureBlobs, ConnectionString, Identity, Settings, Transport, certificates};
use serde::Deserialize;
use serde_json::Value as Json;

use super::Config;
use crate::secret::SecretRef;

/// Largest file of certificates.
const CA_BYTES_MAX: u64 = 1 << 20;

/// `[bus]`. Without this table messages wait in the data folder.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BusTable {
    /// `service-bus`: Azure Service Bus, over AMQP. `service-bus-https`: the same over port 443 alone, slower.
    kind: BusKind,
    /// Where the connection string is: `{ env = "SERVICE_BUS" }` or `{ file = "secrets/service-bus" }` (a file with mode 0600). Its key needs the
    /// rights Send and Listen. Either this, or `namespace` and `identity`.
    connection: Option<Json>,
    /// Host name of the namespace, where no key but an identity opens it: `acme.servicebus.windows.net`.
    namespace: Option<String>,
    /// Who the host is to Microsoft Entra, in place of a key. Not with `service-bus-https`.
    identity: Option<IdentityKind>,
    /// Client id of a managed identity that was made by a user. Default: the identity of the machine itself.
    client_id: Option<String>,
    /// Where the connection string is whose key has the right Manage: for `seamless bus`, and over HTTPS for counting. Default: `connection`, or
    /// `identity`.
    manage: Option<Json>,
    /// What AMQP travels over: `tcp` on port 5671 (default), or `websocket` on port 443. Not with `service-bus-https`.
    transport: Option<TransportKind>,
    /// File with certificates (PEM), relative to this one, that are trusted besides the machine's: of a proxy that looks into TLS, say.
    ca_file: Option<PathBuf>,
    /// Where the URL of a container of Azure Blob Storage is, with a shared access signature that may read, create, write, delete and list: there
    /// bodies wait that fit into no message. Default: in the data folder.
    blobs: Option<Json>,
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

/// What AMQP travels over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TransportKind {
    /// TCP.
    Tcp,
    /// A WebSocket.
    WebSocket,
}

/// Kinds of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IdentityKind {
    /// The managed identity of a virtual machine, an App Service or a container app.
    Managed,
    /// The workload identity of a Kubernetes pod, as its environment names it.
    Workload,
}

fn lock_secs() -> u64 {
    60
}

fn message_bytes_max() -> usize {
    256 * 1024
}

/// What opens the namespace.
#[derive(Clone, Debug)]
enum Access {
    /// A connection string, which stays where it is.
    Key(SecretRef),
    /// An identity at this namespace.
    Identity(ConnectionString, IdentityKind, Option<String>),
}

/// A checked `[bus]`.
#[derive(Clone, Debug)]
pub(crate) struct ServiceBusConfig {
    kind: BusKind,
    access: Access,
    transport: Transport,
    ca_file: Option<PathBuf>,
    manage: Option<SecretRef>,
    blobs: Option<SecretRef>,
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
        let (connection, identity) = match &bus.access {
            Access::Key(secret) => (read("connection", secret)?, None),
            Access::Identity(namespace, kind, client_id) => {
                let identity = match kind {
                    IdentityKind::Managed => Identity::managed(client_id.clone()),
                    IdentityKind::Workload => {
                        Identity::workload().map_err(|error| self.located(&["bus", "identity"], error))?
                    }
                };
                (namespace.clone(), Some(identity))
            }
        };
        let extra_roots = self.extra_roots(bus)?;
        let settings = Settings {
            connection,
            identity,
            extra_roots,
            transport: bus.transport,
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

    /// The container for bodies that fit into no message; none when they wait in the data folder. Reads the secret.
    pub(crate) fn blob_container(&self, clock: Arc<dyn Clock>) -> Result<Option<AzureBlobs>> {
        let Some((bus, secret)) = self.bus.as_ref().and_then(|bus| Some((bus, bus.blobs.as_ref()?))) else {
            return Ok(None);
        };
        let roots = self.extra_roots(bus)?;
        let made = secret
            .resolve(&self.dir)
            .and_then(|url| AzureBlobs::new(&url, roots, clock));
        made.map(Some)
            .map_err(|error| self.located(&["bus", "blobs"], error))
    }

    fn extra_roots(&self, bus: &ServiceBusConfig) -> Result<Vec<Vec<u8>>> {
        match &bus.ca_file {
            None => Ok(Vec::new()),
            Some(file) => {
                roots(&self.dir.join(file)).map_err(|error| self.located(&["bus", "ca_file"], error))
            }
        }
    }

    pub(super) fn check_bus(&self, table: BusTable) -> Result<ServiceBusConfig> {
        let secret = |key: &'static str, value: &Json| {
            SecretRef::of(value).ok_or_else(|| {
                let message = format!(
                    "this is a secret and must not stand in this file; write {key} = {{ env = \"SERVICE_BUS\" }} or \
                     {key} = {{ file = \"secrets/service-bus\" }}, and change the key if this file was shared"
                );
                self.problem(&["bus", key], message)
            })
        };
        let access = match (&table.connection, table.namespace, table.identity) {
            (Some(connection), None, None) => Access::Key(secret("connection", connection)?),
            (None, Some(host), Some(kind)) => {
                let namespace = ConnectionString::of_namespace(&host)
                    .map_err(|error| self.located(&["bus", "namespace"], error))?;
                if table.kind == BusKind::ServiceBusHttps {
                    let message = "service-bus-https takes a key only; use kind = \"service-bus\"";
                    return Err(self.problem(&["bus", "identity"], message));
                }
                Access::Identity(namespace, kind, table.client_id.clone())
            }
            (Some(_), Some(_), _) => {
                let message = "connection names the namespace already; drop namespace, or connection where an identity opens it";
                return Err(self.problem(&["bus", "namespace"], message));
            }
            (Some(_), None, Some(_)) => {
                let message = "with an identity there is no key: write namespace = \"NAME.servicebus.windows.net\" in place of connection";
                return Err(self.problem(&["bus", "identity"], message));
            }
            (None, Some(_), None) => {
                let message =
                    "a namespace without a connection string needs identity = \"managed\" or \"workload\"";
                return Err(self.problem(&["bus", "namespace"], message));
            }
            (None, None, _) => {
                let message = "what opens the namespace is missing: write connection = { env = \"SERVICE_BUS\" }, or namespace and identity";
                return Err(self.problem(&["bus"], message));
            }
        };
        if table.kind == BusKind::ServiceBusHttps && table.transport.is_some() {
            let message = "transport is about AMQP; service-bus-https has none";
            return Err(self.problem(&["bus", "transport"], message));
        }
        if table.client_id.is_some() && table.identity != Some(IdentityKind::Managed) {
            let message = "client_id goes with identity = \"managed\"; a workload identity has its own in the environment";
            return Err(self.problem(&["bus", "client_id"], message));
        }
        let manage = table
            .manage
            .as_ref()
            .map(|value| secret("manage", value))
            .transpose()?;
        let blobs = table
            .blobs
            .as_ref()
            .map(|value| secret("blobs", value))
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
            access,
            transport: match table.transport {
                None | Some(TransportKind::Tcp) => Transport::Tcp,
                Some(TransportKind::WebSocket) => Transport::WebSocket,
            },
            ca_file: table.ca_file,
            manage,
            blobs,
            topic,
            lock_duration: Duration::from_secs(table.lock_secs),
            message_bytes_max: table.message_bytes_max,
        })
    }
}

/// The certificates of a file.
fn roots(file: &Path) -> Result<Vec<Vec<u8>>> {
    let shown = file.display();
    let cannot = |error: std::io::Error| Error::config(format!("cannot read {shown}: {error}"));
    let opened = std::fs::File::open(file).map_err(cannot)?;
    let mut pem = String::new();
    opened
        .take(CA_BYTES_MAX)
        .read_to_string(&mut pem)
        .map_err(cannot)?;
    match certificates(&pem) {
        Some(roots) if !roots.is_empty() => Ok(roots),
        Some(_) => Err(Error::config(format!("there is no certificate in {shown}"))),
        None => Err(Error::config(format!(
            "a certificate in {shown} cannot be read: is it whole, and in the PEM form?"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::GOOD;
    use super::*;

    #[test]
    fn an_identity_takes_the_place_of_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let with = |table: &str| Config::parse(&format!("{GOOD}{table}"), &folder.path().join("tenant.toml"));
        let good = "[bus]\nkind = \"service-bus\"\nnamespace = \"acme.servicebus.windows.net\"\nidentity = \"managed\"\nclient_id = \"one\"\ntransport = \"websocket\"\n";
        let (_, settings) = with(good).unwrap().service_bus().unwrap().unwrap();
        assert_eq!(settings.connection.host(), "acme.servicebus.windows.net");
        assert_eq!(settings.identity.unwrap().to_string(), "the managed identity one");
        assert_eq!(settings.transport, seamless_servicebus::Transport::WebSocket);
        let cases = [
            (
                "kind = \"service-bus\"",
                "kind = \"service-bus-https\"",
                "takes a key only",
            ),
            ("acme.servicebus", "sb://acme.servicebus", "is no host name"),
            (
                "identity = \"managed\"",
                "identity = \"workload\"",
                "client_id goes with",
            ),
            ("identity = \"managed\"", "identity = \"me\"", "me"),
        ];
        for (right, wrong, expected) in cases {
            let error = with(&good.replacen(right, wrong, 1)).unwrap_err();
            assert!(error.to_string().contains(expected), "{wrong}: {error}");
            assert!(error.context("line").is_some(), "{wrong}: {error:?}");
        }
        let trusting = format!("{good}ca_file = \"ca.pem\"\n");
        let file = folder.path().join("ca.pem");
        let cases = [
            (None, "cannot read"),
            (Some("nothing"), "there is no certificate in"),
            (
                Some("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
                "cannot be read: is it whole",
            ),
        ];
        for (content, expected) in cases {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            let error = with(&trusting).unwrap().service_bus().unwrap_err();
            assert!(error.to_string().contains(expected), "{content:?}: {error}");
            assert_eq!(error.context("key"), Some("bus.ca_file"), "{error:?}");
        }
    }
}
