//! Bodies that are too large for a bus: the body goes to a [`BlobStore`], and a claim check travels in its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::contract::{
    BlobStore, Bus, BusLimits, Clock, Consumer, DeadLetter, Delivery, LockToken, MessageId, Outgoing, Random,
    Settlement,
};
use crate::error::{Error, ErrorKind, Result};

/// Largest body with a claim check.
const BODY_BYTES_MAX: usize = 16 << 20;
/// What a claim check begins with; no envelope does.
const MAGIC: &[u8] = b"seamless-claim-check\x01";
/// A body that nobody claims is left alone for so long: its message may just be on its way.
const ORPHAN_AGE: Duration = Duration::from_secs(3_600);
/// Between two looks for orphans.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// Most orphans removed at a time.
const SWEEP_MAX: usize = 1_000;
/// How long a message waits whose body cannot be read just now.
const AGAIN: Duration = Duration::from_secs(30);

/// A [`Bus`] that takes bodies of up to 16 MiB, whatever the one below it takes.
///
/// A body above the limit of the bus below goes to the blob store under a random name; the message carries that name and the body's hash.
/// The body is removed when its message is completed. Bodies that no message claims (a crash in between, a duplicate that the bus dropped) are
/// removed when their subscription is empty.
pub struct ClaimCheck {
    shared: Arc<Shared>,
}

struct Shared {
    bus: Arc<dyn Bus>,
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Larger bodies get a claim check.
    inline_bytes_max: usize,
    /// When a subscription was last swept.
    swept: Mutex<BTreeMap<String, Duration>>,
}

/// What travels in place of a body.
#[derive(Serialize, Deserialize)]
struct Claim {
    blob: String,
    bytes: usize,
    sha256: String,
}

/// What a claim check led to.
enum Redeemed {
    Body(Vec<u8>),
    /// There is no such body, or another one: the message will be set aside as unreadable, and its record looked at again.
    Nothing,
}

impl ClaimCheck {
    /// Wraps a bus: bodies that it takes travel in the message.
    pub fn new(
        bus: Arc<dyn Bus>,
        blobs: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> ClaimCheck {
        let inline_bytes_max = bus.limits().body_bytes_max;
        ClaimCheck::above(inline_bytes_max, bus, blobs, clock, random)
    }

    /// Wraps a bus: only bodies up to so many bytes travel in the message.
    pub fn above(
        inline_bytes_max: usize,
        bus: Arc<dyn Bus>,
        blobs: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> ClaimCheck {
        ClaimCheck {
            shared: Arc::new(Shared {
                inline_bytes_max,
                bus,
                blobs,
                clock,
                random,
                swept: Mutex::default(),
            }),
        }
    }

    /// Removes bodies of a subscription that no message claims. Returns how many.
    pub async fn sweep(&self, subscription: &str) -> Result<usize> {
        self.shared.sweep(subscription).await
    }
}

impl Shared {
    async fn check_in(&self, mut message: Outgoing) -> Result<Outgoing> {
        if message.body.len() <= self.inline_bytes_max {
            return Ok(message);
        }
        let mut random = [0; 16];
        self.random.fill(&mut random);
        let blob = format!("{}/{}", message.subscription, hex(&random));
        let body = std::mem::take(&mut message.body);
        let claim = Claim {
            blob,
            bytes: body.len(),
            sha256: hex(&Sha256::digest(&body)),
        };
        self.blobs.put(&claim.blob, body).await?;
        message.body = MAGIC.to_vec();
        let json = serde_json::to_vec(&claim)
            .map_err(|error| Error::storage("a claim check cannot be written").because(error))?;
        message.body.extend(json);
        Ok(message)
    }

    async fn redeem(&self, subscription: &str, claim: &Claim) -> Result<Redeemed> {
        let found = self.blobs.get(&claim.blob, BODY_BYTES_MAX).await?;
        let body =
            found.filter(|body| body.len() == claim.bytes && hex(&Sha256::digest(body)) == claim.sha256);
        if body.is_none() {
            tracing::error!(
                subscription,
                "the body behind a claim check is gone, or is another one"
            );
        }
        Ok(body.map_or(Redeemed::Nothing, Redeemed::Body))
    }

    /// Only when nothing at all lies in the subscription does an old body surely belong to nobody.
    async fn sweep(&self, subscription: &str) -> Result<usize> {
        let old = self.blobs.list(subscription, ORPHAN_AGE, SWEEP_MAX).await?;
        if old.is_empty()
            || self.bus.depth(subscription).await? > 0
            || !self.bus.dead_letters(subscription, None, 1).await?.is_empty()
        {
            return Ok(0);
        }
        for name in &old {
            self.blobs.delete(name).await?;
        }
        tracing::info!(
            subscription,
            count = old.len(),
            "bodies that nobody claimed were removed"
        );
        Ok(old.len())
    }

    /// Sweeps now and then. It is housekeeping: a failure waits for the next time.
    async fn sweep_at_times(&self, subscription: &str) {
        let now = self.clock.monotonic();
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            let last = swept.get(subscription);
            if last.is_some_and(|last| now.saturating_sub(*last) < SWEEP_EVERY) {
                return;
            }
            swept.insert(subscription.to_owned(), now);
        }
        if let Err(error) = self.sweep(subscription).await {
            tracing::warn!(subscription, %error, "bodies that nobody claims could not be looked for");
        }
    }
}

/// The claim check in a body, if it is one for that subscription.
fn claim_of(subscription: &str, body: &[u8]) -> Option<Claim> {
    let claim: Claim = serde_json::from_slice(body.strip_prefix(MAGIC)?).ok()?;
    let name = claim.blob.strip_prefix(subscription)?.strip_prefix('/')?;
    let plain = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then_some(claim)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[async_trait]
impl Bus for ClaimCheck {
    fn limits(&self) -> BusLimits {
        let limits = self.shared.bus.limits();
        BusLimits {
            body_bytes_max: limits.body_bytes_max.max(BODY_BYTES_MAX),
            ..limits
        }
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()> {
        self.limits().check(&messages)?;
        let mut light = Vec::with_capacity(messages.len());
        for message in messages {
            light.push(self.shared.check_in(message).await?);
        }
        self.shared.bus.publish(light).await
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(Redeeming {
            consumer: self.shared.bus.subscribe(subscription).await?,
            shared: self.shared.clone(),
            subscription: subscription.to_owned(),
            out: Mutex::default(),
        }))
    }

    async fn verify(&self, subscriptions: &[String]) -> Result<()> {
        self.shared.bus.verify(subscriptions).await
    }

    async fn depth(&self, subscription: &str) -> Result<u64> {
        self.shared.bus.depth(subscription).await
    }

    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        let mut letters = self.shared.bus.dead_letters(subscription, after, max).await?;
        for letter in &mut letters {
            if let Some(claim) = claim_of(subscription, &letter.body)
                && let Redeemed::Body(body) = self.shared.redeem(subscription, &claim).await?
            {
                letter.body = body;
            }
        }
        Ok(letters)
    }

    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64> {
        self.shared.bus.replay(subscription, ids).await
    }
}

struct Redeeming {
    consumer: Box<dyn Consumer>,
    shared: Arc<Shared>,
    subscription: String,
    /// Bodies of messages that were handed out, by lock.
    out: Mutex<BTreeMap<LockToken, String>>,
}

impl Redeeming {
    fn out(&self) -> std::sync::MutexGuard<'_, BTreeMap<LockToken, String>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bodies of what is completed, as far as the locks hold: what is lost comes again and needs its body.
    async fn spent(&self, settlements: &[Settlement]) -> Result<Vec<String>> {
        let mut spent = BTreeMap::new();
        {
            let mut out = self.out();
            for settlement in settlements {
                let (Settlement::Complete(lock, _)
                | Settlement::Defer(lock, _)
                | Settlement::DeadLetter(lock, _)) = settlement;
                let blob = out.remove(lock);
                if let (Settlement::Complete(..), Some(blob)) = (settlement, blob) {
                    spent.insert(lock.clone(), blob);
                }
            }
        }
        if spent.is_empty() {
            return Ok(Vec::new());
        }
        let locks: Vec<LockToken> = spent.keys().cloned().collect();
        for lost in self.consumer.renew(&locks).await? {
            spent.remove(&lost);
        }
        Ok(spent.into_values().collect())
    }
}

#[async_trait]
impl Consumer for Redeeming {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let deliveries = self.consumer.receive(max, wait).await?;
        if deliveries.is_empty() {
            self.shared.sweep_at_times(&self.subscription).await;
        }
        let mut redeemed = Vec::with_capacity(deliveries.len());
        for mut delivery in deliveries {
            if let Some(claim) = claim_of(&self.subscription, &delivery.body) {
                match self.shared.redeem(&self.subscription, &claim).await {
                    Ok(Redeemed::Body(body)) => delivery.body = body,
                    Ok(Redeemed::Nothing) => {}
                    Err(error) if error.kind == ErrorKind::Limit => {}
                    Err(error) => {
                        tracing::warn!(subscription = self.subscription, %error, "a body cannot be read just now");
                        let later = Settlement::Defer(delivery.lock, AGAIN);
                        self.consumer.settle(vec![later]).await?;
                        continue;
                    }
                }
                self.out().insert(delivery.lock.clone(), claim.blob);
            }
            redeemed.push(delivery);
        }
        Ok(redeemed)
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        let spent = self.spent(&settlements).await?;
        self.consumer.settle(settlements).await?;
        for blob in spent {
            // What stays is an orphan, and is found.
            if let Err(error) = self.shared.blobs.delete(&blob).await {
                tracing::warn!(subscription = self.subscription, %error, "a body that is done with could not be removed");
            }
        }
        Ok(())
    }

    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>> {
        let lost = self.consumer.renew(locks).await?;
        let mut out = self.out();
        for lock in &lost {
            out.remove(lock);
        }
        Ok(lost)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.consumer.close().await
    }
}
