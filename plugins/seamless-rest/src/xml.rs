//! XML as if it were JSON, both ways: an element is a member of its parent, and a list where it repeats; `@name` is an attribute,
//! `#text` the text beside attributes or other elements. Entities that a document defines itself are not expanded.

use quick_xml::XmlVersion;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use serde_json::{Map, Value as Json};

use crate::json_path::plain;

const DEPTH_MAX: usize = 64;

/// Reads a document. The error says where, and quotes nothing.
pub(crate) fn read(bytes: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the answer is not utf-8".to_owned())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event();
        let at = |what: &str| {
            format!(
                "the answer is not readable as xml: {what} (byte {})",
                reader.buffer_position()
            )
        };
        match event.map_err(|_| at("it is not well formed"))? {
            Event::Start(start) => {
                if open.len() > DEPTH_MAX {
                    return Err(at("it is too deep"));
                }
                open.push(Element::new(&start).ok_or_else(|| at("an attribute cannot be read"))?);
            }
            Event::Empty(start) => {
                let element = Element::new(&start).ok_or_else(|| at("an attribute cannot be read"))?;
                put(&mut open, element);
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| at("it is not well formed"))?;
                put(&mut open, element);
            }
            Event::Text(text) => push_text(&mut open, &text.xml10_content()),
            Event::CData(text) => push_text(&mut open, &text.xml10_content()),
            Event::GeneralRef(entity) => {
                let text = match entity.resolve_char_ref() {
                    Ok(Some(character)) => character.to_string(),
                    Ok(None) => match &*entity {
                        "lt" => "<".to_owned(),
                        "gt" => ">".to_owned(),
                        "amp" => "&".to_owned(),
                        "apos" => "'".to_owned(),
                        "quot" => "\"".to_owned(),
                        _ => return Err(at("it uses an entity that is not built in")),
                    },
                    Err(_) => return Err(at("a character reference is wrong")),
                };
                push_text(&mut open, &text);
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(root), true) => Ok(Json::Object(root.members)),
        _ => Err("the answer is not readable as xml: it ends too early".to_owned()),
    }
}

/// Writes a document. The value needs exactly one member, the root element.
pub(crate) fn write(json: &Json) -> Result<String, String> {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    match json {
        Json::Object(map) if map.len() == 1 => {
            for (name, value) in map {
                element(name, value, &mut text)?;
            }
            Ok(text)
        }
        _ => Err("an xml body needs one root element; name it with 'wrap'".to_owned()),
    }
}

#[derive(Default)]
struct Element {
    name: String,
    members: Map<String, Json>,
    text: String,
}

impl Element {
    fn new(start: &BytesStart<'_>) -> Option<Element> {
        let mut element = Element {
            name: start.name().local_name().into_inner().to_owned(),
            ..Element::default()
        };
        for attribute in start.attributes() {
            let attribute = attribute.ok()?;
            let name = attribute.key.into_inner();
            if name.starts_with("xmlns") {
                continue;
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
            element.members.insert(
                format!("@{}", attribute.key.local_name().into_inner()),
                value.as_ref().into(),
            );
        }
        Some(element)
    }

    fn value(mut self) -> Json {
        let text = self.text.trim();
        if self.members.is_empty() {
            return if text.is_empty() { Json::Null } else { text.into() };
        }
        let is_nil = self.members.len() == 1
            && self
                .members
                .iter()
                .any(|(name, value)| name == "@nil" && value == "true");
        if is_nil {
            return Json::Null;
        }
        if !text.is_empty() {
            self.members.insert("#text".to_owned(), text.into());
        }
        Json::Object(self.members)
    }
}

fn push_text(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn put(open: &mut [Element], element: Element) {
    let Some(parent) = open.last_mut() else {
        return;
    };
    let name = element.name.clone();
    let value = element.value();
    match parent.members.get_mut(&name) {
        None => {
            parent.members.insert(name, value);
        }
        Some(Json::Array(items)) => items.push(value),
        Some(one) => *one = Json::Array(vec![one.take(), value]),
    }
}

fn element(name: &str, value: &Json, text: &mut String) -> Result<(), String> {
    let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
    if !is_name {
        return Err(format!("'{name}' cannot be the name of an xml element"));
    }
    match value {
        Json::Array(items) => items.iter().try_for_each(|item| element(name, item, text)),
        Json::Object(map) => {
            text.push('<');
            text.push_str(name);
            for (key, value) in map {
                if let Some(attribute) = key.strip_prefix('@') {
                    let value = plain(value).unwrap_or_default();
                    text.push_str(&format!(" {attribute}=\"{}\"", escape(value.as_str())));
                }
            }
            text.push('>');
            for (key, value) in map.iter().filter(|(key, _)| !key.starts_with('@')) {
                if key == "#text" {
                    text.push_str(&escape(plain(value).unwrap_or_default().as_str()));
                } else {
                    element(key, value, text)?;
                }
            }
            text.push_str(&format!("</{name}>"));
            Ok(())
        }
        scalar => {
            let value = plain(scalar).unwrap_or_default();
            text.push_str(&format!("<{name}>{}</{name}>", escape(value.as_str())));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_become_members_and_repeated_ones_a_list() {
        let text = r#"<?xml version="1.0"?><r:companies xmlns:r="urn:x" total="2">
            <company id="1"><name>R&amp;D &#233; <![CDATA[<&>]]></name><city/></company>
            <company id="2"><name lang="no">Blåbær</name><tag>a</tag><tag>b</tag><gone nil="true"/></company>
        </r:companies>"#;
        let expected = json!({ "companies": { "@total": "2", "company": [
            { "@id": "1", "name": "R&D é <&>", "city": null },
            { "@id": "2", "name": { "@lang": "no", "#text": "Blåbær" }, "tag": ["a", "b"], "gone": null },
        ] } });
        assert_eq!(read(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn what_is_written_reads_back() {
        let json = json!({ "company": { "@id": "7", "name": "R&D <é>", "tag": ["a", "b"], "address": { "city": "Oslo" }, "n": 5, "none": null } });
        let text = write(&json).unwrap();
        let mut back = json.clone();
        back["company"]["n"] = "5".into();
        assert_eq!(read(text.as_bytes()), Ok(back), "{text}");
        assert!(write(&json!({ "a": 1, "b": 2 })).is_err());
        assert!(write(&json!({ "a b": 1 })).is_err());
    }

    #[test]
    fn hostile_documents_are_refused() {
        let bomb = r#"<!DOCTYPE a [<!ENTITY x "xxxx">]><a>&x;</a>"#;
        assert!(read(bomb.as_bytes()).unwrap_err().contains("not built in"));
        assert!(
            read("<a>".repeat(100).as_bytes())
                .unwrap_err()
                .contains("too deep")
        );
        assert!(read(b"<a><b></a>").is_err());
        assert!(read(b"<a>").is_err());
        assert!(read(&[0xff, 0xfe]).is_err());
    }
}
