//! The plugin: makes connectors from settings.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use seamless_core::mapping::SideMapping;
use seamless_core::{
    Capabilities, EntityInfo, EntityName, Error, Event, ListRequest, Lookup, NativeRecord, Nudge,
    OpenContext, Page, PluginInfo, Reader, RecordId, Remark, Result, Source, SourcePlugin, Target,
    TargetPlugin, WebhookCall, Write, Written,
};
use serde_json::Value as Json;

use crate::answer::changed_nothing;
use crate::connector::Connector;
use crate::settings::Settings;

/// The connector plugin of kind `rest`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest;

const INFO: PluginInfo = PluginInfo {
    kind: "rest",
    summary: "any REST system, described by one manifest",
};

#[async_trait]
impl SourcePlugin for Rest {
    fn info(&self) -> PluginInfo {
        INFO
    }

    /// Besides the settings it reads the manifest that they name: a part of the configuration in a file of its own, whose
    /// mistakes an offline check has to find.
    fn validate(&self, settings: &Json) -> Result<()> {
        let settings = Settings::parse(settings)?;
        settings.http(&settings.load()?).map(drop)
    }

    fn default_mapping(&self, settings: &Json, entity: &EntityName) -> Result<Option<SideMapping>> {
        Ok(Settings::parse(settings)?.load()?.mapping(entity))
    }

    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Source>> {
        Ok(open(ctx)?)
    }
}

#[async_trait]
impl TargetPlugin for Rest {
    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Target>> {
        Ok(open(ctx)?)
    }
}

fn open(ctx: &OpenContext) -> Result<Arc<Connector>> {
    let named = |error: Error| {
        if error.context("system").is_some() {
            error
        } else {
            error.with("system", &ctx.system)
        }
    };
    ctx.shared.get_or_try_init(|| Connector::open(ctx)).map_err(named)
}

#[async_trait]
impl Reader for Connector {
    fn capabilities(&self, entity: &str) -> Capabilities {
        self.capabilities(entity)
    }

    async fn describe(&self, entity: &str) -> Result<EntityInfo> {
        self.describe(entity).await.map_err(changed_nothing)
    }

    async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        self.fetch(entity, ids).await.map_err(changed_nothing)
    }

    async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        self.find(entity, lookups).await.map_err(changed_nothing)
    }

    async fn ping(&self) -> Result<()> {
        self.ping().await
    }

    async fn examine(&self, entities: &[String]) -> Result<Vec<Remark>> {
        self.examine(entities).await
    }
}

#[async_trait]
impl Source for Connector {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        self.list(request).await.map_err(changed_nothing)
    }

    fn verify_webhook(&self, call: &WebhookCall) -> Result<Vec<Nudge>> {
        self.event(call)
    }
}

#[async_trait]
impl Target for Connector {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        // How many are really under way at once is the client's business: it counts the calls of each entity.
        join_all(writes.iter().map(|write| self.write_one(write))).await
    }

    fn takes_events(&self) -> BTreeSet<String> {
        self.manifest.events.keys().cloned().collect()
    }

    async fn tell(&self, event: &Event, send_by: Duration) -> Result<()> {
        self.tell_event(event, send_by).await
    }
}
