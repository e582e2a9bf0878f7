//! The manifest: one TOML file that describes a REST system. Types, reading, and the JSON Schema.
//!
//! Unknown keys are refused everywhere, and every mistake is answered with file, line, key and, where one is near, the
//! key that was meant. Tables are flat (a `kind` beside its keys, no tagged enums), so that every error keeps its place.

mod auth;
mod check;
mod check_auth;
mod check_paths;
mod check_reading;
mod check_writing;
mod entity;
mod events;
mod map;
mod paging;
mod problem;
mod reading;
mod system;
mod webhook;
mod writing;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use seamless_core::mapping::SideMapping;
use seamless_core::{EntityName, Result};
use serde::Deserialize;

pub use auth::*;
pub use entity::*;
pub(crate) use events::ANY_EVENT;
pub use events::EventCall;
pub use map::*;
pub use paging::*;
pub(crate) use problem::hint;
pub use reading::*;
pub use system::*;
pub use webhook::*;
pub use writing::*;

/// Version of the manifest format that this crate reads.
pub const MANIFEST_VERSION: u32 = 1;

/// A REST system, described for reading and writing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest format: 1.
    pub manifest: u32,
    /// The system.
    pub system: System,
    /// How requests prove who they are. The secrets themselves come from the tenant's configuration.
    #[serde(default)]
    pub auth: Auth,
    /// How much the system takes.
    #[serde(default)]
    pub limits: Limits,
    /// What the system promises; an entity may say otherwise.
    #[serde(default)]
    pub capabilities: CapabilitySpec,
    /// How refusals look.
    #[serde(default)]
    pub errors: Errors,
    /// How the system's events are recognised.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// Native entities by name. A system that is only told of events has none.
    #[serde(default)]
    pub entities: BTreeMap<String, Entity>,
    /// How the system is told of events, by their names; `*` stands for all others.
    #[serde(default)]
    pub events: BTreeMap<String, EventCall>,
}

impl Manifest {
    /// Reads and checks a manifest. `file` is only used in messages.
    pub fn parse(text: &str, file: &str) -> Result<Manifest> {
        let manifest: Manifest =
            toml::from_str(text).map_err(|error| problem::from_toml(&error, text, file))?;
        let table: toml::Table =
            toml::from_str(text).map_err(|error| problem::from_toml(&error, text, file))?;
        match check_paths::wrong_path(&table).or_else(|| check::first_problem(&manifest)) {
            Some(problem) => Err(problem.locate(text, file)),
            None => Ok(manifest),
        }
    }

    /// The default mapping of a canonical entity: the first native entity that has a `map` section for it.
    pub fn mapping(&self, canonical: &EntityName) -> Option<SideMapping> {
        self.entities.iter().find_map(|(native, entity)| {
            entity
                .map
                .get(canonical.as_str())
                .map(|section| section.side_mapping(native))
        })
    }
}

/// The JSON Schema of manifests, for editors.
pub fn manifest_schema() -> serde_json::Value {
    schemars::schema_for!(Manifest).to_value()
}
