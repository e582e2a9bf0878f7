//! The sandbox as a child process, and the admin interface through which the demo plays the people.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use seamless_host::SystemClock;
use seamless_http::{HttpClient, HttpSettings, Request};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Seeding a hundred thousand records takes a few seconds; a minute means that something is wrong.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(3);
/// Calls an hour: as many as a first load of 100,000 records needs in minutes. Both budgets have tests of their own.
const HOURLY_LIMIT: &str = "1000000";

/// A running sandbox. Dropping it ends the process, because its standard input ends.
pub(crate) struct Simulators {
    child: Child,
    admin: HttpClient,
    /// What `GET /config` says.
    pub(crate) config: Json,
}

impl Simulators {
    /// Starts the sandbox and waits until it answers.
    pub(crate) async fn start(records: usize, seed: u64) -> anyhow::Result<Simulators> {
        let (tickets, opportunities) = work_of(records);
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut child = Command::new(program)
            .args([
                "sandbox",
                "--json",
                "--until-stdin-ends",
                "--hourly-limit",
                HOURLY_LIMIT,
            ])
            .args(["--records", &records.to_string(), "--seed", &seed.to_string()])
            .args([
                "--tickets",
                &tickets.to_string(),
                "--opportunities",
                &opportunities.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the sandbox")?;
        let stdout = child
            .stdout
            .take()
            .context("the sandbox has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_MAX, lines.next_line())
            .await
            .context("the sandbox did not start in time")??
            .context("the sandbox ended before it was ready")?;
        let ready: Json = serde_json::from_str(&line).context("the sandbox said something unexpected")?;
        let url = ready["admin_url"]
            .as_str()
            .context("the sandbox did not say where it is")?;
        let settings = HttpSettings {
            allow_private_network: true,
            ..HttpSettings::new(url)
        };
        let admin = HttpClient::new(settings, Arc::new(SystemClock::new()))?;
        Ok(Simulators {
            child,
            admin,
            config: ready["config"].clone(),
        })
    }

    /// A `GET` on the admin interface.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Json> {
        let request = query.iter().fold(Request::get(path), |request, (name, value)| {
            request.query(*name, *value)
        });
        self.call(path, request).await
    }

    async fn post(&self, path: &str, body: &Json) -> anyhow::Result<Json> {
        self.call(path, Request::post(path).json(body)).await
    }

    async fn call(&self, path: &str, request: Request) -> anyhow::Result<Json> {
        let response = self.admin.send(request).await?;
        if !response.is_success() {
            bail!("the sandbox refused {path}: {}", response.text_excerpt());
        }
        Ok(response.json()?)
    }

    /// A person edits a record.
    pub(crate) async fn edit(
        &self,
        system: &str,
        entity: &str,
        id: &str,
        field: &str,
        value: &Json,
    ) -> anyhow::Result<()> {
        let body = json!({
            "system": system, "entity": entity, "id": id, "fields": { field: value }, "label": format!("{entity} {id}: {field}"),
        });
        self.post("/edit", &body).await.map(drop)
    }

    /// A person creates a record; returns its id.
    pub(crate) async fn create(&self, system: &str, entity: &str, fields: &Json) -> anyhow::Result<String> {
        let body =
            json!({ "system": system, "entity": entity, "fields": fields, "label": "created by a person" });
        Ok(id_text(&self.post("/create", &body).await?["id"]))
    }

    /// A record as it is stored, with `counterpart`.
    pub(crate) async fn record(&self, system: &str, entity: &str, id: &str) -> anyhow::Result<Json> {
        self.get("/record", &[("system", system), ("entity", entity), ("id", id)])
            .await
    }

    /// What the sandbox itself knows of how well the two systems are kept in step.
    pub(crate) async fn truth(&self) -> anyhow::Result<Json> {
        let one_way = "ticket:crm,opportunity:crm";
        self.get("/truth", &[("owner", "autotask"), ("one_way", one_way)])
            .await
    }

    /// Calls and writes so far.
    pub(crate) async fn stats(&self) -> anyhow::Result<Json> {
        self.get("/stats", &[]).await
    }

    /// Ends the sandbox.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// Tickets and opportunities that so many accounts and contacts cause.
pub(crate) fn work_of(records: usize) -> (usize, usize) {
    (records / 8, records / 16)
}

/// Ids are numbers in one system and text in the other.
pub(crate) fn id_text(id: &Json) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
