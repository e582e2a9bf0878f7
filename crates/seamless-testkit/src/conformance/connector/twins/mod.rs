//! The suite on the connector in memory, and on twins of it that are wrong on purpose: a case that nothing can fail proves nothing.

mod twin;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{Capabilities, Clock, ExternalKey, Fields, RecordId, Result};

use super::memory::{MemoryBench, MemoryConnector, MemoryPeer, MemorySystem, subject};
use super::{Bench, CASES, Credentials, Fault, Opened, Peer, Stop, Subject, run, run_case};
use crate::conformance::Wrong;
use twin::Twin;

/// Everything that a system can promise.
fn strong() -> Capabilities {
    Capabilities {
        incremental: true,
        external_key: ExternalKey::Unique,
        compare_and_set: true,
        ascending_ids: true,
        find_batch_max: 4,
        write_concurrency: 4,
        ..Capabilities::default()
    }
}

#[tokio::test]
async fn memory_passes_with_every_promise_and_with_none() {
    let report = run(&MemoryBench(strong())).await;
    assert_eq!(report.verdict(CASES.len()), Ok(()));
    let report = run(&MemoryBench(Capabilities::default())).await;
    // What only incremental lists, keys, versions and rising ids can show.
    assert_eq!(report.verdict(CASES.len() - 8), Ok(()), "{:?}", report.skipped);
}

#[tokio::test]
async fn a_case_that_was_skipped_is_missed() {
    let report = run(&MemoryBench(Capabilities::default())).await;
    let Wrong(lines) = report.verdict(CASES.len()).unwrap_err();
    for told in ["no compare-and-set", "lists_every_record: ran"] {
        assert!(lines.iter().any(|line| line.contains(told)), "{told}: {lines:?}");
    }
}

#[tokio::test]
async fn every_case_has_a_twin_that_fails_it() {
    let mut proven = BTreeSet::new();
    for (flaw, case) in FLAWS {
        let report = run(&TwinBench(*flaw)).await;
        let caught = report
            .failures
            .iter()
            .any(|line| line.split(':').next() == Some(*case));
        assert!(caught, "{flaw:?} passed {case}; it failed {:?}", report.failures);
        proven.insert(*case);
    }
    for (case, _) in CASES {
        assert!(proven.contains(case), "nothing here fails {case}");
    }
}

/// The suite waits for a stamp that never moves, on a clock that stands still.
#[tokio::test]
async fn a_case_that_does_not_end_has_failed() {
    let (_, case) = CASES
        .iter()
        .find(|(name, _)| *name == "lists_what_was_changed_since")
        .expect("a case");
    let stop = run_case(
        &TwinBench(Flaw::EditsMoveNothing),
        *case,
        Duration::from_millis(200),
    )
    .await;
    assert!(matches!(stop, Err(Stop::Failed(said)) if said.contains("did not end within 200ms")));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Of the peer: not among [`FLAWS`], because the case that it stops takes its minute.
    EditsMoveNothing,
    /// Of the peer: it claims faults and makes none.
    ClaimsFaults,
    DropsEndOfPage,
    StrictSince,
    CreatedOnly,
    TokenIsStamp,
    TokenInMemory,
    OffsetPaging,
    BelievesEndlessList,
    TakesForeignPageForEnd,
    TakesGarbledForEmpty,
    TakesHugeForEmpty,
    CutsFindBatch,
    AnswersByRecordOrder,
    FindsByPrefix,
    FindsBlankByEmpty,
    BelievesFilter,
    AboveIdDescends,
    MindsCapitals,
    GivesIdsAgain,
    CachesFetch,
    MissingIsError,
    FetchesBySearch,
    DropsReference,
    ClaimsUniqueKey,
    WritesWholeRecord,
    IgnoresVersion,
    IgnoresSendBy,
    ReversesOutcomes,
    RoundsNumbers,
    LeavesOutEmpty,
    LostIsNotApplied,
    RepeatsLostWrites,
    GarbledIsNotApplied,
    FaultIsNotApplied,
    RefusalWithoutField,
    ThrottledWithoutTime,
    ThrottledWriteIsUnknown,
    AuthIsUnavailable,
    DeadIsEmpty,
    ErrorsTellValues,
    ErrorsTellSecrets,
    ClaimsCompareAndSet,
    DescribesOtherFields,
    EmptyIsError,
    BusyAfterDrop,
}

/// Each flaw, and the case that has to notice it.
const FLAWS: &[(Flaw, &str)] = &[
    (Flaw::DropsEndOfPage, "lists_every_record"),
    (Flaw::StrictSince, "lists_since_a_stamp_inclusively"),
    (Flaw::CreatedOnly, "lists_what_was_changed_since"),
    (Flaw::TokenIsStamp, "equal_stamps_survive_the_edges_of_pages"),
    (Flaw::TokenInMemory, "goes_on_from_any_token_in_a_new_instance"),
    (Flaw::OffsetPaging, "rows_that_move_are_not_skipped"),
    (Flaw::BelievesEndlessList, "an_endless_list_is_an_error"),
    (Flaw::TakesForeignPageForEnd, "a_foreign_page_is_not_followed"),
    (Flaw::TakesGarbledForEmpty, "a_garbled_answer_is_an_error"),
    (Flaw::TakesHugeForEmpty, "a_huge_answer_is_an_error"),
    (Flaw::CutsFindBatch, "finds_each_value_in_its_place"),
    (Flaw::AnswersByRecordOrder, "finds_each_value_in_its_place"),
    (Flaw::FindsByPrefix, "finds_nothing_where_nothing_is"),
    (Flaw::FindsBlankByEmpty, "an_empty_value_finds_nothing"),
    (Flaw::BelievesFilter, "an_ignored_filter_is_not_believed"),
    (Flaw::AboveIdDescends, "finds_above_an_id"),
    (Flaw::MindsCapitals, "finds_in_capitals_and_small_letters_alike"),
    (Flaw::GivesIdsAgain, "no_id_is_given_twice"),
    (Flaw::ClaimsFaults, "an_endless_list_is_an_error"),
    (Flaw::ClaimsFaults, "a_foreign_page_is_not_followed"),
    (Flaw::ClaimsFaults, "an_ignored_filter_is_not_believed"),
    (Flaw::ClaimsFaults, "fetches_what_a_search_does_not_find_yet"),
    (Flaw::CachesFetch, "fetches_what_is_there_now"),
    (Flaw::MissingIsError, "leaves_out_ids_that_are_not_there"),
    (Flaw::FetchesBySearch, "fetches_what_a_search_does_not_find_yet"),
    (Flaw::DropsReference, "a_create_is_found_by_its_cross_reference"),
    (
        Flaw::ClaimsUniqueKey,
        "a_second_record_with_a_unique_key_is_refused",
    ),
    (Flaw::WritesWholeRecord, "an_update_changes_only_what_was_sent"),
    (Flaw::IgnoresVersion, "a_stale_version_is_refused"),
    (Flaw::IgnoresSendBy, "a_late_write_is_not_sent"),
    (Flaw::ReversesOutcomes, "outcomes_come_in_order"),
    (Flaw::RoundsNumbers, "values_survive_exactly"),
    (Flaw::LeavesOutEmpty, "an_emptied_field_is_not_a_missing_one"),
    (Flaw::LostIsNotApplied, "a_lost_answer_is_unknown"),
    (Flaw::RepeatsLostWrites, "a_lost_write_is_not_repeated"),
    (
        Flaw::GarbledIsNotApplied,
        "a_write_with_a_garbled_answer_is_unknown",
    ),
    (Flaw::FaultIsNotApplied, "an_unexplained_fault_is_unknown"),
    (Flaw::RefusalWithoutField, "a_refusal_names_its_field"),
    (
        Flaw::ThrottledWithoutTime,
        "throttled_reads_say_when_to_come_back",
    ),
    (Flaw::ThrottledWriteIsUnknown, "throttled_writes_have_no_effect"),
    (Flaw::AuthIsUnavailable, "wrong_credentials_are_called_so"),
    (Flaw::DeadIsEmpty, "a_dead_system_is_unavailable"),
    (Flaw::ErrorsTellValues, "errors_tell_no_content"),
    (Flaw::ErrorsTellSecrets, "errors_tell_no_content"),
    (Flaw::ClaimsCompareAndSet, "claims_hold"),
    (Flaw::DescribesOtherFields, "describes_what_it_uses"),
    (Flaw::EmptyIsError, "asked_for_nothing_it_answers_nothing"),
    (Flaw::BusyAfterDrop, "dropped_calls_do_no_harm"),
];

struct TwinBench(Flaw);

#[async_trait]
impl Bench for TwinBench {
    fn subject(&self) -> Subject {
        subject()
    }

    async fn fresh(&self) -> Box<dyn Peer> {
        let mut capabilities = strong();
        if self.0 == Flaw::ClaimsUniqueKey {
            capabilities.external_key = ExternalKey::Searchable;
        }
        Box::new(TwinPeer {
            inner: MemoryPeer(MemorySystem::new(capabilities)),
            flaw: self.0,
        })
    }
}

/// The same system; only the connector is another.
struct TwinPeer {
    inner: MemoryPeer,
    flaw: Flaw,
}

#[async_trait]
impl Peer for TwinPeer {
    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    async fn open(&self, credentials: Credentials) -> Result<Opened> {
        let connector = MemoryConnector::new(self.inner.0.clone(), credentials);
        let twin = Arc::new(Twin::new(connector, self.flaw));
        Ok(Opened {
            source: twin.clone(),
            target: twin,
        })
    }

    async fn seed(&self, records: &[Fields]) -> Vec<RecordId> {
        self.inner.seed(records).await
    }

    async fn edit(&self, id: &RecordId, fields: &Fields) {
        if self.flaw != Flaw::EditsMoveNothing {
            self.inner.edit(id, fields).await;
        }
    }

    async fn delete(&self, id: &RecordId) -> bool {
        let deleted = self.inner.delete(id).await;
        if self.flaw == Flaw::GivesIdsAgain {
            self.inner.0.give_ids_again();
        }
        deleted
    }

    async fn count(&self) -> usize {
        self.inner.count().await
    }

    async fn write_calls(&self) -> Option<usize> {
        self.inner.write_calls().await
    }

    async fn struck_calls(&self) -> Option<usize> {
        self.inner.struck_calls().await
    }

    async fn strike(&self, fault: Fault) -> bool {
        self.flaw == Flaw::ClaimsFaults || self.inner.strike(fault).await
    }

    async fn heal(&self) {
        self.inner.heal().await;
    }
}
