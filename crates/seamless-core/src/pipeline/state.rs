//! The rows of the state store, typed. Keys are built here and nowhere else; what is personal is sealed.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::merge::{Base, FieldWrite};
use crate::contract::{Expect, MessageId, Op, PageToken, Row, RowKey, Side, Table};
use crate::envelope::RowSeal;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{RecordId, Stamp, SyncId, SystemId};
use crate::value::{Timestamp, Value};

/// A record of a sync: where most keys start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// The sync.
    pub sync: SyncId,
    /// The side.
    pub side: Side,
    /// The record.
    pub id: RecordId,
}

impl RecordKey {
    /// A record of a sync.
    pub fn new(sync: &SyncId, side: Side, id: &RecordId) -> RecordKey {
        RecordKey {
            sync: sync.clone(),
            side,
            id: id.clone(),
        }
    }

    /// As in row keys: `account/a/17`.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.sync, self.side.letter(), self.id)
    }

    /// The pair's record on the first side, `other` being this one's counterpart.
    pub fn on_first_side(&self, other: &RecordId) -> RecordKey {
        match self.side {
            Side::A => self.clone(),
            Side::B => RecordKey::new(&self.sync, Side::A, other),
        }
    }

    /// The row of this record in a table.
    pub fn row(&self, table: Table) -> RowKey {
        RowKey::new(table, self.path())
    }
}

/// What was last published of a record (R2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Keyed hash of its content.
    pub content: String,
    /// The message that carries it.
    pub message: MessageId,
    /// Where the message is.
    pub state: TrackState,
}

/// Where a published message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackState {
    /// Noted; the publish is not confirmed.
    Noted,
    /// Published.
    Confirmed,
    /// Its outcome is committed.
    Settled,
}

/// A record's pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The counterpart.
    pub other: RecordId,
}

/// Two linked records: base, seen versions.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Base halves by canonical field.
    pub base: Base,
    /// Mapping versions of the halves.
    pub mapping: [u64; 2],
    /// Newest version of each record that a commit has read.
    pub seen: [Option<Stamp>; 2],
    /// Content of each side that was decided on although a field stayed dirty (blocked, pending).
    #[serde(default)]
    pub decided: [Option<String>; 2],
    /// Rewrites nobody declared, by side letter and field: what came back last, and how often for the same value sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rewrites: BTreeMap<String, Rewrite>,
    /// Fields that wait alone, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocked: BTreeMap<String, String>,
    /// What a person has said about conflicts of fields whose policy is to ask.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Answer>,
    /// The system that gave what was last written, for fields with an owner list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub origins: BTreeMap<String, SystemId>,
}

/// A person's word on a conflict. It stands for these values only: if one of them changes before it is carried out, it has to be asked again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whose value stands.
    pub winner: Side,
    /// What the two sides held.
    pub values: [Value; 2],
}

/// What a person has decided about a record that has no counterpart. Gone once it is linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// It belongs to this record.
    Link {
        /// The counterpart.
        other: RecordId,
    },
    /// It has no counterpart yet: make one, whatever looks like it.
    Create,
    /// It is none of our business.
    Ignore,
    /// It was unlinked: nothing happens to it until a person says what it is.
    Unlinked,
    /// It is wanted although it is outside the sync's scope: another record refers to it.
    Include,
}

/// An undeclared rewrite.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// Keyed hash of what was sent and what came back.
    pub hash: String,
    /// How often.
    pub times: u32,
}

/// Who holds a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimHolder {
    /// A worker, until its lease ends.
    Worker(String),
    /// An open intent, until it is resolved.
    Intent(String),
}

/// A write under way.
#[derive(Clone, Serialize, Deserialize)]
pub struct Intent {
    /// The source record.
    pub source: RecordKey,
    /// The source's version when the merge read it.
    pub source_stamp: Option<Stamp>,
    /// Hash of the source's content.
    pub source_content: String,
    /// The target record; `None` for a create.
    pub target: Option<RecordId>,
    /// The target's version when the merge read it.
    pub target_stamp: Option<Stamp>,
    /// How the two were recognised, when this write links them for the first time.
    #[serde(default)]
    pub new_link: Option<(super::ledger::Reason, String)>,
    /// What is written.
    pub writes: BTreeMap<String, FieldWrite>,
    /// The merge's whole planned base.
    pub planned: Base,
    /// Highest id seen in the target's entity before the call (creates, ascending ids).
    pub high_water: Option<RecordId>,
    /// After this time (wall clock) the call can neither be sent nor land nor stay invisible any more.
    pub deadline: Timestamp,
    /// When it was made.
    pub made: Timestamp,
    /// Claims it holds.
    pub claims: Vec<String>,
    /// Messages to mark as settled when it resolves.
    pub messages: Vec<MessageId>,
    /// Mapping versions that the plan is written under.
    #[serde(default)]
    pub mapping: [u64; 2],
    /// Blocked fields of the plan.
    #[serde(default)]
    pub blocked: BTreeMap<String, String>,
    /// Optional references to be filled later.
    #[serde(default)]
    pub pending: BTreeMap<String, RecordId>,
}

/// A record set aside: for a person, or until its parent is there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Why, as a stable code.
    pub reason: super::ledger::Reason,
    /// Why, as a sentence that says what to do.
    pub sentence: String,
    /// Keyed hash of the content it was decided on.
    pub content: String,
    /// Since when.
    pub since: Timestamp,
    /// The parent it waits for.
    #[serde(default)]
    pub waits_for: Option<RecordKey>,
    /// Records a person has to choose from, on the other side or its own.
    #[serde(default)]
    pub candidates: Vec<RecordKey>,
}

/// A record to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The record, as source.
    pub record: RecordKey,
}

/// An id on its way into a cross-reference field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteBack {
    /// The id to write; empty to clear the field.
    pub xref: RecordId,
    /// Only while the field holds this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<RecordId>,
    /// Failed attempts.
    #[serde(default)]
    pub tries: u32,
    /// The last attempt was told that there is no such record, which had been read a moment before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfound: bool,
    /// Why it is parked, if it is.
    #[serde(default)]
    pub parked: Option<String>,
    /// Not before.
    #[serde(default)]
    pub due: Timestamp,
}

impl WriteBack {
    /// An id to write, not before this time.
    pub(crate) fn new(xref: RecordId, due: Timestamp) -> WriteBack {
        WriteBack {
            xref,
            over: None,
            tries: 0,
            unfound: false,
            parked: None,
            due,
        }
    }
}

/// Progress of reading one native entity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Everything visible up to here, minus the overlap, has been published.
    pub cursor: Option<Stamp>,
    /// Newest stamp seen in finished polls.
    pub newest_seen: Option<Stamp>,
    /// The poll under way.
    pub resume: Option<Resume>,
    /// Finished polls.
    #[serde(default)]
    pub polls: u64,
}

/// A poll under way (R1): predicate, last id, poll start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The predicate.
    pub since: Option<Stamp>,
    /// Where to go on.
    pub after: Option<PageToken>,
    /// The poll's start on the server's own clock.
    pub start: Option<Stamp>,
    /// Newest stamp seen in this poll.
    pub newest: Option<Stamp>,
    /// It leaves the cursor where it is ([`super::Poller::glance`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub glance: bool,
}

/// A re-created record to search for again (R8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The source record.
    pub source: RecordKey,
    /// Searches done.
    pub searches: u32,
}

/// The row of a cursor.
pub fn cursor_row(system: &SystemId, entity: &str) -> RowKey {
    RowKey::new(Table::Cursor, format!("{system}/{entity}"))
}

/// The row of a pair, named by both ids.
pub fn pair_row(sync: &SyncId, a: &RecordId, b: &RecordId) -> RowKey {
    RowKey::new(Table::Pair, format!("{sync}/{a}\u{1f}{b}"))
}

/// The row of a pair, seen from one side.
pub fn pair_row_of(record: &RecordKey, other: &RecordId) -> RowKey {
    match record.side {
        Side::A => pair_row(&record.sync, &record.id, other),
        Side::B => pair_row(&record.sync, other, &record.id),
    }
}

/// Hints sort by due time, within the system that they are applied to.
pub fn hint_row(target: &SystemId, due: Timestamp, record: &RecordKey) -> RowKey {
    RowKey::new(
        Table::Hint,
        format!("{target}/{:020}/{}", due.0.max(0), record.path()),
    )
}

/// The due time in a hint's or suspect's key, behind `prefix`.
pub fn due_of(key: &str, prefix: &str) -> Option<Timestamp> {
    key.strip_prefix(prefix)?.get(..20)?.parse().ok().map(Timestamp)
}

/// Waiting rows hang under their parent; the anchor's version tells the parent's linker that somebody came since it looked.
pub fn waiting_anchor(parent: &RecordKey) -> RowKey {
    RowKey::new(Table::Waiting, format!("{}\u{1f}", parent.path()))
}

/// A child waiting for a parent.
pub(crate) fn waiting_row(parent: &RecordKey, child: &RecordKey) -> RowKey {
    RowKey::new(Table::Waiting, format!("{}\u{1f}{}", parent.path(), child.path()))
}

/// Suspects sort by due time.
pub(crate) fn suspect_row(due: Timestamp, source: &RecordKey) -> RowKey {
    RowKey::new(Table::Suspect, format!("{:020}/{}", due.0.max(0), source.path()))
}

/// Reads and writes rows.
pub struct Rows<'a> {
    seal: &'a RowSeal,
}

impl<'a> Rows<'a> {
    /// With this seal.
    pub fn new(seal: &'a RowSeal) -> Rows<'a> {
        Rows { seal }
    }

    /// A plain row: nothing personal in it.
    pub fn plain<T: DeserializeOwned>(key: &RowKey, row: &Row) -> Result<T> {
        serde_json::from_slice(&row.value).map_err(|error| unreadable(key).because(error))
    }

    /// A sealed row.
    pub fn sealed<T: DeserializeOwned>(&self, key: &RowKey, row: &Row) -> Result<T> {
        let plain = self.seal.open(key.table, &key.key, &row.value)?;
        serde_json::from_slice(&plain).map_err(|error| unreadable(key).because(error))
    }

    /// Writes a plain row.
    pub fn put_plain<T: Serialize>(key: RowKey, expect: Expect, value: &T) -> Result<Op> {
        let value = serde_json::to_vec(value).map_err(|error| unreadable(&key).because(error))?;
        Ok(Op::Put { key, expect, value })
    }

    /// Writes a sealed row.
    pub fn put_sealed<T: Serialize>(&self, key: RowKey, expect: Expect, value: &T) -> Result<Op> {
        let plain = serde_json::to_vec(value).map_err(|error| unreadable(&key).because(error))?;
        let value = self.seal.seal(key.table, &key.key, &plain)?;
        Ok(Op::Put { key, expect, value })
    }
}

fn unreadable(key: &RowKey) -> Error {
    Error::new(
        ErrorKind::Storage,
        "a state row cannot be read: it was damaged or written by a newer version",
    )
    .with("table", format!("{:?}", key.table))
    .with("row", &key.key)
}

/// What a change expects, given what was read.
pub(crate) fn expect_of(row: Option<&Row>) -> Expect {
    row.map_or(Expect::Absent, |row| Expect::Version(row.version))
}
