//! `[events.<name>]` and `[event_kinds.<name>]`.

use schemars::JsonSchema;
use seamless_core::Result;
use seamless_core::pipeline::EventRule;
use serde::Deserialize;

use super::{Config, clip, hint, is_name};

/// Somebody who is told when something happens to a record: a system, or a command.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsTable {
    /// The system that is told: `[events]` of its manifest says how. Or else `command`.
    pub(crate) to: Option<String>,
    /// The program that is told, and its arguments: it gets one JSON document on its standard input, and a bare environment. Exit code 0: taken; 65: refused;
    /// anything else: told again later.
    pub(crate) command: Option<Vec<String>>,
    /// Longest run of the program. Default 30.
    pub(crate) timeout_secs: Option<u64>,
    /// The events (`ticket.completed`). Default: all that the system takes; for a command, all there are.
    pub(crate) on: Option<Vec<String>>,
    /// The systems in which they happen. Default: all but the one that is told.
    pub(crate) from: Option<Vec<String>>,
}

/// An event of your own, or another meaning for one of the program's.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventKindTable {
    /// The entity.
    pub(crate) entity: String,
    /// The canonical field that is watched.
    pub(crate) field: String,
    /// The event is that the field has come to hold one of these values (canonical, as text). Default: any change.
    #[serde(default)]
    pub(crate) becomes: Vec<String>,
}

/// Longest run of a command.
const TIMEOUT_SECS: u64 = 30;
const TIMEOUT_SECS_MAX: u64 = 300;

/// The program's own events: name, entity, field, and what the field has come to hold.
const KINDS: [(&str, &str, &str, &[&str]); 6] = [
    ("account.deactivated", "account", "active", &["false"]),
    ("contact.deactivated", "contact", "active", &["false"]),
    ("opportunity.lost", "opportunity", "status", &["lost"]),
    (
        "opportunity.won",
        "opportunity",
        "status",
        &["closed", "implemented"],
    ),
    ("ticket.status_changed", "ticket", "status", &[]),
    ("ticket.completed", "ticket", "status", &["complete"]),
];

impl Config {
    /// Every event there is, by name: the program's, and the tenant's own in their place or beside them.
    pub(crate) fn event_rules(&self) -> Vec<EventRule> {
        let own = self.event_kinds.iter().map(|(name, table)| EventRule {
            name: name.clone(),
            entity: table.entity.as_str().into(),
            field: table.field.clone(),
            becomes: table.becomes.clone(),
        });
        let known = KINDS
            .iter()
            .filter(|(name, ..)| !self.event_kinds.contains_key(*name))
            .map(|(name, entity, field, becomes)| EventRule {
                name: (*name).to_owned(),
                entity: (*entity).into(),
                field: (*field).to_owned(),
                becomes: becomes.iter().map(|value| (*value).to_owned()).collect(),
            });
        own.chain(known).collect()
    }

    /// What can be said of subscribers without knowing connectors.
    pub(super) fn check_events(&self) -> Result<()> {
        for name in self.event_kinds.keys() {
            let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
            if name.is_empty() || name.len() > 60 || !name.bytes().all(fits) {
                let message = format!(
                    "'{}' is no name for an event; use up to 60 of a-z, 0-9, '-', '_' and '.'",
                    clip(name)
                );
                return Err(self.problem(&["event_kinds", name], message));
            }
        }
        let rules = self.event_rules();
        let kinds: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        let systems: Vec<&str> = self.systems.keys().map(String::as_str).collect();
        for (name, table) in &self.events {
            let wrong = |key: &str, message: String| Err(self.problem(&["events", name, key], message));
            if !is_name(name) {
                let message = format!(
                    "'{}' is no name for a subscriber; use 1 to 40 of a-z, 0-9 and -",
                    clip(name)
                );
                return Err(self.problem(&["events", name], message));
            }
            match (&table.to, &table.command) {
                (Some(system), None) if systems.contains(&system.as_str()) => {}
                (Some(system), None) => {
                    return wrong(
                        "to",
                        format!("there is no system '{}'{}", clip(system), hint(system, &systems)),
                    );
                }
                (None, Some(command)) if command.first().is_some_and(|program| !program.is_empty()) => {}
                (None, Some(_)) => return wrong("command", "the command names no program".to_owned()),
                _ => {
                    return wrong(
                        "to",
                        format!("{name} needs either to = \"<system>\" or command = [\"<program>\"]"),
                    );
                }
            }
            if table.to.is_some() && table.timeout_secs.is_some() {
                return wrong("timeout_secs", "timeout_secs is for commands; drop it".to_owned());
            }
            if !(1..=TIMEOUT_SECS_MAX).contains(&table.timeout_secs()) {
                return wrong(
                    "timeout_secs",
                    format!("timeout_secs must be 1 to {TIMEOUT_SECS_MAX}"),
                );
            }
            if let Some(kind) = table
                .on
                .iter()
                .flatten()
                .find(|kind| !kinds.contains(&kind.as_str()))
            {
                return wrong(
                    "on",
                    format!("there is no event '{}'{}", clip(kind), hint(kind, &kinds)),
                );
            }
            if let Some(system) = table
                .from
                .iter()
                .flatten()
                .find(|system| !systems.contains(&system.as_str()))
            {
                return wrong(
                    "from",
                    format!("there is no system '{}'{}", clip(system), hint(system, &systems)),
                );
            }
        }
        Ok(())
    }
}

impl EventsTable {
    /// Longest run of the command.
    pub(crate) fn timeout_secs(&self) -> u64 {
        self.timeout_secs.unwrap_or(TIMEOUT_SECS)
    }
}
