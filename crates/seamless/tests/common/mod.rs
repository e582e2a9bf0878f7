//! The real binary against the sandbox on loopback.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::path::PathBuf;
use std::process::{Command, Output};

use seamless_sandbox::{Config, Sandbox};
use serde_json::Value as Json;
use tempfile::TempDir;

/// A tenant's folder and the sandbox it talks to.
pub(crate) struct Tenant {
    pub(crate) dir: TempDir,
    pub(crate) sandbox: Sandbox,
}

impl Tenant {
    pub(crate) async fn start(config: Config) -> Tenant {
        let sandbox = Sandbox::start(config).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let tenant = Tenant { dir, sandbox };
        std::fs::write(tenant.path("crm.toml"), seamless_rest::SANDBOX_CRM).unwrap();
        tenant.configure(|text| text);
        let made = tenant
            .run(&[
                "keys",
                "generate",
                "--out",
                tenant.path("keys.json").to_str().unwrap(),
            ])
            .await;
        assert!(made.status.success(), "{}", text(&made.stderr));
        tenant
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes tenant.toml, changed by `change`.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let (autotask, crm) = (&self.sandbox.autotask_url, &self.sandbox.crm_url);
        let config = format!(
            r#"tenant = "acme"
[keys]
provider = "file"
path = "keys.json"
[systems.autotask]
kind = "autotask"
endpoint = "{autotask}"
allow_private_network = true
username = "integration@example.test"
integration_code = {{ env = "AT_CODE" }}
secret = {{ env = "AT_SECRET" }}
default_owner_resource_id = 29682885
settle_after_secs = 1
search_lag_secs = 1
[systems.crm]
kind = "rest"
manifest = "crm.toml"
endpoint = "{crm}"
allow_private_network = true
token = {{ env = "CRM_TOKEN" }}
[syncs.account]
between = ["autotask", "crm"]
match = [{{ fields = ["name", "address.postal_code"] }}]
[syncs.contact]
between = ["autotask", "crm"]
[run]
patience_secs = 3
"#
        );
        std::fs::write(self.path("tenant.toml"), change(config)).unwrap();
    }

    /// The command, not started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seamless"));
        command
            .current_dir(self.dir.path())
            .env("AT_CODE", "SANDBOX")
            .env("AT_SECRET", "sandbox-secret")
            .env("CRM_TOKEN", "sandbox-token")
            .args(args);
        command
    }

    /// Runs the binary to its end; the sandbox goes on meanwhile.
    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        finish(self.command(args)).await
    }

    /// Runs with `--json`: exit code and document.
    pub(crate) async fn json(&self, args: &[&str]) -> (i32, Json) {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let output = self.run(&args).await;
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)));
        (output.status.code().unwrap_or(-1), document)
    }
}

/// Runs a command to its end off the test's own thread.
pub(crate) async fn finish(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
