//! AMQP over a WebSocket, for networks that let out nothing but port 443.

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Desk;
use crate::amqp;

/// Where it is: some clients end the path with a slash.
pub(super) const PATHS: [&str; 2] = ["/$servicebus/websocket", "/$servicebus/websocket/"];
/// What a client may call the protocol: the standard has one name, Microsoft's clients another.
const PROTOCOLS: [&str; 2] = ["amqp", "AMQPWSB10"];
/// What is under way between the two halves.
const PIPE_BYTES: usize = 64 * 1_024;

/// Answers the handshake, and hands the connection over.
pub(super) async fn open(
    State(hand_over): State<mpsc::Sender<OnUpgrade>>,
    mut request: Request<Body>,
) -> Response<Body> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let asked = header(SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
    let protocol = asked
        .split(',')
        .map(str::trim)
        .find_map(|asked| PROTOCOLS.into_iter().find(|known| *known == asked));
    let accept = header(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let accept = accept.and_then(|accept| HeaderValue::from_str(&accept).ok());
    let mut response = Response::new(Body::empty());
    let (Some(protocol), Some(accept)) = (protocol, accept) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    if hand_over.try_send(hyper::upgrade::on(&mut request)).is_err() {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    }
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    response
}

/// Speaks AMQP inside the messages of a WebSocket, whose bounds mean nothing.
pub(super) async fn serve(upgrade: OnUpgrade, desk: Desk) -> io::Result<()> {
    let upgraded = TokioIo::new(upgrade.await.map_err(io::Error::other)?);
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
    let (inside, outside) = tokio::io::duplex(PIPE_BYTES);
    let (served, carried) = tokio::join!(
        amqp::serve(inside, desk.broker, desk.keys),
        carry(socket, outside)
    );
    served.and(carried)
}

/// Both ways at once: neither side may wait for the other to be read.
async fn carry(
    socket: WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>,
    pipe: impl AsyncRead + AsyncWrite,
) -> io::Result<()> {
    let (mut send, mut receive) = socket.split();
    let (mut read, mut write) = tokio::io::split(pipe);
    let inwards = async {
        while let Some(message) = receive.next().await {
            match message {
                Ok(Message::Binary(bytes)) => write.write_all(&bytes).await?,
                Ok(Message::Text(_)) => return Err(io::Error::other("AMQP is not text")),
                Ok(_) => {}
                Err(Error::ConnectionClosed) => break,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(())
    };
    let outwards = async {
        let mut buffer = BytesMut::new();
        while read.read_buf(&mut buffer).await? > 0 {
            let message = Message::Binary(buffer.split().freeze());
            send.send(message).await.map_err(io::Error::other)?;
        }
        Ok(())
    };
    // Whichever side goes ends it.
    tokio::select! {
        ended = inwards => ended,
        ended = outwards => ended,
    }
}
