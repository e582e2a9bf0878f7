//! Puts dead letters back.

use std::collections::BTreeMap;
use std::sync::Arc;

use fe2o3_amqp::link::delivery::DeliveryInfo;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::{Delivery, Receiver};
use fe2o3_amqp_types::messaging::Body;
use futures::FutureExt;
use seamless_core::{MessageId, Result};
use serde_amqp::Value;

use crate::bus::Shared;
use crate::connection::Connection;
use crate::failure::{broken, of_receive, of_receiver_attach, timed_out};
use crate::lanes::FIRST_WAIT;
use crate::message::{Parcel, Received, received};
use crate::requests::{ANSWER_WAIT, Requests, map};

/// Dead letters that are locked at a time.
const ROUND: u32 = 200;
/// Most dead letters that are looked through for one replay.
const LOCKED_MAX: usize = 10_000;

/// Sends those of the dead letters that are asked for to their subscription again, in the order asked for, then removes them.
pub(crate) async fn take_out(
    shared: &Shared,
    connection: &Arc<Connection>,
    subscription: &str,
    ids: &[MessageId],
) -> Result<u64> {
    let path = format!("{}/$DeadLetterQueue", shared.path(subscription));
    connection.authorise(&path).await?;
    let mut session = connection.begin().await?;
    let management = Requests::attach(
        &mut session,
        &format!("{path}/$management"),
        &connection.name("manage"),
    )
    .await?;
    let attaching = Receiver::builder()
        .name(connection.name("dead"))
        .source(path.as_str())
        .credit_mode(CreditMode::Manual)
        .attach(&mut session);
    let attached = tokio::time::timeout(ANSWER_WAIT, attaching).await;
    let mut receiver = attached
        .map_err(|_| timed_out(&path))?
        .map_err(|error| of_receiver_attach(&path, &error))?;

    let mut wanted: BTreeMap<MessageId, (DeliveryInfo, Received)> = BTreeMap::new();
    let mut others: Vec<DeliveryInfo> = Vec::new();
    // Behind all that has come.
    let mut after = 0;
    while others.len() + wanted.len() < LOCKED_MAX {
        let credit = receiver.set_credit(ROUND).await;
        credit.map_err(|error| broken(&path, &error))?;
        // When this is answered, what the broker had for us has arrived; one that is in no hurry, and has more, gets a moment.
        let body = map([
            ("from-sequence-number", Value::Long(after)),
            ("message-count", Value::Int(1)),
        ]);
        let peeked = management
            .call("com.microsoft:peek-message", Vec::new(), body)
            .await?;
        let has_more = peeked.status != 204;
        let before = others.len() + wanted.len();
        loop {
            let next = match receiver.recv::<Body<Value>>().now_or_never() {
                None if has_more && before == others.len() + wanted.len() => {
                    tokio::time::timeout(FIRST_WAIT, receiver.recv()).await.ok()
                }
                next => next,
            };
            let Some(next) = next else { break };
            let delivery: Delivery<Body<Value>> = next.map_err(|error| of_receive(&path, &error))?;
            let (info, message) = delivery.into_parts();
            let letter = received(message);
            after = after.max(letter.sequence.saturating_add(1));
            if ids.contains(&letter.id) {
                // A second one of the same id is the same message: both go.
                if let Some((twin, _)) = wanted.insert(letter.id.clone(), (info, letter)) {
                    accept(&receiver, &path, twin).await?;
                }
            } else {
                others.push(info);
            }
        }
        if others.len() + wanted.len() == before {
            break;
        }
    }

    // What is let go below must not come back on this link, which would keep it locked.
    let no_more = receiver.set_credit(0).await;
    no_more.map_err(|error| broken(&path, &error))?;
    let outcome = send_again(shared, subscription, &receiver, &path, ids, &mut wanted).await;
    // What was not sent again is free for the next try.
    others.extend(wanted.into_values().map(|(info, _)| info));
    if !others.is_empty() {
        receiver
            .release_all(others)
            .await
            .map_err(|error| broken(&path, &error))?;
    }
    // Waits until the broker has heard all of it.
    receiver.close().await.map_err(|error| broken(&path, &error))?;
    outcome
}

/// Sends letters to their subscription, in this order; each is removed when that is done.
async fn send_again(
    shared: &Shared,
    subscription: &str,
    receiver: &Receiver,
    path: &str,
    ids: &[MessageId],
    wanted: &mut BTreeMap<MessageId, (DeliveryInfo, Received)>,
) -> Result<u64> {
    let mut replayed = 0;
    for id in ids {
        let Some((info, letter)) = wanted.get(id) else {
            continue;
        };
        let parcel = Parcel {
            copy: Some(format!("replay-{subscription}-{}", letter.sequence)),
            id: letter.id.clone(),
            subscription: subscription.to_owned(),
            lane: letter.lane.clone(),
            body: letter.body.clone(),
            due: None,
        };
        shared.send(vec![parcel]).await?;
        accept(receiver, path, info.clone()).await?;
        wanted.remove(id);
        replayed += 1;
    }
    Ok(replayed)
}

async fn accept(receiver: &Receiver, path: &str, info: DeliveryInfo) -> Result<()> {
    receiver.accept(info).await.map_err(|error| broken(path, &error))
}
