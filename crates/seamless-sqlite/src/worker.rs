//! Two threads, a connection each: one writes in groups, one reads. The async side sends closures and awaits their results.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, TransactionBehavior};
use seamless_core::{Error, Result};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::database::ended;
use crate::failure::{Failure, Health, Stop};

/// Most pieces of work in one transaction, and most that wait before senders are held back.
const GROUP_MAX: usize = 256;

/// Counters of the whole database. Restored when the work that moved them is undone.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Tally {
    /// Version of the last commit that changed a row.
    pub(crate) version: i64,
    /// Last number given to a message, place or lock.
    pub(crate) sequence: i64,
    /// Messages waiting or locked, in all subscriptions.
    pub(crate) depth: i64,
    /// The group gave consumers something to look for.
    pub(crate) wake: bool,
}

impl Tally {
    /// The counters as stored.
    pub(crate) fn read(connection: &Connection) -> Result<Tally, rusqlite::Error> {
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get(0));
        Ok(Tally {
            version: number("SELECT value FROM meta WHERE name = 'version'")?,
            sequence: number("SELECT value FROM meta WHERE name = 'sequence'")?,
            depth: number("SELECT count(*) FROM message WHERE state = 0")?,
            wake: false,
        })
    }

    /// The next number.
    pub(crate) fn next_sequence(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    fn save(&self, before: &Tally, connection: &Connection) -> Result<(), rusqlite::Error> {
        for (name, value, old) in [
            ("version", self.version, before.version),
            ("sequence", self.sequence, before.sequence),
        ] {
            if value != old {
                connection
                    .prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?
                    .execute((name, value))?;
            }
        }
        Ok(())
    }
}

/// A thread with a connection and a bounded queue of work. Dropping it finishes what is queued and closes the connection.
pub(crate) struct Worker {
    queue: Option<mpsc::Sender<Box<dyn Task>>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// The writing thread.
    pub(crate) fn writer(
        mut connection: Connection,
        mut tally: Tally,
        health: Arc<Health>,
        changed: Arc<Notify>,
    ) -> Result<Worker> {
        Worker::start("seamless-sqlite-writer", move |tasks| {
            let written = health.check().and_then(|()| {
                write_group(&mut connection, &mut tally, tasks).map_err(|error| health.fail(&error))
            });
            // Answers only now, when all of it is on the disk.
            answer(tasks, written.err());
            if std::mem::take(&mut tally.wake) {
                changed.notify_waiters();
            }
        })
    }

    /// The reading thread.
    pub(crate) fn reader(mut connection: Connection, health: Arc<Health>) -> Result<Worker> {
        let mut unused = Tally {
            version: 0,
            sequence: 0,
            depth: 0,
            wake: false,
        };
        Worker::start("seamless-sqlite-reader", move |tasks| {
            let read = health.check().and_then(|()| {
                read_group(&mut connection, &mut unused, tasks).map_err(|error| health.fail(&error))
            });
            answer(tasks, read.err());
        })
    }

    fn start(
        name: &str,
        mut work_on: impl FnMut(&mut Vec<Box<dyn Task>>) + Send + 'static,
    ) -> Result<Worker> {
        let (queue, mut waiting) = mpsc::channel(GROUP_MAX);
        let run = move || {
            let mut group = Vec::with_capacity(GROUP_MAX);
            while waiting.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
                work_on(&mut group);
                group.clear();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread
            .map_err(|error| Error::storage("cannot start a thread for the database").because(error))?;
        Ok(Worker {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Queues work and waits for its result. When dropped, work that has begun is finished, and other work is skipped.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        health: &Health,
        work: impl FnOnce(&Connection, &mut Tally) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        health.check()?;
        let (reply, result) = oneshot::channel();
        let task = Asked {
            work: Some(work),
            result: None,
            reply: Some(reply),
        };
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        queue.send(Box::new(task)).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.queue.take());
        let joined = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = joined {
            tracing::error!("a database thread panicked");
        }
    }
}

/// All the work in one transaction, each piece undone alone if it stops; one fsync.
fn write_group(
    connection: &mut Connection,
    tally: &mut Tally,
    tasks: &mut [Box<dyn Task>],
) -> Result<(), rusqlite::Error> {
    let before = *tally;
    let group = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for task in tasks {
            let unchanged = *tally;
            transaction.prepare_cached("SAVEPOINT work")?.execute([])?;
            if task.run(&transaction, tally)? == Kept::No {
                transaction.prepare_cached("ROLLBACK TO work")?.execute([])?;
                *tally = unchanged;
            }
            transaction.prepare_cached("RELEASE work")?.execute([])?;
        }
        tally.save(&before, &transaction)?;
        transaction.commit()
    };
    let written = group();
    if written.is_err() {
        *tally = before;
    }
    written
}

fn read_group(
    connection: &mut Connection,
    tally: &mut Tally,
    tasks: &mut [Box<dyn Task>],
) -> Result<(), rusqlite::Error> {
    let snapshot = connection.transaction()?;
    for task in tasks {
        task.run(&snapshot, tally)?;
    }
    snapshot.commit()
}

fn answer(tasks: &mut Vec<Box<dyn Task>>, failure: Option<Failure>) {
    for mut task in tasks.drain(..) {
        task.answer(failure.clone());
    }
}

/// Work as the threads see it.
trait Task: Send {
    /// Does the work.
    fn run(&mut self, connection: &Connection, tally: &mut Tally) -> Result<Kept, rusqlite::Error>;

    /// Tells the asker: the work's own result, unless the group failed.
    fn answer(&mut self, failure: Option<Failure>);
}

#[derive(PartialEq)]
enum Kept {
    Yes,
    No,
}

struct Asked<T, W> {
    work: Option<W>,
    result: Option<Result<T>>,
    reply: Option<oneshot::Sender<Result<T>>>,
}

impl<T, W> Task for Asked<T, W>
where
    T: Send,
    W: FnOnce(&Connection, &mut Tally) -> Result<T, Stop> + Send,
{
    fn run(&mut self, connection: &Connection, tally: &mut Tally) -> Result<Kept, rusqlite::Error> {
        let abandoned = self.reply.as_ref().is_none_or(oneshot::Sender::is_closed);
        let Some(work) = self.work.take().filter(|_| !abandoned) else {
            return Ok(Kept::Yes);
        };
        match work(connection, tally) {
            Ok(result) => {
                self.result = Some(Ok(result));
                Ok(Kept::Yes)
            }
            Err(Stop::Refused(error)) => {
                self.result = Some(Err(error));
                Ok(Kept::No)
            }
            Err(Stop::Broken(error)) => Err(error),
        }
    }

    fn answer(&mut self, failure: Option<Failure>) {
        let result = match failure {
            Some(failure) => Err(failure.into()),
            None => self.result.take().unwrap_or_else(|| Err(ended())),
        };
        if let Some(reply) = self.reply.take() {
            // Nobody waits any more: the future was dropped, which is allowed.
            drop(reply.send(result));
        }
    }
}
