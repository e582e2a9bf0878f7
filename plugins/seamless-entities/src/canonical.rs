//! Canonical entities as tables: one row a field, from which both the model and the neutral mapping are made.

use seamless_core::mapping::{Compare, FieldKind, FieldMapping, SideMapping};
use seamless_core::pipeline::{EntityModel, FieldSpec, MatchRule, NamedBy, Normaliser, ReferenceSpec};

/// A canonical entity.
pub(crate) struct Entity {
    pub(crate) name: &'static str,
    /// What a neutral REST server calls it.
    pub(crate) plural: &'static str,
    pub(crate) fields: Vec<Field>,
    pub(crate) match_rules: Vec<MatchRule>,
    /// Must be equal too before an already linked record counts as suspected duplicate.
    pub(crate) identity: &'static [&'static str],
}

/// A canonical field.
pub(crate) struct Field {
    name: &'static str,
    kind: FieldKind,
    spec: FieldSpec,
    rest_type: Option<FieldKind>,
    rest_writable: bool,
}

impl Field {
    pub(crate) fn new(name: &'static str, kind: FieldKind) -> Field {
        Field {
            name,
            kind,
            spec: FieldSpec::default(),
            rest_type: None,
            rest_writable: true,
        }
    }

    pub(crate) fn text(name: &'static str) -> Field {
        Field::new(name, FieldKind::Text)
    }

    /// An option; a neutral server spells options as we do, and what it has beyond them is refused (or replaced) where it is written.
    pub(crate) fn choice(name: &'static str) -> Field {
        Field::new(name, FieldKind::Choice)
    }

    pub(crate) fn reference(name: &'static str, entity: &'static str, required: bool) -> Field {
        let mut field = Field::new(name, FieldKind::Reference);
        field.spec.reference = Some(ReferenceSpec {
            entity: entity.into(),
            required,
            outside: Default::default(),
            named_by: None,
        });
        field
    }

    /// The contact, where a record of the other system names it by its e-mail address only: looked up among the contacts of the record's account.
    pub(crate) fn contact_or_email() -> Field {
        let mut field = Field::reference("contact", "contact", false);
        if let Some(reference) = &mut field.spec.reference {
            reference.named_by = Some(NamedBy {
                field: "contact_email".to_owned(),
                equals: "email".to_owned(),
                within: Some("account".to_owned()),
                normalise: Normaliser::Email,
            });
        }
        field
    }

    pub(crate) fn compare(mut self, compare: Compare) -> Field {
        self.spec.compare = compare;
        self
    }

    /// A stamp: travels along, never causes a write.
    pub(crate) fn passenger(mut self) -> Field {
        self.spec.passenger = true;
        self
    }

    /// A server's own stamp of the same name would be upset by ours.
    pub(crate) fn rest_read_only(mut self) -> Field {
        self.rest_writable = false;
        self
    }

    pub(crate) fn rest_stored_as(mut self, kind: FieldKind) -> Field {
        self.rest_type = Some(kind);
        self
    }
}

/// The fields of a postal address.
pub(crate) fn address() -> impl Iterator<Item = Field> {
    let exact = [
        "address.line1",
        "address.line2",
        "address.city",
        "address.state",
        "address.postal_code",
    ];
    exact
        .into_iter()
        .map(Field::text)
        .chain([Field::text("address.country").compare(Compare::IgnoreCase)])
}

impl Entity {
    pub(crate) fn model(&self) -> EntityModel {
        EntityModel {
            name: self.name.into(),
            fields: self
                .fields
                .iter()
                .map(|field| (field.name.to_owned(), field.spec.clone()))
                .collect(),
            match_rules: self.match_rules.clone(),
            identity: self.identity.iter().map(|field| (*field).to_owned()).collect(),
        }
    }

    /// The mapping to a server that calls everything as we do, dots as nested objects, and keeps our id in `autotask_id`.
    pub(crate) fn rest(&self) -> SideMapping {
        let mapping = |field: &Field| FieldMapping {
            native_kind: field.rest_type,
            writable: field.rest_writable,
            ..FieldMapping::new(field.name, field.kind)
        };
        SideMapping {
            entity: self.plural.to_owned(),
            xref: Some("autotask_id".to_owned()),
            fields: self
                .fields
                .iter()
                .map(|field| (field.name.to_owned(), mapping(field)))
                .collect(),
        }
    }
}
