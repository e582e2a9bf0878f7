//! Entities as the management API describes them, both ways.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_xml::escape::escape;

use super::span;
use super::xml::Element;
use crate::broker::{Counts, EntitySettings, Filter, TopicSettings};

/// The namespace of descriptions.
const CONNECT: &str = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";
/// The longest time that a duplicate is remembered when nobody says.
const WINDOW_DEFAULT: Duration = Duration::from_secs(600);
/// Parts of a correlation filter, as XML and as the broker names them.
const PARTS: [(&str, &str); 8] = [
    ("CorrelationId", "correlation-id"),
    ("MessageId", "message-id"),
    ("To", "to"),
    ("ReplyTo", "reply-to"),
    ("Label", "label"),
    ("SessionId", "session-id"),
    ("ReplyToSessionId", "reply-to-session-id"),
    ("ContentType", "content-type"),
];

/// An entry of a listing, or the whole answer.
pub(crate) fn entry(title: &str, href: &str, description: &str) -> String {
    let (title, href) = (escape(title), escape(href));
    format!(
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><id>{href}</id><title type=\"text\">{title}</title>\
         <updated>2026-01-01T00:00:00Z</updated><author><name>emulator</name></author><link rel=\"self\" href=\"{href}\"/>\
         <content type=\"application/xml\">{description}</content></entry>"
    )
}

/// A listing, and where it goes on if it does.
pub(crate) fn feed(title: &str, entries: &[String], next: Option<&str>) -> String {
    let title = escape(title);
    let next = next.map_or_else(String::new, |next| {
        format!("<link rel=\"next\" href=\"{}\"/>", escape(next))
    });
    format!(
        "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title type=\"text\">{title}</title><id>{title}</id>\
         <updated>2026-01-01T00:00:00Z</updated><link rel=\"self\" href=\"{title}\"/>{next}{}</feed>",
        entries.concat()
    )
}

/// A description with these fields, already written.
pub(crate) fn described(name: &str, fields: &str) -> String {
    format!(
        "<{name} xmlns=\"{CONNECT}\" xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">{fields}</{name}>"
    )
}

fn field(name: &str, value: impl std::fmt::Display) -> String {
    format!("<{name}>{}</{name}>", escape(value.to_string().as_str()))
}

pub(crate) fn counts(counts: Counts) -> String {
    let part = |name: &str, count: usize| format!("<d2p1:{name}>{count}</d2p1:{name}>");
    format!(
        "<CountDetails xmlns:d2p1=\"http://schemas.microsoft.com/netservices/2011/06/servicebus\">{}{}{}{}{}</CountDetails>",
        part("ActiveMessageCount", counts.active + counts.deferred),
        part("DeadLetterMessageCount", counts.dead),
        part("ScheduledMessageCount", counts.scheduled),
        part("TransferMessageCount", 0),
        part("TransferDeadLetterMessageCount", 0),
    )
}

fn status(disabled: bool) -> String {
    field("Status", if disabled { "Disabled" } else { "Active" })
}

pub(crate) fn topic(settings: &TopicSettings, held: Counts, subscriptions: usize) -> String {
    let fields = [
        field("DefaultMessageTimeToLive", "P10675199DT2H48M5.4775807S"),
        field("MaxSizeInMegabytes", 1_024),
        field("RequiresDuplicateDetection", settings.duplicate_window.is_some()),
        field(
            "DuplicateDetectionHistoryTimeWindow",
            span::write(settings.duplicate_window.unwrap_or(WINDOW_DEFAULT)),
        ),
        field("EnableBatchedOperations", true),
        field("SizeInBytes", 0),
        "<AuthorizationRules/>".to_owned(),
        status(settings.disabled),
        field("SubscriptionCount", subscriptions),
        counts(held),
        field("AutoDeleteOnIdle", "P10675199DT2H48M5.4775807S"),
        field("EnablePartitioning", false),
        field("MaxMessageSizeInKilobytes", settings.message_bytes_max / 1_024),
    ];
    described("TopicDescription", &fields.concat())
}

pub(crate) fn entity(name: &str, settings: &EntitySettings, held: Counts) -> String {
    let mut fields = vec![
        field("LockDuration", span::write(settings.lock_duration)),
        field("RequiresSession", settings.requires_session),
        field("DefaultMessageTimeToLive", "P10675199DT2H48M5.4775807S"),
        field("DeadLetteringOnMessageExpiration", false),
    ];
    if name == "QueueDescription" {
        fields.insert(1, field("MaxSizeInMegabytes", 1_024));
        fields.insert(
            2,
            field("RequiresDuplicateDetection", settings.duplicate_window.is_some()),
        );
        fields.push(field(
            "DuplicateDetectionHistoryTimeWindow",
            span::write(settings.duplicate_window.unwrap_or(WINDOW_DEFAULT)),
        ));
    }
    fields.extend([
        field("MaxDeliveryCount", settings.max_delivery_count),
        field("EnableBatchedOperations", true),
        field(
            "MessageCount",
            held.active + held.deferred + held.scheduled + held.dead,
        ),
        status(settings.disabled),
        counts(held),
        field("AutoDeleteOnIdle", "P10675199DT2H48M5.4775807S"),
    ]);
    described(name, &fields.concat())
}

pub(crate) fn rule(name: &str, filter: &Filter) -> String {
    let sql = |kind: &str, expression: &str| {
        let expression = field("SqlExpression", expression);
        format!("<Filter i:type=\"{kind}\">{expression}<CompatibilityLevel>20</CompatibilityLevel></Filter>")
    };
    let filter = match filter {
        Filter::True => sql("TrueFilter", "1=1"),
        Filter::False => sql("FalseFilter", "1=0"),
        Filter::Sql(expression) => sql("SqlFilter", expression),
        Filter::Correlation(wanted) => {
            let mut text = String::new();
            for (xml, key) in PARTS {
                if let Some(value) = wanted.get(key) {
                    text += &field(xml, value);
                }
            }
            let own: Vec<(&str, &String)> = wanted
                .iter()
                .filter_map(|(key, value)| Some((key.strip_prefix("property:")?, value)))
                .collect();
            if !own.is_empty() {
                text += "<Properties>";
                for (key, value) in own {
                    text += &format!(
                        "<KeyValueOfstringanyType>{}<Value i:type=\"d6p1:string\" xmlns:d6p1=\"http://www.w3.org/2001/XMLSchema\">{}</Value></KeyValueOfstringanyType>",
                        field("Key", key),
                        escape(value.as_str())
                    );
                }
                text += "</Properties>";
            }
            format!("<Filter i:type=\"CorrelationFilter\">{text}</Filter>")
        }
    };
    let fields = format!(
        "{filter}<Action i:type=\"EmptyRuleAction\"/>{}",
        field("Name", name)
    );
    described("RuleDescription", &fields)
}

/// The description inside an entry.
pub(crate) fn of_entry<'a>(root: &'a Element, name: &str) -> Result<&'a Element, String> {
    root.child("content")
        .and_then(|content| content.child(name))
        .ok_or_else(|| format!("the entry has no {name}"))
}

fn flag(element: &Element, name: &str) -> bool {
    element
        .text(name)
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

fn duration(element: &Element, name: &str) -> Result<Option<Duration>, String> {
    let Some(text) = element.text(name) else {
        return Ok(None);
    };
    let read = span::read(text).ok_or_else(|| format!("{name} is not a duration"))?;
    Ok(Some(read))
}

fn window(element: &Element) -> Result<Option<Duration>, String> {
    if !flag(element, "RequiresDuplicateDetection") {
        return Ok(None);
    }
    let window = duration(element, "DuplicateDetectionHistoryTimeWindow")?.unwrap_or(WINDOW_DEFAULT);
    if window < Duration::from_secs(20) || window > Duration::from_secs(7 * 86_400) {
        return Err("DuplicateDetectionHistoryTimeWindow must be 20 seconds to 7 days".to_owned());
    }
    Ok(Some(window))
}

fn disabled(element: &Element) -> bool {
    element.text("Status").is_some_and(|status| status != "Active")
}

pub(crate) fn topic_settings(element: &Element) -> Result<TopicSettings, String> {
    let mut settings = TopicSettings {
        duplicate_window: window(element)?,
        disabled: disabled(element),
        ..TopicSettings::default()
    };
    if let Some(kilobytes) = element
        .text("MaxMessageSizeInKilobytes")
        .and_then(|text| text.parse::<u64>().ok())
    {
        settings.message_bytes_max = kilobytes.saturating_mul(1_024);
    }
    Ok(settings)
}

pub(crate) fn entity_settings(element: &Element) -> Result<EntitySettings, String> {
    let mut settings = EntitySettings {
        requires_session: flag(element, "RequiresSession"),
        duplicate_window: window(element)?,
        disabled: disabled(element),
        ..EntitySettings::default()
    };
    if let Some(lock) = duration(element, "LockDuration")? {
        if lock > Duration::from_secs(300) {
            return Err("LockDuration must be at most 5 minutes".to_owned());
        }
        settings.lock_duration = lock;
    }
    if let Some(count) = element.text("MaxDeliveryCount") {
        let count = count.parse().ok().filter(|count| (1..=2_000).contains(count));
        settings.max_delivery_count = count.ok_or("MaxDeliveryCount must be 1 to 2000")?;
    }
    Ok(settings)
}

pub(crate) fn filter(rule: &Element) -> Result<Filter, String> {
    let filter = rule.child("Filter").ok_or("the rule has no Filter")?;
    match filter.kind.as_str() {
        "TrueFilter" => Ok(Filter::True),
        "FalseFilter" => Ok(Filter::False),
        "SqlFilter" => {
            let expression = filter
                .text("SqlExpression")
                .ok_or("the filter has no SqlExpression")?;
            let filter = Filter::Sql(expression.to_owned());
            if filter.is_understood() {
                Ok(filter)
            } else {
                Err("the SQL filter is more than equations joined by AND".to_owned())
            }
        }
        "CorrelationFilter" => {
            let mut wanted = BTreeMap::new();
            for (xml, key) in PARTS {
                if let Some(value) = filter.text(xml) {
                    wanted.insert(key.to_owned(), value.to_owned());
                }
            }
            let own = filter.child("Properties").map_or(&[][..], |own| &own.children);
            for pair in own {
                if let (Some(key), Some(value)) = (pair.text("Key"), pair.text("Value")) {
                    wanted.insert(format!("property:{key}"), value.to_owned());
                }
            }
            if wanted.is_empty() {
                return Err("the correlation filter asks for nothing".to_owned());
            }
            Ok(Filter::Correlation(wanted))
        }
        other => Err(format!("a filter of the kind '{other}' is not known here")),
    }
}
