//! What lies where, and until when, without a wire.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fe2o3_amqp_types::messaging::{AmqpValue, Body, MessageId, Properties};
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value;

use super::message::AnyMessage;
use super::store::Outcome;
use super::*;

/// A clock that stands still.
struct Still(AtomicI64);

impl Clock for Still {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

struct Bench {
    clock: Arc<Still>,
    broker: Broker,
}

impl Bench {
    fn with_queue(settings: EntitySettings) -> Bench {
        let clock = Arc::new(Still(AtomicI64::new(1_000_000)));
        let broker = Broker::new(clock.clone());
        broker.state().0.create_queue("q", settings);
        Bench { clock, broker }
    }

    fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(micros(time), Ordering::SeqCst);
    }

    fn send(&self, id: &str, session: Option<&str>) -> Result<(), Refusal> {
        self.broker.send("q", vec![message(id, session)])
    }

    /// Takes the next message; its number and lock.
    fn take(&self, session: Option<&str>) -> Option<(i64, Token)> {
        let token = self.broker.next_token();
        let (mut state, now) = self.broker.state();
        let taken = state.store("q").ok()?.take(session, token, now)?;
        Some((taken.sequence, taken.token))
    }

    fn settle(&self, token: &Token, outcome: Outcome) -> Result<(), Refusal> {
        let (mut state, now) = self.broker.state();
        let settled = state.store("q")?.settle(token, outcome, now);
        state.move_dead();
        settled
    }

    fn count(&self, path: &str) -> usize {
        self.broker.state().0.store(path).map_or(0, |store| store.len())
    }
}

fn message(id: &str, session: Option<&str>) -> AnyMessage {
    AnyMessage {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(Properties {
            message_id: Some(MessageId::String(id.to_owned())),
            group_id: session.map(str::to_owned),
            subject: Some("crm".to_owned()),
            ..Properties::default()
        }),
        application_properties: None,
        body: Body::Value(AmqpValue(Value::String(id.to_owned()))),
        footer: None,
    }
}

#[test]
fn a_lock_that_ends_brings_the_message_back_until_it_is_dead() {
    let bench = Bench::with_queue(EntitySettings {
        max_delivery_count: 2,
        ..EntitySettings::default()
    });
    assert!(bench.send("a", None).is_ok());
    let (first, token) = bench.take(None).unwrap();
    assert!(bench.take(None).is_none(), "it is locked");
    bench.pass(Duration::from_secs(60));
    let lost = bench.settle(&token, Outcome::Complete).unwrap_err();
    assert_eq!(lost.condition, "com.microsoft:message-lock-lost");
    assert_eq!(bench.take(None).unwrap().0, first, "it kept its place");
    bench.pass(Duration::from_secs(60));
    assert!(bench.take(None).is_none());
    assert_eq!((bench.count("q"), bench.count("q/$DeadLetterQueue")), (0, 1));
}

#[test]
fn each_outcome_leaves_what_it_should() {
    let bench = Bench::with_queue(EntitySettings::default());
    for id in ["done", "back", "later", "dead"] {
        assert!(bench.send(id, None).is_ok());
    }
    let settle = |outcome| {
        let (sequence, token) = bench.take(None).unwrap();
        assert!(bench.settle(&token, outcome).is_ok());
        sequence
    };
    settle(Outcome::Complete);
    let back = settle(Outcome::Abandon(Vec::new()));
    assert_eq!(
        settle(Outcome::Abandon(Vec::new())),
        back,
        "abandoned comes first again"
    );
    assert_eq!(settle(Outcome::Complete), back);
    let later = settle(Outcome::Defer(Vec::new()));
    let reason = SimpleValue::String("no key".to_owned());
    settle(Outcome::DeadLetter(vec![("DeadLetterReason".to_owned(), reason)]));
    assert!(
        bench.take(None).is_none(),
        "a deferred message is asked for by number only"
    );
    let (mut state, now) = bench.broker.state();
    let token = bench.broker.next_token();
    assert_eq!(
        state
            .store("q")
            .unwrap()
            .take_deferred(&[later], || token, now)
            .len(),
        1
    );
    assert_eq!(state.store("q/$deadletterqueue").unwrap().len(), 1);
}

#[test]
fn duplicates_are_dropped_as_long_as_the_window_is_open() {
    let bench = Bench::with_queue(EntitySettings {
        duplicate_window: Some(Duration::from_secs(20)),
        ..EntitySettings::default()
    });
    for expected in [1, 1] {
        assert!(bench.send("a", None).is_ok());
        assert_eq!(bench.count("q"), expected);
    }
    bench.pass(Duration::from_secs(21));
    assert!(bench.send("a", None).is_ok());
    assert_eq!(bench.count("q"), 2);
}

#[test]
fn a_session_has_one_holder_and_keeps_its_order() {
    let bench = Bench::with_queue(EntitySettings {
        requires_session: true,
        ..EntitySettings::default()
    });
    assert_eq!(bench.send("x", None).unwrap_err().condition, "amqp:not-allowed");
    for id in ["a1", "a2"] {
        assert!(bench.send(id, Some("a")).is_ok());
    }
    let accept = |owner| {
        let (mut state, now) = bench.broker.state();
        state
            .store("q")
            .unwrap()
            .accept(None, owner, now)
            .unwrap()
            .map(|(id, _)| id)
    };
    assert_eq!(accept(1).as_deref(), Some("a"));
    assert_eq!(accept(2), None, "there is no other session");
    let first = bench.take(Some("a")).unwrap().0;
    bench.broker.state().0.store("q").unwrap().release_session("a", 1);
    assert_eq!(accept(2).as_deref(), Some("a"));
    assert_eq!(
        bench.take(Some("a")).unwrap().0,
        first,
        "what was locked is ready again, in its place"
    );
    bench.pass(Duration::from_secs(60));
    let mut state = bench.broker.state().0;
    assert!(
        !state.store("q").unwrap().holds_session("a", 2),
        "its lock has ended"
    );
}

#[test]
fn a_topic_gives_to_those_whose_filter_fits() {
    let bench = Bench::with_queue(EntitySettings::default());
    let mut state = bench.broker.state().0;
    state.create_topic("t", TopicSettings::default());
    let filters = [
        (
            "by-label",
            Filter::Correlation(BTreeMap::from([("label".to_owned(), "crm".to_owned())])),
        ),
        ("by-sql", Filter::Sql("sys.Label = 'crm' AND 1 = 1".to_owned())),
        ("other", Filter::Sql("sys.Label = 'autotask'".to_owned())),
        ("none", Filter::False),
    ];
    for (name, filter) in filters {
        let rules = [("$Default".to_owned(), filter)];
        assert!(
            state
                .create_subscription("t", name, EntitySettings::default(), rules)
                .is_ok()
        );
    }
    drop(state);
    assert!(
        bench.broker.send("T", vec![message("a", None)]).is_ok(),
        "names have no case"
    );
    let counts =
        ["by-label", "by-sql", "other", "none"].map(|name| bench.count(&format!("t/Subscriptions/{name}")));
    assert_eq!(counts, [1, 1, 0, 0]);
}
