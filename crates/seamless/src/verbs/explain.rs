//! `explain`.

use seamless_host::{Answer, Config, Decision, Explanation, Question, ask};
use serde_json::Value as Json;

use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use crate::plugins::plugins;

pub(super) async fn explain(
    config: &Config,
    entity: &str,
    record: &str,
    output: &Output,
) -> anyhow::Result<Exit> {
    let question = Question::Explain {
        entity: entity.to_owned(),
        record: record.to_owned(),
    };
    let Answer::Explanation(explanation) = ask(config, &plugins(), &question).await? else {
        anyhow::bail!("the running host answered another question; is it of another version?");
    };
    output.print(&explanation, || text(&explanation, output))?;
    Ok(Exit::Done)
}

fn text(explanation: &Explanation, output: &Output) -> String {
    let mut text = format!(
        "{} {}: {}\n",
        explanation.sync,
        output.paint(Tone::Head, &explanation.record),
        clean(&explanation.summary)
    );
    if let Some(parked) = &explanation.parked {
        text += &format!("  since {}, reason {}\n", parked.since, parked.reason);
        if !parked.candidates.is_empty() {
            text += &format!("  candidates: {}\n", parked.candidates.join(", "));
        }
    }
    if let Some(id) = &explanation.write_back {
        text += &format!("  its cross-reference is about to become {}\n", clean(id));
    }
    if !explanation.fields.is_empty() {
        text += &format!("\n{}\n", output.paint(Tone::Head, "when last settled"));
        let there = explanation.linked_to.clone().unwrap_or_default();
        let mut rows = vec![vec![
            "field".to_owned(),
            explanation.record.clone(),
            there,
            String::new(),
        ]];
        for (name, state) in &explanation.fields {
            let waits = state
                .waits
                .as_deref()
                .map(|why| format!("waits: {}", clean(why)))
                .unwrap_or_default();
            rows.push(vec![
                name.clone(),
                half(state.here.as_ref()),
                half(state.there.as_ref()),
                waits,
            ]);
        }
        text += &table(&rows);
    }
    if explanation.decisions.is_empty() {
        return text;
    }
    text += &format!("\n{}\n", output.paint(Tone::Head, "decisions"));
    for decision in &explanation.decisions {
        text += &told(decision, output);
    }
    text
}

fn told(decision: &Decision, output: &Output) -> String {
    let way = match &decision.to {
        Some(to) => format!("{} -> {to}", decision.from),
        None => decision.from.clone(),
    };
    let note = if decision.note.is_empty() {
        String::new()
    } else {
        format!(": {}", clean(&decision.note))
    };
    let mut text = format!(
        "  {} {} {}{note}\n",
        output.paint(Tone::Dim, &decision.at),
        decision.reason.replace('_', " "),
        output.paint(Tone::Dim, way)
    );
    for field in &decision.fields {
        let loss = field
            .loss
            .as_deref()
            .map(|loss| format!(", {loss}"))
            .unwrap_or_default();
        text += &format!(
            "      {}: {} -> {} ({}{loss})\n",
            field.field,
            shown(&field.before),
            shown(&field.after),
            field.why.replace('_', " ")
        );
    }
    text
}

fn half(value: Option<&Json>) -> String {
    value.map_or_else(|| "to be settled".to_owned(), shown)
}

fn shown(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => format!("\"{}\"", clean(text)),
        other => clean(&other.to_string()),
    }
}
