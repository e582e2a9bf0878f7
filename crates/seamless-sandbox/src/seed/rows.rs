//! Writing firms and people down in either system, each with its own kind of dirt.

use super::people::{Firm, Person};
use crate::at::tables::{COUNTRIES, HUMAN_RESOURCE};
use crate::rng::Rng;
use crate::store::Rec;
use crate::value::Value;
use crate::world::World;
use crate::{Entity, System};

pub(super) const DAY_MS: i64 = 86_400_000;
static CRM_TYPES: [&str; 7] = [
    "customer",
    "lead",
    "prospect",
    "dead",
    "cancelled",
    "vendor",
    "partner",
];
static AT_TYPES: [i64; 7] = [1, 2, 3, 4, 6, 7, 8];

pub(super) struct Writer<'a> {
    pub(super) w: &'a mut World,
    system: System,
    entity: Entity,
    rec: Rec,
}

impl<'a> Writer<'a> {
    pub(super) fn new(w: &'a mut World, system: System, entity: Entity) -> Self {
        let id = w.table_mut(system, entity).take_id();
        Self::with_id(w, system, entity, id)
    }

    fn with_id(w: &'a mut World, system: System, entity: Entity, id: i64) -> Self {
        let mut writer = Self {
            w,
            system,
            entity,
            rec: Rec::new(id),
        };
        writer.set("id", Value::Int(id));
        writer
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        if let Some(field) = self.w.table(self.system, self.entity).schema.find(name) {
            self.rec.set(field, value);
        }
    }

    /// A text; an empty one becomes null or "", as it happens in both systems.
    pub(super) fn text(&mut self, rng: &mut Rng, name: &str, value: &str) {
        let value = match value {
            "" if rng.chance(0.5) => Value::Null,
            text => Value::text(text),
        };
        self.set(name, value);
    }

    /// Stamps from the last three years, the newest a day old.
    pub(super) fn stamps(&mut self, rng: &mut Rng, stampless: bool) {
        let now = self.w.now();
        let created = now - DAY_MS - rng.below(3 * 365 * 86_400) as i64 * 1000 - rng.below(1000) as i64;
        let span = ((now - DAY_MS - created) / 1000).max(1) as usize;
        let modified = created + rng.below(span) as i64 * 1000 + rng.below(1000) as i64;
        let schema = &self.w.table(self.system, self.entity).schema;
        let (c, m, a, v) = (schema.created, schema.modified, schema.activity, schema.version);
        if let Some(field) = c {
            self.rec.set(field, Value::Time(created));
        }
        if let (Some(field), false) = (m, stampless) {
            self.rec.set(field, Value::Time(modified));
        }
        if let Some(field) = a {
            self.rec.set(field, Value::Time(modified / 1000 * 1000));
        }
        if let Some(field) = v {
            self.rec.set(field, Value::Int(1 + rng.below(5) as i64));
        }
    }

    pub(super) fn done(self) -> i64 {
        let id = self.rec.id;
        self.w.table_mut(self.system, self.entity).insert(self.rec);
        id
    }
}

fn country_id(code: &str) -> Value {
    COUNTRIES
        .iter()
        .position(|(c, _)| *c == code)
        .map_or(Value::Null, |i| Value::Int(i as i64 + 1))
}

/// A text of exactly `n` characters.
pub(super) fn stretch(text: &str, n: usize) -> String {
    let mut out = text.to_owned();
    while out.chars().count() < n {
        out.push_str(" and Associates");
    }
    out.chars().take(n - 1).chain(std::iter::once('x')).collect()
}

/// Company 0: the tenant's own.
pub(super) fn own_company(w: &mut World, rng: &mut Rng) {
    let mut row = Writer::with_id(w, System::Autotask, Entity::Account, 0);
    row.set("companyName", Value::text("Sandbox MSP (own company)"));
    row.set("companyType", Value::Int(1));
    row.set("phone", Value::text("518-555-0100"));
    row.set("ownerResourceID", Value::Int(HUMAN_RESOURCE));
    row.set("isActive", Value::Bool(true));
    row.stamps(rng, false);
    row.done();
}

/// A company in Autotask.
pub(super) fn company(
    w: &mut World,
    rng: &mut Rng,
    firm: &Firm,
    parent: Option<i64>,
    i: usize,
    mess: bool,
) -> i64 {
    let mut row = Writer::new(w, System::Autotask, Entity::Account);
    let name = if mess && i % 60 == 7 {
        stretch(&firm.name, 100)
    } else {
        firm.name.clone()
    };
    row.text(rng, "companyName", &name);
    row.text(rng, "address1", &firm.street);
    row.text(rng, "address2", &firm.street2);
    row.text(rng, "city", &firm.city);
    row.text(rng, "state", &firm.region);
    row.text(rng, "postalCode", &firm.zip);
    row.set("countryID", country_id(firm.country));
    // Older records miss even what the API demands today.
    row.text(rng, "phone", if mess && i % 90 == 8 { "" } else { &firm.phone });
    row.text(rng, "webAddress", &firm.website);
    row.text(rng, "companyNumber", &firm.number);
    row.set(
        "companyType",
        Value::Int(if mess && i % 50 == 9 {
            5
        } else {
            AT_TYPES[firm.kind]
        }),
    );
    row.set("isActive", Value::Bool(firm.active));
    row.set(
        "ownerResourceID",
        Value::Int(HUMAN_RESOURCE + i64::from(mess && i % 30 == 2)),
    );
    if rng.chance(0.2) {
        row.set("Customer Ranking", Value::text("Golden"));
    }
    if let Some(parent) = parent {
        row.set("parentCompanyID", Value::Int(parent));
    }
    row.stamps(rng, mess && i % 40 == 3);
    row.done()
}

/// An account in the CRM.
pub(super) fn account(
    w: &mut World,
    rng: &mut Rng,
    firm: &Firm,
    parent: Option<i64>,
    i: usize,
    mess: bool,
) -> i64 {
    let mut row = Writer::new(w, System::Crm, Entity::Account);
    let name = match i % 60 {
        7 if mess => stretch(&firm.name, 120 + rng.below(80)),
        _ => firm.name.clone(),
    };
    row.text(rng, "name", &name);
    row.text(rng, "street", &firm.street);
    row.text(rng, "street2", &firm.street2);
    row.text(
        rng,
        "city",
        &if mess && i % 60 == 37 {
            stretch("Llanfairpwllgwyngyll", 45)
        } else {
            firm.city.clone()
        },
    );
    row.text(rng, "region", &firm.region);
    row.text(
        rng,
        "zip",
        &if mess && i % 60 == 17 {
            format!("{} / PO 4711", firm.zip)
        } else {
            firm.zip.clone()
        },
    );
    row.text(rng, "country", firm.country);
    let phone = match i % 60 {
        12 if mess => format!("{} ext. 12345 (desk)", firm.phone),
        10 | 25 | 40 | 55 if mess => String::new(),
        _ => firm.phone.clone(),
    };
    row.text(rng, "phone", &phone);
    row.text(rng, "website", &firm.website);
    row.text(rng, "number", &firm.number);
    let kind = if mess && i % 45 == 6 {
        Value::Null
    } else {
        Value::text(CRM_TYPES[firm.kind])
    };
    row.set("type", kind);
    row.set("active", Value::Bool(firm.active));
    if let Some(parent) = parent {
        row.set("parent_id", Value::Int(parent));
    }
    row.stamps(rng, mess && i % 40 == 3);
    row.done()
}

/// A contact in Autotask.
pub(super) fn at_contact(
    w: &mut World,
    rng: &mut Rng,
    person: &Person,
    company: i64,
    primary: bool,
    i: usize,
    mess: bool,
) {
    let mut row = Writer::new(w, System::Autotask, Entity::Contact);
    row.set("companyID", Value::Int(company));
    row.text(rng, "firstName", &person.first);
    row.text(
        rng,
        "lastName",
        &if mess && i % 150 == 9 {
            stretch(&person.last, 50)
        } else {
            person.last.clone()
        },
    );
    row.text(rng, "addressLine", &person.street);
    row.text(rng, "addressLine1", &person.street2);
    row.text(rng, "city", &person.city);
    row.text(rng, "state", &person.region);
    row.text(rng, "zipCode", &person.zip);
    row.set("countryID", country_id(person.country));
    let email = match i % 200 {
        21 if mess => "n/a",
        n if mess && n % 10 == 7 => "",
        _ => &person.email,
    };
    row.text(rng, "emailAddress", email);
    row.text(rng, "phone", &person.phone);
    row.text(rng, "mobilePhone", &person.mobile);
    row.set("isActive", Value::Int(i64::from(person.active)));
    row.set("primaryContact", Value::Bool(primary));
    row.stamps(rng, mess && i % 60 == 3);
    row.done();
}

/// A contact in the CRM.
pub(super) fn crm_contact(
    w: &mut World,
    rng: &mut Rng,
    person: &Person,
    account: Option<i64>,
    primary: bool,
    i: usize,
    mess: bool,
) {
    let mut row = Writer::new(w, System::Crm, Entity::Contact);
    if let Some(account) = account.filter(|_| !(mess && i % 200 == 13)) {
        row.set("account_id", Value::Int(account));
    }
    row.text(
        rng,
        "first_name",
        &if mess && i % 150 == 9 {
            stretch(&person.first, 60)
        } else {
            person.first.clone()
        },
    );
    row.text(
        rng,
        "last_name",
        if mess && i % 45 == 8 { "" } else { &person.last },
    );
    row.text(rng, "street", &person.street);
    row.text(rng, "street2", &person.street2);
    row.text(rng, "city", &person.city);
    row.text(rng, "region", &person.region);
    row.text(rng, "zip", &person.zip);
    row.text(rng, "country", person.country);
    row.text(rng, "email", if mess && i % 10 == 7 { "" } else { &person.email });
    row.text(rng, "phone", &person.phone);
    row.text(rng, "mobile", &person.mobile);
    // Nobody stops a person here from ticking the box twice.
    row.set("is_primary", Value::Bool(primary || (mess && i % 120 == 6)));
    row.set("active", Value::Bool(person.active));
    row.stamps(rng, mess && i % 60 == 3);
    row.done();
}
