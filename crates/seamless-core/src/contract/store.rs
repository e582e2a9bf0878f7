//! Durable state as versioned rows.

use async_trait::async_trait;

use crate::error::{Error, Result};

/// What a row is about. Values are opaque to the store: the engine seals what is personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Tenant identity, "has been used", counters.
    Meta = 1,
    /// Cursor and resume point of a system's entity.
    Cursor = 2,
    /// Per side and record: what was last published.
    Track = 3,
    /// Per side and record: its pair.
    Link = 4,
    /// Per pair: base halves and seen versions.
    Pair = 5,
    /// Fenced leases.
    Claim = 6,
    /// Writes under way.
    Intent = 7,
    /// Records to look at, by due time.
    Hint = 8,
    /// Records waiting for a parent, by parent.
    Waiting = 9,
    /// Records set aside for a person.
    Parked = 10,
    /// Decisions, by record and time.
    Ledger = 11,
    /// Ids to be written back.
    WriteBack = 12,
    /// Re-created records to be searched for again.
    Suspect = 13,
    /// What a person has decided about a record.
    Decision = 14,
    /// Pairs with fields that wait alone.
    Held = 15,
    /// Records that somebody wants to hear of: the watched fields as last seen.
    Watched = 17,
    /// Events that are not published yet.
    Outbox = 18,
    /// Events that are not told yet, by subscriber and record.
    Turn = 19,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 18] = [
        Table::Meta,
        Table::Cursor,
        Table::Track,
        Table::Link,
        Table::Pair,
        Table::Claim,
        Table::Intent,
        Table::Hint,
        Table::Waiting,
        Table::Parked,
        Table::Ledger,
        Table::WriteBack,
        Table::Suspect,
        Table::Decision,
        Table::Held,
        Table::Watched,
        Table::Outbox,
        Table::Turn,
    ];
}

/// Names a row. Keys are at most 600 bytes and sort as UTF-8 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The table.
    pub table: Table,
    /// The key within it.
    pub key: String,
}

impl RowKey {
    /// A row of a table.
    pub fn new(table: Table, key: impl Into<String>) -> RowKey {
        RowKey {
            table,
            key: key.into(),
        }
    }

    /// The answer to a commit that expected something else of this row.
    pub fn has_changed(&self) -> Error {
        Error::conflict("the row was changed by somebody else")
            .with("table", format!("{:?}", self.table))
            .with("key", &self.key)
    }
}

/// A stored row.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Version given by the commit that wrote it. Drawn from one counter of the whole store that only rises, so that a row
    /// deleted and made again never has an old version: this is what fences claims.
    pub version: u64,
    /// Content.
    pub value: Vec<u8>,
}

/// What a change expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// No such row.
    Absent,
    /// The row in this version.
    Version(u64),
}

/// One change of a transaction.
#[derive(Clone)]
pub enum Op {
    /// Changes nothing, but the transaction fails unless the expectation holds.
    Check {
        /// The row.
        key: RowKey,
        /// The expectation.
        expect: Expect,
    },
    /// Writes a row.
    Put {
        /// The row.
        key: RowKey,
        /// The expectation.
        expect: Expect,
        /// New content.
        value: Vec<u8>,
    },
    /// Removes a row; removing an absent row with [`Expect::Any`] is fine.
    Delete {
        /// The row.
        key: RowKey,
        /// The expectation.
        expect: Expect,
    },
}

/// A range of keys of one table.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The table.
    pub table: Table,
    /// Only keys with this prefix.
    pub prefix: String,
    /// Only keys strictly after this one.
    pub after: Option<String>,
    /// At most this many rows.
    pub limit: usize,
}

/// Durable state: the one place where links, base, intents and claims live.
///
/// **Isolation.** `commit` is atomic and serialisable: all operations apply or none, in order (a later operation of the same
/// transaction sees the effect of an earlier one), and every expectation is checked against the state the transaction starts from as changed by its
/// earlier operations. `get` and `scan` see every commit that returned before they were called.
/// **Durability.** When `commit` returns `Ok`, the change survives a power loss.
/// **Conflict.** A failed expectation is the row's [`RowKey::has_changed`]; nothing is changed, and the caller reads again.
/// **Cancel safety.** A dropped `commit` may or may not have happened; never half of it.
/// **Errors.** `Storage` with `Retry::Never` means that the store cannot be trusted any more (an fsync failed, the disk is full): the host stops.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The rows with these keys, in the same order.
    async fn get(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>>;

    /// Rows of a range in key order.
    async fn scan(&self, scan: &Scan) -> Result<Vec<(String, Row)>>;

    /// Applies the operations, all or none; returns the version that the rows written by it now have.
    async fn commit(&self, ops: Vec<Op>) -> Result<u64>;

    /// Number of rows of a table (for `status`).
    async fn count(&self, table: Table, prefix: &str) -> Result<u64>;
}
