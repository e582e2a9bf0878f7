//! A mapping checked by itself and against a live system.

use super::*;
use crate::contract::{EntityInfo, FieldInfo, OptionInfo};

#[test]
fn validate_names_each_mistake() {
    assert_eq!(company().validate(), Ok(()));
    let choice = |options: OptionMap| FieldMapping::choice("t", options);
    let cases: Vec<(FieldMapping, &str)> = vec![
        (FieldMapping::text(" "), "names no native field"),
        (FieldMapping::text("udf.CRM ID"), "holds the cross-reference"),
        (FieldMapping::text("t").max(0), "at least 1"),
        (
            FieldMapping::new("t", FieldKind::Int).max(5),
            "max_length and truncate apply to text",
        ),
        (
            FieldMapping::new("t", FieldKind::Int).transform(Transform::Lowercase),
            "transforms apply to text",
        ),
        (
            FieldMapping {
                kind: FieldKind::Text,
                ..choice(OptionMap::of([("a", 1)]))
            },
            "options need kind",
        ),
        (choice(OptionMap::default()), "options are empty"),
        (choice(OptionMap::of([("a", 1), ("a", 1)])), "listed twice"),
        (choice(OptionMap::of([("a", "")])), "has no native value"),
        (
            choice(OptionMap::of([("a", 1)]).write_fallback("b")),
            "'b' is named as fallback",
        ),
        (
            choice(OptionMap::of([("a", 1)])).default_value("z"),
            "option 'z' has no counterpart",
        ),
        (
            choice(OptionMap {
                read_only: vec!["a".into()],
                ..OptionMap::of([("a", 1), ("b", 1)])
            }),
            "read-only option 'a' shares its native value with 'b'",
        ),
        (
            FieldMapping::text("t").required().read_only(),
            "required field must be writable",
        ),
        (
            FieldMapping::text("t").default_value("x").read_only(),
            "default needs a writable field",
        ),
        (
            FieldMapping::new("t", FieldKind::Date).stored_as(FieldKind::Bool),
            "a date cannot be kept in a truth value",
        ),
        (FieldMapping::text("other"), "both write other"),
        (FieldMapping::text("{a} {b}"), "its native path is a template"),
        (
            FieldMapping::text("{} {b}").read_only(),
            "names a field without a name",
        ),
        (FieldMapping::text("lines[100]"), "a position beyond 99"),
        (
            FieldMapping {
                truncate: true,
                ..FieldMapping::new("t", FieldKind::Int)
            },
            "max_length and truncate apply to text",
        ),
        (
            FieldMapping::text("t").stored_as(FieldKind::Int).max(5),
            "max_length and truncate apply to text",
        ),
        (
            choice(OptionMap::of([("a", 1)])).stored_as(FieldKind::Int),
            "native_kind has no meaning beside options",
        ),
        (choice(OptionMap::of([(" a", 1)])), "is blank or has white space"),
        (choice(OptionMap::of([("", 1)])), "is blank or has white space"),
        (
            choice(OptionMap::of([("a", 1)]).read_fallback("b")),
            "'b' is named as fallback",
        ),
        (
            choice(OptionMap {
                read_only: vec!["a".into()],
                ..OptionMap::of([("a", 1), ("b", 2)]).write_fallback("a")
            }),
            "its write_fallback is read-only",
        ),
    ];
    for (field, part) in cases {
        let mistakes = mapping([("f", field), ("g", FieldMapping::text("other"))])
            .validate()
            .unwrap_err();
        assert!(
            mistakes.iter().any(|mistake| mistake.contains(part)),
            "{part}: {mistakes:?}"
        );
    }
    let fine = [
        FieldMapping::text("{a} {b}").read_only(),
        FieldMapping::text("lines[99]").max(1),
        choice(OptionMap::of([("a", 1), ("a", 2), ("b", 2)])),
        choice(OptionMap {
            read_only: vec!["a".into(), "b".into()],
            ..OptionMap::of([("a", 1), ("b", 1), ("c", 2)]).write_fallback("c")
        }),
    ];
    for field in fine {
        let shown = field.native.clone();
        assert_eq!(mapping([("f", field)]).validate(), Ok(()), "{shown}");
    }
    let nowhere = SideMapping {
        entity: " ".into(),
        ..company()
    };
    assert_eq!(
        nowhere.validate(),
        Err(vec!["the mapping names no native entity".to_owned()])
    );
    let reading_twice = mapping([
        ("f", FieldMapping::text("n")),
        ("g", FieldMapping::text("n").read_only()),
    ]);
    assert_eq!(
        reading_twice.validate(),
        Ok(()),
        "one writer may share its field with readers"
    );
}

fn option(value: &str, label: &str, active: bool) -> OptionInfo {
    OptionInfo {
        value: value.into(),
        label: label.into(),
        active,
    }
}

fn live() -> EntityInfo {
    let types = vec![option("1", "Customer", true), option("2", "Lead", true)];
    EntityInfo {
        fields: vec![
            FieldInfo {
                read_only: true,
                required: true,
                ..FieldInfo::text("id")
            },
            FieldInfo {
                required: true,
                length: Some(100),
                ..FieldInfo::text("companyName")
            },
            FieldInfo {
                required: true,
                length: Some(0),
                ..FieldInfo::text("phone")
            },
            FieldInfo::text("address"),
            FieldInfo {
                options: Some(types),
                ..FieldInfo::text("companyType")
            },
            FieldInfo::text("parentCompanyID"),
            FieldInfo::text("isActive"),
            FieldInfo::text("closedDate"),
            FieldInfo::text("queueID"),
            FieldInfo {
                read_only: true,
                required: true,
                ..FieldInfo::text("companyID")
            },
            FieldInfo {
                read_only: true,
                ..FieldInfo::text("createDate")
            },
            FieldInfo::text("udf.CRM ID"),
        ],
        can_create: true,
        can_update: true,
    }
}

#[test]
fn check_is_content_with_a_system_that_fits_or_is_silent() {
    assert_eq!(company().check(&EntityInfo::default()), []);
    let problems = company().check(&live());
    assert!(
        problems
            .iter()
            .all(|problem| problem.severity == Severity::Note && problem.field == "city"),
        "{problems:?}"
    );
}

#[test]
fn check_names_what_does_not_fit() {
    let change = |name: &str, change: &dyn Fn(&mut FieldInfo)| {
        let mut live = live();
        live.fields
            .iter_mut()
            .filter(|info| info.name == name)
            .for_each(change);
        live
    };
    let with_types =
        |types: Vec<OptionInfo>| change("companyType", &move |info| info.options = Some(types.clone()));
    let mut extra = live();
    extra.fields.push(FieldInfo {
        required: true,
        ..FieldInfo::text("ownerResourceID")
    });
    extra.fields.push(FieldInfo {
        required: true,
        ..FieldInfo::text("isActive")
    });
    let (lead, customer) = (|| option("2", "Lead", true), || option("1", "Customer", true));

    let cases = [
        (
            change("companyName", &|info| info.name = "CompanyNames".into()),
            "name",
            "did you mean CompanyNames?",
        ),
        (
            change("closedDate", &|info| info.name = "x".into()),
            "closed",
            "Companies has no field closedDate",
        ),
        (
            change("address", &|info| info.name = "addres".into()),
            "city",
            "has no field address.city",
        ),
        (
            change("udf.CRM ID", &|info| info.name = "udf.CRMID".into()),
            "xref",
            "did you mean udf.CRMID?",
        ),
        (
            change("udf.CRM ID", &|info| info.read_only = true),
            "xref",
            "cannot hold the cross-reference",
        ),
        (
            change("phone", &|info| info.read_only = true),
            "phone",
            "phone in Companies is read-only",
        ),
        (
            change("companyName", &|info| info.length = Some(8)),
            "name",
            "takes 8 characters, the mapping allows 10",
        ),
        (
            with_types(vec![customer()]),
            "account_type",
            "has no option 2, mapped to 'lead'; it has 1 'Customer'",
        ),
        (
            with_types(vec![customer(), option("2", "Lead", false)]),
            "account_type",
            "option 2 ('lead') is inactive",
        ),
        (
            with_types(vec![customer(), lead(), option("9", "Rival", true)]),
            "account_type",
            "option 9 ('Rival') has no counterpart",
        ),
        (
            with_types(vec![option("1", "Lead", true), option("2", "Customer", true)]),
            "account_type",
            "option 1 is 'Lead' there, but mapped to 'customer'; 'Customer' is 2",
        ),
        (
            extra.clone(),
            "ownerResourceID",
            "required for a create, but not mapped",
        ),
        (
            extra,
            "active",
            "isActive in Companies is required for a create; set required",
        ),
    ];
    for (live, field, part) in cases {
        let problems = company().check(&live);
        assert!(
            problems
                .iter()
                .any(|problem| problem.field == field && problem.sentence.contains(part)),
            "{part}: {problems:#?}"
        );
    }
}

#[test]
fn the_nearest_name_is_suggested_while_it_is_near() {
    // closedDate has ten letters: three edits are near.
    for (there, hint) in [
        ("closeDate", Some("closeDate")),
        ("CLOSED_DATE", Some("CLOSED_DATE")),
        ("clsdDat", Some("clsdDat")),
        ("xclosedDatexx", Some("xclosedDatexx")),
        ("clsDat", None),
        ("dateClosed", None),
    ] {
        let mut live = live();
        live.fields.iter_mut().for_each(|info| {
            if info.name == "closedDate" {
                info.name = there.to_owned();
            }
        });
        let problems = company().check(&live);
        let problem = problems.iter().find(|problem| problem.field == "closed").unwrap();
        let hint = hint.map_or(String::new(), |name| format!("; did you mean {name}?"));
        assert_eq!(
            problem.sentence,
            format!("Companies has no field closedDate{hint}")
        );
    }
}

#[test]
fn what_a_field_may_hold_is_told_and_only_what_is_in_use() {
    let mut listed: Vec<OptionInfo> = (1..=15)
        .map(|number| option(&number.to_string(), &format!("T{number}"), number != 3))
        .collect();
    listed.retain(|info| info.value != "2".into());
    let mut live = live();
    live.fields[4].options = Some(listed);
    let problems = company().check(&live);
    let missing = problems
        .iter()
        .find(|problem| problem.sentence.contains("has no option 2"))
        .unwrap();
    assert!(
        missing.sentence.contains("it has 1 'T1', 4 'T4'"),
        "{}",
        missing.sentence
    );
    assert!(
        missing.sentence.ends_with("14 'T14'"),
        "twelve of them: {}",
        missing.sentence
    );
    live.fields[4].options = Some(Vec::new());
    let problems = company().check(&live);
    assert!(
        problems
            .iter()
            .any(|problem| problem.sentence.ends_with("it has none")),
        "{problems:#?}"
    );

    let mut company = company();
    let field = company.fields.get_mut("account_type").unwrap();
    field.options = field.options.take().map(|options| options.read_fallback("lead"));
    let types = [("1", "Customer"), ("2", "Lead"), ("9", "Rival")];
    live.fields[4].options = Some(types.map(|(value, label)| option(value, label, true)).to_vec());
    let problems = company.check(&live);
    let rival = problems
        .iter()
        .find(|problem| problem.sentence.contains("'Rival'"))
        .unwrap();
    assert_eq!(rival.severity, Severity::Note);
    assert!(
        rival.sentence.ends_with("is read as 'lead'"),
        "{}",
        rival.sentence
    );
}

#[test]
fn every_native_field_of_a_mapping_is_named_once() {
    let mapping = mapping([
        ("full", FieldMapping::text("{first} {last}").read_only()),
        ("first", FieldMapping::text("first")),
        ("phone", FieldMapping::text("phones[type=work].number")),
    ]);
    let paths: Vec<String> = mapping.native_paths().into_iter().collect();
    assert_eq!(paths, ["first", "last", "phones", "udf.CRM ID"]);
}

#[test]
fn live_lengths_only_tighten_and_live_numbers_follow_the_label() {
    let mut live = live();
    live.fields[1].length = Some(8);
    live.fields[2].length = Some(25);
    live.fields[4].options = Some(vec![option("1", "Lead", true), option("5", "Customer", true)]);
    let tight = company().with_live(&live);
    assert_eq!(tight.fields["name"].max_length, Some(8));
    assert_eq!(tight.fields["phone"].max_length, Some(25));
    assert_eq!(tight.fields["city"].max_length, Some(4));
    assert_eq!(
        tight.fields["account_type"].options,
        company().fields["account_type"].options
    );
    let renumbered = company().with_live_options(&live);
    assert!(
        renumbered
            .project("account_type", &"lead".into())
            .is_ok_and(|p| p.native == Value::Int(1))
    );
    assert!(
        renumbered
            .project("account_type", &"customer".into())
            .is_ok_and(|p| p.native == Value::Int(5))
    );
}
