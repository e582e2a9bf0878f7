//! Native paths into lists: `phones[type=work].number`, `lines[1]`.
//!
//! Systems replace a list as a whole, so a change of one element is written as the list that was last read with that element changed.

use std::collections::BTreeMap;

use super::kind;
use crate::value::{Fields, Value, lookup};

/// Highest position in a list that a path may name.
const POSITION_MAX: usize = 99;

/// A path through a list, taken apart at its first bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListPath<'a> {
    /// Where the list is.
    list: &'a str,
    select: Select<'a>,
    /// The path within the element; empty for the element itself.
    rest: &'a str,
}

/// Which element of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Select<'a> {
    At(usize),
    /// The first one whose `key` holds `value`.
    Where {
        key: &'a str,
        value: &'a str,
    },
}

impl<'a> ListPath<'a> {
    /// `None` for a path that names no element of a list. Brackets in a field's own name (`udf.Size [cm]`) are no selection.
    fn parse(path: &'a str) -> Option<ListPath<'a>> {
        let (list, behind) = path.split_once('[')?;
        let (inside, rest) = behind.split_once(']')?;
        let rest = match rest.strip_prefix('.') {
            Some(rest) if !rest.is_empty() => rest,
            None if rest.is_empty() => rest,
            _ => return None,
        };
        let select = match (inside.parse(), inside.split_once('=')) {
            (Ok(position), _) => Select::At(position),
            (_, Some((key, value))) if !key.is_empty() && !value.is_empty() => Select::Where { key, value },
            _ => return None,
        };
        let is_name = !list.is_empty() && !list.ends_with(char::is_whitespace);
        is_name.then_some(ListPath { list, select, rest })
    }
}

/// The native field that a path belongs to: for an element, its list.
pub(super) fn field_of(path: &str) -> &str {
    ListPath::parse(path).map_or(path, |path| path.list)
}

/// Whether the path names a position that no list of ours may reach.
pub(super) fn is_too_far(path: &str) -> bool {
    ListPath::parse(path).is_some_and(|path| {
        matches!(path.select, Select::At(position) if position > POSITION_MAX) || is_too_far(path.rest)
    })
}

/// What a record holds at a path; the error completes "the field holds …".
pub(super) fn read<'a>(fields: &'a Fields, path: &str) -> Result<Option<&'a Value>, String> {
    if let Some(value) = lookup(fields, path) {
        return Ok(Some(value));
    }
    let Some(path) = ListPath::parse(path) else {
        return Ok(None);
    };
    let element = match lookup(fields, path.list) {
        Some(Value::List(items)) => path.select.position(items).and_then(|at| items.get(at)),
        Some(other) if !other.is_empty() => {
            return Err(format!("{} where a list is expected", kind::describe(other)));
        }
        _ => None,
    };
    match element {
        Some(element) if path.rest.is_empty() => Ok(Some(element)),
        Some(Value::Map(inner)) => read(inner, path.rest),
        Some(Value::Null) | None => Ok(None),
        Some(other) => Err(format!("{} where an object is expected", kind::describe(other))),
    }
}

/// Whether a record lacks the field itself that a path leads to. Within an object that is empty, and in a list, nothing is missed.
pub(super) fn is_absent(fields: &Fields, path: &str) -> bool {
    let field = field_of(path);
    if lookup(fields, field).is_some() {
        return false;
    }
    let above = field
        .rmatch_indices('.')
        .find_map(|(dot, _)| lookup(fields, &field[..dot]));
    above.is_none_or(|above| matches!(above, Value::Map(_)))
}

impl Select<'_> {
    fn position(self, items: &[Value]) -> Option<usize> {
        match self {
            Select::At(position) => (position < items.len()).then_some(position),
            Select::Where { key, value } => items.iter().position(|item| {
                let Value::Map(item) = item else { return false };
                lookup(item, key).and_then(Value::to_plain).as_deref() == Some(value)
            }),
        }
    }
}

/// What is sent for these native fields: those that name an element become the whole list, as `current` has it, with the element changed.
pub(crate) fn with_whole_lists(writes: Fields, current: Option<&Fields>) -> Fields {
    let mut sent = Fields::new();
    for (path, value) in writes {
        let is_own_name = current.is_some_and(|current| lookup(current, &path).is_some());
        match ListPath::parse(&path).filter(|_| !is_own_name) {
            None => {
                sent.insert(path, value);
            }
            Some(path) => {
                let held = || current.and_then(|current| lookup(current, path.list)).cloned();
                let before = sent.remove(path.list).or_else(held);
                let mut items = as_list(before);
                put_element(&mut items, path, value);
                sent.insert(path.list.to_owned(), Value::List(items));
            }
        }
    }
    sent
}

fn as_list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::List(items)) => items,
        _ => Vec::new(),
    }
}

/// An element that is not there is made, unless there is nothing to put into it.
fn put_element(items: &mut Vec<Value>, path: ListPath<'_>, value: Value) {
    let at = match (path.select.position(items), path.select) {
        (Some(at), _) => at,
        (None, _) if value == Value::Null => return,
        (None, Select::At(position)) => {
            items.resize(position + 1, Value::Null);
            position
        }
        (None, Select::Where { key, value }) => {
            let mut element = BTreeMap::new();
            put(&mut element, key, Value::from(value));
            items.push(Value::Map(element));
            items.len() - 1
        }
    };
    if path.rest.is_empty() {
        items[at] = value;
    } else {
        let mut element = match std::mem::take(&mut items[at]) {
            Value::Map(element) => element,
            _ => BTreeMap::new(),
        };
        put(&mut element, path.rest, value);
        items[at] = Value::Map(element);
    }
    while items.last() == Some(&Value::Null) {
        items.pop();
    }
}

fn put(object: &mut BTreeMap<String, Value>, path: &str, value: Value) {
    if object.contains_key(path) {
        object.insert(path.to_owned(), value);
    } else if let Some(inner) = ListPath::parse(path).filter(|inner| !inner.list.contains('.')) {
        let mut items = as_list(object.remove(inner.list));
        put_element(&mut items, inner, value);
        object.insert(inner.list.to_owned(), Value::List(items));
    } else if let Some((head, rest)) = path.split_once('.') {
        let mut inner = match object.remove(head) {
            Some(Value::Map(inner)) => inner,
            _ => BTreeMap::new(),
        };
        put(&mut inner, rest, value);
        object.insert(head.to_owned(), Value::Map(inner));
    } else {
        object.insert(path.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        match Value::from_json(&serde_json::from_str(json).unwrap()) {
            Value::Map(fields) => fields,
            _ => panic!("not an object"),
        }
    }

    const RECORD: &str = r#"{"phones":[{"type":"home","number":"1"},{"type":"work","number":"2","ext":null},{"type":"work","number":"3"}],
        "lines":["a","b"],"deep":{"er":[{"k":7,"of":[{"n":"x"}]}]},"udf":{"Size [cm]":9,"A [b=c]":8},"text":"t","none":null}"#;

    #[test]
    fn elements_are_read_by_position_or_by_key() {
        let record = fields(RECORD);
        let cases = [
            ("phones[type=work].number", Ok(Some("2"))),
            ("phones[type=fax].number", Ok(None)),
            ("phones[0].number", Ok(Some("1"))),
            ("phones[9].number", Ok(None)),
            ("lines[1]", Ok(Some("b"))),
            ("lines[2]", Ok(None)),
            ("lines[1].x", Err("a text where an object is expected")),
            ("deep.er[k=7].of[0].n", Ok(Some("x"))),
            ("udf.Size [cm]", Ok(Some("9"))),
            ("udf.A [b=c]", Ok(Some("8"))),
            ("text[0]", Err("a text where a list is expected")),
            ("none[0]", Ok(None)),
            ("nowhere[type=x].y", Ok(None)),
        ];
        for (path, expected) in cases {
            let found = read(&record, path).map(|value| value.and_then(Value::to_plain));
            let expected = expected
                .map(|value| value.map(str::to_owned))
                .map_err(str::to_owned);
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn one_element_is_written_as_the_list_it_belongs_to() {
        let record = fields(RECORD);
        let cases = [
            (
                r#"{"phones[type=work].number":"9","city":"Ulm"}"#,
                r#"{"city":"Ulm","phones":[{"number":"1","type":"home"},{"ext":null,"number":"9","type":"work"},{"number":"3","type":"work"}]}"#,
            ),
            (
                r#"{"phones[type=fax].number":"9","phones[0].number":"8"}"#,
                r#"{"phones":[{"number":"8","type":"home"},{"ext":null,"number":"2","type":"work"},{"number":"3","type":"work"},{"number":"9","type":"fax"}]}"#,
            ),
            (r#"{"lines[3]":"d"}"#, r#"{"lines":["a","b",null,"d"]}"#),
            (r#"{"lines[1]":null}"#, r#"{"lines":["a"]}"#),
            (r#"{"lines[5]":null}"#, r#"{"lines":["a","b"]}"#),
            (
                r#"{"deep.er[k=7].of[1].n":"y"}"#,
                r#"{"deep.er":[{"k":7,"of":[{"n":"x"},{"n":"y"}]}]}"#,
            ),
            (r#"{"udf.A [b=c]":1}"#, r#"{"udf.A [b=c]":1}"#),
            (
                r#"{"new[kind.code=a].at.b":1}"#,
                r#"{"new":[{"at":{"b":1},"kind":{"code":"a"}}]}"#,
            ),
        ];
        for (writes, expected) in cases {
            let sent = with_whole_lists(fields(writes), Some(&record));
            let shown = Value::Map(sent).to_json().to_string();
            assert_eq!(shown, expected, "{writes}");
        }
        let created = with_whole_lists(fields(r#"{"phones[type=work].number":"9"}"#), None);
        assert_eq!(
            Value::Map(created).to_json().to_string(),
            r#"{"phones":[{"number":"9","type":"work"}]}"#
        );
    }

    #[test]
    fn what_is_missed_is_the_field_itself() {
        let record = fields(
            r#"{"flat": null, "a.b": 1, "object": {"held": 1, "empty": null}, "emptied": null, "text": "x", "list": []}"#,
        );
        for (path, missed) in [
            ("flat", false),
            ("a.b", false),
            ("a.c", true),
            ("gone", true),
            ("gone.further", true),
            ("object.held", false),
            ("object.empty", false),
            ("object.gone", true),
            ("object.gone.further", true),
            ("object.empty.further", false),
            ("emptied.anything", false),
            ("text.anything", false),
            ("list[type=work].number", false),
            ("lists[0]", true),
        ] {
            assert_eq!(is_absent(&record, path), missed, "{path}");
        }
    }

    #[test]
    fn only_selections_are_list_paths() {
        for path in [
            "a",
            "a.b",
            "udf.Size [cm]",
            "a[]",
            "a[x]",
            "a[=1]",
            "a[k=]",
            "[0]",
            "a[0",
            "a[0].",
            "a[0]b",
            "a [0]",
        ] {
            assert_eq!(ListPath::parse(path), None, "{path}");
        }
        assert!(is_too_far("deep.er[k=7].of[100].n") && !is_too_far("lines[99]"));
    }
}
