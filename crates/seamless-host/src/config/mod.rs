//! `tenant.toml`: read, checked, every mistake with its place.

mod bus;
mod entity;
mod events;
mod place;
mod sync;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use seamless_core::pipeline::Timings;
use seamless_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value as Json;

pub(crate) use bus::BusKind;
pub(crate) use entity::EntityTable;
use events::EventKindTable;
pub(crate) use events::EventsTable;
pub(crate) use place::hint;
pub(crate) use sync::{FieldChange, FieldTable, MatchTable, SyncTable, XrefChange};
use tables::{HttpTable, KeyProviderKind, KeysTable, RunTable, TimingsTable};

use crate::secret::{SecretRef, is_secret_name};

/// Largest configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A tenant's configuration. Holds no secret, only where secrets are.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Folder that relative paths start from.
    pub dir: PathBuf,
    /// The tenant.
    pub tenant: String,
    /// `production`, `staging`, …
    pub environment: String,
    /// Where state and messages are kept.
    pub data_dir: PathBuf,
    pub(crate) keys: KeySource,
    pub(crate) systems: BTreeMap<String, SystemConfig>,
    pub(crate) entities: BTreeMap<String, EntityTable>,
    pub(crate) syncs: BTreeMap<String, SyncTable>,
    /// By entity and canonical field (`*`: all others): systems, the one that wins first.
    pub(crate) owners: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Who is told of events.
    pub(crate) events: BTreeMap<String, EventsTable>,
    event_kinds: BTreeMap<String, EventKindTable>,
    pub(crate) run: RunTable,
    pub(crate) http: Option<HttpTable>,
    bus: Option<bus::ServiceBusConfig>,
    pub(crate) timings: Timings,
    text: String,
}

/// Where the keyset is.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    File(PathBuf),
    Variable(String),
}

/// A configured system.
#[derive(Clone, Debug)]
pub(crate) struct SystemConfig {
    pub(crate) kind: String,
    /// The plugin's own settings; secrets stay references.
    pub(crate) settings: Json,
    pub(crate) secrets: BTreeMap<String, SecretRef>,
}

/// A tenant's configuration file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TenantFile {
    /// Name of the tenant: 1 to 40 lower-case letters, digits and hyphens. Bound into everything that is sealed.
    tenant: String,
    /// Name of the installation: a database of `staging` is refused by `production`. Default `production`.
    #[serde(default = "production")]
    environment: String,
    /// Folder for state and messages, relative to this file. Default `data`.
    #[serde(default = "data")]
    data_dir: PathBuf,
    /// Where the encryption keys are.
    keys: KeysTable,
    /// The systems by name. `kind` chooses the connector; the other settings are the connector's own. A secret is never written here but
    /// referred to: `{ env = "NAME" }` or `{ file = "path" }` (a file with mode 0600).
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Json>>")]
    systems: BTreeMap<String, toml::Table>,
    /// Entities of your own, by name, beside those that the program knows.
    #[serde(default)]
    entities: BTreeMap<String, EntityTable>,
    /// The syncs by name: each keeps one entity in step between two systems.
    syncs: BTreeMap<String, SyncTable>,
    /// Where several syncs keep one entity: by entity and canonical field (`"*"` stands for all others), the systems of these syncs, the one whose value
    /// stands first. Needed where more than one system could win against the one that they share.
    #[serde(default)]
    owners: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Who is told when something happens to a record, by name.
    #[serde(default)]
    events: BTreeMap<String, EventsTable>,
    /// Events of your own, by name, beside those that the program knows or in place of them.
    #[serde(default)]
    event_kinds: BTreeMap<String, EventKindTable>,
    /// How the host works.
    #[serde(default)]
    run: RunTable,
    /// The running host's own HTTP server. Without this table there is none.
    http: Option<HttpTable>,
    /// Where messages wait between the systems. Without this table: in the data folder.
    bus: Option<bus::BusTable>,
    /// Time limits of the protocol; the defaults are right for anything but tests.
    #[serde(default)]
    timings: TimingsTable,
}

fn production() -> String {
    "production".to_owned()
}

fn data() -> PathBuf {
    PathBuf::from("data")
}

/// The JSON Schema of `tenant.toml`.
pub fn config_schema() -> Json {
    let mut schema = schemars::schema_for!(TenantFile);
    schema.insert("title".to_owned(), "tenant.toml".into());
    schema.to_value()
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(file: &Path) -> Result<Config> {
        let shown = file.display();
        let about = std::fs::metadata(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::config(format!(
                "there is no {shown}; write one with `seamless init`, or name yours with --config"
            )),
            _ => Error::config(format!("cannot read {shown}: {error}")),
        })?;
        if about.len() > FILE_BYTES_MAX {
            return Err(Error::config(format!(
                "{shown} is larger than {FILE_BYTES_MAX} bytes: not a configuration"
            )));
        }
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::config(format!("cannot read {shown}: {error}")))?;
        Config::parse(&text, file)
    }

    /// Checks a configuration's text; `file` names it in messages, and relative paths start at its folder.
    pub fn parse(text: &str, file: &Path) -> Result<Config> {
        let shown = file.display().to_string();
        let raw: TenantFile = toml::from_str(text).map_err(|error| place::from_toml(&error, text, &shown))?;
        let dir = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut config = Config {
            file: file.to_owned(),
            data_dir: dir.join(&raw.data_dir),
            keys: KeySource::Variable(String::new()),
            tenant: raw.tenant,
            environment: raw.environment,
            systems: BTreeMap::new(),
            entities: raw.entities,
            syncs: raw.syncs,
            owners: raw.owners,
            events: raw.events,
            event_kinds: raw.event_kinds,
            run: raw.run,
            http: raw.http,
            bus: None,
            timings: raw.timings.over(Timings::default()),
            text: text.to_owned(),
            dir,
        };
        for (path, name) in [
            (&["tenant"], &config.tenant),
            (&["environment"], &config.environment),
        ] {
            if !is_name(name) {
                return Err(config.problem(
                    path,
                    format!("'{}' is no name; use 1 to 40 of a-z, 0-9 and -", clip(name)),
                ));
            }
        }
        config.keys = config.key_source(raw.keys)?;
        config.bus = raw.bus.map(|table| config.check_bus(table)).transpose()?;
        for (name, table) in raw.systems {
            let system = config.system(&name, table)?;
            config.systems.insert(name, system);
        }
        config.check_entities()?;
        config.check_syncs()?;
        config.check_events()?;
        config.check_run()?;
        Ok(config)
    }

    /// What binds sealed data to this tenant and installation.
    pub(crate) fn identity(&self) -> seamless_core::envelope::Identity {
        seamless_core::envelope::Identity {
            environment: self.environment.clone(),
            tenant: self.tenant.clone(),
        }
    }

    /// A mistake at a key of the file (the last keys of the path may be missing there).
    pub(crate) fn problem(&self, path: &[&str], message: impl Into<String>) -> Error {
        place::at(
            path,
            Error::config(message),
            &self.text,
            &self.file.display().to_string(),
        )
    }

    /// An error that concerns a key of the file, with its place.
    pub(crate) fn located(&self, path: &[&str], error: Error) -> Error {
        place::at(path, error, &self.text, &self.file.display().to_string())
    }

    /// A connector's complaint about its settings, at the setting it names.
    pub(crate) fn settings_problem(&self, system: &str, error: Error) -> Error {
        if error.context("file").is_some() {
            return error.with("system", system);
        }
        let keys: Vec<&str> = self
            .systems
            .get(system)
            .and_then(|system| system.settings.as_object())
            .map_or(Vec::new(), |table| table.keys().map(String::as_str).collect());
        let (message, setting) = place::in_settings(&error, &keys);
        let mut path = vec!["systems", system];
        path.extend(setting.as_deref());
        self.problem(&path, format!("{system}: {message}"))
    }

    fn key_source(&self, keys: KeysTable) -> Result<KeySource> {
        match (keys.provider, keys.path, keys.variable) {
            (KeyProviderKind::File, Some(path), None) => Ok(KeySource::File(path)),
            (KeyProviderKind::File, None, _) => {
                Err(self.problem(&["keys"], "the provider 'file' needs path = \"keys.json\""))
            }
            (KeyProviderKind::Env, None, Some(name)) => Ok(KeySource::Variable(name)),
            (KeyProviderKind::Env, _, None) => Err(self.problem(
                &["keys"],
                "the provider 'env' needs variable = \"SEAMLESS_KEYSET\"",
            )),
            (KeyProviderKind::File, _, Some(_)) => Err(self.problem(
                &["keys", "variable"],
                "the provider 'file' takes path, not variable; drop one",
            )),
            (KeyProviderKind::Env, Some(_), _) => Err(self.problem(
                &["keys", "path"],
                "the provider 'env' takes variable, not path; drop one",
            )),
        }
    }

    fn system(&self, name: &str, mut table: toml::Table) -> Result<SystemConfig> {
        if !is_name(name) {
            let message = format!(
                "'{}' is no name for a system; use 1 to 40 of a-z, 0-9 and -",
                clip(name)
            );
            return Err(self.problem(&["systems", name], message));
        }
        let kind = match table.remove("kind") {
            Some(toml::Value::String(kind)) => kind,
            Some(_) => {
                return Err(self.problem(&["systems", name, "kind"], "kind must be a text, like \"rest\""));
            }
            None => {
                let message = format!(
                    "the system {name} has no kind; say which connector it uses, like kind = \"rest\""
                );
                return Err(self.problem(&["systems", name], message));
            }
        };
        let mut settings = serde_json::Map::new();
        let mut secrets = BTreeMap::new();
        for (key, value) in table {
            let value = match value {
                toml::Value::String(path) if is_path_name(&key) => {
                    self.dir.join(path).display().to_string().into()
                }
                value => to_json(value),
            };
            match SecretRef::of(&value) {
                Some(reference) => drop(secrets.insert(key.clone(), reference)),
                None if is_secret_name(&key) && !value.is_object() => {
                    let variable = format!("{name}_{key}").to_uppercase().replace('-', "_");
                    let message = format!(
                        "{key} is a secret and must not stand in this file; write {key} = {{ env = \"{variable}\" }} or \
                         {key} = {{ file = \"secrets/{name}-{key}\" }}, and change the secret if this file was shared"
                    );
                    return Err(self.problem(&["systems", name, &key], message));
                }
                None => {}
            }
            settings.insert(key, value);
        }
        Ok(SystemConfig {
            kind,
            settings: Json::Object(settings),
            secrets,
        })
    }

    fn check_run(&self) -> Result<()> {
        let run = &self.run;
        let bounds: [(&str, u64, u64, u64); 5] = [
            ("poll_interval_secs", run.poll_interval_secs, 1, 86_400),
            ("look_again_secs", run.look_again_secs, 1, 31_536_000),
            ("apply_workers", run.apply_workers as u64, 1, 8),
            ("patience_secs", run.patience_secs, 1, 86_400),
            ("reconcile_hours", run.reconcile_hours, 0, 8_760),
        ];
        for (name, value, min, max) in bounds {
            if !(min..=max).contains(&value) {
                return Err(self.problem(
                    &["run", name],
                    format!("{name} must be {min} to {max}, not {value}"),
                ));
            }
        }
        if self.timings.defer_min.is_zero() || self.timings.claim_lease < Duration::from_secs(1) {
            return Err(self.problem(
                &["timings"],
                "defer_min_ms must be at least 1 and claim_lease_ms at least 1000",
            ));
        }
        Ok(())
    }
}

/// Names go into row keys and routes.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=40).contains(&name.len()) && name.bytes().all(fits)
}

/// Settings that name files: relative to the configuration, whatever the connector.
fn is_path_name(key: &str) -> bool {
    key == "manifest" || key.ends_with("_path") || key.ends_with("_file")
}

fn clip(text: &str) -> String {
    text.chars().take(60).filter(|c| !c.is_control()).collect()
}

fn to_json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => Json::Object(
            table
                .into_iter()
                .map(|(key, value)| (key, to_json(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests;
