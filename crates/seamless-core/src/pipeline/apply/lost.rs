//! Creates that are confirmed or not answered, and never land: there is an end to making them again (R8).

use std::time::Duration;

use super::item::Item;
use crate::contract::{RowKey, Scan, Table};
use crate::error::Result;
use crate::pipeline::Engine;
use crate::pipeline::ledger::{Entry, Reason};
use crate::pipeline::state::{Parked, RecordKey};

/// Creates of one record that are lost in a row, before it is set aside.
const CREATES_MAX: usize = 3;
/// How far back they are counted.
const COUNTED_FOR: Duration = Duration::from_secs(86_400);

/// Sets aside what would be created once too often: a system that says yes and means no would be asked for ever.
pub(super) async fn hold_lost_creates(engine: &Engine, items: &mut [Item]) -> Result<()> {
    let is_create = |item: &&mut Item| item.open() && item.target.is_none();
    let mut creates: Vec<&mut Item> = items.iter_mut().filter(is_create).collect();
    let keys: Vec<RowKey> = creates.iter().map(|item| item.key.row(Table::Parked)).collect();
    let rows = engine.store.get(&keys).await?;
    for ((item, key), row) in creates.iter_mut().zip(&keys).zip(rows) {
        let parked: Option<Parked> = row.map(|row| engine.typed().sealed(key, &row)).transpose()?;
        // Messages and hints that the lost creates were made for come back: only an edit, or a second look, sets it free.
        let content = item.source.as_ref().map(|source| item.content(engine, source));
        let is_aside = parked.is_some_and(|parked| {
            parked.reason == Reason::ParkedNotLanded && Some(parked.content) == content
        });
        if is_aside || never_lands(engine, &item.key).await? {
            let place = &item.sync.side(item.other()).system;
            let sentence = format!(
                "{place} was sent it {CREATES_MAX} times, did not refuse it, and has not got it: it may say yes and mean no (look at its answer to a create); it is sent once more at the next start, and when it changes"
            );
            item.park(engine, Reason::ParkedNotLanded, sentence, Vec::new());
        }
    }
    Ok(())
}

/// A record that was set aside for it before is tried once only.
async fn never_lands(engine: &Engine, record: &RecordKey) -> Result<bool> {
    let from = engine.clock.now().minus(COUNTED_FOR);
    let scan = Scan {
        table: Table::Ledger,
        prefix: Entry::prefix(record),
        after: Some(
            Entry::new(from, record, Reason::RecoveredNotApplied, "")
                .row(0)
                .key,
        ),
        limit: 1_000,
    };
    let mut lost = 0;
    for (key, row) in engine.store.scan(&scan).await?.into_iter().rev() {
        let entry: Entry = engine.typed().sealed(&RowKey::new(Table::Ledger, key), &row)?;
        match entry.reason {
            Reason::RecoveredNotApplied => lost += 1,
            Reason::ParkedNotLanded => return Ok(lost > 0),
            _ => break,
        }
    }
    Ok(lost >= CREATES_MAX)
}
