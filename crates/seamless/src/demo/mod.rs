//! `seamless demo`: two made-up systems, a first load both ways, people at work, and what became of each of their edits.

mod outcome;
mod simulators;
mod story;
mod tell;
pub(crate) mod tenant;

use std::path::{Path, PathBuf};

use anyhow::Context;
use seamless_host::{Config, Host, RunMode, RunOptions, RunSummary, Silent, apply_bus};

use crate::emulator_cmd;
use crate::exit::Exit;
use crate::output::Output;
use crate::plugins::plugins;
use outcome::Outcome;
use simulators::Simulators;
use tenant::{Endpoints, use_service_bus, write_tenant};

/// The demo's topic, where it uses one.
const TOPIC: &str = "seamless-demo";

/// Shows what this program does, on two simulated systems: nothing to configure, nothing of yours is touched.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Accounts and contacts, counted over both systems. An eighth as many tickets and a sixteenth as many opportunities come with them, in the CRM.
    #[arg(long, default_value_t = 400)]
    records: usize,
    /// Seed of the data: the same seed gives the same records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends after the story instead of watching on.
    #[arg(long)]
    once: bool,
    /// Whether values that differ when records are first linked may be overwritten, however many there are.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    accept: bool,
    /// Keep configuration, keys and database in this new folder instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Where messages wait between the two systems: in the data folder, or on an emulated Azure Service Bus.
    #[arg(long, value_enum, default_value = "embedded")]
    bus: DemoBus,
}

/// Buses of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DemoBus {
    /// The tenant's own database.
    Embedded,
    /// AMQP to an emulator in this process.
    ServiceBus,
    /// HTTP to one.
    #[cfg(feature = "service-bus-https")]
    ServiceBusHttps,
}

/// Plays the demo.
pub(crate) async fn run(args: &DemoArgs, output: &Output) -> anyhow::Result<Exit> {
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().join("demo"));
    let simulators = Simulators::start(args.records, args.seed).await?;
    let played = Stage {
        args,
        output,
        simulators: &simulators,
        folder: &folder,
    }
    .play()
    .await;
    // Whatever happened: the sandbox goes first, then the folder.
    simulators.stop().await?;
    played
}

struct Stage<'a> {
    args: &'a DemoArgs,
    output: &'a Output,
    simulators: &'a Simulators,
    folder: &'a Path,
}

impl Stage<'_> {
    async fn play(&self) -> anyhow::Result<Exit> {
        let file = write_tenant(self.folder, &Endpoints::of(&self.simulators.config))?;
        let emulator = match self.args.bus {
            DemoBus::Embedded => None,
            bus => {
                let emulator = emulator_cmd::empty([0, 0]).await?;
                let kind = match bus {
                    DemoBus::Embedded | DemoBus::ServiceBus => "service-bus",
                    #[cfg(feature = "service-bus-https")]
                    DemoBus::ServiceBusHttps => "service-bus-https",
                };
                use_service_bus(&file, kind, TOPIC, &emulator)?;
                // As `seamless bus apply` would.
                apply_bus(&Config::load(&file)?).await?;
                Some(emulator)
            }
        };
        let host = Host::open(Config::load(&file)?, plugins()).await?;
        let mut runs = Vec::new();

        self.say(|| tell::opening(self.args.records, &self.simulators.config, self.output))?;
        runs.push(self.sync(&host).await?);
        self.say(|| tell::first_load(&runs[0], self.output))?;

        let scenes = story::people_at_work(self.simulators, &host).await?;
        runs.push(self.sync(&host).await?);
        let told = story::tell(scenes, self.simulators, &host).await?;
        self.say(|| tell::scenes(&told, self.output))?;

        let writes = self.writes().await?;
        runs.push(self.sync(&host).await?);
        let idle_writes = self.writes().await?.saturating_sub(writes);

        let outcome = Outcome::gather(
            self.args.records,
            &runs,
            told,
            idle_writes,
            self.simulators,
            &host,
        )
        .await?;
        self.output
            .print(&outcome, || tell::verdict(&outcome, self.output))?;
        if !self.args.once {
            self.watch(&host, &file).await?;
        }
        // The emulator ends with this.
        drop(emulator);
        Ok(outcome.exit())
    }

    async fn sync(&self, host: &Host) -> anyhow::Result<RunSummary> {
        let options = RunOptions {
            mode: RunMode::Once,
            accept_first_merge: self.args.accept,
        };
        let interrupted = async {
            // Without a signal handler Ctrl-C ends the program at once, which is safe too.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let summary = host.run(options, &Silent, interrupted).await?;
        if summary.interrupted {
            anyhow::bail!("stopped");
        }
        Ok(summary)
    }

    /// Goes on keeping the two in step, for the visitor to edit.
    async fn watch(&self, host: &Host, file: &Path) -> anyhow::Result<()> {
        self.say(|| {
            tell::watching(
                &self.simulators.config,
                self.args.keep.is_some().then_some(file),
                self.output,
            )
        })?;
        let options = RunOptions {
            mode: RunMode::Forever,
            accept_first_merge: self.args.accept,
        };
        let interrupted = async { drop(tokio::signal::ctrl_c().await) };
        host.run(options, &Silent, interrupted).await?;
        Ok(())
    }

    async fn writes(&self) -> anyhow::Result<u64> {
        Ok(self.simulators.stats().await?["writes"]
            .as_u64()
            .unwrap_or_default())
    }

    fn say(&self, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.output.json {
            Ok(())
        } else {
            self.output.write(&text())
        }
    }
}
