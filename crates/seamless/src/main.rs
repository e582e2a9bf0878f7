//! `seamless`: registers the connectors and runs a verb.

mod cli;
mod demo;
mod emulator_cmd;
mod exit;
mod logging;
mod output;
mod plugins;
mod rest_cmd;
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
    // Two are plenty for waiting on two systems; one a core would only cost memory on a large machine.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(verbs::run(&cli, &output)),
        Err(error) => Err(error.into()),
    };
    done.unwrap_or_else(|error| output.error(&error)).into()
}
