//! Every known text, and what becomes of it.

use seamless_core::Retry;

use super::*;

struct Expect {
    kind: ErrorKind,
    later: bool,
    effect: Effect,
    field: Option<&'static str>,
}

fn refused(field: &'static str) -> Expect {
    Expect {
        kind: ErrorKind::Invalid,
        later: false,
        effect: Effect::NotApplied,
        field: Some(field),
    }
}

fn of(kind: ErrorKind, later: bool, effect: Effect) -> Expect {
    Expect {
        kind,
        later,
        effect,
        field: None,
    }
}

fn errors(text: &str) -> String {
    serde_json::json!({ "errors": [text] }).to_string()
}

#[test]
fn every_known_text_is_classified() {
    use Effect::{NotApplied, Unknown};
    use ErrorKind::*;
    let fault = || of(Unavailable, true, Unknown);
    let slow = || of(RateLimited, true, NotApplied);
    let threads = "The Autotask API thread threshold of 3 threads has been exceeded";
    let hourly =
        "thresholdOfExternalRequest: 10000; TimeframeOfLimitation: 60; numberOfExternalRequest: 10001;";
    let cases: Vec<(u16, String, Expect)> = vec![
        (
            500,
            errors("Value does not exist for the required field phone. ; on record number [1]."),
            refused("phone"),
        ),
        (
            500,
            errors("Missing Required Field: isOptional. ; on record number [1]."),
            refused("isOptional"),
        ),
        (
            500,
            errors("dueDateTime is required.; on record number [0]"),
            refused("dueDateTime"),
        ),
        (500, errors("queueID is required"), refused("queueID")),
        (
            500,
            errors("Picklist value [3] does not exist for priority. ; on record number [1]."),
            refused("priority"),
        ),
        (
            500,
            errors(
                "Reference value on field: contactID of type: Contact does not exist or is invalid. ; on record number [1].",
            ),
            refused("contactID"),
        ),
        (
            500,
            errors("contactID: Value 12345 does not exist or is invalid"),
            refused("contactID"),
        ),
        (
            500,
            errors(
                "Data violation: When assigning a Resource, you must assign both a assignedResourceID and assignedResourceRoleID.",
            ),
            refused("assignedResourceID"),
        ),
        (
            500,
            errors("name must be less than or equal to 50 characters"),
            refused("name"),
        ),
        (
            500,
            errors("Unable to find CRM ID in the Company Entity."),
            refused("CRM ID"),
        ),
        (400, errors("queueID is required"), refused("queueID")),
        (
            500,
            errors("Some verdict without a field"),
            of(Invalid, false, NotApplied),
        ),
        (
            500,
            errors(
                "The logged in Resource does not have the adequate permissions to create this entity type.",
            ),
            of(Permission, false, NotApplied),
        ),
        (
            500,
            errors("Zone information could not be determined"),
            of(Auth, false, NotApplied),
        ),
        (
            500,
            errors("IntegrationCode is invalid."),
            of(Auth, false, NotApplied),
        ),
        (401, String::new(), of(Auth, false, NotApplied)),
        (
            500,
            errors("No matching records found for the id 1."),
            of(NotFound, false, NotApplied),
        ),
        (
            500,
            r#"{"errors":["An unexpected error has occurred. reference Error ID: 1166"],"errorId":1166}"#
                .into(),
            fault(),
        ),
        (500, r#"{"errors":["Something odd"],"errorId":7}"#.into(), fault()),
        (500, r#"{"errorId":7}"#.into(), fault()),
        (500, "<html><title>Runtime Error</title></html>".into(), fault()),
        (500, String::new(), fault()),
        (502, errors("queueID is required"), fault()),
        (503, String::new(), fault()),
        (500, errors(threads), slow()),
        (429, errors(threads), slow()),
        (429, String::new(), slow()),
        (403, errors(hourly), slow()),
        (500, errors(hourly), slow()),
        (
            404,
            "<html><title>404</title></html>".into(),
            of(NotFound, false, NotApplied),
        ),
        (
            405,
            r#"{"Message":"The requested resource does not support http method 'GET'."}"#.into(),
            of(Protocol, false, NotApplied),
        ),
        (403, String::new(), of(Permission, false, NotApplied)),
        (409, String::new(), of(Conflict, true, NotApplied)),
    ];
    for (status, body, expect) in cases {
        let error = parse_error(&Response::from_parts(status, &[], body.as_str()), Timestamp(0));
        let got = (
            error.kind,
            error.is_transient(),
            error.effect,
            error.field.as_deref(),
        );
        assert_eq!(
            got,
            (expect.kind, expect.later, expect.effect, expect.field),
            "{status} {body}: {error:?}"
        );
    }
}

#[test]
fn waits_are_the_servers_or_ours() {
    let wait = |headers: &[(&str, &str)], body: &str| match parse_error(
        &Response::from_parts(429, headers, body),
        Timestamp(0),
    )
    .retry
    {
        Retry::Later { after } => after,
        Retry::Never => None,
    };
    assert_eq!(
        wait(&[], &errors("request threshold exceeded")),
        Some(HOURLY_PAUSE)
    );
    assert_eq!(wait(&[("retry-after", "5")], "{}"), Some(Duration::from_secs(5)));
    assert_eq!(wait(&[], "{}"), None);
}

#[test]
fn messages_drop_quoted_values() {
    let text = "Conversion of 'marker' failed, \"marker\" isn't a number";
    let error = parse_error(&Response::from_parts(500, &[], errors(text)), Timestamp(0));
    let shown = error.to_string();
    assert!(
        !shown.contains("marker") && shown.contains("isn't a number"),
        "{shown}"
    );
}

#[test]
fn each_text_has_its_class_and_what_to_do_about_it() {
    let record = |text: &str| format!("{text} ; on record number [1].");
    let cases: Vec<(u16, String, &str, &str)> = vec![
        (
            500,
            errors(&record("Value does not exist for the required field phone.")),
            "required",
            "default",
        ),
        (
            500,
            errors(&record("Missing Required Field: isOptional.")),
            "required",
            "default",
        ),
        (
            500,
            errors("dueDateTime is required.; on record number [0]"),
            "required",
            "default",
        ),
        (500, errors("queueID is required"), "required", "category"),
        (
            500,
            errors(&record("Picklist value [3] does not exist for priority.")),
            "picklist",
            "active option",
        ),
        (
            500,
            errors(&record(
                "Reference value on field: contactID of type: Contact does not exist or is invalid.",
            )),
            "reference",
            "company or its parent",
        ),
        (
            500,
            errors("contactID: Value 12345 does not exist or is invalid"),
            "reference",
            "API-only",
        ),
        (
            500,
            errors(
                "Data violation: When assigning a Resource, you must assign both a assignedResourceID and assignedResourceRoleID.",
            ),
            "pair",
            "resource_roles",
        ),
        (
            500,
            errors("name must be less than or equal to 50 characters"),
            "length",
            "truncate",
        ),
        (
            500,
            errors("Unable to find CRM ID in the Company Entity."),
            "field",
            "discover",
        ),
        (
            500,
            errors("Conversion failed when converting the varchar value 'x' to data type int."),
            "type",
            "mapping",
        ),
        (
            500,
            errors("Queries are limited to 500 or fewer 'OR' conditions"),
            "query",
            "",
        ),
        (
            500,
            errors(
                "The logged in Resource does not have the adequate permissions to create this entity type.",
            ),
            "permission",
            "security level",
        ),
        (
            500,
            r#"{"errors":["An unexpected error has occurred. reference Error ID: 1166"],"errorId":1166}"#
                .into(),
            "unexpected",
            "",
        ),
        (
            500,
            "<!DOCTYPE html><title>Runtime Error</title>".into(),
            "html",
            "",
        ),
        (
            404,
            "<html><title>404 - File or directory not found.</title></html>".into(),
            "html",
            "address",
        ),
        (
            404,
            r#"{"Message":"No HTTP resource was found."}"#.into(),
            "routing",
            "address",
        ),
        (
            405,
            r#"{"Message":"The requested resource does not support http method 'GET'."}"#.into(),
            "routing",
            "address",
        ),
        (
            429,
            errors("The Autotask API thread threshold of 3 threads has been exceeded"),
            "threads",
            "",
        ),
        (500, errors("Itgenatr005"), "threads", ""),
        (
            500,
            errors(
                "thresholdOfExternalRequest: 10000; TimeframeOfLimitation: 60; numberOfExternalRequest: 10001;",
            ),
            "hour",
            "",
        ),
        (
            403,
            errors("The request limit of this database has been exceeded."),
            "hour",
            "",
        ),
        // A field whose name sounds like a limit.
        (
            500,
            errors("sendThresholdExceededNotification is required"),
            "required",
            "",
        ),
    ];
    for (status, body, class, remedy) in cases {
        let error = parse_error(&Response::from_parts(status, &[], body.as_str()), Timestamp(0));
        assert_eq!(error.context("class"), Some(class), "{status} {body}: {error}");
        assert!(error.message().contains(remedy), "{status} {body}: {error}");
    }
}

#[test]
fn a_fault_keeps_what_the_server_asks_for() {
    let fault = Response::from_parts(500, &[("retry-after", "9")], r#"{"errorId":7}"#);
    let error = parse_error(&fault, Timestamp(0));
    assert_eq!(
        error.retry,
        Retry::Later {
            after: Some(Duration::from_secs(9))
        }
    );
    assert_eq!(error.context("error_id"), Some("7"));
}
