//! Secrets by reference: an environment variable, or a file that only its owner can read.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use seamless_core::{Error, Result, Secret};

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretRef {
    /// In this environment variable.
    Env(String),
    /// In this file, relative to the configuration.
    File(PathBuf),
}

/// Longest secret or keyset.
const SECRET_BYTES_MAX: u64 = 64 << 10;

impl SecretRef {
    /// A table with the one key `env` or `file`.
    pub(crate) fn of(value: &serde_json::Value) -> Option<SecretRef> {
        let table = value.as_object().filter(|table| table.len() == 1)?;
        let (key, value) = table.iter().next()?;
        let value = value.as_str()?;
        match key.as_str() {
            "env" => Some(SecretRef::Env(value.to_owned())),
            "file" => Some(SecretRef::File(PathBuf::from(value))),
            _ => None,
        }
    }

    /// The secret itself.
    pub(crate) fn resolve(&self, dir: &Path) -> Result<Secret> {
        match self {
            SecretRef::Env(name) => environment(name),
            SecretRef::File(path) => private_file(&dir.join(path)),
        }
    }
}

/// Whether a setting of this name holds a secret, so that its value must not stand in the file.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "secret",
        "password",
        "token",
        "api_key",
        "apikey",
        "private_key",
        "integration_code",
    ]
    .iter()
    .any(|part| name.contains(part))
}

/// A secret from the environment.
pub(crate) fn environment(name: &str) -> Result<Secret> {
    match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => Ok(Secret::new(value.trim())),
        Ok(_) => Err(Error::config(format!("the environment variable {name} is empty"))),
        Err(_) => Err(Error::config(format!(
            "the environment variable {name} is not set, or is not valid text"
        ))),
    }
}

/// A secret from a file that belongs to us and that nobody else can read.
pub(crate) fn private_file(file: &Path) -> Result<Secret> {
    let shown = file.display();
    let cannot = |error: std::io::Error| Error::config(format!("cannot read {shown}: {error}"));
    let opened = std::fs::File::open(file).map_err(cannot)?;
    let about = opened.metadata().map_err(cannot)?;
    let us = rustix::process::geteuid().as_raw();
    if !about.is_file() {
        return Err(Error::config(format!("{shown} is not a file")));
    }
    if about.mode() & 0o077 != 0 {
        let mode = about.mode() & 0o777;
        let message = format!("{shown} can be read by others (mode {mode:04o}); run `chmod 600 {shown}`");
        return Err(Error::config(message));
    }
    if about.uid() != us {
        let message = format!(
            "{shown} belongs to user {}, this is user {us}; run `chown {us} {shown}`",
            about.uid()
        );
        return Err(Error::config(message));
    }
    let mut text = String::new();
    opened
        .take(SECRET_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(Error::config(format!(
            "{shown} is longer than {SECRET_BYTES_MAX} bytes: not a secret"
        )));
    }
    match text.trim() {
        "" => Err(Error::config(format!("{shown} is empty"))),
        secret => Ok(Secret::new(secret)),
    }
}
