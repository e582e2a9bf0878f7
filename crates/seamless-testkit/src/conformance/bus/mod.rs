//! The suite of [`Bus`] and its consumers.

mod delivery;
mod failure;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::MemoryStore;
use seamless_core::pipeline::commit_with_receipt;
use seamless_core::{
    Bus, Clock, Consumer, DeadLetterReason, Delivery, LockToken, MessageId, Outgoing, Settlement,
};

use super::{CaseResult, TestClock, Verdict, run_cases};

/// Makes the buses under test.
#[async_trait]
pub trait BusFactory: Send + Sync {
    /// An empty bus of its own that goes by this clock.
    async fn fresh(&self, clock: Arc<dyn Clock>) -> Arc<dyn Bus>;

    /// The last fresh bus, closed and opened again; `None` where nothing outlives the process.
    async fn reopen(&self) -> Option<Arc<dyn Bus>>;
}

/// Runs every case.
pub async fn run(factory: &dyn BusFactory) -> Verdict {
    use delivery::*;
    use failure::*;
    run_cases!(factory;
        delivers_until_settled,
        an_empty_subscription_waits_as_long_as_asked,
        a_waiting_receive_gets_what_is_published,
        delivers_whole_batches,
        oldest_due_first,
        deferred_goes_to_the_back,
        deferred_waits_and_counts_nothing,
        bodies_ids_and_lanes_survive,
        subscriptions_are_apart,
        rivals_never_share_a_message,
        a_lock_that_ends_redelivers,
        renewing_keeps_a_lock,
        a_lost_lock_settles_nothing,
        dead_letters_are_kept_listed_and_replayed,
        refuses_what_is_too_large,
        a_doubled_publish_is_not_lost,
        a_dropped_receive_loses_nothing,
        a_closed_consumer_loses_nothing,
        survives_reopening,
    )
}

/// The subscription of most cases.
const TARGET: &str = "crm";

/// The smallest time a case tells apart.
const TICK: Duration = Duration::from_millis(1);

/// A fresh bus with its clock and a consumer.
struct Bench {
    clock: Arc<TestClock>,
    bus: Arc<dyn Bus>,
    consumer: Box<dyn Consumer>,
}

impl Bench {
    async fn new(factory: &dyn BusFactory) -> CaseResult<Bench> {
        let clock = TestClock::new();
        let bus = factory.fresh(clock.clone()).await;
        let consumer = bus.subscribe(TARGET).await?;
        Ok(Bench { clock, bus, consumer })
    }

    async fn publish(&self, ids: &[&str]) -> CaseResult {
        Ok(self
            .bus
            .publish(ids.iter().map(|id| message(id, TARGET)).collect())
            .await?)
    }

    /// What is due now. A bus behind a network may have nothing to give, or be away for a moment, while it connects again: it is asked once more.
    async fn take(&self, max: usize) -> CaseResult<Vec<Delivery>> {
        for _ in 0..2 {
            match self.consumer.receive(max, Duration::ZERO).await {
                Ok(deliveries) if deliveries.is_empty() => {}
                Err(error) if error.is_transient() => {}
                done => return Ok(done?),
            }
        }
        Ok(self.consumer.receive(max, Duration::ZERO).await?)
    }

    /// The ids of everything due now, completed on the way.
    async fn drain(&self) -> CaseResult<Vec<String>> {
        let mut ids = Vec::new();
        loop {
            let deliveries = self.take(10).await?;
            if deliveries.is_empty() {
                return Ok(ids);
            }
            for delivery in deliveries {
                ids.push(delivery.id.0);
                self.consumer.settle(vec![complete(delivery.lock).await?]).await?;
            }
        }
    }

    fn lock_duration(&self) -> Duration {
        self.bus.limits().lock_duration
    }
}

fn message(id: &str, subscription: &str) -> Outgoing {
    Outgoing {
        id: MessageId(id.to_owned()),
        subscription: subscription.to_owned(),
        lane: "00ff".to_owned(),
        body: format!("body of {id}").into_bytes(),
    }
}

async fn complete(lock: LockToken) -> CaseResult<Settlement> {
    let receipt = commit_with_receipt(&MemoryStore::new(), vec![]).await?;
    Ok(Settlement::Complete(lock, receipt))
}

fn dead_letter(lock: LockToken, code: &str) -> Settlement {
    let reason = DeadLetterReason {
        code: code.to_owned(),
        description: format!("because of {code}"),
    };
    Settlement::DeadLetter(lock, reason)
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.id.0.as_str()).collect()
}
