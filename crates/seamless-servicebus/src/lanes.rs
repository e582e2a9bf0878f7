//! Lanes that a consumer holds: sessions of the subscription, each a receiving link.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::link::ReceiverAttachError;
use fe2o3_amqp::link::delivery::DeliveryInfo;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Delivery as Arrived, Receiver};
use fe2o3_amqp_types::definitions::Fields;
use fe2o3_amqp_types::messaging::{Body, FilterSet, Source};
use futures::FutureExt;
use futures::future::join_all;
use seamless_core::{Delivery, ErrorKind, LockToken, MessageId, Result};
use serde_amqp::Value;
use serde_amqp::primitives::Symbol;
use tokio::task::JoinHandle;

use crate::bus::{Shared, lost_connection};
use crate::connection::Connection;
use crate::failure::{broken, condition, is_refusal, of_receive, of_receiver_attach, of_remote, timed_out};
use crate::message::received;
use crate::requests::{ANSWER_WAIT, Requests, map};

const SESSION_FILTER: &str = "com.microsoft:session-filter";
/// Lanes taken in one round: many lanes at once, and many messages of each.
const ROUND: usize = 16;
/// How much later than it was asked to a broker may say that there is no lane; after that it is asked no more, but listened to.
const ACCEPT_GRACE_MAX: Duration = Duration::from_secs(2);
/// How long the first message of a link may take.
pub(crate) const FIRST_WAIT: Duration = Duration::from_secs(2);

/// A session of AMQP with what a consumer has attached in it. It is given up as a whole.
pub(crate) struct Lanes {
    pub(crate) connection: Arc<Connection>,
    path: String,
    /// In the hands of `asking` while there is such a question.
    session: Option<SessionHandle<()>>,
    asking: Option<Asking>,
    management: Requests,
    held: BTreeMap<String, Lane>,
    /// Set while something is under way that must not be left half done.
    busy: bool,
}

/// The broker is being asked for a lane. That goes on by itself: it need not answer as fast as it is asked to, and whoever waits for it may be
/// cancelled. When this is dropped the session ends, and whatever the broker may still give away in it is free.
struct Asking(JoinHandle<Asked>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came of asking.
struct Asked {
    session: SessionHandle<()>,
    answer: std::result::Result<Receiver, ReceiverAttachError>,
    /// When, on our clock.
    at: Duration,
}

/// One lane.
struct Lane {
    receiver: Receiver,
    /// When its lock ends, on our clock, unless it is renewed.
    until: Duration,
    outstanding: BTreeMap<u64, Outstanding>,
    /// Whether a message has come since it was accepted: it is offered only when it has one.
    served: bool,
}

/// Where a message is on the books: its lane and its number there.
pub(crate) type Place = (String, u64);

/// A message that has been handed out and not settled.
pub(crate) struct Outstanding {
    pub(crate) info: DeliveryInfo,
    pub(crate) id: MessageId,
    pub(crate) body: Vec<u8>,
}

impl Lanes {
    pub(crate) async fn begin(shared: &Shared, subscription: &str) -> Result<Lanes> {
        let connection = shared.connection().await?;
        let path = shared.path(subscription);
        let outcome = async {
            connection.authorise(&path).await?;
            let mut session = connection.begin().await?;
            let node = format!("{path}/$management");
            let management = Requests::attach(&mut session, &node, &connection.name("manage")).await?;
            Ok((session, management))
        };
        let (session, management) = connection.watched(outcome.await)?;
        Ok(Lanes {
            connection,
            path,
            session: Some(session),
            asking: None,
            management,
            held: BTreeMap::new(),
            busy: false,
        })
    }

    /// Whether it can still be used: not after a failure, and not when its user was cancelled in the middle of something.
    pub(crate) fn is_broken(&self) -> bool {
        self.busy || self.connection.is_broken()
    }

    /// Takes up to `max` messages that are there now.
    pub(crate) async fn take(&mut self, shared: &Shared, max: usize) -> Result<Vec<Delivery>> {
        self.busy = true;
        let outcome = self.take_now(shared, max).await;
        self.busy = outcome.as_ref().is_err_and(|error| !is_refusal(error));
        outcome
    }

    async fn take_now(&mut self, shared: &Shared, max: usize) -> Result<Vec<Delivery>> {
        self.drop_expired(shared).await;
        self.connection.authorise(&self.path).await?;
        // What is held may have more; then others, as long as there is one with messages.
        let held: Vec<String> = self.held.keys().cloned().collect();
        let mut taken = self.collect(shared, max, &held).await?;
        while taken.len() < max {
            let room = max - taken.len();
            let mut fresh = Vec::new();
            while fresh.len() < ROUND.min(room) {
                match self.accept(shared, Duration::ZERO).await {
                    Ok(Some(lane)) => fresh.push(lane),
                    Ok(None) => break,
                    // What is there already is worth more than to know why there is no more.
                    Err(error)
                        if error.kind == ErrorKind::RateLimited
                            && !(taken.is_empty() && fresh.is_empty()) =>
                    {
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            let got = self.collect(shared, room, &fresh).await?;
            taken.extend(got);
            if fresh.len() < ROUND.min(room) {
                break;
            }
        }
        self.let_go_of_idle().await?;
        Ok(taken)
    }

    /// Waits for a lane with messages. True when there is one now. May be cancelled.
    pub(crate) async fn wait(&mut self, shared: &Shared, wait: Duration) -> Result<bool> {
        let lane = self.accept(shared, wait).await?;
        Ok(lane.is_some())
    }

    /// Accepts the next session that has messages and no holder; none when there is none, or the broker has not said so yet.
    async fn accept(&mut self, shared: &Shared, wait: Duration) -> Result<Option<String>> {
        let mut patience = wait;
        if let Some(mut session) = self.session.take() {
            // What has been taken meanwhile is locked, and must not grow old over it.
            patience += ACCEPT_GRACE_MAX.min(shared.settings.lock_duration / 4);
            let (name, path) = (self.connection.name("lane"), self.path.clone());
            let clock = shared.clock.clone();
            self.asking = Some(Asking(tokio::spawn(async move {
                let answer = accepting(&mut session, name, &path, Value::Null, wait).await;
                let at = clock.monotonic();
                Asked { session, answer, at }
            })));
        }
        let asking = self.asking.as_mut().ok_or_else(lost_connection)?;
        let Ok(asked) = tokio::time::timeout(patience, &mut asking.0).await else {
            return Ok(None);
        };
        self.asking = None;
        let Asked { session, answer, at } = asked.map_err(|_| lost_connection())?;
        self.session = Some(session);
        let receiver = match answer {
            Ok(receiver) => receiver,
            Err(ReceiverAttachError::RemoteClosedWithError(error)) => {
                self.settle_down().await?;
                return match condition(&error).as_str() {
                    "com.microsoft:timeout" | "com.microsoft:session-cannot-be-locked" => Ok(None),
                    _ => Err(of_remote(&self.path, &error)),
                };
            }
            // A refusal whose reason the library lost, because the detach was there before it had looked at the attach. If it was more than
            // "nothing there", the next attach says so.
            Err(ReceiverAttachError::IllegalState) => return self.settle_down().await.map(|()| None),
            Err(error) => return Err(of_receiver_attach(&self.path, &error)),
        };
        let Some(id) = session_of(&receiver) else {
            // Answered without a session: there is none.
            drop(receiver.close().await);
            return Ok(None);
        };
        let lane = Lane {
            receiver,
            until: at.saturating_add(shared.settings.lock_duration),
            outstanding: BTreeMap::new(),
            served: false,
        };
        self.held.insert(id.clone(), lane);
        Ok(Some(id))
    }

    /// Waits until the library has done with a refused link. It may answer the broker's detach twice, and must not meet the next link, which
    /// gets the same handle, with the second one (seen with fe2o3-amqp 0.18.4: it ends the session). An answer on another link comes behind it.
    async fn settle_down(&mut self) -> Result<()> {
        let nothing = map([
            ("from-sequence-number", Value::Long(i64::MAX)),
            ("message-count", Value::Int(1)),
        ]);
        let peeked = self
            .management
            .call("com.microsoft:peek-message", Vec::new(), nothing)
            .await;
        match peeked {
            // An answer, even a refusal, is all that is wanted.
            Err(error) if error.context("status").is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks lanes for messages, and takes what has come.
    async fn collect(&mut self, shared: &Shared, room: usize, ids: &[String]) -> Result<Vec<Delivery>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let each = (room / ids.len()).max(1);
        let mut left = room;
        let mut asked = Vec::new();
        for id in ids {
            let credit = each.min(left);
            let Some(lane) = self.held.get_mut(id).filter(|_| credit > 0) else {
                continue;
            };
            left -= credit;
            let credit = u32::try_from(credit).unwrap_or(u32::MAX);
            let outcome = lane.receiver.set_credit(credit).await;
            outcome.map_err(|error| broken(id, &error))?;
            asked.push(id.clone());
        }
        // The broker hears the credit before this, and what it has at hand comes before the answer.
        if let Some(id) = asked.last() {
            self.hear(shared, &id.clone()).await?;
        }
        let mut taken = Vec::new();
        for id in asked {
            let Some(lane) = self.held.get_mut(&id) else {
                continue;
            };
            while taken.len() < room {
                let next = lane.receiver.recv::<Body<Value>>().now_or_never();
                let next = match next {
                    Some(next) => next,
                    // A broker that is not in a hurry.
                    None if !lane.served => {
                        match tokio::time::timeout(FIRST_WAIT, lane.receiver.recv::<Body<Value>>()).await {
                            Ok(next) => next,
                            Err(_) => break,
                        }
                    }
                    None => break,
                };
                lane.served = true;
                match next {
                    Ok(arrived) => {
                        taken.push(hand_out(&id, lane, arrived, shared.next_lock()));
                    }
                    Err(error) => {
                        let error = of_receive(&self.path, &error);
                        tracing::debug!(%error, "a lane was lost");
                        self.held.remove(&id);
                        break;
                    }
                }
            }
        }
        Ok(taken)
    }

    /// Takes a message off the books, with its place there; none when its lock has ended.
    pub(crate) fn settle(&mut self, shared: &Shared, lock: &LockToken) -> Option<(Place, Outstanding)> {
        let (lane, number) = lock.0.rsplit_once('.')?;
        let number: u64 = number.parse().ok()?;
        let held = self.held.get_mut(lane)?;
        if held.until <= shared.clock.monotonic() {
            return None;
        }
        let outstanding = held.outstanding.remove(&number)?;
        Some(((lane.to_owned(), number), outstanding))
    }

    /// Puts a message back on the books that could not be settled.
    pub(crate) fn put_back(
        &mut self,
        (lane, number): Place,
        info: DeliveryInfo,
        id: MessageId,
        body: Vec<u8>,
    ) {
        if let Some(held) = self.held.get_mut(&lane) {
            held.outstanding.insert(number, Outstanding { info, id, body });
        }
    }

    pub(crate) async fn complete(&mut self, lane: &str, info: DeliveryInfo) -> Result<()> {
        match self.held.get(lane) {
            Some(held) => held
                .receiver
                .accept(info)
                .await
                .map_err(|error| broken(lane, &error)),
            None => Ok(()),
        }
    }

    pub(crate) async fn set_aside(
        &mut self,
        lane: &str,
        info: DeliveryInfo,
        error: fe2o3_amqp_types::definitions::Error,
    ) -> Result<()> {
        match self.held.get(lane) {
            Some(held) => held
                .receiver
                .reject(info, error)
                .await
                .map_err(|error| broken(lane, &error)),
            None => Ok(()),
        }
    }

    /// Returns when the broker has heard every settlement, and lets go of lanes that have nothing outstanding.
    pub(crate) async fn flush(&mut self, shared: &Shared) -> Result<()> {
        self.busy = true;
        self.let_go_of_idle().await?;
        if let Some(id) = self.held.keys().next().cloned() {
            self.hear(shared, &id).await?;
        }
        self.busy = false;
        Ok(())
    }

    /// Returns when the broker has heard everything that was said before. An answer, even a refusal, is all that is wanted.
    async fn hear(&mut self, shared: &Shared, id: &str) -> Result<()> {
        match self.renew_one(shared, id).await {
            Err(error) if error.context("status").is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// Renews a lane; false when its lock is lost.
    pub(crate) async fn renew_one(&mut self, shared: &Shared, id: &str) -> Result<bool> {
        let now = shared.clock.monotonic();
        if self.held.get(id).is_none_or(|lane| lane.until <= now) {
            return Ok(false);
        }
        let body = map([("session-id", Value::String(id.to_owned()))]);
        let renewed = self
            .management
            .call("com.microsoft:renew-session-lock", Vec::new(), body)
            .await;
        match renewed {
            Ok(_) => {
                if let Some(lane) = self.held.get_mut(id) {
                    lane.until = now.saturating_add(shared.settings.lock_duration);
                }
                Ok(true)
            }
            Err(error)
                if error
                    .context("status")
                    .is_some_and(|status| ["404", "410"].contains(&status)) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The lane of a lock that is on the books.
    pub(crate) fn lane_of(&self, lock: &LockToken) -> Option<String> {
        let (lane, number) = lock.0.rsplit_once('.')?;
        let number: u64 = number.parse().ok()?;
        let held = self.held.get(lane)?;
        held.outstanding.contains_key(&number).then(|| lane.to_owned())
    }

    /// Forgets a lane whose lock is lost: its messages come again.
    pub(crate) fn forget(&mut self, lane: &str) {
        self.held.remove(lane);
    }

    /// Ends the session, and with it every lock that it held.
    pub(crate) async fn end(mut self) -> Result<()> {
        let closing = std::mem::take(&mut self.held).into_values().map(close);
        for closed in join_all(closing).await {
            closed?;
        }
        // Otherwise it ends with the question.
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        match tokio::time::timeout(ANSWER_WAIT, session.end()).await {
            Ok(ended) => ended.map_err(|error| broken(&self.path, &error)),
            Err(_) => Err(timed_out("end a session")),
        }
    }

    async fn drop_expired(&mut self, shared: &Shared) {
        let now = shared.clock.monotonic();
        let expired: Vec<String> = self
            .held
            .iter()
            .filter(|(_, lane)| lane.until <= now)
            .map(|(id, _)| id.clone())
            .collect();
        let closing = expired.iter().filter_map(|id| self.held.remove(id));
        // The broker may have closed them already.
        drop(join_all(closing.map(close)).await);
    }

    async fn let_go_of_idle(&mut self) -> Result<()> {
        let idle: Vec<String> = self
            .held
            .iter()
            .filter(|(_, lane)| lane.outstanding.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        let closing = idle.iter().filter_map(|id| self.held.remove(id));
        for closed in join_all(closing.map(close)).await {
            closed?;
        }
        Ok(())
    }
}

/// Accepts a session: the one of that name, or the next one for `Null`.
pub(crate) async fn accepting(
    session: &mut SessionHandle<()>,
    name: String,
    path: &str,
    wanted: Value,
    wait: Duration,
) -> std::result::Result<Receiver, ReceiverAttachError> {
    let mut filter = FilterSet::new();
    filter.insert(Symbol::from(SESSION_FILTER), wanted);
    let source = Source {
        filter: Some(filter),
        ..Source::from(path)
    };
    let millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let mut properties = Fields::new();
    properties.insert(Symbol::from("com.microsoft:timeout"), Value::Uint(millis));
    Receiver::builder()
        .name(name)
        .source(source)
        .target(path)
        .properties(properties)
        .credit_mode(CreditMode::Manual)
        .verify_incoming_source(false)
        .attach(session)
        .await
}

async fn close(lane: Lane) -> Result<()> {
    match tokio::time::timeout(ANSWER_WAIT, lane.receiver.close()).await {
        Ok(Ok(())) => Ok(()),
        // The broker was faster: its lock is lost, or the link was idle for too long.
        Ok(Err(error)) => {
            tracing::debug!(?error, "a lane was closed by the broker");
            Ok(())
        }
        Err(_) => Err(timed_out("let go of a session")),
    }
}

fn hand_out(lane_id: &str, lane: &mut Lane, arrived: Arrived<Body<Value>>, lock: u64) -> Delivery {
    let (info, message) = arrived.into_parts();
    let message = received(message);
    let outstanding = Outstanding {
        info,
        id: message.id.clone(),
        body: message.body.clone(),
    };
    lane.outstanding.insert(lock, outstanding);
    Delivery {
        id: message.id,
        lane: message.lane,
        body: message.body,
        delivery_count: message.delivery_count,
        lock: LockToken(format!("{lane_id}.{lock}")),
    }
}

/// The session that the broker chose.
fn session_of(receiver: &Receiver) -> Option<String> {
    let filter = receiver.source().as_ref()?.filter.as_ref()?;
    let value = filter.get(&Symbol::from(SESSION_FILTER))?;
    match value {
        Value::String(id) => Some(id.clone()),
        Value::Described(described) => match &described.value {
            Value::String(id) => Some(id.clone()),
            _ => None,
        },
        _ => None,
    }
}
