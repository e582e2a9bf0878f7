//! The connector suite against the simulated Autotask.

use std::sync::Arc;

use seamless_autotask::Autotask;
use seamless_core::{Clock, Fields, Result, Value};
use seamless_sandbox::{Entity, System};
use seamless_testkit::conformance::connector::sandbox::SandboxBench;
use seamless_testkit::conformance::connector::{Credentials, Exact, Opened, Subject, run};
use serde_json::json;

#[tokio::test]
async fn companies_conform() {
    let subject = Subject {
        required: fields([("companyType", 1.into()), ("phone", "518-555-0100".into())]),
        refused: Some(("postalCode".to_owned(), "longer than ten".into())),
        exact: vec![
            Exact::same("assetValue", Value::from_json(&json!(0.1))),
            Exact::same("address1", "Zoë 🦀 \u{5e74}"),
            Exact::same("address2", Value::Null),
            Exact::same("country", "DE"),
        ],
        ..subject("Companies", "companyName", "city")
    };
    conform(Entity::Account, subject, 40).await;
}

#[tokio::test]
async fn contacts_conform() {
    let subject = Subject {
        required: fields([("companyID", OWN_COMPANY.into()), ("firstName", "Ann".into())]),
        refused: Some(("zipCode".to_owned(), "longer than sixteen".into())),
        exact: vec![Exact::same("note", "Zoë 🦀 \u{5e74}"), Exact::same("isActive", 0)],
        ..subject("Contacts", "lastName", "city")
    };
    conform(Entity::Contact, subject, 40).await;
}

#[tokio::test]
async fn tickets_conform() {
    let subject = Subject {
        required: fields([
            ("companyID", OWN_COMPANY.into()),
            ("status", 1.into()),
            ("priority", 2.into()),
            ("queueID", 29_682_833.into()),
            ("dueDateTime", "2026-12-01T10:00:00Z".into()),
        ]),
        refused: Some(("priority".to_owned(), 4711.into())),
        exact: vec![Exact::same("description", "line\nline <b>&amp;</b>")],
        ..subject("Tickets", "title", "resolution")
    };
    conform(Entity::Ticket, subject, 40).await;
}

/// They have no stamp of their own: lists are sweeps.
#[tokio::test]
async fn opportunities_conform() {
    let subject = Subject {
        required: fields([
            ("companyID", OWN_COMPANY.into()),
            ("amount", 1.into()),
            ("cost", 0.into()),
            ("probability", 50.into()),
            ("projectedCloseDate", "2026-12-01".into()),
            ("startDate", "2026-11-01".into()),
            ("stage", 29_682_769.into()),
            ("status", 1.into()),
            ("useQuoteTotals", false.into()),
        ]),
        refused: Some(("stage".to_owned(), 4711.into())),
        exact: vec![Exact::same("monthlyCost", Value::from_json(&json!(0.1)))],
        ..subject("Opportunities", "title", "nextStep")
    };
    conform(Entity::Opportunity, subject, 37).await;
}

async fn conform(entity: Entity, subject: Subject, cases: usize) {
    let report = run(&SandboxBench {
        system: System::Autotask,
        entity,
        subject,
        open: |sandbox, clock, credentials| Box::pin(open(sandbox.autotask_url.clone(), clock, credentials)),
    })
    .await;
    assert_eq!(report.verdict(cases), Ok(()));
}

fn subject(entity: &str, name: &str, other: &str) -> Subject {
    Subject {
        entity: entity.to_owned(),
        required: Fields::new(),
        name: name.to_owned(),
        other: other.to_owned(),
        cross_reference: Some("udf.CRM ID".to_owned()),
        refused: None,
        exact: Vec::new(),
        secrets: [SECRET, WRONG].map(str::to_owned).into(),
    }
}

/// The tenant itself is a company of every tenant.
const OWN_COMPANY: i64 = 0;
const SECRET: &str = "sandbox-secret";
const WRONG: &str = "not-the-secret-at-all";

fn fields<const N: usize>(given: [(&str, Value); N]) -> Fields {
    given.map(|(name, value)| (name.to_owned(), value)).into()
}

async fn open(endpoint: String, clock: Arc<dyn Clock>, credentials: Credentials) -> Result<Opened> {
    let secret = match credentials {
        Credentials::Right => SECRET,
        Credentials::Wrong => WRONG,
    };
    let settings = json!({
        "endpoint": endpoint, "allow_private_network": true, "username": "integration@example.test",
        "integration_code": {"env": "CODE"}, "secret": {"env": "SECRET"}, "default_owner_resource_id": 29682885, "timeout_secs": 10,
    });
    let secrets = [("integration_code", "SANDBOX"), ("secret", secret)];
    Opened::by(&Autotask, settings, &secrets, clock).await
}
