//! The sandbox's own judgement of a sync: duplicates, echoes and lost edits, from its own log of what people did.

mod compare;
mod judge;
mod report;

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value as Json;

use crate::store::Table;
use crate::value::Value;
use crate::{Entity, System};

pub(crate) use compare::{Correspondence, Fit};
pub(crate) use report::Rules;

/// A person's edit of one field.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) seq: u64,
    pub(crate) at_ms: i64,
    pub(crate) system: System,
    pub(crate) entity: Entity,
    pub(crate) id: i64,
    pub(crate) field: u16,
    pub(crate) old: Value,
    pub(crate) new: Value,
    pub(crate) label: String,
    /// When the other side came to hold it.
    pub(crate) synced: Option<u64>,
    /// Overwritten by a write whose sender had not been shown the record since: the open window of a system without compare-and-set.
    pub(crate) overtaken: bool,
}

/// Something the sync did which it must not do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) system: System,
    pub(crate) entity: Entity,
    pub(crate) id: Json,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other: Option<Json>,
    pub(crate) label: String,
    pub(crate) sentence: String,
}

/// A create that repeated another record of the same system.
#[derive(Clone, Debug)]
pub(crate) struct Twin {
    pub(crate) system: System,
    pub(crate) entity: Entity,
    pub(crate) id: i64,
    pub(crate) other: i64,
}

/// The truth log.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) map: Vec<Correspondence>,
    pub(crate) edits: Vec<Edit>,
    /// Index of the last edit of a field.
    pub(crate) last: HashMap<(System, Entity, i64, u16), usize>,
    pub(crate) twins: Vec<Twin>,
    pub(crate) echoes: Vec<Finding>,
    /// Writes that looked like echoes and were not, because a person was there within the open window.
    pub(crate) excused: u64,
}

impl Truth {
    pub(crate) fn new(at: &[Table], crm: &[Table]) -> Self {
        Self {
            map: compare::table(at, crm),
            edits: Vec::new(),
            last: HashMap::new(),
            twins: Vec::new(),
            echoes: Vec::new(),
            excused: 0,
        }
    }

    /// The correspondence a field takes part in.
    pub(crate) fn of(&self, system: System, entity: Entity, field: u16) -> Option<&Correspondence> {
        self.map
            .iter()
            .find(|c| c.entity == entity && c.field(system) == field)
    }
}
