//! Making, changing, listing and removing entities: Atom entries.

use axum::http::{Method, StatusCode};

use super::description::{self, described, entry, feed, of_entry};
use super::place::Place;
use super::xml::Element;
use super::{Answer, Call};
use crate::broker::{Filter, Refusal, State, Tier};

/// Most entries in one listing.
const PAGE_MAX: usize = 100;

/// A refusal: a status and what is wrong.
pub(crate) type Refused = (StatusCode, String);

pub(crate) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, Refused> {
    let (mut state, _) = call.broker.state();
    let state = &mut *state;
    let answer = match (&call.method, place) {
        (&Method::GET, Place::Namespace) => namespace(call),
        (&Method::GET, Place::All { topics }) => {
            let names = state.names(*topics);
            listing(call, &names, |name| describe(state, name))
        }
        (&Method::GET, Place::Subscriptions(topic)) => {
            let names = state.subscription_names(topic).map_err(missing)?;
            listing(call, &names, |name| {
                describe(state, &format!("{topic}/subscriptions/{name}"))
            })
        }
        (&Method::GET, Place::Rules(topic, name)) => {
            let rules = state.rules_of(topic, name).map_err(missing)?.clone();
            let names: Vec<String> = rules.keys().cloned().collect();
            listing(call, &names, |rule| {
                rules.get(rule).map(|filter| description::rule(rule, filter))
            })
        }
        (&Method::GET, Place::Entity(path)) => match describe(state, path) {
            Some(found) => Ok(one(call, path, &found)),
            // As the service does: an empty listing in place of what is not there.
            None => Ok(Answer::atom(
                StatusCode::OK,
                feed("Publicly Listed Services", &[], None),
            )),
        },
        (&Method::GET, Place::Subscription(topic, name)) => {
            let path = format!("{topic}/subscriptions/{name}");
            let found = describe(state, &path).ok_or_else(|| missing(Refusal::not_found(&path)))?;
            Ok(one(call, name, &found))
        }
        (&Method::GET, Place::Rule(topic, name, rule)) => {
            let rules = state.rules_of(topic, name).map_err(missing)?;
            let filter = rules.get(rule).ok_or_else(|| missing(Refusal::not_found(rule)))?;
            Ok(one(call, rule, &description::rule(rule, filter)))
        }
        (&Method::PUT, Place::Entity(path)) => put_entity(call, state, path),
        (&Method::PUT, Place::Subscription(topic, name)) => put_subscription(call, state, topic, name),
        (&Method::PUT, Place::Rule(topic, name, rule)) => put_rule(call, state, topic, name, rule),
        (&Method::DELETE, Place::Entity(path)) => removed(state.remove(path)),
        (&Method::DELETE, Place::Subscription(topic, name)) => {
            removed(state.remove(&format!("{topic}/subscriptions/{name}")))
        }
        (&Method::DELETE, Place::Rule(topic, name, rule)) => {
            let rules = state.rules_of(topic, name).map_err(missing)?;
            removed(
                rules
                    .remove(rule)
                    .map(drop)
                    .ok_or_else(|| Refusal::not_found(rule)),
            )
        }
        _ => Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "the method is not allowed here".to_owned(),
        )),
    };
    call.broker.announce();
    answer
}

fn namespace(call: &Call<'_>) -> Result<Answer, Refused> {
    let tier = match call.tier {
        Tier::Basic => "Basic",
        Tier::Standard => "Standard",
        Tier::Premium => "Premium",
    };
    let fields = format!(
        "<CreatedTime>2026-01-01T00:00:00Z</CreatedTime><MessagingSKU>{tier}</MessagingSKU>\
         <ModifiedTime>2026-01-01T00:00:00Z</ModifiedTime><Name>emulator</Name><NamespaceType>Messaging</NamespaceType>"
    );
    Ok(one(call, "emulator", &described("NamespaceInfo", &fields)))
}

fn describe(state: &mut State, path: &str) -> Option<String> {
    let held = state.counts(path);
    if let Some(settings) = state.topic_settings(path).cloned() {
        let subscriptions = state.subscription_names(path).map_or(0, |names| names.len());
        return Some(description::topic(&settings, held, subscriptions));
    }
    let name = if path.to_lowercase().contains("/subscriptions/") {
        "SubscriptionDescription"
    } else {
        "QueueDescription"
    };
    let settings = state.entity_settings(path)?;
    Some(description::entity(name, settings, held))
}

fn one(call: &Call<'_>, title: &str, found: &str) -> Answer {
    Answer::atom(StatusCode::OK, entry(title, &call.url, found))
}

fn listing(
    call: &Call<'_>,
    names: &[String],
    mut describe: impl FnMut(&str) -> Option<String>,
) -> Result<Answer, Refused> {
    let number = |key: &str| call.query(key).and_then(|text| text.parse::<usize>().ok());
    let skip = number("$skip").unwrap_or(0);
    let top = number("$top").unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let base = call.url.split('?').next().unwrap_or_default();
    let entries: Vec<String> = names
        .iter()
        .skip(skip)
        .take(top)
        .filter_map(|name| Some(entry(name, &format!("{base}/{name}"), &describe(name)?)))
        .collect();
    let shown = skip + top;
    let next = (shown < names.len()).then(|| format!("{base}?$skip={shown}&$top={top}"));
    Ok(Answer::atom(
        StatusCode::OK,
        feed(base, &entries, next.as_deref()),
    ))
}

/// Whether the entry shall change what exists; refuses what does not fit with what is there.
fn is_update(call: &Call<'_>, path: &str, exists: bool) -> Result<bool, Refused> {
    match (call.if_match, exists) {
        (true, false) => Err(missing(Refusal::not_found(path))),
        (false, true) => {
            let reason = format!("SubCode=40900. Conflict. The entity '{path}' exists already");
            Err((StatusCode::CONFLICT, reason))
        }
        (update, _) => Ok(update),
    }
}

fn put_entity(call: &Call<'_>, state: &mut State, path: &str) -> Result<Answer, Refused> {
    let root = body(call)?;
    let exists = state.kind(path).is_some();
    let update = is_update(call, path, exists)?;
    if let Ok(wanted) = of_entry(&root, "TopicDescription") {
        if call.tier == Tier::Basic {
            let reason = "SubCode=40000. BadRequest. Topics are not supported in the Basic tier";
            return Err((StatusCode::BAD_REQUEST, reason.to_owned()));
        }
        let wanted = description::topic_settings(wanted).map_err(bad)?;
        if wanted.message_bytes_max > 256 * 1_024 && call.tier != Tier::Premium {
            return Err(bad(
                "MaxMessageSizeInKilobytes above 256 needs the Premium tier".to_owned()
            ));
        }
        match state.topic_settings(path).filter(|_| update) {
            Some(settings) => {
                if settings.duplicate_window.is_some() != wanted.duplicate_window.is_some() {
                    return Err(fixed("RequiresDuplicateDetection"));
                }
                *settings = wanted;
            }
            None => state.create_topic(path, wanted),
        }
    } else {
        let wanted = of_entry(&root, "QueueDescription").map_err(bad)?;
        let wanted = description::entity_settings(wanted).map_err(bad)?;
        match state.entity_settings(path).filter(|_| update) {
            Some(settings) => {
                if settings.requires_session != wanted.requires_session {
                    return Err(fixed("RequiresSession"));
                }
                *settings = wanted;
            }
            None => state.create_queue(path, wanted),
        }
    }
    put_answer(call, state, path, path, update)
}

fn put_subscription(call: &Call<'_>, state: &mut State, topic: &str, name: &str) -> Result<Answer, Refused> {
    let root = body(call)?;
    let description = of_entry(&root, "SubscriptionDescription").map_err(bad)?;
    let wanted = description::entity_settings(description).map_err(bad)?;
    let path = format!("{topic}/subscriptions/{name}");
    let exists = state
        .subscription_names(topic)
        .map_err(missing)?
        .contains(&name.to_lowercase());
    let update = is_update(call, &path, exists)?;
    match state.entity_settings(&path).filter(|_| update) {
        Some(settings) => {
            if settings.requires_session != wanted.requires_session {
                return Err(fixed("RequiresSession"));
            }
            *settings = wanted;
        }
        None => {
            let rule = match description.child("DefaultRuleDescription") {
                Some(rule) => (
                    rule.text("Name").unwrap_or("$Default").to_owned(),
                    description::filter(rule).map_err(bad)?,
                ),
                None => ("$Default".to_owned(), Filter::True),
            };
            state
                .create_subscription(topic, name, wanted, [rule])
                .map_err(missing)?;
        }
    }
    put_answer(call, state, name, &path, update)
}

fn put_rule(
    call: &Call<'_>,
    state: &mut State,
    topic: &str,
    name: &str,
    rule: &str,
) -> Result<Answer, Refused> {
    let root = body(call)?;
    let wanted = of_entry(&root, "RuleDescription").map_err(bad)?;
    let filter = description::filter(wanted).map_err(bad)?;
    let rules = state.rules_of(topic, name).map_err(missing)?;
    let update = is_update(call, rule, rules.contains_key(rule))?;
    rules.insert(rule.to_owned(), filter.clone());
    let status = if update {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let found = description::rule(rule, &filter);
    Ok(Answer::atom(status, entry(rule, &call.url, &found)))
}

fn put_answer(
    call: &Call<'_>,
    state: &mut State,
    title: &str,
    path: &str,
    update: bool,
) -> Result<Answer, Refused> {
    let status = if update {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let found = describe(state, path).unwrap_or_default();
    Ok(Answer::atom(status, entry(title, &call.url, &found)))
}

fn body(call: &Call<'_>) -> Result<Element, Refused> {
    let text = std::str::from_utf8(call.body).map_err(|_| bad("the body is not UTF-8".to_owned()))?;
    Element::parse(text).map_err(|reason| bad(format!("the body cannot be read as XML: {reason}")))
}

fn removed(outcome: Result<(), Refusal>) -> Result<Answer, Refused> {
    outcome.map_err(missing)?;
    Ok(Answer::empty(StatusCode::OK))
}

fn missing(refusal: Refusal) -> Refused {
    (
        StatusCode::NOT_FOUND,
        format!("SubCode=40400. Not Found. {}", refusal.description),
    )
}

fn bad(reason: String) -> Refused {
    (
        StatusCode::BAD_REQUEST,
        format!("SubCode=40000. BadRequest. {reason}"),
    )
}

fn fixed(name: &str) -> Refused {
    bad(format!(
        "The value for the {name} property of an existing entity cannot be changed"
    ))
}
