//! The ledger: every decision with a reason code, and the before-image of what was overwritten.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::merge::{FieldWrite, Why};
use super::state::RecordKey;
use crate::contract::{RowKey, Side, Table};
use crate::mapping::Loss;
use crate::record::RecordId;
use crate::value::{Timestamp, Value};

/// Why something was done or left: a closed set, stable in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A record was created on the other side.
    Created,
    /// Fields were written on the other side.
    Updated,
    /// Two records were linked: their cross-references said so.
    LinkedByReference,
    /// Two records were linked by a match rule.
    LinkedByRule,
    /// A lost create was found again and linked.
    LinkedByRecovery,
    /// Two records were linked because a person said so.
    LinkedByPerson,
    /// A person took two linked records apart.
    Unlinked,
    /// A person set the record aside for good.
    Ignored,
    /// The record is outside the sync's scope.
    OutOfScope,
    /// Left out because the record it refers to is left out.
    SkippedReference,
    /// Looked at; nothing to do.
    Unchanged,
    /// Both sides changed the field; the other side won.
    ConflictLost,
    /// Both sides changed the field; this side won.
    ConflictWon,
    /// The record no longer exists (or is not visible) on its own side.
    SourceGone,
    /// A field waits alone.
    FieldBlocked,
    /// An optional reference was left out until its record has a counterpart.
    ReferencePending,
    /// A rewrite by the system that nobody declared.
    UndeclaredRewrite,
    /// The outcome of a call is unknown.
    OutcomeUnknown,
    /// A lost call turned out to have landed.
    RecoveredApplied,
    /// A lost call turned out not to have landed.
    RecoveredNotApplied,
    /// The id was written back.
    WrittenBack,
    /// The write-back failed for good.
    WriteBackParked,
    /// Waits for its parent.
    WaitsForParent,
    /// The other side refused the record.
    ParkedRefused,
    /// A required field is missing or cannot be translated.
    ParkedRequired,
    /// Several records fit, on either side.
    ParkedAmbiguous,
    /// One fits but is linked already, with the same name and account.
    ParkedSuspectedDuplicate,
    /// The cross-reference names a record that is linked to another: a copy made by a person.
    ParkedCopiedReference,
    /// The linked record is gone on the other side.
    ParkedCounterpartGone,
    /// More first-merge overwrites than are made without asking.
    ParkedFirstMerge,
    /// After a lost create several records could be ours.
    ParkedSeveralRecovered,
    /// After a lost create a similar record appeared.
    ParkedSimilar,
    /// Creates of it did not land, several times in a row.
    ParkedNotLanded,
    /// A re-created record turned up twice.
    ReportedDuplicate,
    /// A required reference cannot be changed or resolved.
    ParkedReference,
    /// Reconciliation found that the record is not as it was left.
    Drift,
    /// A subscriber was told of an event.
    EventTold,
    /// A subscriber refused an event.
    EventRefused,
}

impl Reason {
    /// Set aside after a lost create: until a person decides, such a record is nobody's candidate (R8).
    pub(crate) fn awaits_person(self) -> bool {
        matches!(self, Reason::ParkedSimilar | Reason::ParkedSeveralRecovered)
    }

    /// A person has said so, or was asked to: such a record is nobody's counterpart, whatever it looks like or refers to.
    pub(crate) fn is_apart(self) -> bool {
        matches!(self, Reason::Ignored | Reason::Unlinked)
    }

    /// Left out on purpose: nobody has to do anything about it.
    pub fn is_left_out(self) -> bool {
        matches!(
            self,
            Reason::Ignored | Reason::OutOfScope | Reason::SkippedReference
        )
    }

    /// The code as in JSON.
    pub fn code(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// One decision.
#[derive(Clone, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the host's clock.
    pub at: Timestamp,
    /// The record the change came from.
    pub record: RecordKey,
    /// Its counterpart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<RecordId>,
    /// Why.
    pub reason: Reason,
    /// A sentence with the details (rule, wait, remedy).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Fields concerned, with before-images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, EntryField>,
}

/// A field of a decision.
#[derive(Clone, Serialize, Deserialize)]
pub struct EntryField {
    /// Why it was written.
    pub why: Why,
    /// What the target held before.
    pub before: Value,
    /// What it was given.
    pub after: Value,
    /// Declared loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

impl EntryField {
    pub(crate) fn of(write: &FieldWrite) -> EntryField {
        EntryField {
            why: write.why,
            before: write.before.clone(),
            after: write.predicted.clone(),
            loss: write.loss,
        }
    }
}

impl Entry {
    /// A decision without fields.
    pub fn new(at: Timestamp, record: &RecordKey, reason: Reason, note: impl Into<String>) -> Entry {
        Entry {
            at,
            record: record.clone(),
            other: None,
            reason,
            note: note.into(),
            fields: BTreeMap::new(),
        }
    }

    /// Names the counterpart.
    pub fn other(mut self, other: &RecordId) -> Entry {
        self.other = Some(other.clone());
        self
    }

    /// The row: by record and time, so that `explain` reads one range.
    pub fn row(&self, salt: u32) -> RowKey {
        RowKey::new(
            Table::Ledger,
            format!(
                "{}{:020}-{salt:08x}",
                Entry::prefix(&self.record),
                self.at.0.max(0)
            ),
        )
    }

    /// What the keys of a record's rows begin with.
    pub fn prefix(record: &RecordKey) -> String {
        format!("{}\u{1f}", record.path())
    }

    /// The side the change came from.
    pub fn side(&self) -> Side {
        self.record.side
    }
}
