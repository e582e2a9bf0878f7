//! `links`.

use seamless_host::{Config, Host};

use crate::cli::Links;
use crate::exit::Exit;
use crate::output::Output;
use crate::plugins::plugins;

pub(super) async fn links(config: Config, verb: &Links, output: &Output) -> anyhow::Result<Exit> {
    let Links::Rebuild = verb;
    let host = Host::open(config, plugins()).await?;
    let report = host.rebuild_links().await?;
    output.print(&report, || {
        let lines = report.iter().map(|(sync, found)| {
            format!(
                "{sync}: {} pairs linked, {} were linked already, {} records name one that does not name them ({} and {} records read)\n",
                found.linked, found.kept, found.one_sided, found.read[0], found.read[1]
            )
        });
        lines.collect::<String>() + "\nrun `seamless run` next: where linked records differ, the owner wins\n"
    })?;
    Ok(Exit::Done)
}
