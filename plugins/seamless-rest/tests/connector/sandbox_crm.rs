//! The manifest of the sandbox's CRM, against a small server that behaves as that CRM is documented to.

use std::collections::BTreeMap;

use seamless_core::{Effect, EntityName, ErrorKind, ExternalKey, Value};
use seamless_rest::{Manifest, SANDBOX_CRM};
use serde_json::{Value as Json, json};

use crate::support::{Reply, Seen, Server, ids, ok, open, status};

/// Accounts by id; every write ticks the clock, so that stamps tell the order.
#[derive(Default)]
struct Crm {
    accounts: BTreeMap<u64, Json>,
    ticks: u64,
}

impl Crm {
    fn answer(&mut self, seen: &Seen) -> Reply {
        assert_eq!(seen.headers["authorization"], "Bearer s3cret-token");
        let path: Vec<&str> = seen.path.trim_start_matches("/api/").split('/').collect();
        match (seen.method.as_str(), path.as_slice()) {
            ("GET", ["accounts"]) => self.list(seen),
            ("POST", ["accounts", "search"]) => self.search(&seen.json()),
            ("POST", ["accounts"]) => self.create(seen.json()),
            ("GET", ["accounts", id]) => match self.accounts.get(&id.parse().unwrap()) {
                Some(account) => ok(json!({ "data": account })),
                None => status(
                    404,
                    json!({ "error": { "code": "not_found", "field": null, "message": "no such account" } }),
                ),
            },
            ("PATCH", ["accounts", id]) => self.update(id.parse().unwrap(), seen),
            other => panic!("unexpected call {other:?}"),
        }
    }

    fn list(&self, seen: &Seen) -> Reply {
        let since = seen.param("modified_since").unwrap_or_default();
        let limit: usize = seen.param("limit").unwrap().parse().unwrap();
        assert!(limit <= 200);
        let key =
            |account: &Json| format!("{}|{:>9}", account["updated_at"].as_str().unwrap(), account["id"]);
        let mut rows: Vec<&Json> = self
            .accounts
            .values()
            .filter(|row| row["updated_at"].as_str().unwrap() >= since)
            .collect();
        rows.sort_by_key(|row| key(row));
        rows.retain(|row| {
            seen.param("cursor")
                .is_none_or(|cursor| key(row).as_str() > cursor)
        });
        let next = (rows.len() > limit).then(|| key(rows[limit - 1]));
        rows.truncate(limit);
        ok(json!({ "data": rows, "next_cursor": next }))
    }

    fn search(&self, body: &Json) -> Reply {
        let values = body["values"].as_array().unwrap();
        assert!(values.len() <= 100);
        let wanted: Vec<String> = values
            .iter()
            .map(|value| value.as_str().unwrap().to_lowercase())
            .collect();
        let field = body["field"].as_str().unwrap();
        let held = |row: &Json| row[field].as_str().unwrap_or_default().to_lowercase();
        ok(
            json!({ "data": self.accounts.values().filter(|row| wanted.contains(&held(row))).collect::<Vec<_>>() }),
        )
    }

    fn stamp(&mut self, account: &mut Json, version: u64) {
        self.ticks += 1;
        account["updated_at"] = json!(format!("2026-11-23T12:00:{:02}.000Z", self.ticks));
        account["version"] = json!(version);
    }

    fn create(&mut self, mut account: Json) -> Reply {
        if account["name"].as_str().unwrap_or_default().is_empty() {
            let refusal = json!({ "code": "required", "field": "name", "message": "name is required" });
            return status(422, json!({ "error": refusal }));
        }
        let id = self.accounts.len() as u64 + 1;
        account["id"] = json!(id);
        self.stamp(&mut account, 1);
        account["created_at"] = account["updated_at"].clone();
        self.accounts.insert(id, account.clone());
        status(201, json!({ "data": account }))
    }

    fn update(&mut self, id: u64, seen: &Seen) -> Reply {
        let mut account = self.accounts[&id].clone();
        if seen.headers["if-match"] != format!("\"{}\"", account["version"]) {
            return status(
                412,
                json!({ "error": { "code": "version", "field": null, "message": "version mismatch" } }),
            );
        }
        account
            .as_object_mut()
            .unwrap()
            .extend(seen.json().as_object().unwrap().clone());
        let version = account["version"].as_u64().unwrap() + 1;
        self.stamp(&mut account, version);
        self.accounts.insert(id, account.clone());
        ok(json!({ "data": account }))
    }
}

#[tokio::test]
async fn accounts_are_created_found_listed_read_and_changed() {
    let mut crm = Crm::default();
    let server = Server::start(move |seen| crm.answer(seen)).await;
    let rig = open(SANDBOX_CRM, &server).await;

    let capabilities = rig.source.capabilities("accounts");
    assert!(capabilities.incremental && capabilities.compare_and_set);
    assert_eq!(
        (capabilities.external_key, capabilities.find_batch_max),
        (ExternalKey::Searchable, 100)
    );

    for number in 1..=7 {
        let name = format!("Åkers & Søn № {number}");
        let other_id = Value::from(number.to_string().as_str());
        let written = rig
            .create(&[("name", name.as_str().into()), ("autotask_id", other_id)])
            .await
            .unwrap();
        assert_eq!(written.id.0, number.to_string());
    }
    let refused = rig.create(&[("name", Value::Null)]).await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.effect, refused.field.as_deref()),
        (ErrorKind::Invalid, Effect::NotApplied, Some("name"))
    );

    assert_eq!(
        ids(&rig.list_all(None, 3).await.unwrap()),
        ["1", "2", "3", "4", "5", "6", "7"]
    );
    let found = rig
        .find("name", &["ÅKERS & søn № 3", "åkers & Søn № 4"])
        .await
        .unwrap();
    assert_eq!(
        found[1],
        ["4"],
        "upper and lower case are alike in every alphabet"
    );
    assert_eq!(
        rig.find("autotask_id", &["5", "99"]).await.unwrap(),
        [vec!["5".to_owned()], vec![]]
    );

    let record = rig.fetch(&["2", "99"]).await.unwrap().remove(0);
    assert_eq!(record.version.as_deref(), Some("1"));
    rig.update(record.clone(), &[("phone", "+47 22".into())])
        .await
        .unwrap();
    assert_eq!(server.last().json(), json!({ "phone": "+47 22" }));
    let conflict = rig
        .update(record, &[("phone", "+47 33".into())])
        .await
        .unwrap_err();
    assert_eq!(
        (conflict.kind, conflict.effect),
        (ErrorKind::Conflict, Effect::NotApplied)
    );

    let changed = rig.list_all(Some("2026-11-23T12:00:08Z"), 200).await.unwrap();
    assert_eq!(ids(&changed), ["2"]);
    assert_eq!(changed[0].version.as_deref(), Some("2"));
}

#[test]
fn both_entities_are_mapped_and_every_native_field_is_known() {
    let manifest = Manifest::parse(SANDBOX_CRM, "sandbox-crm.toml").unwrap();
    let account = manifest.mapping(&EntityName::from("account")).unwrap();
    let contact = manifest.mapping(&EntityName::from("contact")).unwrap();
    assert_eq!((account.entity.as_str(), account.fields.len()), ("accounts", 15));
    assert_eq!((contact.entity.as_str(), contact.fields.len()), ("contacts", 16));
    assert!(contact.fields["account"].required && !contact.fields["modified_at"].writable);
}
