//! What goes wrong, and how it has to be told.

use std::time::Duration;

use seamless_core::{Effect, Error, ErrorKind, Retry, Write, Written};

use super::{Credentials, Fault, Ground, MARK, Opened, Stop, ensure};

pub(super) async fn a_lost_answer_is_unknown(ground: &Ground) -> Result<(), Stop> {
    let id = ground.seed(1).await.remove(0);
    let current = ground.read(&id).await?;
    ground.strike(Fault::LostAnswers).await?;
    for write in [
        ground.create(ground.fields(10)),
        ground.update(current, &ground.subject.other, "lost".into()),
    ] {
        let error = failed(ground, write, "a write whose answer was lost").await?;
        ensure!(
            error.effect == Effect::Unknown,
            "a lost answer is {:?}",
            error.effect
        );
    }
    Ok(())
}

pub(super) async fn a_lost_write_is_not_repeated(ground: &Ground) -> Result<(), Stop> {
    let id = ground.seed(1).await.remove(0);
    let current = ground.read(&id).await?;
    let Some(calls) = ground.peer.write_calls().await else {
        return Err(Stop::Skipped("the peer does not count calls".to_owned()));
    };
    ground.strike(Fault::LostAnswers).await?;
    let count = ground.peer.count().await;
    failed(
        ground,
        ground.create(ground.fields(11)),
        "a create whose answer was lost",
    )
    .await?;
    let update = ground.update(current, &ground.subject.other, "lost".into());
    failed(ground, update, "an update whose answer was lost").await?;
    ground.peer.heal().await;
    let sent = ground.peer.write_calls().await.unwrap_or_default() - calls;
    ensure!(
        sent == 2,
        "2 writes whose answers were lost went out {sent} times"
    );
    let created = ground.peer.count().await - count;
    ensure!(
        created == 1,
        "a create whose answer was lost made {created} records"
    );
    Ok(())
}

/// The new record is there, and nobody can read which one it is. Where an update needs nothing of the answer, it may be told as done.
pub(super) async fn a_write_with_a_garbled_answer_is_unknown(ground: &Ground) -> Result<(), Stop> {
    let id = ground.seed(1).await.remove(0);
    let current = ground.read(&id).await?;
    ground.strike(Fault::GarbledWrites).await?;
    let create = ground.create(ground.fields(12));
    let error = failed(ground, create, "a create whose answer cannot be read").await?;
    unreadable(&error)?;
    let update = ground.update(current, &ground.subject.other, "garbled".into());
    match ground.write(update).await? {
        Ok(written) => {
            ensure!(
                written.id == id,
                "an update whose answer cannot be read is told with the id of another record"
            );
            Ok(())
        }
        Err(error) => unreadable(&error),
    }
}

fn unreadable(error: &Error) -> Result<(), Stop> {
    ensure!(
        error.effect == Effect::Unknown,
        "a write whose answer cannot be read has probably been made, but is {:?}",
        error.effect
    );
    Ok(())
}

pub(super) async fn an_unexplained_fault_is_unknown(ground: &Ground) -> Result<(), Stop> {
    ground.source.ping().await?;
    ground.strike(Fault::Unexplained).await?;
    let calls = ground.peer.write_calls().await;
    let error = failed(
        ground,
        ground.create(ground.fields(20)),
        "a fault without a reason",
    )
    .await?;
    ensure!(
        error.effect == Effect::Unknown,
        "a fault without a reason may have come after the deed, but is {:?}",
        error.effect
    );
    if let (Some(before), Some(after)) = (calls, ground.peer.write_calls().await) {
        ensure!(after - before == 1, "the write went out {} times", after - before);
    }
    Ok(())
}

pub(super) async fn a_refusal_names_its_field(ground: &Ground) -> Result<(), Stop> {
    let Some((field, value)) = &ground.subject.refused else {
        return Err(Stop::Skipped(
            "the subject names nothing that is refused".to_owned(),
        ));
    };
    let count = ground.peer.count().await;
    let mut fields = ground.fields(30);
    fields.insert(field.clone(), value.clone());
    let error = failed(
        ground,
        ground.create(fields),
        "a record that the system does not take",
    )
    .await?;
    ensure!(
        error.effect == Effect::NotApplied,
        "a refusal is {:?}",
        error.effect
    );
    ensure!(error.kind == ErrorKind::Invalid, "a refusal is {:?}", error.kind);
    ensure!(error.retry == Retry::Never, "a refusal does not pass by waiting");
    ensure!(
        error.field.as_deref() == Some(field.as_str()),
        "the field at fault is {field}, told is {:?}",
        error.field
    );
    ensure!(
        ground.peer.count().await == count,
        "a refused create made a record"
    );
    Ok(())
}

pub(super) async fn throttled_reads_say_when_to_come_back(ground: &Ground) -> Result<(), Stop> {
    ground.seed(1).await;
    let wait = Duration::from_secs(7);
    ground.strike(Fault::ThrottledReads(wait)).await?;
    match ground.source.list(&ground.request(None, 10)).await {
        Ok(_) => Err(Stop::Failed(
            "a call that was turned away counts as a page".to_owned(),
        )),
        Err(error) => throttled(&error, wait),
    }
}

pub(super) async fn throttled_writes_have_no_effect(ground: &Ground) -> Result<(), Stop> {
    let wait = Duration::from_secs(7);
    ground.source.ping().await?;
    ground.strike(Fault::ThrottledWrites(wait)).await?;
    let calls = ground.peer.write_calls().await;
    let error = failed(
        ground,
        ground.create(ground.fields(40)),
        "a write that was turned away",
    )
    .await?;
    throttled(&error, wait)?;
    if let (Some(before), Some(after)) = (calls, ground.peer.write_calls().await) {
        ensure!(after - before == 1, "the write went out {} times", after - before);
    }
    Ok(())
}

pub(super) async fn wrong_credentials_are_called_so(ground: &Ground) -> Result<(), Stop> {
    // A file or a line without a door has no credentials: then opening with wrong ones makes no difference.
    let Opened { source, target } = ground.peer.open(Credentials::Wrong).await?;
    let Err(error) = source.ping().await else {
        return Err(Stop::Skipped("the system asks for no credentials".to_owned()));
    };
    unauthorised(&error)?;
    let write = ground.create(ground.fields(45));
    match target.write(&[write]).await.pop() {
        Some(Err(error)) => unauthorised(&error),
        _ => Err(Stop::Failed(
            "a write with wrong credentials went through".to_owned(),
        )),
    }
}

pub(super) async fn a_dead_system_is_unavailable(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(1).await;
    ground.strike(Fault::Dead).await?;
    let entity = &ground.subject.entity;
    let errors = [
        ground.source.ping().await.err(),
        ground.source.list(&ground.request(None, 10)).await.err(),
        ground.source.fetch(entity, &ids).await.err(),
        ground.write(ground.create(ground.fields(46))).await?.err(),
    ];
    for (error, call) in errors.into_iter().zip(["ping", "list", "fetch", "write"]) {
        let Some(error) = error else {
            return Err(Stop::Failed(format!("{call} of a dead system succeeds")));
        };
        ensure!(
            error.kind == ErrorKind::Unavailable,
            "{call} of a dead system is {:?}",
            error.kind
        );
        ensure!(
            error.is_transient(),
            "{call}: a dead system may come back, but waiting is said to be useless"
        );
    }
    Ok(())
}

pub(super) async fn errors_tell_no_content(ground: &Ground) -> Result<(), Stop> {
    let ids = ground.seed(2).await;
    let mut shown = Vec::new();
    let entity = &ground.subject.entity;
    if let Some((field, value)) = &ground.subject.refused {
        let mut fields = ground.fields(48);
        fields.insert(field.clone(), value.clone());
        shown.extend(ground.write(ground.create(fields)).await?.err().map(told));
    }
    for fault in [
        Fault::Unexplained,
        Fault::LostAnswers,
        Fault::GarbledWrites,
        Fault::Garbled,
        Fault::IgnoredFilter,
    ] {
        if !ground.peer.strike(fault).await {
            continue;
        }
        let write = ground.create(ground.fields(49));
        shown.extend(ground.write(write).await?.err().map(told));
        shown.extend(ground.source.fetch(entity, &ids).await.err().map(told));
        let lookup = seamless_core::Lookup::Field {
            field: ground.subject.name.clone(),
            value: ground.name(0),
        };
        shown.extend(ground.source.find(entity, &[lookup]).await.err().map(told));
        ground.peer.heal().await;
    }
    if let Ok(wrong) = ground.peer.open(Credentials::Wrong).await {
        shown.extend(wrong.source.ping().await.err().map(told));
    }
    let page = ground.source.list(&ground.request(None, 10)).await?;
    shown.push(format!("{page:?}"));
    for text in &shown {
        ensure!(
            !text.contains(MARK),
            "a record's content shows in an error or in Debug"
        );
        for secret in &ground.subject.secrets {
            ensure!(!text.contains(secret.as_str()), "a secret shows in an error");
        }
    }
    Ok(())
}

/// Everything that can be printed of an error: what logs and people see.
fn told(error: Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text += &format!(" {inner} {inner:?}");
        cause = inner.source();
    }
    text
}

async fn failed(ground: &Ground, write: Write, what: &str) -> Result<Error, Stop> {
    let outcome: Result<Written, Error> = ground.write(write).await?;
    match outcome {
        Ok(_) => Err(Stop::Failed(format!("{what} is told as done"))),
        Err(error) => Ok(error),
    }
}

fn throttled(error: &Error, wait: Duration) -> Result<(), Stop> {
    ensure!(
        error.kind == ErrorKind::RateLimited,
        "being turned away is {:?}",
        error.kind
    );
    ensure!(
        error.effect == Effect::NotApplied,
        "being turned away is {:?}",
        error.effect
    );
    let Retry::Later { after: Some(after) } = error.retry else {
        return Err(Stop::Failed(format!(
            "the system said when to come back, told is {:?}",
            error.retry
        )));
    };
    let near = after + Duration::from_secs(1) >= wait && after <= wait + Duration::from_secs(1);
    ensure!(near, "the system said {wait:?}, told is {after:?}");
    Ok(())
}

fn unauthorised(error: &Error) -> Result<(), Stop> {
    ensure!(
        error.kind == ErrorKind::Auth,
        "wrong credentials are {:?}",
        error.kind
    );
    ensure!(
        error.effect == Effect::NotApplied,
        "wrong credentials are {:?}",
        error.effect
    );
    Ok(())
}
