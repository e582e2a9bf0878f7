//! Lists and stamps.

use std::collections::BTreeSet;
use std::time::Duration;

use seamless_core::{ListRequest, NativeRecord, RecordId, Result, Stamp};

use super::ground::{Ground, PAGES_MAX, counted};
use super::{Seen, Stop, Tried, ensure, told};

const DAY: Duration = Duration::from_secs(86_400);
/// Records compared one by one.
const COMPARED_MAX: usize = 20;
/// Records that have to turn up again on small pages.
const PAGED_MAX: usize = 40;
/// How far ahead of us another computer's clock may be.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(300);
/// Units of stamps, coarsest first.
const UNITS: [(i64, &str); 5] = [
    (86_400_000_000, "whole days"),
    (60_000_000, "whole minutes"),
    (1_000_000, "whole seconds"),
    (1_000, "milliseconds"),
    (1, "microseconds"),
];

pub(super) async fn cases(ground: &Ground<'_>) -> Result<Vec<Tried>> {
    Ok(vec![
        told("pages lose nothing", small_pages(ground).await)?,
        told("stamps tell the moment", stamps(ground))?,
        told("lists since a stamp", since_a_stamp(ground).await)?,
        told("nothing is changed tomorrow", since_tomorrow(ground).await)?,
        told("lists and single reads agree", same_by_id(ground).await)?,
        told("missing ids are left out", missing_ids(ground).await)?,
        told("versions are there", versions(ground).await)?,
    ])
}

/// The first records once more, on small pages, each page read by another instance than the one before.
async fn small_pages(ground: &Ground<'_>) -> Seen {
    let wanted: Vec<&NativeRecord> = ground.sample.iter().take(PAGED_MAX).collect();
    let limit = (wanted.len() / 3).min(7);
    if limit == 0 {
        return Err(few(ground));
    }
    let mut missing: BTreeSet<&RecordId> = wanted.iter().map(|record| &record.id).collect();
    let mut request = ground.request(None, limit);
    let (mut pages, mut rows) = (0, 0);
    for turn in 0..PAGES_MAX {
        let source = if turn % 2 == 0 {
            ground.source()
        } else {
            ground.other_source()
        };
        let page = ground.patiently(async || source.list(&request).await).await?;
        pages += 1;
        rows += page.records.len();
        ensure!(
            page.records.len() <= limit,
            "a page of {limit} records has {}",
            page.records.len()
        );
        for record in &page.records {
            missing.remove(&record.id);
        }
        let ended = page.next.is_none();
        request = ListRequest {
            after: page.next,
            ..request
        };
        if ended || missing.is_empty() {
            break;
        }
    }
    // People may have removed or touched some meanwhile; what is there as it was must have come.
    let ids: Vec<RecordId> = missing.into_iter().cloned().collect();
    let still = ground.fetch(&ids).await?;
    let lost = still
        .iter()
        .filter(|now| {
            wanted
                .iter()
                .any(|then| then.id == now.id && then.stamp == now.stamp)
        })
        .count();
    ensure!(
        lost == 0,
        "of the first {}, {lost} do not come on pages of {limit}: they fall into the edges of pages, or the order is not stable; sort the list by id",
        counted(wanted.len(), "record", "records")
    );
    Ok(format!(
        "the first {} come on {pages} pages of {limit} ({rows} rows), pages read by two instances in turn",
        counted(wanted.len(), "record", "records")
    ))
}

fn stamps(ground: &Ground<'_>) -> Seen {
    let stamps: Vec<i64> = ground
        .sample
        .iter()
        .filter_map(|record| Some(record.stamp?.0))
        .collect();
    let declared = &ground.capabilities;
    if ground.sample.is_empty() {
        return Err(few(ground));
    }
    if stamps.is_empty() {
        ensure!(
            !declared.incremental,
            "changes can be asked for, but no record has a stamp"
        );
        return Err(Stop::NotShown(
            "records have no stamps; every poll reads everything".to_owned(),
        ));
    }
    let latest = ground.now.plus(CLOCK_AHEAD_MAX).0;
    let ahead = stamps.iter().filter(|stamp| **stamp > latest).count();
    ensure!(
        ahead == 0,
        "{} changed in the future: the zone of the stamps is read wrong (stamp_utc_offset, stamp_zone)",
        counted(ahead, "record was", "records were")
    );
    let without = ground.sample.len() - stamps.len();
    let without = match without {
        0 => String::new(),
        some => format!(
            "; {some} of {} have none, and are only found by reading everything",
            ground.sample.len()
        ),
    };
    let distinct: BTreeSet<i64> = stamps.iter().copied().collect();
    // Two stamps have one unit in common by chance; five hardly ever.
    if distinct.len() < 5 {
        return Ok(format!("{} stamps, none in the future{without}", stamps.len()));
    }
    // By differences: a day of another zone begins at another hour.
    let first = stamps[0];
    let (unit, name) = UNITS
        .into_iter()
        .find(|(unit, _)| stamps.iter().all(|stamp| (stamp - first) % unit == 0))
        .unwrap_or(UNITS[UNITS.len() - 1]);
    let seen = Duration::from_micros(u64::try_from(unit).unwrap_or(1));
    ensure!(
        seen <= declared.cursor_granularity || seen <= declared.cursor_overlap,
        "stamps are {name}, but declared is a resolution of {:?}: changes would be missed (stamp_format, granularity_ms)",
        declared.cursor_granularity
    );
    Ok(format!(
        "{} stamps, {name}, none in the future{without}",
        stamps.len()
    ))
}

/// Since the stamp in the middle: it and all later ones come.
async fn since_a_stamp(ground: &Ground<'_>) -> Seen {
    incremental(ground)?;
    let mut stamps: Vec<Stamp> = ground.sample.iter().filter_map(|record| record.stamp).collect();
    stamps.sort_unstable();
    let Some(middle) = stamps.get(stamps.len() / 2).copied() else {
        return Err(few(ground));
    };
    let listed = ground.since(middle).await?;
    let is_listed = |record: &NativeRecord| listed.iter().any(|listed| listed.id == record.id);
    let due: Vec<&NativeRecord> = ground
        .sample
        .iter()
        .filter(|record| record.stamp.is_some_and(|stamp| stamp >= middle))
        .collect();
    let ids: Vec<RecordId> = due
        .iter()
        .filter(|record| !is_listed(record))
        .map(|record| record.id.clone())
        .collect();
    // Removed meanwhile: no change that a list could tell.
    let missing = ground.fetch(&ids).await?;
    let hint = if missing.iter().all(|record| record.stamp == Some(middle)) {
        ": the moment itself is left out (since.exclusive)"
    } else {
        ""
    };
    ensure!(
        missing.is_empty(),
        "{} of {} changed at or after a moment do not come in the list since then{hint}",
        missing.len(),
        counted(due.len(), "record", "records")
    );
    let grain = i64::try_from(ground.capabilities.cursor_granularity.as_micros()).unwrap_or(i64::MAX);
    let floor = Stamp(middle.0.saturating_sub(grain));
    let older = listed
        .iter()
        .filter(|record| record.stamp.is_some_and(|stamp| stamp < floor))
        .count();
    let older = match older {
        0 => ", and no older one".to_owned(),
        some => format!(", and {} as well", counted(some, "older one", "older ones")),
    };
    Ok(format!(
        "all {} come{older}",
        counted(due.len(), "record", "records")
    ))
}

async fn since_tomorrow(ground: &Ground<'_>) -> Seen {
    incremental(ground)?;
    if ground.sample.is_empty() {
        return Err(few(ground));
    }
    let request = ground.request(Some(Stamp::from(ground.now.plus(DAY + DAY))), 1);
    let listed = ground
        .patiently(async || ground.source().list(&request).await)
        .await;
    let Ok(page) = listed else {
        return Err(Stop::NotShown(
            "the system refuses a moment in the future".to_owned(),
        ));
    };
    ensure!(
        page.records.is_empty(),
        "asked for what is changed after tomorrow, it returns records: 'since' is ignored or read in another form, and every poll reads everything"
    );
    Ok("asked for what is changed after tomorrow, it returns nothing".to_owned())
}

/// A list that leaves fields out would make every record look edited.
async fn same_by_id(ground: &Ground<'_>) -> Seen {
    let listed: Vec<&NativeRecord> = ground.sample.iter().take(COMPARED_MAX).collect();
    if listed.is_empty() {
        return Err(few(ground));
    }
    let ids: Vec<RecordId> = listed.iter().map(|record| record.id.clone()).collect();
    let fetched = ground.fetch(&ids).await?;
    let mut differing = BTreeSet::new();
    let mut missing = 0;
    for record in &listed {
        match fetched.iter().find(|fetched| fetched.id == record.id) {
            None => missing += 1,
            // Edited between the two readings.
            Some(now)
                if now.stamp != record.stamp || now.version != record.version && record.version.is_some() =>
            {
                ensure!(
                    now.stamp.is_some() == record.stamp.is_some(),
                    "a record's stamp is in one of list and single read only"
                );
            }
            Some(now) => differing.extend(ground.differing(record, now)),
        }
    }
    ensure!(
        missing * 2 <= listed.len(),
        "of {} in the list, {missing} cannot be read by id",
        counted(listed.len(), "record", "records")
    );
    let differing: Vec<String> = differing.into_iter().collect();
    ensure!(
        differing.is_empty(),
        "a record in a list differs from the same record by itself in {}; if the list shows stubs, write stubs = true",
        differing.join(", ")
    );
    Ok(format!(
        "{} are the same in the list and by themselves",
        counted(fetched.len(), "record", "records")
    ))
}

async fn missing_ids(ground: &Ground<'_>) -> Seen {
    let Some(record) = ground.sample.first() else {
        return Err(few(ground));
    };
    let nobody = nobody(ground);
    let fetched = ground
        .source()
        .fetch(ground.entity(), std::slice::from_ref(&nobody))
        .await;
    let fetched = fetched.map_err(|error| {
        Stop::Broken(format!(
            "asked for an id that is not there, it fails ({}): see get.missing_status",
            error.message()
        ))
    })?;
    if !fetched.is_empty() {
        return Err(Stop::NotShown(
            "the id that should not be there is there".to_owned(),
        ));
    }
    let both = ground.fetch(&[nobody, record.id.clone()]).await?;
    ensure!(
        both.len() == 1,
        "a record is left out because another one is not there"
    );
    Ok("an id that is not there is left out, and its neighbour is not".to_owned())
}

/// An id of the same kind as the others that names nothing.
fn nobody(ground: &Ground<'_>) -> RecordId {
    let highest = ground
        .sample
        .iter()
        .filter_map(|record| record.id.as_str().parse::<i64>().ok())
        .max();
    if let Some(highest) = highest {
        // Servers that keep ids in 32 bits answer a greater one with a fault.
        let far = highest.saturating_add(1_000_003);
        let near = highest.saturating_add(1_003);
        return RecordId(if far < i64::from(i32::MAX) { far } else { near }.to_string());
    }
    let known = ground.sample.first().map_or("none", |record| record.id.as_str());
    // The last digits turned, within their own kind: a UUID stays a UUID.
    let turned = |(place, letter): (usize, char)| match letter {
        _ if known.chars().count() - place > 6 => letter,
        '0'..='9' => char::from(b'9' - (letter as u8 - b'0')),
        'a'..='f' => char::from(b'f' - (letter as u8 - b'a')),
        'A'..='F' => char::from(b'F' - (letter as u8 - b'A')),
        'g'..='z' => 'q',
        'G'..='Z' => 'Q',
        other => other,
    };
    RecordId(known.chars().enumerate().map(turned).collect())
}

async fn versions(ground: &Ground<'_>) -> Seen {
    if !ground.capabilities.compare_and_set {
        return Err(Stop::NotShown(
            "no compare-and-set is declared: there is an open window between our read and our write"
                .to_owned(),
        ));
    }
    let Some(record) = ground.sample.first() else {
        return Err(few(ground));
    };
    // A version in a header comes with a single record only.
    let fetched = ground.fetch(std::slice::from_ref(&record.id)).await?;
    ensure!(
        fetched.iter().all(|record| record.version.is_some()),
        "writes shall depend on a version, but a record read by itself has none (version, version_header)"
    );
    Ok("a record read by itself has a version".to_owned())
}

fn incremental(ground: &Ground<'_>) -> Result<(), Stop> {
    if ground.capabilities.incremental {
        Ok(())
    } else {
        let sentence = "changes cannot be asked for; every poll reads everything and compares";
        Err(Stop::NotShown(sentence.to_owned()))
    }
}

/// Too few records to see anything by.
fn few(ground: &Ground<'_>) -> Stop {
    let sentence = match ground.sample.len() {
        0 => "there are no records".to_owned(),
        some => format!("there are only {some} records"),
    };
    Stop::NotShown(sentence)
}
