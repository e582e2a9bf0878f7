//! `check`.

use seamless_core::ErrorKind;
use seamless_host::{
    Badge, Config, Coverage, Level, Outcome, Probe, Reach, Report, check as look_at, conform,
};
use serde_json::json;

use super::badge;
use crate::exit::{self, Exit};
use crate::output::{Output, Tone, clean, table};
use crate::plugins::plugins;

pub(super) async fn check(
    config: &Config,
    reach: Reach,
    probe: Option<&Probe>,
    output: &Output,
) -> anyhow::Result<Exit> {
    let report = look_at(config, &plugins(), reach).await;
    let mut exit = exit_of(&report);
    let mut badges: Vec<Badge> = Vec::new();
    // What cannot work need not be tried.
    if let Some(probe) = probe.filter(|_| exit == Exit::Done) {
        badges = conform(config, &plugins(), probe).await?;
        if badges.iter().any(|badge| badge.count(Outcome::Broken) > 0) {
            exit = Exit::Refused;
        } else if badges.iter().any(|badge| !badge.left_behind.is_empty()) {
            exit = Exit::Attention;
        }
    }
    let offline = matches!(reach, Reach::Offline);
    let mut document = json!({
        "ok": matches!(exit, Exit::Done | Exit::Attention),
        "offline": offline,
        "findings": report.findings,
        "coverage": report.coverage,
    });
    if probe.is_some() {
        document["conformance"] = json!(badges);
    }
    output.print(&document, || {
        let mut text = text(&report, offline, output);
        for badge in &badges {
            text += &badge::text(badge, output);
        }
        if probe.is_some() && badges.is_empty() {
            text += "conformance was not tried: first put right what is said above\n";
        }
        text
    })?;
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
    for counted in &report.coverage {
        text += &coverage(counted, output);
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

/// How many records have each field, and what would become of it.
fn coverage(counted: &Coverage, output: &Output) -> String {
    let records = match (counted.records, counted.more) {
        (records, true) => format!("the first {records} records"),
        (1, false) => "1 record".to_owned(),
        (records, false) => format!("{records} records"),
    };
    let outside = match counted.out_of_scope {
        0 => String::new(),
        outside => format!(", {outside} of them out of scope"),
    };
    let head = format!(
        "{}: {} to {}, {records}{outside}",
        counted.sync, counted.from, counted.to
    );
    let mut rows = vec![
        ["field", "read from", "written to", "filled", "changed", "refused"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let number = |count: usize| {
        if count == 0 {
            "-".to_owned()
        } else {
            count.to_string()
        }
    };
    for field in &counted.fields {
        rows.push(vec![
            field.field.clone(),
            clean(&field.read),
            clean(&field.written),
            number(field.filled),
            number(field.changed),
            number(field.refused),
        ]);
    }
    format!("\n{}\n{}", output.paint(Tone::Head, head), table(&rows))
}
