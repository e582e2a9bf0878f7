//! Requests and their answers over a pair of links: `$cbs` and `$management`.
//!
//! Answers are told apart by correlation id, so that a caller that gave up does not leave its answer to the next one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Delivery, Receiver, Sender};
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, IntoBody, Message, MessageId, Outcome, Properties,
};
use fe2o3_amqp_types::primitives::SimpleValue;
use seamless_core::{Error, Result};
use serde_amqp::Value;
use serde_amqp::primitives::OrderedMap;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::failure::{self, of_receiver_attach, of_remote, of_send, of_sender_attach, refused, timed_out};

/// How long any answer may take.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// A pair of links to one node.
pub(crate) struct Requests {
    node: String,
    sender: tokio::sync::Mutex<Sender>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    reply_to: String,
    listener: JoinHandle<()>,
}

/// Who waits for which answer. `None` when the link is gone.
type Waiting = Mutex<Option<HashMap<String, oneshot::Sender<Answer>>>>;

/// An answer that is not a refusal.
pub(crate) struct Answer {
    /// 200, 202, 204: nothing found.
    pub(crate) status: i32,
    condition: String,
    description: String,
    body: Value,
}

impl Requests {
    /// Attaches both links.
    pub(crate) async fn attach(session: &mut SessionHandle<()>, node: &str, name: &str) -> Result<Requests> {
        let reply_to = format!("{name}-answers");
        let attaching = async {
            let sender = Sender::attach(session, format!("{name}-requests"), node)
                .await
                .map_err(|error| of_sender_attach(node, &error))?;
            let receiver = Receiver::builder()
                .name(reply_to.clone())
                .source(node)
                .target(reply_to.clone())
                .attach(session)
                .await
                .map_err(|error| of_receiver_attach(node, &error))?;
            Ok::<_, Error>((sender, receiver))
        };
        let attached = tokio::time::timeout(ANSWER_WAIT, attaching).await;
        let (sender, receiver) = attached.map_err(|_| timed_out(node))??;
        let waiting: Arc<Waiting> = Arc::new(Mutex::new(Some(HashMap::new())));
        let listener = tokio::spawn(listen(receiver, waiting.clone()));
        Ok(Requests {
            node: node.to_owned(),
            sender: tokio::sync::Mutex::new(sender),
            waiting,
            next: AtomicU64::new(1),
            reply_to,
            listener,
        })
    }

    /// Whether the broker has taken the links away, as it does with idle ones.
    pub(crate) fn is_gone(&self) -> bool {
        self.lock().is_none()
    }

    /// Asks, and waits for the answer. A refusal is an error.
    pub(crate) async fn call(
        &self,
        operation: &str,
        properties: Vec<(&str, SimpleValue)>,
        body: Value,
    ) -> Result<Answer> {
        let what = format!("{operation} at {}", self.node);
        let answer = tokio::time::timeout(ANSWER_WAIT, self.ask(operation, properties, body)).await;
        let answer = answer.map_err(|_| timed_out(&what))??;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let condition = match (answer.condition.as_str(), answer.status) {
            ("", 401) => "amqp:unauthorized-access",
            ("", 404) => "amqp:not-found",
            ("", 410) => "com.microsoft:message-lock-lost",
            ("", 503) => "com.microsoft:server-busy",
            (condition, _) => condition,
        };
        Err(refused(&what, condition, &answer.description).with("status", answer.status))
    }

    async fn ask(
        &self,
        operation: &str,
        properties: Vec<(&str, SimpleValue)>,
        body: Value,
    ) -> Result<Answer> {
        let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let text = |text: &str| SimpleValue::String(text.to_owned());
        let mut all: OrderedMap<String, SimpleValue> = OrderedMap::new();
        all.insert("operation".to_owned(), text(operation));
        for (key, value) in properties {
            all.insert(key.to_owned(), value);
        }
        let message = Message::builder()
            .properties(Properties {
                message_id: Some(MessageId::String(id.clone())),
                reply_to: Some(self.reply_to.clone()),
                ..Properties::default()
            })
            .application_properties(ApplicationProperties(all))
            .body(AmqpValue(body).into_body())
            .build();
        let (tell, mut told) = oneshot::channel();
        let gone = || failure::broken(&self.node, "the link is gone");
        match self.lock().as_mut() {
            Some(waiting) => drop(waiting.insert(id, tell)),
            None => return Err(gone()),
        }
        let sending = async {
            let sent = self.sender.lock().await.send_batchable(message).await;
            let outcome = sent
                .map_err(|error| of_send(&self.node, &error))?
                .await
                .map_err(|error| of_send(&self.node, &error))?;
            match outcome {
                Outcome::Rejected(rejected) => Err(match rejected.error {
                    Some(error) => of_remote(&self.node, &error),
                    None => refused(&self.node, "amqp:not-allowed", "the request was rejected"),
                }),
                _ => Ok(()),
            }
        };
        // A link that the broker takes away settles nothing any more: then the listener knows, and nobody else.
        tokio::select! {
            biased;
            answer = &mut told => return answer.map_err(|_| gone()),
            sent = sending => sent?,
        }
        told.await.map_err(|_| gone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<HashMap<String, oneshot::Sender<Answer>>>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = waiting.as_mut() {
            // Those that gave up.
            waiting.retain(|_, tell| !tell.is_closed());
        }
        waiting
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(mut receiver: Receiver, waiting: Arc<Waiting>) {
    loop {
        let received: std::result::Result<Delivery<Body<Value>>, RecvError> = receiver.recv().await;
        let Ok(delivery) = received else { break };
        if receiver.accept(&delivery).await.is_err() {
            break;
        }
        let message = delivery.into_message();
        let id = match message
            .properties
            .as_ref()
            .and_then(|properties| properties.correlation_id.as_ref())
        {
            Some(MessageId::String(id)) => id.clone(),
            _ => continue,
        };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = waiting.as_mut().and_then(|waiting| waiting.remove(&id)) {
            // Whoever asked may have given up.
            drop(tell.send(answer(message)));
        }
    }
    *waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn answer(message: Message<Body<Value>>) -> Answer {
    let properties = message.application_properties.unwrap_or_default();
    let find = |names: [&str; 2]| names.iter().find_map(|name| properties.0.get(*name));
    let text = |names| match find(names) {
        Some(SimpleValue::String(text)) => text.clone(),
        Some(SimpleValue::Symbol(symbol)) => symbol.0.clone(),
        _ => String::new(),
    };
    Answer {
        status: match find(["statusCode", "status-code"]) {
            Some(SimpleValue::Int(status)) => *status,
            Some(SimpleValue::Long(status)) => i32::try_from(*status).unwrap_or(0),
            Some(SimpleValue::Uint(status)) => i32::try_from(*status).unwrap_or(0),
            Some(SimpleValue::Ushort(status)) => i32::from(*status),
            Some(SimpleValue::Short(status)) => i32::from(*status),
            _ => 0,
        },
        condition: text(["errorCondition", "error-condition"]),
        description: text(["statusDescription", "status-description"]),
        body: match message.body {
            Body::Value(AmqpValue(value)) => value,
            _ => Value::Null,
        },
    }
}

impl Answer {
    /// A field of the answer.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        match &self.body {
            Value::Map(map) => map.get(&Value::String(key.to_owned())),
            _ => None,
        }
    }
}

/// A map as the body of a request.
pub(crate) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.map(|(key, value)| (Value::String(key.to_owned()), value));
    Value::Map(entries.into_iter().collect::<OrderedMap<_, _>>())
}
