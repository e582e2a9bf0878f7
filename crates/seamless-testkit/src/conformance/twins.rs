//! The suites on memory's own implementations, and on broken twins of them that must fail: a suite that cannot fail proves nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::memory::{MemoryBus, MemoryStore};
use seamless_core::{
    Bus, BusLimits, Clock, Consumer, DeadLetter, Delivery, Expect, LockToken, MessageId, Op, Outgoing,
    Result, Row, RowKey, Scan, Settlement, StateStore, Table,
};

use super::{Verdict, bus, store};

#[tokio::test]
async fn memory_passes() {
    assert_eq!(store::run(&Stores(StoreFault::None)).await, Ok(()));
    assert_eq!(bus::run(&Buses(BusFault::None)).await, Ok(()));
}

#[tokio::test]
async fn broken_stores_fail() {
    for (fault, case) in [
        (StoreFault::IgnoresAbsent, "expectations_decide"),
        (
            StoreFault::CommitsOneByOne,
            "a_failed_operation_undoes_the_earlier_ones",
        ),
        (StoreFault::ScansFromAfterInclusive, "scans_in_key_order"),
    ] {
        assert_caught(store::run(&Stores(fault)).await, case);
    }
}

#[tokio::test]
async fn broken_buses_fail() {
    for (fault, case) in [
        (BusFault::DefersToNow, "deferred_waits_and_counts_nothing"),
        (BusFault::DeferDoesNothing, "deferred_goes_to_the_back"),
        (BusFault::NewestFirst, "oldest_due_first"),
        (BusFault::RenewsNothing, "renewing_keeps_a_lock"),
        (BusFault::CutsBatches, "delivers_whole_batches"),
    ] {
        assert_caught(bus::run(&Buses(fault)).await, case);
    }
}

fn assert_caught(verdict: Verdict, case: &str) {
    let failures = verdict.expect_err("the broken twin passed").0;
    assert!(
        failures.iter().any(|failure| failure.starts_with(case)),
        "{case} did not notice: {failures:#?}"
    );
}

#[derive(Clone, Copy, PartialEq)]
enum StoreFault {
    None,
    IgnoresAbsent,
    CommitsOneByOne,
    ScansFromAfterInclusive,
}

struct Stores(StoreFault);

#[async_trait]
impl store::StoreFactory for Stores {
    async fn fresh(&self) -> Arc<dyn StateStore> {
        Arc::new(TwinStore {
            inner: MemoryStore::new(),
            fault: self.0,
        })
    }

    async fn reopen(&self) -> Option<Arc<dyn StateStore>> {
        None
    }
}

struct TwinStore {
    inner: MemoryStore,
    fault: StoreFault,
}

#[async_trait]
impl StateStore for TwinStore {
    async fn get(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>> {
        self.inner.get(keys).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<(String, Row)>> {
        let mut found = self.inner.scan(scan).await?;
        if let (StoreFault::ScansFromAfterInclusive, Some(after)) = (self.fault, &scan.after) {
            let row = self
                .inner
                .get(&[RowKey::new(scan.table, after.clone())])
                .await?
                .remove(0);
            found.splice(0..0, row.map(|row| (after.clone(), row)));
        }
        Ok(found)
    }

    async fn commit(&self, mut ops: Vec<Op>) -> Result<u64> {
        if self.fault == StoreFault::IgnoresAbsent {
            for op in &mut ops {
                let (Op::Check { expect, .. } | Op::Put { expect, .. } | Op::Delete { expect, .. }) = op;
                if *expect == Expect::Absent {
                    *expect = Expect::Any;
                }
            }
        }
        if self.fault == StoreFault::CommitsOneByOne {
            for op in ops {
                self.inner.commit(vec![op]).await?;
            }
            ops = vec![];
        }
        self.inner.commit(ops).await
    }

    async fn count(&self, table: Table, prefix: &str) -> Result<u64> {
        self.inner.count(table, prefix).await
    }
}

#[derive(Clone, Copy, PartialEq)]
enum BusFault {
    None,
    DefersToNow,
    DeferDoesNothing,
    NewestFirst,
    RenewsNothing,
    CutsBatches,
}

struct Buses(BusFault);

#[async_trait]
impl bus::BusFactory for Buses {
    async fn fresh(&self, clock: Arc<dyn Clock>) -> Arc<dyn Bus> {
        Arc::new(TwinBus {
            inner: MemoryBus::new(clock),
            fault: self.0,
        })
    }

    async fn reopen(&self) -> Option<Arc<dyn Bus>> {
        None
    }
}

struct TwinBus {
    inner: MemoryBus,
    fault: BusFault,
}

#[async_trait]
impl Bus for TwinBus {
    fn limits(&self) -> BusLimits {
        self.inner.limits()
    }

    async fn publish(&self, mut messages: Vec<Outgoing>) -> Result<()> {
        if self.fault == BusFault::CutsBatches && messages.len() <= self.limits().publish_batch_max {
            messages.truncate(100);
        }
        self.inner.publish(messages).await
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(TwinConsumer {
            inner: self.inner.subscribe(subscription).await?,
            fault: self.fault,
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

struct TwinConsumer {
    inner: Box<dyn Consumer>,
    fault: BusFault,
}

#[async_trait]
impl Consumer for TwinConsumer {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let mut deliveries = self.inner.receive(max, wait).await?;
        if self.fault == BusFault::NewestFirst {
            deliveries.reverse();
        }
        Ok(deliveries)
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        let broken = settlements
            .into_iter()
            .filter_map(|settlement| match (self.fault, settlement) {
                (BusFault::DefersToNow, Settlement::Defer(lock, _)) => {
                    Some(Settlement::Defer(lock, Duration::ZERO))
                }
                (BusFault::DeferDoesNothing, Settlement::Defer(..)) => None,
                (_, settlement) => Some(settlement),
            });
        self.inner.settle(broken.collect()).await
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        match self.fault {
            BusFault::RenewsNothing => Ok(vec![]),
            _ => self.inner.renew(locks).await,
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
