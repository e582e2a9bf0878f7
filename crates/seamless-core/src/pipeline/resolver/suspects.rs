//! Records that were made a second time, after their create had got lost (R8): did the first one land after all?

use std::time::Duration;

use super::Resolver;
use crate::contract::{Expect, Lookup, Op, RowKey, Scan, Table};
use crate::error::{ErrorKind, Result};
use crate::mapping::{Observed, SideMapping};
use crate::pipeline::engine::Engine;
use crate::pipeline::ledger::{Entry, Reason};
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::{Link, Parked, RecordKey, Rows, Suspect, due_of, suspect_row};
use crate::value::Value;

/// When a re-created record is searched for again (R8).
pub(super) const SUSPECT_WAITS: [Duration; 3] = [
    Duration::from_secs(600),
    Duration::from_secs(3_600),
    Duration::from_secs(86_400),
];

impl Resolver {
    /// Re-created records: did the first create land after all?
    pub(super) async fn search_suspects(&self) -> Result<()> {
        let engine = &*self.engine;
        let scan = Scan {
            table: Table::Suspect,
            prefix: String::new(),
            after: None,
            limit: 100,
        };
        for (key, row) in engine.store.scan(&scan).await? {
            if due_of(&key, "").is_some_and(|due| due > engine.clock.now()) {
                break;
            }
            let row_key = RowKey::new(Table::Suspect, key);
            let suspect: Suspect = Rows::plain(&row_key, &row)?;
            let sync = engine.sync(&suspect.source.sync)?.clone();
            let mapping = &sync.side(suspect.source.side.other()).mapping;
            let stamped = find_stamped(engine, &sync, mapping, &suspect.source).await?;
            let mut ops = vec![Op::Delete {
                key: row_key,
                expect: Expect::Version(row.version),
            }];
            if stamped.len() > 1 {
                ops.extend(report_twins(engine, &sync, &suspect.source, &stamped).await?);
            }
            if let Some(wait) = SUSPECT_WAITS.get(suspect.searches as usize + 1) {
                let next = Suspect {
                    searches: suspect.searches + 1,
                    ..suspect
                };
                let due = engine.clock.now().plus(*wait);
                ops.push(Rows::put_plain(
                    suspect_row(due, &next.source),
                    Expect::Any,
                    &next,
                )?);
            }
            match engine.store.commit(ops).await {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                done => drop(done?),
            }
        }
        Ok(())
    }
}

/// Records in the target that carry the source's id as cross-reference, to the letter.
pub(super) async fn find_stamped(
    engine: &Engine,
    sync: &SyncSpec,
    mapping: &SideMapping,
    source: &RecordKey,
) -> Result<Vec<Observed>> {
    let Some(field) = mapping.xref.clone() else {
        return Ok(Vec::new());
    };
    let lookup = Lookup::Field {
        field,
        value: Value::Text(source.id.0.clone()),
    };
    let target = &engine.system(sync, source.side.other())?.target;
    let found = target.find(&mapping.entity, &[lookup]).await?;
    let mut records: Vec<Observed> = found
        .into_iter()
        .flatten()
        .map(|native| sync.side(source.side.other()).observe_by(mapping, &native))
        .collect();
    records.retain(|record| record.xref.as_deref() == Some(source.id.as_str()));
    records.sort_by_key(|record| (record.id.0.len(), record.id.0.clone()));
    records.dedup_by(|a, b| a.id == b.id);
    Ok(records)
}

/// Several records carry the source's id: the linked one stays, the others are parked and reported, never deleted.
pub(super) async fn report_twins(
    engine: &Engine,
    sync: &SyncSpec,
    source: &RecordKey,
    stamped: &[Observed],
) -> Result<Vec<Op>> {
    let link_key = source.row(Table::Link);
    let link: Option<Link> = match engine.store.get(std::slice::from_ref(&link_key)).await?.remove(0) {
        Some(row) => Some(Rows::plain(&link_key, &row)?),
        None => None,
    };
    let keep = link.map_or_else(|| stamped[0].id.clone(), |link| link.other);
    let now = engine.clock.now();
    let mut ops = Vec::new();
    for twin in stamped.iter().filter(|record| record.id != keep) {
        let key = RecordKey::new(&sync.id, source.side.other(), &twin.id);
        let sentence = format!(
            "a lost create landed late: {} and {keep} there both stand for {}; merge them there",
            twin.id, source.id
        );
        engine.counters.parked.add(1);
        let parked = Parked {
            reason: Reason::ReportedDuplicate,
            sentence: sentence.clone(),
            content: engine.content_hash(sync, twin),
            since: now,
            waits_for: None,
            candidates: vec![source.clone()],
        };
        ops.push(
            engine
                .typed()
                .put_sealed(key.row(Table::Parked), Expect::Any, &parked)?,
        );
        let entry = Entry::new(now, source, Reason::ReportedDuplicate, sentence).other(&twin.id);
        ops.push(
            engine
                .typed()
                .put_sealed(entry.row(engine.salt()), Expect::Any, &entry)?,
        );
    }
    Ok(ops)
}
