//! Whether a run has come to rest: nothing under way, nothing that waits for the engine.

use seamless_core::pipeline::{Link, Rows, Track, TrackState, event_subscription};
use seamless_core::{Bus, RecordId, Result, RowKey, StateStore, Table};

use super::events::SUBSCRIBER;
use super::hosts::{Run, SYSTEMS, all_rows, ready};

impl Run {
    pub(super) fn at_rest(&self) -> bool {
        let pending = self.world().pending();
        !pending && self.unrest().is_empty()
    }

    pub(super) fn unrest(&self) -> String {
        let mut what = Vec::new();
        let events = event_subscription(SUBSCRIBER);
        for subscription in SYSTEMS
            .into_iter()
            .chain(self.plan.told.then_some(events.as_str()))
        {
            let depth = ready(self.bus.depth(subscription))
                .and_then(Result::ok)
                .unwrap_or(u64::MAX);
            if depth > 0 {
                what.push(format!("{depth} message(s) to {subscription}"));
            }
        }
        for table in [
            Table::Intent,
            Table::Hint,
            Table::WriteBack,
            Table::Held,
            Table::Outbox,
            Table::Turn,
        ] {
            let rows = all_rows(&self.store, table).into_iter();
            let keys = rows
                .filter(|row| table != Table::Turn || !self.is_refused(row))
                .map(|(key, _)| key);
            // A field waits with its record, and for ever for what was deleted.
            let keys: Vec<String> = keys
                .filter(|key| table != Table::Held || !self.is_aside(key))
                .collect();
            if !keys.is_empty() {
                let some: Vec<&String> = keys.iter().take(5).collect();
                what.push(format!("{} {table:?} row(s), {some:?}", keys.len()));
            }
        }
        let under_way = |(key, row): &(String, seamless_core::Row)| {
            let track = Rows::plain::<Track>(&RowKey::new(Table::Track, key.clone()), row);
            track.is_ok_and(|track| track.state == TrackState::Confirmed)
        };
        let tracks = all_rows(&self.store, Table::Track);
        if let Some((key, _)) = tracks.iter().find(|row| what.is_empty() && under_way(row)) {
            what.push(format!("the message of {key} is under way"));
        }
        if !what.is_empty() {
            let claims: Vec<String> = all_rows(&self.store, Table::Claim)
                .into_iter()
                .map(|(key, row)| format!("{key}@{} {}", row.version, String::from_utf8_lossy(&row.value)))
                .collect();
            what.push(format!("claims {claims:?}"));
        }
        what.join(", ")
    }

    /// Whether it is the turn of an event that was refused: it stays, beside the dead letter.
    fn is_refused(&self, (key, row): &(String, seamless_core::Row)) -> bool {
        let key = RowKey::new(Table::Turn, key.clone());
        let turn = Rows::new(&self.row_seal()).sealed::<serde_json::Value>(&key, row);
        turn.is_ok_and(|turn| turn["refused"] == true)
    }

    /// Whether one of a pair was deleted or is set aside; the key names the one of the first side.
    fn is_aside(&self, key: &str) -> bool {
        let row = |table: Table, key: &str| {
            let key = RowKey::new(table, key);
            let rows = ready(self.store.get(std::slice::from_ref(&key))).and_then(Result::ok);
            rows.and_then(|mut rows| Some((key, rows.remove(0)?)))
        };
        let (Some((entity, id)), Some((link, value))) = (key.split_once("/a/"), row(Table::Link, key)) else {
            return false;
        };
        let Ok(Link { other }) = Rows::plain(&link, &value) else {
            return false;
        };
        let is_gone = {
            let world = self.world();
            world.is_gone(0, entity, &RecordId::from(id)) || world.is_gone(1, entity, &other)
        };
        let back = format!("{entity}/b/{other}");
        is_gone || [key, &back].iter().any(|key| row(Table::Parked, key).is_some())
    }
}
