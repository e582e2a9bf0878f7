//! Autotask query filters: parsing (with the real traps), planning over indexes, and evaluation.

use serde_json::Value as Json;

use crate::config::UdfIn;
use crate::schema::{Field, Kind, NOT_QUERYABLE, PICKLIST, Schema, UDF};
use crate::store::{Rec, Table};
use crate::value::{Value, parse_time};

/// More conditions than this in one query are refused.
const OR_MAX: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Eq,
    NotEq,
    Gt,
    Gte,
    Lt,
    Lte,
    BeginsWith,
    EndsWith,
    Contains,
    Exist,
    NotExist,
    In,
    NotIn,
}

impl Op {
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "eq" => Self::Eq,
            "noteq" => Self::NotEq,
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            "beginswith" => Self::BeginsWith,
            "endswith" => Self::EndsWith,
            "contains" => Self::Contains,
            "exist" => Self::Exist,
            "notexist" => Self::NotExist,
            "in" => Self::In,
            "notin" => Self::NotIn,
            _ => return None,
        })
    }
}

/// A parsed filter.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Cond { field: u16, op: Op, values: Vec<Value> },
    Nothing,
}

impl Node {
    /// Whether certain records are asked for, rather than whatever is new.
    pub(crate) fn names_values(&self) -> bool {
        match self {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(Node::names_values),
            Node::Cond { op, .. } => matches!(op, Op::Eq | Op::In),
            Node::Nothing => false,
        }
    }
}

struct Parser<'a> {
    schema: &'a Schema,
    udf_in: UdfIn,
    udf: Option<u16>,
    ors: usize,
}

/// Parses the top-level array, which means AND.
pub(crate) fn parse(schema: &Schema, filter: &Json, udf_in: UdfIn) -> Result<Node, String> {
    let mut parser = Parser {
        schema,
        udf_in,
        udf: None,
        ors: 0,
    };
    let items = match filter {
        Json::Array(items) => items.as_slice(),
        object @ Json::Object(_) => std::slice::from_ref(object),
        _ => return Err("The query filter is missing or is not an array.".into()),
    };
    if items.is_empty() {
        return Err("A query must contain at least one filter.".into());
    }
    let node = Node::And(parser.items(items)?);
    if parser.ors > OR_MAX {
        return Err("Queries are limited to 500 or fewer 'OR' conditions.".into());
    }
    Ok(node)
}

/// Whether the server drops a condition of this filter without a word.
pub(crate) fn drops(filter: &Json) -> bool {
    let each = |items: &Json| items.as_array().is_some_and(|items| items.iter().any(drops));
    match (filter, prop(filter, "op").and_then(Json::as_str)) {
        (Json::Array(_), _) => each(filter),
        (_, Some(op)) if op.eq_ignore_ascii_case("and") || op.eq_ignore_ascii_case("or") => {
            prop(filter, "items").is_none_or(each)
        }
        (_, op) => op.and_then(Op::parse).is_none(),
    }
}

/// A property of a filter object, its name in any case.
pub(crate) fn prop<'a>(object: &'a Json, name: &str) -> Option<&'a Json> {
    object
        .as_object()?
        .iter()
        .find(|(k, _)| k.eq_ignore_ascii_case(name))
        .map(|(_, v)| v)
}

impl Parser<'_> {
    fn items(&mut self, items: &[Json]) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        for item in items {
            nodes.extend(self.item(item)?);
        }
        Ok(nodes)
    }

    /// `None` for a condition that the server drops without a word.
    fn item(&mut self, item: &Json) -> Result<Option<Node>, String> {
        let op = prop(item, "op").and_then(Json::as_str).unwrap_or_default();
        if op.eq_ignore_ascii_case("and") || op.eq_ignore_ascii_case("or") {
            let Some(Json::Array(items)) = prop(item, "items") else {
                return Ok(None);
            };
            let nodes = self.items(items)?;
            let or = op.eq_ignore_ascii_case("or");
            if or {
                self.ors += nodes.len();
            }
            return Ok(match (nodes.is_empty(), or) {
                (true, _) => None,
                (false, true) => Some(Node::Or(nodes)),
                (false, false) => Some(Node::And(nodes)),
            });
        }
        // The costliest trap of the real API: a misspelt operator is no error, its condition is gone.
        let Some(op) = Op::parse(op) else { return Ok(None) };
        let name = prop(item, "field").and_then(Json::as_str).unwrap_or_default();
        let udf = prop(item, "udf").is_some_and(|v| *v == Json::Bool(true));
        let unknown = || format!("Unable to find {name} in the {} Entity.", self.schema.entity);
        let index = self.schema.find(name).ok_or_else(unknown)?;
        let field = self.schema.field(index);
        if field.is(UDF) != udf || (udf && field.name != name) {
            return Err(unknown());
        }
        if field.is(NOT_QUERYABLE) {
            return Err(format!(
                "The field {name} in the {} Entity cannot be queried.",
                self.schema.entity
            ));
        }
        if udf {
            if self.udf.is_some() {
                return Err("Only one user defined field may be used in a query.".into());
            }
            self.udf = Some(index);
        }
        if matches!(op, Op::Exist | Op::NotExist) {
            return Ok(Some(Node::Cond {
                field: index,
                op,
                values: Vec::new(),
            }));
        }
        let value = prop(item, "value").unwrap_or(&Json::Null);
        let raw: Vec<&Json> = match (op, value) {
            (Op::In | Op::NotIn, Json::Array(values)) => values.iter().collect(),
            (_, Json::Array(_)) => return Err(format!("The value for {name} must not be an array.")),
            (_, one) => vec![one],
        };
        if matches!(op, Op::In | Op::NotIn) {
            self.ors += raw.len();
            if udf {
                match self.udf_in {
                    UdfIn::Works => {}
                    UdfIn::NoRows => return Ok(Some(Node::Nothing)),
                    UdfIn::Unsupported => {
                        return Err("The 'in' operator is not supported for user defined fields.".into());
                    }
                }
            }
        }
        let mut values = Vec::with_capacity(raw.len());
        for one in raw {
            values.extend(operand(field, one)?);
        }
        if values.is_empty() && op != Op::NotIn {
            return Ok(Some(Node::Nothing));
        }
        Ok(Some(Node::Cond {
            field: index,
            op,
            values,
        }))
    }
}

/// A filter value as the database would convert it; `None` matches nothing.
fn operand(field: &Field, json: &Json) -> Result<Option<Value>, String> {
    let wrong = |what: &str| {
        Err(format!(
            "Conversion failed when converting the {what} value '{}' for {}.",
            plain(json),
            field.name
        ))
    };
    match (field.kind, json) {
        (_, Json::Null) => Err(format!("A null value is not allowed for {}.", field.name)),
        (Kind::Bool, Json::Bool(b)) => Ok(Some(Value::Bool(*b))),
        (Kind::Bool, _) => Err(format!("The value for {} must be true or false.", field.name)),
        // Against a long key a string finds nothing and says nothing.
        (Kind::Long, Json::String(_)) => Ok(None),
        (k, Json::Number(n)) if k.is_integer() => Ok(n.as_i64().map(Value::Int)),
        (k, Json::String(s)) if k.is_integer() => match s.trim().parse() {
            Ok(n) => Ok(Some(Value::Int(n))),
            Err(_) if field.is(PICKLIST) => Err(format!(
                "Conversion failed when converting the varchar value '{s}' to data type int."
            )),
            Err(_) => wrong("varchar"),
        },
        (k, Json::Bool(b)) if k.is_integer() => Ok(Some(Value::Int(i64::from(*b)))),
        (Kind::Dec | Kind::Double, Json::Number(n)) => Ok(Some(Value::Num(n.to_string().into()))),
        (Kind::Dec | Kind::Double, Json::String(s)) if s.trim().parse::<f64>().is_ok() => {
            Ok(Some(Value::Num(s.trim().into())))
        }
        (Kind::Time | Kind::Date, Json::String(s)) => match parse_time(s) {
            Some(t) => Ok(Some(Value::Time(t))),
            None => Err("Conversion failed when converting date and/or time from character string.".into()),
        },
        (Kind::Text, Json::String(s)) => Ok(Some(Value::text(&s.to_lowercase()))),
        (Kind::Text, Json::Number(n)) => Ok(Some(Value::text(&n.to_string()))),
        _ => wrong("given"),
    }
}

fn plain(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

impl Node {
    /// Whether a record matches.
    pub(crate) fn eval(&self, rec: &Rec) -> bool {
        match self {
            Self::And(nodes) => nodes.iter().all(|n| n.eval(rec)),
            Self::Or(nodes) => nodes.iter().any(|n| n.eval(rec)),
            Self::Nothing => false,
            Self::Cond { field, op, values } => cond(rec.get(*field), *op, values),
        }
    }

    /// The lowest id that can match, for `id >` loops.
    pub(crate) fn first_id(&self, id: u16) -> i64 {
        match self {
            Self::And(nodes) => nodes.iter().map(|n| n.first_id(id)).max().unwrap_or(i64::MIN),
            Self::Cond { field, op, values } if *field == id => match (op, values.first()) {
                (Op::Gt, Some(Value::Int(n))) => n.saturating_add(1),
                (Op::Gte | Op::Eq, Some(Value::Int(n))) => *n,
                _ => i64::MIN,
            },
            _ => i64::MIN,
        }
    }

    /// Ids among which all matches are, if an index narrows them to at most `max`.
    pub(crate) fn plan(&self, table: &Table, id: u16, max: usize) -> Option<Vec<i64>> {
        match self {
            Self::Nothing => Some(Vec::new()),
            Self::And(nodes) => nodes
                .iter()
                .filter_map(|n| n.plan(table, id, max))
                .min_by_key(Vec::len),
            Self::Or(nodes) => {
                let mut all = Vec::new();
                for node in nodes {
                    all.extend(node.plan(table, id, max)?);
                    if all.len() > max {
                        return None;
                    }
                }
                Some(all)
            }
            Self::Cond {
                field,
                op: Op::Eq | Op::In,
                values,
            } if *field == id => Some(values.iter().filter_map(Value::as_int).collect()),
            Self::Cond {
                field,
                op: Op::Eq | Op::In,
                values,
            } if table.is_keyed(*field) => {
                // An empty text has no key, so the index cannot answer for it.
                if values.iter().any(Value::is_blank) {
                    return None;
                }
                Some(
                    values
                        .iter()
                        .flat_map(|v| table.by_key(*field, v).iter().copied())
                        .collect(),
                )
            }
            Self::Cond {
                field,
                op: Op::Gt | Op::Gte,
                values,
            } => {
                let from = values.first()?.as_time()?;
                let hits: Vec<i64> = table
                    .stamps(*field)?
                    .range((from, i64::MIN)..)
                    .take(max + 1)
                    .map(|(_, id)| *id)
                    .collect();
                (hits.len() <= max).then_some(hits)
            }
            Self::Cond { .. } => None,
        }
    }
}

fn cond(stored: &Value, op: Op, values: &[Value]) -> bool {
    match op {
        Op::Exist => return !stored.is_null(),
        Op::NotExist => return stored.is_null(),
        // As in SQL, null compares with nothing, not even by "not equal".
        _ if stored.is_null() => return false,
        _ => {}
    }
    let folded;
    let stored = match stored {
        Value::Text(s) => {
            folded = Value::text(&s.to_lowercase());
            &folded
        }
        other => other,
    };
    let first = values.first().unwrap_or(&Value::Null);
    let order = || compare(stored, first);
    use std::cmp::Ordering::{Equal, Greater, Less};
    match op {
        Op::Eq => order() == Some(Equal),
        Op::NotEq => order() != Some(Equal),
        Op::Gt => order() == Some(Greater),
        Op::Gte => matches!(order(), Some(Greater | Equal)),
        Op::Lt => order() == Some(Less),
        Op::Lte => matches!(order(), Some(Less | Equal)),
        Op::BeginsWith => stored.as_str().starts_with(first.as_str()),
        Op::EndsWith => stored.as_str().ends_with(first.as_str()),
        Op::Contains => stored.as_str().contains(first.as_str()),
        Op::In => values.iter().any(|v| compare(stored, v) == Some(Equal)),
        Op::NotIn => !values.iter().any(|v| compare(stored, v) == Some(Equal)),
        Op::Exist | Op::NotExist => false,
    }
}

fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) | (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Num(a), Value::Num(b)) => a.parse::<f64>().ok()?.partial_cmp(&b.parse::<f64>().ok()?),
        _ => None,
    }
}
