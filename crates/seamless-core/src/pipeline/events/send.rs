//! Publishing: what was put out in a commit goes to the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Turn, event_subscription};
use crate::contract::{Event, Expect, Message, MessageId, Op, Outgoing, Row, RowKey, Scan, Table};
use crate::envelope::Address;
use crate::error::{ErrorKind, Result};
use crate::pipeline::engine::Engine;
use crate::pipeline::state::Rows;

/// Publishes events. Any number may run: an event that is published twice has the same message id, and is told once.
pub struct EventSender {
    engine: Arc<Engine>,
}

/// Rows taken at once.
const PAGE: usize = 100;

impl EventSender {
    /// A sender.
    pub fn new(engine: &Arc<Engine>) -> EventSender {
        EventSender {
            engine: engine.clone(),
        }
    }

    /// Publishes what has been put out; returns how many. Cancel safe: what was not noted as published is published again.
    pub async fn step(&self) -> Result<usize> {
        let engine = &*self.engine;
        let scan = Scan {
            table: Table::Outbox,
            prefix: String::new(),
            after: None,
            limit: PAGE.min(engine.bus.limits().publish_batch_max),
        };
        let rows = engine.store.scan(&scan).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let turns: Vec<RowKey> = rows
            .iter()
            .map(|(key, _)| RowKey::new(Table::Turn, key.clone()))
            .collect();
        let mut messages = Vec::with_capacity(rows.len());
        for (key, row) in turns.iter().zip(engine.store.get(&turns).await?) {
            // Told meanwhile, where it was put out a second time.
            let Some(row) = row else { continue };
            let turn: Turn = engine.sealed_row(key, &row)?;
            messages.push(self.seal(subscriber_of(&key.key), turn.event)?);
        }
        let delete = |(key, row): (String, Row)| Op::Delete {
            key: RowKey::new(Table::Outbox, key),
            expect: Expect::Version(row.version),
        };
        let done: Vec<Op> = rows.into_iter().map(delete).collect();
        let count = done.len();
        if !messages.is_empty() {
            engine.bus.publish(messages).await?;
        }
        match engine.store.commit(done).await {
            // Another sender was faster.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(count),
            done => done.map(|_| count),
        }
    }

    fn seal(&self, subscriber: &str, mut event: Event) -> Result<Outgoing> {
        let engine = &*self.engine;
        let subscription = event_subscription(subscriber);
        let id = MessageId(format!("{}.{subscriber}", event.id));
        let lane = engine.hasher.lane(event.key());
        let address = Address {
            route: &subscription,
            message_id: &id.0,
            lane: &lane,
        };
        let mut body = engine.sealer.seal(&event, &address)?;
        if body.len() > engine.bus.limits().body_bytes_max {
            event.fields.clear();
            body = engine.sealer.seal(&event, &address)?;
        }
        Ok(Outgoing {
            id,
            subscription,
            lane,
            body,
        })
    }
}

impl Engine {
    /// Puts out again what is not told yet and not on the bus any more: a queue was purged, or the store comes from a backup. Returns how many events. One that
    /// is on the bus after all is told once.
    pub(crate) async fn put_out_lost_events(&self) -> Result<u64> {
        let mut put_out = BTreeSet::new();
        let keep = |key: RowKey, _| {
            put_out.insert(key.key);
            Ok(true)
        };
        self.each_row(Table::Outbox, keep).await?;
        let mut open: BTreeMap<String, Vec<String>> = BTreeMap::new();
        self.each_row(Table::Turn, |key, row| {
            let turn: Turn = self.sealed_row(&key, &row)?;
            if !turn.refused && !put_out.contains(&key.key) {
                open.entry(subscriber_of(&key.key).to_owned())
                    .or_default()
                    .push(key.key);
            }
            Ok(true)
        })
        .await?;
        let mut count = 0;
        for (subscriber, turns) in open {
            let is_known = self
                .events
                .subscribers
                .iter()
                .any(|known| known.name == subscriber);
            let events = turns.len() as u64;
            if !is_known || self.bus.depth(&event_subscription(&subscriber)).await? >= events {
                continue;
            }
            for turns in turns.chunks(PAGE) {
                let rows = turns.iter().map(|key| RowKey::new(Table::Outbox, key.clone()));
                let ops: Result<Vec<Op>> = rows.map(|row| Rows::put_plain(row, Expect::Any, &())).collect();
                self.store.commit(ops?).await?;
            }
            tracing::warn!(
                %subscriber,
                events,
                "events are missing on the bus: it was purged, or the store comes from a backup; they are put out again"
            );
            count += events;
        }
        Ok(count)
    }
}

/// Who is told, by the key of an event's turn.
fn subscriber_of(turn: &str) -> &str {
    turn.split('/').next().unwrap_or_default()
}
