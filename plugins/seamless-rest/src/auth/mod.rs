//! Credentials: fixed ones, tokens that are renewed, signatures.

mod refresh_file;
mod renewal;
mod signature;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seamless_core::{Clock, Error, OpenContext, Result, Secret};
use seamless_http::{HttpClient, HttpSettings, Request};

use crate::manifest::{AuthKind, Manifest};
use crate::settings::Settings;
use renewal::Renewal;
use signature::Signer;

/// How requests of one system prove who they are.
pub(crate) enum Credentials {
    None,
    Fixed(Place, Secret),
    Renewed(Place, Box<Renewal>),
    Signed(Box<Signer>),
}

/// Where a key or token goes.
pub(crate) enum Place {
    Header { name: String, prefix: String },
    Query(String),
    Cookie(String),
}

/// The token that a call was made with: names it when it turns out to be refused.
#[derive(Clone, Default)]
pub(crate) struct Grip {
    token: Option<Secret>,
    generation: u64,
}

impl Credentials {
    /// Takes what `[auth]` needs from the secrets. No call.
    pub(crate) fn new(
        manifest: &Manifest,
        settings: &Settings,
        ctx: &OpenContext,
        http: &Arc<HttpClient>,
    ) -> Result<Credentials> {
        let auth = &manifest.auth;
        let secrets = Secrets { ctx };
        let header = |name: &str, prefix: &str| Place::Header {
            name: name.into(),
            prefix: prefix.into(),
        };
        let place = |name: &str, prefix: &str| match (&auth.header, &auth.query, &auth.cookie) {
            (Some(header), ..) => Place::Header {
                name: header.clone(),
                prefix: auth.prefix.clone().unwrap_or_default(),
            },
            (_, Some(query), _) => Place::Query(query.clone()),
            (.., Some(cookie)) => Place::Cookie(cookie.clone()),
            _ => header(name, auth.prefix.as_deref().unwrap_or(prefix)),
        };
        Ok(match auth.kind {
            AuthKind::None => Credentials::None,
            AuthKind::Bearer => Credentials::Fixed(header("authorization", "Bearer "), secrets.get("token")?),
            AuthKind::Basic => {
                let pair = basic(&secrets.open_name("username")?, &secrets.get("password")?);
                Credentials::Fixed(header("authorization", "Basic "), pair)
            }
            AuthKind::ApiKey => Credentials::Fixed(place("authorization", ""), secrets.get("api_key")?),
            AuthKind::Oauth2 => {
                let renewal = Renewal::oauth2(auth, settings, &secrets, http)?;
                Credentials::Renewed(header("authorization", "Bearer "), Box::new(renewal))
            }
            AuthKind::Login => {
                let renewal = Renewal::login(auth, &secrets, http)?;
                Credentials::Renewed(place("authorization", "Bearer "), Box::new(renewal))
            }
            AuthKind::Hmac => Credentials::Signed(Box::new(Signer::new(auth, &secrets)?)),
        })
    }

    /// The token for the next call; fetched where there is none, or it is about to expire.
    pub(crate) async fn grip(&self) -> Result<Grip> {
        match self {
            Credentials::Renewed(_, renewal) => renewal.token().await,
            _ => Ok(Grip::default()),
        }
    }

    /// A call made with this token was refused: true when a new one may be had, so that the call can be made once more.
    pub(crate) async fn refused(&self, grip: &Grip) -> bool {
        match self {
            Credentials::Renewed(_, renewal) => {
                renewal.drop_token(grip.generation).await;
                true
            }
            _ => false,
        }
    }

    /// Puts the credentials on a request that is complete otherwise.
    pub(crate) fn put(
        &self,
        request: Request,
        grip: &Grip,
        http: &HttpClient,
        clock: &dyn Clock,
    ) -> Result<Request> {
        match (self, &grip.token) {
            (Credentials::None, _) => Ok(request),
            (Credentials::Fixed(place, secret), _) => Ok(place.put(request, secret)),
            (Credentials::Renewed(place, _), Some(token)) => Ok(place.put(request, token)),
            (Credentials::Renewed(..), None) => Err(Error::config("a call was made without its token")),
            (Credentials::Signed(signer), _) => signer.sign(request, http, clock.now()),
        }
    }

    /// Where the credentials go, for people; never what they are.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Credentials::None => None,
            Credentials::Fixed(place, _) | Credentials::Renewed(place, _) => Some(match place {
                Place::Header { name, prefix } => format!("{name}: {prefix}***"),
                Place::Query(name) => format!("(the key goes into the query parameter {name})"),
                Place::Cookie(name) => format!("cookie: {name}=***"),
            }),
            Credentials::Signed(_) => Some("(signed)".to_owned()),
        }
    }

    /// The query parameter that carries a secret.
    pub(crate) fn secret_parameter(&self) -> Option<&str> {
        match self {
            Credentials::Fixed(Place::Query(name), _) | Credentials::Renewed(Place::Query(name), _) => {
                Some(name)
            }
            _ => None,
        }
    }
}

impl Place {
    fn put(&self, request: Request, secret: &Secret) -> Request {
        match self {
            Place::Header { name, prefix } => {
                request.secret_header(name, &Secret::new(format!("{prefix}{}", secret.expose())))
            }
            Place::Query(name) => request.query(name, secret.expose()),
            Place::Cookie(name) => {
                request.secret_header("cookie", &Secret::new(format!("{name}={}", secret.expose())))
            }
        }
    }
}

/// The tenant's secrets, asked for by name.
pub(crate) struct Secrets<'a> {
    ctx: &'a OpenContext,
}

impl Secrets<'_> {
    pub(crate) fn get(&self, name: &str) -> Result<Secret> {
        let secret = self
            .ctx
            .secrets
            .get(name)
            .filter(|secret| !secret.expose().is_empty());
        secret.cloned().ok_or_else(|| {
            Error::config(format!(
                "the secret '{name}' is missing, which the manifest's [auth] needs"
            ))
            .with("system", &self.ctx.system)
            .with("setting", name)
        })
    }

    /// A user name or client id is no secret to everybody: it may stand in the settings.
    pub(crate) fn open_name(&self, name: &str) -> Result<String> {
        match self.ctx.settings.get(name).and_then(serde_json::Value::as_str) {
            Some(text) => Ok(text.to_owned()),
            None => Ok(self.get(name)?.expose().to_owned()),
        }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.ctx.clock.clone()
    }

    /// A client for another origin: where tokens are renewed.
    pub(crate) fn client(&self, settings: HttpSettings) -> Result<HttpClient> {
        HttpClient::over(self.ctx.network.clone(), settings, self.clock())
    }
}

fn basic(user: &str, password: &Secret) -> Secret {
    Secret::new(STANDARD.encode(format!("{user}:{}", password.expose())))
}
