//! The demo's tenant in the simulator: the real connectors, started as a host starts them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seamless_core::Error;
use seamless_host::{Assembled, Config, assemble};
use seamless_testkit::sim::connectors::{Ground, Start};

use crate::world::demo_tenant;

/// What the binary is built with.
#[path = "../../crates/seamless/src/plugins.rs"]
mod plugins;

/// A tenant that the simulator can start. The folder gets its secrets.
///
/// # Errors
/// When the configuration is not understood.
pub fn tenant(folder: &Path) -> Result<Arc<Start>, Error> {
    let secret = |name: &str, value: &str| write_private(&folder.join("secrets").join(name), value);
    secret("autotask-secret", "sandbox-secret")?;
    secret("autotask-integration-code", "SANDBOX")?;
    secret("crm-token", "sandbox-token")?;
    let manifest = folder.join("sandbox-crm.toml");
    std::fs::write(&manifest, seamless_rest::SANDBOX_CRM).map_err(|error| unwritten(&manifest, error))?;
    let text = demo_tenant(
        "http://127.0.0.1:1",
        "http://127.0.0.1:2",
        "integration@example.test",
        29_682_885,
        29_682_833,
    )
    // In virtual time patience costs nothing: longer than any call of the simulator can be under way.
    .replace("settle_after_secs = 1", "settle_after_secs = 5")
    .replace("search_lag_secs = 1", "search_lag_secs = 2");
    let config = Config::parse(&text, &folder.join("tenant.toml"))?;
    Ok(Arc::new(move |ground: Ground| {
        let config = config.clone();
        Box::pin(async move {
            let Assembled { systems, syncs } =
                assemble(&config, &plugins::plugins(), ground.clock, Some(ground.network)).await?;
            Ok((systems, syncs))
        })
    }))
}

fn write_private(file: &PathBuf, text: &str) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, error))?;
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file);
    opened
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|error| unwritten(file, error))
}

fn unwritten(file: &Path, error: std::io::Error) -> Error {
    Error::storage(format!("cannot write {}", file.display())).because(error)
}
