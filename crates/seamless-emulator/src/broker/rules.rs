//! Which messages a subscription takes.

use std::collections::BTreeMap;

use fe2o3_amqp_types::messaging::MessageId;
use fe2o3_amqp_types::primitives::SimpleValue;

use super::message::AnyMessage;

/// The filter of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Everything.
    True,
    /// Nothing.
    False,
    /// All of these are equal. Keys: `label`, `to`, `correlation-id`, `message-id`, `session-id`, `reply-to`, `content-type`, or `property:NAME`.
    Correlation(BTreeMap<String, String>),
    /// Equations joined by `AND`: `sys.Label = 'crm' AND colour = 'red'`, `1 = 1`.
    Sql(String),
}

impl Filter {
    pub(crate) fn matches(&self, message: &AnyMessage) -> bool {
        match self {
            Filter::True => true,
            Filter::False => false,
            Filter::Correlation(wanted) => wanted
                .iter()
                .all(|(key, value)| field(message, key).as_ref() == Some(value)),
            Filter::Sql(expression) => equations(expression).is_some_and(|equations| {
                equations
                    .iter()
                    .all(|(left, right)| left.value(message) == right.value(message))
            }),
        }
    }

    /// Whether the emulator understands it.
    pub(crate) fn is_understood(&self) -> bool {
        !matches!(self, Filter::Sql(expression) if equations(expression).is_none())
    }
}

enum Operand {
    Literal(String),
    Field(String),
}

impl Operand {
    fn value(&self, message: &AnyMessage) -> Option<String> {
        match self {
            Operand::Literal(text) => Some(text.clone()),
            Operand::Field(key) => field(message, key),
        }
    }

    fn parse(text: &str) -> Option<Operand> {
        let text = text.trim();
        if let Some(inner) = text.strip_prefix('\'') {
            let inner = inner.strip_suffix('\'')?;
            return Some(Operand::Literal(inner.replace("''", "'")));
        }
        if text.parse::<f64>().is_ok() {
            return Some(Operand::Literal(text.to_owned()));
        }
        let lower = text.to_lowercase();
        let system = match lower.strip_prefix("sys.") {
            Some("label" | "subject") => "label",
            Some("to") => "to",
            Some("messageid") => "message-id",
            Some("correlationid") => "correlation-id",
            Some("sessionid") => "session-id",
            Some("replyto") => "reply-to",
            Some("contenttype") => "content-type",
            Some(_) => return None,
            None => {
                let name = lower.strip_prefix("user.").map_or(text, |_| &text[5..]);
                let name = name.trim_matches(|c| c == '[' || c == ']' || c == '"');
                let plain = name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
                return (plain && !name.is_empty()).then(|| Operand::Field(format!("property:{name}")));
            }
        };
        Some(Operand::Field(system.to_owned()))
    }
}

/// The equations of an expression; `None` when it is more than equations.
fn equations(expression: &str) -> Option<Vec<(Operand, Operand)>> {
    split_and(expression)
        .into_iter()
        .map(|part| {
            let (left, right) = part.split_once('=')?;
            Some((Operand::parse(left)?, Operand::parse(right)?))
        })
        .collect()
}

/// Splits at `AND` outside of quotes.
fn split_and(expression: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for word in expression.split_inclusive(char::is_whitespace) {
        if !quoted && word.trim().eq_ignore_ascii_case("and") {
            parts.push(String::new());
            continue;
        }
        if word.matches('\'').count() % 2 == 1 {
            quoted = !quoted;
        }
        if let Some(last) = parts.last_mut() {
            last.push_str(word);
        }
    }
    parts
}

fn field(message: &AnyMessage, key: &str) -> Option<String> {
    if let Some(name) = key.strip_prefix("property:") {
        let properties = message.application_properties.as_ref()?;
        return text(properties.0.get(name)?);
    }
    let properties = message.properties.as_ref()?;
    match key {
        "label" => properties.subject.clone(),
        "to" => properties.to.clone(),
        "reply-to" => properties.reply_to.clone(),
        "session-id" => properties.group_id.clone(),
        "content-type" => properties.content_type.as_ref().map(|symbol| symbol.0.clone()),
        "message-id" => id(properties.message_id.as_ref()?),
        "correlation-id" => id(properties.correlation_id.as_ref()?),
        _ => None,
    }
}

fn id(id: &MessageId) -> Option<String> {
    match id {
        MessageId::String(id) => Some(id.clone()),
        MessageId::Ulong(id) => Some(id.to_string()),
        _ => None,
    }
}

fn text(value: &SimpleValue) -> Option<String> {
    Some(match value {
        SimpleValue::String(text) => text.clone(),
        SimpleValue::Symbol(symbol) => symbol.0.clone(),
        SimpleValue::Bool(value) => value.to_string(),
        SimpleValue::Int(number) => number.to_string(),
        SimpleValue::Uint(number) => number.to_string(),
        SimpleValue::Long(number) => number.to_string(),
        SimpleValue::Ulong(number) => number.to_string(),
        _ => return None,
    })
}
