//! The bus: where sealed messages wait.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::pipeline::CommitReceipt;
use crate::value::Timestamp;

/// Names a message; at most 128 characters, unique for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub String);

/// What a bus can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusLimits {
    /// Largest body, in bytes.
    pub body_bytes_max: usize,
    /// Most messages in one `publish`.
    pub publish_batch_max: usize,
    /// Most messages from one `receive`.
    pub receive_batch_max: usize,
    /// How long a received message stays locked without `renew`.
    pub lock_duration: Duration,
    /// Whether messages of one lane are delivered in order.
    pub lanes: bool,
}

/// A message to publish. Everything but the body is visible to the bus, so all of it is opaque.
#[derive(Clone)]
pub struct Outgoing {
    /// Unique id; publishing the same id again may be dropped as a duplicate, or delivered twice.
    pub id: MessageId,
    /// The subscription that shall get it: the target system.
    pub subscription: String,
    /// Keeps messages of one record together; at most 32 hex digits.
    pub lane: String,
    /// The envelope.
    pub body: Vec<u8>,
}

/// A received, locked message.
#[derive(Clone)]
pub struct Delivery {
    /// Its id.
    pub id: MessageId,
    /// Its lane.
    pub lane: String,
    /// The envelope.
    pub body: Vec<u8>,
    /// How often it has been delivered, this time included (starts at 1). Deferrals do not count.
    pub delivery_count: u32,
    /// What settles it.
    pub lock: LockToken,
}

/// Proves that we hold a delivery; worthless after the lock has been lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockToken(pub String);

/// What becomes of a delivery.
pub enum Settlement {
    /// Done. Needs the receipt of the state commit that recorded the outcome: settling before applying does not compile.
    Complete(LockToken, CommitReceipt),
    /// Later: goes behind the other messages, not before the given wait has passed.
    Defer(LockToken, Duration),
    /// Cannot be handled: kept aside with a reason.
    DeadLetter(LockToken, DeadLetterReason),
}

/// Why a message was dead-lettered: a short code and a sentence, free of record content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterReason {
    /// Stable code (`unreadable`, `foreign_tenant`, `unknown_key`).
    pub code: String,
    /// What an operator should know.
    pub description: String,
}

/// A message in the dead-letter store.
#[derive(Clone)]
pub struct DeadLetter {
    /// Its id.
    pub id: MessageId,
    /// Why.
    pub reason: DeadLetterReason,
    /// Since when.
    pub since: Timestamp,
    /// The envelope.
    pub body: Vec<u8>,
}

/// Staging between systems.
///
/// **Delivery** is at least once: a message is delivered again when its lock ends without settlement, and can arrive doubled or out of order.
/// Correctness never depends on lanes. **Publish** returns `Ok` only when every message is durable; after an error any part may have been published, and
/// the caller publishes again under the same ids. **Back-pressure**: a full bus answers `RateLimited`/`Later`; nothing is lost.
/// **Cancel safety.** A dropped `publish` may have happened; a dropped `receive` leaves its messages locked until the lock ends.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Bounds, constant.
    fn limits(&self) -> BusLimits;

    /// Makes messages durable. At most `publish_batch_max` of at most `body_bytes_max` each (`Limit` otherwise, nothing published).
    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()>;

    /// A consumer of a subscription; several may exist and compete.
    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>>;

    /// Looks whether everything that these subscriptions need is there and set as it has to be. Changes nothing; an error says what to do.
    async fn verify(&self, _subscriptions: &[String]) -> Result<()> {
        Ok(())
    }

    /// Messages that are waiting or locked in a subscription, dead letters not counted.
    async fn depth(&self, subscription: &str) -> Result<u64>;

    /// Dead letters in order of arrival, behind `after`.
    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>>;

    /// Puts dead letters back into the subscription with a fresh delivery count; ids that are not there are ignored. Returns how many.
    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64>;
}

/// Receives and settles.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Up to `max` messages that are due, oldest due first; waits up to `wait` for the first one. Locks them.
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>>;

    /// Settles deliveries. A lost lock is not an error: that message will come again.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()>;

    /// Renews the locks; returns those that were lost.
    async fn renew(&self, locks: &[LockToken]) -> Result<Vec<LockToken>>;

    /// Lets go of the subscription. Unsettled messages return when their lock ends.
    async fn close(self: Box<Self>) -> Result<()>;
}
