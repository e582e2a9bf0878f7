//! What lies where: queues, topics, subscriptions, their locks and times. Knows nothing of the wire.

pub(crate) mod message;
mod rules;
mod settings;
mod shape;
pub(crate) mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::clock::{Clock, micros};
use crate::faults::Faults;
use message::{AnyMessage, Stored, encode, message_id, scheduled_for};
pub use rules::Filter;
pub use settings::{EntitySettings, Tier, TopicSettings};
pub(crate) use shape::Counts;
use store::{Store, Token};

/// Why the broker does not do what it was asked: an error condition of AMQP and a sentence.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) condition: &'static str,
    pub(crate) description: String,
}

impl Refusal {
    pub(crate) fn new(condition: &'static str, description: String) -> Refusal {
        Refusal {
            condition,
            description,
        }
    }

    pub(crate) fn lock_lost() -> Refusal {
        let description = "the lock on the message has ended, or the message was settled already";
        Refusal::new("com.microsoft:message-lock-lost", description.to_owned())
    }

    pub(crate) fn session_lock_lost(id: &str) -> Refusal {
        Refusal::new(
            "com.microsoft:session-lock-lost",
            format!("the lock on session {id} has ended"),
        )
    }

    pub(crate) fn busy() -> Refusal {
        let reason = "the server is busy, try again (50009)";
        Refusal::new("com.microsoft:server-busy", reason.to_owned())
    }

    pub(crate) fn quota(path: &str) -> Refusal {
        let reason = format!("the entity {path} has reached its quota");
        Refusal::new("amqp:resource-limit-exceeded", reason)
    }

    pub(crate) fn not_found(path: &str) -> Refusal {
        Refusal::new(
            "amqp:not-found",
            format!("the messaging entity {path} could not be found"),
        )
    }
}

pub(crate) struct Broker {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) faults: Faults,
    next_id: AtomicU64,
    salt: u64,
}

/// Everything that lies on the broker. Paths are lower case.
#[derive(Default)]
pub(crate) struct State {
    topics: BTreeMap<String, Topic>,
    stores: BTreeMap<String, Store>,
    /// Duplicate windows, by entity that is sent to.
    seen: HashMap<String, Seen>,
}

/// The message ids that an entity remembers.
#[derive(Default)]
struct Seen {
    until: HashMap<String, i64>,
    /// In the order in which they are forgotten.
    order: VecDeque<(i64, String)>,
}

struct Topic {
    settings: TopicSettings,
    /// Messages sent for later; they are never delivered from here.
    scheduled: Store,
    scheduled_due: BTreeMap<i64, i64>,
    /// Rules by name, by subscription.
    subscriptions: BTreeMap<String, BTreeMap<String, Filter>>,
}

/// What a path names.
pub(crate) enum Kind {
    Topic,
    Store,
}

const DEAD: &str = "/$deadletterqueue";

impl Broker {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Broker {
        let salt = u64::from_ne_bytes(clock.now_micros().to_ne_bytes());
        Broker {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            clock,
            faults: Faults::default(),
            next_id: AtomicU64::new(1),
            salt: salt.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// Everything, with what was due done.
    pub(crate) fn state(&self) -> (MutexGuard<'_, State>, i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now_micros();
        state.tick(now);
        (state, now)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn announce(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Never the same twice.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_token(&self) -> Token {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&self.salt.to_be_bytes());
        token[8..].copy_from_slice(&self.next_id().to_be_bytes());
        token
    }

    pub(crate) fn send(&self, path: &str, messages: Vec<AnyMessage>) -> Result<(), Refusal> {
        let (mut state, now) = self.state();
        for message in messages {
            state.send(path, message, now)?;
        }
        drop(state);
        self.announce();
        Ok(())
    }

    /// Ends locks and waits on time, as long as the emulator lives.
    pub(crate) async fn keep_time(&self) {
        let mut changed = self.watch();
        loop {
            let next = {
                let (state, now) = self.state();
                state
                    .next_moment()
                    .map(|moment| moment.saturating_sub(now).max(0))
            };
            let sleep = async {
                match next {
                    Some(wait) => {
                        let wait = std::time::Duration::from_micros(wait.unsigned_abs());
                        self.clock.sleep(wait).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.announce(),
                outcome = changed.changed() => if outcome.is_err() { return },
            }
        }
    }
}

impl State {
    pub(crate) fn create_queue(&mut self, path: &str, settings: EntitySettings) {
        let path = path.to_lowercase();
        let dead = EntitySettings {
            requires_session: false,
            max_delivery_count: u32::MAX,
            ..settings.clone()
        };
        self.stores.insert(path.clone() + DEAD, Store::new(dead));
        self.seen.entry(path.clone()).or_default();
        self.stores.insert(path, Store::new(settings));
    }

    pub(crate) fn create_topic(&mut self, path: &str, settings: TopicSettings) {
        let path = path.to_lowercase();
        self.seen.entry(path.clone()).or_default();
        let topic = Topic {
            settings,
            scheduled: Store::new(EntitySettings::default()),
            scheduled_due: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
        };
        self.topics.insert(path, topic);
    }

    pub(crate) fn create_subscription(
        &mut self,
        topic: &str,
        name: &str,
        settings: EntitySettings,
        rules: impl IntoIterator<Item = (String, Filter)>,
    ) -> Result<(), Refusal> {
        let Some(found) = self.topics.get_mut(&topic.to_lowercase()) else {
            return Err(Refusal::not_found(topic));
        };
        let name = name.to_lowercase();
        found
            .subscriptions
            .insert(name.clone(), rules.into_iter().collect());
        self.create_queue(&format!("{topic}/subscriptions/{name}"), settings);
        Ok(())
    }

    pub(crate) fn kind(&self, path: &str) -> Option<Kind> {
        let path = path.to_lowercase();
        if self.topics.contains_key(&path) {
            Some(Kind::Topic)
        } else if self.stores.contains_key(&path) {
            Some(Kind::Store)
        } else {
            None
        }
    }

    pub(crate) fn store(&mut self, path: &str) -> Result<&mut Store, Refusal> {
        let found = self.stores.get_mut(&path.to_lowercase());
        found.ok_or_else(|| Refusal::not_found(path))
    }

    /// The rules of a subscription, by its path.
    pub(crate) fn rules(&mut self, path: &str) -> Result<&mut BTreeMap<String, Filter>, Refusal> {
        let lower = path.to_lowercase();
        let (topic, name) = lower
            .split_once("/subscriptions/")
            .ok_or_else(|| Refusal::not_found(path))?;
        self.topics
            .get_mut(topic)
            .and_then(|topic| topic.subscriptions.get_mut(name))
            .ok_or_else(|| Refusal::not_found(path))
    }

    pub(crate) fn message_bytes_max(&self, path: &str) -> u64 {
        let path = path.to_lowercase();
        let topic = self
            .topics
            .get(&path)
            .map(|topic| topic.settings.message_bytes_max);
        let store = self
            .stores
            .get(&path)
            .map(|store| store.settings.message_bytes_max);
        topic
            .or(store)
            .unwrap_or(EntitySettings::default().message_bytes_max)
    }

    /// Why nothing may be sent to (or received from) an entity.
    pub(crate) fn disabled(&self, path: &str) -> Option<Refusal> {
        let path = path.to_lowercase();
        let topic = self
            .topics
            .get(&path)
            .is_some_and(|topic| topic.settings.disabled);
        let store = self
            .stores
            .get(&path)
            .is_some_and(|store| store.settings.disabled);
        (topic || store).then(|| {
            Refusal::new(
                "com.microsoft:entity-disabled",
                format!("the messaging entity {path} is disabled"),
            )
        })
    }

    pub(crate) fn set_disabled(&mut self, path: &str, disabled: bool) {
        let path = path.to_lowercase();
        if let Some(topic) = self.topics.get_mut(&path) {
            topic.settings.disabled = disabled;
        }
        if let Some(store) = self.stores.get_mut(&path) {
            store.settings.disabled = disabled;
        }
    }

    /// Takes a message, for now or for later. The number it gets counts for scheduled ones.
    pub(crate) fn send(&mut self, path: &str, message: AnyMessage, now: i64) -> Result<i64, Refusal> {
        if let Some(refusal) = self.disabled(path) {
            return Err(refusal);
        }
        let path = path.to_lowercase();
        let bytes = encode(&message).len() as u64;
        let limit = self.message_bytes_max(&path);
        if bytes > limit {
            return Err(Refusal::new(
                "amqp:link:message-size-exceeded",
                format!("the message has {bytes} bytes, the limit is {limit}"),
            ));
        }
        let remembered = self.window(&path).zip(message_id(&message));
        if let Some((_, id)) = &remembered
            && self.is_duplicate(&path, id, now)
        {
            return Ok(0);
        }
        let sequence = self.keep(&path, message, now)?;
        // What was refused is no duplicate when it comes again.
        if let Some((window, id)) = remembered {
            let seen = self.seen.entry(path).or_default();
            let until = now + micros(window);
            seen.order.push_back((until, id.clone()));
            seen.until.insert(id, until);
        }
        Ok(sequence)
    }

    fn keep(&mut self, path: &str, message: AnyMessage, now: i64) -> Result<i64, Refusal> {
        let due = scheduled_for(&message).filter(|due| *due > now);
        let stored = Stored::new(message, now);
        if let Some(topic) = self.topics.get_mut(path) {
            let Some(due) = due else {
                return self.fan_out(path, stored).map(|()| 0);
            };
            if topic.scheduled.len() >= topic.settings.depth_max {
                return Err(Refusal::quota(path));
            }
            let sequence = topic.scheduled.schedule(stored, i64::MAX)?;
            topic.scheduled_due.insert(sequence, due);
            return Ok(sequence);
        }
        let store = self.store(path)?;
        if store.len() >= store.settings.depth_max {
            return Err(Refusal::quota(path));
        }
        match due {
            Some(due) => store.schedule(stored, due),
            None => store.enqueue(stored),
        }
    }

    pub(crate) fn cancel(&mut self, path: &str, sequence: i64) -> bool {
        if let Some(topic) = self.topics.get_mut(&path.to_lowercase()) {
            topic.scheduled_due.remove(&sequence);
            return topic.scheduled.cancel(sequence);
        }
        self.store(path).is_ok_and(|store| store.cancel(sequence))
    }

    /// How long an entity remembers message ids.
    fn window(&self, path: &str) -> Option<std::time::Duration> {
        let topic = self.topics.get(path).map(|topic| topic.settings.duplicate_window);
        let store = self.stores.get(path).map(|store| store.settings.duplicate_window);
        topic.or(store)?
    }

    fn is_duplicate(&mut self, path: &str, id: &str, now: i64) -> bool {
        let seen = self.seen.entry(path.to_owned()).or_default();
        while let Some((until, _)) = seen.order.front()
            && *until <= now
        {
            if let Some((until, id)) = seen.order.pop_front()
                && seen.until.get(&id) == Some(&until)
            {
                seen.until.remove(&id);
            }
        }
        seen.until.contains_key(id)
    }

    fn fan_out(&mut self, topic: &str, stored: Stored) -> Result<(), Refusal> {
        let Some(found) = self.topics.get(topic) else {
            return Err(Refusal::not_found(topic));
        };
        let takers: Vec<String> = found
            .subscriptions
            .iter()
            .filter(|(_, rules)| rules.values().any(|rule| rule.matches(&stored.message)))
            .map(|(name, _)| format!("{topic}/subscriptions/{name}"))
            .collect();
        for path in &takers {
            let store = self.store(path)?;
            if store.len() >= store.settings.depth_max {
                return Err(Refusal::quota(path));
            }
        }
        for path in takers {
            self.store(&path)?.enqueue(stored.clone())?;
        }
        Ok(())
    }

    fn tick(&mut self, now: i64) {
        let mut due: Vec<(String, Stored)> = Vec::new();
        for (path, topic) in &mut self.topics {
            let ready: Vec<(i64, i64)> = topic
                .scheduled_due
                .iter()
                .filter(|(_, due)| **due <= now)
                .map(|(sequence, due)| (*due, *sequence))
                .collect();
            for (moment, sequence) in ready {
                topic.scheduled_due.remove(&sequence);
                if let Some(mut stored) = topic.scheduled.take_scheduled(sequence) {
                    stored.enqueued = moment;
                    due.push((path.clone(), stored));
                }
            }
        }
        for (path, stored) in due {
            if let Err(refusal) = self.fan_out(&path, stored) {
                tracing::warn!(path, refusal.description, "a scheduled message was dropped");
            }
        }
        for store in self.stores.values_mut() {
            store.tick(now);
        }
        self.move_dead();
    }

    /// Moves what died into the dead-letter queue beside it.
    pub(crate) fn move_dead(&mut self) {
        let mut moved: Vec<(String, Vec<Stored>)> = Vec::new();
        for (path, store) in &mut self.stores {
            if !store.dead.is_empty() && !path.ends_with(DEAD) {
                moved.push((path.clone(), std::mem::take(&mut store.dead)));
            }
        }
        for (path, letters) in moved {
            if let Some(dead) = self.stores.get_mut(&(path.clone() + DEAD)) {
                for mut letter in letters {
                    letter.dead_letter_source = Some(path.clone());
                    letter.delivery_count = 0;
                    if let Err(refusal) = dead.enqueue(letter) {
                        tracing::warn!(path, refusal.description, "a dead letter was dropped");
                    }
                }
            }
        }
    }

    fn next_moment(&self) -> Option<i64> {
        let stores = self.stores.values().filter_map(Store::next_moment);
        let topics = self
            .topics
            .values()
            .flat_map(|topic| topic.scheduled_due.values().copied());
        stores.chain(topics).min()
    }
}
