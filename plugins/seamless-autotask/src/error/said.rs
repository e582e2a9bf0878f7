//! What the body of an error says.

use serde_json::Value as Json;

/// What a body says.
#[derive(Default)]
pub(super) struct Said {
    pub(super) texts: Vec<String>,
    /// `errors`, not `Message`.
    pub(super) is_verdict: bool,
    /// Nothing but an error id: a fault without explanation.
    pub(super) unexpected: bool,
    pub(super) error_id: Option<String>,
}

impl Said {
    pub(super) fn read(body: &[u8]) -> Said {
        let Ok(Json::Object(answer)) = serde_json::from_slice::<Json>(body) else {
            return Said::default();
        };
        let texts: Vec<String> = match answer.get("errors") {
            Some(Json::Array(errors)) => errors.iter().filter_map(Json::as_str).map(clean).collect(),
            Some(Json::String(error)) => vec![clean(error)],
            _ => Vec::new(),
        };
        let error_id = answer
            .get("errorId")
            .filter(|id| !id.is_null())
            .map(Json::to_string);
        let is_verdict = !texts.is_empty();
        let texts = match answer.get("Message").and_then(Json::as_str) {
            Some(message) if texts.is_empty() => vec![clean(message)],
            _ => texts,
        };
        let named = texts.iter().any(|text| field_at_fault(text).is_some());
        Said {
            unexpected: error_id.is_some() && !named,
            texts,
            is_verdict,
            error_id,
        }
    }

    /// The texts as one line, without what stands in quotes: servers quote values.
    pub(super) fn sentence(&self) -> String {
        without_quoted(&self.texts.join("; "))
    }
}

/// Cuts the record number that most texts end with: a call holds one record.
fn clean(text: &str) -> String {
    let text = text.split("; on record number").next().unwrap_or(text);
    text.trim().trim_end_matches('.').to_owned()
}

fn without_quoted(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(open);
        kept.push_str(before);
        let quote = if quoted.starts_with('"') { '"' } else { '\'' };
        // An apostrophe stands within or behind a word.
        let is_apostrophe = quote == '\'' && before.ends_with(char::is_alphanumeric);
        match quoted[1..].find(quote) {
            Some(close) if !is_apostrophe => {
                kept.push_str(&format!("{quote}***{quote}"));
                rest = &quoted[close + 2..];
            }
            _ => {
                kept.push(quote);
                rest = &quoted[1..];
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// The field that a text names, by the few shapes that such texts have.
pub(super) fn field_at_fault(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let after = |marker: &str| lower.find(marker).map(|at| &text[at + marker.len()..]);
    let named_after = [
        "missing required field:",
        "required field",
        "does not exist for",
        "on field:",
        "both a ",
        "both an ",
        "path '",
        "unable to find ",
    ];
    if let Some(rest) = named_after.iter().find_map(|marker| after(marker)) {
        // A user-defined field's name may hold blanks.
        let rest = match rest.to_ascii_lowercase().find(" in the ") {
            Some(end) if lower.starts_with("unable to find ") => &rest[..end],
            _ => rest
                .trim_start()
                .split([' ', '.', ',', '\'', ';'])
                .next()
                .unwrap_or_default(),
        };
        return Some(rest.trim().to_owned()).filter(|name| !name.is_empty());
    }
    let leads = [" is required", " must be less than", ": value ", " must be "];
    let end = leads.iter().find_map(|marker| lower.find(marker))?;
    Some(text[..end].trim().to_owned()).filter(|name| !name.is_empty() && !name.contains(' '))
}
