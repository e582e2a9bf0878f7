//! Publishing: what was put out in a commit goes to the bus.

use std::sync::Arc;

use super::event_subscription;
use crate::contract::{Event, Expect, Message, MessageId, Op, Outgoing, RowKey, Scan, Table};
use crate::envelope::Address;
use crate::error::{ErrorKind, Result};
use crate::pipeline::engine::Engine;

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
        let mut messages = Vec::with_capacity(rows.len());
        let mut done = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let subscriber = key.split('/').next().unwrap_or_default().to_owned();
            let key = RowKey::new(Table::Outbox, key);
            let event: Event = engine.sealed_row(&key, &row)?;
            messages.push(self.seal(&subscriber, event)?);
            done.push(Op::Delete {
                key,
                expect: Expect::Version(row.version),
            });
        }
        let count = messages.len();
        engine.bus.publish(messages).await?;
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
