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
    while others.len() + wanted.len() < LOCKED_MAX {
        let credit = receiver.set_credit(ROUND).await;
        credit.map_err(|error| broken(&path, &error))?;
        // When this is answered, what the broker had for us has arrived.
        let body = map([
            ("from-sequence-number", Value::Long(0)),
            ("message-count", Value::Int(1)),
        ]);
        management
            .call("com.microsoft:peek-message", Vec::new(), body)
            .await?;
        let before = others.len() + wanted.len();
        while let Some(next) = receiver.recv::<Body<Value>>().now_or_never() {
            let delivery: Delivery<Body<Value>> = next.map_err(|error| of_receive(&path, &error))?;
            let (info, message) = delivery.into_parts();
            let letter = received(message);
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

    let mut replayed = 0;
    for id in ids {
        let Some((info, letter)) = wanted.remove(id) else {
            continue;
        };
        let parcel = Parcel {
            copy: Some(format!("replay-{subscription}-{}", letter.sequence)),
            id: letter.id,
            subscription: subscription.to_owned(),
            lane: letter.lane,
            body: letter.body,
            due: None,
        };
        shared.send(vec![parcel]).await?;
        accept(&receiver, &path, info).await?;
        replayed += 1;
    }
    receiver
        .release_all(others)
        .await
        .map_err(|error| broken(&path, &error))?;
    // Waits until the broker has heard all of it.
    receiver.close().await.map_err(|error| broken(&path, &error))?;
    Ok(replayed)
}

async fn accept(receiver: &Receiver, path: &str, info: DeliveryInfo) -> Result<()> {
    receiver.accept(info).await.map_err(|error| broken(path, &error))
}
