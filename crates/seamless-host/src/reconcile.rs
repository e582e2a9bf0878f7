//! `reconcile`: a pass over every record, now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::pipeline::{Conduct, Drift, DriftKind, DriftThen, Engine, Sweep, SweepStep};
use seamless_core::{Error, ErrorKind, Result, SyncId, Value};
use serde::{Deserialize, Serialize};

use crate::books::Books;
use crate::config::hint;
use crate::view::plain_text;

/// What a reconciliation found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reconciled {
    /// Records read.
    pub read: u64,
    /// Whether it was acted upon.
    pub repaired: bool,
    /// Records that are not as they were left, at most [`LISTED_MAX`].
    pub drift: Vec<DriftLine>,
    /// How many there are, by what is wrong with them.
    pub found: BTreeMap<String, u64>,
    /// How many of them stay as they are.
    pub remaining: u64,
}

/// A record that is not as it was left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DriftLine {
    /// The sync.
    pub sync: String,
    /// The record, as `system:id`, on the side where it was found.
    pub record: String,
    /// Its counterpart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// What is wrong with it.
    pub kind: DriftKind,
    /// What becomes of it.
    pub then: DriftThen,
    /// The fields that differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, DriftValues>,
}

/// A field that is not as it was left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DriftValues {
    /// What was settled; nothing if nothing ever was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What is there now.
    pub new: String,
}

/// Records listed; more are only counted.
pub const LISTED_MAX: usize = 10_000;
/// Between two tries while somebody else reconciles the entity.
const ELSEWHERE: Duration = Duration::from_millis(500);
/// How long to wait for somebody else's pass.
const ELSEWHERE_MAX: Duration = Duration::from_secs(900);

impl Books {
    /// Reconciles one sync or all of them; with `repair` what is found is acted upon, through the ordinary way of a change.
    pub(crate) async fn reconcile(
        &self,
        engine: &Arc<Engine>,
        sync: Option<&str>,
        repair: bool,
    ) -> Result<Reconciled> {
        let sync = sync.map(|name| self.sync_named(name)).transpose()?;
        if !engine.is_used().await? {
            let text =
                "nothing has been synced yet, so there is nothing to compare with; run `seamless run` first";
            return Err(Error::new(ErrorKind::Refused, text));
        }
        let conduct = if repair { Conduct::Repair } else { Conduct::Look };
        let mut report = Reconciled {
            repaired: repair,
            ..Reconciled::default()
        };
        for mut sweep in Sweep::all(engine, sync.as_ref(), conduct) {
            let done = self.pass(&mut sweep, &mut report).await;
            sweep.release().await?;
            done?;
        }
        Ok(report)
    }

    async fn pass(&self, sweep: &mut Sweep, report: &mut Reconciled) -> Result<()> {
        let started = self.clock.monotonic();
        loop {
            let (page, ended) = match sweep.step().await? {
                SweepStep::Page(page) => (page, false),
                SweepStep::End(page) => (page, true),
                SweepStep::Elsewhere => {
                    if self.clock.monotonic().saturating_sub(started) > ELSEWHERE_MAX {
                        let text = "the running host is reconciling this entity; ask again when it is done";
                        return Err(Error::unavailable(text)
                            .with("system", sweep.system())
                            .with("entity", sweep.entity()));
                    }
                    self.clock.sleep(ELSEWHERE).await;
                    continue;
                }
            };
            report.read += page.read as u64;
            for drift in page.drift {
                self.count(&drift, report);
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn count(&self, drift: &Drift, report: &mut Reconciled) {
        let kind = serde_json::to_value(drift.kind).unwrap_or_default();
        let kind = kind.as_str().unwrap_or("unknown").to_owned();
        *report.found.entry(kind).or_default() += 1;
        report.remaining += u64::from(!report.repaired || drift.then.stays());
        if report.drift.len() == LISTED_MAX {
            return;
        }
        let other = drift.other.as_ref().map(|id| {
            let side = drift.record.side.other();
            self.shown(&seamless_core::pipeline::RecordKey::new(
                &drift.record.sync,
                side,
                id,
            ))
        });
        report.drift.push(DriftLine {
            sync: drift.record.sync.to_string(),
            record: self.shown(&drift.record),
            other,
            kind: drift.kind,
            then: drift.then,
            fields: drift
                .fields
                .iter()
                .map(|(name, field)| {
                    let values = DriftValues {
                        old: field.settled.as_ref().map(text),
                        new: text(&field.found),
                    };
                    (name.clone(), values)
                })
                .collect(),
        });
    }

    fn sync_named(&self, name: &str) -> Result<SyncId> {
        let known: Vec<&str> = self.plans.iter().map(|plan| plan.id.as_str()).collect();
        if known.contains(&name) {
            return Ok(SyncId::from(name));
        }
        let text = format!("there is no sync '{}'{}", plain_text(name), hint(name, &known));
        Err(Error::new(ErrorKind::NotFound, text))
    }
}

fn text(value: &Value) -> String {
    value.to_plain().unwrap_or_default()
}
