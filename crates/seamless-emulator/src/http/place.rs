//! What an address means. Names may hold slashes, so that paths are read from their fixed parts.

use crate::amqp::unescape;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `$namespaceinfo`.
    Namespace,
    /// `$Resources/queues` or `$Resources/topics`.
    All { topics: bool },
    /// A queue or a topic.
    Entity(String),
    /// All subscriptions of a topic.
    Subscriptions(String),
    /// One: topic and name.
    Subscription(String, String),
    /// All rules of a subscription.
    Rules(String, String),
    /// One.
    Rule(String, String, String),
    /// Where messages are sent to.
    Messages(String),
    /// The next message of an entity.
    Head(String),
    /// A locked message: entity, id or number, lock token.
    Locked(String, String),
}

/// Reads a path; none when it is nothing of ours.
pub(crate) fn place(path: &str) -> Option<Place> {
    let parts: Vec<String> = path.trim_matches('/').split('/').map(unescape).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let is = |at: usize, word: &str| parts.get(at).is_some_and(|part| part.eq_ignore_ascii_case(word));
    if is(0, "$namespaceinfo") {
        return Some(Place::Namespace);
    }
    if is(0, "$resources") {
        return match parts.get(1)?.to_ascii_lowercase().as_str() {
            "topics" => Some(Place::All { topics: true }),
            "queues" => Some(Place::All { topics: false }),
            _ => None,
        };
    }
    let messages = (1..parts.len()).rev().find(|at| is(*at, "messages"));
    if let Some(at) = messages {
        let entity = parts[..at].join("/");
        return match &parts[at + 1..] {
            [] => Some(Place::Messages(entity)),
            [head] if head.eq_ignore_ascii_case("head") => Some(Place::Head(entity)),
            [_, token] => Some(Place::Locked(entity, (*token).to_owned())),
            _ => None,
        };
    }
    let Some(at) = (1..parts.len()).find(|at| is(*at, "subscriptions")) else {
        return (!parts[0].is_empty()).then(|| Place::Entity(parts.join("/")));
    };
    let topic = parts[..at].join("/");
    let own = |part: &&str| (*part).to_owned();
    match &parts[at + 1..] {
        [] => Some(Place::Subscriptions(topic)),
        [name] => Some(Place::Subscription(topic, own(name))),
        [name, rules] if rules.eq_ignore_ascii_case("rules") => Some(Place::Rules(topic, own(name))),
        [name, rules, rule] if rules.eq_ignore_ascii_case("rules") => {
            Some(Place::Rule(topic, own(name), own(rule)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_whatever_their_case_and_slashes() {
        let text = |text: &str| text.to_owned();
        let cases = [
            ("/$namespaceinfo", Place::Namespace),
            ("/$Resources/Topics", Place::All { topics: true }),
            ("/a/b", Place::Entity(text("a/b"))),
            ("/a%2Fb/subscriptions", Place::Subscriptions(text("a/b"))),
            ("/a/Subscriptions/s", Place::Subscription(text("a"), text("s"))),
            (
                "/a/Subscriptions/s/rules/$Default",
                Place::Rule(text("a"), text("s"), text("$Default")),
            ),
            ("/a/messages", Place::Messages(text("a"))),
            (
                "/a/subscriptions/s/messages/head",
                Place::Head(text("a/subscriptions/s")),
            ),
            (
                "/a/subscriptions/s/messages/7/abc",
                Place::Locked(text("a/subscriptions/s"), text("abc")),
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(place(path), Some(expected), "{path}");
        }
        assert_eq!(place("/"), None);
    }
}
