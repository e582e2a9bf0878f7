//! Seeded data: two tenants that grew apart, as messy as real ones.

mod people;
mod rows;
mod words;
mod work;

use crate::rng::Rng;
use crate::world::World;
use people::{Firm, Person};

/// How many there are of one kind, by where they exist.
struct Split {
    autotask: usize,
    crm: usize,
    both: usize,
}

/// 45 % in one system, 45 % in the other, 10 % in both; `both` counts twice.
fn split(records: usize) -> Split {
    let both = if records < 4 {
        0
    } else {
        ((records as f64) * 0.1 / 1.1).round().max(1.0) as usize
    };
    let rest = records - 2 * both;
    Split {
        autotask: rest.div_ceil(2),
        crm: rest / 2,
        both,
    }
}

/// An account as it stands in one or both systems.
struct Home {
    firm: Firm,
    autotask: Option<i64>,
    crm: Option<i64>,
    contacts: usize,
    last_email: Option<String>,
}

/// Fills both systems.
pub(crate) fn fill(w: &mut World) {
    let mut rng = w.rng.clone();
    let mess = w.config.mess;
    rows::own_company(w, &mut rng);
    let accounts = (w.config.records / 4).max(usize::from(w.config.records > 0));
    let mut homes = fill_accounts(w, &mut rng, &split(accounts), mess);
    fill_contacts(w, &mut rng, &split(w.config.records - accounts), &mut homes, mess);
    work::tickets(w, &mut rng, &homes, mess);
    work::opportunities(w, &mut rng, &homes, mess);
    w.rng = rng;
}

fn fill_accounts(w: &mut World, rng: &mut Rng, split: &Split, mess: bool) -> Vec<Home> {
    let mut homes = Vec::new();
    let mut twins_at: Vec<Firm> = Vec::new();
    let mut twins_crm: Vec<Firm> = Vec::new();
    let mut serial = 0;
    let mut next = || {
        serial += 1;
        serial
    };
    let mut last: [Option<i64>; 2] = [None, None];
    for i in 0..split.both {
        let firm = Firm::new(rng, next(), mess);
        let mut other = firm.clone();
        other.drift(rng, mess);
        let parents = if mess && i % 12 == 5 { last } else { [None, None] };
        let at = rows::company(w, rng, &firm, parents[0], i, false);
        let crm = rows::account(w, rng, &other, parents[1], i, false);
        last = [Some(at), Some(crm)];
        // A third record of the same firm makes the match ambiguous: nobody may guess.
        if mess && i % 10 == 4 {
            twins_at.push(firm.clone());
        } else if mess && i % 10 == 9 {
            twins_crm.push(firm.clone());
        }
        homes.push(Home {
            firm,
            autotask: Some(at),
            crm: Some(crm),
            contacts: 0,
            last_email: None,
        });
    }
    for (autotask, count) in [(true, split.autotask), (false, split.crm)] {
        let mut before: Option<(Firm, i64)> = None;
        for i in 0..count {
            let mut firm = Firm::new(rng, next(), mess);
            let queue = if autotask { &mut twins_at } else { &mut twins_crm };
            let model = queue.pop().or_else(|| {
                before
                    .as_ref()
                    .filter(|_| mess && i % 18 == 4)
                    .map(|b| b.0.clone())
            });
            if let Some(model) = model {
                firm.twin_of(&model);
            }
            // Every twelfth has a parent, and the one after it that one: two deep.
            let parent = before
                .as_ref()
                .filter(|_| mess && matches!(i % 12, 5 | 6))
                .map(|b| b.1);
            let id = if autotask {
                rows::company(w, rng, &firm, parent, i, mess)
            } else {
                rows::account(w, rng, &firm, parent, i, mess)
            };
            before = Some((firm.clone(), id));
            let (at, crm) = if autotask {
                (Some(id), None)
            } else {
                (None, Some(id))
            };
            homes.push(Home {
                firm,
                autotask: at,
                crm,
                contacts: 0,
                last_email: None,
            });
        }
    }
    homes
}

fn fill_contacts(w: &mut World, rng: &mut Rng, split: &Split, homes: &mut [Home], mess: bool) {
    let both: Vec<usize> = pick(homes, |h| h.autotask.is_some() && h.crm.is_some());
    let at: Vec<usize> = pick(homes, |h| h.autotask.is_some());
    let crm: Vec<usize> = pick(homes, |h| h.crm.is_some());
    let mut serial = 0;
    let (mut at_count, mut crm_count) = (split.autotask, split.crm);
    if both.is_empty() {
        at_count += split.both;
        crm_count += split.both;
    }
    for i in 0..if both.is_empty() { 0 } else { split.both } {
        let home = &mut homes[*rng.pick(&both)];
        serial += 1;
        let person = Person::new(rng, &home.firm, serial, mess);
        let mut other = person.clone();
        other.drift(rng, mess);
        let primary = home.contacts == 0;
        home.contacts += 1;
        rows::at_contact(w, rng, &person, home.autotask.unwrap_or(0), primary, i, false);
        rows::crm_contact(w, rng, &other, home.crm, primary, i, false);
        home.last_email = Some(person.email.clone());
    }
    for (autotask, count, among) in [(true, at_count, &at), (false, crm_count, &crm)] {
        for i in 0..count {
            serial += 1;
            // With no account on this side at all (a handful of records) a contact has none either.
            let home = if among.is_empty() {
                None
            } else {
                Some(*rng.pick(among))
            };
            let Some(home) = home else {
                let firm = Firm::new(rng, serial, false);
                let person = Person::new(rng, &firm, serial, false);
                if autotask {
                    rows::at_contact(w, rng, &person, 0, false, i, mess);
                } else {
                    rows::crm_contact(w, rng, &person, None, false, i, mess);
                }
                continue;
            };
            let home = &mut homes[home];
            let mut person = Person::new(rng, &home.firm, serial, mess);
            if mess && i % 13 == 4 {
                let shared = format!("info@{}", home.firm.domain);
                person.email = home.last_email.clone().unwrap_or(shared);
            } else if mess && i % 53 == 11 {
                person.email = "office@shared-mailbox.example".into();
            }
            let primary = home.contacts == 0;
            home.contacts += 1;
            if autotask {
                rows::at_contact(w, rng, &person, home.autotask.unwrap_or(0), primary, i, mess);
            } else {
                rows::crm_contact(w, rng, &person, home.crm, primary, i, mess);
            }
            if !person.email.is_empty() {
                home.last_email = Some(person.email);
            }
        }
    }
}

fn pick(homes: &[Home], want: impl Fn(&Home) -> bool) -> Vec<usize> {
    homes
        .iter()
        .enumerate()
        .filter(|(_, h)| want(h))
        .map(|(i, _)| i)
        .collect()
}

#[cfg(test)]
mod tests;
