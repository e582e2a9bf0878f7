//! Lists of changes.

use std::collections::BTreeSet;
use std::time::Duration;

use seamless_core::{ErrorKind, RecordId, Stamp};

use super::{Credentials, Fault, Ground, PAGES_MAX, Stop, ensure, has};

pub(super) async fn lists_every_record(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(7).await;
    for limit in [1, 2, 7, 500] {
        let listed = ground.list(None, limit).await?;
        for id in &ids {
            ensure!(has(&listed, id), "pages of {limit}: {id} is missing");
        }
    }
    Ok(())
}

pub(super) async fn lists_since_a_stamp_inclusively(ground: &Ground) -> Result<(), Stop> {
    incremental(ground)?;
    let ids = ground.seed(3).await;
    for id in &ids {
        let stamp = stamp(ground, id).await?;
        let listed = ground.list(Some(stamp), 500).await?;
        ensure!(has(&listed, id), "a record is not listed since its own stamp");
    }
    Ok(())
}

pub(super) async fn lists_what_was_changed_since(ground: &Ground) -> Result<(), Stop> {
    incremental(ground)?;
    let ids = ground.seed(3).await;
    let last = stamp(ground, &ids[2]).await?;
    let granularity = i64::try_from(ground.capabilities.cursor_granularity.as_micros()).unwrap_or(i64::MAX);
    // Stamps that have been made can tell from this one only what is further away than their grain.
    let since = Stamp(last.0.saturating_add(1));
    for _ in 0..PAGES_MAX {
        ground.edit(&ids[0], "changed").await;
        if stamp(ground, &ids[0]).await? >= since {
            let listed = ground.list(Some(since), 500).await?;
            ensure!(has(&listed, &ids[0]), "a changed record is not listed");
            let created = ground.seed(1).await;
            let listed = ground.list(Some(since), 500).await?;
            ensure!(has(&listed, &created[0]), "a created record is not listed");
            return Ok(());
        }
        let grain =
            Duration::from_micros(u64::try_from(granularity).unwrap_or(1)).min(Duration::from_secs(1));
        ground.peer.clock().sleep(grain).await;
    }
    Err(Stop::Failed("a person's edit does not move the stamp".to_owned()))
}

pub(super) async fn equal_stamps_survive_the_edges_of_pages(ground: &Ground) -> Result<(), Stop> {
    incremental(ground)?;
    let ids = ground.seed(7).await;
    let mut stamps = BTreeSet::new();
    for id in &ids {
        stamps.insert(stamp(ground, id).await?);
    }
    if stamps.len() == ids.len() {
        let reason = "the peer gives no two records one stamp".to_owned();
        return Err(Stop::Skipped(reason));
    }
    for limit in [1, 2, 3] {
        let listed = ground.list(stamps.first().copied(), limit).await?;
        for id in &ids {
            ensure!(has(&listed, id), "pages of {limit}: {id} fell into an edge");
        }
    }
    Ok(())
}

pub(super) async fn goes_on_from_any_token_in_a_new_instance(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(7).await;
    let mut request = ground.request(None, 2);
    let mut seen = BTreeSet::new();
    for page_number in 1..PAGES_MAX {
        let page = ground.page(ground.source.as_ref(), &request).await?;
        seen.extend(page.records.into_iter().map(|record| record.id));
        let Some(next) = page.next else {
            ensure!(page_number > 1, "seven records came on one page of two");
            return Ok(());
        };
        request.after = Some(next);
        let other = ground.peer.open(Credentials::Right).await?;
        let rest = ground.list_from(other.source.as_ref(), request.clone()).await?;
        let missing: Vec<&RecordId> = ids
            .iter()
            .filter(|id| !seen.contains(id) && !has(&rest, id))
            .collect();
        ensure!(
            missing.is_empty(),
            "resumed behind page {page_number}: {missing:?} never come"
        );
    }
    Err(Stop::Failed("the list does not end".to_owned()))
}

pub(super) async fn rows_that_move_are_not_skipped(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(8).await;
    let mut request = ground.request(None, 3);
    let first = ground.page(ground.source.as_ref(), &request).await?;
    ensure!(first.next.is_some(), "eight records came on one page of three");
    request.after.clone_from(&first.next);
    // One that has been read goes to the end of the list, another one disappears: everything behind them moves up.
    let read: Vec<&RecordId> = ids.iter().filter(|id| has(&first.records, id)).collect();
    if let Some(id) = read.first() {
        ground.edit(id, "moved").await;
    }
    if let Some(id) = read.get(1) {
        ground.peer.delete(id).await;
    }
    let rest = ground.list_from(ground.source.as_ref(), request).await?;
    for id in ids.iter().filter(|id| !has(&first.records, id)) {
        ensure!(
            has(&rest, id),
            "{id} moved up while the list was read, and was skipped"
        );
    }
    Ok(())
}

pub(super) async fn an_endless_list_is_an_error(ground: &Ground) -> Result<(), Stop> {
    let broken = [ErrorKind::Protocol, ErrorKind::Limit];
    misled(
        ground,
        Fault::EndlessList,
        &broken,
        "the same page again and again",
    )
    .await
}

pub(super) async fn a_foreign_page_is_not_followed(ground: &Ground) -> Result<(), Stop> {
    let broken = [ErrorKind::Protocol];
    misled(ground, Fault::ForeignPage, &broken, "a next page elsewhere").await
}

/// A list whose server misleads about its next page fails, or, where the server's word on pages is not needed, comes whole.
async fn misled(ground: &Ground, fault: Fault, broken: &[ErrorKind], what: &str) -> Result<(), Stop> {
    let ids = ground.seed(5).await;
    let struck = ground.strike(fault).await?;
    let mut request = ground.request(None, 2);
    let mut records = Vec::new();
    for _ in 0..PAGES_MAX {
        match ground.source.list(&request).await {
            Err(error) => {
                ensure!(broken.contains(&error.kind), "{what} is {:?}", error.kind);
                return ground.met(struck).await;
            }
            Ok(page) => {
                records.extend(page.records);
                request.after = page.next;
            }
        }
        if request.after.is_none() {
            for id in &ids {
                ensure!(has(&records, id), "{what} counts as the list's end");
            }
            return ground.met(struck).await;
        }
    }
    Err(Stop::Failed(format!(
        "{what}: the list is not at its end after {PAGES_MAX} pages"
    )))
}

pub(super) async fn a_garbled_answer_is_an_error(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(3).await;
    ground.strike(Fault::Garbled).await?;
    let listed = ground.source.list(&ground.request(None, 500)).await;
    ensure!(listed.is_err(), "a list that breaks off counts as a page");
    let fetched = ground.source.fetch(&ground.subject.entity, &ids).await;
    ensure!(
        fetched.is_err(),
        "an answer that breaks off counts as records that are not there"
    );
    Ok(())
}

pub(super) async fn a_huge_answer_is_an_error(ground: &Ground) -> Result<(), Stop> {
    ground.seed(3).await;
    ground.strike(Fault::Huge).await?;
    match ground.source.list(&ground.request(None, 500)).await {
        Ok(_) => Err(Stop::Failed(
            "an answer without measure counts as a page".to_owned(),
        )),
        Err(error) => {
            let told = matches!(error.kind, ErrorKind::Limit | ErrorKind::Protocol);
            ensure!(told, "an answer without measure is {:?}", error.kind);
            Ok(())
        }
    }
}

fn incremental(ground: &Ground) -> Result<(), Stop> {
    if ground.capabilities.incremental {
        Ok(())
    } else {
        Err(Stop::Skipped("lists are not incremental".to_owned()))
    }
}

async fn stamp(ground: &Ground, id: &RecordId) -> Result<Stamp, Stop> {
    let record = ground.read(id).await?;
    record
        .stamp
        .ok_or_else(|| Stop::Failed("lists are incremental, but records have no stamp".to_owned()))
}
