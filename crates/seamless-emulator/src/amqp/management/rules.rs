//! Rules of a subscription over `$management`.

use std::collections::BTreeMap;

use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::OrderedMap;

use super::operations::map;
use super::{Reply, Request};
use crate::broker::{Broker, Filter, Refusal};

/// Names of the parts of a correlation filter, in the order in which a listing has them.
const PARTS: [&str; 8] = [
    "correlation-id",
    "message-id",
    "to",
    "reply-to",
    "label",
    "session-id",
    "reply-to-session-id",
    "content-type",
];

pub(super) fn add(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let name = rule_name(request)?;
    let Some(Value::Map(description)) = request.get("rule-description") else {
        return Err(argument("no rule-description".to_owned()));
    };
    let filter = filter(description)?;
    let (mut state, _) = broker.state();
    let rules = state.rules(request.path)?;
    if rules.contains_key(&name) {
        let reason = format!("the rule {name} exists already");
        return Err(Refusal::new("com.microsoft:entity-already-exists", reason));
    }
    rules.insert(name, filter);
    Ok(Reply::Map(Vec::new()))
}

pub(super) fn remove(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let name = rule_name(request)?;
    let (mut state, _) = broker.state();
    match state.rules(request.path)?.remove(&name) {
        Some(_) => Ok(Reply::Map(Vec::new())),
        None => Err(Refusal::not_found(&name)),
    }
}

pub(super) fn list(request: &Request<'_>, broker: &Broker) -> Result<Reply, Refusal> {
    let (mut state, _) = broker.state();
    let rules: Vec<Value> = state
        .rules(request.path)?
        .iter()
        .map(|(name, filter)| {
            let fields = vec![
                described_filter(filter),
                described(0x0000_0137_0000_0005, vec![]),
                { Value::String(name.clone()) },
            ];
            map([("rule-description", described(0x0000_0137_0000_0004, fields))])
        })
        .collect();
    if rules.is_empty() {
        return Ok(Reply::Nothing("com.microsoft:message-not-found"));
    }
    Ok(Reply::Map(vec![("rules", Value::List(rules))]))
}

fn rule_name(request: &Request<'_>) -> Result<String, Refusal> {
    request
        .text("rule-name")
        .ok_or_else(|| argument("no rule-name".to_owned()))
}

fn filter(description: &OrderedMap<Value, Value>) -> Result<Filter, Refusal> {
    let get = |map: &OrderedMap<Value, Value>, key: &str| map.get(&Value::String(key.to_owned())).cloned();
    if let Some(Value::Map(sql)) = get(description, "sql-filter") {
        let Some(Value::String(expression)) = get(&sql, "expression") else {
            return Err(argument("a SQL filter without expression".to_owned()));
        };
        let filter = Filter::Sql(expression);
        if !filter.is_understood() {
            return Err(argument(
                "the SQL filter is more than equations joined by AND".to_owned(),
            ));
        }
        return Ok(filter);
    }
    if let Some(Value::Map(correlation)) = get(description, "correlation-filter") {
        let mut wanted = BTreeMap::new();
        for part in PARTS {
            if let Some(Value::String(text)) = get(&correlation, part) {
                wanted.insert(part.to_owned(), text);
            }
        }
        if let Some(Value::Map(properties)) = get(&correlation, "properties") {
            for (key, value) in &properties {
                if let (Value::String(key), Value::String(value)) = (key, value) {
                    wanted.insert(format!("property:{key}"), value.clone());
                }
            }
        }
        return Ok(Filter::Correlation(wanted));
    }
    Err(argument("a rule without filter".to_owned()))
}

fn described_filter(filter: &Filter) -> Value {
    match filter {
        Filter::True => described(0x0013_7000_0007, vec![]),
        Filter::False => described(0x0013_7000_0008, vec![]),
        Filter::Sql(expression) => described(
            0x0013_7000_0006,
            vec![Value::String(expression.clone()), Value::Int(20)],
        ),
        Filter::Correlation(wanted) => {
            let part = |key: &&str| wanted.get(*key).cloned().map_or(Value::Null, Value::String);
            let mut fields: Vec<Value> = PARTS.iter().map(part).collect();
            let properties = wanted.iter().filter_map(|(key, value)| {
                let key = key.strip_prefix("property:")?;
                Some((Value::String(key.to_owned()), Value::String(value.clone())))
            });
            fields.push(Value::Map(properties.collect()));
            described(0x0013_7000_0009, fields)
        }
    }
}

fn described(code: u64, fields: Vec<Value>) -> Value {
    let described: Described<Value> = Described {
        descriptor: Descriptor::Code(code),
        value: Value::List(fields),
    };
    Value::Described(Box::new(described))
}

fn argument(reason: String) -> Refusal {
    Refusal::new("com.microsoft:argument-error", reason)
}
