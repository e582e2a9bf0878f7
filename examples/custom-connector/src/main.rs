//! A host of one's own: the connector, the canonical entities, and a run until nothing is left to do.

use custom_connector::CsvPlugin;
use seamless_core::{Registry, Result};
use seamless_host::{Config, Host, Plugins, RunMode, RunOptions, Silent};

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1).unwrap_or("tenant.toml".to_owned());
    let plugins = Plugins {
        registry: Registry::default().connector(CsvPlugin),
        models: seamless_entities::models(),
        defaults: seamless_entities::default_mapping,
    };
    let host = Host::open(Config::load(file.as_ref())?, plugins).await?;
    let options = RunOptions {
        mode: RunMode::Once,
        accept_first_merge: false,
    };
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    let summary = host.run(options, &Silent, interrupted).await?;
    let [created, updated] = ["created", "updated"].map(|counter| summary.counter(counter));
    println!(
        "{created} created, {updated} updated, {} left to a person",
        summary.parked
    );
    Ok(())
}
