//! What holds at any time: claims, descriptions, and that nobody has to wait for a call to its end.

use std::collections::BTreeSet;
use std::task::Poll;

use futures::FutureExt;
use futures::future::poll_fn;
use seamless_core::{ExternalKey, RecordId};

use super::{Ground, Stop, ensure, has};

pub(super) async fn claims_hold(ground: &Ground) -> Result<(), Stop> {
    let claims = &ground.capabilities;
    ensure!(claims.find_batch_max > 0, "find_batch_max is 0");
    ensure!(claims.write_concurrency > 0, "write_concurrency is 0");
    ensure!(!claims.cursor_granularity.is_zero(), "cursor_granularity is 0");
    ensure!(
        claims.external_key == ExternalKey::None || ground.subject.cross_reference.is_some(),
        "there is an external key, but the subject names no field for it"
    );
    let ids = ground.seed(3).await;
    let listed = ground.list(None, 500).await?;
    for id in &ids {
        let fetched = ground.read(id).await?;
        let listed = listed.iter().find(|record| record.id == *id);
        let Some(listed) = listed else {
            return Err(Stop::Failed(format!("{id} is not listed")));
        };
        for record in [&fetched, listed] {
            ensure!(
                record.version.is_some() || !claims.compare_and_set,
                "compare-and-set is claimed, but a record has no version"
            );
            ensure!(
                record.stamp.is_some() || !claims.incremental,
                "incremental lists are claimed, but a record has no stamp"
            );
            ensure!(
                record.fields.contains_key(&ground.subject.name),
                "a record has no {}",
                ground.subject.name
            );
        }
        ensure!(
            fetched.stamp == listed.stamp,
            "list and fetch differ in a record's stamp"
        );
    }
    if claims.ascending_ids {
        let numbers: Vec<i64> = ids.iter().filter_map(|id| id.as_str().parse().ok()).collect();
        ensure!(
            numbers.len() == ids.len() && numbers.is_sorted_by(|a, b| a < b),
            "ids are said to be whole numbers that rise"
        );
    }
    ensure!(
        ground.source.capabilities(&ground.subject.entity) == *claims,
        "capabilities have changed while open"
    );
    Ok(())
}

pub(super) async fn describes_what_it_uses(ground: &Ground) -> Result<(), Stop> {
    ground.source.ping().await?;
    let info = ground.source.describe(&ground.subject.entity).await?;
    ensure!(
        info.can_create && info.can_update,
        "records cannot be created and updated, it says"
    );
    if info.fields.is_empty() {
        return Err(Stop::Skipped("the system does not describe itself".to_owned()));
    }
    let subject = &ground.subject;
    let used = [&subject.name, &subject.other]
        .into_iter()
        .chain(&subject.cross_reference)
        .chain(subject.required.keys())
        .chain(subject.exact.iter().map(|exact| &exact.field));
    for field in used {
        let described = info.fields.iter().find(|known| known.name == *field);
        let Some(described) = described else {
            return Err(Stop::Failed(format!(
                "the subject names {field}, which is not among the described fields"
            )));
        };
        ensure!(!described.read_only, "{field} is described as read-only");
    }
    let names: BTreeSet<&str> = info.fields.iter().map(|field| field.name.as_str()).collect();
    ensure!(names.len() == info.fields.len(), "a field is described twice");
    Ok(())
}

pub(super) async fn asked_for_nothing_it_answers_nothing(ground: &Ground) -> Result<(), Stop> {
    ground.seed(2).await;
    let entity = &ground.subject.entity;
    let fetched = ground.source.fetch(entity, &[]).await?;
    ensure!(
        fetched.is_empty(),
        "no id was asked for, {} records come",
        fetched.len()
    );
    let found = ground.source.find(entity, &[]).await?;
    ensure!(
        found.is_empty(),
        "nothing was looked for, {} answers come",
        found.len()
    );
    let outcomes = ground.target.write(&[]).await;
    ensure!(
        outcomes.is_empty(),
        "nothing was written, {} outcomes come",
        outcomes.len()
    );
    Ok(())
}

pub(super) async fn dropped_calls_do_no_harm(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(3).await;
    let before = ground.peer.count().await;
    let entity = ground.subject.entity.clone();
    // More of them than any queue of calls is long; dropped at their first rest, some a little later.
    for round in 0..12 {
        let polls = 1 + round % 3;
        abandon(ground.source.list(&ground.request(None, 2)), polls).await;
        abandon(ground.source.fetch(&entity, &ids), polls).await;
        abandon(ground.source.ping(), polls).await;
    }
    let write = [ground.create(ground.fields(95))];
    abandon(ground.target.write(&write), 1).await;

    let listed = ground.list(None, 500).await?;
    for id in &ids {
        ensure!(
            has(&listed, id),
            "{id} is not listed any more after calls were dropped"
        );
    }
    let fetched = ground.source.fetch(&entity, &ids).await?;
    let fetched: BTreeSet<&RecordId> = fetched.iter().map(|record| &record.id).collect();
    ensure!(fetched.len() == 3, "{} of 3 records come back", fetched.len());
    let written = ground.write(ground.create(ground.fields(96))).await??;
    ensure!(
        ground.read(&written.id).await?.id == written.id,
        "another record comes back"
    );
    let created = ground.peer.count().await - before;
    ensure!(
        (1..=2).contains(&created),
        "a dropped create and another one made {created} records"
    );
    Ok(())
}

/// Polls a call so many times, then drops it.
async fn abandon(call: impl Future, polls: usize) {
    let mut call = Box::pin(call);
    for _ in 0..polls {
        let done = poll_fn(|context| Poll::Ready(call.poll_unpin(context).is_ready())).await;
        if done {
            return;
        }
    }
}
