//! Messages in ordered maps, by due time and sequence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::queue::{Message, Queue};
use crate::contract::{
    Bus, BusLimits, Clock, Consumer, DeadLetter, Delivery, LockToken, MessageId, Outgoing, Settlement,
};
use crate::error::{Error, ErrorKind, Result};

/// A [`Bus`] in memory.
///
/// A message is due from the moment it is published, a deferred one when its wait has passed; oldest due first, then first come.
/// A message whose lock ended keeps its place. Publishing an id again is dropped as a duplicate while the first is still
/// waiting in that subscription, and delivered a second time afterwards.
pub struct MemoryBus {
    shared: Arc<Shared>,
}

/// How long `receive` sleeps between two looks: a publisher does not wake it, so that the bus needs no waker list.
const STEP: Duration = Duration::from_millis(20);

struct Shared {
    clock: Arc<dyn Clock>,
    limits: BusLimits,
    depth_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Only rises: orders messages of one due time, and names locks.
    sequence: u64,
    subscriptions: BTreeMap<String, Queue>,
}

impl MemoryBus {
    /// A bus with bodies up to 1 MiB, batches up to 500, locks of a minute and room for a million messages.
    pub fn new(clock: Arc<dyn Clock>) -> MemoryBus {
        let limits = BusLimits {
            body_bytes_max: 1 << 20,
            publish_batch_max: 500,
            receive_batch_max: 500,
            lock_duration: Duration::from_secs(60),
            lanes: false,
        };
        MemoryBus::with_limits(clock, limits, 1_000_000)
    }

    /// A bus with other limits; `depth_max` is what one subscription holds before `publish` answers `RateLimited`.
    pub fn with_limits(clock: Arc<dyn Clock>, limits: BusLimits, depth_max: usize) -> MemoryBus {
        MemoryBus {
            shared: Arc::new(Shared {
                clock,
                limits,
                depth_max,
                state: Mutex::default(),
            }),
        }
    }

    /// Every stored body, dead letters included: what a thief of the bus would see.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        let state = self.shared.state();
        state
            .subscriptions
            .values()
            .flat_map(Queue::bodies)
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// Throws every message away, dead letters included.
    pub fn purge(&self) {
        self.shared.state().subscriptions.clear();
    }
}

#[async_trait]
impl Bus for MemoryBus {
    fn limits(&self) -> BusLimits {
        self.shared.limits
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()> {
        self.shared.limits.check(&messages)?;
        let now = self.shared.clock.monotonic();
        let mut state = self.shared.state();
        self.shared.check_room(&state, &messages)?;
        for Outgoing {
            id,
            subscription,
            lane,
            body,
        } in messages
        {
            let place = (now, state.next_sequence());
            let queue = state.subscriptions.entry(subscription).or_default();
            if !queue.is_waiting(&id) {
                queue.enqueue(
                    place,
                    Message {
                        id,
                        lane,
                        body,
                        deliveries: 0,
                    },
                );
            }
        }
        Ok(())
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(MemoryConsumer {
            shared: self.shared.clone(),
            subscription: subscription.to_owned(),
        }))
    }

    async fn depth(&self, subscription: &str) -> Result<u64> {
        Ok(self
            .shared
            .state()
            .subscriptions
            .get(subscription)
            .map_or(0, Queue::depth) as u64)
    }

    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        let state = self.shared.state();
        Ok(state
            .subscriptions
            .get(subscription)
            .map(|queue| queue.dead_letters(after, max))
            .unwrap_or_default())
    }

    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64> {
        let now = self.shared.clock.monotonic();
        let mut state = self.shared.state();
        let mut replayed = 0;
        for id in ids {
            let place = (now, state.next_sequence());
            let Some(queue) = state.subscriptions.get_mut(subscription) else {
                break;
            };
            if let Some(message) = queue.exhume(id) {
                queue.enqueue(place, message);
                replayed += 1;
            }
        }
        Ok(replayed)
    }
}

struct MemoryConsumer {
    shared: Arc<Shared>,
    subscription: String,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = self.shared.clock.monotonic().saturating_add(wait);
        loop {
            let deliveries = self.shared.take_due(&self.subscription, max);
            let left = deadline.saturating_sub(self.shared.clock.monotonic());
            if !deliveries.is_empty() || left.is_zero() || max == 0 {
                return Ok(deliveries);
            }
            self.shared.clock.sleep(left.min(STEP)).await;
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        let now = self.shared.clock.monotonic();
        let since = self.shared.clock.now();
        let mut state = self.shared.state();
        for settlement in settlements {
            let sequence = state.next_sequence();
            let Some(queue) = state.subscriptions.get_mut(&self.subscription) else {
                break;
            };
            match settlement {
                Settlement::Complete(lock, _) => drop(queue.unlock(&lock, now)),
                Settlement::Defer(lock, wait) => {
                    if let Some(mut message) = queue.unlock(&lock, now) {
                        message.deliveries -= 1;
                        queue.enqueue((now.saturating_add(wait), sequence), message);
                    }
                }
                Settlement::DeadLetter(lock, reason) => {
                    if let Some(message) = queue.unlock(&lock, now) {
                        queue.bury(sequence, message, reason, since);
                    }
                }
            }
        }
        Ok(())
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        let now = self.shared.clock.monotonic();
        let until = now.saturating_add(self.shared.limits.lock_duration);
        let mut state = self.shared.state();
        let queue = state.subscriptions.entry(self.subscription.clone()).or_default();
        Ok(locks
            .iter()
            .filter(|lock| !queue.extend(lock, now, until))
            .cloned()
            .collect())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_due(&self, subscription: &str, max: usize) -> Vec<Delivery> {
        let now = self.clock.monotonic();
        let until = now.saturating_add(self.limits.lock_duration);
        let mut state = self.state();
        let State {
            sequence,
            subscriptions,
        } = &mut *state;
        let Some(queue) = subscriptions.get_mut(subscription) else {
            return Vec::new();
        };
        queue.take_due(max.min(self.limits.receive_batch_max), now, until, sequence)
    }

    fn check_room(&self, state: &State, messages: &[Outgoing]) -> Result<()> {
        let mut added: BTreeMap<&str, usize> = BTreeMap::new();
        for message in messages {
            *added.entry(&message.subscription).or_default() += 1;
        }
        for (subscription, added) in added {
            let depth = state.subscriptions.get(subscription).map_or(0, Queue::depth);
            if depth + added > self.depth_max {
                let message = format!("subscription '{subscription}' is full: {depth} messages are waiting");
                return Err(Error::new(ErrorKind::RateLimited, message).retry_later(None));
            }
        }
        Ok(())
    }
}

impl State {
    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}
