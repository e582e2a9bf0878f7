//! The demo in figures: `demo --once --json`.

use std::collections::BTreeMap;

use seamless_host::{Host, RunSummary};
use serde::Serialize;
use serde_json::Value as Json;

use super::simulators::Simulators;
use super::story::Told;
use crate::exit::Exit;

/// What the demo came to. Counts are over all of its runs, unless they say otherwise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Accounts and contacts at the beginning, over both systems.
    pub(crate) records: usize,
    /// Where each entity stands at the end.
    pub(crate) entities: BTreeMap<String, EntityOutcome>,
    /// Records created.
    pub(crate) created: u64,
    /// Records updated.
    pub(crate) updated: u64,
    /// Pairs linked, newly created records included.
    pub(crate) linked: u64,
    /// Records that were read and dropped because nothing was new.
    pub(crate) unchanged: u64,
    /// Records set aside for a person at the end.
    pub(crate) parked: u64,
    /// Records waiting for a parent at the end.
    pub(crate) waiting: u64,
    /// Fields changed on both sides, or different when their records were first linked.
    pub(crate) conflicts: u64,
    /// By the sandbox's own count, not by our books.
    pub(crate) duplicates: u64,
    /// By the sandbox's own count, not by our books.
    pub(crate) lost_edits: u64,
    /// Edits that fell between a read and the write that followed it, where there is no compare-and-set: the open window.
    pub(crate) overtaken_edits: u64,
    /// By the sandbox's own count, not by our books.
    pub(crate) echo_writes: u64,
    /// Write calls of the last run, which had nothing to do.
    pub(crate) idle_writes: u64,
    pub(crate) autotask_calls: u64,
    pub(crate) crm_calls: u64,
    /// Of all runs.
    pub(crate) seconds: f64,
    /// Of this process, in which the host ran; null where the system does not tell.
    pub(crate) peak_rss_mb: Option<f64>,
    pub(crate) parked_by_reason: BTreeMap<String, ParkedReason>,
    /// People's edits and what became of them.
    pub(crate) story: Vec<Told>,
}

/// One entity at the end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EntityOutcome {
    /// Which way it flows.
    pub(crate) flow: String,
    /// Pairs.
    pub(crate) linked: u64,
    /// Records set aside for a person.
    pub(crate) parked: u64,
    /// Records waiting for a parent.
    pub(crate) waiting: u64,
}

/// Records set aside for one reason.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ParkedReason {
    pub(crate) count: u64,
    /// One of them.
    pub(crate) record: String,
    /// Why, and what to do.
    pub(crate) example: String,
}

/// Parked records looked through for an example of each reason.
const EXAMPLES_MAX: usize = 2_000;

impl Outcome {
    pub(crate) async fn gather(
        records: usize,
        runs: &[RunSummary],
        story: Vec<Told>,
        idle_writes: u64,
        simulators: &Simulators,
        host: &Host,
    ) -> anyhow::Result<Outcome> {
        let sum = |name: &str| runs.iter().map(|run| run.counter(name)).sum();
        let truth = simulators.truth().await?;
        let stats = simulators.stats().await?;
        let number = |json: &Json| json.as_u64().unwrap_or_default();
        let last = runs.last();
        Ok(Outcome {
            records,
            entities: by_entity(host).await?,
            created: sum("created"),
            updated: sum("updated"),
            linked: sum("linked"),
            unchanged: sum("unchanged"),
            parked: last.map_or(0, |run| run.parked),
            waiting: last.map_or(0, |run| run.waiting),
            conflicts: sum("conflicts"),
            duplicates: number(&truth["duplicates"]),
            lost_edits: number(&truth["lost_edits"]),
            overtaken_edits: number(&truth["overtaken_edits"]),
            echo_writes: number(&truth["echo_writes"]),
            idle_writes,
            autotask_calls: number(&stats["autotask"]["calls"]),
            crm_calls: number(&stats["crm"]["calls"]),
            seconds: runs.iter().map(|run| run.seconds).sum(),
            peak_rss_mb: peak_rss_mb(),
            parked_by_reason: by_reason(host).await?,
            story,
        })
    }

    /// Whether everything came out as promised.
    pub(crate) fn kept_its_promise(&self) -> bool {
        self.duplicates + self.lost_edits + self.echo_writes + self.idle_writes == 0
            && self.story.iter().all(|told| told.as_promised)
    }

    pub(crate) fn exit(&self) -> Exit {
        match (self.kept_its_promise(), self.parked) {
            (false, _) => Exit::Failure,
            (true, 0) => Exit::Done,
            (true, _) => Exit::Attention,
        }
    }
}

async fn by_entity(host: &Host) -> anyhow::Result<BTreeMap<String, EntityOutcome>> {
    let syncs = host.status().await?.syncs.into_iter();
    Ok(syncs
        .map(|sync| {
            let outcome = EntityOutcome {
                flow: sync.flow,
                linked: sync.linked,
                parked: sync.parked.values().sum(),
                waiting: sync.waiting,
            };
            (sync.entity, outcome)
        })
        .collect())
}

async fn by_reason(host: &Host) -> anyhow::Result<BTreeMap<String, ParkedReason>> {
    let mut reasons: BTreeMap<String, ParkedReason> = BTreeMap::new();
    for sync in host.status().await?.syncs {
        for (reason, count) in sync.parked {
            reasons.entry(reason).or_default().count += count;
        }
    }
    for parked in host.parked(EXAMPLES_MAX).await? {
        if let Some(reason) = reasons.get_mut(&parked.reason)
            && reason.example.is_empty()
        {
            (reason.record, reason.example) = (parked.record, parked.sentence);
        }
    }
    Ok(reasons)
}

/// The most memory this process ever held, where Linux tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    peak_of(&status)
}

fn peak_of(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / 1024.0 * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_line_that_linux_writes() {
        let status = "Name:\tseamless\nVmPeak:\t  999999 kB\nVmHWM:\t   51200 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_of(status), Some(50.0));
        assert_eq!(peak_of("Name:\tseamless\n"), None);
    }
}
