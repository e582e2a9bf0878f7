//! Tokens that expire: OAuth2 grants and login calls. One renewal at a time; the others wait for its token.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::lock::Mutex;
use seamless_core::{Clock, Error, ErrorKind, Result, Secret, Timestamp};
use seamless_http::{HttpClient, Request, Response};
use serde_json::{Value as Json, json};

use super::refresh_file::RefreshFile;
use super::{Grip, Secrets, basic};
use crate::body::form_pairs;
use crate::connector::form_encoded;
use crate::json_path::{dig, plain};
use crate::manifest::{Auth, BodyFormat, ClientAuth, Grant, Method};
use crate::settings::Settings;
use crate::template::{Filling, fill, fill_json, slots, texts};

/// A token is renewed this long before its end, or after half its life where that is shorter.
const MARGIN: Duration = Duration::from_secs(60);
/// After refused credentials nobody asks again for this long: repeated wrong logins lock accounts.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Error codes of RFC 6749 §5.2; anything else in an answer could hold a secret and is not repeated.
const CODES: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Gets tokens and keeps the current one.
pub(crate) struct Renewal {
    http: Arc<HttpClient>,
    clock: Arc<dyn Clock>,
    path: String,
    is_get: bool,
    form: BodyFormat,
    /// Body with every secret filled in but the refresh token; `None` for a call without a body.
    body: Option<Json>,
    basic: Option<Secret>,
    refresh: Option<RefreshFile>,
    token: Where,
    expires_in: Option<String>,
    lifetime: Option<Duration>,
    state: Mutex<State>,
}

enum Where {
    Body(String),
    Header(String),
    Cookie(String),
}

#[derive(Default)]
struct State {
    token: Option<Secret>,
    renew_at: Option<Duration>,
    generation: u64,
    refused_at: Option<Duration>,
}

impl Renewal {
    pub(crate) fn oauth2(
        auth: &Auth,
        settings: &Settings,
        secrets: &Secrets<'_>,
        http: &Arc<HttpClient>,
    ) -> Result<Renewal> {
        let url = auth.token_url.clone().unwrap_or_default();
        let http = if url.starts_with('/') {
            Arc::clone(http)
        } else {
            Arc::new(secrets.client(settings.http_at(&url)?)?)
        };
        let path = if url.starts_with('/') { url } else { String::new() };
        let grant = auth.grant.unwrap_or_default();
        let client = secrets.open_name("client_id")?;
        let mut body = json!({ "grant_type": grant.name() });
        let mut basic_auth = None;
        if auth.client_auth == Some(ClientAuth::Basic) {
            basic_auth = Some(basic(&client, &secrets.get("client_secret")?));
        } else {
            body["client_id"] = client.into();
            body["client_secret"] = secrets.get("client_secret")?.expose().into();
        }
        if grant == Grant::Password {
            body["username"] = secrets.open_name("username")?.into();
            body["password"] = secrets.get("password")?.expose().into();
        }
        if let Some(scope) = &auth.scope {
            body["scope"] = scope.as_str().into();
        }
        for (name, value) in &auth.params {
            body[name] = value.as_str().into();
        }
        let refresh = match grant {
            Grant::RefreshToken => Some(RefreshFile::new(settings.refresh_file.as_deref())?),
            _ => None,
        };
        Ok(Renewal {
            http,
            clock: secrets.clock(),
            path,
            is_get: false,
            form: BodyFormat::Form,
            body: Some(body),
            basic: basic_auth,
            refresh,
            token: Where::Body(auth.token.clone().unwrap_or_else(|| "access_token".into())),
            expires_in: Some(auth.expires_in.clone().unwrap_or_else(|| "expires_in".into())),
            lifetime: auth.lifetime_secs.map(Duration::from_secs),
            state: Mutex::default(),
        })
    }

    pub(crate) fn login(auth: &Auth, secrets: &Secrets<'_>, http: &Arc<HttpClient>) -> Result<Renewal> {
        let mut found = Vec::new();
        auth.body.iter().for_each(|body| texts(body, &mut found));
        let mut values = Vec::new();
        for name in found.iter().flat_map(|text| slots(text)) {
            let is_open = matches!(name, "username" | "client_id");
            let value = if is_open {
                secrets.open_name(name)?
            } else {
                secrets.get(name)?.expose().to_owned()
            };
            values.push((name, value));
        }
        let value = |name: &str| {
            values
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
        };
        let filling = |name: &str| value(name).map(|text| Filling::One(text.into()));
        let body = auth.body.as_ref().map(|body| fill_json(body, &filling, &value));
        let basic_auth = match auth.client_auth {
            Some(ClientAuth::Basic) => {
                Some(basic(&secrets.open_name("username")?, &secrets.get("password")?))
            }
            _ => None,
        };
        let token = match (&auth.token, &auth.token_header, &auth.token_cookie) {
            (Some(path), ..) => Where::Body(path.clone()),
            (_, Some(header), _) => Where::Header(header.clone()),
            (.., cookie) => Where::Cookie(cookie.clone().unwrap_or_default()),
        };
        Ok(Renewal {
            http: Arc::clone(http),
            clock: secrets.clock(),
            path: fill(auth.path.as_deref().unwrap_or_default(), &|_| None),
            is_get: auth.method == Some(Method::Get),
            form: auth.format,
            body,
            basic: basic_auth,
            refresh: None,
            token,
            expires_in: auth.expires_in.clone(),
            lifetime: auth.lifetime_secs.map(Duration::from_secs),
            state: Mutex::default(),
        })
    }

    /// The current token. Whoever comes first renews it, under the lock, so that everybody else gets the same new one.
    pub(crate) async fn token(&self) -> Result<Grip> {
        let mut state = self.state.lock().await;
        let now = self.clock.monotonic();
        let is_fresh = state.renew_at.is_none_or(|at| now < at);
        if let (Some(token), true) = (&state.token, is_fresh) {
            return Ok(Grip {
                token: Some(token.clone()),
                generation: state.generation,
            });
        }
        if state.refused_at.is_some_and(|at| now < at + REFUSED_PAUSE) {
            return Err(refused());
        }
        let (token, life) = match self.fetch().await {
            Ok(fetched) => fetched,
            Err(error) => {
                if error.kind == ErrorKind::Auth {
                    state.refused_at = Some(now);
                }
                return Err(error);
            }
        };
        *state = State {
            renew_at: life.map(|life| now + life.saturating_sub(MARGIN).max(life / 2)),
            generation: state.generation + 1,
            token: Some(token.clone()),
            refused_at: None,
        };
        Ok(Grip {
            token: Some(token),
            generation: state.generation,
        })
    }

    /// Forgets a token that was refused, unless somebody has renewed it already.
    pub(crate) async fn drop_token(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.token = None;
        }
    }

    async fn fetch(&self) -> Result<(Secret, Option<Duration>)> {
        let held = self.refresh.as_ref().map(RefreshFile::take).transpose()?;
        let call = if self.is_get { Request::get } else { Request::post };
        let mut request = call(self.path.clone())
            .endpoint("sign-in")
            .header("accept", "application/json");
        if let Some(pair) = &self.basic {
            request =
                request.secret_header("authorization", &Secret::new(format!("Basic {}", pair.expose())));
        }
        if let Some(mut body) = self.body.clone() {
            if let Some(held) = &held {
                body["refresh_token"] = held.token().expose().into();
            }
            request = match self.form {
                BodyFormat::Form => request.body(
                    "application/x-www-form-urlencoded",
                    form_encoded(&form_pairs(&body)),
                ),
                _ => request.json(&body),
            };
        }
        let at = |error: Error| error.with("at", "signing in");
        let response = self.http.send(request).await.map_err(at)?;
        let json = response.json().unwrap_or(Json::Null);
        if !response.is_success() {
            return Err(at(failed(&response, &json)));
        }
        // The old refresh token may be void from now on: the new one is on disk before anything else happens.
        if let (Some(held), Some(new)) = (held, dig(&json, "refresh_token").and_then(plain)) {
            held.replace(&Secret::new(new)).map_err(at)?;
        }
        let token = match &self.token {
            Where::Body(path) => dig(&json, path).and_then(plain),
            Where::Header(name) => response.header(name).map(str::to_owned),
            Where::Cookie(name) => cookie(&response, name),
        };
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| at(self.no_token()))?;
        let said = self.expires_in.as_ref().and_then(|path| plain(dig(&json, path)?));
        let said = said
            .and_then(|text| text.split('.').next()?.parse().ok())
            .map(Duration::from_secs);
        let now = response.server_time.unwrap_or_else(|| self.clock.now());
        let life = said
            .or(self.lifetime)
            .into_iter()
            .chain(own_life(&token, now))
            .min();
        Ok((Secret::new(token), life))
    }

    /// A login page that says "wrong password" with 200 looks like this too.
    fn no_token(&self) -> Error {
        let place = match &self.token {
            Where::Body(path) => format!("nothing at '{path}'"),
            Where::Header(name) => format!("no header '{name}'"),
            Where::Cookie(name) => format!("no cookie '{name}'"),
        };
        Error::new(
            ErrorKind::Auth,
            format!(
                "the sign-in was answered without a token: {place}; see the manifest's [auth], and the credentials"
            ),
        )
    }
}

/// How long a token says itself that it lives, if it is a JWT. Some servers take whoever comes with an old one for a guest, and show
/// a guest empty lists: no refusal tells that it has ended.
fn own_life(token: &str, now: Timestamp) -> Option<Duration> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let end = claims.get("exp")?.as_i64()?.checked_mul(1_000_000)?;
    Some(Timestamp(end).since(now))
}

fn refused() -> Error {
    Error::new(
        ErrorKind::Auth,
        "the sign-in was refused a moment ago; not tried again so soon",
    )
}

fn failed(response: &Response, json: &Json) -> Error {
    let code = dig(json, "error")
        .and_then(Json::as_str)
        .filter(|code| CODES.contains(code));
    let error = match response.status {
        status @ (429 | 500..) => Error::unavailable(match status {
            429 => "the sign-in was turned away: the system asks to slow down",
            _ => "the sign-in failed",
        })
        .effect(seamless_core::Effect::NotApplied)
        .retry_later(response.retry_after(response.server_time.unwrap_or_default())),
        _ => Error::new(ErrorKind::Auth, "the sign-in was refused; check the credentials"),
    };
    let error = error.with("status", response.status);
    match code {
        Some(code) => error.with("code", code),
        None => error,
    }
}

fn cookie(response: &Response, wanted: &str) -> Option<String> {
    response.headers("set-cookie").find_map(|line| {
        let (name, value) = line.split(';').next()?.split_once('=')?;
        (name.trim() == wanted).then(|| value.trim().to_owned())
    })
}
