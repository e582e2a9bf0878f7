//! The bounds of the contract, checked the same way by every bus and store.

use crate::contract::{BusLimits, Op, Outgoing};
use crate::error::{Error, ErrorKind, Result};

/// Longest key of a row, in bytes. Longer ones are refused with `Limit`.
pub const KEY_BYTES_MAX: usize = 600;

/// Largest value of a row, in bytes. Larger ones are refused with `Limit`.
pub const VALUE_BYTES_MAX: usize = 16 << 20;

/// Bounds on the names that travel with a message; see [`crate::MessageId`] and [`Outgoing`].
const NAME_CHARS_MAX: usize = 128;
const LANE_CHARS_MAX: usize = 32;

impl BusLimits {
    /// `Limit` unless the bus can take these messages in one `publish`.
    pub fn check(&self, messages: &[Outgoing]) -> Result<()> {
        check("a publish", messages.len(), "messages", self.publish_batch_max)?;
        for Outgoing {
            id,
            subscription,
            lane,
            body,
        } in messages
        {
            check("a message id", id.0.chars().count(), "characters", NAME_CHARS_MAX)?;
            check(
                "a subscription name",
                subscription.chars().count(),
                "characters",
                NAME_CHARS_MAX,
            )?;
            check("a lane", lane.chars().count(), "characters", LANE_CHARS_MAX)?;
            check("a message body", body.len(), "bytes", self.body_bytes_max)?;
        }
        Ok(())
    }
}

impl Op {
    /// `Limit` unless a store can take these operations.
    pub fn check_sizes(ops: &[Op]) -> Result<()> {
        for op in ops {
            let (Op::Check { key, .. } | Op::Put { key, .. } | Op::Delete { key, .. }) = op;
            check("a row key", key.key.len(), "bytes", KEY_BYTES_MAX)?;
            if let Op::Put { value, .. } = op {
                check("a row value", value.len(), "bytes", VALUE_BYTES_MAX)
                    .map_err(|error| error.with("key", &key.key))?;
            }
        }
        Ok(())
    }
}

fn check(what: &str, size: usize, unit: &str, max: usize) -> Result<()> {
    if size <= max {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Limit,
        format!("{what} has {size} {unit}; at most {max} are allowed"),
    ))
}
