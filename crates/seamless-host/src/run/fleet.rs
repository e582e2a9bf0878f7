//! All workers of a run together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seamless_core::pipeline::{
    Applier, Conduct, Engine, EventSender, Herald, Poller, Resolver, Rows, Sweep, WriteBack, WriteBacker,
    event_subscription,
};
use seamless_core::{Error, Result, Side, SystemId, Table};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::trouble::of_one_system;
use super::worker::{Worker, read_all};
use super::{Phase, Shift, order, panicked};
use crate::books::Books;
use crate::events::Receivers;
use crate::http::{Desk, Server};

/// Rounds of reading and applying after which `run --once` ends although there is still news: people are at work, it would never end.
const ROUNDS_MAX: usize = 50;
/// Between two looks whether anything is left to do.
const LOOK: Duration = Duration::from_millis(100);

/// Systems that did not answer in this run, and why.
pub(crate) type Absent = BTreeMap<SystemId, Error>;

pub(crate) struct Fleet {
    engine: Arc<Engine>,
    books: Arc<Books>,
    shift: Arc<Shift>,
    /// Given up in this run; the syncs of other systems go on.
    absent: Mutex<Absent>,
    /// Who is told of events.
    receivers: Receivers,
}

impl Fleet {
    pub(crate) fn new(
        engine: Arc<Engine>,
        books: Arc<Books>,
        shift: Arc<Shift>,
        absent: Absent,
        receivers: Receivers,
    ) -> Fleet {
        Fleet {
            engine,
            books,
            shift,
            absent: Mutex::new(absent),
            receivers,
        }
    }

    /// Works until nothing is left to do: rounds of reading everything and applying everything, until reading finds no news after the
    /// last write. Returns whether it came to that.
    pub(crate) async fn once(&self) -> Result<bool> {
        let mut pollers = order::pollers(&self.engine, &self.books.plans);
        pollers.retain(|system, _| !self.is_absent(system));
        for _ in 0..ROUNDS_MAX {
            self.shift.enter(Phase::Reading);
            let news = self.read(&mut pollers).await?;
            if self.shift.stopped() {
                return Ok(false);
            }
            if news == 0 && self.nothing_left().await? {
                return self.first_absent().map_or(Ok(true), Err);
            }
            // What lands late behind this look is the next run's: the cursor waits for it.
            pollers
                .values_mut()
                .flatten()
                .for_each(|poller| poller.glance(true));
            self.shift.enter(Phase::Applying);
            let stuck = !self.apply().await?;
            if self.shift.stopped() {
                return Ok(false);
            }
            if stuck && news == 0 {
                // What is left waits for systems that do not answer; everything else is done.
                return Err(self.first_absent().unwrap_or_else(|| self.first_trouble()));
            }
        }
        tracing::warn!(rounds = ROUNDS_MAX, "records keep changing; the next run goes on");
        Ok(false)
    }

    /// Works until stopped. An unused store reads everything once before the first write, so that a lost store is noticed in time.
    pub(crate) async fn forever(&self) -> Result<()> {
        let mut pollers = order::pollers(&self.engine, &self.books.plans);
        if !self.engine.is_used().await? {
            self.shift.enter(Phase::Reading);
            self.read(&mut pollers).await?;
        }
        self.shift.enter(Phase::Running);
        let (_halt, halted) = watch::channel(false);
        let mut workers = self.appliers().await?;
        let interval = Duration::from_secs(self.books.config.run.poll_interval_secs);
        workers.extend(
            pollers
                .into_values()
                .flatten()
                .map(|poller| Worker::Poll(poller, interval)),
        );
        let mut server = JoinSet::new();
        if let Some(http) = &self.books.config.http {
            let desk = Arc::new(Desk::new(self.engine.clone()));
            let serving = Server::bind(http.listen, self.books.clone(), desk.clone()).await?;
            server.spawn(serving.serve());
            workers.push(Worker::Events(desk));
        }
        let again = Duration::from_secs(self.books.config.run.look_again_secs);
        workers.push(Worker::LookAgain(self.engine.clone(), again));
        let hours = self.books.config.run.reconcile_hours;
        if hours > 0 {
            let interval = Duration::from_secs(hours * 3_600);
            let sweeps = Sweep::all(&self.engine, None, Conduct::Routine);
            workers.extend(sweeps.into_iter().map(|sweep| Worker::Reconcile(sweep, interval)));
        }
        let mut tasks = self.start(workers, &halted);
        while let Some(ended) = tasks.join_next().await {
            // Dropping the set ends the other workers; each of their steps is safe to drop.
            ended.map_err(panicked)??;
        }
        Ok(())
    }

    /// Reads every entity to its end. Returns how many records were news.
    async fn read(&self, pollers: &mut BTreeMap<SystemId, Vec<Poller>>) -> Result<usize> {
        let mut tasks = JoinSet::new();
        for (system, pollers) in std::mem::take(pollers) {
            let reading = read_all(pollers, self.books.clone(), self.shift.clone());
            tasks.spawn(async move { (system, reading.await) });
        }
        let mut news = 0;
        while let Some(ended) = tasks.join_next().await {
            let (system, read) = ended.map_err(panicked)?;
            match read {
                Ok((back, published)) => {
                    pollers.insert(system, back);
                    news += published;
                }
                Err(error) if of_one_system(&error) && self.books.can_do_without(&system) => {
                    tracing::warn!(%system, "does not answer; the others go on without it");
                    let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
                    absent.insert(system, error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(news)
    }

    fn is_absent(&self, system: &SystemId) -> bool {
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        absent.contains_key(system)
    }

    /// The error that a run without these systems ends with.
    fn first_absent(&self) -> Option<Error> {
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        absent.pop_first().map(|(_, error)| error)
    }

    pub(crate) fn first_trouble(&self) -> Error {
        let troubles = self.books.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        // A schema that has changed keeps nothing waiting.
        let said = troubles
            .iter()
            .filter(|(worker, _)| !worker.starts_with("schema "))
            .map(|(worker, said)| format!("{worker}: {said}"))
            .next();
        Error::unavailable(said.unwrap_or_else(|| "nothing moves any more, and something is left".to_owned()))
    }

    /// Applies until the queues are empty, lost calls are resolved and ids are written back. False when only work is left that systems which do not answer
    /// keep from being done.
    pub(crate) async fn apply(&self) -> Result<bool> {
        let patience = Duration::from_secs(self.books.config.run.patience_secs);
        let mut moved = (self.done(), self.books.clock.monotonic());
        loop {
            let (halt, halted) = watch::channel(false);
            let mut tasks = self.start(self.appliers().await?, &halted);
            let mut stuck = false;
            loop {
                tokio::select! {
                    biased;
                    Some(ended) = tasks.join_next() => ended.map_err(panicked)??,
                    () = self.shift.rest(&*self.books.clock, LOOK) => {}
                }
                if self.shift.stopped() || self.nothing_left().await? {
                    break;
                }
                let now = self.books.clock.monotonic();
                if self.done() != moved.0 || !self.is_troubled().await? {
                    moved = (self.done(), now);
                }
                stuck = now.saturating_sub(moved.1) > patience;
                if stuck {
                    break;
                }
            }
            halt.send_replace(true);
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(panicked)??;
            }
            // Looked at again now that nobody is at work: a step under way may have left something.
            let nothing_left = self.nothing_left().await? && self.engine.look_for_lost_messages().await? == 0;
            if self.shift.stopped() || nothing_left {
                return Ok(true);
            }
            if stuck {
                return Ok(false);
            }
        }
    }

    /// Whether some worker is kept from working while the others may go on: among several systems, or who tells of events.
    async fn is_troubled(&self) -> Result<bool> {
        // A lost call that is waited for is no trouble yet.
        let open = self.books.store.count(Table::Intent, "").await?;
        let troubles = self.books.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let of_worker = |kinds: &[&str]| {
            let mut workers = troubles.keys();
            workers.any(|worker| kinds.iter().any(|kind| worker.starts_with(kind)))
        };
        let several = self.books.has_several_pairs();
        Ok(several && of_worker(&["resolve "])
            || open == 0 && of_worker(&["tell "])
            || several && open == 0 && of_worker(&["apply ", "write back "]))
    }

    /// Counts what has been done.
    fn done(&self) -> u64 {
        let counters = &self.engine.counters;
        counters.applied.get() + counters.written_back.get() + counters.events_told.get()
    }

    async fn appliers(&self) -> Result<Vec<Worker>> {
        let mut workers = vec![Worker::Resolve(Resolver::new(&self.engine))];
        for system in self.engine.systems.keys() {
            for _ in 0..self.books.config.run.apply_workers {
                workers.push(Worker::Apply(Applier::new(&self.engine, system).await?));
            }
        }
        if !self.receivers.is_empty() {
            workers.push(Worker::Publish(EventSender::new(&self.engine)));
        }
        for (name, receiver) in &self.receivers {
            workers.push(Worker::Tell(
                Herald::new(&self.engine, name, receiver.clone()).await?,
            ));
        }
        for sync in self.engine.syncs.keys() {
            for side in Side::BOTH {
                workers.push(Worker::WriteBack(
                    WriteBacker::new(&self.engine),
                    sync.clone(),
                    side,
                ));
            }
        }
        Ok(workers)
    }

    fn start(&self, workers: Vec<Worker>, halted: &watch::Receiver<bool>) -> JoinSet<Result<()>> {
        let mut tasks = JoinSet::new();
        for worker in workers {
            tasks.spawn(worker.work(self.books.clone(), self.shift.clone(), halted.clone()));
        }
        tasks
    }

    /// Whether no message, no event, no hint, no lost call and no write-back is left. Parked and waiting records are not work.
    async fn nothing_left(&self) -> Result<bool> {
        let books = &self.books;
        if books.store.count(Table::Intent, "").await? > 0 {
            return Ok(false);
        }
        for system in self.engine.systems.keys() {
            let hints = books.store.count(Table::Hint, &format!("{system}/")).await?;
            if hints > 0 || books.bus.depth(system.as_str()).await? > 0 {
                return Ok(false);
            }
        }
        for name in self.receivers.keys() {
            // What waits for somebody who is not configured any more waits for nobody.
            let put_out = books.store.count(Table::Outbox, &format!("{name}/")).await?;
            if put_out > 0 || books.bus.depth(&event_subscription(name)).await? > 0 {
                return Ok(false);
            }
        }
        for (sync, side) in self
            .engine
            .syncs
            .keys()
            .flat_map(|sync| Side::BOTH.map(|side| (sync, side)))
        {
            let mut due = false;
            books
                .each(
                    Table::WriteBack,
                    &format!("{sync}/{}/", side.letter()),
                    |key, row| {
                        due = Rows::plain::<WriteBack>(&key, &row)?.parked.is_none();
                        Ok(!due)
                    },
                )
                .await?;
            if due {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
