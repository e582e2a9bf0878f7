//! The `message` table: what one connection does for the bus. Times in microseconds of the bus's own time.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use seamless_core::{
    BusLimits, DeadLetter, DeadLetterReason, Delivery, Error, ErrorKind, LockToken, MessageId, Outgoing,
    Settlement, Timestamp,
};

use crate::failure::Stop;
use crate::worker::Tally;

/// What the bus can take.
pub(crate) const LIMITS: BusLimits = BusLimits {
    body_bytes_max: 1 << 20,
    publish_batch_max: 500,
    receive_batch_max: 500,
    lock_duration: Duration::from_secs(60),
    lanes: false,
};

/// Most messages waiting or locked, in all subscriptions, before `publish` is held back.
const DEPTH_MAX: i64 = 1_000_000;

/// A receive stops behind the message that reaches this many bytes of bodies.
const RECEIVE_BYTES_MAX: usize = 16 << 20;

/// What a receive found.
pub(crate) struct Received {
    pub(crate) deliveries: Vec<Delivery>,
    /// When nothing was due: how long until something may be.
    pub(crate) next: Option<Duration>,
}

/// Returns every lock, because the host that held it is gone, and shortens waits that a clock set back would prolong.
pub(crate) fn free_after_restart(connection: &Connection, now: i64) -> Result<(), rusqlite::Error> {
    connection.execute("UPDATE message SET state = 0 WHERE state = 1", [])?;
    connection.execute(
        "UPDATE message SET due = ?1 + wait WHERE state = 0 AND due > ?1 + wait",
        [now],
    )?;
    Ok(())
}

pub(crate) fn publish(
    connection: &Connection,
    tally: &mut Tally,
    now: i64,
    messages: &[Outgoing],
) -> Result<(), Stop> {
    let count = i64::try_from(messages.len()).unwrap_or(i64::MAX);
    if tally.depth + count > DEPTH_MAX {
        let message = format!("the bus is full: {} messages are waiting", tally.depth);
        return Err(Error::new(ErrorKind::RateLimited, message)
            .retry_later(None)
            .into());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO message (n, subscription, state, due, wait, place, delivery_count, lock, locked_until, id, lane, body)
         VALUES (?1, ?2, 0, ?3, 0, ?1, 0, 0, 0, ?4, ?5, ?6)",
    )?;
    for Outgoing {
        id,
        subscription,
        lane,
        body,
    } in messages
    {
        insert.execute((tally.next_sequence(), subscription, now, &id.0, lane, body))?;
    }
    tally.depth += count;
    tally.wake = true;
    Ok(())
}

pub(crate) fn receive(
    connection: &Connection,
    tally: &mut Tally,
    now: i64,
    subscription: &str,
    max: usize,
) -> Result<Received, rusqlite::Error> {
    let expire = "UPDATE message SET state = 0 WHERE state = 1 AND subscription = ?1 AND locked_until <= ?2";
    connection.prepare_cached(expire)?.execute((subscription, now))?;

    let mut select = connection.prepare_cached(
        "SELECT n, delivery_count + 1, id, lane, body FROM message
         WHERE state = 0 AND subscription = ?1 AND due <= ?2 ORDER BY due, place LIMIT ?3",
    )?;
    let mut rows = select.query((subscription, now, i64::try_from(max).unwrap_or(i64::MAX)))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < RECEIVE_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let (n, lock): (i64, i64) = (row.get(0)?, tally.next_sequence());
        let delivery = Delivery {
            delivery_count: row.get(1)?,
            id: MessageId(row.get(2)?),
            lane: row.get(3)?,
            body: row.get(4)?,
            lock: LockToken(format!("{n}.{lock}")),
        };
        bytes += delivery.body.len();
        found.push((n, lock, delivery));
    }
    drop(rows);

    let until = now.saturating_add(micros(LIMITS.lock_duration));
    let mut take = connection.prepare_cached(
        "UPDATE message SET state = 1, delivery_count = ?2, lock = ?3, locked_until = ?4 WHERE n = ?1",
    )?;
    for (n, lock, delivery) in &found {
        take.execute((n, delivery.delivery_count, lock, until))?;
    }
    let next = if found.is_empty() {
        next_due(connection, now, subscription)?
    } else {
        None
    };
    Ok(Received {
        deliveries: found.into_iter().map(|(.., delivery)| delivery).collect(),
        next,
    })
}

pub(crate) fn settle(
    connection: &Connection,
    tally: &mut Tally,
    now: i64,
    since: Timestamp,
    subscription: &str,
    settlements: &[Settlement],
) -> Result<(), rusqlite::Error> {
    for settlement in settlements {
        let (Settlement::Complete(lock, _) | Settlement::Defer(lock, _) | Settlement::DeadLetter(lock, _)) =
            settlement;
        let Some(n) = held(connection, now, subscription, lock)? else {
            continue;
        };
        match settlement {
            Settlement::Complete(..) => {
                connection
                    .prepare_cached("DELETE FROM message WHERE n = ?1")?
                    .execute([n])?;
                tally.depth -= 1;
            }
            Settlement::Defer(_, wait) => {
                let wait = micros(*wait);
                let mut defer = connection.prepare_cached(
                    "UPDATE message SET state = 0, due = ?2, wait = ?3, place = ?4, delivery_count = delivery_count - 1
                     WHERE n = ?1",
                )?;
                defer.execute((n, now.saturating_add(wait), wait, tally.next_sequence()))?;
                tally.wake = true;
            }
            Settlement::DeadLetter(_, reason) => {
                bury(connection, n, tally.next_sequence(), since, subscription, reason)?;
                tally.depth -= 1;
            }
        }
    }
    Ok(())
}

/// Renews locks; returns the lost ones.
pub(crate) fn renew(
    connection: &Connection,
    now: i64,
    subscription: &str,
    locks: Vec<LockToken>,
) -> Result<Vec<LockToken>, rusqlite::Error> {
    let until = now.saturating_add(micros(LIMITS.lock_duration));
    let mut renew = connection.prepare_cached("UPDATE message SET locked_until = ?2 WHERE n = ?1")?;
    let mut lost = Vec::new();
    for lock in locks {
        match held(connection, now, subscription, &lock)? {
            Some(n) => drop(renew.execute((n, until))?),
            None => lost.push(lock),
        }
    }
    Ok(lost)
}

pub(crate) fn depth(connection: &Connection, subscription: &str) -> Result<u64, rusqlite::Error> {
    // Two counts, because each has its own partial index.
    let sql = "SELECT (SELECT count(*) FROM message WHERE state = 0 AND subscription = ?1)
                    + (SELECT count(*) FROM message WHERE state = 1 AND subscription = ?1)";
    let depth: i64 = connection
        .prepare_cached(sql)?
        .query_row([subscription], |row| row.get(0))?;
    Ok(depth.unsigned_abs())
}

/// Dead letters behind `after`. An `after` that is gone (replayed) starts the list again: better twice than skipped.
pub(crate) fn dead_letters(
    connection: &Connection,
    subscription: &str,
    after: Option<&MessageId>,
    max: usize,
) -> Result<Vec<DeadLetter>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT id, reason_code, reason_description, dead_since, body FROM message
         WHERE state = 2 AND subscription = ?1 AND place > coalesce(
             (SELECT place FROM message WHERE state = 2 AND subscription = ?1 AND id = ?2), 0)
         ORDER BY place LIMIT ?3",
    )?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let letters = select.query_map((subscription, after.map(|id| &id.0), max), |row| {
        Ok(DeadLetter {
            id: MessageId(row.get(0)?),
            reason: DeadLetterReason {
                code: row.get(1)?,
                description: row.get(2)?,
            },
            since: Timestamp(row.get(3)?),
            body: row.get(4)?,
        })
    })?;
    letters.collect()
}

pub(crate) fn replay(
    connection: &Connection,
    tally: &mut Tally,
    now: i64,
    subscription: &str,
    ids: &[MessageId],
) -> Result<u64, rusqlite::Error> {
    let mut revive = connection.prepare_cached(
        "UPDATE message SET state = 0, due = ?3, wait = 0, place = ?4, delivery_count = 0,
                            reason_code = NULL, reason_description = NULL, dead_since = NULL
         WHERE state = 2 AND subscription = ?1 AND id = ?2",
    )?;
    let mut replayed = 0;
    for id in ids {
        replayed += revive.execute((subscription, &id.0, now, tally.next_sequence()))?;
    }
    tally.depth += i64::try_from(replayed).unwrap_or(0);
    tally.wake |= replayed > 0;
    Ok(replayed as u64)
}

/// Sets a message aside. A dead letter of the same id gives way: it is the same message.
fn bury(
    connection: &Connection,
    n: i64,
    place: i64,
    since: Timestamp,
    subscription: &str,
    reason: &DeadLetterReason,
) -> Result<(), rusqlite::Error> {
    let replace = "DELETE FROM message WHERE state = 2 AND subscription = ?2
                   AND id = (SELECT id FROM message WHERE n = ?1)";
    connection.prepare_cached(replace)?.execute((n, subscription))?;
    let mut bury = connection.prepare_cached(
        "UPDATE message SET state = 2, place = ?2, dead_since = ?3, reason_code = ?4, reason_description = ?5 WHERE n = ?1",
    )?;
    bury.execute((n, place, since.0, &reason.code, &reason.description))?;
    Ok(())
}

/// The message behind a lock that has not ended.
fn held(
    connection: &Connection,
    now: i64,
    subscription: &str,
    lock: &LockToken,
) -> Result<Option<i64>, rusqlite::Error> {
    let numbers = lock
        .0
        .split_once('.')
        .and_then(|(n, lock)| Some((n.parse().ok()?, lock.parse().ok()?)));
    let Some((n, lock)): Option<(i64, i64)> = numbers else {
        return Ok(None);
    };
    let mut select = connection.prepare_cached(
        "SELECT n FROM message WHERE n = ?1 AND state = 1 AND lock = ?2 AND subscription = ?3 AND locked_until > ?4",
    )?;
    select
        .query_row((n, lock, subscription, now), |row| row.get(0))
        .optional()
}

fn next_due(
    connection: &Connection,
    now: i64,
    subscription: &str,
) -> Result<Option<Duration>, rusqlite::Error> {
    let mut earliest = connection.prepare_cached(
        "SELECT min(moment) FROM (
             SELECT min(due) AS moment FROM message WHERE state = 0 AND subscription = ?1
             UNION ALL
             SELECT min(locked_until) FROM message WHERE state = 1 AND subscription = ?1)",
    )?;
    let moment: Option<i64> = earliest.query_row([subscription], |row| row.get(0))?;
    Ok(moment.map(|moment| Duration::from_micros(u64::try_from(moment - now).unwrap_or(0))))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
