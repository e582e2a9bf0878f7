//! A ready tenant for a running sandbox, in a folder of its own.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use seamless_emulator::Emulator;
use serde_json::Value as Json;

/// Where the simulators are and what they want to hear.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    autotask_url: String,
    crm_url: String,
    user: String,
    secret: String,
    integration_code: String,
    token: String,
    owner_id: i64,
    queue_id: i64,
}

impl Endpoints {
    /// From the sandbox's `GET /config`.
    pub(crate) fn of(config: &Json) -> Endpoints {
        let text = |path: &str| {
            config
                .pointer(path)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Endpoints {
            autotask_url: text("/autotask/url"),
            crm_url: text("/crm/url"),
            user: text("/autotask/user"),
            secret: text("/autotask/secret"),
            integration_code: text("/autotask/integration_code"),
            token: text("/crm/token"),
            owner_id: config["autotask"]["default_owner_id"]
                .as_i64()
                .unwrap_or_default(),
            queue_id: config["autotask"]["default_queue_id"]
                .as_i64()
                .unwrap_or_default(),
        }
    }

    fn tenant_toml(&self) -> String {
        include_str!("tenant.toml")
            .replace("{autotask_url}", &self.autotask_url)
            .replace("{crm_url}", &self.crm_url)
            .replace("{autotask_user}", &self.user)
            .replace("{owner_id}", &self.owner_id.to_string())
            .replace("{queue_id}", &self.queue_id.to_string())
    }
}

/// Writes the tenant: configuration, manifest, secrets and new keys. Returns the configuration's path.
pub(crate) fn write_tenant(dir: &Path, endpoints: &Endpoints) -> anyhow::Result<PathBuf> {
    let file = dir.join("tenant.toml");
    if file.exists() {
        bail!("{} exists already; name another folder", file.display());
    }
    for folder in [dir.to_owned(), dir.join("secrets")] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("cannot create {}", folder.display()))?;
    }
    private(&dir.join("secrets/autotask-secret"), &endpoints.secret)?;
    private(
        &dir.join("secrets/autotask-integration-code"),
        &endpoints.integration_code,
    )?;
    private(&dir.join("secrets/crm-token"), &endpoints.token)?;
    private(&dir.join("sandbox-crm.toml"), seamless_rest::SANDBOX_CRM)?;
    seamless_host::keys::generate(&dir.join("keys.json"))?;
    private(&file, &endpoints.tenant_toml())?;
    Ok(file)
}

/// Lets a tenant's messages wait on a service bus: the host gets a key that may send and listen only, where that is enough.
pub(crate) fn use_service_bus(
    file: &Path,
    kind: &str,
    topic: &str,
    emulator: &Emulator,
) -> anyhow::Result<()> {
    let dir = file.parent().unwrap_or(Path::new(""));
    let [amqp, http] = emulator.limited_connection_strings();
    let connection = if kind == "service-bus" { amqp } else { http };
    private(&dir.join("secrets/service-bus"), &connection)?;
    private(
        &dir.join("secrets/service-bus-manage"),
        &emulator.http_connection_string(),
    )?;
    let table = format!(
        "\n[bus]\nkind = \"{kind}\"\nconnection = {{ file = \"secrets/service-bus\" }}\nmanage = {{ file = \"secrets/service-bus-manage\" }}\ntopic = \"{topic}\"\n"
    );
    let mut opened = OpenOptions::new()
        .append(true)
        .open(file)
        .with_context(|| format!("cannot open {}", file.display()))?;
    opened
        .write_all(table.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))
}

fn private(file: &Path, text: &str) -> anyhow::Result<()> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))
}
