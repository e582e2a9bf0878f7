//! What people do in the two systems while nobody watches, and what became of it.

use anyhow::Context;
use seamless_host::{Decision, Host};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::simulators::{Simulators, id_text};

/// A field of a scene: what people call it, and what each system does.
struct Watch {
    label: &'static str,
    native: [&'static str; 2],
}

/// A record, or a pair of them, and what people did to it.
pub(crate) struct Scene {
    title: &'static str,
    entity: &'static str,
    /// Ids in Autotask and in the CRM; `None` where the record does not exist yet.
    ids: [Option<String>; 2],
    watches: Vec<Watch>,
    /// Values at the beginning, by watch and system.
    before: Vec<[Json; 2]>,
    /// What people typed, by watch and system, in order.
    typed: Vec<[Vec<Json>; 2]>,
    /// What the two sides should hold in the end, by watch and system.
    wanted: Vec<[Json; 2]>,
    /// How it is meant to end, in people's words.
    outcome: &'static str,
    decisions_before: usize,
    /// The record is not to be carried over, but set aside.
    aside: bool,
}

/// A scene's end, for the table and for `--json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) title: String,
    pub(crate) record: String,
    pub(crate) fields: Vec<ToldField>,
    /// Both sides hold what they should.
    pub(crate) as_promised: bool,
    pub(crate) outcome: String,
    /// The ledger's words.
    pub(crate) why: Vec<String>,
}

/// One field on both sides.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ToldField {
    pub(crate) field: String,
    pub(crate) autotask: Change,
    pub(crate) crm: Change,
}

/// Before and after on one side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Change {
    pub(crate) before: Json,
    pub(crate) after: Json,
    /// What people typed there, in order.
    pub(crate) typed: Vec<Json>,
}

const SYSTEMS: [&str; 2] = ["autotask", "crm"];
const AUTOTASK: usize = 0;
const CRM: usize = 1;

const PHONE: Watch = Watch {
    label: "phone",
    native: ["phone", "phone"],
};
const CITY: Watch = Watch {
    label: "city",
    native: ["city", "city"],
};
const WEBSITE: Watch = Watch {
    label: "website",
    native: ["webAddress", "website"],
};
const NUMBER: Watch = Watch {
    label: "number",
    native: ["companyNumber", "number"],
};
const NAME: Watch = Watch {
    label: "name",
    native: ["companyName", "name"],
};
const LAST_NAME: Watch = Watch {
    label: "last name",
    native: ["lastName", "last_name"],
};
const MOBILE: Watch = Watch {
    label: "mobile",
    native: ["mobilePhone", "mobile"],
};
const SUBJECT: Watch = Watch {
    label: "subject",
    native: ["title", "subject"],
};
const STATUS: Watch = Watch {
    label: "status",
    native: ["status", "status"],
};
const TITLE: Watch = Watch {
    label: "title",
    native: ["title", "title"],
};
const AMOUNT: Watch = Watch {
    label: "amount",
    native: ["amount", "amount"],
};
const EMAIL: Watch = Watch {
    label: "e-mail",
    native: ["emailAddress", "email"],
};

/// People go to work in both systems. Returns what they did.
pub(crate) async fn people_at_work(simulators: &Simulators, host: &Host) -> anyhow::Result<Vec<Scene>> {
    let stage = Stage { simulators, host };
    let mut scenes = Vec::new();
    let mut accounts = stage.linked("account").await?.into_iter();
    let mut contacts = stage.linked("contact").await?.into_iter();

    if let Some(pair) = accounts.next() {
        let mut scene = stage
            .open(
                "Two people, two fields of one account",
                "account",
                pair,
                vec![PHONE, CITY],
            )
            .await?;
        scene.outcome = "both edits stand, on both sides";
        stage.edit(&mut scene, AUTOTASK, 0, json!("518-555-0100")).await?;
        stage.edit(&mut scene, CRM, 1, json!("Saratoga Springs")).await?;
        scenes.push(scene);
    }
    if let Some(pair) = accounts.next() {
        let mut scene = stage
            .open("Two people, the same field", "account", pair, vec![WEBSITE])
            .await?;
        scene.outcome = "Autotask owns the field and wins; the other value is kept in the ledger";
        stage
            .edit(&mut scene, CRM, 0, json!("https://crm-says.example"))
            .await?;
        stage
            .edit(&mut scene, AUTOTASK, 0, json!("https://autotask-says.example"))
            .await?;
        scenes.push(scene);
    }
    if let Some(pair) = accounts.next() {
        let mut scene = stage
            .open(
                "Two people, the same field, the same idea",
                "account",
                pair,
                vec![NUMBER],
            )
            .await?;
        scene.outcome = "they agree: no conflict, nothing to write";
        stage.edit(&mut scene, CRM, 0, json!("K-2042")).await?;
        stage.edit(&mut scene, AUTOTASK, 0, json!("K-2042")).await?;
        scenes.push(scene);
    }
    if let Some(pair) = contacts.next() {
        let mut scene = stage
            .open(
                "Edited, thought better of, put back",
                "contact",
                pair,
                vec![MOBILE],
            )
            .await?;
        let old = scene.before[0][CRM].clone();
        scene.outcome = "as if nothing had happened: nothing is written";
        stage.edit(&mut scene, CRM, 0, json!("000")).await?;
        stage.edit(&mut scene, CRM, 0, old).await?;
        scenes.push(scene);
    }
    if let Some(pair) = contacts.next() {
        let mut scene = stage
            .open(
                "Somebody marries while the host is down",
                "contact",
                pair,
                vec![LAST_NAME],
            )
            .await?;
        scene.outcome = "the edit waited in the CRM and is carried over";
        stage.edit(&mut scene, CRM, 0, json!("Lindqvist-Okafor")).await?;
        scenes.push(scene);
    }
    if let Some(pair) = accounts.next() {
        let mut scene = stage
            .open("A value is cleared", "account", pair, vec![WEBSITE])
            .await?;
        scene.outcome = "an empty field is a value too: cleared on both sides";
        stage.edit(&mut scene, AUTOTASK, 0, Json::Null).await?;
        scenes.push(scene);
    }
    scenes.push(stage.twins().await?);
    scenes.extend(stage.newcomer().await?);
    if let Some([_, account]) = accounts.next() {
        scenes.extend(stage.work(&account).await?);
    }
    Ok(scenes)
}

/// A scene's record is not to be carried over, but set aside with this reason.
const ASIDE: &str = "parked_required";

/// What became of it.
pub(crate) async fn tell(
    scenes: Vec<Scene>,
    simulators: &Simulators,
    host: &Host,
) -> anyhow::Result<Vec<Told>> {
    let mut told = Vec::new();
    for scene in scenes {
        told.push(scene.tell(simulators, host).await?);
    }
    Ok(told)
}

/// Where the scenes play.
struct Stage<'a> {
    simulators: &'a Simulators,
    host: &'a Host,
}

/// Records looked through for pairs that can play a part.
const CASTING_MAX: usize = 1_000;
/// Pairs a story needs at most.
const CAST: usize = 7;

impl Stage<'_> {
    /// Pairs of linked records that have something in the fields the scenes play with.
    async fn linked(&self, entity: &str) -> anyhow::Result<Vec<[String; 2]>> {
        let wanted: &[&str] = match entity {
            "account" => &["phone", "city", "website", "number"],
            _ => &["mobile", "last_name"],
        };
        let limit = CASTING_MAX.to_string();
        let page = self
            .simulators
            .get(
                "/records",
                &[("system", "crm"), ("entity", entity), ("limit", &limit)],
            )
            .await?;
        let mut pairs = Vec::new();
        for record in page["records"].as_array().into_iter().flatten() {
            let Some(other) = record["xref"].as_str() else {
                continue;
            };
            let filled = |name: &&str| {
                record["fields"][*name]
                    .as_str()
                    .is_some_and(|text| !text.trim().is_empty())
            };
            if wanted.iter().all(filled) {
                pairs.push([other.to_owned(), id_text(&record["id"])]);
            }
            if pairs.len() == CAST {
                break;
            }
        }
        Ok(pairs)
    }

    async fn open(
        &self,
        title: &'static str,
        entity: &'static str,
        pair: [String; 2],
        watches: Vec<Watch>,
    ) -> anyhow::Result<Scene> {
        let [autotask, crm] = &pair;
        let records = [
            self.simulators.record("autotask", entity, autotask).await?,
            self.simulators.record("crm", entity, crm).await?,
        ];
        let decisions = self
            .host
            .explain(entity, &format!("autotask:{autotask}"))
            .await?
            .decisions
            .len();
        let before: Vec<[Json; 2]> = watches.iter().map(|watch| watch.values(&records)).collect();
        Ok(Scene {
            title,
            entity,
            typed: vec![[Vec::new(), Vec::new()]; watches.len()],
            wanted: before
                .iter()
                .map(|pair| [0, 1].map(|_| pair[AUTOTASK].clone()))
                .collect(),
            ids: pair.map(Some),
            before,
            watches,
            outcome: "",
            decisions_before: decisions,
            aside: false,
        })
    }

    async fn edit(&self, scene: &mut Scene, system: usize, watch: usize, value: Json) -> anyhow::Result<()> {
        let id = scene.ids[system]
            .clone()
            .context("the record of a scene is not there")?;
        let field = scene.watches[watch].native[system];
        self.simulators
            .edit(SYSTEMS[system], scene.entity, &id, field, &value)
            .await?;
        scene.typed[watch][system].push(value.clone());
        scene.wanted[watch] = [value.clone(), value];
        Ok(())
    }

    /// Two people enter the same new customer on the same day, one in each system.
    async fn twins(&self) -> anyhow::Result<Scene> {
        let autotask = json!({
            "companyName": "Twin Pines Dairy", "postalCode": "12866", "city": "Saratoga Springs", "phone": "518-555-0177",
            "companyType": 1, "ownerResourceID": self.simulators.config["autotask"]["default_owner_id"],
        });
        let crm = json!({ "name": "Twin Pines Dairy", "zip": "12866", "website": "https://twinpines.example", "type": "customer" });
        let ids = [
            Some(self.simulators.create("autotask", "account", &autotask).await?),
            Some(self.simulators.create("crm", "account", &crm).await?),
        ];
        Ok(Scene {
            title: "The same new customer, entered on both sides",
            entity: "account",
            ids,
            before: vec![
                [json!("Twin Pines Dairy"), json!("Twin Pines Dairy")],
                [json!("518-555-0177"), Json::Null],
                [Json::Null, json!("https://twinpines.example")],
            ],
            typed: vec![[Vec::new(), Vec::new()]; 3],
            wanted: ["Twin Pines Dairy", "518-555-0177", "https://twinpines.example"]
                .map(|text| [json!(text), json!(text)])
                .into(),
            watches: vec![NAME, PHONE, WEBSITE],
            outcome: "recognised by name and postal code: linked, not created twice, and each fills the other's gaps",
            decisions_before: 0,
            aside: false,
        })
    }

    /// A new account in the CRM, and a contact of it: the contact needs the account's other id first.
    async fn newcomer(&self) -> anyhow::Result<Vec<Scene>> {
        let account = json!({ "name": "Brightwater Clinic", "zip": "05401", "city": "Burlington", "phone": "802-555-0142", "type": "customer" });
        let account = self.simulators.create("crm", "account", &account).await?;
        let contact = json!({
            "account_id": account, "first_name": "Amara", "last_name": "Nwosu", "email": "amara@brightwater.example",
        });
        let contact = self.simulators.create("crm", "contact", &contact).await?;
        let scene = |title, entity, id, watches, entered: &str, outcome| Scene {
            title,
            entity,
            ids: [None, Some(id)],
            watches,
            before: vec![[Json::Null, json!(entered)]],
            typed: vec![[Vec::new(), Vec::new()]],
            wanted: vec![[json!(entered), json!(entered)]],
            outcome,
            decisions_before: 0,
            aside: false,
        };
        let made = "created in Autotask, once, and each knows the other's id";
        let after = "waited for its account, then created below it";
        Ok(vec![
            scene(
                "A new customer in the CRM",
                "account",
                account,
                vec![NAME],
                "Brightwater Clinic",
                made,
            ),
            scene(
                "… and the first contact there",
                "contact",
                contact,
                vec![EMAIL],
                "amara@brightwater.example",
                after,
            ),
        ])
    }
}

impl Stage<'_> {
    /// Tickets and opportunities, entered in the CRM.
    async fn work(&self, account: &str) -> anyhow::Result<Vec<Scene>> {
        let contact = json!({
            "account_id": account, "first_name": "Noor", "last_name": "Haddad", "email": "noor.haddad@demo.example",
        });
        self.simulators.create("crm", "contact", &contact).await?;
        let ticket = json!({
            "account_id": account, "contact_email": "Noor.Haddad@demo.example", "subject": "Scanner sends to nobody",
            "status": "snoozed", "priority": "high", "due_at": "2027-01-15T09:00:00Z", "assignee_email": "tom.technician@msp.example",
        });
        let long = format!("Replace every screen {}", "in every meeting room ".repeat(6));
        let deal = json!({
            "account_id": account, "title": long.trim(), "amount": 123_456.78, "probability": 40, "status": "parked",
            "stage": "proposal", "projected_close_date": "2027-03-31",
        });
        let hopeful = json!({
            "account_id": account, "title": "Something with the cloud", "probability": 5, "status": "active", "stage": "lead",
            "projected_close_date": "2027-06-30",
        });
        let cut: String = long.chars().take(128).collect();
        let scene = |title,
                     entity,
                     id,
                     watches: Vec<Watch>,
                     before: Vec<[Json; 2]>,
                     wanted: Vec<[Json; 2]>,
                     outcome| Scene {
            title,
            entity,
            ids: [None, Some(id)],
            typed: vec![[Vec::new(), Vec::new()]; watches.len()],
            watches,
            before,
            wanted,
            outcome,
            decisions_before: 0,
            aside: false,
        };
        let entered = |value: Json| [Json::Null, value];
        let ticket = self.simulators.create("crm", "ticket", &ticket).await?;
        let deal = self.simulators.create("crm", "opportunity", &deal).await?;
        let hopeful = self.simulators.create("crm", "opportunity", &hopeful).await?;
        Ok(vec![
            scene(
                "A ticket of somebody who is known by e-mail only, in a status that Autotask does not have",
                "ticket",
                ticket,
                vec![SUBJECT, STATUS],
                vec![
                    entered(json!("Scanner sends to nobody")),
                    entered(json!("snoozed")),
                ],
                vec![
                    [json!("Scanner sends to nobody"), json!("Scanner sends to nobody")],
                    [json!(8), json!("snoozed")],
                ],
                "the contact is found by address within the account; the status becomes In Progress (8) there and stays as it is here",
            ),
            scene(
                "An opportunity with a title longer than Autotask takes",
                "opportunity",
                deal,
                vec![TITLE, AMOUNT],
                vec![entered(json!(long.trim())), entered(json!(123_456.78))],
                vec![
                    [json!(cut.trim()), json!(long.trim())],
                    [json!(123_456.78), json!(123_456.78)],
                ],
                "cut there, whole here, for good: what is lost on the way is no edit",
            ),
            Scene {
                aside: true,
                ..scene(
                    "An opportunity without an amount, which Autotask insists on",
                    "opportunity",
                    hopeful,
                    vec![TITLE],
                    vec![entered(json!("Something with the cloud"))],
                    vec![[Json::Null, json!("Something with the cloud")]],
                    "set aside with the reason, until somebody fills it in",
                )
            },
        ])
    }
}

impl Watch {
    fn values(&self, records: &[Json; 2]) -> [Json; 2] {
        [AUTOTASK, CRM].map(|system| records[system]["fields"][self.native[system]].clone())
    }
}

impl Scene {
    async fn tell(self, simulators: &Simulators, host: &Host) -> anyhow::Result<Told> {
        let known = if self.ids[AUTOTASK].is_some() {
            AUTOTASK
        } else {
            CRM
        };
        let id = self.ids[known].clone().context("a scene without a record")?;
        let here = simulators.record(SYSTEMS[known], self.entity, &id).await?;
        let other = here.get("counterpart").map(id_text);
        let expected = self.ids[1 - known].as_ref();
        // A pair that has come apart, or a twin that got another partner, is not what was promised.
        let paired = other.is_some() && (expected.is_none() || expected == other.as_ref());
        let there = match &other {
            Some(other) => simulators.record(SYSTEMS[1 - known], self.entity, other).await?,
            None => Json::Null,
        };
        let records = if known == AUTOTASK {
            [here, there]
        } else {
            [there, here]
        };
        let after: Vec<[Json; 2]> = self.watches.iter().map(|watch| watch.values(&records)).collect();
        let as_wanted = after.iter().zip(&self.wanted).all(|(after, wanted)| {
            after
                .iter()
                .zip(wanted)
                .all(|(value, wanted)| same(value, wanted))
        });
        let explanation = host
            .explain(self.entity, &format!("{}:{id}", SYSTEMS[known]))
            .await?;
        let set_aside = explanation
            .parked
            .as_ref()
            .is_some_and(|parked| parked.reason == ASIDE);
        let fields = self.watches.iter().zip(&self.before).zip(after).zip(&self.typed);
        Ok(Told {
            title: self.title.to_owned(),
            record: match &other {
                Some(other) => format!("{}:{id} = {}:{other}", SYSTEMS[known], SYSTEMS[1 - known]),
                None => format!("{}:{id}", SYSTEMS[known]),
            },
            fields: fields
                .map(|(((watch, before), after), typed)| {
                    let change = |system: usize| Change {
                        before: before[system].clone(),
                        after: after[system].clone(),
                        typed: typed[system].clone(),
                    };
                    ToldField {
                        field: watch.label.to_owned(),
                        autotask: change(AUTOTASK),
                        crm: change(CRM),
                    }
                })
                .collect(),
            as_promised: as_wanted
                && if self.aside {
                    set_aside && other.is_none()
                } else {
                    paired
                },
            outcome: self.outcome.to_owned(),
            why: explanation
                .decisions
                .iter()
                .skip(self.decisions_before)
                .map(in_words)
                .collect(),
        })
    }
}

/// Blank and null are the same to a person, and so is white space around a text.
fn same(a: &Json, b: &Json) -> bool {
    let text = |value: &Json| value.as_str().map(str::trim).unwrap_or_default().to_owned();
    match (a, b) {
        (Json::String(_) | Json::Null, Json::String(_) | Json::Null) => text(a) == text(b),
        _ => a == b,
    }
}

fn in_words(decision: &Decision) -> String {
    let way = decision
        .to
        .as_ref()
        .map_or_else(|| decision.from.clone(), |to| format!("{} → {to}", decision.from));
    let fields: Vec<String> = decision
        .fields
        .iter()
        .map(|field| format!("{} ({})", field.field, field.why))
        .collect();
    let detail = [decision.note.clone(), fields.join(", ")];
    let detail: Vec<String> = detail.into_iter().filter(|text| !text.is_empty()).collect();
    format!(
        "{way}: {}{}{}",
        decision.reason,
        if detail.is_empty() { "" } else { ": " },
        detail.join("; ")
    )
}
