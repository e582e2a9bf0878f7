#![doc = include_str!("../README.md")]

mod amqp;
mod broker;
mod clock;
mod faults;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use amqp::Access;
pub use broker::{EntitySettings, Filter, TopicSettings};
pub use clock::{Clock, SystemClock};

use broker::Broker;
use faults::Blow;

/// How an emulator starts.
pub struct Options {
    /// Where AMQP is spoken; loopback only. Port 0 takes any free one.
    pub amqp: SocketAddr,
    /// The key of the namespace.
    pub access: Access,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            amqp: SocketAddr::from(([127, 0, 0, 1], 0)),
            access: Access {
                key_name: "RootManageSharedAccessKey".to_owned(),
                key: "c2VhbWxlc3MtZW11bGF0b3Itbm90LWEtc2VjcmV0".to_owned(),
            },
            clock: Arc::new(SystemClock),
        }
    }
}

/// A namespace on loopback. It ends, with everything in it, when it is dropped.
pub struct Emulator {
    broker: Arc<Broker>,
    access: Arc<Access>,
    amqp: SocketAddr,
    _tasks: JoinSet<()>,
}

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 1_000;

impl Emulator {
    /// Starts an empty namespace.
    pub async fn start(options: Options) -> std::io::Result<Emulator> {
        if !options.amqp.ip().is_loopback() {
            let reason = format!(
                "{} is not a loopback address: the emulator has no TLS",
                options.amqp
            );
            return Err(std::io::Error::other(reason));
        }
        let listener = TcpListener::bind(options.amqp).await?;
        let amqp = listener.local_addr()?;
        let broker = Arc::new(Broker::new(options.clock));
        let access = Arc::new(options.access);
        let mut tasks = JoinSet::new();
        let (for_time, for_peers, key) = (broker.clone(), broker.clone(), access.clone());
        tasks.spawn(async move { for_time.keep_time().await });
        tasks.spawn(async move { listen(listener, for_peers, key).await });
        Ok(Emulator {
            broker,
            access,
            amqp,
            _tasks: tasks,
        })
    }

    /// Where AMQP is spoken.
    pub fn amqp_address(&self) -> SocketAddr {
        self.amqp
    }

    /// What a client connects with.
    pub fn connection_string(&self) -> String {
        format!(
            "Endpoint=sb://localhost:{};SharedAccessKeyName={};SharedAccessKey={};UseDevelopmentEmulator=true",
            self.amqp.port(),
            self.access.key_name,
            self.access.key
        )
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

    /// Answers the next sends with `server-busy`.
    pub fn be_busy(&self, sends: usize) {
        self.broker.faults.set_busy(sends);
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

    /// Forgets every lock on an entity.
    pub fn lose_locks(&self, path: &str) {
        if let Ok(store) = self.broker.state().0.store(path) {
            store.lose_locks();
        }
        self.broker.announce();
    }
}

async fn listen(listener: TcpListener, broker: Arc<Broker>, access: Arc<Access>) {
    let mut peers = JoinSet::new();
    loop {
        while peers.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) if peers.len() < CONNECTIONS_MAX => {
                let (broker, access) = (broker.clone(), access.clone());
                peers.spawn(async move {
                    if let Err(error) = amqp::serve(stream, broker, access).await {
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
