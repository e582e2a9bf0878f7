//! What has happened between two looks at a record. Pure.

use super::EventRule;
use crate::value::{Fields, Value};

/// An event, as far as the two looks tell.
#[derive(Clone, PartialEq)]
pub struct Happened<'a> {
    /// The rule that says so.
    pub rule: &'a EventRule,
    /// What the field held.
    pub before: Value,
    /// What it holds.
    pub after: Value,
}

/// What has happened, in the order of the rules. A field that was not known before, or cannot be read now, says nothing.
pub fn derive<'a>(
    rules: impl IntoIterator<Item = &'a EventRule>,
    before: &Fields,
    after: &Fields,
) -> Vec<Happened<'a>> {
    let happened = |rule: &'a EventRule| {
        let (before, after) = (before.get(&rule.field)?, after.get(&rule.field)?);
        let fires =
            before != after && (rule.becomes.is_empty() || (rule.meets(after) && !rule.meets(before)));
        fires.then(|| Happened {
            rule,
            before: before.clone(),
            after: after.clone(),
        })
    };
    rules.into_iter().filter_map(happened).collect()
}

impl EventRule {
    /// Whether a value is one of those that the rule waits for.
    fn meets(&self, value: &Value) -> bool {
        let plain = value.to_plain().unwrap_or_default().to_lowercase();
        self.becomes.iter().any(|wanted| wanted.to_lowercase() == plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, field: &str, becomes: &[&str]) -> EventRule {
        EventRule {
            name: name.to_owned(),
            entity: "ticket".into(),
            field: field.to_owned(),
            becomes: becomes.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    fn names(before: Option<Value>, after: Option<Value>) -> Vec<String> {
        let rules = [
            rule("changed", "status", &[]),
            rule("completed", "status", &["complete"]),
            rule("won", "status", &["closed", "implemented"]),
            rule("deactivated", "status", &["false"]),
        ];
        let fields = |value: Option<Value>| -> Fields {
            value
                .map(|value| ("status".to_owned(), value))
                .into_iter()
                .collect()
        };
        derive(&rules, &fields(before), &fields(after))
            .into_iter()
            .map(|happened| happened.rule.name.clone())
            .collect()
    }

    #[test]
    fn an_event_is_a_change_from_a_known_value_into_a_wanted_one() {
        let text = |text: &str| Some(Value::text(text));
        for (before, after, expected) in [
            (text("new"), text("complete"), vec!["changed", "completed"]),
            (text("new"), text("Complete"), vec!["changed", "completed"]),
            (text("complete"), text("complete"), vec![]),
            (text("complete"), text("new"), vec!["changed"]),
            (text("active"), text("closed"), vec!["changed", "won"]),
            (text("closed"), text("implemented"), vec!["changed"]),
            (Some(Value::Null), text("complete"), vec!["changed", "completed"]),
            (
                Some(Value::Bool(true)),
                Some(Value::Bool(false)),
                vec!["changed", "deactivated"],
            ),
            (Some(Value::Bool(false)), Some(Value::Bool(true)), vec!["changed"]),
            (None, text("complete"), vec![]),
            (text("new"), None, vec![]),
        ] {
            assert_eq!(names(before, after), expected);
        }
    }
}
