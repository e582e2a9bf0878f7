//! Reaching the systems before work starts: do they answer, and are they as the mappings say?

use std::collections::BTreeMap;
use std::sync::Arc;

use seamless_core::mapping::Severity;
use seamless_core::pipeline::{Engine, Rebuilt, Rows, SyncSpec, System, WriteBack};
use seamless_core::{
    Clock, EntityInfo, Error, ErrorKind, Expect, Network, Op, Result, Side, SystemId, Table, UsedFields,
};

use crate::books::Books;
use crate::build::{SyncPlan, natives, plan_syncs};
use crate::config::Config;
use crate::host::{Host, Plugins};

/// Live descriptions by system and native entity.
pub(crate) type Live = BTreeMap<(SystemId, String), EntityInfo>;

impl Host {
    /// Asks one system whether it answers, and what its entities look like.
    pub(crate) async fn describe(&self, system: &SystemId) -> Result<Live> {
        describe(&self.plans, system, &self.systems[system]).await
    }

    /// The engine for these live systems; refuses where a mapping cannot work.
    pub(crate) async fn engine(&self, live: &Live, accepted: bool) -> Result<Arc<Engine>> {
        let gone = self.books.gone(live).await?;
        let mut syncs = Vec::new();
        for plan in self.plans.iter() {
            let plan = plan.without(&gone);
            syncs.push(live_spec(&plan, &self.systems, live, accepted)?);
        }
        narrow(&self.systems, &syncs);
        self.books
            .engine(syncs, self.systems.clone(), self.events.clone())
    }

    /// Reaches every system and makes the engine; nothing is written.
    pub(crate) async fn reach(&self) -> Result<Arc<Engine>> {
        let mut live = Live::new();
        for system in self.systems.keys() {
            live.extend(self.describe(system).await?);
        }
        self.engine(&live, false).await
    }

    /// After a lost store: links every pair of records that name each other, by sync. Writes nothing to the systems.
    pub async fn rebuild_links(&self) -> Result<BTreeMap<String, Rebuilt>> {
        self.reach().await?.rebuild_links().await
    }
}

/// What an engine works with: the systems of a tenant, opened and asked what they are, and the syncs on them.
pub struct Assembled {
    /// The systems by name.
    pub systems: BTreeMap<SystemId, System>,
    /// The syncs, parents first.
    pub syncs: Vec<SyncSpec>,
}

/// Opens the systems of a tenant and asks them what they are, as a host does at its start; first merges count as accepted. For whoever brings store, bus
/// and workers of their own, and perhaps a network: a simulator.
pub async fn assemble(
    config: &Config,
    plugins: &Plugins,
    clock: Arc<dyn Clock>,
    network: Option<Arc<dyn Network>>,
) -> Result<Assembled> {
    plugins.validate(config)?;
    let plans = plan_syncs(config, plugins)?;
    let (mut systems, mut live) = (BTreeMap::new(), Live::new());
    for name in config.systems.keys() {
        let id = SystemId::from(name.as_str());
        let system = plugins
            .open_over(network.clone(), config, name, clock.clone())
            .await?;
        live.extend(describe(&plans, &id, &system).await?);
        systems.insert(id, system);
    }
    let specs = plans
        .iter()
        .map(|plan| live_spec(plan, &systems, &live, true))
        .collect::<Result<Vec<_>>>()?;
    narrow(&systems, &specs);
    Ok(Assembled {
        systems,
        syncs: specs,
    })
}

/// A sync on live systems; refuses where a mapping cannot work.
fn live_spec(
    plan: &SyncPlan,
    systems: &BTreeMap<SystemId, System>,
    live: &Live,
    accepted: bool,
) -> Result<SyncSpec> {
    refuse_what_cannot_work(plan, live)?;
    let capabilities = Side::BOTH.map(|side| {
        systems[&plan.systems[side.index()]]
            .source
            .capabilities(&plan.mappings[side.index()].entity)
    });
    let described = Side::BOTH.map(|side| live_of(plan, side, live));
    Ok(plan.spec(capabilities, Some(&described), accepted))
}

/// Tells the connectors which fields are used at all.
fn narrow(systems: &BTreeMap<SystemId, System>, syncs: &[SyncSpec]) {
    let mut used: BTreeMap<(SystemId, String), UsedFields> = BTreeMap::new();
    for side in syncs.iter().flat_map(|sync| &sync.sides) {
        let key = (side.system.clone(), side.mapping.entity.clone());
        let (all, of_side) = (used.entry(key).or_default(), side.mapping.used());
        all.mapped.extend(of_side.mapped);
        all.xrefs.extend(of_side.xrefs);
    }
    for ((system, entity), used) in used {
        let system = &systems[&system];
        system.source.narrow(&entity, &used);
        system.target.narrow(&entity, &used);
    }
}

/// What a live system says of the entity on a side of a sync.
pub(crate) fn live_of(plan: &SyncPlan, side: Side, live: &Live) -> EntityInfo {
    let key = (
        plan.systems[side.index()].clone(),
        plan.mappings[side.index()].entity.clone(),
    );
    live.get(&key).cloned().unwrap_or_default()
}

/// Pings a system and describes its entities.
pub(crate) async fn describe(plans: &[SyncPlan], name: &SystemId, system: &System) -> Result<Live> {
    system.source.ping().await.map_err(|error| named(error, name))?;
    let mut live = Live::new();
    for native in natives(plans).remove(name).unwrap_or_default() {
        let info = system
            .source
            .describe(&native)
            .await
            .map_err(|error| named(error, name))?;
        live.insert((name.clone(), native), info);
    }
    Ok(live)
}

/// An error that says which system it is about.
pub(crate) fn named(error: Error, system: &SystemId) -> Error {
    if error.context("system").is_some() {
        error
    } else {
        error.with("system", system)
    }
}

/// Writing without a cross-reference field, or to fields that are not there, would make records that cannot be found again.
fn refuse_what_cannot_work(plan: &SyncPlan, live: &Live) -> Result<()> {
    for side in Side::BOTH {
        let info = live_of(plan, side, live);
        let problems = plan.used_mapping(side, &info).check(&info);
        let wrong: Vec<_> = problems
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error)
            .collect();
        let Some(first) = wrong.first() else { continue };
        let more = match wrong.len() {
            1 => String::new(),
            more => format!("; {} more, see `seamless check`", more - 1),
        };
        let message = format!("{}: {}{more}", plan.id, first.sentence);
        return Err(Error::new(ErrorKind::Refused, message).with("system", &plan.systems[side.index()]));
    }
    Ok(())
}

impl Books {
    /// Write-backs that were parked get another chance after a good check.
    pub(crate) async fn retry_write_backs(&self) -> Result<()> {
        let mut ops = Vec::new();
        self.each(Table::WriteBack, "", |key, row| {
            let write_back: WriteBack = Rows::plain(&key, &row)?;
            if write_back.parked.is_some() {
                let again = WriteBack {
                    parked: None,
                    tries: 0,
                    due: self.clock.now(),
                    ..write_back
                };
                ops.push(Rows::put_plain(key, Expect::Version(row.version), &again)?);
            }
            Ok(true)
        })
        .await?;
        self.commit_in_pages(ops).await
    }

    async fn commit_in_pages(&self, ops: Vec<Op>) -> Result<()> {
        for page in ops.chunks(500) {
            self.store.commit(page.to_vec()).await?;
        }
        Ok(())
    }
}
