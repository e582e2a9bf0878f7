//! The contract, implemented thinly over the client.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::mapping::SideMapping;
use seamless_core::{
    Capabilities, DependentOptions, EntityInfo, EntityName, ExternalKey, ListRequest, Lookup, NativeRecord,
    Nudge, OpenContext, Page, PluginInfo, Priority, Reader, RecordId, Remark, Result, Source, SourcePlugin,
    Target, TargetPlugin, Usage, UsedFields, WebhookCall, Write, Written,
};

use crate::client::Client;
use crate::config::AutotaskSettings;
use crate::entity::Entity;

/// The Autotask connector, kind `autotask`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Autotask;

const INFO: PluginInfo = PluginInfo {
    kind: "autotask",
    summary: "Autotask PSA through its REST API V1.0",
};

#[async_trait]
impl SourcePlugin for Autotask {
    fn info(&self) -> PluginInfo {
        INFO
    }

    fn validate(&self, settings: &serde_json::Value) -> Result<()> {
        AutotaskSettings::parse(settings).map(drop)
    }

    /// None of its own: the default mappings are with the entities.
    fn default_mapping(&self, _: &serde_json::Value, _: &EntityName) -> Result<Option<SideMapping>> {
        Ok(None)
    }

    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Connector::open(ctx)?))
    }
}

#[async_trait]
impl TargetPlugin for Autotask {
    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Target>> {
        Ok(Arc::new(Connector::open(ctx)?))
    }
}

struct Connector(Arc<Client>);

impl Connector {
    fn open(ctx: &OpenContext) -> Result<Connector> {
        Ok(Connector(ctx.shared.get_or_try_init(|| Client::new(ctx))?))
    }
}

#[async_trait]
impl Reader for Connector {
    fn capabilities(&self, entity: &str) -> Capabilities {
        let settings = &self.0.settings;
        Capabilities {
            incremental: Entity::named(entity).is_ok_and(|entity| entity.stamp.is_some()),
            // Some stamps are kept in whole seconds.
            cursor_granularity: Duration::from_secs(1),
            cursor_overlap: Duration::from_secs(settings.overlap_secs),
            external_key: ExternalKey::Searchable,
            compare_and_set: false,
            ascending_ids: true,
            omits_empty: false,
            find_batch_max: crate::read::IN_VALUES_MAX,
            write_concurrency: settings.concurrency_per_endpoint,
            settle_after: Duration::from_secs(settings.settle_after_secs),
            search_lag_max: Duration::from_secs(settings.search_lag_secs),
        }
    }

    async fn describe(&self, entity: &str) -> Result<EntityInfo> {
        self.0.describe(Entity::named(entity)?).await
    }

    async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        self.0.fetch(entity, ids).await
    }

    async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        self.0.find(entity, lookups).await
    }

    async fn ping(&self) -> Result<()> {
        self.0.ping().await
    }

    fn narrow(&self, entity: &str, used: &UsedFields) {
        self.0.narrow(entity, used);
    }

    async fn dependent_options(&self, entity: &str) -> Result<Vec<DependentOptions>> {
        Ok(self.0.facts(Entity::named(entity)?).await?.dependents.clone())
    }

    async fn examine(&self, entities: &[String]) -> Result<Vec<Remark>> {
        self.0.examine(entities).await
    }

    fn set_priority(&self, priority: Priority) {
        self.0.gate.set_priority(priority);
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.0.gate.usage())
    }
}

#[async_trait]
impl Source for Connector {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        self.0.list(request).await
    }

    async fn survey(&self, request: &ListRequest) -> Result<Page> {
        self.0.survey(request).await
    }

    fn verify_webhook(&self, call: &WebhookCall) -> Result<Vec<Nudge>> {
        self.0.event(call)
    }
}

#[async_trait]
impl Target for Connector {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        self.0.write(writes).await
    }
}
