//! Telling the system of events, by the requests of its manifest.

use std::time::Duration;

use seamless_core::{Error, Event, Result};
use seamless_http::encode_segment;
use serde_json::{Map, Value as Json};

use crate::answer::Purpose;
use crate::call::{Call, Payload, templated};
use crate::connector::Connector;
use crate::json_path::plain;
use crate::manifest::{ANY_EVENT, AnswerFormat, EventCall};
use crate::template::{Filling, fill, fill_json};

impl Connector {
    /// Tells one event. The system has taken it when it says so; a repetition carries the same id.
    pub(crate) async fn tell_event(&self, event: &Event, send_by: Duration) -> Result<()> {
        let calls = &self.manifest.events;
        let call = calls.get(&event.name).or_else(|| calls.get(ANY_EVENT));
        let call = call.ok_or_else(|| {
            Error::config(format!(
                "the manifest says nothing of {}: it needs [events.\"{}\"]",
                event.name, event.name
            ))
            .with("system", &self.system)
        })?;
        let Json::Object(document) = event.to_json() else {
            return Err(Error::protocol("an event is no object"));
        };
        let call = call.call(document, self.manifest.system.format)?;
        self.write("events", call, Purpose::Change, send_by)
            .await
            .map(drop)
    }
}

impl EventCall {
    fn call(&self, event: Map<String, Json>, format: AnswerFormat) -> Result<Call> {
        let value = |slot: &str| match slot.strip_prefix("fields.") {
            Some(field) => event.get("fields")?.get(field).cloned().or(Some(Json::Null)),
            None => event.get(slot).cloned(),
        };
        let text = |slot: &str| value(slot).map(|json| plain(&json).unwrap_or_default());
        let mut call = Call::new(
            self.method,
            fill(&self.path, &|slot| text(slot).map(|text| encode_segment(&text))),
        );
        let filled = |(name, template): (&String, &String)| (name.clone(), fill(template, &text));
        call.query = self.query.iter().map(filled).collect();
        call.headers = self.headers.iter().map(filled).collect();
        call.headers
            .push((self.idempotency_header.clone(), text("id").unwrap_or_default()));
        call.body = Some(match (&self.body, &self.body_template) {
            (Some(body), _) => {
                let filling = |slot: &str| value(slot).map(Filling::One);
                Payload::Json(fill_json(body, &filling, &text))
            }
            (None, Some(template)) => templated(template, &event, format)?,
            (None, None) => Payload::Json(Json::Object(event)),
        });
        Ok(call)
    }
}

#[cfg(test)]
mod tests {
    use seamless_core::{Fields, Side, Value};

    use super::*;
    use crate::manifest::Manifest;

    fn event() -> Event {
        Event {
            id: "e1".to_owned(),
            name: "ticket.completed".to_owned(),
            system: "autotask".into(),
            entity: "ticket".into(),
            record: "7/9".into(),
            sequence: 3,
            field: "status".to_owned(),
            before: Value::text("new"),
            after: Value::text("complete"),
            stamp: None,
            fields: Fields::from([("title".to_owned(), Value::text("Printer \"2\""))]),
            sync: "ticket".into(),
            side: Side::A,
        }
    }

    fn call(table: &str) -> Result<Call> {
        let text = format!(
            "manifest = 1\n[system]\nname = \"x\"\n[events.\"ticket.completed\"]\npath = \"/hooks/{{record}}\"\n{table}\n"
        );
        let manifest = Manifest::parse(&text, "m.toml")?;
        let Json::Object(document) = event().to_json() else {
            return Err(Error::protocol("no object"));
        };
        manifest.events["ticket.completed"].call(document, AnswerFormat::Json)
    }

    #[test]
    fn an_event_becomes_the_request_that_the_manifest_says() -> Result<()> {
        let whole = call("")?;
        assert_eq!(whole.path, "/hooks/7%2F9");
        assert_eq!(whole.headers, [("Idempotency-Key".to_owned(), "e1".to_owned())]);
        assert_eq!(whole.body, Some(Payload::Json(event().to_json())));

        let body = call(
            "idempotency_header = \"X-Id\"\nbody = { text = \"{event}: {fields.title}\", n = \"{sequence}\", none = \"{fields.due}\" }",
        )?;
        let expected = serde_json::json!({ "text": "ticket.completed: Printer \"2\"", "n": 3, "none": null });
        assert_eq!(body.headers, [("X-Id".to_owned(), "e1".to_owned())]);
        assert_eq!(body.body, Some(Payload::Json(expected)));

        let template = call("body_template = '{\"t\": {{ fields.title | tojson }}}'")?;
        let expected = serde_json::json!({ "t": "Printer \"2\"" });
        assert_eq!(template.body, Some(Payload::Json(expected)));
        Ok(())
    }

    #[test]
    fn mistakes_in_the_table_are_told_with_their_place() {
        for (table, says) in [
            ("body = { a = \"{evnt}\" }", "did you mean 'event'"),
            ("method = \"GET\"", "method"),
            ("body = {}\nbody_template = \"{}\"", "exclude each other"),
            ("body_template = \"{{ evnt }}\"", "did you mean 'event'"),
        ] {
            let error = call(table).map(drop).expect_err(says);
            assert!(error.to_string().contains(says), "{says}: {error}");
        }
    }
}
