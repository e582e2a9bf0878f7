//! The demo in words.

use seamless_host::RunSummary;
use serde_json::Value as Json;

use super::outcome::Outcome;
use super::simulators::work_of;
use super::story::{Change, Told, ToldField};
use crate::output::{Output, Tone, clean, table};

pub(crate) fn opening(records: usize, config: &Json, output: &Output) -> String {
    let (tickets, opportunities) = work_of(records);
    let text = |path: &str| {
        config
            .pointer(path)
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    format!(
        "{}\n  Two systems that have never met: Autotask ({}) and a small CRM ({}),\n  {records} accounts and contacts between them, some in both, {tickets} tickets and {opportunities} opportunities in the CRM,\n  all as messy as real ones. Both are simulated.\n\n",
        output.paint(Tone::Head, "The stage"),
        text("/autotask/url"),
        text("/crm/url"),
    )
}

pub(crate) fn first_load(run: &RunSummary, output: &Output) -> String {
    let count = |name: &str| run.counter(name);
    let mut text = format!(
        "{}\n  {} records read, {} created on the other side, {} pairs linked; {:.1} s\n",
        output.paint(
            Tone::Head,
            "1  First load: accounts and contacts both ways, tickets and opportunities into Autotask"
        ),
        count("read"),
        count("created"),
        run.linked,
        run.seconds,
    );
    if run.parked + run.waiting > 0 {
        text += &format!(
            "  {} set aside for a person, {} waiting for their parents: where the data do not say, nobody guesses\n",
            run.parked, run.waiting
        );
    }
    text + "\n"
}

pub(crate) fn scenes(told: &[Told], output: &Output) -> String {
    let heading = output.paint(
        Tone::Head,
        "2  The host is stopped. People go to work in both systems; then it runs again",
    );
    let mut text = format!("{heading}  (* typed by a person)\n\n");
    for scene in told {
        text += &one_scene(scene, output);
    }
    text
}

fn one_scene(scene: &Told, output: &Output) -> String {
    let mark = if scene.as_promised {
        output.paint(Tone::Good, "✓")
    } else {
        output.paint(Tone::Bad, "✗")
    };
    let outcome = if scene.as_promised {
        scene.outcome.clone()
    } else {
        format!("NOT as promised: {}", scene.outcome)
    };
    let mut rows = vec![vec![String::new(), "Autotask".to_owned(), "CRM".to_owned()]];
    rows.extend(scene.fields.iter().map(row));
    let mut text = format!(
        "{mark} {}  {}\n",
        output.paint(Tone::Head, &scene.title),
        output.paint(Tone::Dim, &scene.record)
    );
    text += &table(&rows);
    text += &format!("  → {}\n", clean(&outcome));
    for why in &scene.why {
        text += &format!("    {}\n", output.paint(Tone::Dim, clean(why)));
    }
    text + "\n"
}

fn row(field: &ToldField) -> Vec<String> {
    vec![field.field.clone(), change(&field.autotask), change(&field.crm)]
}

/// Before → what people typed* → after, each step once.
fn change(change: &Change) -> String {
    let mut steps = vec![shown(&change.before)];
    steps.extend(change.typed.iter().map(|typed| format!("{}*", shown(typed))));
    let after = shown(&change.after);
    if steps
        .last()
        .is_none_or(|last| last.trim_end_matches('*') != after)
    {
        steps.push(after);
    }
    steps.join(" → ")
}

fn shown(value: &Json) -> String {
    match value {
        Json::Null => "–".to_owned(),
        Json::String(text) if text.trim().is_empty() => "–".to_owned(),
        Json::String(text) => clean(text),
        other => other.to_string(),
    }
}

pub(crate) fn verdict(outcome: &Outcome, output: &Output) -> String {
    let head = output.paint(Tone::Head, "3  Once more, with nothing to do");
    let mut text = format!("{head}\n  {} write calls\n\n", outcome.idle_writes);
    if !outcome.parked_by_reason.is_empty() {
        text += &format!(
            "{}\n",
            output.paint(Tone::Head, format!("Set aside for a person ({})", outcome.parked))
        );
        for (reason, parked) in &outcome.parked_by_reason {
            text += &format!(
                "  {:>4}  {reason}, like {}: {}\n",
                parked.count,
                parked.record,
                clean(&parked.example)
            );
        }
        text.push('\n');
    }
    let tone = if outcome.kept_its_promise() {
        Tone::Good
    } else {
        Tone::Bad
    };
    let overtaken = match outcome.overtaken_edits {
        0 => String::new(),
        some => format!(", {some} in the open window"),
    };
    let judged = format!(
        "{} duplicates, {} lost edits{overtaken}, {} echoes",
        outcome.duplicates, outcome.lost_edits, outcome.echo_writes
    );
    let memory = outcome
        .peak_rss_mb
        .map_or_else(String::new, |mb| format!(", {mb:.0} MB of memory at most"));
    text += &format!(
        "{}\n  {} (counted by the sandbox, not by us)\n  {} created, {} updated, {} linked; {} calls to Autotask, {} to the CRM; {:.1} s{memory}\n",
        output.paint(Tone::Head, "The verdict"),
        output.paint(tone, judged),
        outcome.created,
        outcome.updated,
        outcome.linked,
        outcome.autotask_calls,
        outcome.crm_calls,
        outcome.seconds,
    );
    text
}

pub(crate) fn watching(config: &Json, kept: Option<&std::path::Path>, output: &Output) -> String {
    let admin = config["admin"]["url"].as_str().unwrap_or_default();
    let kept = kept.map_or_else(String::new, |file| {
        format!(
            "  seamless status --config {0}\n  seamless explain account crm:A000001 --config {0}\n",
            file.display()
        )
    });
    format!(
        "\n{}\n  Both systems are kept in step until Ctrl-C. Be one of the people:\n  \
         curl '{admin}/records?system=crm&entity=account&limit=3'\n  \
         curl '{admin}/edit' -d '{{\"system\":\"crm\",\"entity\":\"account\",\"id\":\"A000001\",\"fields\":{{\"city\":\"Troy\"}}}}'\n  \
         curl '{admin}/edits'      # every edit, and whether it was carried over\n  \
         curl '{admin}/truth'      # duplicates, lost edits, echoes\n{kept}",
        output.paint(Tone::Head, "Your turn"),
    )
}
