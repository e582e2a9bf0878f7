//! The connector suite against the sandbox's CRM, through the manifest that the demo uses.

use std::sync::Arc;

use seamless_core::{Clock, Fields, Result, Value};
use seamless_rest::{Rest, SANDBOX_CRM};
use seamless_sandbox::{Entity, System};
use seamless_testkit::conformance::connector::sandbox::SandboxBench;
use seamless_testkit::conformance::connector::{Credentials, Exact, Opened, Subject, run};
use serde_json::json;

#[tokio::test]
async fn accounts_conform() {
    let report = run(&bench(
        Entity::Account,
        Subject {
            entity: "accounts".to_owned(),
            required: Fields::new(),
            name: "name".to_owned(),
            other: "city".to_owned(),
            cross_reference: Some("autotask_id".to_owned()),
            refused: Some(("country".to_owned(), "DEU".into())),
            exact: vec![
                Exact::same("street", "Zoë 🦀 \u{5e74}"),
                Exact::same("street2", Value::Null),
                Exact::same("active", false),
            ],
            secrets: secrets(),
        },
    ))
    .await;
    assert_eq!(report.verdict(38), Ok(()));
}

#[tokio::test]
async fn opportunities_conform() {
    let report = run(&bench(
        Entity::Opportunity,
        Subject {
            entity: "opportunities".to_owned(),
            required: Fields::new(),
            name: "title".to_owned(),
            other: "owner_email".to_owned(),
            cross_reference: Some("autotask_id".to_owned()),
            refused: Some(("stage".to_owned(), "no such stage".into())),
            exact: vec![
                Exact::same("amount", Value::from_json(&json!(0.1))),
                Exact::same("probability", 55),
                Exact::same("start_date", "2026-02-28"),
            ],
            secrets: secrets(),
        },
    ))
    .await;
    assert_eq!(report.verdict(38), Ok(()));
}

const TOKEN: &str = "sandbox-token";
const WRONG: &str = "not-the-token-at-all";

fn secrets() -> Vec<String> {
    [TOKEN, WRONG].map(str::to_owned).into()
}

fn bench(entity: Entity, subject: Subject) -> SandboxBench {
    SandboxBench {
        system: System::Crm,
        entity,
        subject,
        open: |sandbox, clock, credentials| Box::pin(open(sandbox.crm_url.clone(), clock, credentials)),
    }
}

async fn open(endpoint: String, clock: Arc<dyn Clock>, credentials: Credentials) -> Result<Opened> {
    let token = match credentials {
        Credentials::Right => TOKEN,
        Credentials::Wrong => WRONG,
    };
    let settings = json!({
        "manifest_toml": SANDBOX_CRM, "endpoint": endpoint, "allow_private_network": true, "timeout_secs": 5,
    });
    Opened::by(&Rest, settings, &[("token", token)], clock).await
}
