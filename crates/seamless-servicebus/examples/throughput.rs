//! How fast messages are sent over AMQP, to the emulator in this process: one at a time and a hundred under way, beside a bare loop on the AMQP
//! library with the same window. `cargo run --release -p seamless-servicebus --example throughput [messages]`
#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::{Connection, Sender, Session};
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Data, Message, MessageId as AmqpId, Outcome, Properties,
};
use fe2o3_amqp_types::primitives::SimpleValue;
use seamless_core::memory::MemoryStore;
use seamless_core::{Bus, Clock, MessageId, Outgoing, Timestamp};
use seamless_emulator::{Access, Emulator, EntitySettings, Filter, Options, TopicSettings};
use seamless_servicebus::{ConnectionString, ServiceBus, Settings};
use serde_amqp::primitives::OrderedMap;
use serde_bytes::ByteBuf;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Sends under way at a time, as the bus has it.
const WINDOW: usize = 100;
const BODY_BYTES: usize = 1_024;
/// A send that takes longer hangs.
const HANG: Duration = Duration::from_secs(5);
/// Bare and ours take turns, so that both meet the same machine.
const ROUNDS: usize = 5;

struct Machine(Instant);

#[async_trait]
impl Clock for Machine {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let (bare, ours) = pipelined(count).await?;
    let (sequential, slowest) = sequential(count).await?;
    println!("{count} messages of {BODY_BYTES} bytes each way");
    println!("bare loop, window {WINDOW}    {bare:>8.0} a second");
    println!(
        "bus, window {WINDOW}          {ours:>8.0} a second, {:.0} % of the bare loop",
        ours / bare * 100.0
    );
    println!(
        "bus, one at a time       {sequential:>8.0} a second, {:.1} times slower; slowest {} ms; none hung",
        ours / sequential,
        slowest.as_millis()
    );
    Ok(())
}

/// An emulator with a topic that drops duplicates and one subscription.
async fn emulator() -> Result<Emulator, Box<dyn Error>> {
    let emulator = Emulator::start(Options::default()).await?;
    let topic = TopicSettings {
        duplicate_window: Some(Duration::from_secs(600)),
        ..TopicSettings::default()
    };
    emulator.create_topic("tenant", topic);
    let settings = EntitySettings {
        requires_session: true,
        ..EntitySettings::default()
    };
    let filter = Filter::Correlation(BTreeMap::from([("label".to_owned(), "crm".to_owned())]));
    emulator.create_subscription("tenant", "crm", settings, filter);
    Ok(emulator)
}

fn bus(emulator: &Emulator) -> Result<ServiceBus, Box<dyn Error>> {
    let settings = Settings {
        connection: ConnectionString::parse(&emulator.connection_string())?,
        manage: None,
        identity: None,
        extra_roots: Vec::new(),
        topic: "tenant".to_owned(),
        lock_duration: Duration::from_secs(60),
        message_bytes_max: 256 * 1024,
    };
    let clock = Arc::new(Machine(Instant::now()));
    Ok(ServiceBus::new(settings, clock, Arc::new(MemoryStore::new()))?)
}

fn outgoing(number: usize) -> Outgoing {
    Outgoing {
        id: MessageId(format!("ours-{number}")),
        subscription: "crm".to_owned(),
        lane: format!("{:02x}", number % 256),
        body: vec![7; BODY_BYTES],
    }
}

/// Messages a second: the bare loop, and the bus.
async fn pipelined(count: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let emulator = emulator().await?;
    let bus = bus(&emulator)?;
    let batch = bus.limits().publish_batch_max;
    let each = count / ROUNDS;
    let (mut bare, mut ours) = (Duration::ZERO, Duration::ZERO);
    // Connected before the watch runs.
    bus.publish(vec![outgoing(usize::MAX)]).await?;
    for round in 0..ROUNDS {
        let numbers = round * each..(round + 1) * each;
        bare += bare_loop(&emulator, numbers.clone()).await?;
        let started = Instant::now();
        let mut numbers = numbers.peekable();
        while numbers.peek().is_some() {
            bus.publish(numbers.by_ref().take(batch).map(outgoing).collect())
                .await?;
        }
        ours += started.elapsed();
    }
    let sent = (each * ROUNDS) as f64;
    Ok((sent / bare.as_secs_f64(), sent / ours.as_secs_f64()))
}

/// The library alone: a sender, a window, nothing else.
async fn bare_loop(emulator: &Emulator, numbers: std::ops::Range<usize>) -> Result<Duration, Box<dyn Error>> {
    let stream = TcpStream::connect(emulator.amqp_address()).await?;
    stream.set_nodelay(true)?;
    let Access { key_name, key, .. } = Options::default().access;
    let mut connection = Connection::builder()
        .container_id("bare")
        .hostname("localhost")
        .sasl_profile(SaslProfile::Plain {
            username: key_name,
            password: key,
        })
        .open_with_stream(stream)
        .await?;
    let mut session = Session::begin(&mut connection).await?;
    let mut sender = Sender::attach(&mut session, "bare", "tenant").await?;
    let started = Instant::now();
    let mut under_way = VecDeque::new();
    for number in numbers {
        if under_way.len() >= WINDOW
            && let Some(oldest) = under_way.pop_front()
        {
            accepted(oldest).await?;
        }
        under_way.push_back(sender.send_batchable(bare_message(number)).await?);
    }
    for sent in under_way {
        accepted(sent).await?;
    }
    let taken = started.elapsed();
    sender.close().await?;
    session.end().await?;
    connection.close().await?;
    Ok(taken)
}

async fn accepted(
    sent: impl Future<Output = Result<Outcome, fe2o3_amqp::link::SendError>>,
) -> Result<(), Box<dyn Error>> {
    match sent.await? {
        Outcome::Accepted(_) => Ok(()),
        other => Err(format!("the broker answered {other:?}").into()),
    }
}

/// As the bus has it on the wire.
fn bare_message(number: usize) -> Message<Data> {
    let mut own = OrderedMap::new();
    own.insert(
        "seamless-id".to_owned(),
        SimpleValue::String(format!("bare-{number}")),
    );
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(Properties {
            message_id: Some(AmqpId::String(format!("crm/bare-{number}"))),
            subject: Some("crm".to_owned()),
            group_id: Some(format!("{:02x}", number % 256)),
            ..Properties::default()
        }),
        application_properties: Some(ApplicationProperties(own)),
        body: Data(ByteBuf::from(vec![7; BODY_BYTES])),
        footer: None,
    }
}

/// Messages a second, each sent when the one before has been accepted; and the slowest of them.
async fn sequential(count: usize) -> Result<(f64, Duration), Box<dyn Error>> {
    let emulator = emulator().await?;
    let bus = bus(&emulator)?;
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 0..count {
        let before = Instant::now();
        let sent = tokio::time::timeout(HANG, bus.publish(vec![outgoing(number)])).await;
        sent.map_err(|_| format!("send {number} hung"))??;
        slowest = slowest.max(before.elapsed());
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let there = bus.depth("crm").await?;
    if there != count as u64 {
        return Err(format!("{count} were sent, {there} are there").into());
    }
    Ok((rate, slowest))
}
