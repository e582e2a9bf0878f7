//! The service desk and sales: tickets and opportunities, which flow from the CRM to Autotask.

use serde_json::json;

use super::{CRM, Customer, Json, Scene, Stage, Wanted, Watch};

const TITLE: Watch = Watch {
    label: "title",
    native: ["title", "subject"],
};
const TICKET_NUMBER: Watch = Watch {
    label: "number",
    native: ["ticketNumber", "number"],
};
const STATUS: Watch = Watch {
    label: "status",
    native: ["status", "status"],
};
const DEAL_TITLE: Watch = Watch {
    label: "title",
    native: ["title", "title"],
};
const AMOUNT: Watch = Watch {
    label: "amount",
    native: ["amount", "amount"],
};

/// In Progress, as Autotask stores it.
const IN_PROGRESS: i64 = 8;
/// Characters that Autotask takes of an opportunity's title.
const TITLE_MAX: usize = 128;
const LONG_TITLE: &str = "Replacement of the telephone system at all three sites, with number porting, training of the staff, headsets for everybody \
                          and two years of support 📞";

impl Stage<'_> {
    /// Scenes at the desk, the first one for a customer who has just come.
    pub(super) async fn desk(&self, customer: &Customer) -> anyhow::Result<Vec<Scene>> {
        let mut scenes = vec![self.first_ticket(customer).await?];
        if let Some(pair) = self.linked("ticket").await?.into_iter().next() {
            let title = "A status that Autotask does not have";
            let mut scene = self.open(title, "ticket", pair, vec![STATUS]).await?;
            self.edit(&mut scene, CRM, 0, json!("snoozed")).await?;
            scene.wanted = vec![Wanted::Each([json!(IN_PROGRESS), json!("snoozed")])];
            scene.outcome = "In Progress (8) there, as for every status that is not mapped; that is no change and does not flow back";
            scenes.push(scene);
        }
        scenes.push(self.deal_without_amount(customer).await?);
        scenes.push(self.long_title(customer).await?);
        Ok(scenes)
    }

    async fn first_ticket(&self, customer: &Customer) -> anyhow::Result<Scene> {
        let subject = "Cannot print since the move 😕";
        let ticket = json!({
            "account_id": customer.account, "contact_id": customer.contact, "subject": subject, "status": "new", "priority": "high",
            "type": "incident", "source": "phone", "due_at": "2030-01-15T12:00:00Z",
        });
        let id = self.simulators.create("crm", "ticket", &ticket).await?;
        Ok(Scene {
            watches: vec![TITLE, TICKET_NUMBER],
            before: vec![[Json::Null, json!(subject)], [Json::Null, Json::Null]],
            typed: vec![[Vec::new(), Vec::new()]; 2],
            wanted: vec![Wanted::Both(json!(subject)), Wanted::Alike],
            outcome: "waited for both, then created; Autotask gave it a number, and the CRM knows it",
            ..newly_made("… and a ticket of hers", "ticket", id)
        })
    }

    async fn deal_without_amount(&self, customer: &Customer) -> anyhow::Result<Scene> {
        let deal = json!({
            "account_id": customer.account, "title": "New reception desk", "stage": "lead", "status": "active", "probability": 20,
            "projected_close_date": "2030-03-31",
        });
        let id = self.simulators.create("crm", "opportunity", &deal).await?;
        Ok(Scene {
            watches: vec![DEAL_TITLE, AMOUNT],
            before: vec![
                [Json::Null, json!("New reception desk")],
                [Json::Null, Json::Null],
            ],
            typed: vec![[Vec::new(), Vec::new()]; 2],
            set_aside: Some(["parked_required", "amount"]),
            outcome: "Autotask demands an amount and nobody makes one up: set aside, until somebody types it",
            ..newly_made("An opportunity without an amount", "opportunity", id)
        })
    }

    async fn long_title(&self, customer: &Customer) -> anyhow::Result<Scene> {
        let deal = json!({
            "account_id": customer.account, "title": LONG_TITLE, "stage": "qualified", "status": "parked", "probability": 40,
            "amount": 48000.5, "projected_close_date": "2030-06-30",
        });
        let id = self.simulators.create("crm", "opportunity", &deal).await?;
        let cut: String = LONG_TITLE.chars().take(TITLE_MAX).collect();
        Ok(Scene {
            watches: vec![DEAL_TITLE, AMOUNT],
            before: vec![[Json::Null, json!(LONG_TITLE)], [Json::Null, json!(48000.5)]],
            typed: vec![[Vec::new(), Vec::new()]; 2],
            wanted: vec![
                Wanted::Each([json!(cut), json!(LONG_TITLE)]),
                Wanted::Both(json!(48000.5)),
            ],
            outcome: "cut to Autotask's 128 characters, as configured; the CRM keeps all of it",
            ..newly_made("A title longer than Autotask takes", "opportunity", id)
        })
    }
}

/// A record that a person has just made in the CRM.
fn newly_made(title: &'static str, entity: &'static str, id: String) -> Scene {
    Scene {
        title,
        entity,
        ids: [None, Some(id)],
        watches: Vec::new(),
        before: Vec::new(),
        typed: Vec::new(),
        wanted: Vec::new(),
        set_aside: None,
        outcome: "",
        decisions_before: 0,
    }
}
