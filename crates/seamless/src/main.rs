//! `seamless`: registers the connectors and runs a verb.

mod cli;
mod demo;
mod exit;
mod logging;
mod output;
mod plugins;
mod sandbox_cmd;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli);
    let output = Output::new(cli.json);
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(verbs::run(&cli, &output)),
        Err(error) => Err(error.into()),
    };
    done.unwrap_or_else(|error| output.error(&error)).into()
}
