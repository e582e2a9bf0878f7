//! The first exchange: who is there. Tokens come later, over `$cbs`, except with PLAIN.

use std::io;

use bytes::BytesMut;
use fe2o3_amqp_types::sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome};
use serde_amqp::primitives::{Array, Symbol};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame;
use super::token::Keys;

const MECHANISMS: [&str; 4] = ["ANONYMOUS", "PLAIN", "MSSBCBS", "EXTERNAL"];
const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";
const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";

/// Gets a connection to the point where AMQP begins. True when a key was shown, so that no token is needed.
pub(crate) async fn welcome<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    keys: &Keys,
) -> io::Result<bool> {
    let mut trusted = false;
    if header(stream, buffer).await? == SASL_HEADER {
        stream.write_all(&SASL_HEADER).await?;
        let mut out = BytesMut::new();
        let offer = SaslMechanisms {
            sasl_server_mechanisms: Array(MECHANISMS.map(Symbol::from).to_vec()),
        };
        frame::write(&mut out, frame::SASL, 0, &offer, &[]);
        stream.write_all(&out).await?;
        let Some(answer) = frame::read(stream, buffer).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let init: SaslInit = serde_amqp::from_slice(&answer.body).map_err(io::Error::other)?;
        let code = match init.mechanism.as_str() {
            "PLAIN" => {
                let response = init.initial_response.unwrap_or_default();
                trusted = keys.opens(&response);
                if trusted { SaslCode::Ok } else { SaslCode::Auth }
            }
            known if MECHANISMS.contains(&known) => SaslCode::Ok,
            _ => SaslCode::Auth,
        };
        let refused = code == SaslCode::Auth;
        let outcome = SaslOutcome {
            code,
            additional_data: None,
        };
        let mut out = BytesMut::new();
        frame::write(&mut out, frame::SASL, 0, &outcome, &[]);
        stream.write_all(&out).await?;
        if refused {
            return Err(io::Error::other("SASL refused"));
        }
        if header(stream, buffer).await? != AMQP_HEADER {
            return Err(io::Error::other("no AMQP header after SASL"));
        }
    }
    stream.write_all(&AMQP_HEADER).await?;
    Ok(trusted)
}

async fn header(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<[u8; 8]> {
    while buffer.len() < 8 {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut header = [0; 8];
    header.copy_from_slice(&buffer.split_to(8));
    if header != SASL_HEADER && header != AMQP_HEADER {
        return Err(io::Error::other("the peer does not speak AMQP 1.0"));
    }
    Ok(header)
}
