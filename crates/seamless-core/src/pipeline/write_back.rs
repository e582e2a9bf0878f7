//! Write-back (R11): a new id goes into the other record's cross-reference field, as a write of its own.
//!
//! It needs no intent: writing the same id twice is writing it once. The store's link is the truth, so a failing write-back parks only itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::claims::{Claimant, Held};
use super::engine::{Engine, Seen};
use super::ledger::{Entry, Reason};
use super::state::{RecordKey, Rows, WriteBack};
use crate::contract::{Expect, Op, Row, RowKey, Scan, Side, Table, Write, WriteAction};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::record::{RecordId, SyncId};
use crate::value::{Fields, Value};

/// Writes ids back.
pub struct WriteBacker {
    engine: Arc<Engine>,
    claimant: Claimant,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteBackStep {
    /// Rows finished.
    pub done: usize,
    /// Rows still due later.
    pub left: usize,
    /// Rows parked.
    pub parked: usize,
}

/// Few enough that the records read are fresh when they are written.
const BATCH: usize = 50;

struct Job {
    row_key: RowKey,
    version: u64,
    record: RecordKey,
    row: WriteBack,
    held: Held,
}

impl WriteBacker {
    /// A write-backer.
    pub fn new(engine: &Arc<Engine>) -> WriteBacker {
        WriteBacker {
            engine: engine.clone(),
            claimant: Claimant::new(engine),
        }
    }

    /// Writes what is due back into one side of one sync. Cancel safe.
    pub async fn step(&self, sync: &SyncId, side: Side) -> Result<WriteBackStep> {
        let engine = &*self.engine;
        let sync = engine.sync(sync)?.clone();
        let prefix = format!("{}/{}/", sync.id, side.letter());
        let mut step = WriteBackStep::default();
        let mut after = None;
        let mut jobs = Vec::new();
        while jobs.len() < BATCH {
            let scan = Scan {
                table: Table::WriteBack,
                prefix: prefix.clone(),
                after: after.clone(),
                limit: 500,
            };
            let rows = engine.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, row) in rows {
                self.sort(&prefix, key, row, &sync.id, side, &mut jobs, &mut step)?;
            }
        }
        step.left += jobs.len().saturating_sub(BATCH);
        jobs.truncate(BATCH);
        if jobs.is_empty() {
            return Ok(step);
        }
        let keys: Vec<BTreeSet<String>> = jobs
            .iter()
            .map(|job| BTreeSet::from([engine.record_claim(&sync, side, &job.record.id)]))
            .collect();
        // Counted from before the claim, so that nothing is sent that somebody else may have decided otherwise meanwhile.
        let send_by = engine.clock.monotonic() + engine.timings.send_within;
        let granted = self.claimant.take(engine, &keys).await?;
        let mut held = Vec::new();
        for (mut job, claim) in jobs.into_iter().zip(granted) {
            match claim {
                Some(claim) => {
                    job.held = claim;
                    held.push(job);
                }
                None => step.left += 1,
            }
        }
        let written = self.write(&sync, side, held, send_by, &mut step).await;
        written.map(|()| step)
    }

    #[expect(clippy::too_many_arguments, reason = "the accumulators of one scan")]
    fn sort(
        &self,
        prefix: &str,
        key: String,
        row: Row,
        sync: &SyncId,
        side: Side,
        jobs: &mut Vec<Job>,
        step: &mut WriteBackStep,
    ) -> Result<()> {
        let Some(id) = key.strip_prefix(prefix).map(RecordId::from) else {
            return Ok(());
        };
        let row_key = RowKey::new(Table::WriteBack, key.clone());
        let write_back: WriteBack = Rows::plain(&row_key, &row)?;
        if write_back.parked.is_some() {
            step.parked += 1;
        } else if write_back.due > self.engine.clock.now() {
            step.left += 1;
        } else {
            let record = RecordKey::new(sync, side, &id);
            jobs.push(Job {
                row_key,
                version: row.version,
                record,
                row: write_back,
                held: Held::default(),
            });
        }
        Ok(())
    }

    async fn write(
        &self,
        sync: &crate::pipeline::SyncSpec,
        side: Side,
        jobs: Vec<Job>,
        send_by: Duration,
        step: &mut WriteBackStep,
    ) -> Result<()> {
        let engine = &*self.engine;
        let spec = sync.side(side);
        let ids: Vec<RecordId> = jobs.iter().map(|job| job.record.id.clone()).collect();
        let mut found = match engine.fetch(sync, side, &ids).await {
            Ok(found) => found,
            Err(error) => {
                release(engine, &jobs).await?;
                return Err(error);
            }
        };
        let Some(path) = &spec.mapping.xref else {
            return release(engine, &jobs).await;
        };
        let mut ops = Vec::new();
        let mut writing = Vec::new();
        for job in jobs {
            match found.remove(&job.record.id) {
                // Gone, or right already, or changed by a person: nothing to write.
                None => {
                    step.done += 1;
                    ops.extend(finished(engine, &job));
                }
                Some(seen) if !job.row.is_wanted(seen.observed.xref.as_deref()) => {
                    step.done += 1;
                    ops.extend(finished(engine, &job));
                }
                Some(seen) => writing.push((job, seen)),
            }
        }
        let write_of = |(job, seen): &(Job, Seen)| Write {
            entity: spec.mapping.entity.clone(),
            action: WriteAction::Update {
                current: Box::new(seen.native.clone()),
                fields: Fields::from([(path.clone(), Value::text(job.row.xref.0.clone()))]),
            },
            send_by,
        };
        let writes: Vec<Write> = writing.iter().map(write_of).collect();
        let mut stop = None;
        if !writes.is_empty() {
            let outcomes = engine.system(sync, side)?.target.write(&writes).await;
            let mut grouped: BTreeMap<String, u64> = BTreeMap::new();
            for ((job, _), outcome) in writing.iter().zip(outcomes) {
                match outcome {
                    Ok(_) => {
                        step.done += 1;
                        engine.counters.written_back.add(1);
                        ops.extend(finished(engine, job));
                    }
                    Err(error) => {
                        let row = self.after_failure(job, &error, step, &mut grouped, &mut ops)?;
                        ops.push(Rows::put_plain(
                            job.row_key.clone(),
                            Expect::Version(job.version),
                            &row,
                        )?);
                        ops.extend(job.held.releases(engine));
                        if matches!(error.kind, ErrorKind::Auth | ErrorKind::RateLimited) {
                            stop.get_or_insert(error);
                        }
                    }
                }
            }
            for (reason, count) in grouped {
                tracing::error!(count, %reason, "ids cannot be written back; the sync goes on without them");
            }
        }
        match engine.store.commit(ops).await {
            // A claim or a row changed hands: the others of this batch are done again, which is harmless.
            Err(error) if error.kind == ErrorKind::Conflict => {}
            done => drop(done?),
        }
        stop.map_or(Ok(()), Err)
    }

    fn after_failure(
        &self,
        job: &Job,
        error: &Error,
        step: &mut WriteBackStep,
        grouped: &mut BTreeMap<String, u64>,
        ops: &mut Vec<Op>,
    ) -> Result<WriteBack> {
        let engine = &*self.engine;
        let mut row = WriteBack {
            tries: job.row.tries + 1,
            unfound: error.kind == ErrorKind::NotFound,
            ..job.row.clone()
        };
        let definite = !error.is_transient()
            && error.effect == Effect::NotApplied
            && match error.kind {
                ErrorKind::Invalid | ErrorKind::Permission => true,
                // Gone since it was read, or never to be written: the next read tells, whatever else has failed before.
                ErrorKind::NotFound => job.row.unfound,
                _ => false,
            };
        if definite {
            step.parked += 1;
            *grouped.entry(error.message().to_owned()).or_default() += 1;
            row.parked = Some(error.message().to_owned());
            let note = format!("the id could not be written back: {}", error.message());
            let entry = Entry::new(engine.clock.now(), &job.record, Reason::WriteBackParked, note);
            ops.push(
                engine
                    .typed()
                    .put_sealed(entry.row(engine.salt()), Expect::Any, &entry)?,
            );
        } else {
            step.left += 1;
            let wait = engine
                .timings
                .defer_min
                .saturating_mul(1 << row.tries.min(10))
                .min(engine.timings.defer_max);
            row.due = engine.clock.now().plus(wait.max(Duration::from_millis(1)));
        }
        Ok(row)
    }
}

impl WriteBack {
    /// Whether the field, as it is, has to be written.
    fn is_wanted(&self, holds: Option<&str>) -> bool {
        let over = self.over.as_ref();
        holds.unwrap_or_default() != self.xref.as_str()
            && over.is_none_or(|over| holds == Some(over.as_str()))
    }
}

/// The operations that end a job.
fn finished(engine: &Engine, job: &Job) -> Vec<Op> {
    let mut ops = vec![Op::Delete {
        key: job.row_key.clone(),
        expect: Expect::Version(job.version),
    }];
    ops.extend(job.held.releases(engine));
    ops
}

async fn release(engine: &Engine, jobs: &[Job]) -> Result<()> {
    let ops = jobs.iter().flat_map(|job| job.held.releases(engine)).collect();
    match engine.store.commit(ops).await {
        Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
        done => done.map(drop),
    }
}
