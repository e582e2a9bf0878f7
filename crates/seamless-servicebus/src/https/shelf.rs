//! What the service cannot keep for us over HTTPS, in rows of the state store: deferred messages and dead letters.

use std::sync::Arc;

use base64::engine::general_purpose::STANDARD;
use seamless_core::{
    DeadLetter, DeadLetterReason, Error, MessageId, Result, Row, StateStore, Table, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::notes::{PAGE, delete, due, key, page, prefix, put};

/// Kinds of rows, as the first part of their keys.
const LATER: &str = "bus-later";
const DEAD: &str = "bus-dead";

/// A message that waits here. Its body is sealed like any other.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Shelved {
    pub(super) id: MessageId,
    pub(super) lane: String,
    #[serde(with = "base64_text")]
    pub(super) body: Vec<u8>,
    /// Deliveries so far.
    pub(super) deliveries: u32,
    /// Why it is dead, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead: Option<Dead>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Dead {
    code: String,
    description: String,
    since: i64,
}

impl Shelved {
    pub(super) fn new(id: MessageId, lane: String, body: Vec<u8>, deliveries: u32) -> Shelved {
        Shelved {
            id,
            lane,
            body,
            deliveries,
            dead: None,
        }
    }

    pub(super) fn dead(self, reason: DeadLetterReason, since: Timestamp) -> Shelved {
        let dead = Dead {
            code: reason.code,
            description: reason.description,
            since: since.0,
        };
        Shelved {
            dead: Some(dead),
            ..self
        }
    }
}

/// Rows of one bus.
#[derive(Clone)]
pub(super) struct Shelf {
    store: Arc<dyn StateStore>,
}

impl Shelf {
    pub(super) fn new(store: Arc<dyn StateStore>) -> Shelf {
        Shelf { store }
    }

    /// Messages that are due, oldest first, with the key of each; those that `skip` knows are left out.
    pub(super) async fn due(
        &self,
        subscription: &str,
        now: Timestamp,
        max: usize,
        skip: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Shelved)>> {
        let prefix = prefix(LATER, subscription);
        let mut found = Vec::new();
        let mut after = None;
        while found.len() < max {
            let rows = page(&*self.store, &prefix, after).await?;
            let whole = rows.len() == PAGE;
            after = rows.last().map(|(key, _)| key.clone());
            for (key, row) in rows {
                if due(&key, &prefix).is_none_or(|due| due > now) {
                    return Ok(found);
                }
                if found.len() < max && !skip(&key) {
                    found.push((key, read(&row)?));
                }
            }
            if !whole {
                break;
            }
        }
        Ok(found)
    }

    /// Messages that wait, due or not.
    pub(super) async fn waiting(&self, subscription: &str) -> Result<u64> {
        self.store.count(Table::Meta, &prefix(LATER, subscription)).await
    }

    pub(super) async fn remove(&self, key: &str) -> Result<()> {
        self.store.commit(vec![delete(key)]).await.map(drop)
    }

    /// Replaces a row by another, in one go.
    pub(super) async fn replace(&self, old: &str, new: &str, message: &Shelved) -> Result<()> {
        let value = json(message)?;
        self.store
            .commit(vec![delete(old), put(new, value)])
            .await
            .map(drop)
    }

    /// Where a message waits until it is due.
    pub(super) fn later_key(&self, subscription: &str, due: Timestamp, name: &str) -> String {
        key(LATER, subscription, due, name)
    }

    /// Where a dead letter lies.
    pub(super) fn dead_key(&self, subscription: &str, since: Timestamp, name: &str) -> String {
        key(DEAD, subscription, since, name)
    }

    /// Keeps a message.
    pub(super) async fn keep(&self, key: &str, message: &Shelved) -> Result<()> {
        self.put(key, json(message)?).await
    }

    /// Dead letters in order, behind `after`. An `after` that is gone starts the list again: better twice than skipped.
    pub(super) async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        let mut found = Vec::new();
        let mut from_start = Vec::new();
        let mut passed = after.is_none();
        self.each_dead(subscription, |_, shelved| {
            let is_after = after == Some(&shelved.id);
            let list = if passed { &mut found } else { &mut from_start };
            if list.len() < max
                && let Some(dead) = shelved.dead
            {
                list.push(DeadLetter {
                    id: shelved.id,
                    reason: DeadLetterReason {
                        code: dead.code,
                        description: dead.description,
                    },
                    since: Timestamp(dead.since),
                    body: shelved.body,
                });
            }
            passed |= is_after;
            !passed || found.len() < max
        })
        .await?;
        Ok(if passed { found } else { from_start })
    }

    /// Makes dead letters due again, in the order asked for.
    pub(super) async fn replay(
        &self,
        subscription: &str,
        ids: &[MessageId],
        now: Timestamp,
        mut name: impl FnMut() -> String,
    ) -> Result<u64> {
        let mut wanted: Vec<(String, Shelved)> = Vec::new();
        self.each_dead(subscription, |key, shelved| {
            if ids.contains(&shelved.id) {
                wanted.push((key, shelved));
            }
            true
        })
        .await?;
        let mut replayed = 0;
        for id in ids {
            // A second one of the same id is the same message: both go.
            let twins = wanted.extract_if(.., |(_, shelved)| shelved.id == *id);
            let mut fresh = None;
            let mut ops = Vec::new();
            for (key, shelved) in twins {
                ops.push(delete(&key));
                fresh = Some(shelved);
            }
            let Some(fresh) = fresh else { continue };
            let fresh = Shelved::new(fresh.id, fresh.lane, fresh.body, 0);
            let at = key(LATER, subscription, now, &name());
            ops.push(put(&at, json(&fresh)?));
            self.store.commit(ops).await?;
            replayed += 1;
        }
        Ok(replayed)
    }

    async fn each_dead(
        &self,
        subscription: &str,
        mut each: impl FnMut(String, Shelved) -> bool,
    ) -> Result<()> {
        let prefix = prefix(DEAD, subscription);
        let mut after = None;
        loop {
            let rows = page(&*self.store, &prefix, after).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (key, row) in rows {
                let shelved = read(&row)?;
                if !each(key, shelved) {
                    return Ok(());
                }
            }
        }
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.store.commit(vec![put(key, value)]).await.map(drop)
    }
}

fn json(message: &Shelved) -> Result<Vec<u8>> {
    serde_json::to_vec(message).map_err(|error| Error::storage("a message cannot be kept").because(error))
}

fn read(row: &Row) -> Result<Shelved> {
    serde_json::from_slice(&row.value)
        .map_err(|error| Error::storage("a message that was kept cannot be read").because(error))
}

mod base64_text {
    use base64::Engine as _;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::STANDARD;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
