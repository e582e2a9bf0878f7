//! `seamless emulator`: Azure Service Bus on this machine, for trying things out.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use seamless_emulator::{Emulator, EntitySettings, Filter, Options, TopicSettings};
use serde_json::json;

use crate::exit::Exit;
use crate::output::Output;
use crate::sandbox_cmd::stop_signal;

/// Runs an emulator of Azure Service Bus on this machine until Ctrl-C: AMQP without TLS, everything in memory. Microsoft's own clients take it
/// for the real one.
#[derive(Debug, clap::Args)]
pub(crate) struct EmulatorArgs {
    /// Port for AMQP; 0 takes any free one.
    #[arg(long, value_name = "P", default_value_t = 5672)]
    amqp_port: u16,
    /// Port for HTTP, the management of topics and subscriptions among it; 0 takes any free one.
    #[arg(long, value_name = "P", default_value_t = 5300)]
    http_port: u16,
    /// A topic, made as a tenant needs it.
    #[arg(long, value_name = "NAME", default_value = "seamless-demo")]
    topic: String,
    /// A subscription of the topic, with sessions, for the messages to the system of that name. May be repeated.
    #[arg(long = "subscription", value_name = "SYSTEM", default_values = ["autotask", "crm"])]
    subscriptions: Vec<String>,
    /// Seconds for which a session is locked.
    #[arg(long, value_name = "S", default_value_t = 60)]
    lock_secs: u64,
    /// Start with nothing in it, for `seamless bus apply`.
    #[arg(long, conflicts_with_all = ["topic", "subscriptions"])]
    empty: bool,
    /// Ends when standard input ends, so that a script that is killed leaves nothing behind.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// Starts the emulator and keeps it until it is stopped.
pub(crate) async fn run(args: &EmulatorArgs, output: &Output) -> anyhow::Result<Exit> {
    let subscriptions: Vec<&str> = args.subscriptions.iter().map(String::as_str).collect();
    let lock = Duration::from_secs(args.lock_secs);
    let ports = [args.amqp_port, args.http_port];
    let emulator = if args.empty {
        empty(ports).await?
    } else {
        start(ports, &args.topic, &subscriptions, lock).await?
    };
    let (connection, http) = (emulator.connection_string(), emulator.http_connection_string());
    let topic = &args.topic;
    if output.json {
        let mut line = json!({ "connection_string": connection, "http_connection_string": http });
        if !args.empty {
            line["topic"] = json!(topic);
            line["subscriptions"] = json!(args.subscriptions);
        }
        output.write(&format!("{line}\n"))?;
    } else {
        let within = if args.empty {
            "Nothing in it; `seamless bus apply` makes what a tenant needs".to_owned()
        } else {
            format!("Topic {topic}, subscriptions {}", args.subscriptions.join(", "))
        };
        output.write(&format!(
            "Azure Service Bus, emulated
  AMQP  {connection}
  HTTP  {http}
{within}

A tenant uses it with
  [bus]
  kind = \"service-bus\"
  connection = {{ env = \"SERVICE_BUS\" }}
  manage = {{ env = \"SERVICE_BUS_HTTP\" }}
  topic = \"{topic}\"
and the connection strings above in the environment variables SERVICE_BUS and SERVICE_BUS_HTTP.

Ctrl-C ends it; nothing is kept.
"
        ))?;
    }
    stop_signal(args.until_stdin_ends).await?;
    Ok(Exit::Done)
}

/// An empty namespace on these ports, AMQP and HTTP.
pub(crate) async fn empty([amqp, http]: [u16; 2]) -> anyhow::Result<Emulator> {
    let options = Options {
        amqp: SocketAddr::from((Ipv4Addr::LOCALHOST, amqp)),
        http: SocketAddr::from((Ipv4Addr::LOCALHOST, http)),
        ..Options::default()
    };
    Emulator::start(options)
        .await
        .with_context(|| format!("cannot start the emulator; are the ports {amqp} and {http} free?"))
}

/// An emulator with a tenant's topic: duplicates are dropped, each subscription has sessions and takes what is addressed to it.
async fn start(
    ports: [u16; 2],
    topic: &str,
    subscriptions: &[&str],
    lock: Duration,
) -> anyhow::Result<Emulator> {
    let emulator = empty(ports).await?;
    let settings = TopicSettings {
        duplicate_window: Some(Duration::from_secs(600)),
        ..TopicSettings::default()
    };
    emulator.create_topic(topic, settings);
    for name in subscriptions {
        let settings = EntitySettings {
            requires_session: true,
            lock_duration: lock,
            max_delivery_count: 2_000,
            ..EntitySettings::default()
        };
        let filter = Filter::Correlation(BTreeMap::from([("label".to_owned(), (*name).to_owned())]));
        if !emulator.create_subscription(topic, name, settings, filter) {
            bail!("the subscription {name} could not be made");
        }
    }
    Ok(emulator)
}
