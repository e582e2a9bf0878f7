//! Subscribers to events: who is told of what, and how a command is told.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::pipeline::{EventSpec, Subscriber, System};
use seamless_core::{Clock, Error, Event, EventTarget, Result, SystemId, Target};

use crate::build::SyncPlan;
use crate::config::{Config, EventsTable};

/// Who is told, by subscriber.
pub(crate) type Receivers = BTreeMap<String, Arc<dyn EventTarget>>;

/// What counts as an event, and who is told; refuses what could never happen or never be told.
pub(crate) fn events(
    config: &Config,
    plans: &[SyncPlan],
    systems: &BTreeMap<SystemId, System>,
    clock: &Arc<dyn Clock>,
) -> Result<(EventSpec, Receivers)> {
    let mut spec = EventSpec {
        rules: config.event_rules(),
        subscribers: Vec::new(),
    };
    let mut receivers = Receivers::new();
    for (name, table) in &config.events {
        let wrong = |key: &str, message: String| Err(config.problem(&["events", name, key], message));
        let (taken, receiver) = receiver(config, table, &spec, systems, clock);
        let on: BTreeSet<String> = match &table.on {
            Some(on) => on.iter().cloned().collect(),
            None => taken.clone(),
        };
        if let Some(event) = on.iter().find(|event| !taken.contains(*event)) {
            let to = table.to.as_deref().unwrap_or_default();
            return wrong(
                "on",
                format!("{to} cannot be told of {event}: its manifest has no [events.\"{event}\"]"),
            );
        }
        let chosen = |system: &&SystemId| match &table.from {
            Some(from) => from.iter().any(|name| name == system.as_str()),
            None => table.to.as_deref() != Some(system.as_str()),
        };
        let from: BTreeSet<SystemId> = systems.keys().filter(chosen).cloned().collect();
        let happens = |event: &String| {
            let rules = spec.rules.iter().filter(|rule| rule.name == *event);
            rules.into_iter().any(|rule| {
                plans.iter().any(|plan| {
                    let watched = |system: &SystemId| {
                        let side = plan.side_of(system.as_str());
                        side.is_some_and(|side| plan.mappings[side.index()].fields.contains_key(&rule.field))
                    };
                    plan.model.name == rule.entity && from.iter().any(watched)
                })
            })
        };
        if !on.iter().any(happens) {
            return wrong(
                "on",
                format!(
                    "{name} would never be told of anything: no sync maps what is watched, in the systems it hears of"
                ),
            );
        }
        spec.subscribers.push(Subscriber {
            name: name.clone(),
            events: on,
            from,
        });
        receivers.insert(name.clone(), receiver);
    }
    Ok((spec, receivers))
}

/// The events that a subscriber can be told of, and how.
fn receiver(
    config: &Config,
    table: &EventsTable,
    spec: &EventSpec,
    systems: &BTreeMap<SystemId, System>,
    clock: &Arc<dyn Clock>,
) -> (BTreeSet<String>, Arc<dyn EventTarget>) {
    let all = || spec.rules.iter().map(|rule| rule.name.clone()).collect();
    let system = table.to.as_deref().map(SystemId::from);
    match system.and_then(|system| systems.get(&system)) {
        Some(system) => {
            let taken = system.target.takes_events();
            let taken = if taken.contains("*") { all() } else { taken };
            (taken, Arc::new(OfSystem(system.target.clone())))
        }
        None => (
            all(),
            Arc::new(OfCommand {
                program: program(config, table),
                arguments: table.command.iter().flatten().skip(1).cloned().collect(),
                folder: folder(config),
                timeout: Duration::from_secs(table.timeout_secs()),
                clock: clock.clone(),
            }),
        ),
    }
}

/// The folder of the configuration, whatever folder the host was started in.
fn folder(config: &Config) -> PathBuf {
    std::path::absolute(config.dir.join(".")).unwrap_or_else(|_| PathBuf::from("."))
}

/// A path is one from the folder of the configuration; a bare name is searched for, as always.
fn program(config: &Config, table: &EventsTable) -> PathBuf {
    let named = table.command.iter().flatten().next();
    let named = PathBuf::from(named.map(String::as_str).unwrap_or_default());
    if named.components().count() > 1 {
        folder(config).join(named)
    } else {
        named
    }
}

/// A system is told.
struct OfSystem(Arc<dyn Target>);

#[async_trait]
impl EventTarget for OfSystem {
    async fn tell(&self, event: &Event, send_by: Duration) -> Result<()> {
        self.0.tell(event, send_by).await
    }
}

/// A command is told.
struct OfCommand {
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// `EX_DATAERR`: the command does not want this event.
const REFUSED: i32 = 65;
/// What a command sees of our environment: nothing that could be a secret.
const KEPT: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ"];
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Ends the program when we stop waiting for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself: as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[async_trait]
impl EventTarget for OfCommand {
    async fn tell(&self, event: &Event, _send_by: Duration) -> Result<()> {
        let program = self.program.display();
        let failed = |what: String| Error::unavailable(format!("the command {program} {what}"));
        let mut document = event.to_json().to_string().into_bytes();
        document.push(b'\n');
        let kept = KEPT
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(kept)
            .stdin(Stdio::piped())
            // Neither is read, so that nothing of a record gets into a log; and a full pipe would block it.
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut running = Running(
            command
                .spawn()
                .map_err(|error| failed(format!("cannot be started: {error}")))?,
        );
        if let Some(mut stdin) = running.0.stdin.take() {
            // Blocks when the program does not read; it ends with the program. One that does not care to read at all is told nevertheless.
            drop(tokio::task::spawn_blocking(move || stdin.write_all(&document)));
        }
        let until = self.clock.monotonic() + self.timeout;
        loop {
            let ended = running.0.try_wait();
            match ended.map_err(|error| failed(format!("cannot be waited for: {error}")))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) if status.code() == Some(REFUSED) => {
                    return Err(Error::invalid(format!(
                        "the command {program} ended with exit code {REFUSED}"
                    )));
                }
                Some(status) => return Err(failed(format!("failed ({status})"))),
                None if self.clock.monotonic() >= until => {
                    return Err(failed(format!(
                        "did not end within {} seconds and was stopped",
                        self.timeout.as_secs()
                    )));
                }
                None => self.clock.sleep(LOOK).await,
            }
        }
    }
}
