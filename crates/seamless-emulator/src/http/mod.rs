//! What Service Bus speaks over HTTP: the management of entities (Atom entries), the sending and receiving of messages, and AMQP over a
//! WebSocket. Without TLS here.

mod description;
mod manage;
mod messages;
mod place;
mod span;
mod websocket;
mod xml;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use quick_xml::escape::escape;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::amqp::{Access, Keys, unescape};
use crate::broker::{Broker, Tier};
use crate::faults::Blow;
use manage::Refused;
use place::{Place, place};

/// Largest body: a batch of the Premium tier.
const BODY_BYTES_MAX: usize = 2 << 20;

/// What every call is answered from.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) broker: Arc<Broker>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) tier: Tier,
}

/// One call, read.
struct Call<'a> {
    method: Method,
    /// As the caller addressed it.
    url: String,
    query: Option<String>,
    headers: HeaderMap,
    body: &'a Bytes,
    /// Whether something that exists is to be changed.
    if_match: bool,
    tier: Tier,
    broker: &'a Broker,
}

/// An answer that is not a refusal.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(String, String)>,
    location: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    fn atom(status: StatusCode, body: String) -> Answer {
        Answer {
            content_type: "application/atom+xml;type=entry;charset=utf-8",
            body: body.into_bytes(),
            ..Answer::empty(status)
        }
    }

    fn empty(status: StatusCode) -> Answer {
        Answer {
            status,
            content_type: "text/plain",
            headers: Vec::new(),
            location: None,
            body: Vec::new(),
        }
    }
}

impl Call<'_> {
    fn query(&self, key: &str) -> Option<String> {
        let pairs = self.query.as_deref()?.split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(name, value)| unescape(name).eq_ignore_ascii_case(key).then(|| unescape(value)))
    }
}

/// Answers a peer until it goes, or until a fault ends the connection.
pub(crate) async fn serve(stream: TcpStream, desk: Desk) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut blows = desk.broker.faults.listen();
    // At most one: after it the connection speaks HTTP no more.
    let (hand_over, mut handed_over) = mpsc::channel(1);
    let router = Router::new()
        .route(websocket::PATHS[0], get(websocket::open))
        .route(websocket::PATHS[1], get(websocket::open))
        .with_state(hand_over)
        .fallback_service(Router::new().fallback(answer).with_state(desk.clone()));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(serving);
    loop {
        tokio::select! {
            ended = &mut serving => {
                ended.map_err(io::Error::other)?;
                break;
            }
            blow = blows.recv() => {
                desk.broker.faults.met();
                if matches!(blow, Ok(Blow::Kill)) {
                    return Ok(());
                }
            }
        }
    }
    drop(blows);
    match handed_over.try_recv() {
        Ok(upgrade) => websocket::serve(upgrade, desk).await,
        Err(_) => Ok(()),
    }
}

async fn answer(State(desk): State<Desk>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let delay = desk.broker.faults.delay();
    if !delay.is_zero() {
        desk.broker.clock.sleep(delay).await;
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let path_and_query = parts.uri.path_and_query().map_or("/", |whole| whole.as_str());
    let url = format!("http://{}{path_and_query}", host.unwrap_or("localhost"));
    let outcome = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => {
            let call = Call {
                method: parts.method,
                url,
                query: parts.uri.query().map(str::to_owned),
                if_match: parts.headers.contains_key(IF_MATCH),
                headers: parts.headers,
                body: &body,
                tier: desk.tier,
                broker: &desk.broker,
            };
            carry_out(&call, parts.uri.path(), &desk.keys).await
        }
        Err(_) => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is too large".to_owned(),
        )),
    };
    outcome.map_or_else(refused, told)
}

async fn carry_out(call: &Call<'_>, path: &str, keys: &Keys) -> Result<Answer, Refused> {
    let access = authorised(call, keys)?;
    let Some(place) = place(path) else {
        return Err((
            StatusCode::NOT_FOUND,
            "SubCode=40400. Not Found. There is nothing of that name".to_owned(),
        ));
    };
    match &place {
        Place::Messages(_) | Place::Head(_) | Place::Locked(..) => messages::answer(call, &place).await,
        _ if !access.manage => Err((
            StatusCode::UNAUTHORIZED,
            "SubCode=40100. Unauthorized. The key lacks the right Manage".to_owned(),
        )),
        _ => manage::answer(call, &place),
    }
}

fn authorised<'k>(call: &Call<'_>, keys: &'k Keys) -> Result<&'k Access, Refused> {
    let token = call
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = token.ok_or_else(|| {
        let reason = "MissingToken: the authorization header was not found";
        (StatusCode::UNAUTHORIZED, reason.to_owned())
    })?;
    if let Some(token) = token.strip_prefix("Bearer ") {
        // Of an identity with every role.
        keys.check_foreign(token)
            .map_err(|reason| (StatusCode::UNAUTHORIZED, reason))?;
        return Ok(&keys.access[0]);
    }
    keys.check(token, call.broker.clock.now_micros())
        .map(|(access, _)| access)
        .map_err(|reason| (StatusCode::UNAUTHORIZED, reason))
}

fn told(answer: Answer) -> Response<Body> {
    let mut builder = Response::builder().status(answer.status);
    if !answer.body.is_empty() {
        builder = builder.header(CONTENT_TYPE, answer.content_type);
    }
    if let Some(location) = answer.location {
        builder = builder.header(LOCATION, location);
    }
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    builder.body(Body::from(answer.body)).unwrap_or_else(|_| {
        refused((
            StatusCode::INTERNAL_SERVER_ERROR,
            "a property cannot be written as a header".to_owned(),
        ))
    })
}

fn refused((status, reason): Refused) -> Response<Body> {
    let text = format!(
        "<Error><Code>{}</Code><Detail>{}</Detail></Error>",
        status.as_u16(),
        escape(reason.as_str())
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let xml = axum::http::HeaderValue::from_static("application/xml; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, xml);
    response
}
