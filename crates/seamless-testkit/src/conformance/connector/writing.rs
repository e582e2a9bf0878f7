//! Writes that go through, and those that must not.

use std::time::Duration;

use seamless_core::{Effect, ErrorKind, ExternalKey, Lookup, NativeRecord, Value};

use super::{Ground, PAGES_MAX, Stop, ensure, has, plain};

pub(super) async fn a_create_is_found_by_its_cross_reference(ground: &Ground) -> Result<(), Stop> {
    let field = cross_reference(ground)?;
    ground.seed(2).await;
    let mut fields = ground.fields(50);
    fields.insert(field.clone(), "ref-50".into());
    let written = ground.write(ground.create(fields)).await??;
    let record = ground.read(&written.id).await?;
    ensure!(
        plain(&record, &field).as_deref() == Some("ref-50"),
        "the new record does not carry its cross-reference"
    );
    let lookups = [Lookup::Field {
        field,
        value: "ref-50".into(),
    }];
    // As long as the system may take to index it, and a little more.
    let clock = ground.peer.clock();
    let until = clock.monotonic() + ground.capabilities.search_lag_max + Duration::from_millis(200);
    for _ in 0..PAGES_MAX {
        let found = ground.source.find(&ground.subject.entity, &lookups).await?;
        let found: Vec<&NativeRecord> = found.iter().flatten().collect();
        if !found.is_empty() {
            ensure!(
                found.len() == 1 && found[0].id == written.id,
                "the cross-reference finds {} records, or another one",
                found.len()
            );
            return Ok(());
        }
        if clock.monotonic() > until {
            break;
        }
        clock.sleep(Duration::from_millis(100)).await;
    }
    let lag = ground.capabilities.search_lag_max;
    Err(Stop::Failed(format!(
        "the new record cannot be found by its cross-reference after {lag:?}"
    )))
}

pub(super) async fn a_second_record_with_a_unique_key_is_refused(ground: &Ground) -> Result<(), Stop> {
    if ground.capabilities.external_key != ExternalKey::Unique {
        return Err(Stop::Skipped("the system has no unique key".to_owned()));
    }
    let field = cross_reference(ground)?;
    let with_key = |number| {
        let mut fields = ground.fields(number);
        fields.insert(field.clone(), "ref-60".into());
        ground.create(fields)
    };
    ground.write(with_key(60)).await??;
    let count = ground.peer.count().await;
    let Err(error) = ground.write(with_key(61)).await? else {
        return Err(Stop::Failed(
            "the key is called unique, but two records took it".to_owned(),
        ));
    };
    ensure!(
        error.effect == Effect::NotApplied,
        "a refusal is {:?}",
        error.effect
    );
    ensure!(
        ground.peer.count().await == count,
        "a refused create made a record"
    );
    Ok(())
}

pub(super) async fn an_update_changes_only_what_was_sent(ground: &Ground) -> Result<(), Stop> {
    let id = ground.seed(1).await.remove(0);
    ground.edit(&id, "before").await;
    let stale = ground.read(&id).await?;
    ground.edit(&id, "by a person").await;
    // The version of now with the fields of then: whoever writes the whole record takes the person's edit back.
    let current = NativeRecord {
        version: ground.read(&id).await?.version,
        ..stale
    };
    let name = ground.name(70);
    let update = ground.update(current, &ground.subject.name, name.clone());
    let written = ground.write(update).await??;
    ensure!(
        written.id == id,
        "an update answers with the id of another record"
    );
    let after = ground.read(&id).await?;
    ensure!(
        plain(&after, &ground.subject.name) == name.to_plain(),
        "the field that was sent has not changed"
    );
    ensure!(
        plain(&after, &ground.subject.other).as_deref() == Some("by a person"),
        "a field that was not sent has changed"
    );
    Ok(())
}

pub(super) async fn a_stale_version_is_refused(ground: &Ground) -> Result<(), Stop> {
    if !ground.capabilities.compare_and_set {
        return Err(Stop::Skipped("the system has no compare-and-set".to_owned()));
    }
    let id = ground.seed(1).await.remove(0);
    let stale = ground.read(&id).await?;
    ground.edit(&id, "by a person").await;
    let update = ground.update(stale, &ground.subject.other, "by us".into());
    let Err(error) = ground.write(update).await? else {
        return Err(Stop::Failed(
            "an update with the version of yesterday went through".to_owned(),
        ));
    };
    ensure!(
        error.kind == ErrorKind::Conflict,
        "a stale version is {:?}",
        error.kind
    );
    ensure!(
        error.effect == Effect::NotApplied,
        "a stale version is {:?}",
        error.effect
    );
    let now = ground.read(&id).await?;
    ensure!(
        plain(&now, &ground.subject.other).as_deref() == Some("by a person"),
        "a refused update overwrote a person's edit"
    );
    Ok(())
}

pub(super) async fn a_late_write_is_not_sent(ground: &Ground) -> Result<(), Stop> {
    let id = ground.seed(1).await.remove(0);
    let current = ground.read(&id).await?;
    let (count, calls) = (ground.peer.count().await, ground.peer.write_calls().await);
    for mut write in [
        ground.create(ground.fields(80)),
        ground.update(current, &ground.subject.other, "late".into()),
    ] {
        write.send_by = Duration::ZERO;
        let Err(error) = ground.write(write).await? else {
            return Err(Stop::Failed("a write went out after its time".to_owned()));
        };
        ensure!(
            error.effect == Effect::NotApplied,
            "a write that was not sent is {:?}",
            error.effect
        );
        ensure!(
            error.is_transient(),
            "a write that was not sent in time may be tried again, but says otherwise"
        );
    }
    ensure!(
        ground.peer.write_calls().await == calls,
        "a write was sent after its time"
    );
    ensure!(
        ground.peer.count().await == count,
        "a record was created after its time"
    );
    Ok(())
}

pub(super) async fn outcomes_come_in_order(ground: &Ground) -> Result<(), Stop> {
    let Some((field, value)) = &ground.subject.refused else {
        return Err(Stop::Skipped(
            "the subject names nothing that is refused".to_owned(),
        ));
    };
    let mut bad = ground.fields(91);
    bad.insert(field.clone(), value.clone());
    let writes = [
        ground.create(ground.fields(90)),
        ground.create(bad),
        ground.create(ground.fields(92)),
        ground.create(ground.fields(93)),
    ];
    let outcomes = ground.target.write(&writes).await;
    ensure!(outcomes.len() == 4, "4 writes have {} outcomes", outcomes.len());
    for (outcome, number) in outcomes.into_iter().zip(90..) {
        if number == 91 {
            ensure!(outcome.is_err(), "the refusal is not told in its own place");
            continue;
        }
        let record = ground.read(&outcome?.id).await?;
        ensure!(
            plain(&record, &ground.subject.name) == ground.name(number).to_plain(),
            "an outcome carries the id of another write's record"
        );
    }
    Ok(())
}

pub(super) async fn values_survive_exactly(ground: &Ground) -> Result<(), Stop> {
    if ground.subject.exact.is_empty() {
        return Err(Stop::Skipped("the subject names no values".to_owned()));
    }
    for (exact, number) in ground.subject.exact.iter().zip(100..) {
        let mut fields = ground.fields(number);
        fields.insert(exact.field.clone(), exact.written.clone());
        let written = ground.write(ground.create(fields)).await??;
        let record = ground.read(&written.id).await?;
        let read = seamless_core::lookup(&record.fields, &exact.field)
            .cloned()
            .unwrap_or_default();
        ensure!(
            read == exact.read,
            "{} (value {}) does not come back as declared, but as {read:?}",
            exact.field,
            number - 100
        );
        let listed = ground.list(None, 500).await?;
        ensure!(has(&listed, &written.id), "what was written is not listed");
        let in_list = listed.into_iter().find(|listed| listed.id == written.id);
        let in_list = in_list.and_then(|record| seamless_core::lookup(&record.fields, &exact.field).cloned());
        ensure!(
            in_list.unwrap_or_default() == read,
            "{} is another one in a list than in a fetch",
            exact.field
        );
    }
    Ok(())
}

pub(super) async fn an_emptied_field_is_not_a_missing_one(ground: &Ground) -> Result<(), Stop> {
    if ground.capabilities.omits_empty {
        return Err(Stop::Skipped("records leave out what is empty".to_owned()));
    }
    let field = &ground.subject.other;
    let mut filled = ground.fields(110);
    filled.insert(field.clone(), "soon gone".into());
    let written = ground.write(ground.create(filled)).await??;
    let current = ground.read(&written.id).await?;
    if ground
        .write(ground.update(current, field, Value::Null))
        .await?
        .is_err()
    {
        return Err(Stop::Skipped(format!("{field} cannot be emptied")));
    }
    let mut read = vec![ground.read(&written.id).await?];
    read.extend(ground.list(None, 500).await?);
    for record in read.iter().filter(|record| record.id == written.id) {
        let held = seamless_core::lookup(&record.fields, field);
        ensure!(
            held.is_some_and(Value::is_empty),
            "{field} was emptied, and is {}: a field that is not there has not been read, unless `omits_empty` is declared",
            if held.is_some() {
                "not empty"
            } else {
                "not in the record"
            }
        );
    }
    Ok(())
}

fn cross_reference(ground: &Ground) -> Result<String, Stop> {
    match (&ground.subject.cross_reference, ground.capabilities.external_key) {
        (_, ExternalKey::None) => Err(Stop::Skipped("the system keeps no cross-reference".to_owned())),
        (None, _) => Err(Stop::Failed(
            "there is an external key, but the subject names no field".to_owned(),
        )),
        (Some(field), _) => Ok(field.clone()),
    }
}
