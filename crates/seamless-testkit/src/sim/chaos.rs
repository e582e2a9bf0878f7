//! Store and bus with an await point before and after every call, so that a crash can fall between a call and its answer; a bus that doubles
//! and reorders.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::envelope::RowSeal;
use seamless_core::memory::{MemoryBus, MemoryStore};
use seamless_core::pipeline::{Intent, Rows};
use seamless_core::{
    Bus, BusLimits, Consumer, DeadLetter, Delivery, LockToken, MessageId, Op, Outgoing, Result, Row, RowKey,
    Scan, Settlement, StateStore, Table,
};

use super::executor::Sim;
use super::world::{OpenIntent, World};

pub(super) struct ChaosStore {
    pub(super) inner: Arc<MemoryStore>,
    pub(super) sim: Sim,
    pub(super) watch: Option<StoreWatch>,
}

/// Tells a world when intents open and close, and since when a watched field of a record is known.
pub(super) struct StoreWatch {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) sim: Sim,
    pub(super) rows: RowSeal,
}

impl StoreWatch {
    fn look(&self, ops: &[Op]) {
        let (now, rows) = (self.sim.now(), Rows::new(&self.rows));
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        for op in ops {
            match op {
                Op::Put { key, value, .. } if key.table == Table::Intent => {
                    let Ok(intent) = rows.sealed::<Intent>(key, &row_of(value)) else {
                        continue;
                    };
                    world.intents.push(OpenIntent {
                        key: key.key.clone(),
                        source: intent.source,
                        target: intent.target,
                        fields: intent.writes.into_keys().collect(),
                        from: now,
                        to: None,
                    });
                }
                Op::Delete { key, .. } if key.table == Table::Intent => {
                    let open = world
                        .intents
                        .iter_mut()
                        .filter(|open| open.key == key.key && open.to.is_none());
                    open.for_each(|open| open.to = Some(now));
                }
                Op::Put { key, value, .. } if key.table == Table::Watched => {
                    let row = rows.sealed::<serde_json::Value>(key, &row_of(value));
                    let values = row.as_ref().ok().and_then(|row| row["values"].as_object());
                    for field in values.into_iter().flat_map(|values| values.keys()) {
                        let known = world.known.entry((key.key.clone(), field.clone()));
                        known.or_insert(now);
                    }
                }
                _ => {}
            }
        }
    }
}

fn row_of(value: &[u8]) -> Row {
    Row {
        version: 0,
        value: value.to_vec(),
    }
}

#[async_trait]
impl StateStore for ChaosStore {
    async fn get(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>> {
        self.sim.pause().await;
        self.inner.get(keys).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<(String, Row)>> {
        self.sim.pause().await;
        self.inner.scan(scan).await
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<u64> {
        self.sim.pause().await;
        let done = self.inner.commit(ops.clone()).await;
        if let (Some(watch), Ok(_)) = (&self.watch, &done) {
            watch.look(&ops);
        }
        self.sim.pause().await;
        done
    }

    async fn count(&self, table: Table, prefix: &str) -> Result<u64> {
        self.inner.count(table, prefix).await
    }
}

pub(super) struct ChaosBus {
    pub(super) inner: Arc<MemoryBus>,
    pub(super) sim: Sim,
    /// Chance per mille that a message is published twice.
    pub(super) doubles: u64,
}

#[async_trait]
impl Bus for ChaosBus {
    fn limits(&self) -> BusLimits {
        self.inner.limits()
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()> {
        self.sim.pause().await;
        for message in messages {
            let double = {
                let mut state = self.sim.state();
                !state.calm && state.rng.per_mille(self.doubles)
            };
            self.inner.publish(vec![message.clone()]).await?;
            if double {
                self.inner.publish(vec![message]).await?;
            }
            // A crash between two messages of a batch.
            self.sim.pause().await;
        }
        Ok(())
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        let inner = self.inner.subscribe(subscription).await?;
        Ok(Box::new(ChaosConsumer {
            inner,
            sim: self.sim.clone(),
            doubles: self.doubles,
        }))
    }

    async fn depth(&self, subscription: &str) -> Result<u64> {
        self.inner.depth(subscription).await
    }

    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.inner.dead_letters(subscription, after, max).await
    }

    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64> {
        self.inner.replay(subscription, ids).await
    }
}

struct ChaosConsumer {
    inner: Box<dyn Consumer>,
    sim: Sim,
    doubles: u64,
}

#[async_trait]
impl Consumer for ChaosConsumer {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        self.sim.pause().await;
        let few = {
            let mut state = self.sim.state();
            if state.calm {
                max
            } else {
                state.rng.between(1, 4) as usize
            }
        };
        let mut deliveries = self.inner.receive(few.min(max), wait).await?;
        {
            let mut state = self.sim.state();
            for at in (1..deliveries.len()).rev() {
                let other = state.rng.below(at as u64 + 1) as usize;
                deliveries.swap(at, other);
            }
            // Now and then a message gets lost on its way here and comes again when its lock ends.
            if !state.calm && state.rng.per_mille(self.doubles / 4) {
                deliveries.pop();
            }
        }
        self.sim.pause().await;
        Ok(deliveries)
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        self.sim.pause().await;
        self.inner.settle(settlements).await?;
        self.sim.pause().await;
        Ok(())
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        self.inner.renew(locks).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
