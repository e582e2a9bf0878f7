//! Where in the file a mistake is, and what was probably meant.

use seamless_core::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// An error of the TOML reader in our words, with its place.
pub(crate) fn from_toml(error: &toml::de::Error, text: &str, file: &str) -> Error {
    let offset = error.span().map_or(0, |span| span.start);
    let keys = DeTable::parse(text)
        .map(|root| around(root.get_ref(), offset))
        .unwrap_or_default();
    let message = match error.message() {
        "duplicate key" => {
            let end = error.span().map_or(offset, |span| span.end);
            format!(
                "the key or table '{}' stands here a second time; join the two",
                text.get(offset..end).unwrap_or_default()
            )
        }
        said => reworded(said, &keys),
    };
    placed(Error::config(message), text, file, offset, &keys.join("."))
}

/// Places an error at the deepest key of the path that the file has.
pub(crate) fn at(path: &[&str], error: Error, text: &str, file: &str) -> Error {
    let root = DeTable::parse(text).ok();
    let offset = root.and_then(|root| deepest(root.get_ref(), path)).unwrap_or(0);
    placed(error, text, file, offset, &path.join("."))
}

/// A connector's complaint about its settings: the sentence with a suggestion, and the setting it names.
pub(crate) fn in_settings(error: &Error, keys: &[&str]) -> (String, Option<String>) {
    let said = error.to_string();
    let quoted: Vec<&str> = said.split(['`', '\'']).skip(1).step_by(2).collect();
    let known = |name: &&str| keys.contains(name);
    let named = error
        .context("setting")
        .filter(known)
        .or_else(|| quoted.iter().copied().find(known));
    let words = said.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
    let setting = named.or_else(|| words.into_iter().find(known)).map(str::to_owned);
    let unknown = said
        .find("unknown field `")
        .map(|start| (&said[..start], &said[start..]));
    let message = match unknown {
        Some((before, unknown)) => format!("{before}{}", reworded(unknown, &[])),
        None => said,
    };
    (message, setting)
}

/// `; did you mean 'x'?`, or what is known if nothing is near.
pub(crate) fn hint(wrong: &str, known: &[&str]) -> String {
    match nearest(wrong, known) {
        Some(near) => format!("; did you mean '{near}'?"),
        None if known.is_empty() => String::new(),
        None => format!("; known: {}", known.join(", ")),
    }
}

fn reworded(said: &str, keys: &[String]) -> String {
    let quoted: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    let inside = |keys: &[String]| {
        if keys.is_empty() {
            String::new()
        } else {
            format!(" in {}", keys.join("."))
        }
    };
    match quoted.as_slice() {
        [wrong, known @ ..] if said.starts_with("unknown field") => {
            let parent = keys.split_last().map_or(&[][..], |(_, parent)| parent);
            format!("unknown key '{wrong}'{}{}", inside(parent), hint(wrong, known))
        }
        [wrong, known @ ..] if said.starts_with("unknown variant") => {
            format!(
                "'{wrong}' is no value{}{}",
                inside(keys).replacen(" in ", " for ", 1),
                hint(wrong, known)
            )
        }
        [missing] if said.starts_with("missing field") => {
            format!("the key '{missing}' is missing{}", inside(keys))
        }
        _ => without_value(said).replace('`', "'").replace('\n', ", "),
    }
}

/// `invalid type: string "…", expected a map` without what was written: it may be a secret in a wrong place.
fn without_value(said: &str) -> String {
    match (said.find('"'), said.rfind("\", expected")) {
        (Some(open), Some(close)) if said.starts_with("invalid ") && open < close => {
            format!("{}{}", said[..open].trim_end(), &said[close + 1..])
        }
        _ => said.to_owned(),
    }
}

fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let allowed = (wrong.chars().count() / 3).max(1);
    let distances = known
        .iter()
        .map(|known| (distance(&wrong, &known.to_lowercase()), *known));
    let (distance, near) = distances.min()?;
    // `postal_code` for `address.postal_code`, `poll_interval` for `poll_interval_secs`: a part is as good as the name.
    let is_part =
        |known: &str| known.ends_with(&format!(".{wrong}")) || known.starts_with(&format!("{wrong}_"));
    let by_part = || known.iter().copied().find(|known| is_part(&known.to_lowercase()));
    if distance <= allowed {
        Some(near)
    } else {
        by_part()
    }
}

/// Edit distance; two neighbours swapped count as one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn placed(error: Error, text: &str, file: &str, offset: usize, key: &str) -> Error {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let error = error.with("file", file).with("line", line).with("column", column);
    if key.is_empty() {
        error
    } else {
        error.with("key", key)
    }
}

/// Where the deepest key of the path stands.
fn deepest(table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (head, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == head)?;
    Some(inside(value, rest).unwrap_or(key.span().start))
}

fn inside(value: &Spanned<DeValue<'_>>, path: &[&str]) -> Option<usize> {
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
fn around(table: &DeTable<'_>, offset: usize) -> Vec<String> {
    for (key, value) in table {
        let name = key.get_ref().to_string();
        if key.span().contains(&offset) {
            return vec![name];
        }
        // A table made of several headers spans only its first one, so every table is looked into.
        let deeper = match value.get_ref() {
            DeValue::Table(inner) => around(inner, offset),
            DeValue::Array(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, item)| {
                    let deeper = item
                        .get_ref()
                        .as_table()
                        .map(|table| around(table, offset))
                        .unwrap_or_default();
                    let here = !deeper.is_empty() || item.span().contains(&offset);
                    here.then(|| std::iter::once(index.to_string()).chain(deeper).collect())
                })
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        if !deeper.is_empty() || value.span().contains(&offset) {
            return std::iter::once(name).chain(deeper).collect();
        }
    }
    Vec::new()
}
