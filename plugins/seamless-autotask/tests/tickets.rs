//! Tickets and opportunities against the simulated Autotask: the rules that tie fields together, and sweeps without a change stamp.

// A helper that fails should stop its test.
#![allow(clippy::unwrap_used)]

mod bench;

use bench::{Bench, bench, config, fields};
use seamless_core::{Effect, ErrorKind, NativeRecord, RecordId, UsedFields, Value, WriteAction};
use seamless_sandbox::{Config, Fault, Faults, On};
use serde_json::{Value as Json, json};

const OWNER: i64 = 29_682_885;
const TECHNICIAN: i64 = OWNER + 1;
const QUEUE: i64 = 29_682_833;

impl Bench {
    async fn ticket(&self, more: &[(&str, Value)]) -> RecordId {
        let mut given = vec![
            ("title", Value::from("Printer")),
            ("companyID", Value::from(self.company("Acme").await.as_str())),
            ("status", Value::Int(1)),
            ("priority", Value::Int(2)),
            ("queueID", Value::Int(QUEUE)),
            ("dueDateTime", Value::from("2026-12-01T10:00:00Z")),
        ];
        given.extend(more.iter().cloned());
        let create = WriteAction::Create {
            fields: fields(&given),
        };
        self.write("Tickets", create).await.unwrap()
    }

    async fn company(&self, name: &str) -> RecordId {
        let given = [
            ("companyName", Value::from(name)),
            ("companyType", Value::Int(1)),
            ("phone", Value::from("123")),
            ("ownerResourceID", Value::Int(OWNER)),
        ];
        let create = WriteAction::Create {
            fields: fields(&given),
        };
        self.write("Companies", create).await.unwrap()
    }

    async fn contact(&self, company: &RecordId) -> RecordId {
        let given = [
            ("companyID", Value::from(company.as_str())),
            ("firstName", Value::from("Jane")),
            ("lastName", Value::from("Doe")),
        ];
        let create = WriteAction::Create {
            fields: fields(&given),
        };
        self.write("Contacts", create).await.unwrap()
    }

    async fn now(&self, entity: &str, id: &RecordId) -> NativeRecord {
        let found = self.target.fetch(entity, std::slice::from_ref(id)).await;
        found.unwrap().remove(0)
    }

    async fn update(&self, id: &RecordId, change: &[(&str, Value)]) -> seamless_core::Result<RecordId> {
        let current = Box::new(self.now("Tickets", id).await);
        let fields = fields(change);
        self.write("Tickets", WriteAction::Update { current, fields })
            .await
    }

    /// Field names of the ticket writes so far.
    fn ticket_writes(&self) -> Vec<Vec<String>> {
        let (_, log) = self.sandbox.admin("GET", "/calls", &Json::Null);
        let calls = log["calls"].as_array().unwrap();
        calls
            .iter()
            .filter(|call| call["method"] == "PATCH" && call["entity"] == "ticket")
            .map(|call| serde_json::from_value(call["fields"].clone()).unwrap())
            .collect()
    }
}

fn number(record: &NativeRecord, field: &str) -> Option<i64> {
    record.fields.get(field)?.to_plain()?.parse().ok()
}

fn violations(bench: &Bench) -> Json {
    bench.sandbox.stats()["violations"].clone()
}

#[tokio::test]
async fn a_ticket_moves_to_another_company_without_its_contact() {
    let bench = bench(config(), json!({})).await;
    let company = bench.company("Old").await;
    let contact = bench.contact(&company).await;
    let ticket = bench
        .ticket(&[
            ("companyID", Value::from(company.as_str())),
            ("contactID", Value::from(contact.as_str())),
        ])
        .await;
    let elsewhere = bench.company("New").await;
    let newcomer = bench.contact(&elsewhere).await;
    bench
        .update(&ticket, &[("companyID", Value::from(elsewhere.as_str()))])
        .await
        .unwrap();
    let moved = bench.now("Tickets", &ticket).await;
    assert_eq!(number(&moved, "companyID"), elsewhere.as_str().parse().ok());
    assert_eq!(number(&moved, "contactID"), None, "it belongs to the old company");
    assert_eq!(bench.ticket_writes(), [vec!["contactID"], vec!["companyID"]]);
    // Back, with a new contact in one go; there is nothing to clear this time.
    bench
        .update(
            &ticket,
            &[
                ("companyID", Value::from(company.as_str())),
                ("contactID", Value::from(contact.as_str())),
            ],
        )
        .await
        .unwrap();
    // And there again, to a contact of the new company.
    bench
        .update(
            &ticket,
            &[
                ("companyID", Value::from(elsewhere.as_str())),
                ("contactID", Value::from(newcomer.as_str())),
            ],
        )
        .await
        .unwrap();
    let moved = bench.now("Tickets", &ticket).await;
    assert_eq!(number(&moved, "contactID"), newcomer.as_str().parse().ok());
    assert_eq!(bench.ticket_writes().len(), 5);
    assert_eq!(violations(&bench)["unchanged_patches"], 0);
}

#[tokio::test]
async fn a_contact_of_the_parent_company_stays_with_the_ticket() {
    let bench = bench(config(), json!({})).await;
    let parent = bench.company("Parent").await;
    let contact = bench.contact(&parent).await;
    let child = bench.company("Child").await;
    let current = Box::new(bench.now("Companies", &child).await);
    let change = fields(&[("parentCompanyID", Value::from(parent.as_str()))]);
    bench
        .write(
            "Companies",
            WriteAction::Update {
                current,
                fields: change,
            },
        )
        .await
        .unwrap();
    let ticket = bench
        .ticket(&[
            ("companyID", Value::from(parent.as_str())),
            ("contactID", Value::from(contact.as_str())),
        ])
        .await;
    bench
        .update(&ticket, &[("companyID", Value::from(child.as_str()))])
        .await
        .unwrap();
    let moved = bench.now("Tickets", &ticket).await;
    assert_eq!(number(&moved, "companyID"), child.as_str().parse().ok());
    assert_eq!(number(&moved, "contactID"), contact.as_str().parse().ok());
}

#[tokio::test]
async fn a_refused_move_leaves_the_ticket_as_it_was_and_a_lost_one_is_unknown() {
    let bench = bench(config(), json!({})).await;
    let company = bench.company("Old").await;
    let contact = bench.contact(&company).await;
    let ticket = bench
        .ticket(&[
            ("companyID", Value::from(company.as_str())),
            ("contactID", Value::from(contact.as_str())),
        ])
        .await;
    let error = bench
        .update(&ticket, &[("companyID", Value::Int(999_999_999))])
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Invalid, Effect::NotApplied)
    );
    assert_eq!(error.field.as_deref(), Some("companyID"));
    let still = bench.now("Tickets", &ticket).await;
    assert_eq!(number(&still, "contactID"), contact.as_str().parse().ok());
    let elsewhere = bench.company("New").await;
    let current = Box::new(still);
    let change = fields(&[("companyID", Value::from(elsewhere.as_str()))]);
    // The first step lands, and its answer is lost: nothing more is sent.
    bench.sandbox.set_faults(Faults {
        lost_answer: Fault {
            on: On::Writes,
            ..Fault::next(1)
        },
        ..Faults::default()
    });
    let error = bench
        .write(
            "Tickets",
            WriteAction::Update {
                current,
                fields: change,
            },
        )
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Unavailable, Effect::Unknown)
    );
    let after = bench.now("Tickets", &ticket).await;
    assert_eq!(number(&after, "companyID"), company.as_str().parse().ok());
}

#[tokio::test]
async fn a_person_is_assigned_in_the_role_that_autotask_knows() {
    let bench = bench(config(), json!({"people": {"tom@crm.example": TECHNICIAN}})).await;
    let ticket = bench
        .ticket(&[("assignedResourceID", Value::Int(TECHNICIAN))])
        .await;
    let now = bench.now("Tickets", &ticket).await;
    assert_eq!(
        number(&now, "assignedResourceRoleID"),
        Some(29_682_834),
        "the default one"
    );
    assert_eq!(
        now.fields["assignedResourceEmail"],
        Value::from("tom@crm.example")
    );
    bench
        .update(
            &ticket,
            &[("assignedResourceEmail", Value::from("Olivia.Owner@msp.example"))],
        )
        .await
        .unwrap();
    let now = bench.now("Tickets", &ticket).await;
    assert_eq!(number(&now, "assignedResourceID"), Some(OWNER));
    assert_eq!(number(&now, "assignedResourceRoleID"), Some(29_682_833));
    bench
        .update(&ticket, &[("assignedResourceEmail", Value::Null)])
        .await
        .unwrap();
    let now = bench.now("Tickets", &ticket).await;
    assert_eq!(
        number(&now, "assignedResourceRoleID"),
        None,
        "the pair goes together"
    );
    for (field, value, part) in [
        (
            "assignedResourceEmail",
            Value::from("nobody@crm.example"),
            "e-mail",
        ),
        ("assignedResourceID", Value::Int(29_682_800), "role"),
    ] {
        let error = bench.update(&ticket, &[(field, value)]).await.unwrap_err();
        assert_eq!(
            (error.kind, error.effect),
            (ErrorKind::Invalid, Effect::NotApplied)
        );
        assert_eq!(error.field.as_deref(), Some(field));
        assert!(
            error.message().contains(part) && !error.message().contains("nobody"),
            "{error}"
        );
    }
    let asked = bench.calls_to("resourceservicedeskroles");
    assert_eq!(asked, 3, "once for each person");
}

#[tokio::test]
async fn a_list_of_roles_that_breaks_off_is_no_list_without_roles() {
    let bench = bench(config(), json!({})).await;
    let ticket = bench.ticket(&[]).await;
    let truncated_body = Fault::next(1).at("ResourceServiceDeskRoles");
    bench.sandbox.set_faults(Faults {
        truncated_body,
        ..Faults::default()
    });
    let assigned = [("assignedResourceID", Value::Int(TECHNICIAN))];
    let error = bench.update(&ticket, &assigned).await.unwrap_err();
    assert_eq!(
        (error.kind, error.effect),
        (ErrorKind::Protocol, Effect::NotApplied),
        "{error}"
    );
    assert!(
        bench.ticket_writes().is_empty(),
        "the ticket is written without knowing the role"
    );
    assert_eq!(
        violations(&bench)["wrong_routes"],
        0,
        "another list was asked for"
    );
    bench.update(&ticket, &assigned).await.unwrap();
    let now = bench.now("Tickets", &ticket).await;
    assert_eq!(number(&now, "assignedResourceID"), Some(TECHNICIAN));
}

#[tokio::test]
async fn what_the_other_system_does_not_have_is_supplied() {
    let extra = json!({"default_queue_id": QUEUE, "default_due_hours": 24});
    let bench = bench(config(), extra).await;
    let company = bench.company("Acme").await;
    let given = [
        ("title", Value::from("Bare")),
        ("companyID", Value::from(company.as_str())),
        ("status", Value::Int(1)),
        ("priority", Value::Int(2)),
    ];
    let create = WriteAction::Create {
        fields: fields(&given),
    };
    let ticket = bench.write("Tickets", create).await.unwrap();
    let now = bench.now("Tickets", &ticket).await;
    assert_eq!(number(&now, "queueID"), Some(QUEUE));
    assert!(!now.fields["dueDateTime"].is_empty());
    assert!(now.fields["ticketNumber"].to_plain().unwrap().starts_with('T'));
}

#[tokio::test]
async fn a_sub_issue_type_brings_its_issue_type_and_goes_with_it() {
    let bench = bench(config(), json!({})).await;
    let ticket = bench.ticket(&[("subIssueType", Value::Int(137))]).await;
    let now = bench.now("Tickets", &ticket).await;
    assert_eq!(
        (number(&now, "issueType"), number(&now, "subIssueType")),
        (Some(10), Some(137))
    );
    bench
        .update(&ticket, &[("issueType", Value::Int(11))])
        .await
        .unwrap();
    let now = bench.now("Tickets", &ticket).await;
    assert_eq!(
        (number(&now, "issueType"), number(&now, "subIssueType")),
        (Some(11), None)
    );
    let lists = bench.target.dependent_options("Tickets").await.unwrap();
    assert_eq!(
        (lists[0].field.as_str(), lists[0].parents["137"].as_str()),
        ("subIssueType", "10")
    );
}

#[tokio::test]
async fn open_opportunities_are_read_often_and_closed_ones_rarely() {
    for edits_move_activity in [true, false] {
        let config = Config {
            opportunity_edits_move_activity: edits_move_activity,
            ..config()
        };
        sweep_open_ones(bench(config, json!({})).await).await;
    }
}

async fn sweep_open_ones(bench: Bench) {
    let company = bench.company("Acme").await;
    let mut ids = Vec::new();
    for at in 0..4 {
        let given = [
            ("title", Value::from(format!("Deal {at}").as_str())),
            ("companyID", Value::from(company.as_str())),
            ("ownerResourceID", Value::Int(OWNER)),
            ("status", Value::Int(1)),
            ("stage", Value::Int(29_682_769)),
            ("amount", Value::Int(5)),
            ("cost", Value::Int(0)),
            ("probability", Value::Int(50)),
            ("useQuoteTotals", Value::Bool(false)),
            ("startDate", Value::from("2026-01-31")),
            ("projectedCloseDate", Value::from("2026-12-31")),
            ("udf.CRM ID", Value::from(format!("deal-{at}").as_str())),
        ];
        let create = WriteAction::Create {
            fields: fields(&given),
        };
        ids.push(bench.write("Opportunities", create).await.unwrap());
    }
    let used = UsedFields {
        mapped: ["title", "status", "amount", "projectedCloseDate"]
            .map(str::to_owned)
            .into(),
        xrefs: ["udf.CRM ID".to_owned()].into(),
    };
    bench.source.narrow("Opportunities", &used);
    let close = |id: &RecordId| {
        let edit = json!({"system": "autotask", "entity": "opportunity", "id": id, "fields": {"status": 3}});
        assert_eq!(bench.sandbox.admin("POST", "/edit", &edit).0, 200);
    };
    let all: Vec<String> = ids.iter().map(|id| id.0.clone()).collect();
    assert_eq!(
        bench.all("Opportunities", None, 2).await,
        all,
        "the first sweep is whole"
    );
    close(&ids[1]);
    bench.turn_clock(600).await;
    let mut second = bench.all("Opportunities", None, 2).await;
    second.sort();
    assert_eq!(
        second, all,
        "what was open is looked at once more when it does not come again"
    );
    let third = bench.all("Opportunities", None, 2).await;
    assert!(!third.contains(&ids[1].0) && third.len() == 3, "{third:?}");
    let record = bench.source_records("Opportunities").await.remove(0);
    assert_eq!(
        seamless_core::lookup(&record.fields, "udf.CRM ID"),
        Some(&Value::from("deal-0"))
    );
    assert!(!record.fields.contains_key("probability"), "only what is used");
}

#[tokio::test]
async fn an_owner_who_cannot_own_is_found_before_the_first_write() {
    let entities = ["Companies".to_owned()];
    for (owner, wrong) in [(OWNER, false), (OWNER + 2, true), (29_682_800, true), (5, true)] {
        let bench = bench(config(), json!({"default_owner_resource_id": owner})).await;
        let remarks = bench.source.examine(&entities).await.unwrap();
        assert_eq!(
            remarks.iter().any(|remark| remark.wrong),
            wrong,
            "{owner}: {remarks:?}"
        );
    }
}
