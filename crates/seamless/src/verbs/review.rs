//! `review`: what only a person can decide.

use seamless_host::{Answer, Config, Look, Question, ReviewView, Word, ask};
use serde_json::{Value as Json, json};

use crate::cli::ReviewVerb;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use crate::plugins::plugins;

/// Shows the questions.
pub(super) async fn list(config: &Config, max: usize, output: &Output) -> anyhow::Result<Exit> {
    let Answer::Reviews(reviews) = ask(config, &plugins(), &Question::Review { max }).await? else {
        anyhow::bail!("the running host answered another question; is it of another version?");
    };
    output.print(&reviews, || text(&reviews, max, output))?;
    Ok(if reviews.is_empty() {
        Exit::Done
    } else {
        Exit::Attention
    })
}

/// Passes a person's word on.
pub(super) async fn decide(config: &Config, verb: &ReviewVerb, output: &Output) -> anyhow::Result<Exit> {
    let (args, word) = match verb {
        ReviewVerb::Link { record, other } => (record, Word::Link { other: other.clone() }),
        ReviewVerb::Create(record) => (record, Word::Create {}),
        ReviewVerb::Ignore(record) => (record, Word::Ignore {}),
        ReviewVerb::Again(record) => (record, Word::Again {}),
        ReviewVerb::Unlink(record) => (record, Word::Unlink {}),
        ReviewVerb::Take {
            record,
            field,
            system,
        } => (
            record,
            Word::Take {
                field: field.clone(),
                system: system.clone(),
            },
        ),
    };
    let question = Question::Decide {
        entity: args.entity.clone(),
        record: args.record.clone(),
        word,
    };
    let Answer::Noted(noted) = ask(config, &plugins(), &question).await? else {
        anyhow::bail!("the running host answered another question; is it of another version?");
    };
    output.print(&json!({ "noted": noted }), || format!("{}\n", clean(&noted)))?;
    Ok(Exit::Done)
}

fn text(reviews: &[ReviewView], max: usize, output: &Output) -> String {
    if reviews.is_empty() {
        return format!("{}\n", output.paint(Tone::Good, "nothing waits for a decision"));
    }
    let mut text = String::new();
    for review in reviews {
        text += &format!(
            "{} {} {}\n  {}\n",
            review.sync,
            output.paint(Tone::Warn, clean(&review.record)),
            review.reason.replace('_', " ").replacen("parked ", "", 1),
            clean(&review.sentence)
        );
        text += &side_by_side(review);
        text.push('\n');
    }
    if reviews.len() == max {
        text += &format!("… there may be more; --records {} shows twice as many\n", max * 2);
    }
    text + "decide with: seamless review link|create|ignore|unlink|again <entity> <system:id> …, or review take <entity> <system:id> <field> <system>\n"
}

/// The records as columns; a value that differs from the first record's has a mark.
fn side_by_side(review: &ReviewView) -> String {
    let shown: Vec<&Look> = review.looks.iter().take(COLUMNS_MAX).collect();
    let mut head = vec![String::new()];
    head.extend(shown.iter().map(|look| clean(&look.record)));
    let mut rows = vec![head];
    if shown
        .iter()
        .any(|look| look.linked_to.is_some() || look.fields.is_none())
    {
        let mut row = vec!["linked to".to_owned()];
        row.extend(shown.iter().map(|look| match (&look.fields, &look.linked_to) {
            (None, _) => "(gone)".to_owned(),
            (_, Some(other)) => clean(other),
            (_, None) => "–".to_owned(),
        }));
        rows.push(row);
    }
    let Some(first) = shown.first().and_then(|look| look.fields.as_ref()) else {
        return table(&rows);
    };
    for (at, field) in first.iter().enumerate() {
        let asked = review.asked.contains(&field.field);
        let cells: Vec<Option<&seamless_host::FieldOf>> = shown
            .iter()
            .map(|look| {
                let fields = look.fields.as_ref()?;
                let same_place = fields.get(at).filter(|other| other.field == field.field);
                same_place.or_else(|| fields.iter().find(|other| other.field == field.field))
            })
            .collect();
        let empty = cells
            .iter()
            .all(|cell| cell.is_none_or(|cell| cell.value.is_null()));
        if empty || (!review.asked.is_empty() && !asked) {
            continue;
        }
        let mut row = vec![field.field.clone()];
        row.extend(cells.into_iter().map(|cell| {
            let mark = if cell.is_some_and(|cell| cell.differs) {
                " *"
            } else {
                ""
            };
            cell.map_or_else(String::new, |cell| format!("{}{mark}", value(&cell.value)))
        }));
        rows.push(row);
    }
    let more = review.looks.len() - shown.len();
    let more = if more > 0 {
        format!("  … and {more} more candidates; --json has all of them\n")
    } else {
        String::new()
    };
    table(&rows) + &more
}

/// Records side by side on a terminal.
const COLUMNS_MAX: usize = 4;
/// Characters of a value.
const SHOWN_MAX: usize = 32;

fn value(value: &Json) -> String {
    let text = match value {
        Json::Null => "–".to_owned(),
        Json::String(text) => clean(text),
        other => clean(&other.to_string()),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
