//! The bus of a tenant: opened, looked at, and set up in its namespace.

use std::sync::Arc;

use seamless_core::memory::MemoryStore;
use seamless_core::pipeline::event_subscription;
use seamless_core::{Bus, Clock, Error, Result, StateStore};
use seamless_servicebus::{Blueprint, BusPlan, Provisioner, ServiceBus};

use crate::clock::SystemClock;
use crate::config::{BusKind, Config};

/// The bus that is configured; none when messages wait in the data folder.
pub(crate) fn open(
    config: &Config,
    clock: Arc<dyn Clock>,
    store: Arc<dyn StateStore>,
) -> Result<Option<Arc<dyn Bus>>> {
    Ok(match config.service_bus()? {
        None => None,
        Some((BusKind::ServiceBus, settings)) => Some(Arc::new(ServiceBus::new(settings, clock, store)?)),
        #[cfg(feature = "service-bus-https")]
        Some((BusKind::ServiceBusHttps, settings)) => {
            let bus = seamless_servicebus::ServiceBusHttps::new(settings, clock, store)?;
            Some(Arc::new(bus))
        }
        #[cfg(not(feature = "service-bus-https"))]
        Some((BusKind::ServiceBusHttps, _)) => {
            return Err(Error::config(
                "this program was built without the HTTPS transport (feature service-bus-https); use kind = \"service-bus\"",
            ));
        }
    })
}

/// How the bus is reached and who opens it, for people; none when messages wait in the data folder. Makes no call.
pub(crate) fn described(config: &Config) -> Result<Option<String>> {
    Ok(config.service_bus()?.map(|(_, settings)| {
        let by = settings
            .identity
            .map_or("a shared access key".to_owned(), |identity| identity.to_string());
        format!("{}, opened by {by}", settings.connection.host())
    }))
}

/// Looks whether the bus has what the tenant needs; none when messages wait in the data folder. May run beside a running host.
pub(crate) async fn verify(config: &Config) -> Option<Result<()>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    match open(config, clock, Arc::new(MemoryStore::new())) {
        Ok(None) => None,
        Ok(Some(bus)) => Some(bus.verify(&subscriptions(config)).await),
        Err(error) => Some(Err(error)),
    }
}

/// A subscription for each system, of its name, and one for each who is told of events.
pub(crate) fn subscriptions(config: &Config) -> Vec<String> {
    let told = config.events.keys().map(|name| event_subscription(name));
    config.systems.keys().cloned().chain(told).collect()
}

/// What has to be done in the namespace of `[bus]`. Changes nothing.
pub async fn plan_bus(config: &Config) -> Result<BusPlan> {
    let (provisioner, blueprint) = provisioner(config)?;
    provisioner.plan(&blueprint).await
}

/// Makes a plan for the namespace of `[bus]` and carries it out; the plan tells what was done. One that has refusals changes nothing.
pub async fn apply_bus(config: &Config) -> Result<BusPlan> {
    let (provisioner, blueprint) = provisioner(config)?;
    let plan = provisioner.plan(&blueprint).await?;
    if plan.refusals.is_empty() {
        provisioner.apply(&plan).await?;
    }
    Ok(plan)
}

fn provisioner(config: &Config) -> Result<(Provisioner, Blueprint)> {
    let Some((kind, settings)) = config.service_bus()? else {
        let message = "there is no [bus] in the configuration: messages wait in the data folder, and nothing has to be set up";
        return Err(Error::config(message));
    };
    let blueprint = settings.blueprint(&subscriptions(config), kind == BusKind::ServiceBus);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Ok((Provisioner::new(&settings, clock)?, blueprint))
}
