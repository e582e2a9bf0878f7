//! `check`.

use seamless_core::ErrorKind;
use seamless_host::{Config, Level, Report, check as look};
use serde_json::json;

use crate::exit::{self, Exit};
use crate::output::{Output, Tone, clean};
use crate::plugins::plugins;

pub(super) async fn check(config: &Config, offline: bool, output: &Output) -> anyhow::Result<Exit> {
    let report = look(config, &plugins(), offline).await;
    let exit = exit_of(&report);
    let document = json!({ "ok": exit == Exit::Done, "offline": offline, "findings": report.findings });
    output.print(&document, || text(&report, offline, output))?;
    Ok(exit)
}

/// A wrong configuration comes before a system that does not answer: it has to be put right first.
fn exit_of(report: &Report) -> Exit {
    let errors = || {
        report
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Error)
    };
    if errors().any(|finding| finding.kind == Some(ErrorKind::Config)) {
        return Exit::Config;
    }
    match errors().next() {
        None => Exit::Done,
        // A mapping that does not fit the live system.
        Some(finding) => finding.kind.map_or(Exit::Refused, |kind| exit::of(kind).0),
    }
}

fn text(report: &Report, offline: bool, output: &Output) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (tone, mark) = match finding.level {
            Level::Ok => (Tone::Good, "ok     "),
            Level::Note => (Tone::Dim, "note   "),
            Level::Warning => (Tone::Warn, "warning"),
            Level::Error => (Tone::Bad, "error  "),
        };
        let about = output.paint(Tone::Head, &finding.about);
        text += &format!(
            "{} {about}: {}\n",
            output.paint(tone, mark),
            clean(&finding.sentence)
        );
    }
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let verdict = match (errors, warnings) {
        (0, 0) => output.paint(Tone::Good, "ready"),
        (0, _) => output.paint(Tone::Warn, format!("ready, with {warnings} warnings")),
        _ => output.paint(
            Tone::Bad,
            format!("not ready: {errors} errors, {warnings} warnings"),
        ),
    };
    let without = if offline { " (no call was made)" } else { "" };
    text + &format!("\n{verdict}{without}\n")
}
