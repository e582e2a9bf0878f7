//! Connector plugins and their registry.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Clock, Network, Source, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::SideMapping;
use crate::record::{EntityName, SystemId};

/// What a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// The `kind` in the configuration (`autotask`, `rest`).
    pub kind: &'static str,
    /// One line for `--help` and docs.
    pub summary: &'static str,
}

/// A secret. `Debug` redacts, there is no `Display` and no `Serialize`.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself; for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A plugin's settings as a type of its own. With `#[serde(deny_unknown_fields)]` on it, what is misspelt is refused by name.
pub fn read_settings<T: serde::de::DeserializeOwned>(settings: &serde_json::Value) -> Result<T> {
    T::deserialize(settings)
        .map_err(|error| Error::config(format!("the settings are not understood: {error}")))
}

/// Everything a plugin gets to open one configured system.
#[derive(Clone)]
pub struct OpenContext {
    /// The system's name in the configuration.
    pub system: SystemId,
    /// The plugin's own settings (the `[systems.<name>]` table as JSON, secrets still by reference).
    pub settings: serde_json::Value,
    /// Resolved secrets by setting name (`secret`, `token`, …).
    pub secrets: BTreeMap<String, Secret>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What carries HTTP calls; `None` means the machine's own network.
    pub network: Option<Arc<dyn Network>>,
    /// What source and target of the same system share (one client, one budget).
    pub shared: Shared,
}

/// A slot in which source and target of one system keep their common client.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Option<Arc<dyn Any + Send + Sync>>>>);

impl Shared {
    /// The common value, made by the first caller.
    pub fn get_or_try_init<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let mut slot = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if slot.is_none() {
            *slot = Some(Arc::new(make()?));
        }
        let any = slot
            .clone()
            .ok_or_else(|| Error::storage("shared slot is empty"))?;
        any.downcast::<T>()
            .map_err(|_| Error::config("two plugins of different types share one system"))
    }
}

/// Makes sources.
///
/// `validate` is pure: it parses settings and reads nothing but them, so that `check --offline` needs no network.
/// `open` may read files the settings name; it spawns nothing that outlives the instance and makes no call.
#[async_trait]
pub trait SourcePlugin: Send + Sync {
    /// What it is.
    fn info(&self) -> PluginInfo;

    /// Checks settings; errors name the setting and what to write instead.
    fn validate(&self, settings: &serde_json::Value) -> Result<()>;

    /// The mapping that applies when the tenant configures none.
    fn default_mapping(
        &self,
        settings: &serde_json::Value,
        entity: &EntityName,
    ) -> Result<Option<SideMapping>>;

    /// Opens the reading side.
    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Source>>;
}

/// Makes targets of the same kind. Same rules as [`SourcePlugin`].
#[async_trait]
pub trait TargetPlugin: Send + Sync {
    /// Opens the writing side.
    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Target>>;
}

/// Looks up default mappings for connectors that bring none of their own.
pub type MappingDefaults = fn(kind: &str, entity: &EntityName) -> Option<SideMapping>;

/// The plugins a host knows, registered by explicit calls in `main`.
#[derive(Default, Clone)]
pub struct Registry {
    sources: BTreeMap<&'static str, Arc<dyn SourcePlugin>>,
    targets: BTreeMap<&'static str, Arc<dyn TargetPlugin>>,
}

impl Registry {
    /// Registers a plugin that reads and writes.
    ///
    /// # Panics
    /// When the kind is registered already: two plugins of one name are a mistake in `main`.
    pub fn connector<P: SourcePlugin + TargetPlugin + 'static>(mut self, plugin: P) -> Registry {
        let plugin = Arc::new(plugin);
        let kind = plugin.info().kind;
        let source = self.sources.insert(kind, plugin.clone());
        let target = self.targets.insert(kind, plugin);
        assert!(
            source.is_none() && target.is_none(),
            "connector kind '{kind}' is registered twice"
        );
        self
    }

    /// The source plugin of a kind.
    pub fn source(&self, kind: &str) -> Result<&Arc<dyn SourcePlugin>> {
        self.sources.get(kind).ok_or_else(|| self.unknown(kind))
    }

    /// The target plugin of a kind.
    pub fn target(&self, kind: &str) -> Result<&Arc<dyn TargetPlugin>> {
        self.targets.get(kind).ok_or_else(|| self.unknown(kind))
    }

    fn unknown(&self, kind: &str) -> Error {
        let known: Vec<&str> = self.sources.keys().copied().collect();
        Error::new(
            ErrorKind::Config,
            format!(
                "no connector of kind '{kind}'; this binary has: {}",
                known.join(", ")
            ),
        )
    }
}
