//! What we write into watched records ourselves: no event, whoever looks first.

use std::collections::BTreeMap;

use super::{Watched, watched_row};
use crate::contract::{Op, Row, RowKey, Side};
use crate::error::Result;
use crate::mapping::Observed;
use crate::pipeline::engine::Engine;
use crate::pipeline::merge::FieldWrite;
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::expect_of;
use crate::record::{RecordId, Stamp};
use crate::value::Fields;

/// A write that has landed.
pub(crate) struct Landed<'a> {
    pub(crate) target: &'a RecordId,
    pub(crate) writes: &'a BTreeMap<String, FieldWrite>,
    /// The mapping version that it was planned and read back under.
    pub(crate) mapping: u64,
    pub(crate) readback: Option<&'a Observed>,
    pub(crate) created: bool,
}

/// A write of ours into a watched record.
pub(crate) struct OwnWrite {
    pub(crate) row: RowKey,
    mapping: u64,
    stamp: Option<Stamp>,
    written: Fields,
    /// What the record was read back with.
    read_back: Fields,
    created: bool,
}

impl OwnWrite {
    /// What a landed write means for what is watched, if anything.
    pub(crate) fn of(engine: &Engine, sync: &SyncSpec, side: Side, landed: &Landed<'_>) -> Option<OwnWrite> {
        let (system, entity) = (&sync.side(side).system, &sync.model.name);
        let (mut written, mut read_back) = (Fields::new(), Fields::new());
        for rule in engine.events.rules(system, entity) {
            let write = landed.writes.get(&rule.field);
            written.extend(write.map(|write| (rule.field.clone(), write.predicted.clone())));
            let read = landed.readback.and_then(|record| record.fields.get(&rule.field));
            read_back.extend(read.map(|value| (rule.field.clone(), value.clone())));
        }
        let says_something = !written.is_empty() || landed.created && !read_back.is_empty();
        let is_told = engine.mistakes.has(Mistake::OwnWriteTold);
        (says_something && !is_told).then(|| OwnWrite {
            row: watched_row(system, entity, landed.target),
            mapping: landed.mapping,
            stamp: landed.readback.and_then(|record| record.stamp),
            written,
            read_back,
            created: landed.created,
        })
    }

    /// The operation that notes it, given what is known.
    pub(crate) fn op(&self, engine: &Engine, known: Option<&Row>) -> Result<Op> {
        let mut watched: Watched = match known {
            Some(row) => engine.sealed_row(&self.row, row)?,
            // A page that was read before this write may still be on its way here: it must not be the first look.
            None => Watched {
                mapping: self.mapping,
                ..Watched::default()
            },
        };
        if watched.mapping == self.mapping {
            for (field, value) in &self.written {
                // A look that has seen what is there now has told of it.
                let there = self.read_back.get(field);
                if there.is_none() || there != watched.values.get(field) {
                    watched.values.insert(field.clone(), value.clone());
                }
            }
            // Of a new record everything is ours.
            for (field, value) in self.read_back.iter().filter(|_| self.created) {
                watched
                    .values
                    .entry(field.clone())
                    .or_insert_with(|| value.clone());
            }
        } else if self.stamp.is_none() || watched.stamp < self.stamp {
            // The words of another sync, or of an older mapping: the next look starts anew.
            watched.mapping = 0;
        }
        watched.stamp = watched.stamp.max(self.stamp);
        engine
            .typed()
            .put_sealed(self.row.clone(), expect_of(known), &watched)
    }
}
