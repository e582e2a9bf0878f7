//! `links`.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use seamless_core::pipeline::{Imported, Rebuilt};
use seamless_host::{Answer, Config, Host, Question, ask, export_links};

use crate::cli::Links;
use crate::exit::Exit;
use crate::output::{Output, clean};
use crate::plugins::plugins;

pub(super) async fn links(config: Config, verb: &Links, output: &Output) -> anyhow::Result<Exit> {
    match verb {
        Links::Rebuild => {
            let report = Host::open(config, plugins()).await?.rebuild_links().await?;
            output.print(&report, || rebuilt(&report))?;
            Ok(Exit::Done)
        }
        Links::Export { out } => export(config, out.as_deref(), output).await,
        Links::Import { file } => import(&config, file, output).await,
    }
}

async fn export(config: Config, out: Option<&Path>, output: &Output) -> anyhow::Result<Exit> {
    let links = export_links(config, &plugins()).await?;
    let Some(file) = out else {
        output.write(&links)?;
        return Ok(Exit::Done);
    };
    let shown = file.display();
    let mut open = std::fs::OpenOptions::new();
    let opened = open
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file);
    let mut opened = opened.with_context(|| format!("cannot write {shown}"))?;
    std::io::Write::write_all(&mut opened, links.as_bytes())
        .with_context(|| format!("cannot write {shown}"))?;
    let pairs = links.lines().count().saturating_sub(1);
    output.print(&serde_json::json!({ "pairs": pairs, "file": file }), || {
        format!("{pairs} pairs written to {shown}\n")
    })?;
    Ok(Exit::Done)
}

async fn import(config: &Config, file: &Path, output: &Output) -> anyhow::Result<Exit> {
    let file = std::fs::canonicalize(file).with_context(|| format!("cannot read {}", file.display()))?;
    let Answer::Imported(report) = ask(config, &plugins(), &Question::ImportLinks { file }).await? else {
        anyhow::bail!("the running host answered another question; is it of another version?");
    };
    output.print(&report, || imported(&report))?;
    let refused = report.values().any(|found| !found.refused.is_empty());
    Ok(if refused { Exit::Attention } else { Exit::Done })
}

fn rebuilt(report: &BTreeMap<String, Rebuilt>) -> String {
    let lines = report.iter().map(|(sync, found)| {
        format!(
            "{sync}: {} pairs linked, {} were linked already, {} records name one that does not name them ({} and {} records read)\n",
            found.linked, found.kept, found.one_sided, found.read[0], found.read[1]
        )
    });
    lines.collect::<String>() + "\nrun `seamless plan` next: where linked records differ, the owner wins\n"
}

fn imported(report: &BTreeMap<String, Imported>) -> String {
    let mut text = String::new();
    for (sync, found) in report {
        text += &format!(
            "{sync}: {} pairs linked, {} were linked already, {} refused\n",
            found.linked,
            found.kept,
            found.refused.len()
        );
        for (first, second, why) in &found.refused {
            text += &format!(
                "  {} and {}: {}\n",
                clean(first.as_str()),
                clean(second.as_str()),
                clean(why)
            );
        }
    }
    text
}
