//! Checks of `[auth]`; see `check`.

use super::check::Check;
use super::problem::secret_belongs;
use super::{Auth, AuthKind, Grant, Method};
use crate::template::texts;

/// What a signed text may be made of.
const SIGNED: [&str; 9] = [
    "method",
    "path",
    "query",
    "timestamp",
    "nonce",
    "body",
    "body_hash",
    "host",
    "api_key",
];
/// Secrets that a login body may name.
const SECRETS: [&str; 5] = ["username", "password", "api_key", "client_id", "client_secret"];

impl Check<'_> {
    pub(crate) fn auth(&mut self, auth: &Auth) {
        use AuthKind::{ApiKey, Hmac, Login, Oauth2};
        let rules: [(&str, bool, &[AuthKind]); 20] = [
            ("header", auth.header.is_some(), &[ApiKey, Login, Hmac]),
            ("query", auth.query.is_some(), &[ApiKey, Login]),
            ("cookie", auth.cookie.is_some(), &[Login]),
            ("prefix", auth.prefix.is_some(), &[ApiKey, Login, Hmac]),
            ("token_url", auth.token_url.is_some(), &[Oauth2]),
            ("grant", auth.grant.is_some(), &[Oauth2]),
            ("scope", auth.scope.is_some(), &[Oauth2]),
            ("params", !auth.params.is_empty(), &[Oauth2]),
            ("client_auth", auth.client_auth.is_some(), &[Oauth2, Login]),
            ("path", auth.path.is_some(), &[Login]),
            ("method", auth.method.is_some(), &[Login]),
            ("body", auth.body.is_some(), &[Login]),
            ("token", auth.token.is_some(), &[Oauth2, Login]),
            ("token_header", auth.token_header.is_some(), &[Login]),
            ("token_cookie", auth.token_cookie.is_some(), &[Login]),
            ("expires_in", auth.expires_in.is_some(), &[Oauth2, Login]),
            ("lifetime_secs", auth.lifetime_secs.is_some(), &[Oauth2, Login]),
            ("sign", auth.sign.is_some(), &[Hmac]),
            ("headers", !auth.headers.is_empty(), &[Hmac]),
            ("timestamp_format", auth.timestamp_format.is_some(), &[Hmac]),
        ];
        for (key, given, kinds) in rules {
            let names: Vec<String> = kinds.iter().map(|kind| format!("\"{}\"", kind.name())).collect();
            let message = match key {
                "token" => secret_belongs(key),
                _ => format!("'{key}' only goes with kind = {}", names.join(" or ")),
            };
            self.demand(!given || kinds.contains(&auth.kind), &["auth", key], message);
        }
        match auth.kind {
            ApiKey => {
                let one = auth.header.is_some() != auth.query.is_some();
                let message = "api_key needs either 'header' or 'query', which say where the key goes";
                self.demand(one, &["auth"], message);
            }
            Oauth2 => self.oauth2(auth),
            Login => self.login(auth),
            Hmac => self.hmac(auth),
            AuthKind::None | AuthKind::Bearer | AuthKind::Basic => {}
        }
        let fits = auth.prefix.is_none() || auth.header.is_some() || auth.kind == Login;
        self.demand(
            fits,
            &["auth", "prefix"],
            "prefix only goes with a key in a header",
        );
        let message = "lifetime_secs must be 1 to 31536000";
        let lives = auth
            .lifetime_secs
            .is_none_or(|secs| (1..=31_536_000).contains(&secs));
        self.demand(lives, &["auth", "lifetime_secs"], message);
    }

    fn oauth2(&mut self, auth: &Auth) {
        match auth.token_url.as_deref() {
            None => self.wrong(&["auth"], "oauth2 needs 'token_url', where the token comes from"),
            Some(url) if url.starts_with('/') => self.path(&["auth", "token_url"], url, &[], &[]),
            Some(url) => {
                let is_url = url.starts_with("https://") || url.starts_with("http://");
                let message = "token_url is a path that starts with '/', or a whole url";
                self.demand(is_url, &["auth", "token_url"], message);
            }
        }
        let own = [
            "grant_type",
            "client_id",
            "client_secret",
            "refresh_token",
            "username",
            "password",
            "scope",
        ];
        if let Some(name) = auth.params.keys().find(|name| own.contains(&name.as_str())) {
            self.wrong(
                &["auth", "params", name],
                format!("'{name}' is set by itself; secrets come from the tenant's configuration"),
            );
        }
    }

    fn login(&mut self, auth: &Auth) {
        match auth.path.as_deref() {
            None => self.wrong(&["auth"], "login needs 'path', the call that returns a token"),
            Some(path) => self.path(&["auth", "path"], path, &[], &[]),
        }
        let is_get = auth.method == Some(Method::Get);
        let fits = auth.method.is_none() || is_get || auth.method == Some(Method::Post);
        self.demand(fits, &["auth", "method"], "a login is a GET or a POST");
        let message = "a GET has no body; use client_auth = \"basic\", or method = \"POST\"";
        self.demand(!is_get || auth.body.is_none(), &["auth", "body"], message);
        let wheres = [&auth.token, &auth.token_header, &auth.token_cookie];
        let message = "login needs one of 'token', 'token_header' and 'token_cookie', which say where the token is in the answer";
        self.demand(
            wheres.iter().filter(|key| key.is_some()).count() == 1,
            &["auth"],
            message,
        );
        let places = [&auth.header, &auth.query, &auth.cookie];
        let message = "the token goes into one of 'header', 'query' and 'cookie'";
        self.demand(
            places.iter().filter(|key| key.is_some()).count() <= 1,
            &["auth"],
            message,
        );
        let mut found = Vec::new();
        auth.body.iter().for_each(|body| texts(body, &mut found));
        for text in found {
            self.placeholders(&["auth", "body"], text, &SECRETS, &[]);
        }
    }

    fn hmac(&mut self, auth: &Auth) {
        match auth.sign.as_deref() {
            None => self.wrong(&["auth"], "hmac needs 'sign', the text that is signed"),
            Some(sign) => self.placeholders(&["auth", "sign"], sign, &SIGNED, &[]),
        }
        let known: Vec<&str> = SIGNED.iter().copied().chain(["signature"]).collect();
        for (name, value) in &auth.headers {
            self.placeholders(&["auth", "headers", name], value, &known, &[]);
        }
        let carried =
            auth.header.is_some() || auth.headers.values().any(|value| value.contains("{signature}"));
        self.demand(
            carried,
            &["auth"],
            "hmac needs 'header', which carries the signature",
        );
        let fits = auth
            .timestamp_format
            .as_ref()
            .is_none_or(|format| format.round_trips());
        self.demand(
            fits,
            &["auth", "timestamp_format"],
            "the pattern cannot be read back",
        );
    }
}

impl AuthKind {
    fn name(self) -> &'static str {
        match self {
            AuthKind::None => "none",
            AuthKind::Bearer => "bearer",
            AuthKind::Basic => "basic",
            AuthKind::ApiKey => "api_key",
            AuthKind::Oauth2 => "oauth2",
            AuthKind::Login => "login",
            AuthKind::Hmac => "hmac",
        }
    }
}

impl Grant {
    /// Its name in a token request.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Grant::ClientCredentials => "client_credentials",
            Grant::RefreshToken => "refresh_token",
            Grant::Password => "password",
        }
    }
}
