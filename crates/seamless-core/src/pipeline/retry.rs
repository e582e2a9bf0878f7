//! Looking again at what was set aside, when its cause may be gone.

use super::engine::Engine;
use super::ledger::Reason;
use super::state::{Hint, Parked, RecordKey, Rows, hint_row};
use crate::contract::{Expect, RowKey, Scan, Side, Table};
use crate::error::Result;
use crate::record::{RecordId, SyncId};

/// Rows looked at in one go.
const PAGE: usize = 500;

impl Engine {
    /// Looks again at every record parked for one of these reasons: people may have told twins apart, or accepted a first merge. Writes nothing by itself.
    /// Returns how many. Called at the start of a host.
    pub async fn look_again(&self, reasons: &[Reason]) -> Result<u64> {
        let mut after = None;
        let mut count = 0;
        loop {
            let scan = Scan { table: Table::Parked, prefix: String::new(), after: after.take(), limit: PAGE };
            let rows = self.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else { return Ok(count) };
            after = Some(last.clone());
            let mut ops = Vec::new();
            for (key, row) in &rows {
                let row_key = RowKey::new(Table::Parked, key.clone());
                let parked: Parked = self.typed().sealed(&row_key, row)?;
                let Some(record) = self.record_of(key).filter(|_| reasons.contains(&parked.reason)) else { continue };
                let target = &self.sync(&record.sync)?.side(record.side.other()).system;
                let hint = Hint { record: record.clone() };
                ops.push(Rows::put_plain(hint_row(target, self.clock.now(), &record), Expect::Any, &hint)?);
                count += 1;
            }
            self.store.commit(ops).await?;
        }
    }

    /// The record that a row's key names; `None` when its sync is not configured.
    pub fn record_of(&self, path: &str) -> Option<RecordKey> {
        let mut words = path.splitn(3, '/');
        let (sync, side, id) = (words.next()?, words.next()?, words.next()?);
        let side = Side::BOTH.into_iter().find(|known| known.letter().to_string() == side)?;
        self.syncs.get_key_value(&SyncId::from(sync)).map(|(sync, _)| RecordKey::new(sync, side, &RecordId::from(id)))
    }
}

impl Reason {
    /// Reasons that people remove by editing records, so that a record is worth a second look at the next start.
    pub const CURED_BY_EDITS: [Reason; 3] =
        [Reason::ParkedAmbiguous, Reason::ParkedSuspectedDuplicate, Reason::ParkedCopiedReference];
}
