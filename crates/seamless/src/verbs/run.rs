//! `run`.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use seamless_host::{Config, Host, Phase, Progress, RunMode, RunOptions, RunSummary, Silent, Snapshot};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::logging::BARS;
use crate::output::{Output, Tone, clean, table};
use crate::plugins::plugins;

pub(super) async fn run(config: Config, once: bool, accept: bool, output: &Output) -> anyhow::Result<Exit> {
    let host = Host::open(config, plugins()).await?;
    let mode = if once { RunMode::Once } else { RunMode::Forever };
    let options = RunOptions {
        mode,
        accept_first_merge: accept,
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let summary = match once && std::io::stderr().is_terminal() {
        true => {
            let bar = Bar::new();
            let ended = host.run(options, &bar, shutdown).await;
            bar.clear();
            ended?
        }
        false => host.run(options, &Silent, shutdown).await?,
    };
    output.print(&summary, || text(&summary, output))?;
    Ok(if summary.needs_attention() {
        Exit::Attention
    } else {
        Exit::Done
    })
}

/// A bar on stderr.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Bar {
        let bar = BARS.add(ProgressBar::new(0));
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_style(spinner());
        Bar(bar)
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {elapsed} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {elapsed} [{bar:30}] {pos}/{len} {msg}")
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Bar {
    fn update(&self, now: &Snapshot) {
        let count = |name: &str| now.counters.get(name).copied().unwrap_or(0);
        let trouble = now
            .troubles
            .iter()
            .next()
            .map(|(worker, error)| format!(" · {worker}: {}", clean(error)));
        let trouble = trouble.unwrap_or_default();
        let message = match now.phase {
            Phase::Connecting => "connecting".to_owned(),
            Phase::Reading => format!(
                "reading: {} records, {} new or changed",
                count("read"),
                count("published")
            ),
            Phase::Applying if now.queued == 0 && now.open_intents > 0 => {
                format!(
                    "waiting to learn what became of {} calls whose answers were lost",
                    now.open_intents
                )
            }
            Phase::Applying | Phase::Running => {
                format!(
                    "{} created, {} updated, {} linked",
                    count("created"),
                    count("updated"),
                    count("linked")
                )
            }
        };
        let applying = now.phase == Phase::Applying && now.queued > 0;
        self.0.set_style(if applying { bar() } else { spinner() });
        if applying {
            let published = count("published").max(now.queued);
            self.0.set_length(published);
            self.0.set_position(published - now.queued);
        }
        self.0.set_message(format!("{message}{trouble}"));
    }
}

fn text(summary: &RunSummary, output: &Output) -> String {
    let rows: Vec<Vec<String>> = [
        ("read", summary.counter("read")),
        ("changes published", summary.counter("published")),
        ("created", summary.counter("created")),
        ("updated", summary.counter("updated")),
        ("linked", summary.counter("linked")),
        ("conflicts decided", summary.counter("conflicts")),
        ("ids written back", summary.counter("written_back")),
        ("lost answers", summary.counter("unknown")),
    ]
    .into_iter()
    .filter(|(name, count)| *count > 0 || matches!(*name, "read" | "created" | "updated"))
    .map(|(name, count)| vec![name.to_owned(), count.to_string()])
    .collect();
    let end = match (summary.interrupted, summary.settled) {
        (true, _) => output.paint(Tone::Warn, "stopped; the next run goes on where this one ended"),
        (false, true) => output.paint(Tone::Good, "everything is in step"),
        (false, false) => output.paint(Tone::Warn, "records keep changing; the next run goes on"),
    };
    let mut text = format!(
        "{}{end} ({} pairs, {:.1} s)\n",
        table(&rows),
        summary.linked,
        summary.seconds
    );
    for (count, what) in [
        (summary.parked, "set aside for a person"),
        (summary.write_backs_parked, "ids that cannot be written back"),
        (summary.dead_letters, "messages that cannot be opened"),
        (summary.waiting, "waiting for their parents"),
    ] {
        if count > 0 {
            text += &format!(
                "{} {what}; see `seamless status --parked`\n",
                output.paint(Tone::Warn, count)
            );
        }
    }
    text
}
