//! Contacts: below accounts, found by their e-mail address.

use std::collections::BTreeMap;

use seamless_core::mapping::{Compare, FieldKind, FieldMapping, SideMapping};
use seamless_core::pipeline::{
    EntityModel, FieldSpec, MatchField, MatchRule, Normaliser, Outside, ReferenceSpec,
};

pub(super) fn model() -> EntityModel {
    let account = FieldSpec {
        reference: Some(ReferenceSpec {
            entity: "account".into(),
            required: true,
            outside: Outside::Wait,
            named_by: None,
        }),
        ..FieldSpec::default()
    };
    EntityModel {
        name: "contact".into(),
        fields: BTreeMap::from([
            (
                "email".into(),
                FieldSpec {
                    compare: Compare::IgnoreCase,
                    ..FieldSpec::default()
                },
            ),
            ("last".into(), FieldSpec::default()),
            ("note".into(), FieldSpec::default()),
            ("account".into(), account),
        ]),
        match_rules: vec![MatchRule {
            name: "email".into(),
            fields: vec![MatchField {
                field: "email".into(),
                normalise: Normaliser::Email,
            }],
        }],
        identity: vec!["last".into(), "account".into()],
    }
}

pub(super) fn mapping() -> SideMapping {
    SideMapping {
        entity: "contact".into(),
        xref: Some("xref".into()),
        fields: BTreeMap::from([
            ("email".into(), FieldMapping::text("email")),
            ("last".into(), FieldMapping::text("last")),
            ("note".into(), FieldMapping::text("note")),
            (
                "account".into(),
                FieldMapping::reference("account", FieldKind::Text),
            ),
        ]),
    }
}
