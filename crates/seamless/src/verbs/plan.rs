//! `plan` and `apply`.

use std::io::IsTerminal;
use std::path::Path;

use seamless_host::{
    Answer, Applied, Config, PlanCounts, PlanField, PlanLine, PlanView, Question, Silent, ask_watched,
    load_plan, save_plan, tell_plan,
};
use serde_json::Value as Json;

use super::run::Bar;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use crate::plugins::plugins;

/// More first-merge overwrites than this in one sync are written only when a person says so.
const OVERWRITES_MAX: u64 = 20;

/// Makes a plan; shows it, and keeps it in a file if one is named.
pub(super) async fn plan(
    config: &Config,
    out: Option<&Path>,
    records: usize,
    output: &Output,
) -> anyhow::Result<Exit> {
    let Answer::Plan(plan) = asked(config, &Question::Plan {}).await? else {
        anyhow::bail!("the running host answered another question; is it of another version?");
    };
    if let Some(file) = out {
        save_plan(&plan, config, file)?;
    }
    let view = tell_plan(&plan, config, &plugins())?;
    output.print(&view, || {
        let mut text = text(&view, records, output);
        if let (Some(file), true) = (out, view.changes) {
            text += &format!(
                "\nkept in {}; `seamless apply {0}` writes exactly this\n",
                file.display()
            );
        }
        text
    })?;
    Ok(exit_of(&view))
}

/// Shows a plan that was kept.
pub(super) fn show(config: &Config, file: &Path, records: usize, output: &Output) -> anyhow::Result<Exit> {
    let view = tell_plan(&load_plan(config, file)?, config, &plugins())?;
    output.print(&view, || text(&view, records, output))?;
    Ok(exit_of(&view))
}

/// Carries out a plan that was kept.
pub(super) async fn apply(
    config: &Config,
    file: &Path,
    accept: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let view = tell_plan(&load_plan(config, file)?, config, &plugins())?;
    let many = view
        .syncs
        .iter()
        .find(|(_, counts)| counts.first_merge_overwrites > OVERWRITES_MAX);
    if let (Some((sync, counts)), false) = (many, accept) {
        let message = format!(
            "the plan overwrites {} values that differ when records of {sync} are first linked; look at them with `seamless plan show {}`, then add --accept",
            counts.first_merge_overwrites,
            file.display()
        );
        return Err(seamless_core::Error::new(seamless_core::ErrorKind::Refused, message).into());
    }
    let file = std::fs::canonicalize(file)?;
    let Answer::Applied(applied) = asked(config, &Question::Apply { file }).await? else {
        anyhow::bail!("the running host answered another question; is it of another version?");
    };
    output.print(&applied, || told(&applied, output))?;
    Ok(if applied.refused.is_empty() {
        Exit::Done
    } else {
        Exit::Attention
    })
}

pub(super) async fn asked(config: &Config, question: &Question) -> anyhow::Result<Answer> {
    let plugins = plugins();
    if !std::io::stderr().is_terminal() {
        return Ok(ask_watched(config, &plugins, question, &Silent).await?);
    }
    let bar = Bar::new();
    let answer = ask_watched(config, &plugins, question, &bar).await;
    bar.clear();
    Ok(answer?)
}

fn exit_of(view: &PlanView) -> Exit {
    if view.changes { Exit::Pending } else { Exit::Done }
}

fn text(view: &PlanView, records: usize, output: &Output) -> String {
    let mut text = String::new();
    for line in view.items.iter().take(records) {
        text += &item(line, output);
    }
    match view.items.len().saturating_sub(records) {
        0 => {}
        more => {
            text += &format!(
                "… and {more} more; --records {} shows all, --json too\n",
                view.items.len()
            )
        }
    }
    for (sync, counts) in &view.syncs {
        text += &format!("\n{}\n{}", output.paint(Tone::Head, sync), table(&rows(counts)));
        if counts.first_merge_overwrites > OVERWRITES_MAX {
            text += &format!(
                "  {}\n",
                output.paint(
                    Tone::Warn,
                    "a run waits for --accept before it overwrites more than 20 of them"
                )
            );
        }
    }
    if !view.undecided.is_empty() {
        text += &format!(
            "\n{} a call is still under way: {}\n",
            output.paint(Tone::Warn, "not decided yet,"),
            view.undecided.join(", ")
        );
    }
    if !view.changes {
        text += &format!(
            "\n{}\n",
            output.paint(Tone::Good, "nothing to do: everything is in step")
        );
        return text;
    }
    text += &format!("\n{}\n", output.paint(Tone::Head, "cost"));
    let costs = view.cost.iter().map(|(system, cost)| {
        vec![
            system.clone(),
            format!("about {} reads", cost.reads),
            format!("{} writes", cost.writes),
            cost.budget
                .clone()
                .unwrap_or_else(|| format!("about {} s", cost.seconds.max(1))),
        ]
    });
    text + &table(&costs.collect::<Vec<_>>())
}

fn rows(counts: &PlanCounts) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut add = |count: u64, what: String| {
        if count > 0 {
            rows.push(vec![what, count.to_string()]);
        }
    };
    add(counts.create, "created".to_owned());
    add(counts.update, "updated".to_owned());
    for (rule, count) in &counts.link {
        add(*count, format!("linked by {}", clean(rule)));
    }
    add(counts.write_back, "ids written back".to_owned());
    add(
        counts.first_merge_overwrites,
        "values overwritten at the first link".to_owned(),
    );
    add(counts.fields_held, "records with fields that wait".to_owned());
    add(counts.wait, "waiting for their parents".to_owned());
    for (reason, count) in &counts.park {
        add(
            *count,
            format!(
                "set aside: {}",
                reason.replace('_', " ").replacen("parked ", "", 1)
            ),
        );
    }
    rows
}

fn item(line: &PlanLine, output: &Output) -> String {
    use seamless_core::pipeline::PlanStep::{Create, Hold, Link, Park, Update, Wait, WriteBack};
    let (tone, what) = match line.step {
        Create => (Tone::Good, "create"),
        Update => (Tone::Good, "update"),
        Link => (Tone::Good, "link"),
        WriteBack => (Tone::Dim, "write id back"),
        Hold => (Tone::Warn, "field waits"),
        Wait => (Tone::Warn, "wait"),
        Park => (Tone::Warn, "set aside"),
    };
    let other = line.other.as_deref();
    let way = match (line.step, other) {
        (WriteBack, Some(id)) => format!("{} names {id}", line.record),
        (_, Some(other)) => format!("{} -> {other}", line.record),
        (_, None) => line.record.clone(),
    };
    let linked = line
        .linked
        .as_deref()
        .map(|rule| format!(", linked by {}", clean(rule)));
    let mut text = format!(
        "{} {} {}{}\n",
        line.sync,
        output.paint(tone, what),
        clean(&way),
        linked.unwrap_or_default()
    );
    for (name, field) in &line.fields {
        text += &format!("    {name}: {}\n", change(field));
    }
    for (name, winner) in &line.conflicts {
        text += &format!("    {name}: {}\n", clean(winner));
    }
    for (name, why) in &line.held {
        text += &format!("    {name} waits: {}\n", clean(why));
    }
    if let Some(sentence) = &line.sentence {
        text += &format!("    {}\n", clean(sentence));
    }
    if !line.candidates.is_empty() {
        text += &format!("    candidates: {}\n", line.candidates.join(", "));
    }
    text
}

fn change(field: &PlanField) -> String {
    let loss = field
        .loss
        .as_deref()
        .map(|loss| format!(", {loss}"))
        .unwrap_or_default();
    format!(
        "{} -> {} ({}{loss})",
        shown(&field.from),
        shown(&field.to),
        field.why.replace('_', " ")
    )
}

fn shown(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => format!("\"{}\"", clean(text)),
        other => clean(&other.to_string()),
    }
}

fn told(applied: &Applied, output: &Output) -> String {
    let mut text = String::new();
    for refused in &applied.refused {
        text += &format!(
            "{} {} {}: {}\n",
            output.paint(Tone::Warn, "not written:"),
            refused.planned.sync,
            clean(&refused.planned.record),
            clean(&refused.why)
        );
    }
    text += &format!(
        "{} as planned, {} refused, {} ids written back\n",
        applied.done,
        applied.refused.len(),
        applied.written_back
    );
    text
}
