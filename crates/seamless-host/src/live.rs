//! What the live systems look like, for `init --live`.

use std::sync::Arc;

use seamless_core::{Clock, DependentOptions, EntityInfo, Error, FieldInfo, Result, Side, SystemId};
use serde::Serialize;

use crate::build::{natives, plan_syncs};
use crate::clock::SystemClock;
use crate::config::{Config, hint};
use crate::connect::{Live, describe, live_of, named};
use crate::host::Plugins;

/// One side of a sync as the live system describes it.
#[derive(Clone, Debug, Serialize)]
pub struct LiveSide {
    /// The sync.
    pub sync: String,
    /// The system.
    pub system: String,
    /// Its entity.
    pub entity: String,
    /// Native field → canonical field it is mapped to.
    pub fields: Vec<LiveField>,
}

/// A live field and what it is mapped to.
#[derive(Clone, Debug, Serialize)]
pub struct LiveField {
    /// As the system describes it.
    pub info: FieldInfo,
    /// The canonical field mapped to it.
    pub canonical: Option<String>,
    /// It holds the other system's id.
    pub cross_reference: bool,
}

/// A native entity as the live system describes it.
#[derive(Clone, Debug, Serialize)]
pub struct Discovered {
    /// The system.
    pub system: String,
    /// The entity.
    pub entity: String,
    /// Fields, option lists, rights.
    #[serde(flatten)]
    pub info: EntityInfo,
    /// Option lists that depend on another field.
    pub dependent: Vec<DependentOptions>,
}

/// Asks a system, or all of them, what entities look like: this one, or those that some sync uses. Changes nothing.
pub async fn discover(
    config: &Config,
    plugins: &Plugins,
    system: Option<&str>,
    entity: Option<&str>,
) -> Result<Vec<Discovered>> {
    plugins.validate(config)?;
    let known: Vec<&str> = config.systems.keys().map(String::as_str).collect();
    if let Some(unknown) = system.filter(|system| !known.contains(system)) {
        let message = format!("there is no system '{unknown}'{}", hint(unknown, &known));
        return Err(Error::config(message));
    }
    let plans = plan_syncs(config, plugins)?;
    let used = natives(&plans);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut found = Vec::new();
    for name in known
        .into_iter()
        .filter(|name| system.is_none_or(|system| system == *name))
    {
        let id = SystemId::from(name);
        let open = plugins.open(config, name, clock.clone()).await?;
        let entities: Vec<String> = match entity {
            Some(entity) => vec![entity.to_owned()],
            None => used.get(&id).into_iter().flatten().cloned().collect(),
        };
        for entity in entities {
            let described = async {
                let info = open.source.describe(&entity).await?;
                Ok((info, open.source.dependent_options(&entity).await?))
            };
            let (info, dependent) = described.await.map_err(|error| named(error, &id))?;
            found.push(Discovered {
                system: name.to_owned(),
                entity,
                info,
                dependent,
            });
        }
    }
    Ok(found)
}

/// Asks every system of the configuration what its entities look like. Changes nothing.
pub async fn describe_live(config: &Config, plugins: &Plugins) -> Result<Vec<LiveSide>> {
    plugins.validate(config)?;
    let plans = plan_syncs(config, plugins)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut live = Live::new();
    for name in config.systems.keys() {
        let system = plugins.open(config, name, clock.clone()).await?;
        live.extend(describe(&plans, &SystemId::from(name.as_str()), &system).await?);
    }
    let mut sides = Vec::new();
    for plan in &plans {
        for side in Side::BOTH {
            let mapping = &plan.mappings[side.index()];
            let canonical = |info: &FieldInfo| {
                mapping
                    .fields
                    .iter()
                    .find(|(_, field)| field.native == info.name)
                    .map(|(name, _)| name.clone())
            };
            let info = live_of(plan, side, &live);
            sides.push(LiveSide {
                sync: plan.id.to_string(),
                system: plan.systems[side.index()].to_string(),
                entity: mapping.entity.clone(),
                fields: info
                    .fields
                    .into_iter()
                    .map(|info| LiveField {
                        canonical: canonical(&info),
                        cross_reference: mapping.xref.as_deref() == Some(info.name.as_str()),
                        info,
                    })
                    .collect(),
            });
        }
    }
    Ok(sides)
}
