//! Typed messages in envelopes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Hasher, Identity, PLAINTEXT_BYTES_MAX, code, codec, crypto_error, fresh_salt, malformed, too_large,
};
use crate::contract::{KeyProvider, Message, MessageKind, Random};
use crate::error::{Error, ErrorKind, Result};

/// Where a message travels. Sealed in, so that an envelope moved to another route, id or lane does not open.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// The route, from one's own configuration: never from the message.
    pub route: &'a str,
    /// The message id as published or delivered.
    pub message_id: &'a str,
    /// The lane as published or delivered: [`Hasher::lane`] of the message's key.
    pub lane: &'a str,
}

/// Seals and opens messages of one tenant.
///
/// Every envelope has a key of its own, derived from the tenant key and 32 random bytes. Two replicas need no common counter, and the tenant key
/// is good for 2^40 messages and far beyond.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<dyn KeyProvider>,
    random: Arc<dyn Random>,
    identity: Identity,
    hasher: Hasher,
    plaintext_bytes_max: usize,
}

impl Sealer {
    /// A sealer for the tenant that `identity` names.
    pub fn new(keys: Arc<dyn KeyProvider>, random: Arc<dyn Random>, identity: Identity) -> Result<Sealer> {
        let hasher = Hasher::new(&keys.index()?);
        Ok(Sealer {
            keys,
            random,
            identity,
            hasher,
            plaintext_bytes_max: PLAINTEXT_BYTES_MAX,
        })
    }

    /// Lowers the plaintext limit; values above [`PLAINTEXT_BYTES_MAX`] mean that one.
    pub fn with_plaintext_bytes_max(mut self, max: usize) -> Sealer {
        self.plaintext_bytes_max = max.min(PLAINTEXT_BYTES_MAX);
        self
    }

    /// The keyed hashes of the same tenant.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Seals a message. Fails when `address.lane` is not the lane of its record: no receiver would take it.
    pub fn seal<M: Message>(&self, message: &M, address: &Address<'_>) -> Result<Vec<u8>> {
        self.check_lane(message, address)?;
        let body = SealedBody {
            kind: M::KIND,
            version: M::VERSION,
            payload: message,
        };
        let plaintext = serde_json::to_vec(&body).map_err(|error| {
            Error::new(ErrorKind::Invalid, "message cannot be written as json").because(error)
        })?;
        if plaintext.len() > self.plaintext_bytes_max {
            return Err(too_large(plaintext.len(), self.plaintext_bytes_max));
        }
        codec::seal(
            &self.keys.primary()?,
            fresh_salt(&self.random)?,
            &self.identity,
            address,
            &plaintext,
        )
    }

    /// Opens a delivered message and checks that it is what this route and lane carry.
    pub fn open<M: Message>(&self, envelope: &[u8], address: &Address<'_>) -> Result<M> {
        let plaintext = codec::open(
            &self.keys,
            &self.identity,
            address,
            envelope,
            self.plaintext_bytes_max,
        )?;
        let message = read_body::<M>(&plaintext)?;
        self.check_lane(&message, address)?;
        Ok(message)
    }

    fn check_lane<M: Message>(&self, message: &M, address: &Address<'_>) -> Result<()> {
        if self.hasher.lane(message.key()) == address.lane {
            return Ok(());
        }
        Err(crypto_error(
            code::WRONG_RECORD,
            "message is about a record that does not belong to its lane",
        ))
    }
}

#[derive(Serialize)]
struct SealedBody<'a, M> {
    kind: MessageKind,
    version: u16,
    payload: &'a M,
}

/// Read by itself first: the payload of another kind or version may have any shape.
#[derive(Deserialize)]
struct BodyHead {
    kind: MessageKind,
    version: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenedBody<M> {
    #[serde(rename = "kind")]
    _kind: MessageKind,
    #[serde(rename = "version")]
    _version: u16,
    payload: M,
}

fn read_body<M: Message>(plaintext: &[u8]) -> Result<M> {
    // serde's own message would quote the content, so only the place is told.
    let not_readable = |error: serde_json::Error| {
        malformed(format!(
            "message content is not what its version says, at column {}",
            error.column()
        ))
    };
    let head: BodyHead = serde_json::from_slice(plaintext).map_err(not_readable)?;
    if head.kind != M::KIND {
        return Err(crypto_error(
            code::WRONG_KIND,
            "message is of another kind than this route carries",
        ));
    }
    if head.version == 0 || head.version > M::VERSION {
        let sentence = format!(
            "message format {} is not one this release reads (1 to {}): upgrade it, then replay the message",
            head.version,
            M::VERSION
        );
        return Err(crypto_error(code::TOO_NEW, sentence));
    }
    let body: OpenedBody<M> = serde_json::from_slice(plaintext).map_err(not_readable)?;
    Ok(body.payload)
}
