//! Which fields correspond, and whether one side's value is a fair image of the other's.

use crate::schema::REQUIRED;
use crate::store::Table;
use crate::value::Value;
use crate::{Entity, System};

/// How two fields are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Text,
    Email,
    Flag,
    CompanyType,
    TicketStatus,
    DealStage,
    DealStatus,
    Amount,
    Day,
}

/// One pair of corresponding fields.
#[derive(Clone, Debug)]
pub(crate) struct Correspondence {
    pub(crate) entity: Entity,
    pub(crate) name: &'static str,
    how: How,
    sides: [Side; 2],
}

#[derive(Clone, Debug)]
struct Side {
    field: u16,
    max: usize,
    required: bool,
}

/// The relation of one side's value to the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The same, up to trimming and truncation.
    Equal,
    /// Different, but the other side cannot hold it.
    Unsyncable(&'static str),
    /// Different without an excuse.
    Differs,
}

#[rustfmt::skip]
static ROWS: &[(Entity, &str, &str, &str, How)] = &[
    (Entity::Account, "name", "companyName", "name", How::Text),
    (Entity::Account, "street", "address1", "street", How::Text),
    (Entity::Account, "street2", "address2", "street2", How::Text),
    (Entity::Account, "city", "city", "city", How::Text),
    (Entity::Account, "region", "state", "region", How::Text),
    (Entity::Account, "zip", "postalCode", "zip", How::Text),
    (Entity::Account, "phone", "phone", "phone", How::Text),
    (Entity::Account, "website", "webAddress", "website", How::Text),
    (Entity::Account, "type", "companyType", "type", How::CompanyType),
    (Entity::Account, "number", "companyNumber", "number", How::Text),
    (Entity::Account, "active", "isActive", "active", How::Flag),
    (Entity::Contact, "first name", "firstName", "first_name", How::Text),
    (Entity::Contact, "last name", "lastName", "last_name", How::Text),
    (Entity::Contact, "street", "addressLine", "street", How::Text),
    (Entity::Contact, "street2", "addressLine1", "street2", How::Text),
    (Entity::Contact, "city", "city", "city", How::Text),
    (Entity::Contact, "region", "state", "region", How::Text),
    (Entity::Contact, "zip", "zipCode", "zip", How::Text),
    (Entity::Contact, "e-mail", "emailAddress", "email", How::Email),
    (Entity::Contact, "phone", "phone", "phone", How::Text),
    (Entity::Contact, "mobile", "mobilePhone", "mobile", How::Text),
    (Entity::Contact, "active", "isActive", "active", How::Flag),
    (Entity::Ticket, "subject", "title", "subject", How::Text),
    (Entity::Ticket, "text", "description", "body", How::Text),
    (Entity::Ticket, "status", "status", "status", How::TicketStatus),
    (Entity::Opportunity, "title", "title", "title", How::Text),
    (Entity::Opportunity, "description", "description", "description", How::Text),
    (Entity::Opportunity, "stage", "stage", "stage", How::DealStage),
    (Entity::Opportunity, "status", "status", "status", How::DealStatus),
    (Entity::Opportunity, "amount", "amount", "amount", How::Amount),
    (Entity::Opportunity, "close date", "projectedCloseDate", "projected_close_date", How::Day),
];

/// Autotask `companyType` and the CRM's word for it.
static TYPES: &[(i64, &str)] = &[
    (1, "customer"),
    (2, "lead"),
    (3, "prospect"),
    (4, "dead"),
    (6, "cancelled"),
    (7, "vendor"),
    (8, "partner"),
];

/// Ticket statuses; what is not here counts as 8 (In Progress), and as `open`.
static TICKET_STATUSES: &[(i64, &str)] = &[
    (1, "new"),
    (5, "solved"),
    (7, "waiting"),
    (8, "open"),
    (10, "scheduled"),
    (11, "escalated"),
];
static DEAL_STAGES: &[(i64, &str)] = &[
    (29_682_769, "lead"),
    (29_682_770, "contacted"),
    (29_682_771, "qualified"),
    (29_682_772, "proposal"),
    (29_682_773, "contract"),
    (29_682_774, "won"),
];
/// What is not here is written as 1 (Active).
static DEAL_STATUSES: &[(i64, &str)] = &[
    (0, "not_ready"),
    (1, "active"),
    (2, "lost"),
    (3, "closed"),
    (4, "implemented"),
];

/// The correspondence table, resolved against the live schemas.
pub(crate) fn table(at: &[Table], crm: &[Table]) -> Vec<Correspondence> {
    let side = |table: &Table, name: &str| {
        let field = table.schema.find(name)?;
        let def = table.schema.field(field);
        Some(Side {
            field,
            max: def.max,
            required: def.is(REQUIRED),
        })
    };
    ROWS.iter()
        .filter_map(|(entity, name, a, c, how)| {
            let i = *entity as usize;
            Some(Correspondence {
                entity: *entity,
                name,
                how: *how,
                sides: [side(&at[i], a)?, side(&crm[i], c)?],
            })
        })
        .collect()
}

/// The calendar day of a date or moment.
fn day(value: &Value) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    match value {
        Value::Time(ms) => Some(ms.div_euclid(DAY_MS)),
        _ => None,
    }
}

impl Correspondence {
    fn side(&self, system: System) -> &Side {
        &self.sides[system as usize]
    }

    pub(crate) fn field(&self, system: System) -> u16 {
        self.side(system).field
    }

    /// Whether `image` on the other side is what `value` of `system` becomes there.
    pub(crate) fn fit(&self, system: System, value: &Value, image: &Value) -> Fit {
        match self.how {
            How::Flag => match (value.as_int(), image.as_int()) {
                (None, _) => Fit::Unsyncable("no value to carry over"),
                (a, b) if a == b => Fit::Equal,
                _ => Fit::Differs,
            },
            How::CompanyType => self.fit_option(system, value, image, TYPES, None),
            How::TicketStatus => self.fit_option(system, value, image, TICKET_STATUSES, Some((8, "open"))),
            How::DealStage => self.fit_option(system, value, image, DEAL_STAGES, None),
            How::DealStatus => self.fit_option(system, value, image, DEAL_STATUSES, Some((1, "active"))),
            How::Amount => match (value.is_blank(), value.same(image)) {
                (_, true) => Fit::Equal,
                (true, _) => Fit::Unsyncable("empty, but required on the other side"),
                _ => Fit::Differs,
            },
            How::Day => match (value.is_blank(), day(value) == day(image)) {
                (_, true) => Fit::Equal,
                (true, _) => Fit::Unsyncable("empty, but required on the other side"),
                _ => Fit::Differs,
            },
            How::Text | How::Email => self.fit_text(system, value, image),
        }
    }

    fn fit_option(
        &self,
        system: System,
        value: &Value,
        image: &Value,
        pairs: &[(i64, &str)],
        fallback: Option<(i64, &str)>,
    ) -> Fit {
        let fallback = fallback.filter(|_| !value.is_blank());
        let wanted = match system {
            System::Autotask => pairs
                .iter()
                .find(|(n, _)| value.as_int() == Some(*n))
                .or(fallback.as_ref())
                .map(|(_, t)| Value::text(t)),
            System::Crm => pairs
                .iter()
                .find(|(_, t)| value.as_str() == *t)
                .or(fallback.as_ref())
                .map(|(n, _)| Value::Int(*n)),
        };
        match wanted {
            None if value.is_blank() && image.is_blank() => Fit::Equal,
            None => Fit::Unsyncable("the option has no counterpart"),
            Some(wanted) if wanted == *image => Fit::Equal,
            Some(_) => Fit::Differs,
        }
    }

    fn fit_text(&self, system: System, value: &Value, image: &Value) -> Fit {
        let (value, image) = (value.as_str().trim(), image.as_str().trim());
        if value == image {
            return Fit::Equal;
        }
        let there = self.side(system.other());
        if there.max > 0 && value.chars().count() > there.max {
            let cut: String = value.chars().take(there.max).collect();
            return if cut.trim() == image {
                Fit::Equal
            } else {
                Fit::Unsyncable("too long for the other side")
            };
        }
        if value.is_empty() && there.required {
            return Fit::Unsyncable("empty, but required on the other side");
        }
        if self.how == How::Email && system == System::Autotask && !value.is_empty() && !value.contains('@') {
            return Fit::Unsyncable("the other side refuses it as an e-mail address");
        }
        Fit::Differs
    }

    /// Either side's value explains the other's.
    pub(crate) fn agree(&self, autotask: &Value, crm: &Value) -> Fit {
        match (
            self.fit(System::Autotask, autotask, crm),
            self.fit(System::Crm, crm, autotask),
        ) {
            (Fit::Equal, _) | (_, Fit::Equal) => Fit::Equal,
            (Fit::Unsyncable(why), _) | (_, Fit::Unsyncable(why)) => Fit::Unsyncable(why),
            _ => Fit::Differs,
        }
    }
}
