//! Firms and people before they are written down in a system.

use super::words::{ADJECTIVE, EXTRAS, FIRST, FOREIGN, FOREIGN_FIRMS, LAST, NOUN, PLACES, STREETS, SUFFIX};
use crate::rng::Rng;

/// Share of optional fields which are empty in messy data.
const BLANKS: f64 = 0.12;

/// A firm.
#[derive(Clone, Debug)]
pub(super) struct Firm {
    pub(super) name: String,
    pub(super) street: String,
    pub(super) street2: String,
    pub(super) city: String,
    pub(super) region: String,
    pub(super) zip: String,
    pub(super) country: &'static str,
    pub(super) phone: String,
    pub(super) website: String,
    pub(super) domain: String,
    pub(super) number: String,
    pub(super) kind: usize,
    pub(super) active: bool,
    foreign: bool,
}

/// A person of a firm.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) first: String,
    pub(super) last: String,
    pub(super) street: String,
    pub(super) street2: String,
    pub(super) city: String,
    pub(super) region: String,
    pub(super) zip: String,
    pub(super) country: &'static str,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) mobile: String,
    pub(super) active: bool,
}

fn phone(rng: &mut Rng) -> String {
    let (a, b, c) = (200 + rng.below(800), rng.below(1000), rng.below(10_000));
    match rng.below(4) {
        0 => format!("({a}) {b:03}-{c:04}"),
        1 => format!("+1 {a} {b:03} {c:04}"),
        2 => format!("{a}.{b:03}.{c:04}"),
        _ => format!("{a}{b:03}{c:04}"),
    }
}

/// The same number in other clothes.
fn rewrite_phone(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        String::new()
    } else {
        format!("+{digits}")
    }
}

fn maybe(rng: &mut Rng, mess: bool, value: String) -> String {
    if mess && rng.chance(BLANKS) {
        String::new()
    } else {
        value
    }
}

impl Firm {
    pub(super) fn new(rng: &mut Rng, serial: usize, mess: bool) -> Self {
        let (city, region, country, zip) = *rng.pick(PLACES);
        let foreign = mess && serial % 17 == 3;
        let base = if foreign {
            (*rng.pick(FOREIGN_FIRMS)).to_owned()
        } else {
            format!("{} {} {}", rng.pick(ADJECTIVE), rng.pick(NOUN), rng.pick(SUFFIX))
        };
        // The number keeps firms apart: twins are made on purpose, never by chance.
        let name = format!("{base} {serial}");
        let domain = format!("firm{serial}.example");
        let street = format!("{} {}", 1 + rng.below(240), rng.pick(STREETS));
        let extra = (*rng.pick(EXTRAS)).to_owned();
        let zip = format!("{zip}{:02}", rng.below(100));
        let (tel, number) = (phone(rng), format!("ACC-{serial:05}"));
        let kind = [0, 0, 0, 0, 1, 2, 2, 3, 4, 5, 6][rng.below(11)];
        Self {
            name,
            street: maybe(rng, mess, street),
            street2: if rng.chance(0.3) { extra } else { String::new() },
            city: maybe(rng, mess, city.to_owned()),
            region: maybe(rng, mess, region.to_owned()),
            zip,
            country: if mess && rng.chance(0.08) { "" } else { country },
            phone: tel,
            website: maybe(rng, mess, format!("https://www.{domain}")),
            domain,
            number: if rng.chance(0.5) { number } else { String::new() },
            kind,
            active: !rng.chance(0.04),
            foreign,
        }
    }

    /// The same firm as another clerk wrote it down; name and postal code still match.
    pub(super) fn drift(&mut self, rng: &mut Rng, mess: bool) {
        if !mess {
            return;
        }
        if rng.chance(0.1) {
            self.name = self.name.to_uppercase();
        }
        if rng.chance(0.5) {
            self.phone = rewrite_phone(&self.phone);
        }
        if rng.chance(0.2) {
            self.website = String::new();
        }
        if rng.chance(0.2) {
            self.street2 = String::new();
        }
    }

    /// Another record of the same firm in the same system.
    pub(super) fn twin_of(&mut self, model: &Self) {
        self.name = model.name.clone();
        self.zip = model.zip.clone();
        self.city = model.city.clone();
        self.region = model.region.clone();
        self.country = model.country;
    }
}

impl Person {
    pub(super) fn new(rng: &mut Rng, firm: &Firm, serial: usize, mess: bool) -> Self {
        let (first, last) = if firm.foreign || (mess && rng.chance(0.03)) {
            let (first, last) = *rng.pick(FOREIGN);
            (first.to_owned(), last.to_owned())
        } else {
            ((*rng.pick(FIRST)).to_owned(), (*rng.pick(LAST)).to_owned())
        };
        let (office, mobile) = (phone(rng), phone(rng));
        Self {
            first,
            last,
            street: maybe(rng, mess, firm.street.clone()),
            street2: firm.street2.clone(),
            city: maybe(rng, mess, firm.city.clone()),
            region: maybe(rng, mess, firm.region.clone()),
            zip: maybe(rng, mess, firm.zip.clone()),
            country: firm.country,
            email: format!("person{serial}@{}", firm.domain),
            phone: maybe(rng, mess, office),
            mobile: if rng.chance(0.5) { mobile } else { String::new() },
            active: !rng.chance(0.04),
        }
    }

    /// The same person as another clerk wrote them down; the e-mail still matches.
    pub(super) fn drift(&mut self, rng: &mut Rng, mess: bool) {
        if !mess {
            return;
        }
        if rng.chance(0.5) {
            self.phone = rewrite_phone(&self.phone);
        }
        if rng.chance(0.15) {
            self.mobile = String::new();
        }
        if rng.chance(0.1) {
            self.email = self.email.to_uppercase();
        }
    }
}
