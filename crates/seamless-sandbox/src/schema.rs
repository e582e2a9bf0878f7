//! Field tables: what an entity's fields are called, how long they may be, what they refer to.

use std::collections::HashMap;

/// A field's data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Long,
    Short,
    Bool,
    Dec,
    Double,
    Text,
    Time,
    Date,
}

impl Kind {
    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self::Int | Self::Long | Self::Short)
    }

    /// The name in Autotask's metadata.
    pub(crate) fn meta_name(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::Long => "long",
            Self::Short => "short",
            Self::Bool => "boolean",
            Self::Dec => "decimal",
            Self::Double => "double",
            Self::Text => "string",
            Self::Time | Self::Date => "datetime",
        }
    }

    /// The name in a conversion error.
    pub(crate) fn clr_name(self) -> &'static str {
        match self {
            Self::Int => "System.Int32",
            Self::Long => "System.Int64",
            Self::Short => "System.Int16",
            Self::Bool => "System.Boolean",
            Self::Dec => "System.Decimal",
            Self::Double => "System.Double",
            Self::Text => "System.String",
            Self::Time | Self::Date => "System.DateTime",
        }
    }
}

/// Must be present on create and cannot be emptied.
pub(crate) const REQUIRED: u8 = 1;
/// Ignored in bodies.
pub(crate) const READ_ONLY: u8 = 2;
/// Refused in filters.
pub(crate) const NOT_QUERYABLE: u8 = 4;
/// Takes one of a list of options.
pub(crate) const PICKLIST: u8 = 8;
/// A user-defined field.
pub(crate) const UDF: u8 = 16;

/// One row of a static field table.
#[derive(Debug)]
pub(crate) struct Def {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) max: usize,
    pub(crate) flags: u8,
    pub(crate) refers: &'static str,
}

/// A row; `max` 0 means no limit, `refers` "" no reference.
pub(crate) const fn def(name: &'static str, kind: Kind, max: usize, flags: u8, refers: &'static str) -> Def {
    Def {
        name,
        kind,
        max,
        flags,
        refers,
    }
}

/// One field of a live schema.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) max: usize,
    pub(crate) flags: u8,
    pub(crate) refers: &'static str,
    pub(crate) picks: &'static [Pick],
    /// The field that its options hang on; "" for none.
    pub(crate) pick_parent: &'static str,
    /// Option → option of that field.
    pub(crate) pick_parents: &'static [(&'static str, &'static str)],
}

impl Field {
    /// The option of the parent field that an option belongs to; "" for none.
    pub(crate) fn parent_of(&self, option: &str) -> &'static str {
        let pair = self.pick_parents.iter().find(|(value, _)| *value == option);
        pair.map_or("", |(_, parent)| parent)
    }

    pub(crate) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// One option of a picklist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) value: &'static str,
    pub(crate) label: &'static str,
    pub(crate) active: bool,
    pub(crate) system: bool,
}

/// The fields of one entity, with the few that the engine itself has to know.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(crate) entity: &'static str,
    pub(crate) collection: &'static str,
    pub(crate) fields: Vec<Field>,
    by_name: HashMap<String, u16>,
    pub(crate) xref: Option<u16>,
    pub(crate) created: Option<u16>,
    pub(crate) modified: Option<u16>,
    pub(crate) activity: Option<u16>,
    pub(crate) version: Option<u16>,
}

impl Schema {
    pub(crate) fn new(entity: &'static str, collection: &'static str, defs: &'static [Def]) -> Self {
        let fields = defs
            .iter()
            .map(|d| Field {
                name: d.name.to_owned(),
                kind: d.kind,
                max: d.max,
                flags: d.flags,
                refers: d.refers,
                picks: &[],
                pick_parent: "",
                pick_parents: &[],
            })
            .collect();
        let mut schema = Self {
            entity,
            collection,
            fields,
            by_name: HashMap::new(),
            xref: None,
            created: None,
            modified: None,
            activity: None,
            version: None,
        };
        schema.reindex();
        schema
    }

    fn reindex(&mut self) {
        self.by_name = self
            .fields
            .iter()
            .enumerate()
            .map(|(i, f)| (f.name.to_lowercase(), i as u16))
            .collect();
    }

    /// Adds a user-defined text field.
    pub(crate) fn add_udf(&mut self, name: &str) -> u16 {
        self.fields.push(Field {
            name: name.to_owned(),
            kind: Kind::Text,
            max: 255,
            flags: UDF,
            refers: "",
            picks: &[],
            pick_parent: "",
            pick_parents: &[],
        });
        self.reindex();
        (self.fields.len() - 1) as u16
    }

    /// Gives a field its options.
    pub(crate) fn picks(&mut self, field: &str, picks: &'static [Pick]) {
        if let Some(i) = self.find(field) {
            self.fields[usize::from(i)].picks = picks;
        }
    }

    /// Says which field the options of a field hang on.
    pub(crate) fn picks_hang_on(
        &mut self,
        field: &str,
        parent: &'static str,
        parents: &'static [(&'static str, &'static str)],
    ) {
        if let Some(i) = self.find(field) {
            self.fields[usize::from(i)].pick_parent = parent;
            self.fields[usize::from(i)].pick_parents = parents;
        }
    }

    /// A field by name, any case; user-defined ones included.
    pub(crate) fn find(&self, name: &str) -> Option<u16> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    pub(crate) fn field(&self, index: u16) -> &Field {
        &self.fields[usize::from(index)]
    }

    pub(crate) fn name(&self, index: u16) -> &str {
        &self.field(index).name
    }

    pub(crate) fn udfs(&self) -> impl Iterator<Item = (u16, &Field)> {
        self.fields
            .iter()
            .enumerate()
            .filter(|(_, f)| f.is(UDF))
            .map(|(i, f)| (i as u16, f))
    }
}
