//! Setting callouts up, looking at them, taking them away. One call after the other: Autotask loses parallel ones beyond its threads.

use std::sync::Arc;

use seamless_core::{Error, ErrorKind, OpenContext, Result};
use seamless_http::Request;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, in_entity, read_only, whole};
use crate::gate::Purpose;

/// Entities with webhooks, and what their callouts are called.
const KINDS: [(&str, &str); 3] = [
    ("Companies", "Company"),
    ("Contacts", "Contact"),
    ("Tickets", "Ticket"),
];
const NAME_CHARS_MAX: usize = 50;
const URL_CHARS_MAX: usize = 500;
const SECRET_CHARS_MAX: usize = 64;
/// Pages of a callout's fields that are read at most.
const PAGES_MAX: usize = 10;

/// The webhooks of one Autotask system.
pub struct Webhooks {
    client: Arc<Client>,
    name: String,
}

/// A callout as it should be.
#[derive(Clone, Debug)]
pub struct Callout {
    /// Where our receiver can be reached from outside, without the system's name: `https://hooks.example.com/webhooks`.
    pub base_url: String,
    /// The system's name, the last part of the URL.
    pub system: String,
    /// Who is told by Autotask when a callout fails.
    pub notify: Option<String>,
}

/// What there is of an entity's callout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CalloutState {
    /// Native entity.
    pub entity: String,
    /// Its id in Autotask; `None` when it is not there.
    pub id: Option<i64>,
    /// Autotask sends its events. It switches a callout off by itself after 25 failures in a row.
    pub active: bool,
    /// Autotask finds it complete.
    pub ready: bool,
    /// Where it sends to.
    pub url: Option<String>,
    /// Fields it tells of, user-defined ones included.
    pub fields: usize,
    /// Our own user's changes cause no events.
    pub mutes_us: bool,
}

impl Webhooks {
    /// The webhooks of an opened system; `tenant` is part of their name in Autotask. Makes no call.
    pub fn open(ctx: &OpenContext, tenant: &str) -> Result<Webhooks> {
        let name: String = format!("Seamless {tenant} {}", ctx.system)
            .chars()
            .take(NAME_CHARS_MAX)
            .collect();
        let client = ctx.shared.get_or_try_init(|| Client::new(ctx))?;
        Ok(Webhooks { client, name })
    }

    /// Makes what is missing, for every entity. May be repeated: what is there is kept, and its URL and secret are set.
    pub async fn install(&self, callout: &Callout) -> Result<Vec<CalloutState>> {
        let url = format!("{}/{}", callout.base_url.trim_end_matches('/'), callout.system);
        if !url.starts_with("https://") && !self.client.settings.allow_private_network {
            return Err(Error::config(
                "webhook_url must start with https://: events hold record content",
            ));
        }
        if url.chars().count() > URL_CHARS_MAX {
            return Err(Error::config(
                "webhook_url is longer than autotask takes (500 characters)",
            ));
        }
        let secret = self.client.credentials.webhook_secrets.first().ok_or_else(|| {
            Error::config(
                "webhook_secret is not set for this system; make a random one of 32 to 64 characters",
            )
        })?;
        if !(16..=SECRET_CHARS_MAX).contains(&secret.expose().chars().count()) {
            return Err(Error::config("webhook_secret must have 16 to 64 characters"));
        }
        let user = self.own_resource().await?;
        let mut states = Vec::new();
        for (entity, kind) in KINDS {
            let webhooks = format!("{kind}Webhooks");
            let mut body = json!({
                "name": self.name, "webhookUrl": url, "deactivationUrl": url, "secretKey": secret.expose(), "isActive": true,
                "isSubscribedToCreateEvents": true, "isSubscribedToUpdateEvents": true, "isSubscribedToDeleteEvents": true,
                "sendThresholdExceededNotification": false,
            });
            if let Some(owner) = self.client.settings.default_owner_resource_id.or(user) {
                body["ownerResourceID"] = json!(owner);
            }
            if let Some(notify) = &callout.notify {
                body["notificationEmailAddress"] = json!(notify);
            }
            let id = match self.find(&webhooks).await?.and_then(|row| whole(row.get("id")?)) {
                Some(id) => {
                    body["id"] = json!(id);
                    self.write(&webhooks, Request::patch(&webhooks).json(&body))
                        .await?;
                    id
                }
                None => {
                    self.write(&webhooks, Request::post(&webhooks).json(&body))
                        .await?
                }
            };
            self.add_fields(kind, id, "Fields", "fieldID").await?;
            self.add_fields(kind, id, "UdfFields", "udfFieldID").await?;
            if let Some(user) = user {
                self.exclude(kind, id, user).await?;
            }
            states.push(self.state(entity, kind).await?);
        }
        Ok(states)
    }

    /// What there is of each callout.
    pub async fn status(&self) -> Result<Vec<CalloutState>> {
        let mut states = Vec::new();
        for (entity, kind) in KINDS {
            states.push(self.state(entity, kind).await?);
        }
        Ok(states)
    }

    /// Takes our callouts away. Returns how many there were.
    pub async fn remove(&self) -> Result<usize> {
        let mut removed = 0;
        for (_, kind) in KINDS {
            let webhooks = format!("{kind}Webhooks");
            if let Some(id) = self.find(&webhooks).await?.and_then(|row| whole(row.get("id")?)) {
                self.write(&webhooks, Request::delete(format!("{webhooks}/{id}")))
                    .await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn state(&self, entity: &str, kind: &str) -> Result<CalloutState> {
        let row = self.find(&format!("{kind}Webhooks")).await?;
        let flag = |name: &str| {
            let row = row.as_ref().and_then(|row| row.get(name)?.as_bool());
            row.unwrap_or(false)
        };
        let id = row.as_ref().and_then(|row| whole(row.get("id")?));
        let mut state = CalloutState {
            entity: entity.to_owned(),
            id,
            active: flag("isActive"),
            ready: flag("isReady"),
            url: row
                .as_ref()
                .and_then(|row| row.get("webhookUrl")?.as_str().map(str::to_owned)),
            fields: 0,
            mutes_us: false,
        };
        if let Some(id) = id {
            let fields = self.rows_of(&format!("{kind}WebhookFields"), id).await?;
            let user_defined = self.rows_of(&format!("{kind}WebhookUdfFields"), id).await?;
            state.fields = fields.len() + user_defined.len();
            let excluded = self
                .rows_of(&format!("{kind}WebhookExcludedResources"), id)
                .await?;
            let user = self.own_resource().await?;
            state.mutes_us = user.is_some()
                && excluded
                    .iter()
                    .any(|row| row.get("resourceID").and_then(whole) == user);
        }
        Ok(state)
    }

    /// Our callout, by its name.
    async fn find(&self, webhooks: &str) -> Result<Option<Map<String, Json>>> {
        let condition = json!({"op": "eq", "field": "name", "value": self.name});
        let page = self.client.query(webhooks, &[condition], None, 500).await?;
        let ours = |row: &Map<String, Json>| {
            let name = row.get("name").and_then(Json::as_str);
            name.is_some_and(|name| name.eq_ignore_ascii_case(&self.name))
        };
        Ok(page.items.into_iter().find(ours))
    }

    /// Subscribes to every field that Autotask offers: which of them a person will map tomorrow, nobody knows.
    async fn add_fields(&self, kind: &str, id: i64, part: &str, number: &str) -> Result<()> {
        let collection = format!("{kind}Webhook{part}");
        let described = match self.client.metadata(&collection, "/fields").await {
            // A tenant without user-defined fields may not show the list.
            Err(error) if part == "UdfFields" && error.kind == ErrorKind::NotFound => return Ok(()),
            described => described?,
        };
        let offered: Vec<i64> = described["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|field| {
                field["name"]
                    .as_str()
                    .is_some_and(|name| name.eq_ignore_ascii_case(number))
            })
            .filter_map(|field| field["picklistValues"].as_array())
            .flatten()
            .filter(|entry| entry["isActive"].as_bool().unwrap_or(true))
            .filter_map(|entry| whole(&entry["value"]))
            .collect();
        let there: Vec<i64> = self
            .rows_of(&collection, id)
            .await?
            .iter()
            .filter_map(|row| whole(row.iter().find(|(name, _)| name.eq_ignore_ascii_case(number))?.1))
            .collect();
        if offered.is_empty() && part == "Fields" {
            let text = "autotask offers no field for its webhooks; without one a callout never becomes ready";
            return Err(in_entity(Error::protocol(text), &collection));
        }
        let path = format!("{kind}Webhooks/{id}/{part}");
        for field in offered.into_iter().filter(|field| !there.contains(field)) {
            let body = json!({number: field, "webhookID": id, "isSubscribedField": true, "isDisplayAlwaysField": false});
            self.write(&format!("{kind}Webhooks"), Request::post(&path).json(&body))
                .await?;
        }
        Ok(())
    }

    /// Our own changes shall cause no events.
    async fn exclude(&self, kind: &str, id: i64, user: i64) -> Result<()> {
        let there = self
            .rows_of(&format!("{kind}WebhookExcludedResources"), id)
            .await?;
        if there
            .iter()
            .any(|row| row.get("resourceID").and_then(whole) == Some(user))
        {
            return Ok(());
        }
        let path = format!("{kind}Webhooks/{id}/ExcludedResources");
        let body = json!({"resourceID": user, "webhookID": id});
        self.write(&format!("{kind}Webhooks"), Request::post(path).json(&body))
            .await
            .map(drop)
    }

    async fn rows_of(&self, collection: &str, webhook: i64) -> Result<Vec<Map<String, Json>>> {
        let condition = json!({"op": "eq", "field": "webhookID", "value": webhook});
        let mut rows = Vec::new();
        let mut above = None;
        for _ in 0..PAGES_MAX {
            let page = self
                .client
                .query(collection, std::slice::from_ref(&condition), above, 500)
                .await?;
            above = page.last_id;
            let ours = |row: &Map<String, Json>| row.get("webhookID").and_then(whole) == Some(webhook);
            rows.extend(page.items.into_iter().filter(ours));
            if !page.more {
                break;
            }
        }
        Ok(rows)
    }

    /// The resource behind our credentials, as configured or by its user name.
    async fn own_resource(&self) -> Result<Option<i64>> {
        if let Some(id) = self.client.settings.api_resource_id {
            return Ok(Some(id));
        }
        let people = self.client.people(|_| true).await?;
        Ok(people.user(self.client.credentials.username.expose()))
    }

    async fn write(&self, endpoint: &str, request: Request) -> Result<i64> {
        let purpose = Purpose {
            writes: true,
            ..Purpose::read(endpoint)
        };
        let answer = self
            .client
            .call(purpose, || request.clone().writes())
            .await
            .map_err(|e| in_entity(e, endpoint))?;
        whole(&answer.json()?["itemId"]).ok_or_else(|| {
            in_entity(
                read_only(Error::protocol("autotask answered a write without 'itemId'")),
                endpoint,
            )
        })
    }
}
