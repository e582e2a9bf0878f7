//! Looks whether a subscription is as it has to be, with no more rights than a host has.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::link::ReceiverAttachError;
use seamless_core::{Error, ErrorKind, Result, Timestamp};
use serde_amqp::Value;
use serde_amqp::descriptor::Descriptor;

use crate::bus::Shared;
use crate::connection::Connection;
use crate::failure::{condition, of_receiver_attach, timed_out};
use crate::lanes::accepting;
use crate::requests::{ANSWER_WAIT, Requests, map};

/// A session in which nothing is ever sent.
const PROBE: &str = "seamless-probe";
/// The library may lose the reason of a refusal; then the question is put again.
const TRIES: u32 = 3;
/// By how much this machine's clock and the broker's may differ.
const SKEW: Duration = Duration::from_secs(5);
/// Where a correlation filter has its label, and how many parts it has.
const LABEL: usize = 4;

pub(crate) async fn verify(shared: &Shared, connection: &Arc<Connection>, name: &str) -> Result<()> {
    let path = shared.path(name);
    let management = connection.management(&path).await?;
    rules(&management, name).await?;
    sessions(shared, connection, &management, &path, name).await
}

fn wrong(sentence: String) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!("service bus: {sentence}; `seamless bus plan` shows what has to change"),
    )
}

/// One rule, for what is addressed to the subscription.
async fn rules(management: &Requests, name: &str) -> Result<()> {
    let body = map([("top", Value::Int(100)), ("skip", Value::Int(0))]);
    let answer = management
        .call("com.microsoft:enumerate-rules", Vec::new(), body)
        .await;
    let answer = match answer {
        // A broker that cannot tell is no broker that has it wrong.
        Err(error) if error.context("condition") == Some("amqp:not-implemented") => return Ok(()),
        answer => answer?,
    };
    let rules = match answer.get("rules") {
        Some(Value::List(rules)) => rules.as_slice(),
        Some(Value::Array(rules)) => rules.0.as_slice(),
        _ => &[],
    };
    let filters: Option<Vec<(bool, &[Value])>> = rules.iter().map(filter).collect();
    let Some(filters) = filters else {
        tracing::warn!(
            subscription = name,
            "its rules are written in a form that is not known here"
        );
        return Ok(());
    };
    let labels: Vec<Option<&str>> = filters.iter().map(|filter| label(*filter)).collect();
    match labels.as_slice() {
        [Some(label)] if *label == name => Ok(()),
        [] => Err(wrong(format!(
            "subscription {name} has no rule, so that it takes nothing"
        ))),
        labels if labels.contains(&Some(name)) => Err(wrong(format!(
            "subscription {name} has a rule besides its own, so that it also takes what is meant for others"
        ))),
        _ => Err(wrong(format!(
            "subscription {name} has another rule than the label {name}, so that it takes what is meant for others, or misses what is meant for it"
        ))),
    }
}

/// The filter of a rule: whether it is a correlation filter, and its parts. None when it cannot be read.
fn filter(rule: &Value) -> Option<(bool, &[Value])> {
    let Value::Map(rule) = rule else { return None };
    let description = described(rule.get(&Value::String("rule-description".to_owned()))?)?.1;
    let (descriptor, parts) = described(description.first()?)?;
    let is_correlation = match descriptor {
        Descriptor::Code(code) => *code == 0x0013_7000_0009,
        Descriptor::Name(name) => name.as_str() == "com.microsoft:correlation-filter:list",
    };
    Some((is_correlation, parts))
}

/// The label that a filter asks for, if that is all that it asks for.
fn label((is_correlation, parts): (bool, &[Value])) -> Option<&str> {
    if !is_correlation {
        return None;
    }
    let empty = |part: &Value| match part {
        Value::Null => true,
        Value::Map(map) => map.is_empty(),
        _ => false,
    };
    let alone = parts
        .iter()
        .enumerate()
        .all(|(at, part)| at == LABEL || empty(part));
    match parts.get(LABEL)? {
        Value::String(label) if alone => Some(label),
        _ => None,
    }
}

fn described(value: &Value) -> Option<(&Descriptor, &[Value])> {
    let Value::Described(described) = value else {
        return None;
    };
    match &described.value {
        Value::List(fields) => Some((&described.descriptor, fields)),
        _ => None,
    }
}

/// Sessions, locked for at least as long as is counted on.
async fn sessions(
    shared: &Shared,
    connection: &Arc<Connection>,
    management: &Requests,
    path: &str,
    name: &str,
) -> Result<()> {
    let without = || wrong(format!("subscription {name} was made without sessions"));
    let mut session = connection.begin().await?;
    let mut tries = 0;
    let receiver = loop {
        let probe = Value::String(PROBE.to_owned());
        let attaching = accepting(
            &mut session,
            connection.name("probe"),
            path,
            probe,
            Duration::ZERO,
        );
        let attached = tokio::time::timeout(ANSWER_WAIT, attaching).await;
        match attached.map_err(|_| timed_out(path))? {
            Ok(receiver) => break receiver,
            Err(ReceiverAttachError::RemoteClosedWithError(error)) => match condition(&error).as_str() {
                "amqp:not-allowed" => return Err(without()),
                // Another host looks at this very moment.
                "com.microsoft:session-cannot-be-locked" => return Ok(()),
                _ => {
                    return Err(of_receiver_attach(
                        path,
                        &ReceiverAttachError::RemoteClosedWithError(error),
                    ));
                }
            },
            Err(ReceiverAttachError::IllegalState) if tries < TRIES => {
                tries += 1;
                session = connection.begin().await?;
            }
            // The one refusal that this question can meet after all that has been asked before.
            Err(ReceiverAttachError::IllegalState) => return Err(without()),
            Err(error) => return Err(of_receiver_attach(path, &error)),
        }
    };
    let body = map([("session-id", Value::String(PROBE.to_owned()))]);
    let renewed = management
        .call("com.microsoft:renew-session-lock", Vec::new(), body)
        .await;
    let now = shared.clock.now();
    // Whatever comes of it, the session is free again.
    drop(receiver.close().await);
    let expiration = match renewed?.get("expiration") {
        Some(Value::Timestamp(at)) => Timestamp(at.milliseconds().saturating_mul(1_000)),
        _ => return Ok(()),
    };
    let lock = Duration::from_micros(u64::try_from(expiration.0.saturating_sub(now.0)).unwrap_or(0));
    let wanted = shared.settings.lock_duration;
    if lock + SKEW.min(wanted / 4) < wanted {
        return Err(wrong(format!(
            "subscription {name} locks for about {} s and lock_secs is {}, or the clock of this machine is wrong",
            lock.as_secs(),
            wanted.as_secs()
        )));
    }
    Ok(())
}
