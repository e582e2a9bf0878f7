//! A document as a tree: names without prefixes, text, and the one attribute that Service Bus uses, `i:type`.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Deepest nesting.
const DEPTH_MAX: usize = 32;

#[derive(Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// `i:type`, without its prefix.
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The root of a document.
    pub(crate) fn parse(text: &str) -> Result<Element, String> {
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut open = vec![Element::default()];
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) if open.len() < DEPTH_MAX => open.push(Element::of(&start)?),
                Event::Start(_) => return Err("it is too deep".to_owned()),
                Event::Empty(start) => {
                    let element = Element::of(&start)?;
                    put(&mut open, element)?;
                }
                Event::End(_) => {
                    let element = open.pop().ok_or("it is not well formed")?;
                    put(&mut open, element)?;
                }
                Event::Text(text) => push(&mut open, &text.xml10_content()),
                Event::CData(text) => push(&mut open, &text.xml10_content()),
                Event::GeneralRef(entity) => {
                    let text = match entity.resolve_char_ref() {
                        Ok(Some(character)) => character.to_string(),
                        _ => match &*entity {
                            "lt" => "<",
                            "gt" => ">",
                            "amp" => "&",
                            "apos" => "'",
                            "quot" => "\"",
                            _ => return Err("it uses an entity that is not built in".to_owned()),
                        }
                        .to_owned(),
                    };
                    push(&mut open, &text);
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        let whole = open.pop().filter(|_| open.is_empty());
        whole
            .and_then(|mut whole| whole.children.pop())
            .ok_or_else(|| "it has no root".to_owned())
    }

    fn of(start: &BytesStart<'_>) -> Result<Element, String> {
        let mut element = Element {
            name: start.name().local_name().into_inner().to_owned(),
            ..Element::default()
        };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if attribute.key.local_name().into_inner() == "type" {
                let value = attribute
                    .normalized_value(XmlVersion::Implicit1_0)
                    .map_err(|error| error.to_string())?;
                element.kind = value.rsplit(':').next().unwrap_or_default().to_owned();
            }
        }
        Ok(element)
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The trimmed text of a child that has some.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let text = self.child(name)?.text.trim();
        (!text.is_empty()).then_some(text)
    }
}

fn put(open: &mut [Element], element: Element) -> Result<(), String> {
    let parent = open.last_mut().ok_or("it is not well formed")?;
    parent.children.push(element);
    Ok(())
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}
