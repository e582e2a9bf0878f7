//! `reconcile`.

use seamless_core::pipeline::{DriftKind, DriftThen};
use seamless_host::{Answer, Config, DriftLine, Question, Reconciled};

use super::plan::asked;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean};

pub(super) async fn reconcile(
    config: &Config,
    sync: Option<String>,
    repair: bool,
    records: usize,
    output: &Output,
) -> anyhow::Result<Exit> {
    let Answer::Reconciled(report) = asked(config, &Question::Reconcile { sync, repair }).await? else {
        anyhow::bail!("the running host answered another question; is it of another version?");
    };
    output.print(&report, || text(&report, records, output))?;
    Ok(if report.remaining > 0 {
        Exit::Attention
    } else {
        Exit::Done
    })
}

fn text(report: &Reconciled, records: usize, output: &Output) -> String {
    let mut text = String::new();
    for line in report.drift.iter().take(records) {
        text += &told(line, report.repaired, output);
    }
    let found: u64 = report.found.values().sum();
    let hidden = found.saturating_sub(report.drift.len().min(records) as u64);
    if hidden > 0 {
        text += &format!("… and {hidden} more; --records shows more, --json too\n");
    }
    text += &format!("{} records read; ", report.read);
    text += &match (found, report.remaining) {
        (0, _) => "everything is as it was left\n".to_owned(),
        (_, 0) => format!("{found} not as they were left, all taken care of\n"),
        (_, left) if report.repaired => format!("{found} not as they were left, {left} of them stay so\n"),
        _ => format!("{found} not as they were left; --repair acts upon it\n"),
    };
    text
}

fn told(line: &DriftLine, repaired: bool, output: &Output) -> String {
    let pair = match &line.other {
        Some(other) => format!("{} = {}", clean(&line.record), clean(other)),
        None => clean(&line.record),
    };
    let what = match line.kind {
        DriftKind::Missed => "changed, and its stamp does not show it",
        DriftKind::Recent => "changed; the next poll brings it",
        DriftKind::AgainstFlow => "changed where it only follows",
        DriftKind::ReferenceCleared => "its cross-reference was cleared",
        DriftKind::ReferenceChanged => {
            "its cross-reference names another record: clear the field, or `seamless review unlink`"
        }
        DriftKind::Gone => "gone, or not visible any more; its counterpart stays",
    };
    let then = match (line.then, repaired) {
        (DriftThen::Published, true) => "taken as an edit",
        (DriftThen::Published, false) => "would be taken as an edit",
        (DriftThen::Restored, true) => "the other side's value is written again",
        (DriftThen::Restored, false) => "the other side's value would be written again",
        (DriftThen::WrittenBack, true) => "written again",
        (DriftThen::WrittenBack, false) => "would be written again",
        (DriftThen::Kept, _) => "kept",
        (DriftThen::Reported, _) => "somebody has to look at it",
        (DriftThen::Busy, _) => "being worked on: ask again",
    };
    let mut text = format!(
        "{} {}: {what}; {then}\n",
        clean(&line.sync),
        output.paint(Tone::Warn, pair)
    );
    for (name, values) in &line.fields {
        let old = match &values.old {
            Some(old) if old.is_empty() => "nothing".to_owned(),
            Some(old) => clean(old),
            None => "never settled".to_owned(),
        };
        let new = if values.new.is_empty() {
            "nothing".to_owned()
        } else {
            clean(&values.new)
        };
        text += &format!("    {}: {old} → {new}\n", clean(name));
    }
    text
}
