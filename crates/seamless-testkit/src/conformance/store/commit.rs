//! All or nothing, expectations, versions.

use std::collections::BTreeSet;

use futures::future::join_all;
use seamless_core::memory::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use seamless_core::{ErrorKind, Expect, Row, Table};

use super::{StoreFactory, check, delete, get, judge, put};
use crate::conformance::{CaseResult, ensure};

pub(super) async fn deletes(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    store
        .commit(vec![put("k", Expect::Any, b"1"), put("l", Expect::Any, b"1")])
        .await?;
    store.commit(vec![delete("k", Expect::Any)]).await?;
    ensure!(get(&*store, "k").await?.is_none(), "the row is still there");
    ensure!(get(&*store, "l").await?.is_some(), "another row went too");
    store.commit(vec![delete("k", Expect::Any)]).await?;
    store.commit(vec![delete("k", Expect::Absent)]).await?;
    Ok(())
}

pub(super) async fn expectations_decide(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let old = store.commit(vec![put("there", Expect::Any, b"1")]).await?;
    let now = store.commit(vec![put("there", Expect::Any, b"2")]).await?;
    let cases = [
        ("there", Expect::Any, true),
        ("there", Expect::Version(now), true),
        ("there", Expect::Version(old), false),
        ("there", Expect::Version(now + 1_000), false),
        ("there", Expect::Absent, false),
        ("absent", Expect::Any, true),
        ("absent", Expect::Absent, true),
        ("absent", Expect::Version(now), false),
        ("absent", Expect::Version(0), false),
    ];
    for (key, expect, holds) in cases {
        let checked = store.commit(vec![check(key, expect)]).await;
        judge(checked, holds, key)
            .map_err(|reason| format!("check {expect:?} of the {key} row: {reason}"))?;
    }
    // The failing ones first, then each kind that holds on rows of its own.
    for (key, expect, _) in cases.into_iter().filter(|(.., holds)| !holds) {
        for op in [put(key, expect, b"x"), delete(key, expect)] {
            let changed = store.commit(vec![op]).await;
            judge(changed, false, key)
                .map_err(|reason| format!("change {expect:?} of the {key} row: {reason}"))?;
        }
    }
    ensure!(
        get(&*store, "there").await?
            == Some(Row {
                version: now,
                value: b"2".to_vec()
            }),
        "a refused change left a trace"
    );
    ensure!(
        get(&*store, "absent").await?.is_none(),
        "a refused change made a row"
    );
    let put_version = store
        .commit(vec![put("there", Expect::Version(now), b"3")])
        .await?;
    store.commit(vec![put("absent", Expect::Absent, b"3")]).await?;
    store
        .commit(vec![delete("there", Expect::Version(put_version))])
        .await?;
    ensure!(
        get(&*store, "there").await?.is_none(),
        "a delete with the right version did nothing"
    );
    Ok(())
}

pub(super) async fn a_failed_operation_undoes_the_earlier_ones(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let kept = store
        .commit(vec![
            put("kept", Expect::Any, b"1"),
            put("gone", Expect::Any, b"1"),
        ])
        .await?;
    let ops = vec![
        put("new", Expect::Absent, b"2"),
        put("kept", Expect::Version(kept), b"2"),
        delete("gone", Expect::Any),
        check("nowhere", Expect::Version(kept)),
        put("later", Expect::Any, b"2"),
    ];
    judge(store.commit(ops).await, false, "nowhere")?;
    for (key, expected) in [
        ("new", None),
        ("kept", Some(kept)),
        ("gone", Some(kept)),
        ("later", None),
    ] {
        let version = get(&*store, key).await?.map(|row| row.version);
        ensure!(
            version == expected,
            "row '{key}' has version {version:?} instead of {expected:?}"
        );
    }
    Ok(())
}

pub(super) async fn a_later_operation_sees_the_earlier_ones(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let first = store.commit(vec![put("k", Expect::Any, b"0")]).await?;
    store
        .commit(vec![
            delete("k", Expect::Version(first)),
            put("k", Expect::Absent, b"1"),
        ])
        .await?;
    ensure!(
        get(&*store, "k").await?.is_some_and(|row| row.value == b"1"),
        "delete, then put as absent"
    );
    let twice = store
        .commit(vec![
            put("n", Expect::Absent, b"1"),
            put("n", Expect::Absent, b"2"),
        ])
        .await;
    judge(twice, false, "n").map_err(|reason| format!("two puts as absent: {reason}"))?;
    let stale = store
        .commit(vec![
            put("k", Expect::Any, b"2"),
            check("k", Expect::Version(first)),
        ])
        .await;
    judge(stale, false, "k").map_err(|reason| format!("put, then a check of the old version: {reason}"))?;
    store
        .commit(vec![
            put("n", Expect::Absent, b"1"),
            delete("n", Expect::Any),
            check("n", Expect::Absent),
        ])
        .await?;
    ensure!(get(&*store, "n").await?.is_none(), "put, then delete");
    store
        .commit(vec![put("k", Expect::Any, b"3"), put("k", Expect::Any, b"4")])
        .await?;
    ensure!(
        get(&*store, "k").await?.is_some_and(|row| row.value == b"4"),
        "the last put wins"
    );
    Ok(())
}

pub(super) async fn versions_only_rise(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let mut last = 0;
    for n in 0..20 {
        let version = store
            .commit(vec![
                put("a", Expect::Any, b"1"),
                put(&format!("b{n}"), Expect::Absent, b""),
            ])
            .await?;
        ensure!(version > last, "version {version} after {last}");
        for key in ["a".to_owned(), format!("b{n}")] {
            let row = get(&*store, &key).await?.map(|row| row.version);
            ensure!(
                row == Some(version),
                "commit said {version}, row '{key}' has {row:?}"
            );
        }
        last = version;
    }
    Ok(())
}

pub(super) async fn a_row_made_again_never_has_an_old_version(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let mut seen = BTreeSet::new();
    for round in 0..10 {
        let version = store.commit(vec![put("k", Expect::Absent, b"same")]).await?;
        ensure!(
            seen.insert(version),
            "version {version} came twice (round {round})"
        );
        store.commit(vec![delete("k", Expect::Version(version))]).await?;
        judge(
            store.commit(vec![check("k", Expect::Version(version))]).await,
            false,
            "k",
        )?;
    }
    let again = store.commit(vec![put("k", Expect::Absent, b"same")]).await?;
    for old in seen.into_iter().filter(|old| *old != again) {
        judge(
            store.commit(vec![put("k", Expect::Version(old), b"thief")]).await,
            false,
            "k",
        )?;
    }
    Ok(())
}

pub(super) async fn refuses_what_is_too_large(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let too_long = "k".repeat(KEY_BYTES_MAX + 1);
    for op in [
        put(&too_long, Expect::Any, b""),
        put("k", Expect::Any, &vec![0; VALUE_BYTES_MAX + 1]),
    ] {
        let refused = store.commit(vec![put("first", Expect::Any, b""), op]).await;
        let kind = refused.err().map(|error| error.kind);
        ensure!(
            kind == Some(ErrorKind::Limit),
            "answered {kind:?} instead of Limit"
        );
    }
    ensure!(
        get(&*store, "first").await?.is_none(),
        "a refused commit left a trace"
    );
    Ok(())
}

pub(super) async fn one_of_many_rivals_wins(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let mut expect = Expect::Absent;
    for round in 0..5 {
        let rivals = (0..16).map(|rival: u8| {
            store.commit(vec![
                put("claim", expect, &[rival]),
                put(&format!("{round}/{rival}"), Expect::Absent, b""),
            ])
        });
        let outcomes = join_all(rivals).await;
        let mut won = Vec::new();
        for (rival, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(version) => won.push((rival, version)),
                lost => judge(lost, false, "claim")?,
            }
        }
        ensure!(won.len() == 1, "{} of 16 rivals won", won.len());
        let (rival, version) = won[0];
        let row = get(&*store, "claim").await?;
        ensure!(
            row == Some(Row {
                version,
                value: vec![rival as u8]
            }),
            "the row is not the winner's"
        );
        let traces = store.count(Table::Link, &format!("{round}/")).await?;
        ensure!(traces == 1, "{traces} rivals left a trace");
        expect = Expect::Version(version);
    }
    Ok(())
}

pub(super) async fn commits_nothing_gladly(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    store.commit(vec![]).await?;
    let version = store.commit(vec![put("k", Expect::Any, b"")]).await?;
    store.commit(vec![]).await?;
    store.commit(vec![check("k", Expect::Version(version))]).await?;
    ensure!(
        get(&*store, "k").await?.is_some_and(|row| row.version == version),
        "a check changed the row"
    );
    Ok(())
}

pub(super) async fn a_dropped_commit_is_whole_or_absent(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    for round in 0..20 {
        let mut commit = store.commit(vec![
            put(&format!("{round}/a"), Expect::Any, b""),
            put(&format!("{round}/b"), Expect::Any, b""),
        ]);
        drop(futures::poll!(&mut commit));
        drop(commit);
    }
    // A commit that returns comes after all that were dropped before it.
    store.commit(vec![put("last", Expect::Any, b"")]).await?;
    for round in 0..20 {
        let count = store.count(Table::Link, &format!("{round}/")).await?;
        ensure!(count != 1, "half of a dropped commit is there");
    }
    Ok(())
}

pub(super) async fn survives_reopening(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let kept = store
        .commit(vec![
            put("kept", Expect::Any, b"1"),
            put("gone", Expect::Any, b"1"),
        ])
        .await?;
    let last = store.commit(vec![delete("gone", Expect::Any)]).await?;
    drop(store);
    let Some(store) = factory.reopen().await else {
        return Ok(());
    };
    ensure!(
        get(&*store, "kept").await?
            == Some(Row {
                version: kept,
                value: b"1".to_vec()
            }),
        "a committed row is lost"
    );
    ensure!(get(&*store, "gone").await?.is_none(), "a deleted row is back");
    let next = store.commit(vec![put("gone", Expect::Absent, b"2")]).await?;
    ensure!(
        next > kept.max(last),
        "version {next} after {kept} and {last}: the counter fell back"
    );
    Ok(())
}
