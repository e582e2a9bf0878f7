use serde_json::json;

use super::*;

fn paging(toml: &str) -> Paging {
    toml::from_str(toml).unwrap()
}

/// Reads a list to its end; `serve` gives the answer of one request, and `between` changes the rows after each page.
fn read(
    paging: &Paging,
    size: usize,
    mut serve: impl FnMut(&Ask, usize) -> PageAnswer,
    mut between: impl FnMut(u32),
) -> Result<Vec<String>> {
    let mut walk = Walk::start(paging, size);
    let mut rows = Vec::new();
    loop {
        let answers: Vec<PageAnswer> = walk
            .asks(paging)
            .iter()
            .map(|ask| serve(ask, walk.size))
            .collect();
        let joined: Vec<String> = answers
            .iter()
            .rev()
            .flat_map(|answer| answer.ids.clone())
            .collect();
        let step = walk.advance(paging, &answers)?;
        rows.extend(joined.into_iter().skip(step.skip));
        match step.next {
            None => return Ok(rows),
            // Through the token and back, as a restart would.
            Some(next) => {
                between(next.pages);
                walk = serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap();
                assert_eq!(walk, next);
            }
        }
    }
}

fn slice(rows: &[u32], from: usize, size: usize) -> PageAnswer {
    let ids = rows.iter().skip(from).take(size).map(u32::to_string).collect();
    PageAnswer {
        ids,
        ..Default::default()
    }
}

fn count(ask: &Ask) -> usize {
    match ask {
        Ask::Value(Some(value)) => value.as_u64().unwrap() as usize,
        other => panic!("no count: {other:?}"),
    }
}

fn distinct(rows: &[String]) -> Vec<u32> {
    let mut ids: Vec<u32> = rows.iter().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn counted_pages_hide_no_row_when_earlier_rows_disappear() {
    use std::cell::RefCell;
    for (toml, first) in [("kind='offset'\nquery='o'", 0), ("kind='page'\nquery='p'", 1)] {
        let paging = paging(toml);
        // How many rows disappear in front after the first, second and third page.
        for gone in [[0, 0, 0], [1, 0, 0], [3, 2, 0], [9, 0, 1], [12, 12, 1], [4, 4, 4]] {
            let rows: RefCell<Vec<u32>> = RefCell::new((0..60).collect());
            let serve = |ask: &Ask, size: usize| {
                let from = if first == 0 {
                    count(ask)
                } else {
                    (count(ask) - 1) * size
                };
                slice(&rows.borrow(), from, size)
            };
            let between = |page: u32| {
                if let Some(gone) = gone.get(page as usize - 1) {
                    rows.borrow_mut().drain(..gone);
                }
            };
            let read = distinct(&read(&paging, 10, serve, between).unwrap());
            let left = rows.borrow().clone();
            let missing: Vec<&u32> = left.iter().filter(|id| !read.contains(id)).collect();
            assert!(missing.is_empty(), "{toml} {gone:?}: never seen {missing:?}");
        }
    }
}

#[test]
fn counted_pages_come_once_when_nothing_moves() {
    for toml in [
        "kind='offset'\nquery='o'",
        "kind='offset'\nquery='o'\nstable=true",
    ] {
        let rows: Vec<u32> = (0..25).collect();
        let all = read(
            &paging(toml),
            10,
            |ask, size| slice(&rows, count(ask), size),
            |_| {},
        )
        .unwrap();
        assert_eq!(all.len(), 25, "{toml}");
    }
    for toml in [
        "kind='page'\nquery='p'",
        "kind='page'\nquery='p'\nstable=true",
        "kind='page'\nquery='p'\nfirst=0",
    ] {
        let first = if toml.contains("first") { 0 } else { 1 };
        let rows: Vec<u32> = (0..30).collect();
        let serve = |ask: &Ask, size: usize| slice(&rows, (count(ask) - first) * size, size);
        assert_eq!(
            read(&paging(toml), 10, serve, |_| {}).unwrap().len(),
            30,
            "{toml}"
        );
    }
}

#[test]
fn a_server_that_shortens_pages_or_repeats_the_last_one_hides_nothing() {
    let rows: Vec<u32> = (0..23).collect();
    let capped = |ask: &Ask, _| slice(&rows, count(ask), 4);
    assert_eq!(
        read(&paging("kind='offset'\nquery='o'"), 10, capped, |_| {})
            .unwrap()
            .len(),
        23
    );
    let total = |ask: &Ask, _| PageAnswer {
        total: Some(23),
        ..slice(&rows, (count(ask) - 1) * 4, 4)
    };
    assert_eq!(
        read(&paging("kind='page'\nquery='p'\ntotal='t'"), 10, total, |_| {})
            .unwrap()
            .len(),
        23
    );
    let clamped = |ask: &Ask, size: usize| slice(&rows, (count(ask) - 1).min(2) * size, size);
    assert_eq!(
        distinct(&read(&paging("kind='page'\nquery='p'"), 10, clamped, |_| {}).unwrap()).len(),
        23
    );
}

#[test]
fn a_server_that_ignores_the_page_is_noticed() {
    let rows: Vec<u32> = (0..30).collect();
    for toml in [
        "kind='offset'\nquery='o'",
        "kind='page'\nquery='p'",
        "kind='offset'\nquery='o'\nstable=true",
    ] {
        let error = read(&paging(toml), 10, |_, size| slice(&rows, 0, size), |_| {}).unwrap_err();
        assert!(error.message().contains("seems to ignore"), "{toml}: {error}");
    }
}

#[test]
fn cursors_end_or_are_called_endless() {
    let cursor = paging("kind='cursor'\nquery='c'\nnext='next'");
    let serve = |next: fn(u64) -> Option<u64>, rows: fn(u64) -> u64| {
        move |ask: &Ask, _: usize| {
            let at = match ask {
                Ask::Value(Some(value)) => value.as_u64().unwrap(),
                _ => 0,
            };
            let ids = (0..rows(at)).map(|row| format!("{at}-{row}")).collect();
            PageAnswer {
                ids,
                next: next(at).map(Json::from),
                ..Default::default()
            }
        }
    };
    let all = read(&cursor, 2, serve(|at| (at < 5).then_some(at + 1), |_| 2), |_| {}).unwrap();
    assert_eq!(all.len(), 12);
    let gaps = read(
        &cursor,
        2,
        serve(|at| (at < 9).then_some(at + 1), |at| u64::from(at % 4 == 3)),
        |_| {},
    );
    assert_eq!(gaps.unwrap().len(), 2, "three empty pages in a row are fine");
    type Case = (&'static str, fn(u64) -> Option<u64>, fn(u64) -> u64);
    let endless: [Case; 4] = [
        ("just read", |at| Some(at.max(1)), |_| 2),
        ("in a circle", |at| Some((at + 1) % 7), |_| 2),
        ("empty pages", |at| Some(at + 1), |_| 0),
        ("100000 pages", |at| Some(at + 1), |_| 1),
    ];
    for (sign, next, rows) in endless {
        let error = read(&cursor, 2, serve(next, rows), |_| {}).unwrap_err();
        assert!(error.message().contains(sign), "{sign}: {error}");
    }
    let mut calls = 0;
    let repeats = |_: &Ask, _: usize| {
        calls += 1;
        PageAnswer {
            next: Some(json!(calls)),
            ..slice(&[1, 2], 0, 2)
        }
    };
    assert!(
        read(&cursor, 2, repeats, |_| {})
            .unwrap_err()
            .message()
            .contains("repeats the same page")
    );
}

#[test]
fn keysets_go_on_behind_the_last_row() {
    let rows: Vec<u32> = (1..=23).collect();
    let serve = |ask: &Ask, size: usize| {
        let after = match ask {
            Ask::Value(Some(value)) => value.as_u64().unwrap() as u32,
            _ => 0,
        };
        let found: Vec<u32> = rows.iter().copied().filter(|id| *id > after).take(size).collect();
        PageAnswer {
            keys: found.iter().map(|id| json!(id)).collect(),
            ..slice(&found, 0, size)
        }
    };
    let keyset = paging("kind='keyset'\nquery='id_gt'\nfield='id'");
    assert_eq!(read(&keyset, 10, serve, |_| {}).unwrap().len(), 23);

    let unordered = PageAnswer {
        keys: vec![json!(2), json!(1)],
        ..slice(&[2, 1], 0, 2)
    };
    let error = Walk::start(&keyset, 10)
        .advance(&keyset, &[unordered])
        .unwrap_err();
    assert!(error.message().contains("ascending"), "{error}");
    let keyless = PageAnswer {
        keys: vec![Json::Null],
        ..slice(&[2], 0, 2)
    };
    assert!(Walk::start(&keyset, 10).advance(&keyset, &[keyless]).is_err());
}

#[test]
fn an_inclusive_keyset_reads_equal_stamps_and_refuses_too_many() {
    let inclusive = paging("kind='keyset'\nquery='from'\nfield='at'\ninclusive=true");
    let serve = |stamps: &'static [u32]| {
        move |ask: &Ask, size: usize| {
            let from = match ask {
                Ask::Value(Some(value)) => value.as_u64().unwrap() as u32,
                _ => 0,
            };
            let found: Vec<(usize, u32)> = stamps
                .iter()
                .copied()
                .enumerate()
                .filter(|(_, at)| *at >= from)
                .take(size)
                .collect();
            PageAnswer {
                ids: found.iter().map(|(row, _)| row.to_string()).collect(),
                keys: found.iter().map(|(_, at)| json!(at)).collect(),
                ..Default::default()
            }
        }
    };
    let stamps: &[u32] = &[1, 2, 2, 2, 3, 4, 5, 5, 5];
    let all = read(&inclusive, 4, serve(stamps), |_| {}).unwrap();
    assert_eq!(distinct(&all).len(), stamps.len());
    let error = read(&inclusive, 4, serve(&[1, 2, 2, 2, 2, 2, 3]), |_| {}).unwrap_err();
    assert!(error.message().contains("share one 'at'"), "{error}");
}
