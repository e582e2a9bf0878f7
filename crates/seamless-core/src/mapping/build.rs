//! Mappings written in code: short words for the common settings.

use super::{FieldKind, FieldMapping, OptionMap, Transform};
use crate::value::Value;

impl FieldMapping {
    /// A field of this type that may be written, without any further rule.
    pub fn new(native: impl Into<String>, kind: FieldKind) -> FieldMapping {
        FieldMapping {
            native: native.into(),
            kind,
            native_kind: None,
            transforms: Vec::new(),
            options: None,
            max_length: None,
            truncate: false,
            required: false,
            default: None,
            default_from: Vec::new(),
            not_after: None,
            writable: true,
            updatable: true,
        }
    }

    /// A text field.
    pub fn text(native: impl Into<String>) -> FieldMapping {
        FieldMapping::new(native, FieldKind::Text)
    }

    /// An option field.
    pub fn choice(native: impl Into<String>, options: OptionMap) -> FieldMapping {
        FieldMapping {
            options: Some(options),
            ..FieldMapping::new(native, FieldKind::Choice)
        }
    }

    /// A reference that the native system types so.
    pub fn reference(native: impl Into<String>, native_kind: FieldKind) -> FieldMapping {
        FieldMapping::new(native, FieldKind::Reference).stored_as(native_kind)
    }

    /// The native type, where it differs.
    pub fn stored_as(mut self, native_kind: FieldKind) -> FieldMapping {
        self.native_kind = Some(native_kind);
        self
    }

    /// Longest text, in characters.
    pub fn max(mut self, characters: usize) -> FieldMapping {
        self.max_length = Some(characters);
        self
    }

    /// A create needs it.
    pub fn required(mut self) -> FieldMapping {
        self.required = true;
        self
    }

    /// Written on create when the source has none.
    pub fn default_value(mut self, value: impl Into<Value>) -> FieldMapping {
        self.default = Some(value.into());
        self
    }

    /// On create, when the source has none: the first of these canonical fields of the source that holds something.
    pub fn default_from(mut self, fields: &[&str]) -> FieldMapping {
        self.default_from = fields.iter().map(|field| (*field).to_owned()).collect();
        self
    }

    /// What [`FieldMapping::default_from`] gives is never later than this canonical date of the source.
    pub fn not_after(mut self, field: &str) -> FieldMapping {
        self.not_after = Some(field.to_owned());
        self
    }

    /// Adds a transform.
    pub fn transform(mut self, transform: Transform) -> FieldMapping {
        self.transforms.push(transform);
        self
    }

    /// Is read, never written.
    pub fn read_only(mut self) -> FieldMapping {
        self.writable = false;
        self
    }

    /// Is written on create only.
    pub fn create_only(mut self) -> FieldMapping {
        self.updatable = false;
        self
    }
}
