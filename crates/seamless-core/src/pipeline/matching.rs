//! Who is who (R9). Pure.

use super::spec::{MatchField, MatchRule};
use crate::mapping::Observed;

/// A record that a rule found.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The record.
    pub record: Observed,
    /// It is linked to another record already, or an intent is open on it.
    pub taken: bool,
    /// It agrees with the source in every identity field of the entity (name, account).
    pub same_identity: bool,
}

/// What the candidates of one rule mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleOutcome {
    /// Exactly one free record on each side.
    Link(crate::record::RecordId),
    /// Several are free on one side: a person decides.
    Ambiguous,
    /// None is free, but a linked one is the same by name and account too.
    SuspectedDuplicate(crate::record::RecordId),
    /// This rule says nothing.
    NoMatch,
}

/// Judges one rule: `there` are the records on the other side with the source's key, `twins` those on the source's own side.
pub fn judge(there: &[Candidate], twins: &[Candidate]) -> RuleOutcome {
    let free: Vec<&Candidate> = there.iter().filter(|candidate| !candidate.taken).collect();
    let free_twins = twins.iter().filter(|candidate| !candidate.taken).count();
    match free.as_slice() {
        [one] if free_twins == 0 => RuleOutcome::Link(one.record.id.clone()),
        [_, ..] => RuleOutcome::Ambiguous,
        [] => {
            if let Some(taken) = there
                .iter()
                .find(|candidate| candidate.taken && candidate.same_identity)
            {
                return RuleOutcome::SuspectedDuplicate(taken.record.id.clone());
            }
            // Nobody to be confused with on the other side; but two records that are one by name and account as well
            // would become two there too: a person says which of them lives.
            if twins.iter().any(|twin| !twin.taken && twin.same_identity) {
                return RuleOutcome::Ambiguous;
            }
            RuleOutcome::NoMatch
        }
    }
}

/// What a rule compares, whatever it is called: the same for two syncs whose rules would find the same records.
pub(crate) fn signature(rule: &MatchRule) -> String {
    let field = |field: &MatchField| format!("{}:{:?}", field.field, field.normalise);
    let fields: Vec<String> = rule.fields.iter().map(field).collect();
    fields.join(",")
}

/// The rule's key of a record: its fields, normalised; `None` when one of them is empty (never match on an empty value).
pub fn key_of(rule: &MatchRule, record: &Observed) -> Option<Vec<String>> {
    rule.fields
        .iter()
        .map(|field| {
            record
                .fields
                .get(&field.field)
                .and_then(|value| field.normalise.apply(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Normaliser;
    use crate::record::RecordId;
    use crate::value::Fields;

    fn candidate(id: &str, taken: bool, same_identity: bool) -> Candidate {
        let record = Observed {
            id: RecordId::from(id),
            stamp: None,
            created: None,
            xref: None,
            fields: Fields::new(),
            broken: Default::default(),
            absent: Default::default(),
        };
        Candidate {
            record,
            taken,
            same_identity,
        }
    }

    #[test]
    fn one_free_on_each_side_links_and_everything_else_does_not() {
        let free = || candidate("1", false, true);
        let taken = |same| candidate("2", true, same);
        let cases = [
            (vec![free()], vec![], RuleOutcome::Link("1".into())),
            (vec![free(), taken(true)], vec![], RuleOutcome::Link("1".into())),
            (vec![free(), free()], vec![], RuleOutcome::Ambiguous),
            (vec![free()], vec![free()], RuleOutcome::Ambiguous),
            (vec![free()], vec![taken(true)], RuleOutcome::Link("1".into())),
            (
                vec![taken(true)],
                vec![],
                RuleOutcome::SuspectedDuplicate("2".into()),
            ),
            (vec![taken(false)], vec![], RuleOutcome::NoMatch),
            (vec![], vec![free()], RuleOutcome::Ambiguous),
            (vec![], vec![candidate("3", false, false)], RuleOutcome::NoMatch),
            (vec![], vec![], RuleOutcome::NoMatch),
        ];
        for (index, (there, twins, expected)) in cases.into_iter().enumerate() {
            assert_eq!(judge(&there, &twins), expected, "case {index}");
        }
    }

    #[test]
    fn a_key_has_every_field_of_its_rule_or_there_is_none() {
        let field = |name: &str, normalise| MatchField {
            field: name.to_owned(),
            normalise,
        };
        let rule = |name: &str, fields| MatchRule {
            name: name.to_owned(),
            fields,
        };
        let both = rule(
            "name+code",
            vec![field("name", Normaliser::Name), field("code", Normaliser::Exact)],
        );
        for (name, code, key) in [
            ("Acme Ltd.", "Ab1", Some(["acme", "Ab1"])),
            ("ACME", "Ab1", Some(["acme", "Ab1"])),
            ("", "Ab1", None),
            ("Acme", "", None),
            ("!", "Ab1", None),
        ] {
            let mut record = candidate("1", false, false).record;
            record.fields = Fields::from([("name".into(), name.into()), ("code".into(), code.into())]);
            let key = key.map(|parts| parts.map(str::to_owned).to_vec());
            assert_eq!(key_of(&both, &record), key, "{name:?} {code:?}");
        }
        assert_eq!(key_of(&both, &candidate("1", false, false).record), None);
        // What it is called says nothing; what it compares, how, and in which order does.
        let others = [
            rule(
                "x",
                vec![field("name", Normaliser::Name), field("code", Normaliser::Text)],
            ),
            rule(
                "x",
                vec![field("code", Normaliser::Exact), field("name", Normaliser::Name)],
            ),
            rule("x", vec![field("name", Normaliser::Name)]),
        ];
        let renamed = MatchRule {
            name: "x".into(),
            ..both.clone()
        };
        assert_eq!(signature(&both), signature(&renamed));
        assert!(others.iter().all(|other| signature(other) != signature(&both)));
    }
}
