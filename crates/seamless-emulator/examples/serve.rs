//! Runs a namespace with the entities that the scripts in `examples/servicebus-clients` use, until it is interrupted.
//! Takes the port for AMQP (5672 by default) and the one for HTTP (5300), and prints the connection string for AMQP.
#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::net::SocketAddr;
use std::time::Duration;

use seamless_emulator::{Emulator, EntitySettings, Filter, Options, TopicSettings};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = |at, default| {
        std::env::args()
            .nth(at)
            .map_or(Ok(default), |port| port.parse().map_err(std::io::Error::other))
    };
    let emulator = Emulator::start(Options {
        amqp: SocketAddr::from(([127, 0, 0, 1], port(1, 5672)?)),
        http: SocketAddr::from(([127, 0, 0, 1], port(2, 5300)?)),
        ..Options::default()
    })
    .await?;
    let short = EntitySettings {
        lock_duration: Duration::from_secs(5),
        max_delivery_count: 3,
        ..EntitySettings::default()
    };
    emulator.create_queue("plain", short.clone());
    emulator.create_queue(
        "unique",
        EntitySettings {
            duplicate_window: Some(Duration::from_secs(60)),
            ..short.clone()
        },
    );
    let sessions = EntitySettings {
        requires_session: true,
        ..short.clone()
    };
    emulator.create_queue("sessions", sessions);
    emulator.create_topic("news", TopicSettings::default());
    emulator.create_subscription("news", "all", short.clone(), Filter::True);
    let red = Filter::Sql("colour = 'red'".to_owned());
    emulator.create_subscription("news", "red", short, red);
    println!("{}", emulator.connection_string());
    tokio::signal::ctrl_c().await
}
