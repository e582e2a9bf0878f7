//! [`Bus`] on a topic over HTTPS alone: for networks that let nothing out but port 443.
//!
//! The library receives one message at a time, and neither sessions, nor deferring, nor dead-lettering: lanes are not in order, and what is
//! deferred or set aside waits in rows of the state store. Correctness is not the bus's work either way.

mod client;
mod consumer;
mod shelf;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_messaging_servicebus::service_bus::{SendMessageOptions, TopicClient};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seamless_core::{
    Bus, BusLimits, Clock, Consumer, DeadLetter, Error, MessageId, Outgoing, Result, StateStore,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Settings;
use crate::manage::Provisioner;
use crate::message::message_id;
use crate::rest::Rest;
use client::{Client, unwrapped};
use consumer::HttpsConsumer;
use shelf::Shelf;

/// The content type of a body that is several messages.
const BATCH: &str = "application/vnd.microsoft.servicebus.json";
/// Messages in one publish.
const PUBLISH_MAX: usize = 100;
/// Messages in one receive: each is a call of its own.
const RECEIVE_MAX: usize = 32;
/// Largest part of a message that is not its body.
const OVERHEAD_BYTES_MAX: usize = 2 * 1_024;
/// The only host that the library can address.
const HOST: &str = ".servicebus.windows.net";

/// A [`Bus`] on one topic over HTTPS, with a subscription without sessions for each target system. Deferred messages and dead letters wait in
/// the state store.
pub struct ServiceBusHttps {
    shared: Arc<Shared>,
}

/// What bus and consumers share.
struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    topic: TopicClient,
    shelf: Shelf,
    provisioner: Provisioner,
    next_name: AtomicU64,
    /// Rows of the shelf that are handed out, until when.
    out: Mutex<BTreeMap<String, Duration>>,
}

/// What travels as the body of a message: the service wants text.
#[derive(Serialize, Deserialize)]
struct Wrapped {
    id: MessageId,
    lane: String,
    /// Base64.
    body: String,
}

impl ServiceBusHttps {
    /// A bus that makes no call before it is used. The key needs the right Manage besides Send and Listen: without it nothing can be counted.
    pub fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn StateStore>,
    ) -> Result<ServiceBusHttps> {
        if settings.identity.is_some() {
            return Err(Error::config(
                "over HTTPS the library takes a key only, not an identity; use AMQP, over a WebSocket if port 443 is all there is",
            ));
        }
        let access = settings.connection.clone();
        let namespace = match (access.plain, access.host.strip_suffix(HOST)) {
            (true, _) => "localhost",
            (false, Some(name)) if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => name,
            (false, _) => {
                let message =
                    format!("over HTTPS a namespace is NAME{HOST}, not another address; use AMQP there");
                return Err(Error::config(message));
            }
        };
        let rest = Rest::new(access.clone(), None, settings.extra_roots.clone(), clock.clone());
        let rest = Arc::new(rest?);
        let client = Arc::new(Client { rest });
        let topic = TopicClient::new(
            client,
            namespace,
            settings.topic.clone(),
            access.key_name,
            access.key,
        )
        .map_err(|error| unwrapped("connect", error))?;
        let first_name = u64::try_from(clock.now().0).unwrap_or_default();
        Ok(ServiceBusHttps {
            shared: Arc::new(Shared {
                provisioner: Provisioner::new(&settings, clock.clone())?,
                next_name: AtomicU64::new(first_name),
                settings,
                clock,
                topic,
                shelf: Shelf::new(store),
                out: Mutex::default(),
            }),
        })
    }
}

impl Shared {
    /// Never the same twice, not even after a restart.
    fn next_name(&self) -> String {
        format!("{:020}", self.next_name.fetch_add(1, Ordering::Relaxed))
    }

    fn lock_shelved(&self, key: &str, until: Duration) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.monotonic();
        out.retain(|_, until| *until > now);
        out.insert(key.to_owned(), until);
    }

    fn is_shelved_out(&self, key: &str) -> bool {
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.get(key).is_some_and(|until| *until > self.clock.monotonic())
    }

    async fn send(&self, messages: &[serde_json::Value]) -> Result<()> {
        let options = SendMessageOptions {
            content_type: Some(BATCH.to_owned()),
            ..SendMessageOptions::default()
        };
        let body = serde_json::Value::from(messages).to_string();
        let sent = self.topic.topic_sender().send_message(&body, Some(options)).await;
        sent.map_err(|error| unwrapped("send", error))
    }
}

#[async_trait]
impl Bus for ServiceBusHttps {
    fn limits(&self) -> BusLimits {
        let room = self
            .shared
            .settings
            .message_bytes_max
            .saturating_sub(OVERHEAD_BYTES_MAX);
        BusLimits {
            // As base64 inside JSON.
            body_bytes_max: room / 4 * 3,
            publish_batch_max: PUBLISH_MAX,
            receive_batch_max: RECEIVE_MAX,
            lock_duration: self.shared.settings.lock_duration,
            lanes: false,
        }
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Result<()> {
        self.limits().check(&messages)?;
        let mut batch = Vec::new();
        let mut bytes = 0;
        for message in messages {
            let wrapped = Wrapped {
                body: STANDARD.encode(&message.body),
                id: message.id,
                lane: message.lane,
            };
            let id = message_id(&message.subscription, &wrapped.id);
            let body = serde_json::to_string(&wrapped)
                .map_err(|error| Error::protocol("a message cannot be written").because(error))?;
            let size = body.len() + OVERHEAD_BYTES_MAX / 2;
            if bytes + size > self.shared.settings.message_bytes_max && !batch.is_empty() {
                self.shared.send(&batch).await?;
                batch.clear();
                bytes = 0;
            }
            bytes += size;
            batch.push(json!({
                "Body": body,
                "BrokerProperties": { "MessageId": id, "Label": message.subscription },
            }));
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.shared.send(&batch).await
    }

    async fn subscribe(&self, subscription: &str) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(HttpsConsumer::new(self.shared.clone(), subscription)))
    }

    async fn depth(&self, subscription: &str) -> Result<u64> {
        let settings = &self.shared.settings;
        let there = self
            .shared
            .provisioner
            .active(&settings.topic, subscription)
            .await?;
        Ok(there + self.shared.shelf.waiting(subscription).await?)
    }

    async fn dead_letters(
        &self,
        subscription: &str,
        after: Option<&MessageId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.shared.shelf.dead_letters(subscription, after, max).await
    }

    async fn replay(&self, subscription: &str, ids: &[MessageId]) -> Result<u64> {
        let now = self.shared.clock.now();
        let name = || self.shared.next_name();
        self.shared.shelf.replay(subscription, ids, now, name).await
    }

    async fn verify(&self, subscriptions: &[String]) -> Result<()> {
        let blueprint = self.shared.settings.blueprint(subscriptions, false);
        self.shared.provisioner.verify(&blueprint).await
    }
}
