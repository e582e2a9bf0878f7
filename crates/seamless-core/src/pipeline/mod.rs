//! The pipeline: intake reads changes and publishes them, apply writes them, and between the two everything that makes a restart at any point safe.
//!
//! Rule numbers (R1 …) refer to the protocol page of the documentation.

mod apply;
mod born;
mod claims;
mod conflict;
mod counters;
mod cursor;
mod decide;
mod engine;
mod events;
mod held;
mod intake;
mod ledger;
mod mapping_change;
mod matching;
mod merge;
mod mistakes;
mod normalise;
mod origin;
mod rebuild;
mod receipt;
mod reconcile;
mod rehearsal;
mod resolver;
mod retry;
mod rewrite;
mod spec;
mod state;
mod write_back;

pub use apply::{Applier, ApplyStep};
pub use counters::{Count, Counters};
pub use cursor::start_of;
pub use decide::{Imported, Review};
pub use engine::{Engine, System};
pub use events::{
    EventRule, EventSender, EventSpec, Happened, Herald, Subscriber, derive, event_subscription,
};
pub use intake::{PollStep, Poller};
pub use ledger::{Entry, EntryField, Reason};
pub use matching::{Candidate, RuleOutcome, judge, key_of};
pub use merge::{Base, Conflict, FieldWrite, Half, Merge, MergeInput, Resolved, Unseen, Why, merge};
pub use mistakes::{Mistake, Mistakes};
pub use origin::Origins;
pub use rebuild::Rebuilt;
pub use receipt::{CommitReceipt, commit_with_receipt};
pub use reconcile::{
    Conduct, Drift, DriftField, DriftKind, DriftThen, StandingDrift, Sweep, SweepPage, SweepStep,
    reconciled_at,
};
pub use rehearsal::{
    Aside, Born, Calls, ItemOutcome, Outcomes, Plan, PlanItem, PlanStep, Rehearsal, open_plan, seal_plan,
};
pub use resolver::{ResolveStep, Resolver};
pub use spec::*;
pub use state::{
    Answer, ClaimHolder, Cursor, Decision, Hint, Intent, Link, Pair, Parked, RecordKey, Resume, Rewrite,
    Rows, Suspect, Track, TrackState, WriteBack, cursor_row, due_of, hint_row, pair_row, pair_row_of,
    waiting_anchor,
};
pub use write_back::{WriteBackStep, WriteBacker};
