//! Searches, and records by their ids.

use seamless_core::{Lookup, NativeRecord, RecordId, Value};

use super::{Fault, Ground, Stop, ensure, has, plain};

pub(super) async fn finds_each_value_in_its_place(ground: &Ground) -> Result<(), Stop> {
    // More than one call can carry, as far as that is a number that a test can make records for.
    let count = ground.capabilities.find_batch_max.min(60) + 3;
    let ids = ground.seed(count).await;
    // Backwards: the order of answers is the order of questions, not of records.
    let numbers: Vec<usize> = (0..count).rev().collect();
    let values: Vec<Value> = numbers.iter().map(|number| ground.name(*number)).collect();
    let found = search(ground, &values).await?;
    for (records, number) in found.iter().zip(&numbers) {
        ensure!(
            records.len() == 1 && records[0].id == ids[*number],
            "value {number} of {count} found {} records, or another than its own",
            records.len()
        );
    }
    Ok(())
}

pub(super) async fn finds_nothing_where_nothing_is(ground: &Ground) -> Result<(), Stop> {
    ground.seed(3).await;
    let Some(name) = ground.name(0).to_plain() else {
        return Err(Stop::Failed("a name is no text".to_owned()));
    };
    // Longer, shorter, and with what search languages give a meaning to.
    let strangers = [
        format!("{name}1"),
        name[..name.len() - 1].to_owned(),
        format!("{}%", &name[..name.len() - 1]),
        format!("{}*", &name[..name.len() - 1]),
        format!("{name}' or 'a'='a"),
        format!("{name}\",\"x"),
    ];
    let values: Vec<Value> = strangers.iter().map(|text| text.as_str().into()).collect();
    let found = search(ground, &values).await?;
    for (records, stranger) in found.iter().zip(&strangers) {
        ensure!(
            records.is_empty(),
            "'{stranger}' is found, but nothing is called so"
        );
    }
    Ok(())
}

/// A record that a person has written otherwise would be hidden, and a second one made.
pub(super) async fn finds_in_capitals_and_small_letters_alike(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(3).await;
    let Some(name) = ground.name(1).to_plain() else {
        return Err(Stop::Failed("a name is no text".to_owned()));
    };
    let otherwise = [name.to_uppercase(), name.to_lowercase()];
    let values: Vec<Value> = otherwise.iter().map(|text| text.as_str().into()).collect();
    let found = search(ground, &values).await?;
    for (records, text) in found.iter().zip(&otherwise) {
        ensure!(
            has(records, &ids[1]),
            "'{text}' does not find the record that is called the same in other letters"
        );
    }
    Ok(())
}

pub(super) async fn an_empty_value_finds_nothing(ground: &Ground) -> Result<(), Stop> {
    ground.seed(2).await;
    for empty in [Value::Text(String::new()), Value::Null] {
        let lookups = [Lookup::Field {
            field: ground.subject.other.clone(),
            value: empty,
        }];
        // The engine never asks. Whoever does may be told off, but not be given records that have nothing in common.
        if let Ok(found) = ground.source.find(&ground.subject.entity, &lookups).await {
            ensure!(
                found.iter().all(Vec::is_empty),
                "an empty value finds the records whose field is empty"
            );
        }
    }
    Ok(())
}

pub(super) async fn an_ignored_filter_is_not_believed(ground: &Ground) -> Result<(), Stop> {
    ground.seed(4).await;
    let struck = ground.strike(Fault::IgnoredFilter).await?;
    let wanted = ground.name(1);
    let lookups = [Lookup::Field {
        field: ground.subject.name.clone(),
        value: wanted.clone(),
    }];
    let found = ground.source.find(&ground.subject.entity, &lookups).await;
    ground.met(struck).await?;
    let Ok(found) = found else {
        return Ok(());
    };
    for record in found.iter().flatten() {
        ensure!(
            plain(record, &ground.subject.name) == wanted.to_plain(),
            "a record that was not asked for is passed on, because the server sent it"
        );
    }
    Ok(())
}

pub(super) async fn finds_above_an_id(ground: &Ground) -> Result<(), Stop> {
    if !ground.capabilities.ascending_ids {
        return Err(Stop::Skipped("ids do not ascend".to_owned()));
    }
    let ids = ground.seed(5).await;
    let lookups = [Lookup::AboveId(ids[1].clone())];
    let mut found = ground.source.find(&ground.subject.entity, &lookups).await?;
    ensure!(found.len() == 1, "one question has {} answers", found.len());
    let above: Vec<RecordId> = found.remove(0).into_iter().map(|record| record.id).collect();
    ensure!(
        above == ids[2..],
        "above {} are {:?}, found are {above:?}",
        ids[1],
        &ids[2..]
    );
    Ok(())
}

/// Whoever looks above the highest id for what a create has made would take another record for it.
pub(super) async fn no_id_is_given_twice(ground: &Ground) -> Result<(), Stop> {
    if !ground.capabilities.ascending_ids {
        return Err(Stop::Skipped("ids do not ascend".to_owned()));
    }
    let ids = ground.seed(2).await;
    if !ground.peer.delete(&ids[1]).await {
        return Err(Stop::Skipped("nobody can delete a record".to_owned()));
    }
    let again = ground.seed(1).await;
    ensure!(
        again[0].number() > ids[1].number(),
        "the id of a deleted record is given again: do not claim `ascending_ids`"
    );
    Ok(())
}

pub(super) async fn fetches_what_is_there_now(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(3).await;
    for round in 0..3 {
        let text = format!("round {round}");
        for id in &ids {
            ground.edit(id, &text).await;
        }
        let records = fetch(ground, &ids).await?;
        ensure!(records.len() == 3, "{} of 3 records come back", records.len());
        for record in &records {
            ensure!(
                plain(record, &ground.subject.other).as_deref() == Some(text.as_str()),
                "a record is returned as it was before the last edit"
            );
        }
    }
    Ok(())
}

pub(super) async fn leaves_out_ids_that_are_not_there(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(4).await;
    let mut asked = ids.clone();
    // An id of the right kind that names nothing: of a record that was deleted, or one above all others.
    if ground.peer.delete(&ids[0]).await {
        let records = fetch(ground, &asked).await?;
        ensure!(!has(&records, &ids[0]), "a deleted record is returned");
        ensure!(records.len() == 3, "{} of 3 records come back", records.len());
        ensure!(
            fetch(ground, &ids[..1]).await?.is_empty(),
            "a deleted record is returned"
        );
    }
    asked.push(RecordId::from("999999999999"));
    asked.push(RecordId::from("no such id/../?x=1"));
    let records = fetch(ground, &asked).await?;
    for id in &ids[1..] {
        ensure!(has(&records, id), "{id} is left out because others are not there");
    }
    ensure!(
        records.iter().all(|record| asked[..4].contains(&record.id)),
        "a record comes that was not asked for"
    );
    Ok(())
}

pub(super) async fn fetches_what_a_search_does_not_find_yet(ground: &Ground) -> Result<(), Stop> {
    ground.strike(Fault::SearchLag).await?;
    let ids = ground.seed(2).await;
    let found = search(ground, &[ground.name(0)]).await?;
    ensure!(
        found.iter().all(Vec::is_empty),
        "the peer said that it makes SearchLag, and a new record is found at once: nothing is proven"
    );
    for asked in [&ids[..1], &ids[..]] {
        let records = fetch(ground, asked).await?;
        ensure!(
            records.len() == asked.len(),
            "of {} new records, asked for by id, {} come back",
            asked.len(),
            records.len()
        );
    }
    Ok(())
}

async fn search(ground: &Ground, values: &[Value]) -> Result<Vec<Vec<NativeRecord>>, Stop> {
    let lookup = |value: &Value| Lookup::Field {
        field: ground.subject.name.clone(),
        value: value.clone(),
    };
    let lookups: Vec<Lookup> = values.iter().map(lookup).collect();
    let found = ground.source.find(&ground.subject.entity, &lookups).await?;
    ensure!(
        found.len() == lookups.len(),
        "{} questions have {} answers",
        lookups.len(),
        found.len()
    );
    Ok(found)
}

async fn fetch(ground: &Ground, ids: &[RecordId]) -> Result<Vec<NativeRecord>, Stop> {
    Ok(ground.source.fetch(&ground.subject.entity, ids).await?)
}
