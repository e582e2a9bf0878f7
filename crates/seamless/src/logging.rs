//! Logs to stderr, apart from a progress bar that may be drawn there.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{Cli, LogFormat, LogLevel, Verb};

/// Progress bars are drawn here, so that log lines can step in between.
pub(crate) static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Starts logging.
pub(crate) fn start(cli: &Cli) {
    let default = match cli.verb {
        Verb::Run { once: false, .. } => LogLevel::Info,
        _ => LogLevel::Warn,
    };
    let level = match cli.log.unwrap_or(default) {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries stay at warn: what they log below it may hold URLs, and those may hold record content.
    let filter = EnvFilter::new(format!("warn,seamless={level}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BesideBars);
    match cli.log_format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Writes to stderr while the bars are hidden.
#[derive(Clone, Copy)]
struct BesideBars;

impl Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        BARS.suspend(|| std::io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl MakeWriter<'_> for BesideBars {
    type Writer = BesideBars;

    fn make_writer(&self) -> BesideBars {
        BesideBars
    }
}
