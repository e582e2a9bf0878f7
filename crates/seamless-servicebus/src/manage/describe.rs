//! What we want of entities, in the words of the management API, and what differs.

use std::time::Duration;

use quick_xml::escape::escape;

use super::Blueprint;
use super::atom::Element;

const CONNECT: &str = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";
/// For ever, as the service writes it.
const FOR_EVER: &str = "P10675199DT2H48M5.4775807S";
/// A shorter life than this may end before a target that is down for a while comes back.
const LIFE_MIN: Duration = Duration::from_secs(30 * 86_400);

/// Fields of a topic in the order in which the service reads them, as far as we write them.
pub(super) const TOPIC_ORDER: [&str; 8] = [
    "DefaultMessageTimeToLive",
    "MaxSizeInMegabytes",
    "RequiresDuplicateDetection",
    "DuplicateDetectionHistoryTimeWindow",
    "EnableBatchedOperations",
    "Status",
    "AutoDeleteOnIdle",
    "MaxMessageSizeInKilobytes",
];
/// As [`TOPIC_ORDER`], of a subscription.
pub(super) const SUBSCRIPTION_ORDER: [&str; 8] = [
    "LockDuration",
    "RequiresSession",
    "DefaultMessageTimeToLive",
    "DefaultRuleDescription",
    "MaxDeliveryCount",
    "EnableBatchedOperations",
    "Status",
    "AutoDeleteOnIdle",
];

/// One field that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) field: &'static str,
    pub(super) value: String,
    /// What it means, for people.
    pub(super) sentence: String,
}

pub(super) fn entry(description: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><entry xmlns=\"http://www.w3.org/2005/Atom\">\
         <content type=\"application/xml\">{description}</content></entry>"
    )
}

fn described(name: &str, fields: &str) -> String {
    format!(
        "<{name} xmlns=\"{CONNECT}\" xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">{fields}</{name}>"
    )
}

pub(super) fn new_topic(blueprint: &Blueprint) -> String {
    let window = write(blueprint.duplicate_window);
    let mut fields = format!(
        "<RequiresDuplicateDetection>true</RequiresDuplicateDetection>\
         <DuplicateDetectionHistoryTimeWindow>{window}</DuplicateDetectionHistoryTimeWindow>"
    );
    if let Some(kilobytes) = blueprint.kilobytes() {
        fields += &format!("<MaxMessageSizeInKilobytes>{kilobytes}</MaxMessageSizeInKilobytes>");
    }
    described("TopicDescription", &fields)
}

pub(super) fn new_subscription(blueprint: &Blueprint, name: &str) -> String {
    let fields = format!(
        "<LockDuration>{}</LockDuration><RequiresSession>{}</RequiresSession><DefaultRuleDescription>{}</DefaultRuleDescription>\
         <MaxDeliveryCount>{}</MaxDeliveryCount>",
        write(blueprint.lock_duration),
        blueprint.sessions,
        rule_fields(name),
        blueprint.max_delivery_count,
    );
    described("SubscriptionDescription", &fields)
}

pub(super) fn new_rule(subscription: &str) -> String {
    described("RuleDescription", &rule_fields(subscription))
}

fn rule_fields(subscription: &str) -> String {
    format!(
        "<Filter i:type=\"CorrelationFilter\"><Label>{}</Label></Filter><Action i:type=\"EmptyRuleAction\"/><Name>{}</Name>",
        escape(subscription),
        super::RULE
    )
}

/// What a topic lacks that can be given to it.
pub(super) fn topic_differences(topic: &Element, blueprint: &Blueprint) -> Vec<Difference> {
    let mut found = lives(topic, "the topic");
    let window = duration(topic, "DuplicateDetectionHistoryTimeWindow").unwrap_or_default();
    if window < blueprint.duplicate_window {
        found.push(Difference {
            field: "DuplicateDetectionHistoryTimeWindow",
            value: write(blueprint.duplicate_window),
            sentence: format!(
                "remember message ids for {} s instead of {} s",
                blueprint.duplicate_window.as_secs(),
                window.as_secs()
            ),
        });
    }
    let now: Option<u64> = topic
        .get("MaxMessageSizeInKilobytes")
        .and_then(|text| text.parse().ok());
    if let Some(wanted) = blueprint.kilobytes()
        && now.is_none_or(|now| now < wanted)
    {
        found.push(Difference {
            field: "MaxMessageSizeInKilobytes",
            value: wanted.to_string(),
            sentence: format!("take messages of {wanted} KB"),
        });
    }
    found
}

/// What a subscription lacks that can be given to it.
pub(super) fn subscription_differences(found: &Element, blueprint: &Blueprint) -> Vec<Difference> {
    let mut differences = lives(found, "the subscription");
    let lock = duration(found, "LockDuration").unwrap_or_default();
    if lock != blueprint.lock_duration {
        differences.push(Difference {
            field: "LockDuration",
            value: write(blueprint.lock_duration),
            sentence: format!(
                "lock for {} s instead of {} s",
                blueprint.lock_duration.as_secs(),
                lock.as_secs()
            ),
        });
    }
    let count: u32 = found
        .get("MaxDeliveryCount")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    if count < blueprint.max_delivery_count {
        differences.push(Difference {
            field: "MaxDeliveryCount",
            value: blueprint.max_delivery_count.to_string(),
            sentence: format!(
                "give a message up after {} deliveries instead of {count}",
                blueprint.max_delivery_count
            ),
        });
    }
    differences
}

/// Lives that end by themselves.
fn lives(found: &Element, what: &str) -> Vec<Difference> {
    let ends = [
        ("DefaultMessageTimeToLive", "keep messages for ever".to_owned()),
        ("AutoDeleteOnIdle", format!("keep {what} when it is idle")),
    ];
    ends.into_iter()
        .filter(|(field, _)| duration(found, field).is_some_and(|life| life < LIFE_MIN))
        .map(|(field, sentence)| Difference {
            field,
            value: FOR_EVER.to_owned(),
            sentence: format!(
                "{sentence}, not for {} s",
                duration(found, field).unwrap_or_default().as_secs()
            ),
        })
        .collect()
}

/// Whether a rule takes what is addressed to a subscription, and only that.
pub(super) fn is_ours(rule: &Element, subscription: &str) -> bool {
    let Some(filter) = rule.child("Filter") else {
        return false;
    };
    let is_correlation = filter
        .attribute("type")
        .is_some_and(|kind| kind.ends_with("CorrelationFilter"));
    let asked: Vec<&Element> = filter
        .children
        .iter()
        .filter(|part| !part.text.trim().is_empty() || !part.children.is_empty())
        .collect();
    is_correlation
        && matches!(asked[..], [part] if part.local() == "Label" && part.text.trim() == subscription)
}

pub(super) fn flag(element: &Element, name: &str) -> bool {
    element
        .get(name)
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

fn duration(element: &Element, name: &str) -> Option<Duration> {
    element.get(name).and_then(read)
}

fn write(duration: Duration) -> String {
    format!("PT{}S", duration.as_secs())
}

/// An ISO 8601 duration of days and less.
fn read(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, time)) => (days, time),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut seconds = 0.0;
    for (part, units) in [
        (days, &[('D', 86_400.0)][..]),
        (time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)]),
    ] {
        for piece in part.split_inclusive(|c: char| c.is_ascii_alphabetic()) {
            let unit = piece.chars().next_back()?;
            let number = &piece[..piece.len() - unit.len_utf8()];
            let (_, worth) = units.iter().find(|(letter, _)| *letter == unit)?;
            seconds += number.parse::<f64>().ok()? * worth;
        }
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_the_service_are_read() {
        let cases = [
            ("PT1M", Some(60)),
            ("PT30S", Some(30)),
            ("PT90S", Some(90)),
            ("P7D", Some(604_800)),
            ("P1DT1H1M1S", Some(90_061)),
            (FOR_EVER, Some(922_337_203_685)),
            ("P1Y", None),
            ("1M", None),
            ("PTé", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).map(|read| read.as_secs()), expected, "{text}");
        }
    }

    #[test]
    fn a_rule_is_ours_when_it_asks_for_the_label_and_nothing_else() {
        let rule = |filter: &str| {
            let text = format!("<R xmlns:i=\"urn:i\">{filter}</R>");
            is_ours(&Element::parse(text.as_bytes()).unwrap(), "crm")
        };
        assert!(rule(
            "<Filter i:type=\"CorrelationFilter\"><Label>crm</Label></Filter>"
        ));
        assert!(rule(
            "<Filter i:type=\"CorrelationFilter\"><Label>crm</Label><Properties/></Filter>"
        ));
        for other in [
            "<Filter i:type=\"TrueFilter\"><SqlExpression>1=1</SqlExpression></Filter>",
            "<Filter i:type=\"CorrelationFilter\"><Label>Crm</Label></Filter>",
            "<Filter i:type=\"CorrelationFilter\"><Label>crm</Label><To>x</To></Filter>",
            "",
        ] {
            assert!(!rule(other), "{other}");
        }
    }
}
