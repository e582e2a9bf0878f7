//! Where a tenant's keyset lives: a 0600 file, or an environment variable.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use seamless_core::envelope::RowSeal;
use seamless_core::{Error, ErrorKind, Keyset, Result};

use crate::config::{Config, KeySource};
use crate::random::OsRandom;
use crate::secret::{environment, private_file};

/// Makes a new keyset in a new file that only its owner can read. An existing file is never overwritten: without its keys everything that it sealed is lost.
pub fn generate(file: &Path) -> Result<()> {
    let keyset = Keyset::generate(&OsRandom)?;
    let json = keyset.to_json()?;
    let shown = file.display();
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let mut opened = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let message = format!("{shown} exists already; keys are never overwritten, name another file");
            Error::new(ErrorKind::Refused, message)
        }
        _ => Error::config(format!("cannot create {shown}: {error}")),
    })?;
    let written = opened.write_all(json.as_bytes()).and_then(|()| opened.sync_all());
    written.map_err(|error| Error::storage(format!("cannot write {shown}: {error}")))
}

/// A new keyset as text, for the environment variable or a vault.
pub fn generate_text() -> Result<String> {
    Ok(Keyset::generate(&OsRandom)?.to_json()?.to_string())
}

/// What seals a tenant's rows and plans.
pub(crate) fn row_seal(config: &Config) -> Result<RowSeal> {
    Ok(RowSeal::new(load(config)?, Arc::new(OsRandom), config.identity()))
}

/// The tenant's keyset.
pub(crate) fn load(config: &Config) -> Result<Arc<Keyset>> {
    let (json, origin) = match &config.keys {
        KeySource::File(path) => {
            let file = config.dir.join(path);
            if !file.exists() {
                let shown = file.display();
                let message = format!(
                    "the keyset {shown} does not exist; make one with `seamless keys generate --out {shown}`"
                );
                return Err(config.problem(&["keys", "path"], message));
            }
            (
                private_file(&file).map_err(|error| config.located(&["keys", "path"], error))?,
                file.display().to_string(),
            )
        }
        KeySource::Variable(name) => {
            let json = environment(name).map_err(|error| config.located(&["keys", "variable"], error))?;
            (json, format!("${name}"))
        }
    };
    Keyset::from_json(json.expose())
        .map(Arc::new)
        .map_err(|error| error.with("keyset", origin))
}
