//! A namespace is set up, repaired, or refused with a reason; and what is wrong in one is said at start.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stand;

use std::time::Duration;

use seamless_core::{Bus, ErrorKind};
use seamless_emulator::{Emulator, EntitySettings, Filter, Options, Tier, TopicSettings};
use seamless_servicebus::{Blueprint, BusPlan, Provisioner};

use stand::{Real, bus, bus_with, label, settings};

async fn namespace(tier: Tier) -> Emulator {
    let options = Options {
        tier,
        ..Options::default()
    };
    Emulator::start(options).await.unwrap()
}

fn provisioner(connection: &str) -> Provisioner {
    Provisioner::new(&settings(connection), Real::new()).unwrap()
}

fn blueprint(emulator: &Emulator) -> Blueprint {
    let names = ["autotask".to_owned(), "crm".to_owned()];
    let mut blueprint = settings(&emulator.connection_string()).blueprint(&names, true);
    blueprint.lock_duration = Duration::from_secs(60);
    blueprint
}

fn sentences(plan: &BusPlan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_is_missing_is_made_once() {
    let emulator = namespace(Tier::Standard).await;
    let provisioner = provisioner(&emulator.http_connection_string());
    let blueprint = blueprint(&emulator);
    let plan = provisioner.plan(&blueprint).await.unwrap();
    let steps = sentences(&plan);
    assert_eq!((plan.tier.as_str(), steps.len()), ("Standard", 3), "{steps:?}");
    assert!(
        steps[0].starts_with("create topic tenant") && steps[2].contains("label crm"),
        "{steps:?}"
    );
    assert!(
        emulator.counts("tenant/Subscriptions/crm").is_none(),
        "a plan changes nothing"
    );
    provisioner.apply(&plan).await.unwrap();
    let again = provisioner.plan(&blueprint).await.unwrap();
    assert_eq!(sentences(&again), Vec::<String>::new());
    assert_eq!(again.refusals, Vec::<String>::new());
    provisioner.verify(&blueprint).await.unwrap();
    // A plan that is carried out twice does no harm.
    provisioner.apply(&plan).await.unwrap();

    let [amqp, _] = emulator.limited_connection_strings();
    let names = ["autotask".to_owned(), "crm".to_owned()];
    bus_with(&amqp).verify(&names).await.unwrap();
}

#[tokio::test]
async fn what_differs_is_changed_and_what_is_too_much_goes() {
    let emulator = namespace(Tier::Standard).await;
    let topic = TopicSettings {
        duplicate_window: Some(Duration::from_secs(30)),
        ..TopicSettings::default()
    };
    emulator.create_topic("tenant", topic);
    let made = EntitySettings {
        requires_session: true,
        lock_duration: Duration::from_secs(30),
        ..EntitySettings::default()
    };
    emulator.create_subscription("tenant", "crm", made.clone(), Filter::True);
    emulator.create_subscription("tenant", "autotask", made, label("autotask"));
    let provisioner = provisioner(&emulator.http_connection_string());
    let blueprint = blueprint(&emulator);
    let plan = provisioner.plan(&blueprint).await.unwrap();
    let steps = sentences(&plan).join("\n");
    for expected in [
        "topic tenant: remember message ids for 600 s instead of 30 s",
        "subscription crm: lock for 60 s instead of 30 s, give a message up after 2000 deliveries instead of 10",
        "subscription crm: take what has the label crm (rule seamless)",
        "subscription crm: remove rule $Default",
        "subscription autotask: lock for 60 s",
    ] {
        assert!(steps.contains(expected), "{expected} is not in\n{steps}");
    }
    assert!(!steps.contains("autotask: remove"), "{steps}");
    provisioner.apply(&plan).await.unwrap();
    let again = provisioner.plan(&blueprint).await.unwrap();
    assert_eq!(sentences(&again), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_with_the_reason() {
    let basic = namespace(Tier::Basic).await;
    let plan = provisioner(&basic.http_connection_string())
        .plan(&blueprint(&basic))
        .await
        .unwrap();
    assert!(
        plan.steps.is_empty() && plan.refusals[0].contains("Basic"),
        "{:?}",
        plan.refusals
    );

    let emulator = namespace(Tier::Standard).await;
    emulator.create_topic("tenant", TopicSettings::default());
    emulator.create_subscription("tenant", "crm", EntitySettings::default(), label("crm"));
    emulator.set_disabled("tenant", true);
    let provisioner = provisioner(&emulator.http_connection_string());
    let mut wanted = blueprint(&emulator);
    wanted.message_bytes_max = 1 << 20;
    let plan = provisioner.plan(&wanted).await.unwrap();
    let refusals = plan.refusals.join("\n");
    for expected in [
        "does not drop duplicates",
        "subscription crm has no sessions",
        "is switched off (Disabled)",
        "messages of 1024 KB need the Premium tier",
    ] {
        assert!(refusals.contains(expected), "{expected} is not in\n{refusals}");
    }
    let error = provisioner.apply(&plan).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(
        emulator.counts("tenant/Subscriptions/autotask").is_none(),
        "nothing was changed"
    );

    let premium = namespace(Tier::Premium).await;
    let mut wanted = blueprint(&premium);
    wanted.message_bytes_max = 1 << 20;
    let provisioner = self::provisioner(&premium.http_connection_string());
    let plan = provisioner.plan(&wanted).await.unwrap();
    provisioner.apply(&plan).await.unwrap();
    provisioner.verify(&wanted).await.unwrap();
}

#[tokio::test]
async fn keys_that_may_not_are_told_apart() {
    let emulator = namespace(Tier::Standard).await;
    let good = emulator.http_connection_string();
    let [_, limited] = emulator.limited_connection_strings();
    let cases = [
        (limited, "`seamless bus` needs Manage"),
        (
            good.replace("SharedAccessKey=", "SharedAccessKey=x"),
            "the key is not accepted",
        ),
        (
            good.replace("KeyName=Root", "KeyName=Other"),
            "has no key of that name",
        ),
    ];
    for (connection, expected) in cases {
        let error = provisioner(&connection)
            .plan(&blueprint(&emulator))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Auth, "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_at_start_without_the_right_to_change_it() {
    let sessions = EntitySettings {
        requires_session: true,
        ..EntitySettings::default()
    };
    let plain = EntitySettings::default();
    let short = EntitySettings {
        requires_session: true,
        lock_duration: Duration::from_millis(100),
        ..EntitySettings::default()
    };
    let cases = [
        (plain, label("crm"), "crm was made without sessions"),
        (
            sessions.clone(),
            Filter::True,
            "has another rule than the label crm",
        ),
        (
            sessions.clone(),
            label("autotask"),
            "has another rule than the label crm",
        ),
        (
            sessions,
            Filter::Sql("sys.Label = 'crm'".to_owned()),
            "has another rule than the label crm",
        ),
        (short, label("crm"), "locks for about 0 s"),
    ];
    for (made, filter, expected) in cases {
        let emulator = namespace(Tier::Standard).await;
        emulator.create_topic("tenant", TopicSettings::default());
        emulator.create_subscription("tenant", "crm", made, filter);
        let error = bus(&emulator).verify(&["crm".to_owned()]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let emulator = namespace(Tier::Standard).await;
    let error = bus(&emulator).verify(&["crm".to_owned()]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
}
