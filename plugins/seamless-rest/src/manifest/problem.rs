//! Mistakes in a manifest, told with file, line, column, key and, where one is near, what was meant.

use seamless_core::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake that the types alone do not show.
#[derive(Debug)]
pub(crate) struct Problem {
    /// Keys from the root to the culprit; the last ones may be missing in the file.
    path: Vec<String>,
    message: String,
}

impl Problem {
    pub(crate) fn new(path: &[&str], message: impl Into<String>) -> Problem {
        Problem {
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            message: message.into(),
        }
    }

    /// The error, placed at the deepest key of the path that the file has.
    pub(crate) fn locate(self, text: &str, file: &str) -> Error {
        let root = DeTable::parse(text).ok();
        let offset = root
            .and_then(|root| deepest(root.get_ref(), &self.path))
            .unwrap_or(0);
        placed(&self.message, text, file, offset).with("key", self.path.join("."))
    }
}

/// An error of the TOML reader in our words.
pub(crate) fn from_toml(error: &toml::de::Error, text: &str, file: &str) -> Error {
    let offset = error.span().map_or(0, |span| span.start);
    // What is missing at the root has no place of its own.
    let is_of_root = |key: &str| error.message().starts_with(&format!("missing field `{key}`"));
    let root = DeTable::parse(text)
        .ok()
        .filter(|_| !["manifest", "system", "entities"].into_iter().any(is_of_root));
    let path = root
        .map(|root| innermost(root.get_ref(), offset))
        .unwrap_or_default();
    let place = |path: &[String]| {
        if path.is_empty() {
            "the manifest".to_owned()
        } else {
            path.join(".")
        }
    };
    let said = error.message();
    let quoted: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    let message = match quoted.as_slice() {
        [wrong, ..] if said.starts_with("unknown field") && is_secret(wrong) && in_auth(&path) => {
            secret_belongs(wrong)
        }
        [wrong, known @ ..] if said.starts_with("unknown field") => {
            let parent = path.split_last().map_or(&[][..], |(_, parent)| parent);
            format!("unknown key '{wrong}' in {}{}", place(parent), hint(wrong, known))
        }
        [wrong, known @ ..] if said.starts_with("unknown variant") => {
            let pattern = if known.contains(&"rfc3339") {
                "; or a pattern such as %Y-%m-%d %H:%M:%S"
            } else {
                ""
            };
            format!(
                "'{wrong}' is no value for {}{}{pattern}",
                place(&path),
                hint(wrong, known)
            )
        }
        [missing] if said.starts_with("missing field") => {
            format!("the key '{missing}' is missing in {}", place(&path))
        }
        _ => wrong_type(said).unwrap_or_else(|| said.replace('`', "'").replace('\n', ", ")),
    };
    let error = placed(&message, text, file, offset);
    if path.is_empty() {
        error
    } else {
        error.with("key", path.join("."))
    }
}

fn is_secret(key: &str) -> bool {
    [
        "token",
        "password",
        "secret",
        "api_key",
        "apikey",
        "client_secret",
        "access_token",
        "key",
        "username",
        "client_id",
    ]
    .contains(&key)
}

fn in_auth(path: &[String]) -> bool {
    path.first().is_some_and(|first| first == "auth")
}

/// Where a secret goes that somebody wrote into the manifest. Its value is nowhere in the sentence.
pub(crate) fn secret_belongs(key: &str) -> String {
    format!(
        "'{key}' does not belong in a manifest: take the value out, and write {key} = {{ env = \"NAME\" }} into the tenant's [systems.<name>]"
    )
}

/// A value of the wrong type, in words that are not the reader's own. The value itself may be a secret in the wrong place.
fn wrong_type(said: &str) -> Option<String> {
    let rest = said
        .strip_prefix("invalid type: ")
        .or_else(|| said.strip_prefix("invalid value: "))?;
    let (found, wanted) = rest.split_once(", expected ")?;
    let found = match found.split(' ').next()? {
        "string" => "a text",
        "integer" => "a whole number",
        "floating" => "a number with a point",
        "boolean" => "true or false",
        "sequence" => "a list",
        "map" => "a table",
        _ => "something else",
    };
    let (wanted, example) = match wanted.trim_matches('`') {
        "u16" | "u32" | "u64" | "usize" => ("a whole number, 0 or more", "50, without quotation marks"),
        "i64" => ("a whole number", "50, without quotation marks"),
        "f64" => ("a number", "2.5, without quotation marks"),
        "a boolean" => ("true or false", "true, without quotation marks"),
        "a string" => ("a text", "\"text\", in quotation marks"),
        "a sequence" => ("a list", "[…], or one [[table]] for each"),
        wanted if wanted.starts_with("struct") || wanted == "a map" => ("a table", "{ key = \"value\" }"),
        other => return Some(format!("wanted {other}, found {found}")),
    };
    Some(format!("wanted {wanted}, found {found}; write it like {example}"))
}

/// `; did you mean 'x'?`, or the list of what is known, if it is short enough to help.
pub(crate) fn hint(wrong: &str, known: &[&str]) -> String {
    match nearest(wrong, known) {
        Some(near) => format!("; did you mean '{near}'?"),
        None if known.is_empty() => String::new(),
        None => format!("; known: {}", known.join(", ")),
    }
}

fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = (wrong.chars().count() / 3).max(2);
    let distances = known.iter().map(|candidate| {
        (
            edits(&wrong.to_lowercase(), &candidate.to_lowercase()),
            *candidate,
        )
    });
    let (edits, near) = distances.min()?;
    (edits <= allowed).then_some(near)
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn placed(message: &str, text: &str, file: &str, offset: usize) -> Error {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::config(message.to_owned())
        .with("file", file)
        .with("line", line)
        .with("column", column)
}

/// Where the deepest key of the path stands.
fn deepest(table: &DeTable<'_>, path: &[String]) -> Option<usize> {
    let (head, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == head)?;
    Some(inside(value, rest).unwrap_or(key.span().start))
}

fn inside(value: &Spanned<DeValue<'_>>, path: &[String]) -> Option<usize> {
    match value.get_ref() {
        DeValue::Table(table) => deepest(table, path),
        DeValue::Array(items) => {
            let (head, rest) = path.split_first()?;
            let item = items.get(head.parse::<usize>().ok()?)?;
            Some(inside(item, rest).unwrap_or(item.span().start))
        }
        _ => None,
    }
}

/// The keys around a place in the text.
fn innermost(table: &DeTable<'_>, offset: usize) -> Vec<String> {
    for (key, value) in table {
        let name = key.get_ref().to_string();
        if key.span().contains(&offset) {
            return vec![name];
        }
        let mut path = vec![name];
        match value.get_ref() {
            // A table of `[a.b]` headers spans only its first header, so every table is looked into.
            DeValue::Table(inner) => {
                let deeper = innermost(inner, offset);
                if !deeper.is_empty() || value.span().contains(&offset) {
                    path.extend(deeper);
                    return path;
                }
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let deeper = item
                        .get_ref()
                        .as_table()
                        .map(|table| innermost(table, offset))
                        .unwrap_or_default();
                    if !deeper.is_empty() || item.span().contains(&offset) {
                        path.push(index.to_string());
                        path.extend(deeper);
                        return path;
                    }
                }
                if value.span().contains(&offset) {
                    return path;
                }
            }
            _ if value.span().contains(&offset) => return path,
            _ => {}
        }
    }
    Vec::new()
}
