//! Conflicts that a person has to decide: what somebody typed on one side may be written over only by what was typed there after it was seen, or
//! by what a person chose between the two.

use std::time::Duration;

use seamless_core::pipeline::RecordKey;
use seamless_core::{Fields, NativeRecord, RecordId, Side, SyncId, Value};

use super::checks::Violation;
use super::record::Record;
use super::world::World;

/// Fields that are asked about, with their entity. Both systems hold them alike.
const ASKED: (&str, &str) = ("account", "memo");

/// A person's answer, given between the two values that the sides held in this time.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) record: RecordKey,
    pub(super) winner: Side,
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl World {
    /// A write over what a person typed that nobody was asked about.
    pub(super) fn unasked(
        &self,
        system: usize,
        entity: &str,
        current: &NativeRecord,
        fields: &Fields,
    ) -> Option<Violation> {
        let written = fields.get(ASKED.1).filter(|_| entity == ASKED.0)?;
        let side = Side::BOTH[system];
        let id = |id: &RecordId| id.0.parse::<u64>().ok();
        let target = self.systems[system].tables.get(entity)?.get(&id(&current.id)?)?;
        let last = target
            .history
            .iter()
            .rev()
            .find(|change| change.field == ASKED.1)?;
        let foreign = current.fields.get(ASKED.1) != Some(&last.value);
        let while_written = self.intents.iter().any(|intent| {
            let here = intent.source.sync.as_str() == ASKED.0 && intent.target.as_ref() == Some(&current.id);
            here && intent.from <= last.at && intent.to.is_none_or(|to| last.at <= to)
        });
        if !last.person || last.value.is_empty() || foreign || while_written {
            // Nobody typed it, or it came after our read, or while a write of the record was under way: the open window.
            return None;
        }
        let account = SyncId::from(ASKED.0);
        let here = RecordKey::new(&account, side, &current.id);
        let mut intents = self.intents.iter().filter(|intent| intent.to.is_none());
        let intent = intents.find(|intent| {
            intent.source.sync == account
                && intent.source.side == side.other()
                && intent.target.as_ref() == Some(&current.id)
        })?;
        let source = self.systems[1 - system]
            .tables
            .get(entity)?
            .get(&id(&intent.source.id)?)?;
        let seen_there = source
            .history
            .iter()
            .any(|change| change.field == ASKED.1 && change.value == last.value);
        let answered = self.answers.iter().any(|answer| {
            (answer.record == here || answer.record == intent.source)
                && held(target, &last.value, answer)
                // The winner may have been edited again since: what lost to it loses to that, too.
                && (answer.winner == intent.source.side || held(source, written, answer))
        });
        (!seen_there && !answered).then(|| {
            let what = format!("{} {} was decided, and nobody was asked", here.path(), ASKED.1);
            Violation::new("ASK", what)
        })
    }
}

/// Whether the record held the value when the answer was given.
fn held(record: &Record, value: &Value, answer: &Answered) -> bool {
    let mut holds = false;
    for change in record.history.iter().filter(|change| change.field == ASKED.1) {
        if change.at > answer.to {
            break;
        }
        if change.at <= answer.from {
            holds = false;
        }
        holds |= change.value == *value;
    }
    holds
}
