//! `check`: will this configuration work? Changes nothing, anywhere.

mod coverage;
mod pair;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use seamless_core::mapping::Severity;
use seamless_core::pipeline::{Policy, System};
use seamless_core::{Clock, Date, Error, ErrorKind, ExternalKey, Side, SystemId};
use serde::Serialize;

pub use self::coverage::{Coverage, FieldCoverage, SAMPLE_DEFAULT};
use crate::build::{SyncPlan, natives, plan_syncs};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::connect::{Live, describe, live_of};
use crate::host::Plugins;
use crate::keys;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Fine.
    Ok,
    /// Works, but worth knowing.
    Note,
    /// Some records will be set aside.
    Warning,
    /// Does not work.
    Error,
}

/// Something found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about (`system crm`, `sync account`, `keys`, …).
    pub about: String,
    /// What was found, and what to do about it.
    pub sentence: String,
    /// The error's kind, where one was met.
    #[serde(skip)]
    pub kind: Option<ErrorKind>,
}

/// Everything found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// In the order of the checks.
    pub findings: Vec<Finding>,
    /// What the mappings would do to records that are there: one for each sync and direction.
    pub coverage: Vec<Coverage>,
}

impl Report {
    /// The first error.
    pub fn error(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.level == Level::Error)
    }

    /// How many findings there are of a level.
    pub fn count(&self, level: Level) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    }

    fn add(&mut self, level: Level, about: impl Into<String>, sentence: impl Into<String>) {
        self.findings.push(Finding {
            level,
            about: about.into(),
            sentence: sentence.into(),
            kind: None,
        });
    }

    fn fail(&mut self, about: impl Into<String>, error: &Error) {
        let sentence = error.to_string();
        self.findings.push(Finding {
            level: Level::Error,
            about: about.into(),
            sentence,
            kind: Some(error.kind),
        });
    }
}

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// Make no call.
    Offline,
    /// Ask the live systems, and read up to this many records of each entity to count what the mappings do to them.
    Live {
        /// Records; 0 reads none.
        sample: usize,
    },
}

/// Checks a configuration. May run beside a running host.
pub async fn check(config: &Config, plugins: &Plugins, reach: Reach) -> Report {
    let mut report = Report::default();
    match keys::load(config) {
        Ok(_) => report.add(Level::Ok, "keys", "the keyset can be read"),
        Err(error) => report.fail("keys", &error),
    }
    match data_folder(&config.data_dir) {
        Ok((level, sentence)) => report.add(level, "data folder", sentence),
        Err(error) => report.fail("data folder", &error),
    }
    let bus = crate::bus::described(config);
    match &bus {
        Ok(None) => {}
        Ok(Some(sentence)) => report.add(Level::Ok, "bus", sentence),
        Err(error) => report.fail("bus", error),
    }
    if let Err(error) = plugins.validate(config) {
        report.fail("systems", &error);
        return report;
    }
    let plans = match plan_syncs(config, plugins) {
        Ok(plans) => plans,
        Err(error) => {
            report.fail("syncs", &error);
            return report;
        }
    };
    for plan in &plans {
        sync(&mut report, plan);
    }
    if plans.len() > 1 {
        let order: Vec<&str> = plans.iter().map(|plan| plan.id.as_str()).collect();
        report.add(
            Level::Ok,
            "order",
            format!("records that others refer to come first: {}", order.join(", ")),
        );
    }
    systems(&mut report, config, plugins, &plans, reach).await;
    if matches!(reach, Reach::Live { .. }) && bus.is_ok() {
        match crate::bus::verify(config).await {
            None => {}
            Some(Ok(())) => report.add(Level::Ok, "bus", "topic and subscriptions are as they have to be"),
            Some(Err(error)) => report.fail("bus", &error),
        }
    }
    report
}

fn sync(report: &mut Report, plan: &SyncPlan) {
    let about = format!("sync {}", plan.id);
    let owner = &plan.systems[plan.owner.index()];
    let mapped = plan.mappings[0]
        .fields
        .keys()
        .filter(|name| plan.mappings[1].fields.contains_key(*name))
        .count();
    report.add(
        Level::Ok,
        &about,
        format!("{}, {mapped} fields, {owner} wins conflicts", plan.flow()),
    );
    for side in Side::BOTH {
        let system = &plan.systems[side.index()];
        let mapping = &plan.mappings[side.index()];
        if mapping.xref.is_none() {
            let sentence = format!(
                "{} in {system} has no cross-reference field: after a lost answer or a lost database its records are recognised by the match rules alone",
                mapping.entity
            );
            report.add(Level::Warning, &about, sentence);
        }
    }
    if plan.model.match_rules.is_empty() {
        let sentence = format!(
            "{} has no match rule: records that exist on both sides already are not recognised and will be created again; add [[syncs.{}.match]]",
            plan.model.name, plan.id
        );
        report.add(Level::Warning, &about, sentence);
    }
}

async fn systems(report: &mut Report, config: &Config, plugins: &Plugins, plans: &[SyncPlan], reach: Reach) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut open = BTreeMap::new();
    let mut live = Live::new();
    let mut all_answer = true;
    for name in config.systems.keys() {
        let about = format!("system {name}");
        let system = match plugins.open(config, name, clock.clone()).await {
            Ok(system) => system,
            Err(error) => {
                report.fail(&about, &error);
                all_answer = false;
                continue;
            }
        };
        let id = SystemId::from(name.as_str());
        match reach {
            Reach::Offline => report.add(Level::Ok, &about, "its settings and secrets are complete"),
            Reach::Live { .. } => match describe(plans, &id, &system).await {
                Ok(described) => {
                    report.add(Level::Ok, &about, "answers, and accepts the credentials");
                    prerequisites(report, plans, &id, &system).await;
                    live.extend(described);
                }
                Err(error) => {
                    report.fail(&about, &error);
                    all_answer = false;
                }
            },
        }
        windows(report, plans, name, &system);
        open.insert(id, system);
    }
    let Reach::Live { sample } = reach else {
        for plan in plans {
            pair::check(report, plan, &plan.mappings);
        }
        return;
    };
    if !all_answer {
        return;
    }
    let today = Date::of(clock.now()).unwrap_or_default();
    for plan in plans {
        mapping(report, plan, &live);
        let mappings = Side::BOTH.map(|side| plan.live_mapping(side, &live_of(plan, side, &live)));
        pair::check(report, plan, &mappings);
        for from in Side::BOTH {
            let system = open.get(&plan.systems[from.index()]);
            let Some(system) = system.filter(|_| sample > 0 && plan.direction.flows_from(from)) else {
                continue;
            };
            match coverage::coverage(plan, from, &mappings, system, sample, today).await {
                Ok(counted) => report.coverage.push(counted),
                Err(error) => report.fail(format!("system {}", plan.systems[from.index()]), &error),
            }
        }
    }
    report.add(
        Level::Note,
        "users",
        "give the host an API user of its own in each system: its changes are then told from people's in their histories",
    );
}

/// What has to be right in a system beside its fields.
async fn prerequisites(report: &mut Report, plans: &[SyncPlan], id: &SystemId, system: &System) {
    let about = format!("system {id}");
    let entities: Vec<String> = natives(plans)
        .remove(id)
        .unwrap_or_default()
        .into_iter()
        .collect();
    match system.source.examine(&entities).await {
        Ok(remarks) => {
            for remark in remarks {
                let level = if remark.wrong {
                    Level::Error
                } else {
                    Level::Warning
                };
                report.add(level, &about, remark.sentence);
            }
        }
        Err(error) => report.fail(&about, &error),
    }
}

/// What each system's API makes impossible, in plain words.
fn windows(report: &mut Report, plans: &[SyncPlan], name: &str, system: &System) {
    for plan in plans {
        let Some(side) = plan.side_of(name) else { continue };
        if !plan.direction.flows_from(side.other()) {
            continue;
        }
        let entity = &plan.mappings[side.index()].entity;
        let can = system.target.capabilities(entity);
        let mut fields = plan.model.fields.iter();
        if let Some((field, _)) = fields.find(|(_, spec)| spec.policy == Policy::Newest)
            && !can.incremental
        {
            let sentence = format!(
                "the policy of {field} is newest, but {entity} in {name} has no stamps to compare: the owner of the sync wins"
            );
            report.add(Level::Warning, format!("sync {}", plan.id), sentence);
        }
        if !can.compare_and_set {
            let sentence = format!(
                "{entity} in {name} has no compare-and-set: a person's edit of the same field within the moment between our read and our write is overwritten; \
                 its earlier value is kept in the ledger"
            );
            report.add(Level::Note, format!("sync {}", plan.id), sentence);
        }
        if can.external_key == ExternalKey::None {
            let sentence = format!(
                "{entity} in {name} cannot be searched by our id: a create whose answer is lost may have to be decided by a person"
            );
            report.add(Level::Warning, format!("sync {}", plan.id), sentence);
        }
    }
}

fn mapping(report: &mut Report, plan: &SyncPlan, live: &Live) {
    for side in Side::BOTH {
        let mut info = live_of(plan, side, live);
        if !plan.direction.flows_from(side.other()) {
            // No record is made here, so nothing is missing for one.
            info.fields.iter_mut().for_each(|field| field.required = false);
        }
        let about = format!("sync {}, {}", plan.id, plan.systems[side.index()]);
        let mut problems = plan.used_mapping(side, &info).check(&info);
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
        if problems.iter().all(|problem| problem.severity == Severity::Note) {
            report.add(
                Level::Ok,
                &about,
                format!("the mapping fits {}", plan.mappings[side.index()].entity),
            );
        }
        for problem in problems {
            let level = match problem.severity {
                Severity::Note => Level::Note,
                Severity::Warning => Level::Warning,
                Severity::Error => Level::Error,
            };
            report.add(level, &about, format!("{}: {}", problem.field, problem.sentence));
        }
    }
}

/// The folder is there and ours, or can be made.
fn data_folder(dir: &Path) -> Result<(Level, String), Error> {
    use std::os::unix::fs::MetadataExt;
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(about) if !about.is_dir() => Err(Error::config(format!(
            "{shown} is not a folder; name another data_dir"
        ))),
        Ok(about) if about.uid() != rustix::process::geteuid().as_raw() => Err(Error::config(format!(
            "{shown} belongs to another user; run as that user, or name another data_dir"
        ))),
        Ok(about) if about.mode() & 0o077 != 0 => Ok((
            Level::Warning,
            format!("{shown} can be read by others (its files cannot); run `chmod 700 {shown}`"),
        )),
        Ok(_) => Ok((Level::Ok, format!("{shown} is there and private"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok((Level::Ok, format!("{shown} will be made by the first run")))
        }
        Err(error) => Err(Error::config(format!("{shown} cannot be looked at: {error}"))),
    }
}
