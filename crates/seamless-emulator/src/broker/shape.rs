//! What entities there are and how they are set: listed, changed, removed.

use std::collections::BTreeMap;

use super::{DEAD, EntitySettings, Filter, Kind, Refusal, State, TopicSettings};

/// How many messages an entity holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) active: usize,
    pub(crate) deferred: usize,
    pub(crate) scheduled: usize,
    pub(crate) dead: usize,
}

impl State {
    /// Topics, or queues, by name.
    pub(crate) fn names(&self, topics: bool) -> Vec<String> {
        if topics {
            return self.topics.keys().cloned().collect();
        }
        let queues = self.stores.keys().filter(|path| {
            let part_of = |parent: &String| path.starts_with(&format!("{parent}/subscriptions/"));
            !path.ends_with(DEAD) && !self.topics.keys().any(part_of)
        });
        queues.cloned().collect()
    }

    /// The subscriptions of a topic.
    pub(crate) fn subscription_names(&self, topic: &str) -> Result<Vec<String>, Refusal> {
        let found = self.topics.get(&topic.to_lowercase());
        let found = found.ok_or_else(|| Refusal::not_found(topic))?;
        Ok(found.subscriptions.keys().cloned().collect())
    }

    pub(crate) fn topic_settings(&mut self, topic: &str) -> Option<&mut TopicSettings> {
        let found = self.topics.get_mut(&topic.to_lowercase())?;
        Some(&mut found.settings)
    }

    /// Settings of a queue or of a subscription by its path.
    pub(crate) fn entity_settings(&mut self, path: &str) -> Option<&mut EntitySettings> {
        let found = self.stores.get_mut(&path.to_lowercase())?;
        Some(&mut found.settings)
    }

    pub(crate) fn counts(&self, path: &str) -> Counts {
        let path = path.to_lowercase();
        if let Some(topic) = self.topics.get(&path) {
            return Counts {
                scheduled: topic.scheduled.len(),
                ..Counts::default()
            };
        }
        let count = |kind| self.stores.get(&path).map_or(0, |store| store.count(kind));
        Counts {
            active: count(0),
            deferred: count(1),
            scheduled: count(2),
            dead: self
                .stores
                .get(&(path.clone() + DEAD))
                .map_or(0, |store| store.len()),
        }
    }

    /// Takes an entity away with everything in it.
    pub(crate) fn remove(&mut self, path: &str) -> Result<(), Refusal> {
        let lower = path.to_lowercase();
        match self.kind(&lower) {
            None => return Err(Refusal::not_found(path)),
            Some(Kind::Topic) => {
                for name in self.subscription_names(&lower)? {
                    self.remove_store(&format!("{lower}/subscriptions/{name}"));
                }
                self.topics.remove(&lower);
            }
            Some(Kind::Store) => {
                if let Some((topic, name)) = lower.split_once("/subscriptions/")
                    && let Some(topic) = self.topics.get_mut(topic)
                {
                    topic.subscriptions.remove(name);
                }
                self.remove_store(&lower);
            }
        }
        self.seen.remove(&lower);
        Ok(())
    }

    fn remove_store(&mut self, path: &str) {
        self.stores.remove(path);
        self.stores.remove(&(path.to_owned() + DEAD));
    }

    /// The rules of a subscription, as they are now.
    pub(crate) fn rules_of(
        &mut self,
        topic: &str,
        name: &str,
    ) -> Result<&mut BTreeMap<String, Filter>, Refusal> {
        self.rules(&format!("{topic}/subscriptions/{name}"))
    }

    /// Most messages that an entity keeps.
    pub(crate) fn set_depth_max(&mut self, path: &str, messages: usize) {
        if let Some(settings) = self.topic_settings(path) {
            settings.depth_max = messages;
        }
        if let Some(settings) = self.entity_settings(path) {
            settings.depth_max = messages;
        }
    }
}
