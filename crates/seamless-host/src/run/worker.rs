//! The workers of a host, and the loop that all of them run in.

use std::sync::Arc;
use std::time::Duration;

use seamless_core::pipeline::{
    Applier, Engine, EventSender, Herald, PollStep, Poller, Reason, Resolver, Sweep, SweepStep, WriteBacker,
};
use seamless_core::{Error, Result, Side, SyncId};
use tokio::sync::watch;

use super::trouble::Patience;
use super::{RunMode, Shift};
use crate::books::Books;
use crate::http::Desk;

/// One kind of work.
pub(crate) enum Worker {
    Poll(Poller, Duration),
    Apply(Applier),
    Resolve(Resolver),
    WriteBack(WriteBacker, SyncId, Side),
    /// Looks at the records that webhooks name.
    Events(Arc<Desk>),
    /// Publishes events.
    Publish(EventSender),
    /// Tells a subscriber of events.
    Tell(Herald),
    /// Looks again at what was set aside, once in so long.
    LookAgain(Arc<Engine>, Duration),
    /// Reads every record of an entity, once in so long, for what stamps do not show.
    Reconcile(Sweep, Duration),
}

/// How long `Applier::step` waits for a message: hints become due meanwhile.
const MESSAGE_WAIT: Duration = Duration::from_millis(200);
/// Between two looks for work that has no queue of its own.
const LOOK: Duration = Duration::from_millis(200);
/// Between two pages of a reconciliation: there is no hurry, and others want to read as well.
const PAGE_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks whether a reconciliation is due.
const DUE_LOOK: Duration = Duration::from_secs(300);
/// Between two tries when another host reads the entity.
const ELSEWHERE: Duration = Duration::from_secs(1);

impl Worker {
    pub(crate) fn name(&self) -> String {
        match self {
            Worker::Poll(poller, _) => format!("read {} {}", poller.system(), poller.entity()),
            Worker::Apply(applier) => format!("apply to {}", applier.system()),
            Worker::Resolve(_) => "resolve lost calls".to_owned(),
            Worker::WriteBack(_, sync, side) => format!("write back {sync}/{}", side.letter()),
            Worker::Events(_) => "take events".to_owned(),
            Worker::Publish(_) => "publish events".to_owned(),
            Worker::Tell(herald) => format!("tell {} of events", herald.subscriber()),
            Worker::LookAgain(..) => "look again at what is set aside".to_owned(),
            Worker::Reconcile(sweep, _) => format!("reconcile {} {}", sweep.system(), sweep.entity()),
        }
    }

    /// One step; how long to rest after it.
    async fn step(&mut self) -> Result<Duration> {
        match self {
            Worker::Poll(poller, interval) => Ok(match poller.step().await? {
                PollStep::Page { .. } => Duration::ZERO,
                PollStep::End { .. } => *interval,
                PollStep::Elsewhere => ELSEWHERE,
            }),
            Worker::Apply(applier) => {
                let step = applier.step(MESSAGE_WAIT).await?;
                // All of it put off: asking again at once would only ask the same.
                let idle = step.taken > 0 && step.deferred >= step.taken;
                Ok(if idle { LOOK / 4 } else { Duration::ZERO })
            }
            Worker::Resolve(resolver) => resolver.step().await.map(|_| LOOK),
            Worker::WriteBack(write_backer, sync, side) => {
                let step = write_backer.step(sync, *side).await?;
                Ok(if step.done > 0 { Duration::ZERO } else { LOOK })
            }
            Worker::Events(desk) => Ok(if desk.clear().await? { Duration::ZERO } else { LOOK }),
            Worker::Publish(sender) => Ok(if sender.step().await? > 0 {
                Duration::ZERO
            } else {
                LOOK
            }),
            Worker::Tell(herald) => {
                let step = herald.step(MESSAGE_WAIT).await?;
                let idle = step.taken > 0 && step.deferred >= step.taken;
                Ok(if idle { LOOK } else { Duration::ZERO })
            }
            Worker::LookAgain(engine, interval) => {
                engine.forget_births().await?;
                engine.look_again(&Reason::MAY_BE_CURED).await?;
                engine.look_for_lost_messages().await?;
                engine.look_again_at_all_held().await?;
                Ok(*interval)
            }
            Worker::Reconcile(sweep, interval) => reconcile(sweep, *interval).await,
        }
    }

    /// Tells of trouble that keeps a part of the work from being done, or that it is over. Returns whether there is some.
    fn tell_trouble(&self, books: &Books, name: &str, told: bool) -> bool {
        let Worker::Apply(applier) = self else {
            return false;
        };
        let said = applier.trouble();
        if let Some(said) = &said {
            books.trouble(name, Some(&Error::unavailable(said.clone())));
        } else if told {
            books.trouble(name, None);
        }
        said.is_some()
    }

    /// Works until `halt` or the host's stop, step by step; a step under way is finished. Ends with an error when there is no use in going on.
    pub(crate) async fn work(
        mut self,
        books: Arc<Books>,
        shift: Arc<Shift>,
        mut halt: watch::Receiver<bool>,
    ) -> Result<()> {
        let name = self.name();
        // Among several systems one that does not answer is waited for, while the others work, and so is who is told of events; the fleet ends the run.
        let mode = if books.has_several_pairs() || matches!(self, Worker::Tell(_)) {
            RunMode::Forever
        } else {
            shift.mode
        };
        let mut patience = Patience::new(mode, books.config.run.patience_secs);
        let mut told = false;
        if let Worker::LookAgain(_, interval) = &self {
            // The start of the host has looked already.
            shift.rest(&*books.clock, *interval).await;
        }
        while !shift.stopped() && !*halt.borrow() {
            let wait = match self.step().await {
                Ok(rest) => {
                    if patience.worked() {
                        books.trouble(&name, None);
                    }
                    told = self.tell_trouble(&books, &name, told);
                    rest
                }
                Err(error) => {
                    books.trouble(&name, Some(&error));
                    patience.try_on(&books, &name, error)?
                }
            };
            if wait.is_zero() {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = shift.rest(&*books.clock, wait) => {}
                _ = halt.wait_for(|halt| *halt) => {}
            }
        }
        match self {
            Worker::Poll(mut poller, _) => poller.release().await,
            Worker::Reconcile(mut sweep, _) => sweep.release().await,
            _ => Ok(()),
        }
    }
}

/// A page of a pass that is due; how long to rest after it.
async fn reconcile(sweep: &mut Sweep, interval: Duration) -> Result<Duration> {
    let due_in = sweep.due_in(interval).await?;
    if !due_in.is_zero() {
        // The wall clock says when, and it may be set.
        return Ok(due_in.min(DUE_LOOK));
    }
    Ok(match sweep.step().await? {
        SweepStep::Page(_) => PAGE_PAUSE,
        SweepStep::Elsewhere => ELSEWHERE,
        SweepStep::End(_) => {
            sweep.release().await?;
            tracing::info!(system = %sweep.system(), entity = sweep.entity(), "reconciled");
            PAGE_PAUSE
        }
    })
}

/// Reads a system's entities one after the other, each to its end. Gives the pollers back, and how many records were news.
pub(crate) async fn read_all(
    mut pollers: Vec<Poller>,
    books: Arc<Books>,
    shift: Arc<Shift>,
) -> Result<(Vec<Poller>, usize)> {
    let mut news = 0;
    for poller in &mut pollers {
        let name = format!("read {} {}", poller.system(), poller.entity());
        let mut patience = Patience::new(shift.mode, books.config.run.patience_secs);
        while !shift.stopped() {
            let wait = match poller.step().await {
                Ok(PollStep::Page { published, .. }) => {
                    news += published;
                    Duration::ZERO
                }
                Ok(PollStep::End { published, .. }) => {
                    news += published;
                    books.trouble(&name, None);
                    break;
                }
                Ok(PollStep::Elsewhere) => ELSEWHERE,
                Err(error) => {
                    books.trouble(&name, Some(&error));
                    let wait = patience.try_on(&books, &name, error)?;
                    shift.rest(&*books.clock, wait).await;
                    continue;
                }
            };
            if patience.worked() {
                books.trouble(&name, None);
            }
            shift.rest(&*books.clock, wait).await;
        }
        poller.release().await?;
    }
    Ok((pollers, news))
}
