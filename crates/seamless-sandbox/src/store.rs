//! Records of one entity in one system: compact rows, indexes, and what queries are allowed to see yet.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::schema::Schema;
use crate::value::Value;

static NULL: Value = Value::Null;

/// One record: only the fields that hold something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rec {
    pub(crate) id: i64,
    vals: Vec<(u16, Value)>,
    /// Created by an API call (not seeded, not by a person).
    pub(crate) api_created: bool,
    /// Sequence number of the event that created it; 0 for seeded records.
    pub(crate) created_seq: u64,
    /// Sequence number of the event that set the present cross-reference; 0 if seeded or none.
    pub(crate) xref_seq: u64,
    /// The cross-reference was part of the API create.
    pub(crate) copy: bool,
}

impl Rec {
    pub(crate) fn new(id: i64) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, field: u16) -> &Value {
        self.vals
            .binary_search_by_key(&field, |(f, _)| *f)
            .map_or(&NULL, |i| &self.vals[i].1)
    }

    /// Sets a value and gives back the old one.
    pub(crate) fn set(&mut self, field: u16, value: Value) -> Value {
        match (
            self.vals.binary_search_by_key(&field, |(f, _)| *f),
            value.is_null(),
        ) {
            (Ok(i), true) => self.vals.remove(i).1,
            (Ok(i), false) => std::mem::replace(&mut self.vals[i].1, value),
            (Err(_), true) => Value::Null,
            (Err(i), false) => {
                self.vals.insert(i, (field, value));
                Value::Null
            }
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = (u16, &Value)> {
        self.vals.iter().map(|(f, v)| (*f, v))
    }
}

/// An index key: text is compared without case, as both servers do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Int(i64),
    Text(String),
}

impl Key {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Int(n) => Some(Self::Int(*n)),
            Value::Text(s) if !s.is_empty() => Some(Self::Text(s.to_lowercase())),
            _ => None,
        }
    }
}

/// What queries see instead of the stored record, until a time.
#[derive(Debug)]
enum Veil {
    /// Not there yet.
    Hidden,
    /// One field still has its old value.
    Field(u16, Value),
    /// The whole record as it was.
    Before(Box<Rec>),
}

/// All records of one entity in one system.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) schema: Schema,
    rows: BTreeMap<i64, Rec>,
    next_id: i64,
    keys: HashMap<u16, HashMap<Key, Vec<i64>>>,
    stamps: HashMap<u16, BTreeSet<(i64, i64)>>,
    veils: HashMap<i64, (i64, Veil)>,
}

impl Table {
    /// `keyed` fields get an index for equality, `stamped` ones for ranges.
    pub(crate) fn new(schema: Schema, first_id: i64, keyed: &[&str], stamped: &[&str]) -> Self {
        let mut keys: HashMap<u16, HashMap<Key, Vec<i64>>> = keyed
            .iter()
            .filter_map(|n| schema.find(n))
            .map(|f| (f, HashMap::new()))
            .collect();
        if let Some(xref) = schema.xref {
            keys.insert(xref, HashMap::new());
        }
        let stamps = stamped
            .iter()
            .filter_map(|n| schema.find(n))
            .map(|f| (f, BTreeSet::new()))
            .collect();
        Self {
            schema,
            rows: BTreeMap::new(),
            next_id: first_id,
            keys,
            stamps,
            veils: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn take_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(crate) fn get(&self, id: i64) -> Option<&Rec> {
        self.rows.get(&id)
    }

    pub(crate) fn meta(&mut self, id: i64) -> Option<&mut Rec> {
        self.rows.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rec> {
        self.rows.values()
    }

    pub(crate) fn from(&self, first: i64) -> impl Iterator<Item = &Rec> {
        self.rows.range(first..).map(|(_, r)| r)
    }

    pub(crate) fn insert(&mut self, rec: Rec) {
        for (field, value) in rec.values() {
            index_add(&mut self.keys, &mut self.stamps, field, value, rec.id);
        }
        self.next_id = self.next_id.max(rec.id + 1);
        self.rows.insert(rec.id, rec);
    }

    pub(crate) fn remove(&mut self, id: i64) -> Option<Rec> {
        let rec = self.rows.remove(&id)?;
        for (field, value) in rec.values() {
            index_remove(&mut self.keys, &mut self.stamps, field, value, id);
        }
        self.veils.remove(&id);
        Some(rec)
    }

    /// Sets one field; the old value comes back (null for a missing record).
    pub(crate) fn set(&mut self, id: i64, field: u16, value: Value) -> Value {
        let Some(rec) = self.rows.get_mut(&id) else {
            return Value::Null;
        };
        let old = rec.set(field, value.clone());
        index_remove(&mut self.keys, &mut self.stamps, field, &old, id);
        index_add(&mut self.keys, &mut self.stamps, field, &value, id);
        old
    }

    pub(crate) fn is_keyed(&self, field: u16) -> bool {
        self.keys.contains_key(&field)
    }

    /// Ids whose stored value has this key, in no particular order. Only for keyed fields.
    pub(crate) fn by_key(&self, field: u16, value: &Value) -> &[i64] {
        let key = Key::of(value);
        key.and_then(|k| self.keys.get(&field)?.get(&k))
            .map_or(&[], Vec::as_slice)
    }

    /// The ordered (stamp, id) index of a field, if there is one.
    pub(crate) fn stamps(&self, field: u16) -> Option<&BTreeSet<(i64, i64)>> {
        self.stamps.get(&field)
    }

    // --- what queries see ---

    /// A fresh record stays unfound by queries until `until`.
    pub(crate) fn hide(&mut self, id: i64, until: i64) {
        self.veils.insert(id, (until, Veil::Hidden));
    }

    /// Queries keep seeing the old value of one field until `until`.
    pub(crate) fn veil_field(&mut self, id: i64, field: u16, old: Value, until: i64) {
        self.veils.entry(id).or_insert((until, Veil::Field(field, old)));
    }

    /// Queries keep seeing the record as it was until `until`.
    pub(crate) fn veil_record(&mut self, before: Rec, until: i64) {
        self.veils
            .entry(before.id)
            .or_insert((until, Veil::Before(Box::new(before))));
    }

    /// A later write by an API makes a late edit visible with it.
    pub(crate) fn flush_late(&mut self, id: i64) {
        if matches!(self.veils.get(&id), Some((_, Veil::Before(_)))) {
            self.veils.remove(&id);
        }
    }

    /// Forgets veils whose time is over.
    pub(crate) fn lift_veils(&mut self, now: i64) {
        if !self.veils.is_empty() {
            self.veils.retain(|_, (until, _)| *until > now);
        }
    }

    /// Ids a query has to look at besides those its index names.
    pub(crate) fn veiled(&self) -> impl Iterator<Item = i64> {
        self.veils.keys().copied()
    }

    /// Whether a late edit of this record is still invisible to listings.
    pub(crate) fn is_late(&self, id: i64) -> bool {
        matches!(self.veils.get(&id), Some((_, Veil::Before(_))))
    }

    /// The record as a query sees it now.
    pub(crate) fn view<'a>(&'a self, rec: &'a Rec) -> Option<Cow<'a, Rec>> {
        match self.veils.get(&rec.id) {
            None => Some(Cow::Borrowed(rec)),
            Some((_, Veil::Hidden)) => None,
            Some((_, Veil::Field(field, old))) => {
                let mut seen = rec.clone();
                seen.set(*field, old.clone());
                Some(Cow::Owned(seen))
            }
            Some((_, Veil::Before(before))) => Some(Cow::Borrowed(before)),
        }
    }
}

type Keys = HashMap<u16, HashMap<Key, Vec<i64>>>;
type Stamps = HashMap<u16, BTreeSet<(i64, i64)>>;

fn index_add(keys: &mut Keys, stamps: &mut Stamps, field: u16, value: &Value, id: i64) {
    if let Some(index) = keys.get_mut(&field) {
        if let Some(key) = Key::of(value) {
            index.entry(key).or_default().push(id);
        }
    } else if let (Some(index), Some(t)) = (stamps.get_mut(&field), value.as_time()) {
        index.insert((t, id));
    }
}

fn index_remove(keys: &mut Keys, stamps: &mut Stamps, field: u16, value: &Value, id: i64) {
    if let Some(index) = keys.get_mut(&field) {
        let Some(key) = Key::of(value) else { return };
        if let Some(ids) = index.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                index.remove(&key);
            }
        }
    } else if let (Some(index), Some(t)) = (stamps.get_mut(&field), value.as_time()) {
        index.remove(&(t, id));
    }
}
