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
    /// An option list of each side's own.
    Options(&'static Options),
    /// A moment or a day.
    Time,
    /// Exact, whatever zeros stand behind the point.
    Amount,
}

/// Autotask's numbers and the CRM's words for them.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    pairs: &'static [(i64, &'static str)],
    /// What an option without counterpart becomes in Autotask, and in the CRM.
    fallback: Option<(i64, &'static str)>,
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
    (Entity::Account, "type", "companyType", "type", How::Options(&TYPES)),
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
    (Entity::Ticket, "title", "title", "subject", How::Text),
    (Entity::Ticket, "description", "description", "body", How::Text),
    (Entity::Ticket, "status", "status", "status", How::Options(&TICKET_STATUS)),
    (Entity::Ticket, "priority", "priority", "priority", How::Options(&PRIORITIES)),
    (Entity::Ticket, "type", "ticketType", "type", How::Options(&TICKET_TYPES)),
    (Entity::Ticket, "source", "source", "source", How::Options(&CHANNELS)),
    (Entity::Ticket, "due date", "dueDateTime", "due_at", How::Time),
    (Entity::Opportunity, "title", "title", "title", How::Text),
    (Entity::Opportunity, "description", "description", "description", How::Text),
    (Entity::Opportunity, "stage", "stage", "stage", How::Options(&STAGES)),
    (Entity::Opportunity, "status", "status", "status", How::Options(&DEAL_STATUS)),
    (Entity::Opportunity, "amount", "amount", "amount", How::Amount),
    (Entity::Opportunity, "cost", "cost", "cost", How::Amount),
    (Entity::Opportunity, "probability", "probability", "probability", How::Amount),
    (Entity::Opportunity, "projected close", "projectedCloseDate", "projected_close_date", How::Time),
    (Entity::Opportunity, "closed", "closedDate", "closed_date", How::Time),
];

/// References: entity, what people call it, the field in Autotask, in the CRM, and what it points to.
#[rustfmt::skip]
pub(super) static REFERENCES: &[(Entity, &str, &str, &str, Entity)] = &[
    (Entity::Contact, "account", "companyID", "account_id", Entity::Account),
    (Entity::Ticket, "account", "companyID", "account_id", Entity::Account),
    (Entity::Ticket, "contact", "contactID", "contact_id", Entity::Contact),
    (Entity::Opportunity, "account", "companyID", "account_id", Entity::Account),
    (Entity::Opportunity, "contact", "contactID", "contact_id", Entity::Contact),
];

#[rustfmt::skip]
static TYPES: Options = Options {
    pairs: &[(1, "customer"), (2, "lead"), (3, "prospect"), (4, "dead"), (6, "cancelled"), (7, "vendor"), (8, "partner")],
    fallback: None,
};
#[rustfmt::skip]
static TICKET_STATUS: Options = Options {
    pairs: &[(1, "new"), (5, "solved"), (7, "waiting"), (8, "open"), (10, "scheduled"), (11, "escalated")],
    fallback: Some((8, "open")),
};
static PRIORITIES: Options = Options {
    pairs: &[(1, "high"), (2, "medium"), (3, "low"), (4, "critical")],
    fallback: None,
};
#[rustfmt::skip]
static TICKET_TYPES: Options = Options {
    pairs: &[(1, "question"), (2, "incident"), (3, "problem"), (4, "change"), (5, "alert")],
    fallback: None,
};
#[rustfmt::skip]
static CHANNELS: Options = Options {
    pairs: &[(-1, "portal"), (1, "internal"), (2, "phone"), (4, "email"), (5, "web"), (6, "walk_in"), (8, "monitoring")],
    fallback: None,
};
#[rustfmt::skip]
static STAGES: Options = Options {
    pairs: &[
        (29_682_769, "lead"), (29_682_770, "contacted"), (29_682_771, "qualified"), (29_682_772, "proposal"),
        (29_682_773, "contract"), (29_682_774, "won"),
    ],
    fallback: None,
};
#[rustfmt::skip]
static DEAL_STATUS: Options = Options {
    pairs: &[(0, "not_ready"), (1, "active"), (2, "lost"), (3, "closed"), (4, "implemented")],
    fallback: Some((1, "active")),
};

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
            How::Options(options) => self.fit_option(options, system, value, image),
            How::Time => self.fit_plain(system, value, value == image, image),
            How::Amount => self.fit_plain(system, value, digits(value) == digits(image), image),
            How::Text | How::Email => self.fit_text(system, value, image),
        }
    }

    fn fit_option(&self, options: &Options, system: System, value: &Value, image: &Value) -> Fit {
        let number = || options.pairs.iter().find(|(n, _)| value.as_int() == Some(*n));
        let word = || options.pairs.iter().find(|(_, t)| value.as_str() == *t);
        if value.is_blank() {
            return self.fit_plain(system, value, image.is_blank(), image);
        }
        let wanted = match system {
            System::Autotask => number()
                .map(|(_, t)| *t)
                .or(options.fallback.map(|f| f.1))
                .map(Value::text),
            System::Crm => word()
                .map(|(n, _)| *n)
                .or(options.fallback.map(|f| f.0))
                .map(Value::Int),
        };
        match wanted {
            None => Fit::Unsyncable("the option has no counterpart"),
            Some(wanted) if wanted == *image => Fit::Equal,
            Some(_) => Fit::Differs,
        }
    }

    /// A value that both sides keep alike; one that is missing is no loss where the other side demands it.
    fn fit_plain(&self, system: System, value: &Value, same: bool, image: &Value) -> Fit {
        match (value.is_blank(), image.is_blank()) {
            _ if same => Fit::Equal,
            (true, true) => Fit::Equal,
            (true, false) if self.side(system.other()).required => {
                Fit::Unsyncable("empty, but required on the other side")
            }
            _ => Fit::Differs,
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

/// A number without the zeros that say nothing, exactly.
fn digits(value: &Value) -> Option<String> {
    let text = match value {
        Value::Int(n) => return Some(n.to_string()),
        Value::Num(text) => text,
        _ => return None,
    };
    let plain = !text.contains(['e', 'E']);
    Some(match text.split_once('.') {
        Some((whole, part)) if plain => {
            let part = part.trim_end_matches('0');
            if part.is_empty() {
                whole.to_owned()
            } else {
                format!("{whole}.{part}")
            }
        }
        _ => text.to_string(),
    })
}
