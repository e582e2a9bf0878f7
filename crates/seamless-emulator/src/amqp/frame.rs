//! Frames on the wire.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use fe2o3_amqp_types::performatives::Performative;
use serde::Serialize;
use serde_amqp::Value;
use serde_amqp::de::Deserializer;
use serde_amqp::described::Described;
use serde_amqp::primitives::Symbol;
use serde_amqp::read::IoReader;
use tokio::io::{AsyncRead, AsyncReadExt};

pub(crate) const AMQP: u8 = 0;
pub(crate) const SASL: u8 = 1;

/// Largest frame we take, and offer.
pub(crate) const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// A frame that has been read.
pub(crate) struct Frame {
    pub(crate) channel: u16,
    /// Performative and payload.
    pub(crate) body: BytesMut,
}

/// Reads one frame; `None` at the end of the stream. Cancel safe: what was read stays in the buffer.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<Frame>> {
    loop {
        if let Some(size) = buffer.get(..4) {
            let size = size
                .iter()
                .fold(0_usize, |size, byte| size << 8 | usize::from(*byte));
            if !(8..=FRAME_BYTES_MAX as usize).contains(&size) {
                return Err(io::Error::other(format!("a frame of {size} bytes")));
            }
            if buffer.len() >= size {
                let mut frame = buffer.split_to(size);
                frame.advance(4);
                let offset = usize::from(frame.get_u8()) * 4;
                let _kind = frame.get_u8();
                let channel = frame.get_u16();
                if offset < 8 || offset > size {
                    return Err(io::Error::other("a frame with a bad data offset"));
                }
                frame.advance(offset - 8);
                return Ok(Some(Frame { channel, body: frame }));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Takes the performative off a frame; what is left is the payload.
pub(crate) fn performative(body: &mut BytesMut) -> Result<Performative, serde_amqp::Error> {
    let whole = body.clone();
    read_one(body).or_else(|error| {
        // Microsoft's JavaScript client writes strings where symbols belong, as keys of the properties of a dead letter.
        *body = whole;
        let value: Value = read_one(body)?;
        let mended = serde_amqp::to_vec(&with_symbols(value))?;
        serde_amqp::from_slice(&mended).map_err(|_| error)
    })
}

fn read_one<T: serde::de::DeserializeOwned>(body: &mut BytesMut) -> Result<T, serde_amqp::Error> {
    T::deserialize(&mut Deserializer::new(IoReader::new(body.reader())))
}

/// Makes symbols of all strings that are keys.
fn with_symbols(value: Value) -> Value {
    match value {
        Value::Described(described) => Value::Described(Box::new(Described {
            descriptor: described.descriptor,
            value: with_symbols(described.value),
        })),
        Value::List(values) => Value::List(values.into_iter().map(with_symbols).collect()),
        Value::Map(map) => {
            let entries = map.into_iter().map(|(key, value)| match key {
                Value::String(key) => (Value::Symbol(Symbol(key)), value),
                key => (key, value),
            });
            Value::Map(entries.collect())
        }
        other => other,
    }
}

/// Appends a frame.
pub(crate) fn write(out: &mut BytesMut, kind: u8, channel: u16, body: &impl Serialize, payload: &[u8]) {
    let body = serde_amqp::to_vec(body).unwrap_or_default();
    let size = 8 + body.len() + payload.len();
    out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    out.put_u8(2);
    out.put_u8(kind);
    out.put_u16(channel);
    out.put_slice(&body);
    out.put_slice(payload);
}

/// Appends a frame without a body: a sign of life.
pub(crate) fn write_empty(out: &mut BytesMut) {
    out.put_slice(&[0, 0, 0, 8, 2, AMQP, 0, 0]);
}
