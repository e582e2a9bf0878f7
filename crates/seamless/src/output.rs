//! What a verb prints: text for people, or one JSON document.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use seamless_core::Error;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::exit::{self, Exit};

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    colour: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Fine.
    Good,
    /// Look here.
    Warn,
    /// Wrong.
    Bad,
    /// Less important.
    Dim,
    /// A heading.
    Head,
}

/// Facts an error can carry, in the order in which they are shown.
const FACTS: [&str; 13] = [
    "file", "line", "column", "key", "system", "entity", "record", "setting", "status", "table", "row",
    "keyset", "call",
];

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Output { json, colour }
    }

    /// Prints a document with `--json`; else whatever `text` prints.
    pub(crate) fn print<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(value)?)
        } else {
            text()
        };
        self.write(&text)
    }

    /// Prints text as it is. A reader that went away is no error.
    pub(crate) fn write(&self, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Coloured on a terminal.
    pub(crate) fn paint(&self, tone: Tone, text: impl std::fmt::Display) -> String {
        if self.colour {
            painted(tone, &text.to_string())
        } else {
            text.to_string()
        }
    }

    /// Tells an error: a sentence and what to do, on stderr; with `--json` an object on stdout.
    pub(crate) fn error(&self, error: &anyhow::Error) -> Exit {
        let ours = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
        let (code, name, advice) = ours.map_or((Exit::Failure, "other", ""), |error| exit::of(error.kind));
        if self.json {
            let document = json!({ "error": self.error_json(error, ours, name, advice, code) });
            drop(self.write(&format!("{document:#}\n")));
            return code;
        }
        let message = ours.map_or_else(|| format!("{error:#}"), |error| error.message().to_owned());
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let paint = |tone, text: &str| {
            if colour {
                painted(tone, text)
            } else {
                text.to_owned()
            }
        };
        let mut text = format!("{} {}\n", paint(Tone::Bad, "error:"), clean(&message));
        if let Some(error) = ours {
            if let (Some(file), Some(line), Some(column)) = (
                error.context("file"),
                error.context("line"),
                error.context("column"),
            ) {
                text += &format!("  at {}:{line}:{column}\n", clean(file));
            }
            let facts: Vec<String> = FACTS
                .iter()
                .filter(|fact| error.context("line").is_none() || !["file", "line", "column"].contains(fact))
                .filter_map(|fact| Some(format!("{fact} {}", clean(error.context(fact)?))))
                .collect();
            if !facts.is_empty() {
                text += &format!("  {}\n", paint(Tone::Dim, &facts.join(", ")));
            }
        }
        if !advice.is_empty() {
            text += &format!("  {advice}\n");
        }
        // Nobody is left to be told when stderr is gone.
        drop(std::io::stderr().write_all(text.as_bytes()));
        code
    }

    fn error_json(
        &self,
        error: &anyhow::Error,
        ours: Option<&Error>,
        name: &str,
        advice: &str,
        code: Exit,
    ) -> Json {
        let mut object = Map::new();
        object.insert("kind".into(), name.into());
        object.insert("exit_code".into(), (code as u8).into());
        let message = ours.map_or_else(|| format!("{error:#}"), |error| error.message().to_owned());
        object.insert("message".into(), clean(&message).into());
        if !advice.is_empty() {
            object.insert("advice".into(), advice.into());
        }
        for fact in FACTS {
            if let Some(value) = ours.and_then(|error| error.context(fact)) {
                let number = ["line", "column"]
                    .contains(&fact)
                    .then(|| value.parse::<u64>().ok())
                    .flatten();
                object.insert(
                    fact.into(),
                    number.map_or_else(|| clean(value).into(), Json::from),
                );
            }
        }
        Json::Object(object)
    }
}

fn painted(tone: Tone, text: &str) -> String {
    let style = match tone {
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Warn => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
        Tone::Dim => Style::new().dimmed(),
        Tone::Head => Style::new().bold(),
    };
    format!("{style}{text}{style:#}")
}

/// Text from remote systems and files, without what could steer a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Rows with aligned columns; the first column is indented.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(&widths) {
            let pad = width.saturating_sub(cell.chars().count()) + 2;
            line += cell;
            line.extend(std::iter::repeat_n(' ', pad));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\u{7}\u{9b}d"), "a [31mb  c  d");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned()],
            vec!["längst".to_owned(), "22".to_owned()],
        ];
        assert_eq!(table(&rows), "  a       1\n  längst  22\n");
    }

    #[test]
    fn errors_become_objects_with_their_place() {
        let error = Error::config("unknown key 'x'")
            .with("file", "t.toml")
            .with("line", 3)
            .with("column", 1);
        let output = Output::new(true);
        let json = output.error_json(
            &anyhow::Error::new(Error::config("")),
            Some(&error),
            "config",
            "do",
            Exit::Config,
        );
        assert_eq!(
            json,
            json!({"kind": "config", "exit_code": 2, "message": "unknown key 'x'", "advice": "do", "file": "t.toml", "line": 3, "column": 1})
        );
    }
}
