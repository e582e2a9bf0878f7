//! Resources: people in Autotask. A number of the tenant's own in records, an e-mail address to everybody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, in_entity, whole};

/// Resources that are read at most.
const RESOURCES_MAX: usize = 20_000;
/// An unknown person makes us read the list again, but no more often than this.
const REREAD_AFTER: Duration = Duration::from_secs(600);
/// A role may be taken from somebody; a refusal is answered by asking again.
const ROLE_KEPT: Duration = Duration::from_secs(3_600);

/// Native fields under which a person's e-mail address is read and written, and what each stands for.
pub(crate) const PERSONS: [(&str, &str); 4] = [
    ("assignedResourceEmail", "assignedResourceID"),
    ("ownerResourceEmail", "ownerResourceID"),
    ("creatorResourceEmail", "creatorResourceID"),
    ("completedByResourceEmail", "completedByResourceID"),
];

/// What is known of people, kept.
#[derive(Default)]
pub(crate) struct People {
    table: tokio::sync::Mutex<Option<(Duration, Arc<PeopleTable>)>>,
    roles: tokio::sync::Mutex<BTreeMap<i64, (Duration, Option<i64>)>>,
}

/// Both ways between ids and e-mail addresses.
#[derive(Default)]
pub(crate) struct PeopleTable {
    by_id: BTreeMap<i64, Person>,
    by_email: BTreeMap<String, i64>,
}

/// A resource.
pub(crate) struct Person {
    pub(crate) email: String,
    pub(crate) user_name: String,
    pub(crate) active: bool,
    pub(crate) license: Option<i64>,
}

/// The field that a person's field stands for.
pub(crate) fn id_field(path: &str) -> Option<&'static str> {
    PERSONS
        .iter()
        .find(|(email, _)| *email == path)
        .map(|(_, id)| *id)
}

impl Client {
    /// The people. Read again when they do not suffice and were not read lately.
    pub(crate) async fn people(&self, suffice: impl Fn(&PeopleTable) -> bool) -> Result<Arc<PeopleTable>> {
        // Held while asking, so that any number of callers ask once.
        let mut slot = self.people.table.lock().await;
        let now = self.clock.monotonic();
        if let Some((read, table)) = &*slot
            && (suffice(table) || now < *read + REREAD_AFTER)
        {
            return Ok(table.clone());
        }
        let mut rows = Vec::new();
        let mut above = None;
        loop {
            let page = self
                .query("Resources", &[], above, self.settings.page_size)
                .await?;
            above = page.last_id;
            rows.extend(page.items);
            if rows.len() > RESOURCES_MAX {
                let text = format!("autotask has more than {RESOURCES_MAX} resources");
                return Err(in_entity(Error::new(ErrorKind::Limit, text), "Resources"));
            }
            if !page.more {
                break;
            }
        }
        let table = Arc::new(PeopleTable::from_rows(&rows, &self.settings.people));
        *slot = Some((now, table.clone()));
        Ok(table)
    }

    /// The resource with this e-mail address; `field` is what a complaint names.
    pub(crate) async fn resource_id(&self, field: &str, email: &str) -> Result<i64> {
        let table = self.people(|table| table.id(email).is_some()).await?;
        table.id(email).ok_or_else(|| {
            let text = "autotask has no active resource with this e-mail address; add the person to [systems.<name>.people], or correct the record";
            Error::invalid(text).field(field)
        })
    }

    /// The role in which a resource works on tickets, as configured or as Autotask says.
    pub(crate) async fn role_of(&self, resource: i64, queue: Option<i64>) -> Result<Option<i64>> {
        if let Some(role) = self.settings.resource_roles.get(&resource.to_string()) {
            return Ok(Some(*role));
        }
        // Held while asking: a batch of tickets asks once for each person.
        let mut roles = self.people.roles.lock().await;
        let now = self.clock.monotonic();
        if let Some((read, role)) = roles.get(&resource)
            && now < *read + ROLE_KEPT
        {
            return Ok(*role);
        }
        let role = match self.service_desk_role(resource).await? {
            Some(role) => Some(role),
            None => self.queue_role(resource, queue).await?,
        };
        let role = role.or(self.settings.default_role_id);
        roles.insert(resource, (now, role));
        Ok(role)
    }

    /// The default among the roles at the service desk, else any.
    async fn service_desk_role(&self, resource: i64) -> Result<Option<i64>> {
        let rows = self.roles_in("ResourceServiceDeskRoles", resource).await?;
        let best = rows
            .iter()
            .max_by_key(|row| row.get("isDefault") == Some(&Json::Bool(true)));
        Ok(best.and_then(|row| whole(row.get("roleID")?)))
    }

    /// A role that is tied to the ticket's queue, else to any queue, else any.
    async fn queue_role(&self, resource: i64, queue: Option<i64>) -> Result<Option<i64>> {
        let rows = self.roles_in("ResourceRoles", resource).await?;
        let best = rows.iter().max_by_key(|row| {
            let tied = row.get("queueID").and_then(whole);
            (tied.is_some() && tied == queue, tied.is_some())
        });
        Ok(best.and_then(|row| whole(row.get("roleID")?)))
    }

    /// Active rows of a resource; none where the tenant's Autotask does not show this list.
    async fn roles_in(&self, entity: &str, resource: i64) -> Result<Vec<Map<String, Json>>> {
        let condition = json!({"op": "eq", "field": "resourceID", "value": resource});
        let page = match self
            .query(entity, &[condition], None, self.settings.page_size)
            .await
        {
            Err(error) if is_not_shown(&error) => {
                tracing::debug!(entity, %error, "autotask does not show this list of roles");
                return Ok(Vec::new());
            }
            page => page?,
        };
        let ours = |row: &Map<String, Json>| {
            row.get("resourceID").and_then(whole) == Some(resource)
                && row.get("isActive") != Some(&Json::Bool(false))
        };
        Ok(page.items.into_iter().filter(ours).collect())
    }

    /// A refused pair may have been valid once.
    pub(crate) async fn forget_roles(&self) {
        self.people.roles.lock().await.clear();
    }
}

/// Whether a list is not for us, or not there at all. An answer that breaks off says nothing about it.
fn is_not_shown(error: &Error) -> bool {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Invalid => true,
        ErrorKind::Protocol => error.context("status") == Some("405"),
        _ => false,
    }
}

impl PeopleTable {
    fn from_rows(rows: &[Map<String, Json>], configured: &BTreeMap<String, i64>) -> PeopleTable {
        let mut table = PeopleTable::default();
        let text = |row: &Map<String, Json>, field: &str| {
            row.get(field)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .trim()
                .to_lowercase()
        };
        for row in rows {
            let Some(id) = row.get("id").and_then(whole) else {
                continue;
            };
            let person = Person {
                email: text(row, "email"),
                user_name: text(row, "userName"),
                active: row.get("isActive") != Some(&Json::Bool(false)),
                license: row.get("licenseType").and_then(whole),
            };
            // Two with one address: the one who can be chosen, and of those the first.
            if person.active && !person.email.is_empty() {
                table.by_email.entry(person.email.clone()).or_insert(id);
            }
            table.by_id.insert(id, person);
        }
        // What the tenant says goes before what the list says, both ways.
        for (email, id) in configured {
            let email = email.trim().to_lowercase();
            if let Some(person) = table.by_id.get_mut(id) {
                person.email = email.clone();
            }
            table.by_email.insert(email, *id);
        }
        table
    }

    pub(crate) fn id(&self, email: &str) -> Option<i64> {
        self.by_email.get(&email.trim().to_lowercase()).copied()
    }

    pub(crate) fn person(&self, id: i64) -> Option<&Person> {
        self.by_id.get(&id)
    }

    /// What other systems call a resource.
    pub(crate) fn email(&self, id: i64) -> Option<&str> {
        self.person(id)
            .map(|person| person.email.as_str())
            .filter(|email| !email.is_empty())
    }

    /// The resource behind a user name, as the API user's credentials spell it.
    pub(crate) fn user(&self, name: &str) -> Option<i64> {
        let name = name.trim().to_lowercase();
        let local = name.split('@').next().unwrap_or_default();
        let found = |wanted: &str| {
            self.by_id
                .iter()
                .find(|(_, person)| person.user_name == wanted || person.email == wanted)
        };
        found(&name).or_else(|| found(local)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, email: &str, active: bool) -> Map<String, Json> {
        let row = json!({"id": id, "email": email, "userName": email, "isActive": active, "licenseType": 1});
        row.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn people_are_known_by_address_and_the_tenant_decides() {
        let rows = [
            row(5, "Ann@MSP.example", true),
            row(6, "gone@msp.example", false),
            row(7, "bob@msp.example", true),
            row(8, "ann@msp.example", true),
        ];
        let configured = [("robert@crm.example".to_owned(), 7)].into();
        let table = PeopleTable::from_rows(&rows, &configured);
        for (email, id) in [
            ("ann@msp.example", Some(5)),
            (" ANN@msp.example ", Some(5)),
            ("gone@msp.example", None),
            ("robert@crm.example", Some(7)),
            ("bob@msp.example", Some(7)),
            ("nobody@msp.example", None),
        ] {
            assert_eq!(table.id(email), id, "{email}");
        }
        assert_eq!(table.email(7), Some("robert@crm.example"));
        assert_eq!(
            table.email(6),
            Some("gone@msp.example"),
            "old records still name them"
        );
        assert_eq!(table.user("Bob@msp.example"), Some(7));
    }
}
