//! Receives one message a call, several calls at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_messaging_servicebus::service_bus::{PeekLockResponse, SubscriptionReceiver};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::try_join_all;
use seamless_core::{Consumer, Delivery, Error, ErrorKind, LockToken, Result, Settlement};

use super::client::unwrapped;
use super::shelf::Shelved;
use super::{RECEIVE_MAX, Shared, Wrapped};
use crate::failure::unreadable;
use crate::rest::problem;

/// Calls under way at a time.
const AT_ONCE: usize = 8;
/// Between two looks while nothing comes.
const LOOK: Duration = Duration::from_secs(1);
/// After so many looks in vain a receive does not look at once.
const QUIET: u32 = 5;

pub(super) struct HttpsConsumer {
    shared: Arc<Shared>,
    subscription: String,
    receiver: SubscriptionReceiver,
    held: Mutex<Holding>,
}

#[derive(Default)]
struct Holding {
    messages: BTreeMap<String, Held>,
    /// Looks in vain in a row, and when the last one was.
    quiet: u32,
    looked: Duration,
}

/// A message that was handed out and not settled.
#[derive(Clone)]
struct Held {
    message: Shelved,
    until: Duration,
    place: Place,
}

/// Where it is until it is settled.
#[derive(Clone)]
enum Place {
    Service(Arc<PeekLockResponse>),
    /// The key of its row.
    Shelf(String),
}

impl HttpsConsumer {
    pub(super) fn new(shared: Arc<Shared>, subscription: &str) -> HttpsConsumer {
        HttpsConsumer {
            receiver: shared.topic.subscription_receiver(subscription),
            shared,
            subscription: subscription.to_owned(),
            held: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Holding> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there now: from the service, then from the shelf, neither keeping the other waiting for ever.
    async fn take(&self, max: usize) -> Result<Vec<Delivery>> {
        let now = self.shared.clock.now();
        let shelf = &self.shared.shelf;
        let skip = |key: &str| self.shared.is_shelved_out(key);
        let mut due = shelf.due(&self.subscription, now, max, skip).await?;
        let reserved = due.len().min(max / 2);
        let mut taken = self.take_from_service(max - reserved).await?;
        due.truncate(max - taken.len());
        for (key, mut message) in due {
            message.deliveries += 1;
            taken.push(self.hand_out(message, Place::Shelf(key)));
        }
        Ok(taken)
    }

    async fn take_from_service(&self, max: usize) -> Result<Vec<Delivery>> {
        let mut taken: Vec<(i64, Delivery)> = Vec::new();
        while taken.len() < max {
            let calls = (max - taken.len()).min(AT_ONCE);
            // One call first: an idle subscription costs one call a look, not eight.
            let calls = if taken.is_empty() { 1 } else { calls };
            let round = try_join_all((0..calls).map(|_| self.one())).await?;
            let before = taken.len();
            taken.extend(round.into_iter().flatten());
            if taken.len() < before + calls {
                break;
            }
        }
        taken.sort_by_key(|(sequence, _)| *sequence);
        Ok(taken.into_iter().map(|(_, delivery)| delivery).collect())
    }

    async fn one(&self) -> Result<Option<(i64, Delivery)>> {
        let what = format!("receive from {}", self.subscription);
        let answer = self.receiver.peek_lock_message2(Some(Duration::ZERO)).await;
        let answer = answer.map_err(|error| unwrapped(&what, error))?;
        match u16::from(*answer.status()) {
            201 => {}
            204 => return Ok(None),
            status => return Err(problem(&what, status, answer.body().as_bytes())),
        }
        let about = answer.broker_properties().ok_or_else(|| unreadable(&what))?;
        let (id, lane, body) = match serde_json::from_str::<Wrapped>(&answer.body()) {
            Ok(wrapped) => {
                let body = STANDARD.decode(&wrapped.body).unwrap_or_default();
                (wrapped.id, wrapped.lane, body)
            }
            // Not from us: what is in it is nothing that opens, and it will be set aside.
            Err(_) => (
                seamless_core::MessageId(about.message_id),
                String::new(),
                Vec::new(),
            ),
        };
        let deliveries = u32::try_from(about.delivery_count).unwrap_or(1).max(1);
        let message = Shelved::new(id, lane, body, deliveries);
        let delivery = self.hand_out(message, Place::Service(Arc::new(answer)));
        Ok(Some((about.sequence_number, delivery)))
    }

    fn hand_out(&self, message: Shelved, place: Place) -> Delivery {
        let lock = LockToken(self.shared.next_name());
        let until = self
            .shared
            .clock
            .monotonic()
            .saturating_add(self.shared.settings.lock_duration);
        if let Place::Shelf(key) = &place {
            self.shared.lock_shelved(key, until);
        }
        let delivery = Delivery {
            id: message.id.clone(),
            lane: message.lane.clone(),
            body: message.body.clone(),
            delivery_count: message.deliveries,
            lock: lock.clone(),
        };
        let held = Held {
            message,
            until,
            place,
        };
        self.lock().messages.insert(lock.0, held);
        delivery
    }

    async fn settle_one(&self, settlement: Settlement) -> Result<()> {
        let (Settlement::Complete(lock, _) | Settlement::Defer(lock, _) | Settlement::DeadLetter(lock, _)) =
            &settlement;
        let found = self.lock().messages.remove(&lock.0);
        let now = self.shared.clock.monotonic();
        let Some(held) = found.filter(|held| held.until > now) else {
            return Ok(());
        };
        let shelf = &self.shared.shelf;
        let name = self.shared.next_name();
        let now = self.shared.clock.now();
        let Held { message, place, .. } = held;
        // Where it goes is written before it leaves where it was: twice is better than never.
        let kept = match settlement {
            Settlement::Complete(..) => None,
            Settlement::Defer(_, wait) => {
                // Deferrals do not count.
                let deliveries = message.deliveries - 1;
                let message = Shelved::new(message.id, message.lane, message.body, deliveries);
                Some((
                    shelf.later_key(&self.subscription, now.plus(wait), &name),
                    message,
                ))
            }
            Settlement::DeadLetter(_, reason) => {
                let key = shelf.dead_key(&self.subscription, now, &name);
                Some((key, message.dead(reason, now)))
            }
        };
        match (place, kept) {
            (Place::Shelf(row), Some((key, message))) => shelf.replace(&row, &key, &message).await,
            (Place::Shelf(row), None) => shelf.remove(&row).await,
            (Place::Service(answer), kept) => {
                if let Some((key, message)) = kept {
                    shelf.keep(&key, &message).await?;
                }
                lost_is_fine(
                    answer
                        .delete_message()
                        .await
                        .map(drop)
                        .map_err(|error| unwrapped("settle a message", error)),
                )
            }
        }
    }
}

/// A lock that is lost settles nothing: the message comes again.
fn lost_is_fine(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[async_trait]
impl Consumer for HttpsConsumer {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let max = max.min(RECEIVE_MAX);
        if max == 0 {
            return Ok(Vec::new());
        }
        let clock = &self.shared.clock;
        let deadline = clock.monotonic().saturating_add(wait);
        loop {
            let now = clock.monotonic();
            let left = deadline.saturating_sub(now);
            let (quiet, looked) = {
                let held = self.lock();
                (held.quiet, held.looked)
            };
            let rest = LOOK.saturating_sub(now.saturating_sub(looked));
            if quiet >= QUIET && !wait.is_zero() && !rest.is_zero() {
                clock.sleep(rest.min(left)).await;
                if left <= rest {
                    return Ok(Vec::new());
                }
            }
            let taken = self.take(max).await?;
            {
                let mut held = self.lock();
                held.looked = clock.monotonic();
                held.quiet = if taken.is_empty() {
                    held.quiet.saturating_add(1)
                } else {
                    0
                };
            }
            let left = deadline.saturating_sub(clock.monotonic());
            if !taken.is_empty() || left.is_zero() {
                return Ok(taken);
            }
            clock.sleep(left.min(LOOK)).await;
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        let mut settlements = settlements.into_iter().peekable();
        while settlements.peek().is_some() {
            let round: Vec<Settlement> = settlements.by_ref().take(AT_ONCE).collect();
            try_join_all(round.into_iter().map(|settlement| self.settle_one(settlement))).await?;
        }
        Ok(())
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        let now = self.shared.clock.monotonic();
        let until = now.saturating_add(self.shared.settings.lock_duration);
        let mut lost = Vec::new();
        for lock in locks {
            let held = self.lock().messages.get(&lock.0).cloned();
            let renewed = match held.filter(|held| held.until > now) {
                None => Err(Error::new(ErrorKind::NotFound, "the lock is lost")),
                Some(Held {
                    place: Place::Service(answer),
                    ..
                }) => answer
                    .renew_message_lock()
                    .await
                    .map_err(|error| unwrapped("renew a lock", error)),
                Some(Held {
                    place: Place::Shelf(key),
                    ..
                }) => {
                    self.shared.lock_shelved(&key, until);
                    Ok(())
                }
            };
            match renewed {
                Ok(()) => {
                    if let Some(held) = self.lock().messages.get_mut(&lock.0) {
                        held.until = until;
                    }
                }
                Err(error) if error.kind == ErrorKind::NotFound => {
                    self.lock().messages.remove(&lock.0);
                    lost.push(lock.clone());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(lost)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
