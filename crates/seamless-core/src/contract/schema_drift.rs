//! Comparing what a live system says of its fields with what it said before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EntityInfo, FieldInfo};
use crate::envelope::hex;

/// An entity's fields in a form that is small enough to be kept between two starts. Holds no record content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaShape(pub BTreeMap<String, FieldShape>);

/// What matters of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldShape {
    /// The system's own type name.
    pub data_type: String,
    /// Longest text, in characters.
    pub length: Option<usize>,
    /// A create without it is refused.
    pub required: bool,
    /// Cannot be written.
    pub read_only: bool,
    /// The native entity it points to.
    pub reference: Option<String>,
    /// Hash over the option list, labels and activity included.
    pub options: Option<String>,
}

/// A field that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDrift {
    /// The field.
    pub field: String,
    /// It is gone: what is mapped to it cannot be read or written.
    pub gone: bool,
    /// What changed, for people (`length 100 → 50`).
    pub change: String,
}

impl SchemaShape {
    /// The shape of a live description.
    pub fn of(info: &EntityInfo) -> SchemaShape {
        SchemaShape(
            info.fields
                .iter()
                .map(|field| (field.name.clone(), shape(field)))
                .collect(),
        )
    }

    /// One hash over everything: equal shapes have equal ones.
    pub fn fingerprint(&self) -> String {
        hash(&serde_json::to_string(self).unwrap_or_default())
    }

    /// What is different now, field by field. New fields that nothing needs are drift, too: a person may want them.
    pub fn drift(&self, now: &SchemaShape) -> Vec<FieldDrift> {
        let gone = self
            .0
            .keys()
            .filter(|field| !now.0.contains_key(*field))
            .map(|field| drift(field, true, "is gone".to_owned()));
        let other = now.0.iter().filter_map(|(field, shape)| match self.0.get(field) {
            None => Some(drift(field, false, "is new".to_owned())),
            Some(before) => {
                let changes = before.changes(shape);
                (!changes.is_empty()).then(|| drift(field, false, changes.join(", ")))
            }
        });
        gone.chain(other).collect()
    }
}

fn drift(field: &str, gone: bool, change: String) -> FieldDrift {
    FieldDrift {
        field: field.to_owned(),
        gone,
        change,
    }
}

impl FieldShape {
    fn changes(&self, now: &FieldShape) -> Vec<String> {
        let length = |length: Option<usize>| length.map_or("unlimited".to_owned(), |n| n.to_string());
        let mut changes = Vec::new();
        if self.data_type != now.data_type {
            changes.push(format!("type {} → {}", self.data_type, now.data_type));
        }
        if self.length != now.length {
            changes.push(format!("length {} → {}", length(self.length), length(now.length)));
        }
        if self.required != now.required {
            let word = if now.required { "required" } else { "optional" };
            changes.push(format!("is {word} now"));
        }
        if self.read_only != now.read_only {
            let word = if now.read_only { "read-only" } else { "writable" };
            changes.push(format!("is {word} now"));
        }
        if self.reference != now.reference {
            changes.push("points to another entity".to_owned());
        }
        if self.options != now.options {
            changes.push("option list changed".to_owned());
        }
        changes
    }
}

fn shape(field: &FieldInfo) -> FieldShape {
    FieldShape {
        data_type: field.data_type.clone(),
        length: field.length,
        required: field.required,
        read_only: field.read_only,
        reference: field.reference.clone(),
        options: field.options.as_ref().map(|options| {
            // The order in which a server lists them means nothing.
            let mut lines: Vec<String> = options
                .iter()
                .map(|option| format!("{:?} {} {}", option.value.to_plain(), option.label, option.active))
                .collect();
            lines.sort();
            hash(&lines.join("\n"))
        }),
    }
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::OptionInfo;
    use crate::value::Value;

    fn field(name: &str, length: usize, options: &[(i64, &str, bool)]) -> FieldInfo {
        FieldInfo {
            length: Some(length),
            options: (!options.is_empty()).then(|| {
                options
                    .iter()
                    .map(|(value, label, active)| OptionInfo {
                        value: Value::Int(*value),
                        label: (*label).to_owned(),
                        active: *active,
                    })
                    .collect()
            }),
            ..FieldInfo::text(name)
        }
    }

    fn shape_of(fields: Vec<FieldInfo>) -> SchemaShape {
        SchemaShape::of(&EntityInfo {
            fields,
            ..EntityInfo::default()
        })
    }

    #[test]
    fn drift_names_each_field_and_what_changed() {
        let before = shape_of(vec![
            field("name", 100, &[]),
            field("type", 0, &[(1, "Customer", true), (2, "Lead", true)]),
            field("old", 5, &[]),
        ]);
        let now = shape_of(vec![
            FieldInfo {
                required: true,
                ..field("name", 50, &[])
            },
            field("type", 0, &[(2, "Lead", false), (1, "Customer", true)]),
            field("new", 5, &[]),
        ]);
        let seen: Vec<(String, bool, String)> = before
            .drift(&now)
            .into_iter()
            .map(|drift| (drift.field, drift.gone, drift.change))
            .collect();
        let expected = [
            ("old", true, "is gone"),
            ("name", false, "length 100 → 50, is required now"),
            ("new", false, "is new"),
            ("type", false, "option list changed"),
        ];
        assert_eq!(
            seen,
            expected.map(|(field, gone, change)| (field.to_owned(), gone, change.to_owned()))
        );
        assert_ne!(before.fingerprint(), now.fingerprint());
    }

    #[test]
    fn the_order_of_options_is_no_drift() {
        let one = shape_of(vec![field("type", 0, &[(1, "A", true), (2, "B", true)])]);
        let two = shape_of(vec![field("type", 0, &[(2, "B", true), (1, "A", true)])]);
        assert!(one.drift(&two).is_empty());
        assert_eq!(one.fingerprint(), two.fingerprint());
    }

    #[test]
    fn each_trait_of_a_field_has_its_own_words() {
        let plain = || FieldInfo::text("f");
        // What changes, how that is told, and how its return is.
        type Case = (fn(&mut FieldInfo), &'static str, &'static str);
        let cases: [Case; 6] = [
            (
                |f| f.data_type = "integer".into(),
                "type text → integer",
                "type integer → text",
            ),
            (
                |f| f.length = Some(50),
                "length unlimited → 50",
                "length 50 → unlimited",
            ),
            (|f| f.required = true, "is required now", "is optional now"),
            (|f| f.read_only = true, "is read-only now", "is writable now"),
            (
                |f| f.reference = Some("Companies".into()),
                "points to another entity",
                "points to another entity",
            ),
            (
                |f| f.options = Some(Vec::new()),
                "option list changed",
                "option list changed",
            ),
        ];
        for (change, there, back) in cases {
            let mut changed = plain();
            change(&mut changed);
            let (before, now) = (shape_of(vec![plain()]), shape_of(vec![changed]));
            for (from, to, expected) in [(&before, &now, there), (&now, &before, back)] {
                let drifts = from.drift(to);
                let words: Vec<&str> = drifts.iter().map(|drift| drift.change.as_str()).collect();
                assert_eq!(words, [expected]);
                assert!(drifts[0].field == "f" && !drifts[0].gone, "{expected}");
            }
            assert_ne!(before.fingerprint(), now.fingerprint(), "{there}");
        }
    }
}
