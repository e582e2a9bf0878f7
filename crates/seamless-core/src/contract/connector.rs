//! The running side of a connector: [`Reader`], [`Source`] and [`Target`].

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use super::{DependentOptions, Event, Nudge, Priority, Remark, Usage, WebhookCall};
use crate::capability::Capabilities;
use crate::error::{Error, Result};
use crate::record::{NativeRecord, RecordId, Stamp};
use crate::value::{Fields, Timestamp, Value, lookup};

/// Where a list goes on. Made and read by the connector alone, kept by the host across restarts; at most 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PageToken(pub String);

/// One page of changes to read.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Native entity name, as in the mapping (`Companies`, `accounts`).
    pub entity: String,
    /// Only records changed *or created* at or after this stamp (inclusive); `None` means all. Constant for all pages of one poll.
    pub since: Option<Stamp>,
    /// Continue behind this point; `None` starts the poll.
    pub after: Option<PageToken>,
    /// At most this many records (the connector may return fewer).
    pub limit: usize,
}

/// A page of records.
#[derive(Debug)]
pub struct Page {
    /// The records, in the list's own stable order (by stamp and id, or by id).
    pub records: Vec<NativeRecord>,
    /// Where to go on; `None` when the list has ended.
    pub next: Option<PageToken>,
    /// The server's own clock when it answered (its `Date` header), if it tells and stamps are times: the next poll goes on from there. With `None`
    /// it goes on from the newest stamp known when the poll began, and reads once more what the poll has read.
    pub server_time: Option<Timestamp>,
}

/// A question to [`Reader::find`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// Records whose native field equals the value (text compares as the server compares; the engine checks again).
    Field {
        /// Native field path (`companyName`, `udf.CRM ID`).
        field: String,
        /// A scalar, never empty.
        value: Value,
    },
    /// Records with an id above this one, ascending. Only asked where ids ascend.
    AboveId(RecordId),
}

impl Lookup {
    /// How many records its answer has at most.
    pub fn found_max(&self) -> usize {
        match self {
            Lookup::Field { .. } => 50,
            Lookup::AboveId(_) => 1_000,
        }
    }

    /// Whether a record is what is asked for: how a connector disbelieves a server that ignores filters. Text compares in upper and lower case alike.
    pub fn fits(&self, record: &NativeRecord) -> bool {
        match self {
            Lookup::AboveId(id) => match (record.id.number(), id.number()) {
                (Some(here), Some(above)) => here > above,
                _ => false,
            },
            Lookup::Field { field, value } => {
                let plain = |value: Option<&Value>| Some(value?.to_plain()?.to_lowercase());
                !value.is_empty() && plain(lookup(&record.fields, field)) == plain(Some(value))
            }
        }
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lookup::Field { field, .. } => write!(f, "{field} = ***"),
            Lookup::AboveId(id) => write!(f, "id > {id}"),
        }
    }
}

/// A write to [`Target::write`].
#[derive(Clone)]
pub struct Write {
    /// Native entity name.
    pub entity: String,
    /// What to do.
    pub action: WriteAction,
    /// Monotonic time ([`crate::Clock::monotonic`]) after which the call must not be sent any more. The connector checks it in
    /// the very step that sends, after every queue and limiter; a late call fails with [`Error::late`].
    pub send_by: Duration,
}

/// The three kinds of write.
#[derive(Clone)]
pub enum WriteAction {
    /// A new record with these native fields, our cross-reference among them.
    Create {
        /// Native path → value.
        fields: Fields,
    },
    /// Changed fields only; every other field of the record must stay as it is.
    Update {
        /// The record as last read: its id, its compare-and-set version, its parent.
        current: Box<NativeRecord>,
        /// Native path → new value.
        fields: Fields,
    },
    /// Removal; only where the operator enabled it.
    Delete {
        /// The record.
        id: RecordId,
    },
}

/// What a successful write tells.
#[derive(Debug, Clone)]
pub struct Written {
    /// The record's id (new for a create).
    pub id: RecordId,
}

/// A field as the live system describes it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FieldInfo {
    /// Native path, UDFs under `udf.`.
    pub name: String,
    /// The system's own type name.
    pub data_type: String,
    /// Longest text, in characters.
    pub length: Option<usize>,
    /// A create without it is refused.
    pub required: bool,
    /// Cannot be written.
    pub read_only: bool,
    /// Option list, where the field has one.
    pub options: Option<Vec<OptionInfo>>,
    /// The native entity it points to.
    pub reference: Option<String>,
}

impl FieldInfo {
    /// A text that can be written; nothing else is known of it.
    pub fn text(name: impl Into<String>) -> FieldInfo {
        FieldInfo {
            name: name.into(),
            data_type: "text".to_owned(),
            length: None,
            required: false,
            read_only: false,
            options: None,
            reference: None,
        }
    }
}

/// One entry of an option list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OptionInfo {
    /// Stored value.
    pub value: Value,
    /// What people read.
    pub label: String,
    /// Inactive options cannot be chosen any more, but old records still hold them.
    pub active: bool,
}

/// Live description of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EntityInfo {
    /// Fields, in the system's order. Empty when the system cannot describe itself.
    pub fields: Vec<FieldInfo>,
    /// Records can be created by us.
    pub can_create: bool,
    /// Records can be updated by us.
    pub can_update: bool,
}

/// The native fields of an entity that are used at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedFields {
    /// What is mapped. A record lacks one of these only where the system has not got it, or leaves out what is empty
    /// ([`crate::Capabilities::omits_empty`]): what is not there has not been read.
    pub mapped: BTreeSet<String>,
    /// What holds a cross-reference. An empty one may be left out.
    pub xrefs: BTreeSet<String>,
}

impl UsedFields {
    /// Both.
    pub fn all(&self) -> BTreeSet<String> {
        self.mapped.union(&self.xrefs).cloned().collect()
    }
}

/// Reading single records: needed on both sides of a sync.
///
/// **Calls.** Any number at once, from several tasks. The implementation limits concurrency and rate towards its system; it never
/// retries, except once after re-authentication or re-discovery, and a read that the system turned away for its pace.
/// **Cancel safety.** Dropping a future of this trait changes nothing in the remote system.
/// **Errors.** `Auth` and `Permission` stop the sync until an operator acts; `Later` errors are retried by the pipeline after a wait; `Protocol`
/// and `Limit` mean that the peer is broken or hostile, and are reported with the call that showed it.
#[async_trait]
pub trait Reader: Send + Sync {
    /// What this system can do for an entity. Constant while open.
    fn capabilities(&self, entity: &str) -> Capabilities;

    /// The live fields of an entity. Called by `check` and `init --live`, and once at start.
    async fn describe(&self, entity: &str) -> Result<EntityInfo>;

    /// The records with these ids, in any order; ids that do not exist (or are not visible) are simply left out.
    /// Strongly consistent: a record that was created or changed before the call is returned as it is now.
    /// At most 500 ids a call; the implementation splits further where its system needs it.
    async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>>;

    /// For each lookup, the records found, at most [`Lookup::found_max`] each. May lag behind writes by `search_lag_max`.
    /// A server that ignores a filter must not be believed: every record returned really is what was asked for ([`Lookup::fits`]).
    async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>>;

    /// Proves that the system can be reached with these credentials, without changing anything. Called by `check` and at start.
    async fn ping(&self) -> Result<()>;

    /// Which native fields of an entity are used at all. Called before the first list, and again when mappings change.
    /// A connector may ask its system for no more than these; one that reads whole records has nothing to do.
    fn narrow(&self, _entity: &str, _used: &UsedFields) {}

    /// From now on calls of this instance have this priority at most. Called by `plan` and before first loads.
    /// A connector without a budget has nothing to do.
    fn set_priority(&self, _priority: Priority) {}

    /// How the call budget stands, without a call being made; `None` where the system has none. Called by `status` and `plan`.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Option lists of an entity that depend on another field. Called by `discover`, after `describe`.
    async fn dependent_options(&self, _entity: &str) -> Result<Vec<DependentOptions>> {
        Ok(Vec::new())
    }

    /// What else has to be right for these entities to be kept in step (an owner who may own, a user with its rights). Changes nothing.
    /// Called by `check`, after `describe`.
    async fn examine(&self, _entities: &[String]) -> Result<Vec<Remark>> {
        Ok(Vec::new())
    }
}

/// Reading changes.
///
/// **Calls.** One poll at a time for each entity: the engine holds a lease. **Resume.** A list may be given up at any page and resumed in another
/// process with the same `since` and the last `next` token; it must then still return every record that has not been returned yet and
/// that satisfied the predicate all along; records may come twice. **Progress is the host's**: the connector keeps no cursor.
/// **Cancel safety, errors:** as [`Reader`].
#[async_trait]
pub trait Source: Reader {
    /// The next page. A token that leads nowhere new (same token again) is an endless list and fails with `Protocol`.
    async fn list(&self, request: &ListRequest) -> Result<Page>;

    /// A page of *every* record, whatever its stamp, for reconciliation: as `list` without `since`, but as slowly as the system's budget wants it
    /// ([`Priority::Reconcile`]), and without a trace in the poll that may be under way at the same time.
    async fn survey(&self, request: &ListRequest) -> Result<Page> {
        self.list(request).await
    }

    /// What an event says that this system has sent: the records to look at, which may be none. Makes no call and waits for nothing.
    /// An event that is not authentic is `Auth`, one that cannot be read is `Protocol`; both change nothing. Events may come doubled,
    /// late, out of order or never: a nudge only makes the host look sooner.
    fn verify_webhook(&self, _call: &WebhookCall) -> Result<Vec<Nudge>> {
        Err(Error::config("this system sends no events"))
    }
}

/// Writing.
///
/// **Calls.** The engine has written a durable intent before, and holds a claim on the record.
/// **Outcomes.** One per write, in order. `Ok` only when the system confirmed. Every error says its effect: `NotApplied` (never sent, or refused
/// before anything changed), `Unknown` (timeout, cut connection, 5xx without a field error, a success that cannot be read). When in doubt: `Unknown`.
/// **No retry** of a write inside the connector, ever: only the pipeline knows whether it is safe.
/// **Cancel safety.** A dropped future leaves the writes unknown; the engine treats them so.
#[async_trait]
pub trait Target: Reader {
    /// Performs the writes, up to `write_concurrency` of them at once.
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>>;

    /// The names of the events that this system can be told of; `*` stands for any.
    fn takes_events(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Tells it of an event; as [`super::EventTarget::tell`].
    async fn tell(&self, event: &Event, _send_by: Duration) -> Result<()> {
        Err(Error::config(format!(
            "this system cannot be told of {}",
            event.name
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_fits_what_was_asked_for_and_nothing_else() {
        let record = NativeRecord {
            id: "10".into(),
            stamp: None,
            created: None,
            version: None,
            fields: [
                ("name".to_owned(), Value::from("Ätna GmbH")),
                ("size".to_owned(), Value::Int(7)),
                ("blank".to_owned(), Value::Null),
            ]
            .into(),
        };
        let field = |field: &str, value: Value| Lookup::Field {
            field: field.to_owned(),
            value,
        };
        let cases = [
            (field("name", "äTNA gmbh".into()), true),
            (field("name", "Ätna".into()), false),
            (field("size", "7".into()), true),
            (field("size", 70.into()), false),
            (field("blank", Value::Null), false),
            (field("blank", "".into()), false),
            (field("other", "Ätna GmbH".into()), false),
            (Lookup::AboveId("9".into()), true),
            (Lookup::AboveId("10".into()), false),
            (Lookup::AboveId("x".into()), false),
        ];
        for (index, (asked, fits)) in cases.into_iter().enumerate() {
            assert_eq!(asked.fits(&record), fits, "case {index}");
        }
    }
}
