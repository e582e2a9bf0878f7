//! Makes what the bus needs in a namespace: says first what is missing, then does exactly that.

pub(crate) mod atom;
mod describe;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::{Clock, Error, ErrorKind, Result};
use seamless_http::{Request, encode_segment};

use crate::Settings;
use crate::identity::Tokens;
use crate::rest::{Rest, problem};
use atom::Element;
use describe::{
    Difference, SUBSCRIPTION_ORDER, TOPIC_ORDER, entry, flag, is_ours, new_rule, new_subscription, new_topic,
    subscription_differences, topic_differences,
};

/// The version of the API whose words are used here.
const API_VERSION: &str = "2021-05";
/// The name of our rule.
const RULE: &str = "seamless";
/// Rules in one page of a listing.
const PAGE: usize = 100;
/// Most rules of a subscription: what the service allows.
const RULES_MAX: usize = 2_000;
/// Largest message of the Standard tier, in KB.
const STANDARD_KILOBYTES: u64 = 256;

/// What a tenant needs of a namespace.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Its topic.
    pub topic: String,
    /// A subscription for each target system, of its name.
    pub subscriptions: Vec<String>,
    /// How long the topic has to remember message ids.
    pub duplicate_window: Duration,
    /// How long a subscription has to lock.
    pub lock_duration: Duration,
    /// How often a message may be delivered.
    pub max_delivery_count: u32,
    /// Whether lanes are sessions: over AMQP they are, over HTTPS they cannot be.
    pub sessions: bool,
    /// The largest message, in bytes.
    pub message_bytes_max: usize,
}

impl Blueprint {
    /// The largest message in KB, where it is more than every tier takes.
    fn kilobytes(&self) -> Option<u64> {
        let kilobytes = self.message_bytes_max.div_ceil(1_024) as u64;
        (kilobytes > STANDARD_KILOBYTES).then_some(kilobytes)
    }
}

/// What has to be done for a [`Blueprint`], or why it cannot be done.
#[derive(Clone, Debug)]
pub struct BusPlan {
    /// The tier of the namespace, as it calls itself.
    pub tier: String,
    /// In this order.
    pub steps: Vec<Step>,
    /// What a person has to change first; then nothing is done at all.
    pub refusals: Vec<String>,
}

/// One thing to do. `Display` says what, for people.
#[derive(Clone, Debug)]
pub struct Step {
    sentence: String,
    method: Method,
    path: String,
    body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Create,
    Update,
    Delete,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Looks at and changes a namespace. Its key needs the right Manage; an identity the role Azure Service Bus Data Owner.
pub struct Provisioner {
    rest: Rest,
}

impl Provisioner {
    /// With the key of `manage`, or what opens the namespace otherwise. No call yet.
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Provisioner> {
        let (access, identity) = match &settings.manage {
            Some(manage) => (manage.clone(), None),
            None => (settings.connection.clone(), settings.identity.clone()),
        };
        let tokens = identity
            .map(|identity| Tokens::new(identity, settings.extra_roots.clone(), clock.clone()))
            .transpose()?;
        let rest = Rest::new(access, tokens, settings.extra_roots.clone(), clock)?;
        Ok(Provisioner { rest })
    }

    /// Says what is missing. Changes nothing.
    pub async fn plan(&self, blueprint: &Blueprint) -> Result<BusPlan> {
        let mut plan = BusPlan {
            tier: self.tier().await?,
            steps: Vec::new(),
            refusals: Vec::new(),
        };
        if plan.tier.eq_ignore_ascii_case("Basic") {
            let reason =
                "the namespace is of the Basic tier, which has no topics: raise it to Standard or Premium";
            plan.refusals.push(reason.to_owned());
            return Ok(plan);
        }
        if let Some(kilobytes) = blueprint.kilobytes()
            && !plan.tier.eq_ignore_ascii_case("Premium")
        {
            plan.refusals.push(format!(
                "messages of {kilobytes} KB need the Premium tier, and the namespace is of the {} tier: set message_bytes_max = {}, or raise it",
                plan.tier,
                STANDARD_KILOBYTES * 1_024
            ));
        }
        let topic = escaped(&blueprint.topic);
        let found = self.find(&topic, "TopicDescription").await?;
        let is_there = found.is_some();
        match found {
            None => plan.steps.push(Step {
                sentence: format!(
                    "create topic {}: duplicates are dropped for {} s",
                    blueprint.topic,
                    blueprint.duplicate_window.as_secs()
                ),
                method: Method::Create,
                path: topic.clone(),
                body: new_topic(blueprint),
            }),
            Some(found) => plan_topic(&mut plan, blueprint, &topic, found),
        }
        for name in &blueprint.subscriptions {
            self.plan_subscription(&mut plan, blueprint, &topic, name, is_there)
                .await?;
        }
        Ok(plan)
    }

    /// Does what a plan says, step by step. May be repeated: a new plan knows what has been done.
    pub async fn apply(&self, plan: &BusPlan) -> Result<()> {
        if let Some(reason) = plan.refusals.first() {
            return Err(Error::new(ErrorKind::Refused, reason.clone()));
        }
        for step in &plan.steps {
            let request = match step.method {
                Method::Delete => Request::delete(step.path.as_str()),
                Method::Create => Request::put(step.path.as_str()),
                Method::Update => Request::put(step.path.as_str()).header("if-match", "*"),
            };
            let request = match step.method {
                Method::Delete => request,
                _ => request.body("application/atom+xml;type=entry;charset=utf-8", entry(&step.body)),
            };
            let answer = self.rest.call(request.query("api-version", API_VERSION)).await?;
            // Somebody was faster: the next plan sees what they did.
            let done = answer.is_success()
                || (step.method == Method::Create && answer.status == 409)
                || (step.method == Method::Delete && answer.status == 404);
            if !done {
                return Err(problem(&step.sentence, answer.status, &answer.body));
            }
        }
        Ok(())
    }

    /// An error with the first thing that is not as it has to be. Changes nothing.
    pub async fn verify(&self, blueprint: &Blueprint) -> Result<()> {
        let plan = self.plan(blueprint).await?;
        if let Some(reason) = plan.refusals.first() {
            return Err(Error::new(ErrorKind::Refused, format!("service bus: {reason}")));
        }
        match plan.steps.first() {
            None => Ok(()),
            Some(step) => Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "service bus: the namespace is not as it has to be; `seamless bus apply` would {step}"
                ),
            )),
        }
    }

    /// Messages of a subscription that are not dead.
    #[cfg(feature = "https")]
    pub(crate) async fn active(&self, topic: &str, subscription: &str) -> Result<u64> {
        let path = format!(
            "{}/Subscriptions/{}",
            escaped(topic),
            encode_segment(subscription)
        );
        let found = self.find(&path, "SubscriptionDescription").await?;
        let found = found.ok_or_else(|| problem(&format!("count in {subscription}"), 404, b""))?;
        let details = found.child("CountDetails");
        let count = |name| {
            let text = details.and_then(|details| details.get(name));
            text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        Ok(count("ActiveMessageCount") + count("ScheduledMessageCount"))
    }

    async fn tier(&self) -> Result<String> {
        let about = self.find("$namespaceinfo", "NamespaceInfo").await?;
        let tier = about
            .as_ref()
            .and_then(|about| about.get("MessagingSKU"))
            .map(str::to_owned);
        tier.ok_or_else(|| Error::protocol("service bus: the namespace does not say of which tier it is"))
    }

    async fn plan_subscription(
        &self,
        plan: &mut BusPlan,
        blueprint: &Blueprint,
        topic: &str,
        name: &str,
        topic_is_there: bool,
    ) -> Result<()> {
        let path = format!("{topic}/Subscriptions/{}", encode_segment(name));
        let found = if topic_is_there {
            self.find(&path, "SubscriptionDescription").await?
        } else {
            None
        };
        let Some(found) = found else {
            let sessions = if blueprint.sessions { "sessions, " } else { "" };
            plan.steps.push(Step {
                sentence: format!(
                    "create subscription {name}: takes what has the label {name}; {sessions}lock of {} s, {} deliveries",
                    blueprint.lock_duration.as_secs(),
                    blueprint.max_delivery_count
                ),
                method: Method::Create,
                path,
                body: new_subscription(blueprint, name),
            });
            return Ok(());
        };
        let what = format!("subscription {name}");
        if flag(&found, "RequiresSession") != blueprint.sessions {
            let has = if blueprint.sessions {
                "has no sessions"
            } else {
                "requires sessions"
            };
            plan.refusals.push(format!(
                "{what} {has}, and that cannot be changed: let it run empty, delete it, and run this again"
            ));
        }
        if let Some(other) = found.get("ForwardTo") {
            plan.refusals
                .push(format!("{what} forwards its messages to {other}: take that away"));
        }
        plan_status(plan, &what, &found);
        let differences = subscription_differences(&found, blueprint);
        plan_update(plan, &what, &path, found, &differences, &SUBSCRIPTION_ORDER);
        self.plan_rules(plan, &path, name).await
    }

    /// One rule, ours; the new one first, so that nothing is missed in between.
    async fn plan_rules(&self, plan: &mut BusPlan, path: &str, name: &str) -> Result<()> {
        let rules = self.rules(path).await?;
        let right = rules.iter().position(|(_, rule)| is_ours(rule, name));
        let mut kept = right;
        if right.is_none() {
            kept = rules.iter().position(|(title, _)| title == RULE);
            plan.steps.push(Step {
                sentence: format!("subscription {name}: take what has the label {name} (rule {RULE})"),
                method: if kept.is_some() {
                    Method::Update
                } else {
                    Method::Create
                },
                path: format!("{path}/Rules/{RULE}"),
                body: new_rule(name),
            });
        }
        for (at, (title, _)) in rules.iter().enumerate() {
            if Some(at) != kept {
                plan.steps.push(Step {
                    sentence: format!(
                        "subscription {name}: remove rule {title}, which takes what is not meant for it"
                    ),
                    method: Method::Delete,
                    path: format!("{path}/Rules/{}", encode_segment(title)),
                    body: String::new(),
                });
            }
        }
        Ok(())
    }

    /// Names and descriptions of the rules of a subscription.
    async fn rules(&self, path: &str) -> Result<Vec<(String, Element)>> {
        let mut rules: Vec<(String, Element)> = Vec::new();
        while rules.len() < RULES_MAX {
            let request = Request::get(format!("{path}/Rules"))
                .query("api-version", API_VERSION)
                .query("$skip", rules.len().to_string())
                .query("$top", PAGE.to_string());
            let root = self.get("list rules", request).await?;
            let page: Vec<(String, Element)> = root
                .children
                .iter()
                .filter(|child| child.local() == "entry")
                .filter_map(|entry| {
                    let rule = entry.child("content")?.child("RuleDescription")?;
                    // The title is what it is addressed by; old services leave the name out of the description.
                    let title = entry.get("title").or_else(|| rule.get("Name"))?;
                    Some((title.to_owned(), rule.clone()))
                })
                .collect();
            let whole = page.len() < PAGE;
            rules.extend(page);
            if whole {
                break;
            }
        }
        Ok(rules)
    }

    /// A description; none when there is no such thing. The service answers an empty listing in place of a topic that is not there.
    async fn find(&self, path: &str, name: &str) -> Result<Option<Element>> {
        let request = Request::get(path).query("api-version", API_VERSION);
        match self.get(path, request).await {
            Ok(root) => {
                let content = root.child("content");
                Ok(content.and_then(|content| content.child(name)).cloned())
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, what: &str, request: Request) -> Result<Element> {
        let answer = self.rest.call(request).await?;
        if !answer.is_success() {
            return Err(problem(what, answer.status, &answer.body));
        }
        Element::parse(&answer.body).map_err(|reason| {
            Error::protocol(format!(
                "service bus, {what}: the answer cannot be read as XML: {reason}"
            ))
        })
    }
}

fn plan_topic(plan: &mut BusPlan, blueprint: &Blueprint, path: &str, found: Element) {
    let what = format!("topic {}", blueprint.topic);
    if !flag(&found, "RequiresDuplicateDetection") {
        plan.refusals.push(format!(
            "{what} does not drop duplicates, and that cannot be changed: delete it when it is empty, or name another topic, and run this again"
        ));
    }
    plan_status(plan, &what, &found);
    let differences = topic_differences(&found, blueprint);
    plan_update(plan, &what, path, found, &differences, &TOPIC_ORDER);
}

/// Somebody has switched it off, and may have had a reason.
fn plan_status(plan: &mut BusPlan, what: &str, found: &Element) {
    if let Some(status) = found.get("Status").filter(|status| *status != "Active") {
        plan.refusals.push(format!(
            "{what} is switched off ({status}): switch it on, and run this again"
        ));
    }
}

fn plan_update(
    plan: &mut BusPlan,
    what: &str,
    path: &str,
    mut found: Element,
    differences: &[Difference],
    order: &[&str],
) {
    if differences.is_empty() {
        return;
    }
    let mut sentences = Vec::new();
    for difference in differences {
        found.set(difference.field, &difference.value, order);
        sentences.push(difference.sentence.as_str());
    }
    let mut body = String::new();
    found.write(&mut body);
    plan.steps.push(Step {
        sentence: format!("{what}: {}", sentences.join(", ")),
        method: Method::Update,
        path: path.to_owned(),
        body,
    });
}

/// A topic's name as a path; it may hold slashes.
fn escaped(topic: &str) -> String {
    topic.split('/').map(encode_segment).collect::<Vec<_>>().join("/")
}
