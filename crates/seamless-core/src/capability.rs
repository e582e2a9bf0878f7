//! What a connector declares about its system. Every flag changes what the engine does and which conformance cases run.

use std::time::Duration;

/// Can the target hold our cross-reference so that a create is found again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalKey {
    /// The system refuses a second record with the same key: a create is insert-if-absent.
    Unique,
    /// The key can be searched, but two records may carry it (an Autotask UDF).
    Searchable,
    /// Nothing of the kind.
    None,
}

/// Capabilities of one entity of one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `list` honours `since`. Without it every poll is a full sweep compared by content.
    pub incremental: bool,
    /// Resolution of the change stamp; the cursor is floored to it.
    pub cursor_granularity: Duration,
    /// How far behind the cursor to read again, because stamps land late.
    pub cursor_overlap: Duration,
    /// How creates are found again.
    pub external_key: ExternalKey,
    /// An update happens only if the record's version is still that of [`crate::WriteAction::Update::current`].
    pub compare_and_set: bool,
    /// Ids are whole numbers that only rise, so that "created after" can be asked as "id above".
    pub ascending_ids: bool,
    /// Records leave out fields that are empty, so that what is not in a record is empty. Without it a field that held something and is not in the
    /// record any more has not been read (somebody has taken it out of the system): it waits alone, and empties nothing on the other side.
    pub omits_empty: bool,
    /// Values that one `find` call can carry.
    pub find_batch_max: usize,
    /// Writes that may be under way at once.
    pub write_concurrency: usize,
    /// How long a sent call can still take effect after its answer was lost.
    pub settle_after: Duration,
    /// How long a new record or key can stay invisible to `find`.
    pub search_lag_max: Duration,
}

impl Default for Capabilities {
    /// The weakest system: nothing promised.
    fn default() -> Self {
        Capabilities {
            incremental: false,
            cursor_granularity: Duration::from_secs(1),
            cursor_overlap: Duration::from_secs(120),
            external_key: ExternalKey::None,
            compare_and_set: false,
            ascending_ids: false,
            omits_empty: false,
            find_batch_max: 1,
            write_concurrency: 1,
            settle_after: Duration::from_secs(330),
            search_lag_max: Duration::from_secs(60),
        }
    }
}
