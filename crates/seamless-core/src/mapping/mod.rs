//! Mapping as data: native record ↔ canonical record, field by field, both directions.
//!
//! A [`SideMapping`] describes one system's side of one entity. [`SideMapping::observe`] turns a native record into an [`Observed`] one;
//! [`SideMapping::project`] says what a canonical value becomes in this system and how it will read back (the *declared loss*).
//! [`SideMapping::validate`] checks it by itself, [`SideMapping::check`] against the live system.

mod build;
mod check;
mod convert;
mod kind;
mod options;
mod path;
mod template;
#[cfg(test)]
mod tests;
mod transform;
mod validate;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use check::{MappingProblem, Severity};
pub use options::OptionMap;
pub(crate) use path::with_whole_lists;
pub use template::is_template;
pub use transform::{Compare, Transform};

use crate::record::{RecordId, Stamp};
use crate::value::{Fields, Value};

/// One system's side of one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideMapping {
    /// The native entity (`Companies`, `accounts`).
    pub entity: String,
    /// Native path of the cross-reference field that holds the other system's id (`udf.CRM ID`).
    #[serde(default)]
    pub xref: Option<String>,
    /// Canonical field → how it is read and written here.
    pub fields: BTreeMap<String, FieldMapping>,
}

/// How a canonical field lives in one system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldMapping {
    /// Native path: `name`, `address.city`, and into lists `phones[type=work].number` or `lines[0]`. An element is written as the whole list with
    /// that element changed, because systems replace lists as a whole. A template (`{firstName} {lastName}`) reads several as one text and is
    /// never written.
    pub native: String,
    /// Canonical type.
    #[serde(default)]
    pub kind: FieldKind,
    /// How the native system types it, where that differs (`active` is a boolean in Companies and 0/1 in Contacts).
    #[serde(default)]
    pub native_kind: Option<FieldKind>,
    /// Applied in order when reading and again when writing; each is idempotent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<Transform>,
    /// Canonical option ↔ native option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<OptionMap>,
    /// Longest text this system takes, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Cut longer texts (declared loss) instead of refusing them.
    #[serde(default)]
    pub truncate: bool,
    /// A create here needs it.
    #[serde(default)]
    pub required: bool,
    /// Canonical value written on create when the source has none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "options::plain_scalar"
    )]
    pub default: Option<Value>,
    /// On a create, when the source has none: the first of these canonical fields of the source that holds something, read as this field's type.
    /// [`TODAY`] stands for the day of the create (UTC). Comes before `default`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_from: Vec<String>,
    /// What `default_from` gives is never later than this canonical date of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// May be written.
    #[serde(default = "yes")]
    pub writable: bool,
    /// May be changed after the create (a contact's company in Autotask may not).
    #[serde(default = "yes")]
    pub updatable: bool,
}

/// The word for the day of the create in [`FieldMapping::default_from`].
pub const TODAY: &str = "today";

fn yes() -> bool {
    true
}

/// Canonical type of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Text; blanks are null.
    #[default]
    Text,
    /// Whole number.
    Int,
    /// Exact decimal.
    Decimal,
    /// Truth value.
    Bool,
    /// Calendar date.
    Date,
    /// Moment.
    Time,
    /// One of a list: canonical value is a label-like text.
    Choice,
    /// The id of another record of the same system, as text.
    Reference,
}

/// A record as seen on one side, in canonical fields.
///
/// Reference fields hold *this side's* native id: each half of the base stays in its own id space.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Native id.
    pub id: RecordId,
    /// Version by the system's own stamp.
    pub stamp: Option<Stamp>,
    /// Created, by the system's own clock.
    pub created: Option<Stamp>,
    /// What the cross-reference field holds.
    pub xref: Option<String>,
    /// Canonical field → value. Every mapped field is present; blank is `Null`.
    pub fields: Fields,
    /// Fields that could not be read, with the reason (`picklist value 17 has no counterpart`); they are absent from `fields`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<String, String>,
    /// Fields that the record does not have at all; `Null` in `fields`. Empty where the system leaves out what is empty
    /// ([`crate::Capabilities::omits_empty`]).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub absent: BTreeSet<String>,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "observed {} ({} fields, stamp {:?})",
            self.id,
            self.fields.len(),
            self.stamp
        )
    }
}

/// What a canonical value becomes in a system.
#[derive(Clone, PartialEq, Eq)]
pub struct Projection {
    /// The value to write.
    pub native: Value,
    /// How it will be observed when read back.
    pub predicted: Value,
    /// Truncated, replaced by a fallback or otherwise not what the source said.
    pub lossy: Option<Loss>,
}

/// A declared loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cut to the system's length.
    Truncated,
    /// Option without counterpart, written as the fallback.
    Fallback,
    /// Transformed.
    Transformed,
}

/// Why a value cannot be written: a sentence for an operator, free of the value itself unless it is an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldIssue(pub String);
