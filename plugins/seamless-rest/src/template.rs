//! Placeholders: `{id}` inside a path, a query or a JSON body. `{{id}}` stands for the text `{id}` itself; anything else in
//! braces is left alone, so that JSON can be written in a query parameter.

use serde_json::Value as Json;

/// What stands in for placeholders: one scalar, or a list.
#[derive(Clone)]
pub(crate) enum Filling {
    One(Json),
    Many(Vec<Json>),
}

/// Fills placeholders in JSON. A text that is nothing but one placeholder becomes the value itself, with its type; inside
/// longer text the value goes through `inline`.
pub(crate) fn fill_json(
    json: &Json,
    filling: &dyn Fn(&str) -> Option<Filling>,
    inline: &dyn Fn(&str) -> Option<String>,
) -> Json {
    match json {
        Json::String(text) => match sole(text).and_then(filling) {
            Some(Filling::One(value)) => value,
            Some(Filling::Many(values)) => Json::Array(values),
            None => Json::String(fill(text, inline)),
        },
        Json::Array(items) => items
            .iter()
            .map(|item| fill_json(item, filling, inline))
            .collect(),
        Json::Object(map) => map
            .iter()
            .map(|(key, value)| (fill(key, inline), fill_json(value, filling, inline)))
            .collect(),
        other => other.clone(),
    }
}

/// Fills placeholders in a text; those that `value` does not know stay.
pub(crate) fn fill(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Slot(name) => match value(name) {
                Some(value) => filled.push_str(&value),
                None => {
                    filled.push('{');
                    filled.push_str(name);
                    filled.push('}');
                }
            },
        }
    }
    filled
}

/// The placeholder that the text consists of, if it is nothing else.
pub(crate) fn sole(text: &str) -> Option<&str> {
    match pieces(text).as_slice() {
        [Piece::Slot(name)] => Some(name),
        _ => None,
    }
}

/// The placeholders of a text.
pub(crate) fn slots(text: &str) -> Vec<&str> {
    let slot = |piece| match piece {
        Piece::Slot(name) => Some(name),
        Piece::Text(_) => None,
    };
    pieces(text).into_iter().filter_map(slot).collect()
}

/// Every text inside a JSON template, keys included.
pub(crate) fn texts<'a>(json: &'a Json, found: &mut Vec<&'a str>) {
    match json {
        Json::String(text) => found.push(text),
        Json::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Json::Object(map) => map.iter().for_each(|(key, value)| {
            found.push(key);
            texts(value, found);
        }),
        _ => {}
    }
}

#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    Slot(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(found) = text[at..].find(['{', '}']) {
        let brace = at + found;
        if let Some(name) = escaped_at(&text[brace..]) {
            let inner = brace + 1..brace + name.len() + 3;
            pieces.push(Piece::Text(&text[from..brace]));
            pieces.push(Piece::Text(&text[inner.clone()]));
            (from, at) = (inner.end + 1, inner.end + 1);
        } else if let Some(name) = slot_at(&text[brace..]) {
            pieces.push(Piece::Text(&text[from..brace]));
            pieces.push(Piece::Slot(name));
            (from, at) = (brace + name.len() + 2, brace + name.len() + 2);
        } else {
            at = brace + 1;
        }
    }
    pieces.push(Piece::Text(&text[from..]));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

/// `{{name}}`.
fn escaped_at(text: &str) -> Option<&str> {
    let name = slot_at(text.strip_prefix('{')?)?;
    text[name.len() + 3..].starts_with('}').then_some(name)
}

fn slot_at(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('{')?;
    let name = &inner[..inner.find('}')?];
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(name: &str) -> Option<String> {
        (name == "id").then(|| "7".to_owned())
    }

    #[test]
    fn names_in_braces_are_filled_and_everything_else_stays() {
        for (text, expected) in [
            ("/a/{id}/b", "/a/7/b"),
            ("{id}{id}", "77"),
            ("{{id}}", "{id}"),
            (r#"{"a":{"{id}":{"is":"{id}"}}}"#, r#"{"a":{"7":{"is":"7"}}}"#),
            ("{{{id}}}", "{{id}}"),
            ("query { accounts { name } }", "query { accounts { name } }"),
            ("{ id }", "{ id }"),
            ("{other}", "{other}"),
            ("é{id}ü}", "é7ü}"),
            ("{", "{"),
        ] {
            assert_eq!(fill(text, &value), expected, "{text}");
        }
    }

    #[test]
    fn a_lone_placeholder_keeps_its_type() {
        let filling = |name: &str| match name {
            "value" => Some(Filling::One(json!(5))),
            "values" => Some(Filling::Many(vec![json!("a"), json!(2)])),
            _ => None,
        };
        let template = json!({ "{id}": "{value}", "in": ["{values}"], "q": "x = {id}" });
        let filled = fill_json(&template, &filling, &value);
        assert_eq!(filled, json!({ "7": 5, "in": [["a", 2]], "q": "x = 7" }));
    }
}
