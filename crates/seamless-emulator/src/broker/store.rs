//! One queue, subscription or dead-letter queue: messages, locks, sessions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fe2o3_amqp_types::primitives::SimpleValue;

use super::message::{Placement, Stored, session_id, swapped};
use super::{EntitySettings, Refusal};
use crate::clock::micros;

/// 16 bytes, in the order in which they travel as a delivery tag.
pub(crate) type Token = [u8; 16];

/// Who holds a session: one receiving link.
pub(crate) type Owner = u64;

/// How a receiver ends a delivery.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Complete,
    Abandon(Vec<(String, SimpleValue)>),
    Defer(Vec<(String, SimpleValue)>),
    DeadLetter(Vec<(String, SimpleValue)>),
}

/// A message on its way to a receiver.
pub(crate) struct Taken {
    pub(crate) token: Token,
    pub(crate) sequence: i64,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Store {
    pub(crate) settings: EntitySettings,
    next_sequence: i64,
    held: BTreeMap<i64, Held>,
    /// Active and unlocked, by session; sessions are `""` where there are none.
    ready: BTreeMap<String, BTreeSet<i64>>,
    locks: HashMap<Token, i64>,
    /// Ends of locks, and of waits.
    timers: BTreeSet<(i64, i64)>,
    sessions: BTreeMap<String, Session>,
    /// Dead letters that wait to be moved by whoever owns both stores.
    pub(crate) dead: Vec<Stored>,
}

#[derive(Default)]
struct Session {
    lock: Option<(Owner, i64)>,
    state: Option<Vec<u8>>,
}

struct Held {
    stored: Stored,
    state: State,
    lock: Option<(Token, i64)>,
    session: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Active = 0,
    Deferred = 1,
    Scheduled = 2,
}

impl Store {
    pub(crate) fn new(settings: EntitySettings) -> Store {
        Store {
            settings,
            next_sequence: 1,
            held: BTreeMap::new(),
            ready: BTreeMap::new(),
            locks: HashMap::new(),
            timers: BTreeSet::new(),
            sessions: BTreeMap::new(),
            dead: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Messages by state: active, deferred or scheduled.
    pub(crate) fn count(&self, state: i32) -> usize {
        self.held
            .values()
            .filter(|held| held.state as i32 == state)
            .count()
    }

    pub(crate) fn enqueue(&mut self, stored: Stored) -> Result<i64, Refusal> {
        let session = self.session_of(&stored)?;
        let sequence = self.take_sequence();
        self.insert(sequence, stored, State::Active, session);
        Ok(sequence)
    }

    pub(crate) fn schedule(&mut self, stored: Stored, due: i64) -> Result<i64, Refusal> {
        let session = self.session_of(&stored)?;
        let sequence = self.take_sequence();
        self.insert(sequence, stored, State::Scheduled, session);
        self.timers.insert((due, sequence));
        Ok(sequence)
    }

    /// Takes a scheduled message out.
    pub(crate) fn take_scheduled(&mut self, sequence: i64) -> Option<Stored> {
        self.held.remove(&sequence).map(|held| held.stored)
    }

    pub(crate) fn cancel(&mut self, sequence: i64) -> bool {
        let scheduled = self
            .held
            .get(&sequence)
            .is_some_and(|held| held.state == State::Scheduled);
        if scheduled {
            self.held.remove(&sequence);
        }
        scheduled
    }

    /// Ends locks and waits that are over.
    pub(crate) fn tick(&mut self, now: i64) {
        while let Some(&(moment, sequence)) = self.timers.first()
            && moment <= now
        {
            self.timers.pop_first();
            let Some(held) = self.held.get(&sequence) else {
                continue;
            };
            if held.state == State::Scheduled {
                // It joins the queue as if it had been sent now.
                if let Some(mut held) = self.held.remove(&sequence) {
                    held.stored.enqueued = moment;
                    let fresh = self.take_sequence();
                    self.insert(fresh, held.stored, State::Active, held.session);
                }
            } else if held.lock.is_some_and(|(_, until)| until <= now) {
                self.unlock(sequence);
            }
        }
        for session in self.sessions.values_mut() {
            if session.lock.is_some_and(|(_, until)| until <= now) {
                session.lock = None;
            }
        }
    }

    /// The next moment at which `tick` has something to do.
    pub(crate) fn next_moment(&self) -> Option<i64> {
        let timer = self.timers.first().map(|(moment, _)| *moment);
        let session = self
            .sessions
            .values()
            .filter_map(|session| session.lock.map(|(_, until)| until))
            .min();
        timer.into_iter().chain(session).min()
    }

    /// Locks the oldest message that is ready, of one session where they are used.
    pub(crate) fn take(&mut self, session: Option<&str>, token: Token, now: i64) -> Option<Taken> {
        let key = session.unwrap_or_default();
        let sequence = self.ready.get_mut(key)?.pop_first()?;
        if self.ready.get(key).is_some_and(BTreeSet::is_empty) {
            self.ready.remove(key);
        }
        self.lock(sequence, token, now)
    }

    /// Takes a message out of a queue for good, without a lock.
    pub(crate) fn take_and_delete(&mut self, session: Option<&str>, token: Token, now: i64) -> Option<Taken> {
        let taken = self.take(session, token, now)?;
        self.remove(taken.sequence);
        Some(taken)
    }

    /// Locks deferred messages; those that are not there or locked are left out.
    pub(crate) fn take_deferred(
        &mut self,
        sequences: &[i64],
        mut token: impl FnMut() -> Token,
        now: i64,
    ) -> Vec<Taken> {
        let mut taken = Vec::new();
        for sequence in sequences {
            let free = self
                .held
                .get(sequence)
                .is_some_and(|held| held.state == State::Deferred && held.lock.is_none());
            if free {
                taken.extend(self.lock(*sequence, token(), now));
            }
        }
        taken
    }

    pub(crate) fn settle(&mut self, token: &Token, outcome: Outcome, now: i64) -> Result<(), Refusal> {
        let sequence = self.holder(token, now)?;
        let Some(held) = self.held.get_mut(&sequence) else {
            return Err(Refusal::lock_lost());
        };
        match outcome {
            Outcome::Complete => self.remove(sequence),
            Outcome::Abandon(properties) => {
                held.stored.modify(properties);
                self.unlock(sequence);
            }
            Outcome::Defer(properties) => {
                held.stored.modify(properties);
                held.state = State::Deferred;
                self.forget_lock(sequence);
            }
            Outcome::DeadLetter(properties) => {
                held.stored.modify(properties);
                self.bury(sequence);
            }
        }
        Ok(())
    }

    /// A new end of the lock, or none where it was lost.
    pub(crate) fn renew(&mut self, token: &Token, now: i64) -> Result<i64, Refusal> {
        let sequence = self.holder(token, now)?;
        let until = now + micros(self.settings.lock_duration);
        if let Some((token, old)) = self.held.get(&sequence).and_then(|held| held.lock) {
            self.timers.remove(&(old, sequence));
            self.timers.insert((until, sequence));
            if let Some(held) = self.held.get_mut(&sequence) {
                held.lock = Some((token, until));
            }
        }
        Ok(until)
    }

    pub(crate) fn peek(&self, from: i64, max: usize, session: Option<&str>) -> Vec<Vec<u8>> {
        self.held
            .range(from..)
            .filter(|(_, held)| session.is_none_or(|session| held.session == session))
            .take(max)
            .map(|(sequence, held)| {
                held.stored.outgoing(&Placement {
                    sequence: *sequence,
                    state: held.state as i32,
                    lock: None,
                })
            })
            .collect()
    }

    /// Frees every lock, as a broker that lost its memory of them would.
    pub(crate) fn lose_locks(&mut self) {
        let locked: Vec<i64> = self.locks.values().copied().collect();
        for sequence in locked {
            self.unlock(sequence);
        }
        for session in self.sessions.values_mut() {
            session.lock = None;
        }
    }

    // Sessions.

    /// Locks a session: the one asked for, or the first free one with a message. `Ok(None)`: none is free now.
    pub(crate) fn accept(
        &mut self,
        wanted: Option<&str>,
        owner: Owner,
        now: i64,
    ) -> Result<Option<(String, i64)>, Refusal> {
        let free = |id: &String| self.sessions.get(id).is_none_or(|session| session.lock.is_none());
        let id = match wanted {
            Some(id) if !free(&id.to_owned()) => {
                let reason = format!("session {id} is locked by another receiver");
                return Err(Refusal::new("com.microsoft:session-cannot-be-locked", reason));
            }
            Some(id) => id.to_owned(),
            None => match self.ready.keys().find(|id| free(id)) {
                Some(id) => id.clone(),
                None => return Ok(None),
            },
        };
        let until = now + micros(self.settings.lock_duration);
        self.sessions.entry(id.clone()).or_default().lock = Some((owner, until));
        Ok(Some((id, until)))
    }

    pub(crate) fn holds_session(&self, id: &str, owner: Owner) -> bool {
        self.sessions
            .get(id)
            .and_then(|session| session.lock)
            .is_some_and(|(holder, _)| holder == owner)
    }

    /// Renews the session and the messages locked in it.
    pub(crate) fn renew_session(&mut self, id: &str, now: i64) -> Result<i64, Refusal> {
        let until = now + micros(self.settings.lock_duration);
        match self.sessions.get_mut(id) {
            Some(session) if session.lock.is_some() => {
                session.lock = session.lock.map(|(owner, _)| (owner, until));
            }
            _ => return Err(Refusal::session_lock_lost(id)),
        }
        let tokens: Vec<Token> = self
            .held
            .values()
            .filter(|held| held.session == id)
            .filter_map(|held| held.lock.map(|(token, _)| token))
            .collect();
        for token in tokens {
            self.renew(&token, now)?;
        }
        Ok(until)
    }

    /// Lets go of a session; what was locked in it is ready again.
    pub(crate) fn release_session(&mut self, id: &str, owner: Owner) {
        if !self.holds_session(id, owner) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.lock = None;
        }
        let locked: Vec<i64> = self
            .held
            .iter()
            .filter(|(_, held)| held.session == id && held.lock.is_some())
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in locked {
            self.unlock(sequence);
        }
    }

    pub(crate) fn session_state(&self, id: &str) -> Option<Vec<u8>> {
        self.sessions.get(id)?.state.clone()
    }

    pub(crate) fn set_session_state(&mut self, id: &str, state: Option<Vec<u8>>) {
        self.sessions.entry(id.to_owned()).or_default().state = state;
    }

    pub(crate) fn session_ids(&self) -> Vec<String> {
        let with_messages = self.held.values().map(|held| held.session.clone());
        let with_state = self
            .sessions
            .iter()
            .filter(|(_, session)| session.state.is_some())
            .map(|(id, _)| id.clone());
        let ids: BTreeSet<String> = with_messages.chain(with_state).collect();
        ids.into_iter().collect()
    }

    // Inside.

    fn session_of(&self, stored: &Stored) -> Result<String, Refusal> {
        if !self.settings.requires_session {
            return Ok(String::new());
        }
        session_id(&stored.message).ok_or_else(|| {
            let reason = "the entity requires sessions, and the message has no session id";
            Refusal::new("amqp:not-allowed", reason.to_owned())
        })
    }

    fn take_sequence(&mut self) -> i64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    fn insert(&mut self, sequence: i64, stored: Stored, state: State, session: String) {
        if state == State::Active {
            self.ready.entry(session.clone()).or_default().insert(sequence);
        }
        let held = Held {
            stored,
            state,
            lock: None,
            session,
        };
        self.held.insert(sequence, held);
    }

    fn lock(&mut self, sequence: i64, token: Token, now: i64) -> Option<Taken> {
        let held = self.held.get_mut(&sequence)?;
        let session = self.sessions.get(&held.session).and_then(|session| session.lock);
        let until = session.map_or(now + micros(self.settings.lock_duration), |(_, until)| until);
        held.lock = Some((token, until));
        held.stored.delivery_count += 1;
        self.locks.insert(token, sequence);
        self.timers.insert((until, sequence));
        let bytes = held.stored.outgoing(&Placement {
            sequence,
            state: held.state as i32,
            lock: held.lock,
        });
        Some(Taken {
            token,
            sequence,
            bytes,
        })
    }

    /// The message behind a lock that holds, in either byte order of the token.
    fn holder(&self, token: &Token, now: i64) -> Result<i64, Refusal> {
        let sequence = self.locks.get(token).or_else(|| self.locks.get(&swapped(*token)));
        let sequence = *sequence.ok_or_else(Refusal::lock_lost)?;
        let lock = self.held.get(&sequence).and_then(|held| held.lock);
        if lock.is_some_and(|(_, until)| until > now) {
            Ok(sequence)
        } else {
            Err(Refusal::lock_lost())
        }
    }

    fn forget_lock(&mut self, sequence: i64) {
        if let Some(held) = self.held.get_mut(&sequence)
            && let Some((token, until)) = held.lock.take()
        {
            self.locks.remove(&token);
            self.timers.remove(&(until, sequence));
        }
    }

    /// Makes a message ready again, or dead when it has come often enough.
    fn unlock(&mut self, sequence: i64) {
        self.forget_lock(sequence);
        let Some(held) = self.held.get_mut(&sequence) else {
            return;
        };
        if held.stored.delivery_count >= self.settings.max_delivery_count {
            let text = |text: &str| SimpleValue::String(text.to_owned());
            let description = format!("it was delivered {} times", held.stored.delivery_count);
            held.stored.modify([
                ("DeadLetterReason".to_owned(), text("MaxDeliveryCountExceeded")),
                ("DeadLetterErrorDescription".to_owned(), text(&description)),
            ]);
            self.bury(sequence);
        } else if held.state == State::Active {
            let session = held.session.clone();
            self.ready.entry(session).or_default().insert(sequence);
        }
    }

    fn bury(&mut self, sequence: i64) {
        self.forget_lock(sequence);
        if let Some(held) = self.held.remove(&sequence) {
            self.dead.push(held.stored);
        }
    }

    fn remove(&mut self, sequence: i64) {
        self.forget_lock(sequence);
        self.held.remove(&sequence);
    }
}
