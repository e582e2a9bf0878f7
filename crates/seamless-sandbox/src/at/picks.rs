//! Option lists of the simulated tenant, with a few inactive values as real tenants have them.

use crate::schema::Pick;

const fn on(value: &'static str, label: &'static str) -> Pick {
    Pick {
        value,
        label,
        active: true,
        system: false,
    }
}

const fn sys(value: &'static str, label: &'static str) -> Pick {
    Pick {
        value,
        label,
        active: true,
        system: true,
    }
}

const fn off(value: &'static str, label: &'static str) -> Pick {
    Pick {
        value,
        label,
        active: false,
        system: false,
    }
}

/// `companyType`. 5 is what an older list called "Cancelation": inactive here, still on old records.
pub(crate) static COMPANY_TYPE: &[Pick] = &[
    sys("1", "Customer"),
    sys("2", "Lead"),
    sys("3", "Prospect"),
    sys("4", "Dead"),
    off("5", "Former Customer (retired)"),
    sys("6", "Cancelation"),
    sys("7", "Vendor"),
    sys("8", "Partner"),
];

pub(crate) static MARKET_SEGMENT: &[Pick] = &[
    on("29682778", "Healthcare"),
    on("29682779", "Legal"),
    off("29682780", "Dot-com"),
];
pub(crate) static TERRITORY: &[Pick] = &[on("29682778", "Local"), on("29682779", "National")];
pub(crate) static CLASSIFICATION: &[Pick] = &[on("1", "Standard"), on("2", "Key Account")];
pub(crate) static NAME_PREFIX: &[Pick] = &[on("1", "Mr."), on("2", "Mrs."), on("3", "Ms."), on("4", "Dr.")];
pub(crate) static NAME_SUFFIX: &[Pick] = &[on("1", "Jr."), on("2", "Sr."), on("3", "PhD")];

pub(crate) static TICKET_PRIORITY: &[Pick] = &[
    on("4", "Critical"),
    on("1", "High"),
    on("2", "Medium"),
    on("3", "Low"),
    off("6", "Whenever"),
];
pub(crate) static TICKET_STATUS: &[Pick] = &[
    sys("1", "New"),
    sys("5", "Complete"),
    on("7", "Waiting Customer"),
    on("8", "In Progress"),
    on("9", "Waiting Materials"),
    on("10", "Scheduled"),
    on("11", "Escalate"),
    on("12", "Waiting Vendor"),
    on("13", "Waiting Approval"),
    on("14", "Waiting Dispatch"),
    on("15", "Approved"),
    on("16", "Denied"),
    off("17", "On Hold (old)"),
];
pub(crate) static TICKET_TYPE: &[Pick] = &[
    sys("1", "Service Request"),
    sys("2", "Incident"),
    sys("3", "Problem"),
    sys("4", "Change Request"),
    sys("5", "Alert"),
];
pub(crate) static TICKET_SOURCE: &[Pick] = &[
    sys("-2", "Insourced"),
    sys("-1", "Client Portal"),
    on("1", "Internal"),
    on("2", "Phone"),
    on("4", "Email"),
    on("5", "Web Portal"),
    on("6", "In-person / Onsite"),
    on("8", "Monitoring Alert"),
];
pub(crate) static TICKET_CATEGORY: &[Pick] = &[on("3", "Standard"), on("2", "AEM Alert"), off("9", "Legacy")];
/// Level I Support.
pub(crate) const SUPPORT_QUEUE: i64 = 29_682_833;
pub(crate) static QUEUE: &[Pick] = &[
    on("29682833", "Level I Support"),
    on("29682969", "Level II Support"),
    on("5", "Client Portal"),
];
pub(crate) static ISSUE_TYPE: &[Pick] = &[on("10", "Computer"), on("11", "Network"), on("12", "Software")];
pub(crate) static SUB_ISSUE_TYPE: &[Pick] = &[
    on("136", "Laptop"),
    on("137", "Printer"),
    on("140", "Firewall"),
    on("150", "Office"),
];
/// Sub-issue type → issue type.
pub(crate) static SUB_ISSUE_PARENTS: &[(&str, &str)] =
    &[("136", "10"), ("137", "10"), ("140", "11"), ("150", "12")];

pub(crate) static STAGE: &[Pick] = &[
    on("29682769", "New Lead"),
    on("29682770", "Stage 1 First Contact"),
    on("29682771", "Stage 2 Qualification"),
    on("29682772", "Stage 3 Proposal Sent"),
    on("29682773", "Stage 4 Contract Sent"),
    on("29682774", "Stage 5 Closed"),
];
pub(crate) static OPPORTUNITY_STATUS: &[Pick] = &[
    sys("0", "Not Ready to Buy"),
    sys("1", "Active"),
    sys("2", "Lost"),
    sys("3", "Closed"),
    sys("4", "Implemented"),
];
pub(crate) static LEAD_SOURCE: &[Pick] = &[on("1", "Referral"), on("2", "Web"), off("3", "Fax campaign")];
pub(crate) static RATING: &[Pick] = &[on("1", "Hot"), on("2", "Warm"), on("3", "Cold")];
pub(crate) static LOSS_REASON: &[Pick] = &[on("1", "Price"), on("2", "Timing")];
pub(crate) static LICENSE_TYPE: &[Pick] = &[sys("1", "Professional"), sys("7", "API User (API-only)")];
