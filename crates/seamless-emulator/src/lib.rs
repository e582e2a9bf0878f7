#![doc = include_str!("../README.md")]

mod amqp;
mod broker;
mod clock;
mod faults;
mod http;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use amqp::Access;
pub use broker::{EntitySettings, Filter, Tier, TopicSettings};
pub use clock::{Clock, SystemClock};

use amqp::Keys;
use broker::Broker;
use faults::Blow;
use http::Desk;

/// How an emulator starts.
pub struct Options {
    /// Where AMQP is spoken; loopback only. Port 0 takes any free one.
    pub amqp: SocketAddr,
    /// Where the management of entities, the HTTP form of sending and receiving, and AMQP over a WebSocket are; loopback only. Port 0 takes any free
    /// one.
    pub http: SocketAddr,
    /// The key of the namespace, with every right.
    pub access: Access,
    /// What the namespace can do.
    pub tier: Tier,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            amqp: SocketAddr::from(([127, 0, 0, 1], 0)),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            access: Access {
                key_name: "RootManageSharedAccessKey".to_owned(),
                key: "c2VhbWxlc3MtZW11bGF0b3Itbm90LWEtc2VjcmV0".to_owned(),
                manage: true,
            },
            tier: Tier::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A namespace on loopback. It ends, with everything in it, when it is dropped.
pub struct Emulator {
    broker: Arc<Broker>,
    keys: Arc<Keys>,
    amqp: SocketAddr,
    http: SocketAddr,
    _tasks: JoinSet<()>,
}

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 1_000;
/// The name of the key that may only send and listen.
const SEND_AND_LISTEN: &str = "SendAndListen";

impl Emulator {
    /// Starts an empty namespace.
    pub async fn start(options: Options) -> std::io::Result<Emulator> {
        for address in [options.amqp, options.http] {
            if !address.ip().is_loopback() {
                let reason = format!("{address} is not a loopback address: the emulator has no TLS");
                return Err(std::io::Error::other(reason));
            }
        }
        let listener = TcpListener::bind(options.amqp).await?;
        let amqp = listener.local_addr()?;
        let http_listener = TcpListener::bind(options.http).await?;
        let http = http_listener.local_addr()?;
        let broker = Arc::new(Broker::new(options.clock));
        // Every key but the first may only send and listen: what a host needs.
        let limited = Access {
            key_name: SEND_AND_LISTEN.to_owned(),
            key: options.access.key.chars().rev().collect(),
            manage: false,
        };
        let keys = Arc::new(Keys {
            access: vec![options.access, limited],
            foreign: Mutex::default(),
        });
        let desk = Desk {
            broker: broker.clone(),
            keys: keys.clone(),
            tier: options.tier,
        };
        let mut tasks = JoinSet::new();
        let for_time = broker.clone();
        tasks.spawn(async move { for_time.keep_time().await });
        let peer = desk.clone();
        tasks.spawn(listen(listener, move |stream| {
            let (broker, keys) = (peer.broker.clone(), peer.keys.clone());
            async move {
                stream.set_nodelay(true)?;
                amqp::serve(stream, broker, keys).await
            }
        }));
        tasks.spawn(listen(http_listener, move |stream| {
            http::serve(stream, desk.clone())
        }));
        Ok(Emulator {
            broker,
            keys,
            amqp,
            http,
            _tasks: tasks,
        })
    }

    /// Where AMQP is spoken.
    pub fn amqp_address(&self) -> SocketAddr {
        self.amqp
    }

    /// Where entities are managed, and messages sent and received over HTTP.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// What a client connects with over AMQP.
    pub fn connection_string(&self) -> String {
        self.string_for(self.amqp, 0)
    }

    /// What a client connects with over HTTP: to manage entities, or to send and receive.
    pub fn http_connection_string(&self) -> String {
        self.string_for(self.http, 0)
    }

    /// As [`Emulator::connection_string`] and [`Emulator::http_connection_string`], with the rights Send and Listen only.
    pub fn limited_connection_strings(&self) -> [String; 2] {
        [self.string_for(self.amqp, 1), self.string_for(self.http, 1)]
    }

    fn string_for(&self, address: SocketAddr, key: usize) -> String {
        let access = &self.keys.access[key];
        format!(
            "Endpoint=sb://localhost:{};SharedAccessKeyName={};SharedAccessKey={};UseDevelopmentEmulator=true",
            address.port(),
            access.key_name,
            access.key
        )
    }

    /// Takes a token of an identity provider from now on, for everything. What it says is not looked at.
    pub fn accept_token(&self, token: &str) {
        let mut foreign = self.keys.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        foreign.insert(token.to_owned());
    }

    /// Makes a queue, or makes it anew.
    pub fn create_queue(&self, name: &str, settings: EntitySettings) {
        self.broker.state().0.create_queue(name, settings);
    }

    /// Makes a topic, or makes it anew.
    pub fn create_topic(&self, name: &str, settings: TopicSettings) {
        self.broker.state().0.create_topic(name, settings);
    }

    /// Makes a subscription with one rule. False when there is no such topic.
    pub fn create_subscription(
        &self,
        topic: &str,
        name: &str,
        settings: EntitySettings,
        filter: Filter,
    ) -> bool {
        let rules = [("$Default".to_owned(), filter)];
        let (mut state, _) = self.broker.state();
        state.create_subscription(topic, name, settings, rules).is_ok()
    }

    /// Messages of a queue or subscription (`topic/Subscriptions/name`, `…/$DeadLetterQueue`): active, deferred, scheduled.
    pub fn counts(&self, path: &str) -> Option<[usize; 3]> {
        let (mut state, _) = self.broker.state();
        let store = state.store(path).ok()?;
        Some([0, 1, 2].map(|kind| store.count(kind)))
    }

    /// Refuses everything at an entity, or takes it again.
    pub fn set_disabled(&self, path: &str, disabled: bool) {
        self.broker.state().0.set_disabled(path, disabled);
    }

    /// Takes an entity away with everything in it. False when there is none.
    pub fn remove(&self, path: &str) -> bool {
        self.broker.state().0.remove(path).is_ok()
    }

    /// The largest message that a topic takes from now on.
    pub fn set_message_bytes_max(&self, topic: &str, bytes: u64) {
        if let Some(settings) = self.broker.state().0.topic_settings(topic) {
            settings.message_bytes_max = bytes;
        }
    }

    /// Most messages that an entity keeps from now on; what is sent beyond is refused as over its quota.
    pub fn set_quota(&self, path: &str, messages: usize) {
        self.broker.state().0.set_depth_max(path, messages);
    }

    /// Answers the next sends with `server-busy`.
    pub fn be_busy(&self, sends: usize) {
        self.broker.faults.set_busy(sends);
    }

    /// Answers the next attaches of entities and requests to them with `server-busy`.
    pub fn be_busy_at_links(&self, times: usize) {
        self.broker.faults.set_busy_links(times);
    }

    /// Lets whoever asks for a session wait for one for a minute, whatever wait was asked for.
    pub fn be_patient(&self) {
        self.broker.faults.set_patient();
    }

    /// Keeps the next sends, and never answers them.
    pub fn swallow_answers(&self, sends: usize) {
        self.broker.faults.set_swallow(sends);
    }

    /// Waits before each frame it handles.
    pub fn be_slow(&self, delay: Duration) {
        self.broker.faults.set_slow(delay);
    }

    /// Closes every connection without a word.
    pub fn kill_connections(&self) {
        self.broker.faults.strike(Blow::Kill);
    }

    /// Detaches every link.
    pub fn detach_links(&self) {
        self.broker.faults.strike(Blow::Detach);
    }

    /// Waits until every connection has met the kills and detaches so far.
    pub async fn blows_landed(&self) {
        self.broker.faults.landed().await;
    }

    /// Forgets every lock on an entity.
    pub fn lose_locks(&self, path: &str) {
        if let Ok(store) = self.broker.state().0.store(path) {
            store.lose_locks();
        }
        self.broker.announce();
    }
}

async fn listen<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let mut peers = JoinSet::new();
    loop {
        while peers.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) if peers.len() < CONNECTIONS_MAX => {
                let serving = serve(stream);
                peers.spawn(async move {
                    if let Err(error) = serving.await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
            }
            Ok(_) => tracing::warn!("too many connections: one was refused"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
