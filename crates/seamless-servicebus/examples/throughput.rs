//! How fast messages are sent over AMQP, to the emulator in this process: one at a time and a hundred under way, beside a bare loop on the AMQP
//! library with the same window. First on loopback, where an answer takes no time, then over a wire as long as one to Azure is.
//! `cargo run --release -p seamless-servicebus --example throughput [messages]`
#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
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
use seamless_servicebus::{ConnectionString, ServiceBus, Settings, Transport};
use serde_amqp::primitives::OrderedMap;
use serde_bytes::ByteBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Sends under way at a time, as the bus has it.
const WINDOW: usize = 100;
const BODY_BYTES: usize = 1_024;
/// A send that takes longer hangs.
const HANG: Duration = Duration::from_secs(5);
/// Bare and ours take turns, so that both meet the same machine; what counts is the median of the pairs.
const ROUNDS: usize = 20;

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

/// How long an answer takes on the way, there and back: loopback, the same region, another one.
const ROUND_TRIPS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(20),
];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    println!("messages of {BODY_BYTES} bytes a second, window {WINDOW}");
    println!("round trip   bare loop         bus          one at a time          slowest");
    for round_trip in ROUND_TRIPS {
        // One at a time takes as many round trips as there are messages: fewer of them on a long wire.
        let singles = match round_trip.as_millis() {
            0 => count,
            millis => (count / (10 * millis as usize)).max(100),
        };
        let (bare, ours, share) = pipelined(count, round_trip).await?;
        let (sequential, slowest) = sequential(singles, round_trip).await?;
        println!(
            "{:>7} ms   {bare:>9.0}   {ours:>9.0} ({:>3.0} %)   {sequential:>9.0} (1 : {:.1})   {:>9} ms",
            round_trip.as_millis(),
            share * 100.0,
            ours / sequential,
            slowest.as_millis()
        );
    }
    println!("none hung");
    Ok(())
}

/// Where the emulator is over a wire of that length.
async fn over(round_trip: Duration, address: SocketAddr) -> io::Result<SocketAddr> {
    if round_trip.is_zero() {
        return Ok(address);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let far = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(away) = TcpStream::connect(address).await else {
                return;
            };
            // Without it the system's own waiting is measured.
            drop((near.set_nodelay(true), away.set_nodelay(true)));
            let (near, away) = (near.into_split(), away.into_split());
            tokio::spawn(carry(near.0, away.1, round_trip / 2));
            tokio::spawn(carry(away.0, near.1, round_trip / 2));
        }
    });
    Ok(far)
}

/// Hands on what comes, each piece when it has been on the way for that long.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (put, mut take) = mpsc::channel::<(Instant, Vec<u8>)>(10_000);
    tokio::spawn(async move {
        while let Some((due, bytes)) = take.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(length) = from.read(&mut buffer).await
        && length > 0
    {
        let piece = (Instant::now() + delay, buffer[..length].to_vec());
        if put.send(piece).await.is_err() {
            return;
        }
    }
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

fn bus(emulator: &Emulator, at: SocketAddr) -> Result<ServiceBus, Box<dyn Error>> {
    let port = |address: SocketAddr| format!(":{};", address.port());
    let connection = emulator
        .connection_string()
        .replace(&port(emulator.amqp_address()), &port(at));
    let settings = Settings {
        connection: ConnectionString::parse(&connection)?,
        manage: None,
        identity: None,
        extra_roots: Vec::new(),
        transport: Transport::Tcp,
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

/// Messages a second: the bare loop, and the bus; and what part the bus reaches, as a median.
async fn pipelined(count: usize, round_trip: Duration) -> Result<(f64, f64, f64), Box<dyn Error>> {
    let emulator = emulator().await?;
    let at = over(round_trip, emulator.amqp_address()).await?;
    let bus = bus(&emulator, at)?;
    let batch = bus.limits().publish_batch_max;
    let each = count / ROUNDS;
    let (mut bare, mut ours) = (Duration::ZERO, Duration::ZERO);
    let mut shares = Vec::new();
    // Connected before the watch runs.
    bus.publish(vec![outgoing(usize::MAX)]).await?;
    for round in 0..ROUNDS {
        let numbers = round * each..(round + 1) * each;
        let alone = bare_loop(at, numbers.clone()).await?;
        bare += alone;
        let started = Instant::now();
        let mut numbers = numbers.peekable();
        while numbers.peek().is_some() {
            bus.publish(numbers.by_ref().take(batch).map(outgoing).collect())
                .await?;
        }
        let taken = started.elapsed();
        ours += taken;
        shares.push(alone.as_secs_f64() / taken.as_secs_f64());
    }
    shares.sort_by(f64::total_cmp);
    let sent = (each * ROUNDS) as f64;
    Ok((
        sent / bare.as_secs_f64(),
        sent / ours.as_secs_f64(),
        shares[ROUNDS / 2],
    ))
}

/// The library alone: a sender, a window, nothing else.
async fn bare_loop(at: SocketAddr, numbers: std::ops::Range<usize>) -> Result<Duration, Box<dyn Error>> {
    let stream = TcpStream::connect(at).await?;
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
async fn sequential(count: usize, round_trip: Duration) -> Result<(f64, Duration), Box<dyn Error>> {
    let emulator = emulator().await?;
    let at = over(round_trip, emulator.amqp_address()).await?;
    let bus = bus(&emulator, at)?;
    // Connected before the watch runs.
    bus.publish(vec![outgoing(usize::MAX)]).await?;
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
    if there != count as u64 + 1 {
        return Err(format!("{count} and one were sent, {there} are there").into());
    }
    Ok((rate, slowest))
}
