//! [`Bus`] on the `message` table.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{
    Bus, BusLimits, Consumer, DeadLetter, Delivery, LockToken, MessageId, Outgoing, Result, Settlement,
};

use crate::database::Database;
use crate::message::{self, LIMITS};

/// The bus of an open data folder. Keeps both when the same id is published twice.
pub(crate) struct SqliteBus {
    database: Arc<Database>,
}

impl SqliteBus {
    pub(crate) fn new(database: Arc<Database>) -> SqliteBus {
        SqliteBus { database }
    }
}

#[async_trait]
impl Bus for SqliteBus {
    fn limits(&self) -> BusLimits {
        LIMITS
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()> {
        LIMITS.check(&messages)?;
        let time = self.database.time().clone();
        self.database
            .write(move |connection, tally| message::publish(connection, tally, time.micros(), &messages))
            .await
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(SqliteConsumer {
            database: self.database.clone(),
            subscription: subscription.into(),
        }))
    }

    async fn depth(&self, subscription: &str) -> Result<u64> {
        let subscription = subscription.to_owned();
        self.database
            .read(move |connection| Ok(message::depth(connection, &subscription)?))
            .await
    }

    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        let (subscription, after) = (subscription.to_owned(), after.cloned());
        self.database
            .read(move |connection| {
                Ok(message::dead_letters(
                    connection,
                    &subscription,
                    after.as_ref(),
                    max,
                )?)
            })
            .await
    }

    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64> {
        let (subscription, ids) = (subscription.to_owned(), ids.to_vec());
        let time = self.database.time().clone();
        self.database
            .write(move |connection, tally| {
                Ok(message::replay(
                    connection,
                    tally,
                    time.micros(),
                    &subscription,
                    &ids,
                )?)
            })
            .await
    }
}

struct SqliteConsumer {
    database: Arc<Database>,
    subscription: Arc<str>,
}

#[async_trait]
impl Consumer for SqliteConsumer {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let max = max.min(LIMITS.receive_batch_max);
        let clock = self.database.time().clock();
        let deadline = clock.monotonic().saturating_add(wait);
        loop {
            // Listens before it looks, so that nothing is published unheard in between.
            let mut changed = pin!(self.database.changed().notified());
            changed.as_mut().enable();
            let (time, subscription) = (self.database.time().clone(), self.subscription.clone());
            let found = self.database.write(move |connection, tally| {
                Ok(message::receive(
                    connection,
                    tally,
                    time.micros(),
                    &subscription,
                    max,
                )?)
            });
            let found = found.await?;
            let left = deadline.saturating_sub(clock.monotonic());
            if !found.deliveries.is_empty() || left.is_zero() || max == 0 {
                return Ok(found.deliveries);
            }
            let pause = found.next.unwrap_or(left).min(left).max(Duration::from_millis(1));
            tokio::select! {
                biased;
                () = changed => {}
                () = clock.sleep(pause) => {}
            }
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        let (time, subscription) = (self.database.time().clone(), self.subscription.clone());
        let settled = self.database.write(move |connection, tally| {
            let (now, since) = (time.micros(), time.clock().now());
            Ok(message::settle(
                connection,
                tally,
                now,
                since,
                &subscription,
                &settlements,
            )?)
        });
        settled.await
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        let (time, subscription, locks) = (
            self.database.time().clone(),
            self.subscription.clone(),
            locks.to_vec(),
        );
        let renewed = self
            .database
            .write(move |connection, _| Ok(message::renew(connection, time.micros(), &subscription, locks)?));
        renewed.await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
