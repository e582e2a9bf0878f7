//! [`Consumer`] on a session-enabled subscription.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fe2o3_amqp_types::definitions::{Error as AmqpError, ErrorCondition};
use futures::future::{Either, select};
use seamless_core::{Consumer, Delivery, LockToken, Result, Settlement, Timestamp};
use serde_amqp::primitives::Symbol;
use tokio::sync::{Mutex, MutexGuard};

use crate::bus::{Shared, lost_connection};
use crate::failure::is_refusal;
use crate::lanes::Lanes;
use crate::message::{Parcel, dead_letter_info};

/// Most messages from one receive.
const RECEIVE_MAX: usize = 200;
/// How long a receive waits at the broker at a time: so long it keeps others from renewing.
const SLICE: Duration = Duration::from_secs(1);

pub(crate) struct SessionConsumer {
    shared: Arc<Shared>,
    subscription: String,
    lanes: Mutex<Option<Lanes>>,
}

impl SessionConsumer {
    pub(crate) fn new(shared: Arc<Shared>, subscription: &str) -> SessionConsumer {
        SessionConsumer {
            shared,
            subscription: subscription.to_owned(),
            lanes: Mutex::new(None),
        }
    }

    /// The lanes, begun anew if the last ones are broken.
    async fn lanes(&self) -> Result<MutexGuard<'_, Option<Lanes>>> {
        let mut held = self.lanes.lock().await;
        if held.as_ref().is_none_or(Lanes::is_broken) {
            // The old ones go first: what they hold is free then.
            *held = None;
            *held = Some(Lanes::begin(&self.shared, &self.subscription).await?);
        }
        Ok(held)
    }

    async fn take(&self, max: usize) -> Result<Vec<Delivery>> {
        let mut held = self.lanes().await?;
        let lanes = held.as_mut().ok_or_else(lost_connection)?;
        let outcome = lanes.take(&self.shared, max).await;
        finish(&mut held, outcome)
    }

    async fn wait(&self, wait: Duration) -> Result<bool> {
        let mut held = self.lanes().await?;
        let lanes = held.as_mut().ok_or_else(lost_connection)?;
        let outcome = lanes.wait(&self.shared, wait).await;
        finish(&mut held, outcome)
    }

    async fn settle_all(&self, lanes: &mut Lanes, settlements: Vec<Settlement>) -> Result<()> {
        let mut copies = Vec::new();
        let mut originals = Vec::new();
        for settlement in settlements {
            let (Settlement::Complete(lock, _)
            | Settlement::Defer(lock, _)
            | Settlement::DeadLetter(lock, _)) = &settlement;
            let Some((place, held)) = lanes.settle(&self.shared, lock) else {
                continue;
            };
            let lane = place.0.clone();
            match settlement {
                Settlement::Complete(..) => lanes.complete(&lane, held.info).await?,
                Settlement::Defer(lock, wait) => {
                    let name = self.shared.next_lock();
                    copies.push(Parcel {
                        id: held.id,
                        subscription: self.subscription.clone(),
                        lane: lane.clone(),
                        body: held.body,
                        copy: Some(format!("defer-{}", lock.0)),
                        due: Some(self.shared.clock.now().plus(wait)),
                    });
                    originals.push((place, name, held.info));
                }
                Settlement::DeadLetter(_, reason) => {
                    let condition = ErrorCondition::Custom(Symbol::from("com.microsoft:dead-letter"));
                    let since = self.shared.clock.now();
                    let info = dead_letter_info(&reason.code, &reason.description, since);
                    let error = AmqpError::new(condition, None, info);
                    lanes.set_aside(&lane, held.info, error).await?;
                }
            }
        }
        // A deferred message is a copy for later. It is safe before the original goes: twice is better than never.
        // The notes come first: a message that is counted and not there does no harm.
        let notes: Vec<(Timestamp, u64)> = copies
            .iter()
            .zip(&originals)
            .filter_map(|(copy, (_, name, _))| Some((copy.due?, *name)))
            .collect();
        for (due, name) in &notes {
            self.shared.note_deferred(&self.subscription, *due, *name).await?;
        }
        if !copies.is_empty()
            && let Err(error) = self.shared.send(copies.clone()).await
        {
            if is_refusal(&error) {
                // Nothing is lost yet: the locks hold, and whoever asked may ask again.
                for (due, name) in &notes {
                    self.shared
                        .forget_deferred(&self.subscription, *due, *name)
                        .await?;
                }
                for (copy, (place, _, info)) in copies.into_iter().zip(originals) {
                    lanes.put_back(place, info, copy.id, copy.body);
                }
            }
            return Err(error);
        }
        for ((lane, _), _, info) in originals {
            lanes.complete(&lane, info).await?;
        }
        lanes.flush(&self.shared).await
    }

    async fn renew_all(&self, lanes: &mut Lanes, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        let mut renewed: BTreeMap<String, bool> = BTreeMap::new();
        let mut lost = Vec::new();
        for lock in locks {
            let held = match lanes.lane_of(lock) {
                None => false,
                Some(lane) => match renewed.get(&lane) {
                    Some(held) => *held,
                    None => {
                        let held = lanes.renew_one(&self.shared, &lane).await?;
                        if !held {
                            lanes.forget(&lane);
                        }
                        renewed.insert(lane, held);
                        held
                    }
                },
            };
            if !held {
                lost.push(lock.clone());
            }
        }
        Ok(lost)
    }
}

/// Gives the lanes up when something failed on them, and the connection when that is what failed.
fn finish<T>(held: &mut Option<Lanes>, outcome: Result<T>) -> Result<T> {
    if outcome.as_ref().is_err_and(|error| !is_refusal(error))
        && let Some(lanes) = held.take()
    {
        return lanes.connection.watched(outcome);
    }
    outcome
}

#[async_trait]
impl Consumer for SessionConsumer {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let max = max.min(RECEIVE_MAX);
        if max == 0 {
            return Ok(Vec::new());
        }
        let clock = &self.shared.clock;
        let deadline = clock.monotonic().saturating_add(wait);
        loop {
            let taken = self.take(max).await?;
            let left = deadline.saturating_sub(clock.monotonic());
            if !taken.is_empty() || left.is_zero() {
                return Ok(taken);
            }
            // The broker gives up before we do. If it does not, the lanes are begun anew, for they are left in the middle of an answer.
            let slice = left.min(SLICE);
            let waiting = pin!(self.wait(slice * 3 / 4));
            match select(waiting, clock.sleep(slice)).await {
                Either::Left((found, sleeping)) => {
                    if !found? {
                        sleeping.await;
                    }
                }
                Either::Right(_) => {}
            }
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        let mut held = self.lanes.lock().await;
        let Some(lanes) = held.as_mut().filter(|lanes| !lanes.is_broken()) else {
            // Every lock is lost.
            return Ok(());
        };
        let outcome = self.settle_all(lanes, settlements).await;
        finish(&mut held, outcome)
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        let mut held = self.lanes.lock().await;
        let Some(lanes) = held.as_mut().filter(|lanes| !lanes.is_broken()) else {
            return Ok(locks.to_vec());
        };
        let outcome = self.renew_all(lanes, locks).await;
        finish(&mut held, outcome)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        match self.lanes.into_inner() {
            Some(lanes) if !lanes.is_broken() => lanes.end().await,
            _ => Ok(()),
        }
    }
}
