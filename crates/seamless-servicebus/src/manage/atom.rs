//! An Atom entry as a tree that can be changed and written back: what we do not know stays as it was.

use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

const DEPTH_MAX: usize = 32;

/// An element with its attributes as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// With its prefix.
    name: String,
    /// As in the document, escapes included.
    attributes: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The root of a document. The error quotes nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Element, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut open = vec![Element::default()];
        loop {
            let at = reader.buffer_position();
            let wrong = |what: &str| format!("{what} (byte {at})");
            match reader.read_event().map_err(|_| wrong("it is not well formed"))? {
                Event::Start(start) if open.len() < DEPTH_MAX => {
                    open.push(Element::of(&start).ok_or_else(|| wrong("an attribute cannot be read"))?);
                }
                Event::Start(_) => return Err(wrong("it is too deep")),
                Event::Empty(start) => {
                    let element = Element::of(&start).ok_or_else(|| wrong("an attribute cannot be read"))?;
                    put(&mut open, element);
                }
                Event::End(_) => {
                    let element = open.pop().ok_or_else(|| wrong("it is not well formed"))?;
                    put(&mut open, element);
                }
                Event::Text(text) => push(&mut open, &text.xml10_content()),
                Event::CData(text) => push(&mut open, &text.xml10_content()),
                Event::GeneralRef(entity) => match entity.resolve_char_ref() {
                    Ok(Some(character)) => push(&mut open, &character.to_string()),
                    _ => push(
                        &mut open,
                        match &*entity {
                            "lt" => "<",
                            "gt" => ">",
                            "amp" => "&",
                            "apos" => "'",
                            "quot" => "\"",
                            _ => return Err(wrong("it uses an entity that is not built in")),
                        },
                    ),
                },
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        let whole = open.pop().filter(|_| open.is_empty());
        whole
            .and_then(|mut whole| whole.children.pop())
            .ok_or_else(|| "it ends too early".to_owned())
    }

    fn of(start: &BytesStart<'_>) -> Option<Element> {
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.ok()?;
            let raw = attribute.value.as_ref().to_owned();
            attributes.push((attribute.key.into_inner().to_owned(), raw));
        }
        Some(Element {
            name: start.name().into_inner().to_owned(),
            attributes,
            ..Element::default()
        })
    }

    /// The name without its prefix.
    pub(crate) fn local(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or_default()
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.local() == name)
    }

    /// The trimmed text of a child that has some.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let text = self.child(name)?.text.trim();
        (!text.is_empty()).then_some(text)
    }

    /// An attribute by its name without prefix.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self
            .attributes
            .iter()
            .find(|(key, _)| key.rsplit(':').next() == Some(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Sets the text of a child, adding it where the order of the fields wants it: the service reads descriptions in order.
    pub(crate) fn set(&mut self, name: &str, value: &str, order: &[&str]) {
        if let Some(child) = self.children.iter_mut().find(|child| child.local() == name) {
            child.text = value.to_owned();
            child.attributes.clear();
            return;
        }
        let rank = |name: &str| order.iter().position(|known| *known == name);
        let own = rank(name);
        let before = self
            .children
            .iter()
            .position(|child| rank(child.local()).is_some_and(|rank| Some(rank) > own));
        let prefix = self.name.rsplit_once(':').map(|(prefix, _)| prefix);
        let child = Element {
            name: prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}:{name}")),
            text: value.to_owned(),
            ..Element::default()
        };
        let at = before.unwrap_or(self.children.len());
        self.children.insert(at, child);
    }

    pub(crate) fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (key, value) in &self.attributes {
            out.push_str(&format!(" {key}=\"{value}\""));
        }
        out.push('>');
        if self.children.is_empty() {
            out.push_str(&escape(self.text.as_str()));
        }
        for child in &self.children {
            child.write(out);
        }
        out.push_str(&format!("</{}>", self.name));
    }
}

fn put(open: &mut [Element], element: Element) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(element);
    }
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_written_back_as_it_was() {
        let text = "<T xmlns=\"urn:x\" xmlns:i=\"urn:i\"><A>1</A><Z i:type=\"o&amp;k\"><Deep>&lt;x&gt; &#233;</Deep></Z></T>";
        let mut element = Element::parse(text.as_bytes()).unwrap();
        element.set("A", "2", &["A", "B", "Z"]);
        element.set("B", "3 & 4", &["A", "B", "Z"]);
        let mut written = String::new();
        element.write(&mut written);
        let expected = "<T xmlns=\"urn:x\" xmlns:i=\"urn:i\"><A>2</A><B>3 &amp; 4</B><Z i:type=\"o&amp;k\"><Deep>&lt;x&gt; é</Deep></Z></T>";
        assert_eq!(written, expected);
        assert_eq!(
            element.child("Z").and_then(|z| z.attribute("type")),
            Some("o&amp;k")
        );
    }

    #[test]
    fn broken_documents_are_refused() {
        for text in ["", "<a>", "<a></b>", "<a>&unknown;</a>"] {
            assert!(Element::parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        assert!(Element::parse(deep.as_bytes()).unwrap_err().contains("too deep"));
    }
}
