//! One connection: opened, authorised, and given up as a whole when something on it fails.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection as Amqp, Sender, Session};
use fe2o3_amqp_types::primitives::SimpleValue;
use fe2o3_amqp_ws::WebSocketStream;
use futures::FutureExt;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use seamless_core::{Clock, Effect, Result, Secret};
use serde_amqp::Value;
use serde_amqp::primitives::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::access::ConnectionString;
use crate::bus::Transport;
use crate::bus::to_the_end;
use crate::failure::{broken, of_open, of_sender_attach, timed_out};
use crate::identity::Tokens;
use crate::requests::{ANSWER_WAIT, Requests};

/// How long a token is good for; it is renewed when half of that is over.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3_600);
/// How long connecting may take.
const CONNECT_WAIT: Duration = Duration::from_secs(20);
const PORT_PLAIN: u16 = 5672;
const PORT_TLS: u16 = 5671;
const PORT_HTTP_PLAIN: u16 = 5300;
const PORT_HTTPS: u16 = 443;
/// Where the service speaks AMQP over a WebSocket.
const WEBSOCKET_PATH: &str = "/$servicebus/websocket";

/// What a connection is opened with.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) access: ConnectionString,
    pub(crate) transport: Transport,
    /// Certificates that are trusted besides the machine's.
    pub(crate) extra_roots: Vec<CertificateDer<'static>>,
    /// Who we are, where the connection string has no key.
    pub(crate) tokens: Option<Arc<Tokens>>,
}

/// A connection with the links that everybody shares.
pub(crate) struct Connection {
    door: Door,
    clock: Arc<dyn Clock>,
    broken: AtomicBool,
    next: AtomicU64,
    /// When the token for a path has to be renewed: when half of its time is over.
    tokens: Mutex<BTreeMap<String, Duration>>,
    cbs: Requests,
    sender: Mutex<Option<Arc<Mutex<Sender>>>>,
    managements: Mutex<BTreeMap<String, Arc<Requests>>>,
    session: Mutex<SessionHandle<()>>,
    handle: Mutex<ConnectionHandle<()>>,
}

impl Connection {
    pub(crate) async fn open(door: Door, clock: Arc<dyn Clock>) -> Result<Connection> {
        let opening = tokio::time::timeout(CONNECT_WAIT, Self::open_at_once(door, clock)).await;
        opening.map_err(|_| timed_out("connect"))?
    }

    async fn open_at_once(door: Door, clock: Arc<dyn Clock>) -> Result<Connection> {
        let access = &door.access;
        let host = access.host.trim_matches(['[', ']']);
        let port = access.port.unwrap_or(match (door.transport, access.plain) {
            (Transport::Tcp, true) => PORT_PLAIN,
            (Transport::Tcp, false) => PORT_TLS,
            (Transport::WebSocket, true) => PORT_HTTP_PLAIN,
            (Transport::WebSocket, false) => PORT_HTTPS,
        });
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| broken("connect", &error).with("host", host))?;
        // Without it many operations wait for the other side's delayed acknowledgement.
        stream
            .set_nodelay(true)
            .map_err(|error| broken("connect", &error))?;
        let name = format!("seamless-{}-{}", std::process::id(), clock.now().0);
        let builder = Amqp::builder()
            .container_id(name)
            .hostname(access.host.as_str())
            .sasl_profile(SaslProfile::Anonymous);
        let mut stream: Box<dyn Stream> = if access.plain {
            Box::new(stream)
        } else {
            Box::new(encrypted(host, stream, &door.extra_roots).await?)
        };
        if door.transport == Transport::WebSocket {
            stream = websocket(access, stream).await?;
        }
        let opened = builder.open_with_stream(stream).await;
        let mut handle = opened.map_err(|error| of_open(&error))?;
        let mut session = Session::begin(&mut handle)
            .await
            .map_err(|error| broken("begin", &error))?;
        let cbs = Requests::attach(&mut session, "$cbs", "cbs").await?;
        Ok(Connection {
            door,
            clock,
            broken: AtomicBool::new(false),
            next: AtomicU64::new(1),
            tokens: Mutex::default(),
            cbs,
            sender: Mutex::new(None),
            managements: Mutex::default(),
            session: Mutex::new(session),
            handle: Mutex::new(handle),
        })
    }

    /// Whether it has to be replaced.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst) || self.handle.try_lock().is_ok_and(|handle| handle.is_closed())
    }

    /// Gives it up: the next operation opens another one.
    pub(crate) fn give_up(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// A name for a link, never the same twice.
    pub(crate) fn name(&self, purpose: &str) -> String {
        format!("{purpose}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A session of its own for a consumer.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<SessionHandle<()>> {
        let connection = self.clone();
        to_the_end(async move {
            let mut handle = connection.handle.lock().await;
            let beginning = tokio::time::timeout(ANSWER_WAIT, Session::begin(&mut handle)).await;
            beginning
                .map_err(|_| timed_out("begin"))?
                .map_err(|error| broken("begin", &error))
        })
        .await
    }

    /// Shows a token for a path, unless the last one is fresh.
    pub(crate) async fn authorise(&self, path: &str) -> Result<()> {
        let mut tokens = self.tokens.lock().await;
        let now = self.clock.monotonic();
        if tokens.get(path).is_some_and(|renew_at| now < *renew_at) {
            return Ok(());
        }
        let audience = self.door.access.audience(path);
        let (kind, token, lifetime) = match &self.door.tokens {
            Some(tokens) => {
                let token = tokens.token().await?;
                ("jwt", token.text, token.lifetime)
            }
            None => {
                let until = self.clock.now().plus(TOKEN_LIFETIME).0 / 1_000_000;
                let token = self.door.access.sign(&audience, until)?;
                (
                    "servicebus.windows.net:sastoken",
                    Secret::new(token),
                    TOKEN_LIFETIME,
                )
            }
        };
        let expiry = Timestamp::from_milliseconds(self.clock.now().plus(lifetime).0 / 1_000);
        let properties = vec![
            ("type", SimpleValue::String(kind.to_owned())),
            ("name", SimpleValue::String(audience)),
            ("expiration", SimpleValue::Timestamp(expiry)),
        ];
        let token = token.expose().to_owned();
        self.cbs
            .call("put-token", properties, Value::String(token))
            .await?;
        tokens.insert(path.to_owned(), now.saturating_add(lifetime / 2));
        Ok(())
    }

    /// The sending link of a topic.
    pub(crate) async fn sender(&self, topic: &str) -> Result<Arc<Mutex<Sender>>> {
        self.authorise(topic).await?;
        let mut sender = self.sender.lock().await;
        if let Some(sender) = &*sender {
            // The broker detaches links that were idle for long. Who is sending at this moment finds out by itself.
            let gone = sender
                .try_lock()
                .is_ok_and(|mut sender| sender.on_detach().now_or_never().is_some());
            if !gone {
                return Ok(sender.clone());
            }
        }
        let mut session = self.session.lock().await;
        let attaching = Sender::attach(&mut session, self.name("send"), topic);
        let attached = tokio::time::timeout(ANSWER_WAIT, attaching)
            .await
            .map_err(|_| timed_out(topic))?
            .map_err(|error| of_sender_attach(topic, &error))?;
        let attached = Arc::new(Mutex::new(attached));
        *sender = Some(attached.clone());
        Ok(attached)
    }

    /// The management node of an entity. An entity that does not exist is an error here, and nowhere else: what is sent to a topic for a
    /// subscription that is not there is gone.
    pub(crate) async fn management(self: &Arc<Self>, path: &str) -> Result<Arc<Requests>> {
        let (connection, path) = (self.clone(), path.to_owned());
        to_the_end(async move { connection.attach_management(&path).await }).await
    }

    async fn attach_management(&self, path: &str) -> Result<Arc<Requests>> {
        self.authorise(path).await?;
        let mut managements = self.managements.lock().await;
        if let Some(requests) = managements.get(path)
            && !requests.is_gone()
        {
            return Ok(requests.clone());
        }
        let mut session = self.session.lock().await;
        let node = format!("{path}/$management");
        let requests = Arc::new(Requests::attach(&mut session, &node, &self.name("manage")).await?);
        managements.insert(path.to_owned(), requests.clone());
        Ok(requests)
    }
}

/// A stream of any kind.
trait Stream: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Stream for S {}

/// The handshake of a WebSocket, on a stream that has its TLS already.
async fn websocket(access: &ConnectionString, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>> {
    let scheme = if access.plain { "ws" } else { "wss" };
    let port = access.port.map(|port| format!(":{port}")).unwrap_or_default();
    let address = format!("{scheme}://{}{port}{WEBSOCKET_PATH}", access.host);
    match WebSocketStream::connect_with_stream(address, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(broken("WebSocket", &error)
            .with("host", &access.host)
            .effect(Effect::NotApplied)),
    }
}

/// TLS from the first byte, with the certificates that the machine trusts, and those that were named.
async fn encrypted(
    host: &str,
    stream: TcpStream,
    extra_roots: &[CertificateDer<'static>],
) -> Result<TlsStream<TcpStream>> {
    let failed = |reason: &dyn std::fmt::Debug| {
        broken("TLS", reason)
            .with("host", host)
            .effect(Effect::NotApplied)
    };
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra_roots.iter().cloned(), provider.clone());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier.map_err(|error| failed(&error))?))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| failed(&error))
}
