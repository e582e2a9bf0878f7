//! Decides what a peer that attaches a link gets.

use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp_types::messaging::TargetArchetype;
use fe2o3_amqp_types::performatives::Attach;
use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::primitives::Symbol;

use super::connection::Wire;
use super::link::{Purpose, Receiving};
use crate::broker::{Kind, Refusal};

/// The answer to an attach.
pub(crate) enum Answer {
    Yes(Purpose, Box<Attach>),
    No(Box<Attach>, Refusal),
    /// No session is free: ask again, until then.
    Wait(i64),
}

const SESSION_FILTER: &str = "com.microsoft:session-filter";
const MANAGEMENT: &str = "/$management";
/// How long accept-next waits when the peer does not say.
const WAIT_MICROS: i64 = 60_000_000;
/// .NET ticks of 1970.
const TICKS_1970: i64 = 621_355_968_000_000_000;

pub(crate) fn answer(attach: &Attach, deadline: Option<i64>, wire: &mut Wire) -> Answer {
    let mut answer = Attach {
        role: match attach.role {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        },
        unsettled: None,
        incomplete_unsettled: false,
        initial_delivery_count: matches!(attach.role, Role::Receiver).then_some(0),
        offered_capabilities: None,
        desired_capabilities: None,
        ..attach.clone()
    };
    match decide(attach, &mut answer, deadline, wire) {
        Ok(Some(purpose)) => Answer::Yes(purpose, Box::new(answer)),
        Ok(None) => {
            let now = wire.broker.clock.now_micros();
            let patient = wire.broker.faults.is_patient();
            let wait = if patient { WAIT_MICROS } else { wait(attach) };
            Answer::Wait(deadline.unwrap_or(now + wait))
        }
        Err(refusal) => {
            // A refused link is answered without its terminus.
            match attach.role {
                Role::Sender => answer.target = None,
                Role::Receiver => answer.source = None,
            }
            Answer::No(Box::new(answer), refusal)
        }
    }
}

fn decide(
    attach: &Attach,
    answer: &mut Attach,
    deadline: Option<i64>,
    wire: &mut Wire,
) -> Result<Option<Purpose>, Refusal> {
    let source = attach
        .source
        .as_ref()
        .and_then(|source| source.address.as_deref());
    let target = attach.target.as_ref().and_then(|target| match target.as_ref() {
        TargetArchetype::Target(target) => target.address.as_deref(),
    });
    let path = match attach.role {
        Role::Sender => target,
        Role::Receiver => source,
    };
    let path = plain(path.unwrap_or_default());
    if path == "$cbs" {
        return Ok(Some(requests(attach, path, target)));
    }
    if wire.trusted_until.is_none() {
        let reason = format!("unauthorized access: no valid token was put for {path}");
        return Err(Refusal::new("amqp:unauthorized-access", reason));
    }
    if deadline.is_none() && wire.broker.faults.is_busy_link() {
        return Err(Refusal::busy());
    }
    if let Some(entity) = strip_suffix(&path, MANAGEMENT) {
        let (state, _) = wire.broker.state();
        state.kind(entity).ok_or_else(|| Refusal::not_found(entity))?;
        drop(state);
        return Ok(Some(requests(attach, entity.to_owned(), target)));
    }
    let (mut state, now) = wire.broker.state();
    let kind = state.kind(&path).ok_or_else(|| Refusal::not_found(&path))?;
    if let Some(refusal) = state.disabled(&path) {
        return Err(refusal);
    }
    answer.max_message_size = Some(state.message_bytes_max(&path));
    if attach.role == Role::Sender {
        return Ok(Some(Purpose::Send { path }));
    }
    if matches!(kind, Kind::Topic) {
        let reason = format!("{path} is a topic: messages are received from its subscriptions");
        return Err(Refusal::new("amqp:not-allowed", reason));
    }
    let owner = wire.broker.next_id();
    let filter = attach
        .source
        .as_ref()
        .and_then(|source| source.filter.as_ref())
        .and_then(|filter| filter.get(&Symbol::from(SESSION_FILTER)));
    let store = state.store(&path)?;
    let session = match (filter, store.settings.requires_session) {
        (None, true) => {
            let reason = format!("{path} requires sessions: receive with a session filter");
            return Err(Refusal::new("amqp:not-allowed", reason));
        }
        (Some(_), false) => {
            let reason = format!("{path} has no sessions");
            return Err(Refusal::new("amqp:not-allowed", reason));
        }
        (None, false) => None,
        (Some(filter), true) => {
            let wanted = wanted_session(filter);
            let Some((id, until)) = store.accept(wanted.as_deref(), owner, now)? else {
                if deadline.is_some_and(|deadline| deadline <= now) {
                    let reason = "no session with messages became free in time";
                    return Err(Refusal::new("com.microsoft:timeout", reason.to_owned()));
                }
                return Ok(None);
            };
            echo_session(answer, &id, until);
            Some(id)
        }
    };
    answer.snd_settle_mode = attach.snd_settle_mode.clone();
    answer.rcv_settle_mode = ReceiverSettleMode::First;
    if attach.rcv_settle_mode == ReceiverSettleMode::Second {
        answer.rcv_settle_mode = ReceiverSettleMode::Second;
    }
    Ok(Some(Purpose::Receive(Receiving {
        path,
        session,
        owner,
        settled: attach.snd_settle_mode == SenderSettleMode::Settled,
    })))
}

fn requests(attach: &Attach, path: String, target: Option<&str>) -> Purpose {
    match attach.role {
        Role::Sender => Purpose::Request { path },
        Role::Receiver => Purpose::Answer {
            path,
            // Clients that give no address listen by the name of their link.
            address: target
                .filter(|target| !target.is_empty())
                .unwrap_or(&attach.name)
                .to_owned(),
        },
    }
}

/// The session that a filter names; none for "the next one".
fn wanted_session(filter: &Value) -> Option<String> {
    let inner = match filter {
        Value::Described(described) => &described.value,
        other => other,
    };
    match inner {
        Value::String(id) => Some(id.clone()),
        Value::Symbol(id) => Some(id.0.clone()),
        _ => None,
    }
}

/// Tells which session it is, and until when.
fn echo_session(answer: &mut Attach, id: &str, until: i64) {
    let key = Symbol::from(SESSION_FILTER);
    let filter = answer.source.as_mut().and_then(|source| source.filter.as_mut());
    if let Some(filter) = filter {
        // In the form in which it came: some clients describe the value, others do not.
        let value = match filter.get(&key) {
            Some(Value::Described(described)) => Value::Described(Box::new(Described {
                descriptor: described.descriptor.clone(),
                value: Value::String(id.to_owned()),
            })),
            _ => Value::String(id.to_owned()),
        };
        filter.insert(key, value);
    }
    answer.properties.get_or_insert_with(Fields::new).insert(
        Symbol::from("com.microsoft:locked-until-utc"),
        Value::Long(TICKS_1970 + until.saturating_mul(10)),
    );
}

fn wait(attach: &Attach) -> i64 {
    let key = Symbol::from("com.microsoft:timeout");
    let millis = attach
        .properties
        .as_ref()
        .and_then(|properties| properties.get(&key));
    match millis {
        Some(Value::Uint(millis)) => i64::from(*millis) * 1_000,
        Some(Value::Ulong(millis)) => i64::try_from(*millis).map_or(WAIT_MICROS, |m| m.saturating_mul(1_000)),
        Some(Value::Int(millis)) => i64::from(*millis).max(0) * 1_000,
        Some(Value::Long(millis)) => millis.max(&0).saturating_mul(1_000),
        _ => WAIT_MICROS,
    }
}

/// A path without scheme and host.
fn plain(address: &str) -> String {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/').to_owned()
}

fn strip_suffix<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let at = path.len().checked_sub(suffix.len())?;
    let end = path.get(at..)?;
    end.eq_ignore_ascii_case(suffix).then(|| &path[..at])
}
