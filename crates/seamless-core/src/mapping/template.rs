//! Native paths that are templates: `{firstName} {lastName}` reads several native fields as one text. Read, never written: what a text was made
//! of cannot be told from it.

use std::borrow::Cow;

use super::{kind, path};
use crate::value::{Fields, Value};

/// A piece of a template.
enum Piece<'a> {
    Text(&'a str),
    Path(&'a str),
}

/// Whether the native path is a template.
pub fn is_template(native: &str) -> bool {
    native.split_once('{').is_some_and(|(_, rest)| rest.contains('}'))
}

/// The native paths that a mapping's native path names: itself, or those of the template.
pub(super) fn paths(native: &str) -> Vec<&str> {
    if !is_template(native) {
        return vec![native];
    }
    let named = |piece| match piece {
        Piece::Path(path) => Some(path),
        Piece::Text(_) => None,
    };
    pieces(native).filter_map(named).collect()
}

/// What a record holds at a native path, or what its fields make of a template; the error completes "the field holds …".
pub(super) fn read<'f>(fields: &'f Fields, native: &str) -> Result<Option<Cow<'f, Value>>, String> {
    if !is_template(native) {
        return Ok(path::read(fields, native)?.map(Cow::Borrowed));
    }
    let (mut text, mut is_empty) = (String::new(), true);
    for piece in pieces(native) {
        match piece {
            Piece::Text(between) => text += between,
            Piece::Path(path) => {
                let held = path::read(fields, path)?.filter(|value| !value.is_empty());
                let Some(value) = held else { continue };
                let Some(plain) = value.to_plain() else {
                    return Err(format!("{} in {path}, which is no text", kind::describe(value)));
                };
                text += &plain;
                is_empty = false;
            }
        }
    }
    Ok((!is_empty).then_some(Cow::Owned(Value::Text(text))))
}

/// Whether the record has nothing at all of what the native path names, not even an empty value.
pub(super) fn is_absent(fields: &Fields, native: &str) -> bool {
    paths(native)
        .into_iter()
        .all(|path| path::is_absent(fields, path))
}

fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((path, behind)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            rest = behind;
            return Some(Piece::Path(path.trim()));
        }
        // A brace without its partner is text.
        let next = rest.char_indices().skip(1).find(|(_, c)| *c == '{');
        let end = next.map_or(rest.len(), |(at, _)| at);
        let (text, behind) = rest.split_at(end);
        rest = behind;
        Some(Piece::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_plain(native: &str) -> Result<Option<String>, String> {
        let json = r#"{"first":"Ada","last":" Löf ","none":null,"no":7,"phones":[{"type":"work","n":"1"}],"deep":{"er":"x"},"list":[1]}"#;
        let Value::Map(fields) = Value::from_json(&serde_json::from_str(json).unwrap()) else {
            panic!("not an object")
        };
        read(&fields, native).map(|value| value.and_then(|value| value.to_plain()))
    }

    #[test]
    fn templates_read_several_fields_as_one_text() {
        let cases = [
            ("first", Ok(Some("Ada"))),
            ("{first} {last}", Ok(Some("Ada  Löf "))),
            ("{ first }-{no}", Ok(Some("Ada-7"))),
            ("{none}{first}", Ok(Some("Ada"))),
            ("{none}, {nowhere}", Ok(None)),
            ("№ {phones[type=work].n}/{deep.er}", Ok(Some("№ 1/x"))),
            ("{first} {", Ok(Some("Ada {"))),
            ("{list}", Err("a list in list, which is no text")),
            ("{", Ok(None)),
        ];
        for (native, expected) in cases {
            let expected = expected
                .map(|text: Option<&str>| text.map(str::to_owned))
                .map_err(str::to_owned);
            assert_eq!(read_plain(native), expected, "{native}");
        }
    }

    #[test]
    fn the_paths_of_a_template_are_known() {
        assert_eq!(paths("a.b"), ["a.b"]);
        assert_eq!(paths("{a} – { b.c }"), ["a", "b.c"]);
        assert_eq!(paths("{}x"), [""]);
    }
}
