//! A client small enough to see what is really on the wire, and a sandbox to point it at.
// Each test binary uses its own part; a helper that fails should stop its test.
#![allow(dead_code, clippy::unwrap_used)]

use seamless_sandbox::{Config, Sandbox};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A reply as it came; `body` is not parsed yet.
#[derive(Debug)]
pub(crate) struct Res {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Res {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or(Json::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|l| {
            let (k, v) = l.split_once(':')?;
            k.eq_ignore_ascii_case(name).then(|| v.trim().to_owned())
        })
    }

    /// The first error text of an Autotask reply.
    pub(crate) fn error(&self) -> String {
        self.json()["errors"][0].as_str().unwrap_or_default().to_owned()
    }
}

/// One call on a connection of its own; `Err` if no complete reply came.
pub(crate) async fn send(
    url: &str,
    method: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Res, String> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest
        .split_once('/')
        .map_or((rest, String::from("/")), |(h, p)| (h, format!("/{p}")));
    let mut stream = TcpStream::connect(host).await.map_err(|e| e.to_string())?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream
        .write_all(text.as_bytes())
        .await
        .map_err(|e| e.to_string())?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.map_err(|e| e.to_string())?;
    let raw = String::from_utf8_lossy(&raw).into_owned();
    let (head, body) = raw.split_once("\r\n\r\n").ok_or("no reply")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or("no status")?;
    let res = Res {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    };
    match res.header("content-length").and_then(|l| l.parse::<usize>().ok()) {
        Some(length) if length != res.body.len() => Err(format!("{} of {length} bytes", res.body.len())),
        _ => Ok(res),
    }
}

/// A sandbox with callers for each of its servers.
pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
}

pub(crate) const AUTH: [(&str, &str); 3] = [
    ("ApiIntegrationCode", "SANDBOX"),
    ("UserName", "integration@example.test"),
    ("Secret", "sandbox-secret"),
];

impl Bench {
    pub(crate) async fn new(config: Config) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        let base = format!("{}/ATServicesRest/V1.0/", sandbox.autotask_url);
        Self { sandbox, base }
    }

    /// A small clean sandbox.
    pub(crate) async fn clean() -> Self {
        Self::new(Config {
            records: 80,
            mess: false,
            ..Config::default()
        })
        .await
    }

    pub(crate) async fn try_at(&self, method: &str, path: &str, body: Json) -> Result<Res, String> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        send(&format!("{}{path}", self.base), method, &AUTH, &body).await
    }

    pub(crate) async fn at(&self, method: &str, path: &str, body: Json) -> Res {
        self.try_at(method, path, body).await.unwrap()
    }

    pub(crate) async fn query(&self, collection: &str, filter: Json) -> Vec<Json> {
        let res = self
            .at(
                "POST",
                &format!("{collection}/query"),
                json!({ "filter": filter }),
            )
            .await;
        assert_eq!(res.status, 200, "{}", res.body);
        res.json()["items"].as_array().unwrap().clone()
    }

    pub(crate) async fn try_crm(&self, method: &str, path: &str, body: Json) -> Result<Res, String> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let url = format!("{}/api/{path}", self.sandbox.crm_url);
        send(&url, method, &[("Authorization", "Bearer sandbox-token")], &body).await
    }

    pub(crate) async fn crm(&self, method: &str, path: &str, body: Json) -> Res {
        self.try_crm(method, path, body).await.unwrap()
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: Json) -> Json {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let res = send(&format!("{}{path}", self.sandbox.admin_url), method, &[], &body)
            .await
            .unwrap();
        assert_eq!(res.status, 200, "{path}: {}", res.body);
        res.json()
    }

    /// A person's edit.
    pub(crate) async fn edit(&self, system: &str, entity: &str, id: &Json, fields: Json) -> Json {
        let body = json!({ "system": system, "entity": entity, "id": id, "fields": fields, "label": "test" });
        self.admin("POST", "/edit", body).await
    }

    pub(crate) async fn truth(&self) -> Json {
        self.admin("GET", "/truth", Json::Null).await
    }

    /// Ids of the first companies other than the tenant's own.
    pub(crate) async fn companies(&self) -> Vec<i64> {
        let rows = self
            .query("Companies", json!([{ "op": "gt", "field": "id", "value": 0 }]))
            .await;
        rows.iter().map(|r| r["id"].as_i64().unwrap()).collect()
    }

    /// A company created through the API with the given cross-reference.
    pub(crate) async fn create_company(&self, name: &str, xref: &str) -> i64 {
        let mut body = company(name);
        body["userDefinedFields"] = json!([{ "name": "CRM ID", "value": xref }]);
        let res = self.at("POST", "Companies", body).await;
        assert_eq!(res.status, 200, "{}", res.body);
        res.json()["itemId"].as_i64().unwrap()
    }
}

/// A body that Autotask accepts.
pub(crate) fn company(name: &str) -> Json {
    json!({ "companyName": name, "companyType": 1, "phone": "1", "ownerResourceID": 29682885 })
}

/// A body that Autotask accepts for a contact.
pub(crate) fn contact(first: &str, last: &str) -> Json {
    json!({ "firstName": first, "lastName": last, "isActive": 1 })
}
