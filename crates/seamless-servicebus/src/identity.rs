//! Tokens of Microsoft Entra for what this machine or workload is, without a secret of ours.
//!
//! Two small calls; the library that makes them for Azure (`azure_identity`) brings a second HTTP stack for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::{Clock, Effect, Error, ErrorKind, Result, Secret};
use seamless_http::{HttpClient, HttpSettings, Request, Response};
use tokio::sync::Mutex;

/// What a token is for.
const RESOURCE: &str = "https://servicebus.azure.net/";
/// Where a virtual machine asks.
const IMDS: &str = "http://169.254.169.254";
/// Where a workload's token is exchanged, unless the environment names another cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com/";
/// Longest token of a federation.
const ASSERTION_BYTES_MAX: u64 = 64 << 10;
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Who this host is. `Display` says it for people.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The managed identity of the machine, asked for at an address of the platform.
    Managed {
        /// The address: of the instance metadata service, or of App Service and Container Apps.
        endpoint: String,
        /// What the latter want to hear.
        header: Option<Secret>,
        /// A user-assigned identity; else that of the system.
        client_id: Option<String>,
    },
    /// The workload identity of a Kubernetes pod: its own token, exchanged.
    Workload {
        /// The authority, with a slash at its end.
        authority: String,
        /// The directory.
        tenant: String,
        /// The application or identity.
        client_id: String,
        /// Where the platform keeps the pod's token.
        token_file: PathBuf,
    },
}

impl Identity {
    /// A managed identity, as the environment says where to ask for it.
    pub fn managed(client_id: Option<String>) -> Identity {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Identity::Managed {
            header: variable("IDENTITY_HEADER").map(Secret::new),
            endpoint: variable("IDENTITY_ENDPOINT").unwrap_or_else(|| IMDS.to_owned()),
            client_id,
        }
    }

    /// A workload identity, as the platform's webhook writes it into the environment.
    pub fn workload() -> Result<Identity> {
        let variable = |name: &str| {
            let found = std::env::var(name).ok().filter(|value| !value.is_empty());
            found.ok_or_else(|| {
                Error::config(format!(
                    "there is no workload identity: the environment variable {name} is not set"
                ))
            })
        };
        Ok(Identity::Workload {
            authority: std::env::var("AZURE_AUTHORITY_HOST").unwrap_or_else(|_| AUTHORITY.to_owned()),
            tenant: variable("AZURE_TENANT_ID")?,
            client_id: variable("AZURE_CLIENT_ID")?,
            token_file: PathBuf::from(variable("AZURE_FEDERATED_TOKEN_FILE")?),
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Managed { client_id: None, .. } => f.write_str("the managed identity of this machine"),
            Identity::Managed {
                client_id: Some(id), ..
            } => write!(f, "the managed identity {id}"),
            Identity::Workload { client_id, .. } => write!(f, "the workload identity {client_id}"),
        }
    }
}

/// Gets tokens and keeps the last one.
pub(crate) struct Tokens {
    identity: Identity,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Token>>,
}

/// A token, and until when it is good, on the monotonic clock and for the broker.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: Secret,
    pub(crate) lifetime: Duration,
    got: Duration,
}

impl Tokens {
    pub(crate) fn new(
        identity: Identity,
        extra_roots: Vec<Vec<u8>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Tokens> {
        let base = match &identity {
            Identity::Managed { endpoint, .. } => endpoint.clone(),
            Identity::Workload { authority, .. } => authority.clone(),
        };
        let settings = HttpSettings {
            // The metadata service is a link-local address by its nature.
            allow_private_network: true,
            total_timeout: Duration::from_secs(30),
            body_bytes_max: ANSWER_BYTES_MAX,
            extra_roots,
            ..HttpSettings::new(base)
        };
        Ok(Tokens {
            http: HttpClient::new(settings, clock.clone())?,
            identity,
            clock,
            last: Mutex::new(None),
        })
    }

    /// A token that is good for at least half of its time.
    pub(crate) async fn token(&self) -> Result<Token> {
        let mut last = self.last.lock().await;
        let now = self.clock.monotonic();
        if let Some(token) = &*last
            && now.saturating_sub(token.got) < token.lifetime / 2
        {
            return Ok(token.clone());
        }
        let answer = match &self.identity {
            Identity::Managed {
                header, client_id, ..
            } => self.managed(header.as_ref(), client_id.as_deref()).await?,
            Identity::Workload {
                tenant,
                client_id,
                token_file,
                ..
            } => self.workload(tenant, client_id, token_file.clone()).await?,
        };
        let token = read(&answer, now)?;
        *last = Some(token.clone());
        Ok(token)
    }

    async fn managed(&self, header: Option<&Secret>, client_id: Option<&str>) -> Result<Response> {
        // The address in the environment is whole; the one of the metadata service is not.
        let mut request = match header {
            Some(secret) => Request::get("")
                .query("api-version", "2019-08-01")
                .secret_header("x-identity-header", secret),
            None => Request::get("metadata/identity/oauth2/token")
                .query("api-version", "2018-02-01")
                .header("metadata", "true"),
        }
        .query("resource", RESOURCE);
        if let Some(client_id) = client_id {
            request = request.query("client_id", client_id);
        }
        self.http.send(request).await
    }

    async fn workload(&self, tenant: &str, client_id: &str, token_file: PathBuf) -> Result<Response> {
        let assertion = tokio::task::spawn_blocking(move || assertion(&token_file)).await;
        let assertion =
            assertion.map_err(|_| Error::storage("the token of the workload cannot be read"))??;
        let form = [
            ("client_id", client_id),
            ("scope", &format!("{RESOURCE}.default")),
            ("grant_type", "client_credentials"),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion.expose()),
        ]
        .map(|(key, value)| format!("{key}={}", seamless_http::encode_segment(value)))
        .join("&");
        let path = format!("{}/oauth2/v2.0/token", seamless_http::encode_segment(tenant));
        let request = Request::post(path).body("application/x-www-form-urlencoded", form);
        self.http.send(request).await
    }
}

/// The token that the platform keeps for this workload, and renews in place.
fn assertion(file: &std::path::Path) -> Result<Secret> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(file)
        .and_then(|opened| opened.take(ASSERTION_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| {
        Error::config(format!(
            "the token of the workload cannot be read from {}: {error}",
            file.display()
        ))
    })?;
    Ok(Secret::new(text.trim()))
}

fn read(answer: &Response, now: Duration) -> Result<Token> {
    if !answer.is_success() {
        let kind = if answer.status >= 500 || answer.status == 429 {
            ErrorKind::Unavailable
        } else {
            ErrorKind::Auth
        };
        let said = answer.json().ok();
        let reason = said
            .as_ref()
            .and_then(|said| said["error"].as_str())
            .unwrap_or_default();
        let error = Error::new(kind, "service bus: no token for the identity of this host; does it have one, with the role Azure Service Bus Data Sender and Receiver?")
            .with("status", answer.status)
            .with("reason", reason.chars().take(100).collect::<String>());
        return Err(if kind == ErrorKind::Unavailable {
            error.retry_later(None).effect(Effect::NotApplied)
        } else {
            error
        });
    }
    let answer = answer.json()?;
    let text = answer["access_token"].as_str();
    // Some platforms write it as text.
    let seconds = answer["expires_in"]
        .as_u64()
        .or_else(|| answer["expires_in"].as_str()?.parse().ok());
    match (text, seconds) {
        (Some(text), Some(seconds)) => Ok(Token {
            text: Secret::new(text),
            lifetime: Duration::from_secs(seconds),
            got: now,
        }),
        _ => Err(Error::protocol(
            "service bus: the answer for a token cannot be read",
        )),
    }
}
