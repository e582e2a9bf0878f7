//! One connection: reads frames, lets sessions answer, writes what they say.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::{ConnectionError, Error, ErrorCondition, Fields};
use fe2o3_amqp_types::performatives::{Begin, Close, End, Open, Performative};
use serde_amqp::primitives::Symbol;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::session::Session;
use super::token::Keys;
use super::{frame, sasl};
use crate::broker::{Broker, Refusal};
use crate::faults::Blow;

/// What all sessions of a connection share.
pub(crate) struct Wire {
    pub(crate) out: BytesMut,
    pub(crate) peer_frame_max: usize,
    pub(crate) broker: Arc<Broker>,
    pub(crate) keys: Arc<Keys>,
    /// Until when the token is good that was shown; for ever where it was a key. None: nothing valid was shown.
    pub(crate) trusted_until: Option<i64>,
    /// Answers to requests that no link has taken yet.
    pub(crate) answers: VecDeque<Answer>,
}

/// An answer on its way back to the peer.
pub(crate) struct Answer {
    /// The entity that was asked, or `$cbs`.
    pub(crate) path: String,
    /// Where the peer wants it; not every client says.
    pub(crate) reply_to: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// Most answers that wait for a link to take them.
const ANSWERS_MAX: usize = 1_000;

impl Wire {
    pub(crate) fn say(&mut self, channel: u16, performative: Performative, payload: &[u8]) {
        frame::write(&mut self.out, frame::AMQP, channel, &performative, payload);
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    /// Takes the next answer for a link that listens at an address for what an entity says.
    pub(crate) fn take_answer(&mut self, path: &str, address: &str) -> Option<Vec<u8>> {
        let at = self.answers.iter().position(|answer| {
            let wanted = answer.reply_to.as_deref();
            answer.path == path && wanted.is_none_or(|wanted| wanted == address)
        })?;
        self.answers.remove(at).map(|answer| answer.bytes)
    }
}

/// Answers a peer until it goes, or until a fault ends the connection.
pub(crate) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    broker: Arc<Broker>,
    keys: Arc<Keys>,
) -> io::Result<()> {
    let mut blows = broker.faults.listen();
    let mut changed = broker.watch();
    let mut buffer = BytesMut::new();
    let trusted = sasl::welcome(&mut stream, &mut buffer, &keys).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut sessions: BTreeMap<u16, Session> = BTreeMap::new();
    let mut wire = Wire {
        out: BytesMut::new(),
        peer_frame_max: 512,
        broker: broker.clone(),
        keys,
        trusted_until: trusted.then_some(i64::MAX),
        answers: VecDeque::new(),
    };
    let mut idle = Duration::from_secs(30);
    let outcome = loop {
        let deadlines = sessions.values().filter_map(Session::next_deadline);
        let expiry = wire.trusted_until.filter(|until| *until < i64::MAX);
        let deadline = deadlines.chain(expiry).min();
        let waiting = wait_until(&broker, deadline);
        tokio::select! {
            read = frame::read(&mut reader, &mut buffer) => match read {
                Ok(Some(mut frame)) => {
                    let delay = broker.faults.delay();
                    if !delay.is_zero() {
                        broker.clock.sleep(delay).await;
                    }
                    match receive(&mut frame, &mut sessions, &mut wire, &mut idle) {
                        Ok(true) => {}
                        Ok(false) => break Ok(()),
                        Err(refusal) => {
                            close(&mut wire, Some(&refusal));
                            break Ok(());
                        }
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
            seen = changed.changed() => if seen.is_err() { break Ok(()) },
            () = waiting => {}
            () = tokio::time::sleep(idle) => frame::write_empty(&mut wire.out),
            blow = blows.recv() => match blow {
                Ok(Blow::Kill) => {
                    let ended = end(&mut sessions, &broker);
                    drop((reader, writer));
                    broker.faults.met();
                    return ended;
                }
                Ok(Blow::Detach) => {
                    for session in sessions.values_mut() {
                        session.detach_all(&mut wire);
                    }
                    broker.faults.met();
                }
                Err(_) => {}
            },
        }
        if wire
            .trusted_until
            .is_some_and(|until| until <= broker.clock.now_micros())
        {
            wire.trusted_until = None;
            for session in sessions.values_mut() {
                session.expire(&mut wire);
            }
        }
        for session in sessions.values_mut() {
            session.pump(&mut wire);
        }
        writer.write_all(&wire.out).await?;
        wire.out.clear();
    };
    // The peer may be gone already.
    drop(writer.write_all(&wire.out).await);
    end(&mut sessions, &broker)?;
    outcome
}

async fn wait_until(broker: &Broker, deadline: Option<i64>) {
    match deadline {
        Some(deadline) => {
            let wait = deadline.saturating_sub(broker.clock.now_micros()).max(0);
            broker
                .clock
                .sleep(Duration::from_micros(wait.unsigned_abs()))
                .await;
        }
        None => std::future::pending().await,
    }
}

fn end(sessions: &mut BTreeMap<u16, Session>, broker: &Broker) -> io::Result<()> {
    for session in sessions.values_mut() {
        session.leave(broker);
    }
    broker.announce();
    Ok(())
}

/// Handles one frame; false when the peer has closed.
fn receive(
    frame: &mut frame::Frame,
    sessions: &mut BTreeMap<u16, Session>,
    wire: &mut Wire,
    idle: &mut Duration,
) -> Result<bool, Refusal> {
    if frame.body.is_empty() {
        return Ok(true);
    }
    let channel = frame.channel;
    let performative = frame::performative(&mut frame.body)
        .map_err(|error| Refusal::new("amqp:decode-error", format!("a frame cannot be read: {error}")))?;
    match performative {
        Performative::Open(open) => {
            wire.peer_frame_max = usize::try_from(open.max_frame_size.0)
                .unwrap_or(usize::MAX)
                .min(frame::FRAME_BYTES_MAX as usize);
            if let Some(millis) = open.idle_time_out {
                *idle = Duration::from_millis(u64::from(millis / 2).max(100));
            }
            let open = Open {
                container_id: "seamless-emulator".to_owned(),
                hostname: None,
                max_frame_size: frame::FRAME_BYTES_MAX.into(),
                channel_max: 255.into(),
                idle_time_out: None,
                outgoing_locales: None,
                incoming_locales: None,
                offered_capabilities: None,
                desired_capabilities: None,
                properties: None,
            };
            wire.say(0, Performative::Open(open), &[]);
        }
        Performative::Begin(begin) => {
            let session = Session::new(channel, &begin);
            let answer = Begin {
                remote_channel: Some(channel),
                next_outgoing_id: session.next_outgoing_id(),
                incoming_window: super::session::WINDOW,
                outgoing_window: super::session::WINDOW,
                handle_max: 255.into(),
                offered_capabilities: None,
                desired_capabilities: None,
                properties: None,
            };
            sessions.insert(channel, session);
            wire.say(channel, Performative::Begin(answer), &[]);
        }
        Performative::End(_) => {
            if let Some(mut session) = sessions.remove(&channel) {
                session.leave(&wire.broker);
                wire.broker.announce();
            }
            wire.say(channel, Performative::End(End { error: None }), &[]);
        }
        Performative::Close(_) => {
            close(wire, None);
            return Ok(false);
        }
        other => {
            let session = sessions.get_mut(&channel).ok_or_else(|| {
                Refusal::new("amqp:not-allowed", format!("channel {channel} has no session"))
            })?;
            session.receive(other, &frame.body, wire)?;
        }
    }
    Ok(true)
}

fn close(wire: &mut Wire, refusal: Option<&Refusal>) {
    let close = Close {
        error: refusal.map(error),
    };
    wire.say(0, Performative::Close(close), &[]);
}

/// A refusal as AMQP says it.
pub(crate) fn error(refusal: &Refusal) -> Error {
    let condition = match refusal.condition {
        "amqp:connection:forced" => ErrorCondition::ConnectionError(ConnectionError::ConnectionForced),
        // Conditions serialise to the same symbol whether they are known to the types or not.
        other => ErrorCondition::Custom(Symbol::from(other)),
    };
    // Microsoft's Python client reads the third field without looking whether it is there.
    Error::new(condition, refusal.description.clone(), Fields::new())
}
