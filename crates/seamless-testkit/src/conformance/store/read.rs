//! What is stored comes back, alone and in ranges.

use seamless_core::memory::KEY_BYTES_MAX;
use seamless_core::{Expect, Op, Row, RowKey, Table};

use super::{StoreFactory, get, link, put, scan};
use crate::conformance::{CaseResult, ensure};

pub(super) async fn reads_back_what_was_put(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    for value in [
        &b""[..],
        b"plain",
        &[0, 0xff, 0, 0x80, b'\''],
        "später".as_bytes(),
    ] {
        let version = store.commit(vec![put("k", Expect::Any, value)]).await?;
        let row = get(&*store, "k").await?;
        ensure!(
            row == Some(Row {
                version,
                value: value.to_vec()
            }),
            "a value of {} bytes changed",
            value.len()
        );
    }
    for table in Table::ALL {
        let row = store.get(&[RowKey::new(table, "k")]).await?.remove(0);
        ensure!(
            row.is_some() == (table == Table::Link),
            "the row shows up in table {table:?}"
        );
    }
    Ok(())
}

pub(super) async fn get_keeps_the_order_of_its_keys(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let ops = (0..2_500)
        .map(|n| put(&format!("k{n}"), Expect::Absent, n.to_string().as_bytes()))
        .collect();
    store.commit(ops).await?;
    let asked: Vec<RowKey> = (0..2_600)
        .rev()
        .map(|n| link(&format!("k{n}")))
        .chain([link("k7"), link("k7")])
        .collect();
    let rows = store.get(&asked).await?;
    ensure!(
        rows.len() == asked.len(),
        "{} rows for {} keys",
        rows.len(),
        asked.len()
    );
    for (key, row) in asked.iter().zip(rows) {
        let number: u32 = key.key[1..].parse().unwrap_or(0);
        let expected = (number < 2_500).then(|| number.to_string().into_bytes());
        ensure!(row.map(|row| row.value) == expected, "wrong row for {}", key.key);
    }
    ensure!(store.get(&[]).await?.is_empty(), "no keys must give no rows");
    Ok(())
}

pub(super) async fn scans_in_key_order(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let mut keys = vec![
        "a",
        "a/1",
        "a/10",
        "a/2",
        "a/ä",
        "a/日本",
        "a0",
        "b/1",
        "A/1",
        "a/\u{10ffff}",
        "a/\u{7f}",
        "z",
        "é/1",
    ];
    store
        .commit(
            keys.iter()
                .map(|key| put(key, Expect::Absent, key.as_bytes()))
                .collect(),
        )
        .await?;
    store
        .commit(vec![Op::Put {
            key: RowKey::new(Table::Pair, "a/3"),
            expect: Expect::Any,
            value: vec![],
        }])
        .await?;
    keys.sort_unstable_by_key(|key| key.as_bytes());

    for prefix in ["", "a", "a/", "a/1", "a/\u{10ffff}", "é", "nothing"] {
        for after in [
            None,
            Some("0"),
            Some("a/10"),
            Some("a/1x"),
            Some("b"),
            Some("zzz"),
        ] {
            let expected: Vec<&str> = keys
                .iter()
                .copied()
                .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| *key > after))
                .collect();
            for limit in [0, 1, 3, usize::MAX] {
                let found = scan(&*store, prefix, after, limit).await?;
                let expected = &expected[..expected.len().min(limit)];
                ensure!(
                    found == expected,
                    "scan '{prefix}' after {after:?} limit {limit}: {found:?}, not {expected:?}"
                );
            }
        }
    }
    Ok(())
}

pub(super) async fn keys_are_bytes_not_patterns(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let keys = [
        "100%", "100%/x", "1000", "a_b", "axb", "a*b", "a?b", "a[b]", "a'b", "a\"b", "a\\b", "A_B", "a b",
        " a_b", "a_b ",
    ];
    for key in keys {
        store
            .commit(vec![put(key, Expect::Absent, key.as_bytes())])
            .await?;
    }
    for key in keys {
        let row = get(&*store, key).await?;
        ensure!(
            row.is_some_and(|row| row.value == key.as_bytes()),
            "row '{key}' is another one"
        );
        let found = scan(&*store, key, None, 100).await?;
        let expected = keys.iter().filter(|other| other.starts_with(key)).count();
        ensure!(found.len() == expected, "prefix '{key}' found {found:?}");
        let count = store.count(Table::Link, key).await?;
        ensure!(count == expected as u64, "prefix '{key}' counted {count}");
    }
    Ok(())
}

pub(super) async fn counts(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    store
        .commit(
            (0..30)
                .map(|n| put(&format!("{}/{n}", n % 3), Expect::Absent, b""))
                .collect(),
        )
        .await?;
    for (table, prefix, expected) in [
        (Table::Link, "", 30),
        (Table::Link, "1/", 10),
        (Table::Link, "9/", 0),
        (Table::Pair, "", 0),
    ] {
        let count = store.count(table, prefix).await?;
        ensure!(
            count == expected,
            "{table:?} '{prefix}' counted {count} instead of {expected}"
        );
    }
    Ok(())
}

pub(super) async fn keeps_large_values_and_long_keys(factory: &dyn StoreFactory) -> CaseResult {
    let store = factory.fresh().await;
    let long = |last: char| format!("{}{last}", "k".repeat(KEY_BYTES_MAX - 1));
    let value: Vec<u8> = (0..1u32 << 20).map(|n| (n % 251) as u8).collect();
    for last in ['a', 'b'] {
        store
            .commit(vec![put(&long(last), Expect::Absent, &value)])
            .await?;
    }
    for last in ['a', 'b'] {
        ensure!(
            get(&*store, &long(last))
                .await?
                .is_some_and(|row| row.value == value),
            "a value of 1 MiB changed"
        );
    }
    let found = scan(&*store, &long('a'), None, 10).await?;
    ensure!(
        found == [long('a')],
        "a prefix of {KEY_BYTES_MAX} bytes found {} rows",
        found.len()
    );
    let found = scan(&*store, "k", Some(&long('a')), 10).await?;
    ensure!(
        found == [long('b')],
        "after a key of {KEY_BYTES_MAX} bytes: {} rows",
        found.len()
    );
    Ok(())
}
