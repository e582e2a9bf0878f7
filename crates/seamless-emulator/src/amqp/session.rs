//! One AMQP session: windows, links, deliveries.

use std::collections::BTreeMap;

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::{Handle, Role};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Rejected};
use fe2o3_amqp_types::performatives::{Attach, Begin, Detach, Disposition, Flow, Performative, Transfer};
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_bytes::ByteBuf;

use super::attach::{self, Answer};
use super::connection::{Wire, error};
use super::link::{Link, Partial, Purpose, Receiving, Unsettled};
use super::management;
use crate::broker::message::{simple, unpack};
use crate::broker::store::{Outcome, Taken, Token};
use crate::broker::{Broker, Refusal};

/// Transfers we take without telling anew.
pub(crate) const WINDOW: u32 = 4_096;
/// Credit that a sending link has when it is full.
const CREDIT: u32 = 1_000;
/// Largest message that comes in parts: the limit is checked by the entity, this one bounds memory.
const PARTS_BYTES_MAX: usize = 2 << 20;

pub(crate) struct Session {
    channel: u16,
    next_incoming_id: u32,
    next_outgoing_id: u32,
    /// Transfers left until the peer hears of a new window.
    window: u32,
    peer_window: u32,
    next_delivery_id: u32,
    links: BTreeMap<u32, Link>,
    unsettled: BTreeMap<u32, Unsettled>,
}

impl Session {
    pub(crate) fn new(channel: u16, begin: &Begin) -> Session {
        Session {
            channel,
            next_incoming_id: begin.next_outgoing_id,
            next_outgoing_id: 0,
            window: WINDOW,
            peer_window: begin.incoming_window,
            next_delivery_id: 0,
            links: BTreeMap::new(),
            unsettled: BTreeMap::new(),
        }
    }

    pub(crate) fn next_outgoing_id(&self) -> u32 {
        self.next_outgoing_id
    }

    /// When a waiting attach gives up.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.links
            .values()
            .filter_map(|link| match &link.purpose {
                Purpose::Pending(_, deadline) => Some(*deadline),
                _ => None,
            })
            .min()
    }

    /// Lets go of what the links held.
    pub(crate) fn leave(&mut self, broker: &Broker) {
        for (_, link) in std::mem::take(&mut self.links) {
            release(&link, broker);
        }
    }

    pub(crate) fn receive(
        &mut self,
        performative: Performative,
        payload: &[u8],
        wire: &mut Wire,
    ) -> Result<(), Refusal> {
        match performative {
            Performative::Attach(attach) => self.attach(attach, wire),
            Performative::Flow(flow) => self.flow(&flow, wire),
            Performative::Transfer(transfer) => self.transfer(transfer, payload, wire)?,
            Performative::Disposition(disposition) => self.disposition(disposition, wire),
            Performative::Detach(detach) => {
                if let Some(link) = self.links.remove(&detach.handle.0) {
                    self.forget(detach.handle.0);
                    release(&link, &wire.broker);
                    wire.broker.announce();
                    let answer = Detach {
                        handle: detach.handle,
                        closed: detach.closed,
                        error: None,
                    };
                    wire.say(self.channel, Performative::Detach(answer), &[]);
                }
            }
            _ => {
                return Err(Refusal::new(
                    "amqp:not-allowed",
                    "a frame out of place".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Sends what can be sent, and answers attaches that waited.
    pub(crate) fn pump(&mut self, wire: &mut Wire) {
        let handles: Vec<u32> = self.links.keys().copied().collect();
        for handle in handles {
            let Some(link) = self.links.get_mut(&handle) else {
                continue;
            };
            match &mut link.purpose {
                Purpose::Pending(attach, deadline) => {
                    let (attach, deadline) = ((**attach).clone(), *deadline);
                    self.answer_attach(attach, Some(deadline), wire);
                }
                Purpose::Answer { path, address } => {
                    while link.credit > 0
                        && self.peer_window > 0
                        && let Some(bytes) = wire.take_answer(path, address)
                    {
                        link.credit -= 1;
                        link.delivery_count = link.delivery_count.wrapping_add(1);
                        let id = self.next_delivery_id;
                        self.next_delivery_id = id.wrapping_add(1);
                        let tag = id.to_be_bytes().to_vec();
                        let sent = transfer_out(self.channel, handle, id, tag, true, &bytes, wire);
                        self.next_outgoing_id = self.next_outgoing_id.wrapping_add(sent);
                        self.peer_window = self.peer_window.saturating_sub(sent);
                    }
                }
                Purpose::Receive(_) => self.deliver(handle, wire),
                _ => {}
            }
        }
    }

    /// Detaches every link that carries messages, with the error of an idle link.
    pub(crate) fn detach_all(&mut self, wire: &mut Wire) {
        let refusal = Refusal::new(
            "amqp:link:detach-forced",
            "the link was detached by the broker".to_owned(),
        );
        let handles: Vec<u32> = self.links.keys().copied().collect();
        for handle in handles {
            self.detach(handle, &refusal, wire);
        }
    }

    /// Detaches every link but those over which a new token can be shown.
    pub(crate) fn expire(&mut self, wire: &mut Wire) {
        let refusal = Refusal::new(
            "amqp:unauthorized-access",
            "ExpiredToken: the token has expired".to_owned(),
        );
        let is_for_tokens = |purpose: &Purpose| match purpose {
            Purpose::Request { path } | Purpose::Answer { path, .. } => path == "$cbs",
            _ => false,
        };
        let links = self.links.iter();
        let handles: Vec<u32> = links
            .filter(|(_, link)| !is_for_tokens(&link.purpose))
            .map(|(handle, _)| *handle)
            .collect();
        for handle in handles {
            self.detach(handle, &refusal, wire);
        }
    }

    fn attach(&mut self, attach: Attach, wire: &mut Wire) {
        self.answer_attach(attach, None, wire);
    }

    fn answer_attach(&mut self, attach: Attach, deadline: Option<i64>, wire: &mut Wire) {
        let handle = attach.handle.0;
        match attach::answer(&attach, deadline, wire) {
            Answer::Wait(deadline) => {
                let pending = Purpose::Pending(Box::new(attach.clone()), deadline);
                self.links.insert(handle, Link::new(pending, &attach));
            }
            Answer::Yes(purpose, answer) => {
                let link = Link::new(purpose, &attach);
                let takes = link.takes();
                self.links.insert(handle, link);
                wire.say(self.channel, Performative::Attach(*answer), &[]);
                if takes {
                    self.grant(handle, wire);
                }
            }
            Answer::No(answer, refusal) => {
                self.links.remove(&handle);
                wire.say(self.channel, Performative::Attach(*answer), &[]);
                let detach = Detach {
                    handle: Handle(handle),
                    closed: true,
                    error: Some(error(&refusal)),
                };
                wire.say(self.channel, Performative::Detach(detach), &[]);
            }
        }
    }

    fn detach(&mut self, handle: u32, refusal: &Refusal, wire: &mut Wire) {
        let Some(link) = self.links.remove(&handle) else {
            return;
        };
        self.forget(handle);
        release(&link, &wire.broker);
        let detach = Detach {
            handle: Handle(handle),
            closed: true,
            error: Some(error(refusal)),
        };
        wire.say(self.channel, Performative::Detach(detach), &[]);
    }

    /// Unsettled deliveries of a link that is gone keep their locks, but cannot be settled over it.
    fn forget(&mut self, handle: u32) {
        self.unsettled.retain(|_, delivery| delivery.handle != handle);
    }

    fn flow(&mut self, flow: &Flow, wire: &mut Wire) {
        let seen = flow.next_incoming_id.unwrap_or(0);
        self.peer_window = seen
            .wrapping_add(flow.incoming_window)
            .wrapping_sub(self.next_outgoing_id);
        let Some(handle) = flow.handle.as_ref().map(|handle| handle.0) else {
            if flow.echo {
                self.say_flow(None, wire);
            }
            return;
        };
        let Some(link) = self.links.get_mut(&handle) else {
            return;
        };
        if link.takes() {
            if let Some(count) = flow.delivery_count {
                link.delivery_count = count;
            }
        } else {
            let credit = flow.link_credit.unwrap_or(0);
            link.credit = flow
                .delivery_count
                .unwrap_or(0)
                .wrapping_add(credit)
                .wrapping_sub(link.delivery_count);
            link.drain = flow.drain;
        }
        if flow.echo {
            self.say_flow(Some(handle), wire);
        }
        self.pump(wire);
    }

    fn say_flow(&mut self, handle: Option<u32>, wire: &mut Wire) {
        self.window = WINDOW;
        let link = handle.and_then(|handle| self.links.get(&handle));
        let flow = Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: WINDOW,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: WINDOW,
            handle: handle.map(Handle),
            delivery_count: link.map(|link| link.delivery_count),
            link_credit: link.map(|link| link.credit),
            available: None,
            drain: link.is_some_and(|link| link.drain),
            echo: false,
            properties: None,
        };
        wire.say(self.channel, Performative::Flow(flow), &[]);
    }

    fn grant(&mut self, handle: u32, wire: &mut Wire) {
        if let Some(link) = self.links.get_mut(&handle) {
            link.credit = CREDIT;
        }
        self.say_flow(Some(handle), wire);
    }

    fn transfer(&mut self, transfer: Transfer, payload: &[u8], wire: &mut Wire) -> Result<(), Refusal> {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        self.window = self.window.saturating_sub(1);
        let handle = transfer.handle.0;
        if let Some(link) = self.links.get_mut(&handle) {
            let partial = link.partial.get_or_insert_with(|| Partial {
                delivery_id: transfer.delivery_id.unwrap_or(0),
                format: transfer.message_format.unwrap_or(0),
                settled: false,
                bytes: BytesMut::new(),
            });
            partial.settled |= transfer.settled.unwrap_or(false);
            partial.bytes.extend_from_slice(payload);
            if partial.bytes.len() > PARTS_BYTES_MAX {
                let refusal = Refusal::new(
                    "amqp:link:message-size-exceeded",
                    format!("a message of more than {PARTS_BYTES_MAX} bytes"),
                );
                self.detach(handle, &refusal, wire);
            } else if transfer.aborted {
                link.partial = None;
            } else if !transfer.more
                && let Some(whole) = link.partial.take()
            {
                link.delivery_count = link.delivery_count.wrapping_add(1);
                link.credit = link.credit.saturating_sub(1);
                let low = link.credit < CREDIT / 2;
                self.take(handle, whole, wire);
                if low {
                    self.grant(handle, wire);
                }
            }
        }
        if self.window < WINDOW / 2 {
            self.say_flow(None, wire);
        }
        Ok(())
    }

    /// A whole message from the peer.
    fn take(&mut self, handle: u32, whole: Partial, wire: &mut Wire) {
        let state = match self.links.get(&handle).map(|link| &link.purpose) {
            Some(Purpose::Send { path }) => {
                let outcome = if wire.broker.faults.is_busy() {
                    Err(Refusal::busy())
                } else {
                    unpack(whole.format, &whole.bytes).and_then(|messages| wire.broker.send(path, messages))
                };
                if outcome.is_ok() && wire.broker.faults.swallows() {
                    return;
                }
                outcome
            }
            Some(Purpose::Request { path }) => {
                let path = path.clone();
                management::handle(&path, &whole.bytes, wire);
                Ok(())
            }
            _ => Err(Refusal::new(
                "amqp:not-allowed",
                "the link does not take messages".to_owned(),
            )),
        };
        if !whole.settled {
            let state = match state {
                Ok(()) => DeliveryState::Accepted(Accepted {}),
                Err(refusal) => DeliveryState::Rejected(Rejected {
                    error: Some(error(&refusal)),
                }),
            };
            self.say_settled(Role::Receiver, whole.delivery_id, state, wire);
        }
    }

    fn say_settled(&self, role: Role, id: u32, state: DeliveryState, wire: &mut Wire) {
        let disposition = Disposition {
            role,
            first: id,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        };
        wire.say(self.channel, Performative::Disposition(disposition), &[]);
    }

    /// The peer ends deliveries that we sent.
    fn disposition(&mut self, disposition: Disposition, wire: &mut Wire) {
        if disposition.role != Role::Receiver {
            return;
        }
        let last = disposition.last.unwrap_or(disposition.first);
        let ids: Vec<u32> = self
            .unsettled
            .range(disposition.first..=last.max(disposition.first))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(outcome) = disposition.state.as_ref().and_then(outcome) else {
                continue;
            };
            let Some(delivery) = self.unsettled.remove(&id) else {
                continue;
            };
            let path = match self.links.get(&delivery.handle).map(|link| &link.purpose) {
                Some(Purpose::Receive(receiving)) => receiving.path.clone(),
                _ => continue,
            };
            let result = settle(&wire.broker, &path, &delivery.token, outcome);
            if !disposition.settled {
                let state = match result {
                    Ok(()) => confirmation(disposition.state.as_ref()),
                    Err(refusal) => DeliveryState::Rejected(Rejected {
                        error: Some(error(&refusal)),
                    }),
                };
                self.say_settled(Role::Sender, id, state, wire);
            }
        }
        wire.broker.announce();
    }

    /// Sends ready messages as far as credit and window go.
    fn deliver(&mut self, handle: u32, wire: &mut Wire) {
        loop {
            let Some(link) = self.links.get_mut(&handle) else {
                return;
            };
            let Purpose::Receive(receiving) = &link.purpose else {
                return;
            };
            if let Some(refusal) = lost_session(receiving, &wire.broker) {
                self.detach(handle, &refusal, wire);
                return;
            }
            if link.credit == 0 || self.peer_window == 0 {
                break;
            }
            let Some(taken) = take_one(receiving, &wire.broker) else {
                break;
            };
            let settled = receiving.settled;
            link.credit -= 1;
            link.delivery_count = link.delivery_count.wrapping_add(1);
            let id = self.next_delivery_id;
            self.next_delivery_id = id.wrapping_add(1);
            let tag = taken.token.to_vec();
            let sent = transfer_out(self.channel, handle, id, tag, settled, &taken.bytes, wire);
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(sent);
            self.peer_window = self.peer_window.saturating_sub(sent);
            if !settled {
                let token = taken.token;
                self.unsettled.insert(id, Unsettled { handle, token });
            }
        }
        let Some(link) = self.links.get_mut(&handle) else {
            return;
        };
        if link.drain && self.peer_window > 0 {
            link.delivery_count = link.delivery_count.wrapping_add(link.credit);
            link.credit = 0;
            self.say_flow(Some(handle), wire);
            if let Some(link) = self.links.get_mut(&handle) {
                link.drain = false;
            }
        }
    }
}

fn lost_session(receiving: &Receiving, broker: &Broker) -> Option<Refusal> {
    let id = receiving.session.as_ref()?;
    let (mut state, _) = broker.state();
    let held = state
        .store(&receiving.path)
        .is_ok_and(|store| store.holds_session(id, receiving.owner));
    (!held).then(|| Refusal::session_lock_lost(id))
}

fn take_one(receiving: &Receiving, broker: &Broker) -> Option<Taken> {
    let token = broker.next_token();
    let (mut state, now) = broker.state();
    let store = state.store(&receiving.path).ok()?;
    let session = receiving.session.as_deref();
    if receiving.settled {
        store.take_and_delete(session, token, now)
    } else {
        store.take(session, token, now)
    }
}

pub(crate) fn settle(broker: &Broker, path: &str, token: &Token, outcome: Outcome) -> Result<(), Refusal> {
    let (mut state, now) = broker.state();
    let result = state
        .store(path)
        .and_then(|store| store.settle(token, outcome, now));
    state.move_dead();
    result
}

fn release(link: &Link, broker: &Broker) {
    if let Purpose::Receive(receiving) = &link.purpose
        && let Some(id) = &receiving.session
    {
        let (mut state, _) = broker.state();
        if let Ok(store) = state.store(&receiving.path) {
            store.release_session(id, receiving.owner);
        }
    }
}

/// What an outcome of AMQP means to Service Bus.
fn outcome(state: &DeliveryState) -> Option<Outcome> {
    Some(match state {
        DeliveryState::Accepted(_) => Outcome::Complete,
        DeliveryState::Released(_) => Outcome::Abandon(Vec::new()),
        DeliveryState::Modified(modified) => {
            let properties = modified.message_annotations.iter().flat_map(|fields| {
                fields
                    .iter()
                    .filter_map(|(key, value)| Some((key.0.clone(), simple(value)?)))
            });
            let properties: Vec<(String, SimpleValue)> = properties.collect();
            if modified.undeliverable_here == Some(true) {
                Outcome::Defer(properties)
            } else {
                Outcome::Abandon(properties)
            }
        }
        DeliveryState::Rejected(rejected) => {
            let info = rejected.error.as_ref().and_then(|error| error.info.as_ref());
            let properties = info.into_iter().flat_map(|fields| {
                fields
                    .iter()
                    .filter_map(|(key, value)| Some((key.0.clone(), simple(value)?)))
            });
            Outcome::DeadLetter(properties.collect())
        }
        DeliveryState::Received(_) => return None,
    })
}

/// What tells a receiver that its outcome holds: the same, but never an error, for that would mean that it does not.
fn confirmation(state: Option<&DeliveryState>) -> DeliveryState {
    match state {
        Some(DeliveryState::Rejected(_)) => DeliveryState::Rejected(Rejected { error: None }),
        Some(state) => state.clone(),
        None => DeliveryState::Accepted(Accepted {}),
    }
}

/// Sends a delivery in as many frames as it needs; says how many.
fn transfer_out(
    channel: u16,
    handle: u32,
    id: u32,
    tag: Vec<u8>,
    settled: bool,
    bytes: &[u8],
    wire: &mut Wire,
) -> u32 {
    // Room for the performative: measured at under 60 bytes.
    let room = wire.peer_frame_max.saturating_sub(128).max(128);
    let mut parts = bytes.chunks(room).peekable();
    let mut sent = 0;
    while let Some(part) = parts.next() {
        let first = sent == 0;
        let transfer = Transfer {
            handle: Handle(handle),
            delivery_id: first.then_some(id),
            delivery_tag: first.then(|| ByteBuf::from(tag.clone())),
            message_format: first.then_some(0),
            settled: Some(settled),
            more: parts.peek().is_some(),
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: true,
        };
        wire.say(channel, Performative::Transfer(transfer), part);
        sent += 1;
    }
    sent
}
