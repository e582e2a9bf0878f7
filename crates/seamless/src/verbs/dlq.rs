//! `dlq`: messages and events that were set aside.

use seamless_host::{Answer, Config, DeadLetterView, Question, ask};
use serde_json::json;

use crate::cli::Dlq;
use crate::exit::Exit;
use crate::output::{Output, clean};
use crate::plugins::plugins;

pub(super) async fn dlq(config: &Config, verb: &Dlq, output: &Output) -> anyhow::Result<Exit> {
    let question = match verb {
        Dlq::List { queue, max } => Question::DeadLetters {
            queue: queue.clone(),
            max: *max,
        },
        Dlq::Show { id } => Question::DeadLetter { id: id.clone() },
        Dlq::Replay { ids, queue, .. } => Question::Replay {
            ids: ids.clone(),
            queue: queue.clone(),
        },
    };
    match ask(config, &plugins(), &question).await? {
        Answer::DeadLetters(letters) => {
            output.print(&letters, || list(&letters))?;
            Ok(if letters.is_empty() {
                Exit::Done
            } else {
                Exit::Attention
            })
        }
        Answer::DeadLetter(letter) => {
            output.print(&letter, || show(&letter))?;
            Ok(Exit::Done)
        }
        Answer::Replayed(count) => {
            output.print(&json!({ "replayed": count }), || {
                format!("{count} put back; a running host takes them at once\n")
            })?;
            Ok(Exit::Done)
        }
        _ => anyhow::bail!("the running host answered another question; is it of another version?"),
    }
}

fn list(letters: &[DeadLetterView]) -> String {
    if letters.is_empty() {
        return "No dead letters.\n".to_owned();
    }
    let line = |letter: &DeadLetterView| {
        format!(
            "{}  {}  {}\n  {}: {}\n",
            letter.since,
            clean(&letter.queue),
            clean(&letter.id),
            clean(&letter.code),
            clean(&letter.description)
        )
    };
    letters.iter().map(line).collect()
}

fn show(letter: &DeadLetterView) -> String {
    let content = match &letter.content {
        Some(content) => serde_json::to_string_pretty(content).unwrap_or_default(),
        None => "It cannot be opened with the keys at hand.".to_owned(),
    };
    format!("{}\n{}\n", list(std::slice::from_ref(letter)), content)
}
