//! A link, and what it is for.

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::Role;
use fe2o3_amqp_types::performatives::Attach;

use crate::broker::store::{Owner, Token};

/// What a link carries.
pub(crate) enum Purpose {
    /// Messages from the peer to an entity.
    Send { path: String },
    /// Messages of a queue or subscription to the peer.
    Receive(Receiving),
    /// Requests from the peer; `path` is the entity, or `$cbs`.
    Request { path: String },
    /// Answers of `path` to the peer, which listens at `address`.
    Answer { path: String, address: String },
    /// Not answered yet: waits for a free session until the deadline.
    Pending(Box<Attach>, i64),
}

pub(crate) struct Receiving {
    pub(crate) path: String,
    pub(crate) session: Option<String>,
    pub(crate) owner: Owner,
    /// Receive and delete.
    pub(crate) settled: bool,
}

pub(crate) struct Link {
    pub(crate) purpose: Purpose,
    /// Ours: what is left of the credit that we gave, or got.
    pub(crate) credit: u32,
    pub(crate) delivery_count: u32,
    pub(crate) drain: bool,
    /// A delivery that came in parts.
    pub(crate) partial: Option<Partial>,
}

pub(crate) struct Partial {
    pub(crate) delivery_id: u32,
    pub(crate) format: u32,
    pub(crate) settled: bool,
    pub(crate) bytes: BytesMut,
}

/// A delivery that the peer has not settled.
pub(crate) struct Unsettled {
    pub(crate) handle: u32,
    pub(crate) token: Token,
}

impl Link {
    pub(crate) fn new(purpose: Purpose, attach: &Attach) -> Link {
        Link {
            purpose,
            credit: 0,
            delivery_count: match attach.role {
                Role::Sender => attach.initial_delivery_count.unwrap_or(0),
                Role::Receiver => 0,
            },
            drain: false,
            partial: None,
        }
    }

    /// Whether the peer sends on it.
    pub(crate) fn takes(&self) -> bool {
        matches!(self.purpose, Purpose::Send { .. } | Purpose::Request { .. })
    }
}
