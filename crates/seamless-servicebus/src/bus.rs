//! [`Bus`] on a topic.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fe2o3_amqp::Sender;
use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::delivery::DeliveryFut;
use fe2o3_amqp_types::messaging::Outcome;
use futures::FutureExt;
use rustls::pki_types::CertificateDer;
use seamless_core::{
    Bus, BusLimits, Clock, Consumer, DeadLetter, DeadLetterReason, Error, ErrorKind, MessageId, Outgoing,
    Result, StateStore, Timestamp,
};
use serde_amqp::Value;

use crate::access::ConnectionString;
use crate::connection::{Connection, Door};
use crate::consumer::SessionConsumer;
use crate::dead::take_out;
use crate::failure::{needs_new_connection, of_detach, of_remote, of_send, refused, timed_out, unreadable};
use crate::identity::{Identity, Tokens};
use crate::manage::Blueprint;
use crate::message::{OVERHEAD_BYTES_MAX, Parcel, Received, decode, received};
use crate::notes::Notes;
use crate::requests::{ANSWER_WAIT, map};
use crate::verify::verify;

/// Sends under way at a time.
const IN_FLIGHT_MAX: usize = 100;
/// Messages in one answer to `peek`.
const PEEK_MAX: i32 = 100;
/// How often a send that is not answered looks whether its link is still there.
const LOOK: Duration = Duration::from_millis(250);

/// Where a bus is, and what was agreed when its entities were made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace and its key.
    pub connection: ConnectionString,
    /// A key with the right Manage, where it is another one.
    pub manage: Option<ConnectionString>,
    /// Who this host is, where the connection string has no key. Not over HTTPS.
    pub identity: Option<Identity>,
    /// Certificates (DER) that are trusted besides the machine's.
    pub extra_roots: Vec<Vec<u8>>,
    /// What AMQP travels over.
    pub transport: Transport,
    /// The topic of the tenant.
    pub topic: String,
    /// How long the subscriptions lock a session.
    pub lock_duration: Duration,
    /// The largest message that the topic takes, in bytes: 262,144 in the Standard tier.
    pub message_bytes_max: usize,
}

/// What AMQP travels over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP, on port 5671.
    #[default]
    Tcp,
    /// A WebSocket, on port 443, for networks that let out nothing else.
    WebSocket,
}

/// How long the topic has to remember message ids: longer than anything that is sent again under the same id waits.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);
/// The most that a subscription can be given: the host decides what is dead.
const DELIVERIES_MAX: u32 = 2_000;

impl Settings {
    /// What has to be there, for the systems of these names.
    pub fn blueprint(&self, subscriptions: &[String], sessions: bool) -> Blueprint {
        Blueprint {
            topic: self.topic.clone(),
            subscriptions: subscriptions.to_vec(),
            duplicate_window: DUPLICATE_WINDOW,
            lock_duration: self.lock_duration,
            max_delivery_count: DELIVERIES_MAX,
            sessions,
            message_bytes_max: self.message_bytes_max,
        }
    }
}

/// A [`Bus`] on one topic, with a session-enabled subscription for each target system.
///
/// Drops duplicates by message id within the window of the topic. Everything shares one connection; when something on it fails, the operation
/// under way says so, and the next one opens another.
pub struct ServiceBus {
    shared: Arc<Shared>,
}

/// What bus and consumers share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    door: Door,
    pub(crate) clock: Arc<dyn Clock>,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// When copies of deferred messages come: until then the topic keeps them, where no subscription counts them.
    notes: Notes,
    /// Names locks, never the same twice, not even after a restart.
    next_lock: AtomicU64,
}

impl ServiceBus {
    /// A bus that connects when it is first used. The store remembers which messages are deferred.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, store: Arc<dyn StateStore>) -> Result<ServiceBus> {
        let tokens = match &settings.identity {
            Some(identity) => {
                let roots = settings.extra_roots.clone();
                Some(Arc::new(Tokens::new(identity.clone(), roots, clock.clone())?))
            }
            None => None,
        };
        let door = Door {
            access: settings.connection.clone(),
            transport: settings.transport,
            extra_roots: settings
                .extra_roots
                .iter()
                .cloned()
                .map(CertificateDer::from)
                .collect(),
            tokens,
        };
        let first_lock = u64::try_from(clock.now().0).unwrap_or_default();
        Ok(ServiceBus {
            shared: Arc::new(Shared {
                door,
                next_lock: AtomicU64::new(first_lock),
                settings,
                clock,
                connection: tokio::sync::Mutex::new(None),
                notes: Notes::new(store),
            }),
        })
    }

    /// All messages of an entity, page by page, as long as `each` wants more.
    async fn peek(&self, path: &str, mut each: impl FnMut(Received) -> bool) -> Result<()> {
        let connection = self.shared.connection().await?;
        let outcome = async {
            let management = connection.management(path).await?;
            let mut from = 0;
            loop {
                let body = map([
                    ("from-sequence-number", Value::Long(from)),
                    ("message-count", Value::Int(PEEK_MAX)),
                ]);
                let answer = management
                    .call("com.microsoft:peek-message", Vec::new(), body)
                    .await?;
                if answer.status == 204 {
                    return Ok(());
                }
                let Some(Value::List(messages)) = answer.get("messages") else {
                    return Err(unreadable("peek"));
                };
                let before = from;
                for message in messages {
                    let found = peeked(message).ok_or_else(|| unreadable("peek"))?;
                    from = found.sequence.saturating_add(1);
                    if !each(found) {
                        return Ok(());
                    }
                }
                if from <= before {
                    return Ok(());
                }
            }
        };
        connection.watched(outcome.await)
    }
}

fn peeked(entry: &Value) -> Option<Received> {
    let Value::Map(entry) = entry else { return None };
    match entry.get(&Value::String("message".to_owned()))? {
        Value::Binary(bytes) => Some(received(decode(bytes)?)),
        _ => None,
    }
}

impl Connection {
    /// Gives the connection up when the outcome says that it is broken.
    pub(crate) fn watched<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.as_ref().is_err_and(needs_new_connection) {
            self.give_up();
        }
        outcome
    }
}

impl Shared {
    pub(crate) fn path(&self, subscription: &str) -> String {
        format!("{}/Subscriptions/{subscription}", self.settings.topic)
    }

    pub(crate) fn next_lock(&self) -> u64 {
        self.next_lock.fetch_add(1, Ordering::Relaxed)
    }

    /// The connection, opened anew if need be.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held
            && !connection.is_broken()
        {
            return Ok(connection.clone());
        }
        // The old one goes first: what it still holds is free then.
        *held = None;
        let opening = Connection::open(self.door.clone(), self.clock.clone());
        let opened = Arc::new(to_the_end(opening).await?);
        *held = Some(opened.clone());
        Ok(opened)
    }

    /// Sends, a bounded number at a time; `Ok` when the broker has accepted every one.
    pub(crate) async fn send(&self, parcels: Vec<Parcel>) -> Result<()> {
        let connection = self.connection().await?;
        let (on, topic) = (connection.clone(), self.settings.topic.clone());
        let sending = async move {
            let (connection, topic) = (on, &topic);
            let sender = connection.sender(topic).await?;
            let mut under_way: VecDeque<DeliveryFut<Result<Outcome, SendError>>> = VecDeque::new();
            for parcel in parcels {
                if under_way.len() >= IN_FLIGHT_MAX
                    && let Some(oldest) = under_way.pop_front()
                {
                    accepted(topic, &sender, oldest).await?;
                }
                let sending = async { sender.lock().await.send_batchable(parcel.message()).await };
                let sent = tokio::time::timeout(ANSWER_WAIT, sending).await;
                let sent = sent.map_err(|_| timed_out("send"))?;
                under_way.push_back(sent.map_err(|error| of_send(topic, &error))?);
            }
            for sent in under_way {
                accepted(topic, &sender, sent).await?;
            }
            Ok(())
        };
        connection.watched(to_the_end(sending).await)
    }

    /// Takes such a note back.
    pub(crate) async fn forget_deferred(&self, subscription: &str, due: Timestamp, lock: u64) -> Result<()> {
        self.notes.forget(subscription, due, &format!("{lock:020}")).await
    }

    /// Notes that a subscription gets a message at that time.
    pub(crate) async fn note_deferred(&self, subscription: &str, due: Timestamp, lock: u64) -> Result<()> {
        self.notes.note(subscription, due, &format!("{lock:020}")).await
    }
}

/// Waits for the broker's word on one send. Only "accepted" is a success.
async fn accepted(
    what: &str,
    sender: &tokio::sync::Mutex<Sender>,
    mut sent: DeliveryFut<Result<Outcome, SendError>>,
) -> Result<()> {
    let mut looks = ANSWER_WAIT.as_millis() / LOOK.as_millis();
    let outcome = loop {
        if let Ok(outcome) = tokio::time::timeout(LOOK, &mut sent).await {
            break outcome;
        }
        // A link that the broker took away settles nothing any more, and does not say so to who waits for a settlement.
        if let Some(error) = sender.lock().await.on_detach().now_or_never() {
            return Err(of_detach(what, &error));
        }
        looks = looks.saturating_sub(1);
        if looks == 0 {
            return Err(timed_out("send"));
        }
    };
    match outcome {
        Ok(Outcome::Accepted(_)) => Ok(()),
        Ok(Outcome::Rejected(rejected)) => Err(match rejected.error {
            Some(error) => of_remote(what, &error),
            None => refused(what, "unknown", "rejected without a reason"),
        }),
        Ok(_) => Err(refused(what, "unknown", "neither accepted nor rejected")),
        Err(error) => Err(of_send(what, &error)),
    }
}

#[async_trait]
impl Bus for ServiceBus {
    fn limits(&self) -> BusLimits {
        BusLimits {
            body_bytes_max: self
                .shared
                .settings
                .message_bytes_max
                .saturating_sub(OVERHEAD_BYTES_MAX),
            publish_batch_max: 500,
            receive_batch_max: 200,
            lock_duration: self.shared.settings.lock_duration,
            lanes: true,
        }
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()> {
        self.limits().check(&messages)?;
        if messages.is_empty() {
            return Ok(());
        }
        let connection = self.shared.connection().await?;
        let subscriptions: BTreeSet<&str> = messages
            .iter()
            .map(|message| message.subscription.as_str())
            .collect();
        for subscription in subscriptions {
            // A topic takes messages that no subscription wants, and forgets them.
            let exists = connection.management(&self.shared.path(subscription)).await;
            connection.watched(exists)?;
        }
        let parcels = messages.into_iter().map(|message| Parcel {
            id: message.id,
            subscription: message.subscription,
            lane: message.lane,
            body: message.body,
            copy: None,
            due: None,
        });
        self.shared.send(parcels.collect()).await
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(SessionConsumer::new(self.shared.clone(), subscription)))
    }

    async fn depth(&self, subscription: &str) -> Result<u64> {
        let mut depth = 0;
        self.peek(&self.shared.path(subscription), |_| {
            depth += 1;
            true
        })
        .await?;
        let deferred = self
            .shared
            .notes
            .noted(subscription, self.shared.clock.now())
            .await?;
        Ok(depth + deferred)
    }

    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        let path = format!("{}/$DeadLetterQueue", self.shared.path(subscription));
        let mut found: Vec<DeadLetter> = Vec::new();
        // An `after` that is gone starts the list again: better twice than skipped.
        let mut from_start: Vec<DeadLetter> = Vec::new();
        let mut passed = after.is_none();
        self.peek(&path, |letter| {
            let is_after = after == Some(&letter.id);
            let list = if passed { &mut found } else { &mut from_start };
            if list.len() < max {
                list.push(DeadLetter {
                    id: letter.id,
                    reason: DeadLetterReason {
                        code: letter.dead_reason,
                        description: letter.dead_description,
                    },
                    since: letter.dead_since,
                    body: letter.body,
                });
            }
            passed |= is_after;
            !passed || found.len() < max
        })
        .await?;
        Ok(if passed { found } else { from_start })
    }

    async fn verify(&self, subscriptions: &[String]) -> Result<()> {
        let connection = self.shared.connection().await?;
        for subscription in subscriptions {
            let outcome = verify(&self.shared, &connection, subscription).await;
            connection.watched(outcome)?;
        }
        Ok(())
    }

    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64> {
        let connection = self.shared.connection().await?;
        let outcome = take_out(&self.shared, &connection, subscription, ids).await;
        connection.watched(outcome)
    }
}

/// Goes on even when the caller is cancelled: half an attach or half a message would break what all others share.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|_| Err(lost_connection()))
}

/// The error of an operation that found its connection replaced.
pub(crate) fn lost_connection() -> Error {
    Error::new(ErrorKind::Unavailable, "service bus: the connection was lost").retry_later(None)
}
