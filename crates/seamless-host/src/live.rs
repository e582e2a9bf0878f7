//! What the live systems look like, for `init --live`.

use std::sync::Arc;

use seamless_core::{Clock, FieldInfo, Result, Side, SystemId};
use serde::Serialize;

use crate::build::plan_syncs;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::connect::{Live, describe, live_of};
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
