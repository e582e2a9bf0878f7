//! One subscription: what waits, what is locked, what is dead. Knows no time but what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::contract::{DeadLetter, DeadLetterReason, Delivery, LockToken, MessageId};
use crate::value::Timestamp;

/// The messages of one subscription.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Place, Message>,
    waiting_ids: BTreeSet<MessageId>,
    locked: BTreeMap<u64, Locked>,
    dead: BTreeMap<u64, Dead>,
}

/// Where a message stands: when it is due, then its sequence.
pub(super) type Place = (Duration, u64);

/// A message that is not locked.
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) lane: String,
    pub(super) body: Vec<u8>,
    /// How often it was delivered, deferrals taken back.
    pub(super) deliveries: u32,
}

struct Locked {
    until: Duration,
    place: Place,
    message: Message,
}

struct Dead {
    lane: String,
    letter: DeadLetter,
}

impl Queue {
    /// Locks up to `max` due messages, oldest due first.
    pub(super) fn take_due(
        &mut self,
        max: usize,
        now: Duration,
        until: Duration,
        sequence: &mut u64,
    ) -> Vec<Delivery> {
        self.return_expired(now);
        let mut deliveries = Vec::new();
        while deliveries.len() < max {
            let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) else {
                break;
            };
            let (place, mut message) = first.remove_entry();
            self.waiting_ids.remove(&message.id);
            message.deliveries += 1;
            *sequence += 1;
            deliveries.push(Delivery {
                id: message.id.clone(),
                lane: message.lane.clone(),
                body: message.body.clone(),
                delivery_count: message.deliveries,
                lock: LockToken(sequence.to_string()),
            });
            self.locked.insert(
                *sequence,
                Locked {
                    until,
                    place,
                    message,
                },
            );
        }
        deliveries
    }

    /// Puts a message where it belongs.
    pub(super) fn enqueue(&mut self, place: Place, message: Message) {
        self.waiting_ids.insert(message.id.clone());
        self.waiting.insert(place, message);
    }

    /// Whether a message of this id waits, locked ones not counted.
    pub(super) fn is_waiting(&self, id: &MessageId) -> bool {
        self.waiting_ids.contains(id)
    }

    /// Takes a locked message out; `None` when the lock is lost.
    pub(super) fn unlock(&mut self, lock: &LockToken, now: Duration) -> Option<Message> {
        let number = self.held(lock, now)?;
        self.locked.remove(&number).map(|locked| locked.message)
    }

    /// Renews a lock; false when it is lost.
    pub(super) fn extend(&mut self, lock: &LockToken, now: Duration, until: Duration) -> bool {
        let held = self
            .held(lock, now)
            .and_then(|number| self.locked.get_mut(&number));
        held.map(|locked| locked.until = until).is_some()
    }

    /// Sets a message aside. A dead letter of the same id gives way: it is the same message.
    pub(super) fn bury(
        &mut self,
        sequence: u64,
        message: Message,
        reason: DeadLetterReason,
        since: Timestamp,
    ) {
        let Message { id, lane, body, .. } = message;
        drop(self.exhume(&id));
        self.dead.insert(
            sequence,
            Dead {
                lane,
                letter: DeadLetter {
                    id,
                    reason,
                    since,
                    body,
                },
            },
        );
    }

    /// Takes a dead letter out, as a message that was never delivered.
    pub(super) fn exhume(&mut self, id: &MessageId) -> Option<Message> {
        let sequence = self.dead_sequence(id)?;
        let Dead { lane, letter } = self.dead.remove(&sequence)?;
        Some(Message {
            id: letter.id,
            lane,
            body: letter.body,
            deliveries: 0,
        })
    }

    /// Dead letters behind `after`. An `after` that is gone (replayed) starts the list again: better twice than skipped.
    pub(super) fn dead_letters(&self, after: Option<&MessageId>, max: usize) -> Vec<DeadLetter> {
        let start = after
            .and_then(|id| self.dead_sequence(id))
            .map_or(0, |sequence| sequence + 1);
        self.dead
            .range(start..)
            .take(max)
            .map(|(_, dead)| dead.letter.clone())
            .collect()
    }

    /// Waiting and locked.
    pub(super) fn depth(&self) -> usize {
        self.waiting.len() + self.locked.len()
    }

    /// All bodies.
    pub(super) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let waiting = self.waiting.values().map(|message| &message.body[..]);
        let locked = self.locked.values().map(|locked| &locked.message.body[..]);
        let dead = self.dead.values().map(|dead| &dead.letter.body[..]);
        waiting.chain(locked).chain(dead)
    }

    fn return_expired(&mut self, now: Duration) {
        let expired: Vec<u64> = self
            .locked
            .iter()
            .filter(|(_, locked)| locked.until <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in expired {
            if let Some(Locked { place, message, .. }) = self.locked.remove(&number) {
                self.enqueue(place, message);
            }
        }
    }

    /// The number of a lock that has not ended.
    fn held(&self, lock: &LockToken, now: Duration) -> Option<u64> {
        let number: u64 = lock.0.parse().ok()?;
        self.locked.get(&number).filter(|locked| locked.until > now)?;
        Some(number)
    }

    fn dead_sequence(&self, id: &MessageId) -> Option<u64> {
        self.dead
            .iter()
            .find(|(_, dead)| dead.letter.id == *id)
            .map(|(sequence, _)| *sequence)
    }
}
