//! The tenant's settings of one REST system.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seamless_core::{Error, Result};
use seamless_http::HttpSettings;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::manifest::{Manifest, hint};

/// The `[systems.<name>]` table of a tenant whose `kind` is `rest`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `rest`.
    #[serde(default)]
    pub kind: Option<String>,
    /// Path of the manifest, relative to the tenant's file.
    #[serde(default)]
    pub manifest: Option<PathBuf>,
    /// The manifest itself, instead of a path.
    #[serde(default)]
    pub manifest_toml: Option<String>,
    /// Folder of the tenant's file; set by the host.
    #[serde(default)]
    pub config_dir: Option<PathBuf>,
    /// Address of the system; overrides the manifest's `base_url`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Allows plain http and loopback or private addresses. Default false.
    #[serde(default)]
    pub allow_private_network: bool,
    /// Longest whole call. Default 330.
    #[serde(default)]
    pub timeout_secs: Option<u64>,
    /// Largest answer, in bytes. Default 16 MiB.
    #[serde(default)]
    pub body_bytes_max: Option<usize>,
    /// Overrides the manifest's `limits.requests_per_second`.
    #[serde(default)]
    pub requests_per_second: Option<f64>,
    /// Overrides the manifest's `limits.concurrency`.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// Overrides the manifest's `limits.page_size`.
    #[serde(default)]
    pub page_size: Option<usize>,
    /// Overrides the manifest's `capabilities.settle_after_secs`.
    #[serde(default)]
    pub settle_after_secs: Option<u64>,
    /// Overrides the manifest's `capabilities.search_lag_secs`.
    #[serde(default)]
    pub search_lag_secs: Option<u64>,
    /// Secret of `bearer`, by reference.
    #[serde(default)]
    pub token: Option<Json>,
    /// Secret of `api_key`, by reference.
    #[serde(default)]
    pub api_key: Option<Json>,
    /// OAuth2 client, by reference or as it is.
    #[serde(default)]
    pub client_id: Option<Json>,
    /// Its secret, by reference.
    #[serde(default)]
    pub client_secret: Option<Json>,
    /// Secret of `hmac`, by reference.
    #[serde(default)]
    pub secret: Option<Json>,
    /// Secret that the system signs its events with, by reference.
    #[serde(default)]
    pub webhook_secret: Option<Json>,
    /// The one before, while both are in use.
    #[serde(default)]
    pub webhook_secret_previous: Option<Json>,
    /// Address at which the system reaches our webhook, where it signs that too (`https://hooks.example.com/webhooks/crm`).
    #[serde(default)]
    pub webhook_url: Option<String>,
    /// File with the OAuth2 refresh token (mode 0600), rewritten whenever the system hands out a new one.
    #[serde(default)]
    pub refresh_file: Option<PathBuf>,
    /// Overrides the manifest's `auth.token_url`.
    #[serde(default)]
    pub sign_in_url: Option<String>,
    /// User of `basic`, by reference or as it is.
    #[serde(default)]
    pub username: Option<Json>,
    /// Password of `basic`, by reference.
    #[serde(default)]
    pub password: Option<Json>,
}

impl Settings {
    /// Reads and checks the table; errors name the setting.
    pub(crate) fn parse(settings: &Json) -> Result<Settings> {
        let settings: Settings = serde_json::from_value(settings.clone()).map_err(|error| {
            let said = error.to_string();
            let quoted: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
            match quoted.as_slice() {
                [wrong, known @ ..] if said.starts_with("unknown field") => {
                    Error::config(format!("unknown setting '{wrong}'{}", hint(wrong, known)))
                        .with("setting", wrong)
                }
                _ => Error::config(format!("the settings cannot be read: {}", said.replace('`', "'"))),
            }
        })?;
        match (&settings.manifest, &settings.manifest_toml) {
            (Some(_), None) | (None, Some(_)) => Ok(settings),
            (None, None) => Err(Error::config(
                "the setting 'manifest' is missing: the path of the system's manifest",
            )),
            (Some(_), Some(_)) => Err(Error::config(
                "'manifest' and 'manifest_toml' exclude each other; drop one",
            )),
        }
    }

    /// The manifest with the tenant's overrides. Reads the file that `manifest` names, which is part of the configuration.
    pub(crate) fn load(&self) -> Result<Manifest> {
        let mut manifest = match (&self.manifest_toml, &self.manifest) {
            (Some(text), _) => Manifest::parse(text, "manifest_toml")?,
            (None, Some(path)) => {
                let path = self.config_dir.as_deref().unwrap_or(Path::new("")).join(path);
                let file = path.display().to_string();
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    Error::config("the manifest cannot be read")
                        .with("file", &file)
                        .because(error)
                })?;
                Manifest::parse(&text, &file)?
            }
            (None, None) => return Err(Error::config("the setting 'manifest' is missing")),
        };
        manifest.auth.token_url = self.sign_in_url.clone().or(manifest.auth.token_url);
        let limits = &mut manifest.limits;
        limits.requests_per_second = self.requests_per_second.or(limits.requests_per_second);
        limits.concurrency = within("concurrency", self.concurrency.unwrap_or(limits.concurrency), 64)?;
        limits.page_size = within("page_size", self.page_size.unwrap_or(limits.page_size), 10_000)?;
        for entity in manifest.entities.values_mut() {
            let capabilities = &mut entity.capabilities;
            capabilities.settle_after_secs = self.settle_after_secs.or(capabilities.settle_after_secs);
            capabilities.search_lag_secs = self.search_lag_secs.or(capabilities.search_lag_secs);
        }
        Ok(manifest)
    }

    /// How to reach the system.
    pub(crate) fn http(&self, manifest: &Manifest) -> Result<HttpSettings> {
        let base_url = self
            .endpoint
            .as_ref()
            .or(manifest.system.base_url.as_ref())
            .ok_or_else(|| {
                Error::config(
                    "nobody says where the system is: set 'endpoint' here or 'base_url' in the manifest",
                )
            })?;
        let mut http = self.http_at(base_url)?;
        http.requests_per_second = manifest.limits.requests_per_second;
        http.concurrency_per_endpoint = manifest.limits.concurrency;
        http.validate()?;
        Ok(http)
    }

    /// How to reach another address of the system (its token endpoint), under the same rules.
    pub(crate) fn http_at(&self, url: &str) -> Result<HttpSettings> {
        let mut http = HttpSettings::new(url.to_owned());
        http.allow_private_network = self.allow_private_network;
        if let Some(secs) = self.timeout_secs {
            http.total_timeout = Duration::from_secs(within("timeout_secs", secs as usize, 3_600)? as u64);
            http.read_timeout = http.read_timeout.min(http.total_timeout);
            http.connect_timeout = http.connect_timeout.min(http.total_timeout);
        }
        http.body_bytes_max = self.body_bytes_max.unwrap_or(http.body_bytes_max);
        http.validate()?;
        Ok(http)
    }
}

fn within(setting: &'static str, value: usize, max: usize) -> Result<usize> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(Error::config(format!("{setting} must be 1 to {max}")).with("setting", setting))
}
