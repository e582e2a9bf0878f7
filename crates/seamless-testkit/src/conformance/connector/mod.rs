//! The suite of a connector: everything that the contract of [`Source`] and [`Target`] asks for, against a peer that its author scripts.
//!
//! The author says what a record looks like ([`Subject`]) and how to reach into the remote system behind the connector's back ([`Peer`]).
//! The connector's own capabilities pick the cases; a fault that the peer cannot make skips the case that needs it, with the reason. So a report
//! is only good together with the number of cases that ran: [`Report::verdict`] asks for it.

mod bench;
mod failing;
mod finding;
mod listing;
pub mod memory;
#[cfg(feature = "sandbox")]
pub mod sandbox;
mod sound;
#[cfg(test)]
mod twins;
mod writing;

use std::sync::Arc;
use std::time::Duration;

pub use bench::{Bench, Credentials, Exact, Fault, Opened, Peer, Subject};
use futures::future::BoxFuture;
use seamless_core::{
    Capabilities, Error, Fields, ListRequest, NativeRecord, Page, PageToken, RecordId, Result, Source, Stamp,
    Target, Value, Write, WriteAction, Written,
};

/// What became of the suite.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that ran, failed ones among them.
    pub ran: Vec<&'static str>,
    /// Cases that did not, each with its reason.
    pub skipped: Vec<(&'static str, String)>,
    /// What was wrong, one line (`case: what`) for each failed case.
    pub failures: Vec<String>,
}

impl Report {
    /// Nothing failed, and exactly this many cases ran: a suite that quietly skips more than yesterday is not green. Otherwise it also says which ran.
    pub fn verdict(&self, ran: usize) -> super::Verdict {
        let mut lines = self.failures.clone();
        if self.ran.len() != ran {
            lines.push(format!("{} cases ran instead of {ran}", self.ran.len()));
            let skipped = self.skipped.iter();
            lines.extend(skipped.map(|(case, reason)| format!("{case}: skipped: {reason}")));
            lines.extend(self.ran.iter().map(|case| format!("{case}: ran")));
        }
        if lines.is_empty() {
            Ok(())
        } else {
            Err(super::Wrong(lines))
        }
    }
}

/// Runs every case that the connector's capabilities and the peer's faults allow, each against a fresh system. A case that does not end within a minute
/// has failed. Needs a tokio runtime with time (`#[tokio::test]` has it).
pub async fn run(bench: &dyn Bench) -> Report {
    let mut report = Report::default();
    for (name, case) in CASES {
        match run_case(bench, *case, CASE_MAX).await {
            Err(Stop::Skipped(reason)) => {
                report.skipped.push((name, reason));
                continue;
            }
            Err(Stop::Failed(reason)) => report.failures.push(format!("{name}: {reason}")),
            Ok(()) => {}
        }
        report.ran.push(name);
    }
    report
}

async fn run_case(bench: &dyn Bench, case: Case, max: Duration) -> Result<(), Stop> {
    let trial = async {
        let ground = Ground::new(bench).await?;
        case(&ground).await
    };
    tokio::time::timeout(max, trial).await.unwrap_or_else(|_| {
        Err(Stop::Failed(format!(
            "it did not end within {max:?}: something waits for an answer that never comes, or for a clock that nobody moves (a person's edit has to move the record's stamp even where the clock stands still)"
        )))
    })
}

type Case = for<'a> fn(&'a Ground) -> BoxFuture<'a, Result<(), Stop>>;

macro_rules! cases {
    ($($module:ident::$case:ident),+ $(,)?) => {
        &[$((stringify!($case), |ground| Box::pin($module::$case(ground)))),+]
    };
}

/// What the subject says comes first: where it is wrong, everything else is.
const CASES: &[(&str, Case)] = cases![
    sound::describes_what_it_uses,
    sound::claims_hold,
    listing::lists_every_record,
    listing::lists_since_a_stamp_inclusively,
    listing::lists_what_was_changed_since,
    listing::equal_stamps_survive_the_edges_of_pages,
    listing::goes_on_from_any_token_in_a_new_instance,
    listing::rows_that_move_are_not_skipped,
    listing::an_endless_list_is_an_error,
    listing::a_foreign_page_is_not_followed,
    listing::a_garbled_answer_is_an_error,
    listing::a_huge_answer_is_an_error,
    finding::finds_each_value_in_its_place,
    finding::finds_nothing_where_nothing_is,
    finding::finds_in_capitals_and_small_letters_alike,
    finding::an_empty_value_finds_nothing,
    finding::an_ignored_filter_is_not_believed,
    finding::finds_above_an_id,
    finding::no_id_is_given_twice,
    finding::fetches_what_is_there_now,
    finding::leaves_out_ids_that_are_not_there,
    finding::fetches_what_a_search_does_not_find_yet,
    writing::a_create_is_found_by_its_cross_reference,
    writing::a_second_record_with_a_unique_key_is_refused,
    writing::an_update_changes_only_what_was_sent,
    writing::a_stale_version_is_refused,
    writing::a_late_write_is_not_sent,
    writing::outcomes_come_in_order,
    writing::values_survive_exactly,
    writing::an_emptied_field_is_not_a_missing_one,
    failing::a_lost_answer_is_unknown,
    failing::a_lost_write_is_not_repeated,
    failing::a_write_with_a_garbled_answer_is_unknown,
    failing::an_unexplained_fault_is_unknown,
    failing::a_refusal_names_its_field,
    failing::throttled_reads_say_when_to_come_back,
    failing::throttled_writes_have_no_effect,
    failing::wrong_credentials_are_called_so,
    failing::a_dead_system_is_unavailable,
    failing::errors_tell_no_content,
    sound::asked_for_nothing_it_answers_nothing,
    sound::dropped_calls_do_no_harm,
];

/// Why a case ended early.
enum Stop {
    Failed(String),
    Skipped(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(format!("unexpected error: {error:?}"))
    }
}

/// Fails the case, with a formatted reason, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err(crate::conformance::connector::Stop::Failed(format!($($reason)+)));
        }
    };
}
use ensure;

/// More pages than any case needs.
const PAGES_MAX: usize = 200;
/// Far behind anything that a case waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Real time that a case may take.
const CASE_MAX: Duration = Duration::from_secs(60);
/// Part of every text written, so that it can be looked for where it must not be.
const MARK: &str = "Quillon";

/// A fresh system with an open connector.
struct Ground {
    subject: Subject,
    peer: Box<dyn Peer>,
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
    capabilities: Capabilities,
}

impl Ground {
    async fn new(bench: &dyn Bench) -> Result<Ground, Stop> {
        let (subject, peer) = (bench.subject(), bench.fresh().await);
        ensure!(
            !peer.clock().monotonic().is_zero(),
            "the peer's clock stands at zero; move it before the cases start"
        );
        let Opened { source, target } = peer.open(Credentials::Right).await?;
        let capabilities = source.capabilities(&subject.entity);
        Ok(Ground {
            subject,
            peer,
            source,
            target,
            capabilities,
        })
    }

    /// Fields of the record with this number.
    fn fields(&self, number: usize) -> Fields {
        let mut fields = self.subject.required.clone();
        fields.insert(self.subject.name.clone(), self.name(number));
        fields
    }

    fn name(&self, number: usize) -> Value {
        Value::Text(format!("{MARK} Works {number:03}"))
    }

    /// People create this many records.
    async fn seed(&self, count: usize) -> Vec<RecordId> {
        let records: Vec<Fields> = (0..count).map(|number| self.fields(number)).collect();
        self.peer.seed(&records).await
    }

    /// A person changes the field that nobody searches.
    async fn edit(&self, id: &RecordId, text: &str) {
        let fields = [(self.subject.other.clone(), Value::from(text))].into();
        self.peer.edit(id, &fields).await;
    }

    /// The case cannot go on unless the peer can make this go wrong.
    async fn strike(&self, fault: Fault) -> Result<Struck, Stop> {
        let calls = self.peer.struck_calls().await;
        if self.peer.strike(fault).await {
            Ok(Struck { fault, calls })
        } else {
            Err(Stop::Skipped(format!("the peer cannot make {fault:?}")))
        }
    }

    /// What has come well through a fault has to have met it.
    async fn met(&self, struck: Struck) -> Result<(), Stop> {
        ensure!(
            struck.calls.is_none() || self.peer.struck_calls().await > struck.calls,
            "the peer said that it makes {:?}, and no call met it: nothing is proven",
            struck.fault
        );
        Ok(())
    }

    fn request(&self, since: Option<Stamp>, limit: usize) -> ListRequest {
        ListRequest {
            entity: self.subject.entity.clone(),
            since,
            after: None,
            limit,
        }
    }

    /// A list to its end, as the engine reads it.
    async fn list(&self, since: Option<Stamp>, limit: usize) -> Result<Vec<NativeRecord>, Stop> {
        self.list_from(self.source.as_ref(), self.request(since, limit))
            .await
    }

    async fn list_from(
        &self,
        source: &dyn Source,
        mut request: ListRequest,
    ) -> Result<Vec<NativeRecord>, Stop> {
        let mut records = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.page(source, &request).await?;
            records.extend(page.records);
            match page.next {
                Some(next) => request.after = Some(next),
                None => return Ok(records),
            }
        }
        Err(Stop::Failed(format!(
            "a list of few records is not at its end after {PAGES_MAX} pages"
        )))
    }

    /// One page, held against what every page has to keep.
    async fn page(&self, source: &dyn Source, request: &ListRequest) -> Result<Page, Stop> {
        let page = source.list(request).await?;
        ensure!(
            page.records.len() <= request.limit,
            "a page of {} records, {} asked for",
            page.records.len(),
            request.limit
        );
        if let Some(PageToken(token)) = &page.next {
            ensure!(token.len() <= 1024, "a page token of {} bytes", token.len());
            ensure!(page.next != request.after, "a page leads to itself");
        }
        Ok(page)
    }

    /// The record as it is now.
    async fn read(&self, id: &RecordId) -> Result<NativeRecord, Stop> {
        let ids = [id.clone()];
        let mut found = self.source.fetch(&self.subject.entity, &ids).await?;
        ensure!(
            found.len() == 1 && found[0].id == *id,
            "fetch of one id answered with {} records",
            found.len()
        );
        Ok(found.remove(0))
    }

    fn create(&self, fields: Fields) -> Write {
        self.write_of(WriteAction::Create { fields })
    }

    fn update(&self, current: NativeRecord, field: &str, value: Value) -> Write {
        self.write_of(WriteAction::Update {
            current: Box::new(current),
            fields: [(field.to_owned(), value)].into(),
        })
    }

    fn write_of(&self, action: WriteAction) -> Write {
        Write {
            entity: self.subject.entity.clone(),
            action,
            send_by: self.peer.clock().monotonic() + PATIENCE,
        }
    }

    async fn write(&self, write: Write) -> Result<Result<Written>, Stop> {
        let mut outcomes = self.target.write(&[write]).await;
        ensure!(outcomes.len() == 1, "one write has {} outcomes", outcomes.len());
        Ok(outcomes.remove(0))
    }
}

/// A fault that the peer says it makes, and how many calls had met one before.
struct Struck {
    fault: Fault,
    calls: Option<usize>,
}

/// A field's text, however the system spells it.
fn plain(record: &NativeRecord, field: &str) -> Option<String> {
    seamless_core::lookup(&record.fields, field).and_then(Value::to_plain)
}

fn has(records: &[NativeRecord], id: &RecordId) -> bool {
    records.iter().any(|record| record.id == *id)
}
