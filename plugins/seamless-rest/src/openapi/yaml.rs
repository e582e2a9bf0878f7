//! YAML as far as descriptions of interfaces are written in it: what JSON could say as well (the JSON schema of YAML 1.2), with anchors and aliases.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use serde_json::{Map, Value as Json};

const SIZE_MAX: usize = 32 * 1024 * 1024;
const DEPTH_MAX: usize = 128;
/// Values in all, with those that an alias repeats: a few lines of aliases of aliases would otherwise fill any memory.
const VALUES_MAX: usize = 2_000_000;

/// What is wrong, and in which line and column.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) at: Option<(usize, usize)>,
}

/// Reads the first document.
pub(super) fn read(text: &str) -> Result<Json, Mistake> {
    if text.len() > SIZE_MAX {
        return Err(plain(format!("it is larger than {} MiB", SIZE_MAX >> 20)));
    }
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(unreadable)?;
        let located = |message: &str| Mistake {
            message: message.to_owned(),
            at: Some((span.start.line(), span.start.col() + 1)),
        };
        if let Some(whole) = reader.take(event).map_err(located)? {
            return Ok(whole);
        }
    }
    Err(plain("it is empty".to_owned()))
}

fn plain(message: String) -> Mistake {
    Mistake { message, at: None }
}

fn unreadable(error: ScanError) -> Mistake {
    Mistake {
        message: error.info().to_owned(),
        at: Some((error.marker().line(), error.marker().col() + 1)),
    }
}

/// A list or an object that is not closed yet.
struct Open {
    into: Into,
    anchor: usize,
    /// Values in all when it began.
    before: usize,
}

enum Into {
    List(Vec<Json>),
    /// With the key whose value comes next.
    Object(Map<String, Json>, Option<String>),
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    /// What an alias stands for, and how many values that is.
    anchors: HashMap<usize, (Json, usize)>,
    values: usize,
}

impl Reader {
    /// `Some` once the document is whole.
    fn take(&mut self, event: Event<'_>) -> Result<Option<Json>, &'static str> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.is_key() {
                    self.keep(anchor, Json::String(text.clone().into_owned()), 1);
                    return self.key(text.into_owned());
                }
                let is_text = style != ScalarStyle::Plain || tag.is_some();
                let value = if is_text {
                    Json::String(text.into_owned())
                } else {
                    meant(&text)
                };
                self.keep(anchor, value.clone(), 1);
                self.count(1)?;
                self.put(value)
            }
            Event::Alias(anchor) => {
                let Some((value, count)) = self.anchors.get(&anchor) else {
                    return Err("an alias of something that is not there, or not yet whole");
                };
                let (value, count) = (value.clone(), *count);
                match value {
                    Json::String(text) if self.is_key() => self.key(text),
                    _ if self.is_key() => Err(KEYS),
                    value => {
                        self.count(count)?;
                        self.put(value)
                    }
                }
            }
            Event::SequenceStart(anchor, _) => self.begin(Into::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.begin(Into::Object(Map::new(), None), anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { into, anchor, before }) = self.open.pop() else {
                    return Err("an end without a beginning");
                };
                let value = match into {
                    Into::List(list) => Json::Array(list),
                    Into::Object(object, _) => Json::Object(object),
                };
                if anchor > 0 {
                    self.keep(anchor, value.clone(), self.values - before);
                }
                self.put(value)
            }
            _ => Ok(None),
        }
    }

    fn begin(&mut self, into: Into, anchor: usize) -> Result<Option<Json>, &'static str> {
        if self.is_key() {
            return Err(KEYS);
        }
        if self.open.len() == DEPTH_MAX {
            return Err("it is nested deeper than 128 levels");
        }
        let before = self.values;
        self.open.push(Open { into, anchor, before });
        self.count(1)?;
        Ok(None)
    }

    fn is_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                into: Into::Object(_, None),
                ..
            })
        )
    }

    fn key(&mut self, text: String) -> Result<Option<Json>, &'static str> {
        if let Some(Open {
            into: Into::Object(object, key),
            ..
        }) = self.open.last_mut()
        {
            if object.contains_key(&text) {
                return Err("a key stands twice in one object");
            }
            *key = Some(text);
        }
        self.count(1).map(|()| None)
    }

    fn put(&mut self, value: Json) -> Result<Option<Json>, &'static str> {
        match self.open.last_mut().map(|open| &mut open.into) {
            None => return Ok(Some(value)),
            Some(Into::List(list)) => list.push(value),
            Some(Into::Object(object, key)) => {
                let Some(key) = key.take() else { return Err(KEYS) };
                object.insert(key, value);
            }
        }
        Ok(None)
    }

    fn keep(&mut self, anchor: usize, value: Json, count: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (value, count));
        }
    }

    fn count(&mut self, more: usize) -> Result<(), &'static str> {
        self.values += more;
        if self.values > VALUES_MAX {
            return Err("it has more than 2,000,000 values, those counted that aliases repeat");
        }
        Ok(())
    }
}

const KEYS: &str = "a key is not a plain text";

/// A text without quotes is a number, a truth or nothing where JSON would read it so.
fn meant(text: &str) -> Json {
    match text {
        "" | "~" => Json::Null,
        _ => serde_json::from_str(text)
            .ok()
            .filter(|json: &Json| json.is_number() || json.is_boolean() || json.is_null())
            .unwrap_or_else(|| Json::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_could_say_is_read_alike() {
        let text = "%YAML 1.2\n---\n# a comment\nopenapi: 3.0.3\ncount: 3\nrate: 1.5\nyes: no\nnothing: ~\nempty:\non: true\nday: 2026-11-26\nquoted: '17'\ntagged: !!str 17\n\
            responses:\n  200: {description: \"a: b\", list: [1, two, null]}\nlong: >-\n  one\n  two\nbase: &base {a: 1}\nagain: *base\n...\n---\nsecond: document\n";
        assert_eq!(
            read(text).unwrap(),
            json!({
                "openapi": "3.0.3", "count": 3, "rate": 1.5, "yes": "no", "nothing": null, "empty": null, "on": true, "day": "2026-11-26",
                "quoted": "17", "tagged": "17", "responses": { "200": { "description": "a: b", "list": [1, "two", null] } }, "long": "one two",
                "base": { "a": 1 }, "again": { "a": 1 },
            })
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let bomb: String = (1..30)
            .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", ")))
            .collect();
        let cases = [
            ("a: 1\n b: 2\n".to_owned(), 2, ""),
            ("a: 1\nb: *gone\n".to_owned(), 2, ""),
            ("a: &a [*a]\n".to_owned(), 1, "not yet whole"),
            ("a: 1\na: 2\n".to_owned(), 2, "twice"),
            ("? [1]\n: 2\n".to_owned(), 1, "not a plain text"),
            ("[".repeat(10_000), 1, ""),
            ("- ".repeat(200) + "x", 1, "deeper"),
            (format!("a0: &a0 x\n{bomb}"), 8, "aliases repeat"),
        ];
        for (text, line, part) in cases {
            let mistake = read(&text).unwrap_err();
            let shown = &text[..text.len().min(40)];
            assert_eq!(
                mistake.at.map(|(line, _)| line),
                Some(line),
                "{shown}: {}",
                mistake.message
            );
            assert!(mistake.message.contains(part), "{shown}: {}", mistake.message);
        }
        for empty in ["", "# nothing\n"] {
            assert!(read(empty).is_err());
        }
    }
}
