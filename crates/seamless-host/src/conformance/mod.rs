//! `check --conformance`: does a live system keep what its connector declares? Each case tries one promise and says what was observed.
//!
//! Nothing is written unless the caller asks for it, and then only to records that were made here. The suite that breaks a system on purpose
//! (lost answers, hostile pages) lives in `seamless-testkit`; a live system can only be watched.

mod finding;
mod ground;
mod reading;
#[cfg(test)]
mod tests;
mod writing;

use std::sync::Arc;

use seamless_core::{Capabilities, Clock, Error, ErrorKind, ExternalKey, Result, Side};
use serde::Serialize;

use crate::build::plan_syncs;
use crate::clock::SystemClock;
use crate::config::{Config, hint};
use crate::host::Plugins;
use crate::socket::is_served;
use ground::Ground;

/// What to try.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// Only this system; every one without it.
    pub system: Option<String>,
    /// Make a record of each entity in that system, change it, and take it away again.
    pub write: bool,
}

/// What one entity of one system promises, and what was seen of it.
#[derive(Clone, Debug, Serialize)]
pub struct Badge {
    /// The system.
    pub system: String,
    /// Native entity.
    pub entity: String,
    /// What the connector declares.
    pub declared: Declared,
    /// Records that were looked at.
    pub records: usize,
    /// What was tried, in order.
    pub cases: Vec<Tried>,
    /// Records made here that could not be taken away again.
    pub left_behind: Vec<LeftBehind>,
}

/// A record that is still there.
#[derive(Clone, Debug, Serialize)]
pub struct LeftBehind {
    /// Its id.
    pub id: String,
    /// Why it could not be taken away.
    pub reason: String,
}

/// [`Capabilities`], for people and scripts.
#[derive(Clone, Debug, Serialize)]
pub struct Declared {
    /// Lists can be asked for changes only.
    pub incremental: bool,
    /// Resolution of stamps.
    pub granularity_ms: u64,
    /// How far behind the cursor polls read again.
    pub overlap_secs: u64,
    /// How a create is found again: `unique`, `searchable` or `none`.
    pub external_key: &'static str,
    /// A write can depend on the version that was read.
    pub compare_and_set: bool,
    /// Ids are numbers that only rise.
    pub ascending_ids: bool,
    /// Records leave out what is empty.
    pub omits_empty: bool,
    /// Values in one search.
    pub find_batch_max: usize,
    /// Writes at once.
    pub write_concurrency: usize,
    /// How long a call can still land after its answer was lost.
    pub settle_after_secs: u64,
    /// How long a new record can be invisible to a search.
    pub search_lag_secs: u64,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// What was tried.
    pub case: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen, or why nothing could be.
    pub sentence: String,
}

/// How a case came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As declared, as far as can be seen.
    Kept,
    /// Not as declared: records would be lost, doubled or overwritten, or work would stop.
    Broken,
    /// There was nothing to see it by.
    NotShown,
}

impl Badge {
    /// How many cases came out so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.cases.iter().filter(|tried| tried.outcome == outcome).count()
    }
}

/// Tries the systems of a tenant. May run beside a running host, unless it writes: the host would carry the new record over.
pub async fn conform(config: &Config, plugins: &Plugins, probe: &Probe) -> Result<Vec<Badge>> {
    plugins.validate(config)?;
    let plans = plan_syncs(config, plugins)?;
    allow(config, probe)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut badges: Vec<Badge> = Vec::new();
    for plan in &plans {
        for side in Side::BOTH {
            let system = plan.systems[side.index()].as_str();
            let entity = &plan.mappings[side.index()].entity;
            let is_done = |badge: &Badge| badge.system == system && badge.entity == *entity;
            if probe.system.as_deref().is_some_and(|only| only != system) || badges.iter().any(is_done) {
                continue;
            }
            // Two instances that know nothing of each other, as before and after a restart.
            let first = plugins.open(config, system, clock.clone()).await?;
            let second = plugins.open(config, system, clock.clone()).await?;
            let badge = Ground::new(plan, side, [first, second], clock.clone())
                .badge(probe.write)
                .await;
            badges.push(badge.map_err(|error| named(error, system, entity))?);
        }
    }
    Ok(badges)
}

fn named(error: Error, system: &str, entity: &str) -> Error {
    let error = match error.context("system") {
        Some(_) => error,
        None => error.with("system", system),
    };
    match error.context("entity") {
        Some(_) => error,
        None => error.with("entity", entity),
    }
}

fn allow(config: &Config, probe: &Probe) -> Result<()> {
    let known: Vec<&str> = config.systems.keys().map(String::as_str).collect();
    match &probe.system {
        Some(system) if !config.systems.contains_key(system) => Err(Error::config(format!(
            "there is no system '{system}'{}",
            hint(system, &known)
        ))),
        None if probe.write => Err(Error::config(format!(
            "say in which system records may be made: --conformance {}",
            known.join(" or ")
        ))),
        _ if probe.write && is_served(&config.data_dir) => Err(Error::new(
            ErrorKind::Refused,
            "a host is running, and would carry the record made here over to the other system; stop it first",
        )),
        _ => Ok(()),
    }
}

impl Ground<'_> {
    /// Runs every case.
    async fn badge(mut self, write: bool) -> Result<Badge> {
        self.patiently(async || self.source().ping().await).await?;
        self.look().await?;
        let mut cases = reading::cases(&self).await?;
        cases.extend(finding::cases(&self).await?);
        let mut left_behind = Vec::new();
        if write {
            let (tried, left) = writing::cases(&self).await?;
            cases.extend(tried);
            left_behind = left;
        }
        Ok(Badge {
            system: self.system().to_owned(),
            entity: self.entity().to_owned(),
            declared: Declared::from(&self.capabilities),
            records: self.sample.len(),
            cases,
            left_behind,
        })
    }
}

impl From<&Capabilities> for Declared {
    fn from(can: &Capabilities) -> Declared {
        Declared {
            incremental: can.incremental,
            granularity_ms: u64::try_from(can.cursor_granularity.as_millis()).unwrap_or(u64::MAX),
            overlap_secs: can.cursor_overlap.as_secs(),
            external_key: match can.external_key {
                ExternalKey::Unique => "unique",
                ExternalKey::Searchable => "searchable",
                ExternalKey::None => "none",
            },
            compare_and_set: can.compare_and_set,
            ascending_ids: can.ascending_ids,
            omits_empty: can.omits_empty,
            find_batch_max: can.find_batch_max,
            write_concurrency: can.write_concurrency,
            settle_after_secs: can.settle_after.as_secs(),
            search_lag_secs: can.search_lag_max.as_secs(),
        }
    }
}

/// Why a case ends early.
enum Stop {
    Broken(String),
    NotShown(String),
    /// The system does not answer now, or does not let us in: nothing can be tried.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error.kind {
            ErrorKind::Auth | ErrorKind::Unavailable | ErrorKind::RateLimited => Stop::Failed(error),
            _ => Stop::Broken(error.message().to_owned()),
        }
    }
}

/// What a case saw.
type Seen = Result<String, Stop>;

/// A case as it is told; an error where nothing more can be tried.
fn told(case: impl Into<String>, seen: Seen) -> Result<Tried> {
    let (outcome, sentence) = match seen {
        Ok(sentence) => (Outcome::Kept, sentence),
        Err(Stop::Broken(sentence)) => (Outcome::Broken, sentence),
        Err(Stop::NotShown(sentence)) => (Outcome::NotShown, sentence),
        Err(Stop::Failed(error)) => return Err(error),
    };
    Ok(Tried {
        case: case.into(),
        outcome,
        sentence,
    })
}

/// Ends the case, with a formatted reason, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err(crate::conformance::Stop::Broken(format!($($reason)+)));
        }
    };
}
use ensure;
