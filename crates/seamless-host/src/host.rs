//! An open tenant: its books, its systems, its plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use seamless_core::pipeline::{EntityModel, EventSpec, System};
use seamless_core::{
    Clock, Error, MappingDefaults, Network, OpenContext, Registry, Result, Secret, Shared, SourcePlugin,
    SystemId,
};

use crate::books::Books;
use crate::build::{SyncPlan, plan_syncs};
use crate::clock::SystemClock;
use crate::config::{Config, hint};
use crate::events::{Receivers, events};
use crate::view::{Explanation, ParkedRecord, Status};

/// What the caller brings: connectors, entities, default mappings.
#[derive(Clone)]
pub struct Plugins {
    /// The connectors.
    pub registry: Registry,
    /// The canonical entities.
    pub models: Vec<EntityModel>,
    /// Default mappings for connectors that bring none of their own.
    pub defaults: MappingDefaults,
}

/// An open tenant, ready to run. Holds the lock of its data folder until it is dropped.
pub struct Host {
    pub(crate) config: Config,
    pub(crate) books: Arc<Books>,
    pub(crate) systems: BTreeMap<SystemId, System>,
    pub(crate) plans: Arc<Vec<SyncPlan>>,
    pub(crate) events: EventSpec,
    pub(crate) receivers: Receivers,
}

impl Plugins {
    /// The source plugin of a configured system.
    pub(crate) fn source(&self, config: &Config, system: &SystemId) -> Result<&Arc<dyn SourcePlugin>> {
        let name = system.as_str();
        let configured = &config.systems[name];
        self.registry
            .source(&configured.kind)
            .map_err(|error| config.located(&["systems", name, "kind"], error))
    }

    /// Checks every system's settings; no network.
    pub(crate) fn validate(&self, config: &Config) -> Result<()> {
        for (name, system) in &config.systems {
            let plugin = self.source(config, &SystemId::from(name.as_str()))?;
            plugin
                .validate(&system.settings)
                .map_err(|error| config.settings_problem(name, error))?;
        }
        Ok(())
    }

    /// What a plugin needs to open a configured system, for what a connector offers beside reading and writing. `kind` is the connector that is expected.
    pub fn context(&self, config: &Config, system: &str, kind: &str) -> Result<OpenContext> {
        let known: Vec<&str> = config.systems.keys().map(String::as_str).collect();
        let configured = config
            .systems
            .get(system)
            .ok_or_else(|| Error::config(format!("there is no system '{system}'{}", hint(system, &known))))?;
        if configured.kind != kind {
            let message = format!("the system {system} is of kind {}, not {kind}", configured.kind);
            return Err(Error::config(message));
        }
        self.validate(config)?;
        context(config, system, Arc::new(SystemClock::new()))
    }

    /// Opens a configured system; no call is made.
    pub(crate) async fn open(&self, config: &Config, name: &str, clock: Arc<dyn Clock>) -> Result<System> {
        self.open_over(None, config, name, clock).await
    }

    /// The same over a given network, where there is one.
    pub(crate) async fn open_over(
        &self,
        network: Option<Arc<dyn Network>>,
        config: &Config,
        name: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<System> {
        let configured = &config.systems[name];
        let context = OpenContext {
            network,
            ..context(config, name, clock)?
        };
        let source = self.source(config, &context.system)?;
        let target = self.registry.target(&configured.kind)?;
        let named = |error| config.settings_problem(name, error);
        Ok(System {
            source: source.open(&context).await.map_err(named)?,
            target: target.open(&context).await.map_err(named)?,
        })
    }
}

fn context(config: &Config, name: &str, clock: Arc<dyn Clock>) -> Result<OpenContext> {
    Ok(OpenContext {
        system: SystemId::from(name),
        settings: config.systems[name].settings.clone(),
        secrets: secrets(config, name)?,
        clock,
        network: None,
        shared: Shared::default(),
    })
}

/// A system's secrets, resolved.
fn secrets(config: &Config, name: &str) -> Result<BTreeMap<String, Secret>> {
    let references = config.systems[name].secrets.iter();
    references
        .map(|(setting, reference)| {
            let secret = reference.resolve(&config.dir);
            let secret = secret.map_err(|error| config.located(&["systems", name, setting], error))?;
            Ok((setting.clone(), secret))
        })
        .collect()
}

impl Host {
    /// Checks the configuration, opens the data folder (and takes its lock) and the systems. No call is made to any of them.
    pub async fn open(config: Config, plugins: Plugins) -> Result<Host> {
        plugins.validate(&config)?;
        let plans = Arc::new(plan_syncs(&config, &plugins)?);
        let books = Arc::new(Books::open(&config, plans.clone()).await?);
        let mut systems = BTreeMap::new();
        for name in config.systems.keys() {
            let system = plugins.open(&config, name, books.clock.clone()).await?;
            systems.insert(SystemId::from(name.as_str()), system);
        }
        let (events, receivers) = events(&config, &plans, &systems, &books.clock)?;
        Ok(Host {
            config,
            books,
            systems,
            plans,
            events,
            receivers,
        })
    }

    /// Where everything stands.
    pub async fn status(&self) -> Result<Status> {
        self.books.status().await
    }

    /// What is known of a record and what was decided about it. `entity` is an entity's or a sync's name, `record` is `system:id`.
    pub async fn explain(&self, entity: &str, record: &str) -> Result<Explanation> {
        self.books.explain(entity, record).await
    }

    /// Records set aside, waiting ones included, at most `max`.
    pub async fn parked(&self, max: usize) -> Result<Vec<ParkedRecord>> {
        self.books.parked(max).await
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "host of {} ({} systems)",
            self.config.tenant,
            self.systems.len()
        )
    }
}
