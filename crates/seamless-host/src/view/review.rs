//! What waits for a person, with the records in question side by side. Shows record content.

use std::collections::{BTreeMap, BTreeSet};

use seamless_core::Result;
use seamless_core::mapping::Observed;
use seamless_core::pipeline::{Engine, RecordKey, Review};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::plain_text;
use crate::books::Books;

/// A question to a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReviewView {
    /// The sync.
    pub sync: String,
    /// The record, as `system:id`.
    pub record: String,
    /// Why, as a stable code (`conflict` where both sides changed a field).
    pub reason: String,
    /// Why, and what to do.
    pub sentence: String,
    /// The record first, then those to choose from (or its counterpart).
    pub looks: Vec<Look>,
    /// Fields whose value a person has to choose.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub asked: BTreeSet<String>,
}

/// A record as it is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Look {
    /// The record, as `system:id`.
    pub record: String,
    /// It is linked to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_to: Option<String>,
    /// Its fields; none when it is gone.
    pub fields: Option<Vec<FieldOf>>,
}

/// A field of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FieldOf {
    /// Canonical name.
    pub field: String,
    /// What it holds.
    pub value: Json,
    /// Whether the first record holds something else.
    pub differs: bool,
}

impl Books {
    pub(crate) async fn reviews(&self, engine: &Engine, max: usize) -> Result<Vec<ReviewView>> {
        let reviews = engine.reviews(max).await?;
        let mut wanted: BTreeSet<RecordKey> = BTreeSet::new();
        for review in &reviews {
            wanted.extend(records_of(review));
        }
        let wanted: Vec<RecordKey> = wanted.into_iter().collect();
        let found = engine.look_at(&wanted).await?;
        let mut views = Vec::with_capacity(reviews.len());
        for review in &reviews {
            views.push(self.review(review, &found).await?);
        }
        Ok(views)
    }

    async fn review(&self, review: &Review, found: &BTreeMap<RecordKey, Observed>) -> Result<ReviewView> {
        let first = found.get(&review.record);
        let mut looks = Vec::new();
        for record in records_of(review) {
            let linked_to = match review.other {
                Some(_) => None,
                None => self.linked_to(&record).await?,
            };
            looks.push(Look {
                record: self.shown(&record),
                linked_to,
                fields: found.get(&record).map(|seen| fields_of(seen, first)),
            });
        }
        let (reason, sentence) = match &review.parked {
            Some(parked) => (parked.reason.code(), plain_text(&parked.sentence)),
            None => {
                let fields: Vec<&str> = review.asked.iter().map(String::as_str).collect();
                let sentence = format!(
                    "both sides changed {}: say whose value stands with `seamless review take`",
                    fields.join(", ")
                );
                ("conflict".to_owned(), sentence)
            }
        };
        Ok(ReviewView {
            sync: review.record.sync.to_string(),
            record: self.shown(&review.record),
            reason,
            sentence,
            looks,
            asked: review.asked.clone(),
        })
    }
}

fn records_of(review: &Review) -> Vec<RecordKey> {
    let other = review
        .other
        .iter()
        .map(|other| RecordKey::new(&review.record.sync, review.record.side.other(), other));
    let candidates = review.parked.iter().flat_map(|parked| parked.candidates.clone());
    std::iter::once(review.record.clone())
        .chain(other)
        .chain(candidates)
        .collect()
}

fn fields_of(seen: &Observed, first: Option<&Observed>) -> Vec<FieldOf> {
    let fields = seen.fields.iter();
    fields
        .map(|(name, value)| FieldOf {
            field: name.clone(),
            value: value.to_json(),
            differs: first.and_then(|first| first.fields.get(name)) != Some(value),
        })
        .collect()
}
