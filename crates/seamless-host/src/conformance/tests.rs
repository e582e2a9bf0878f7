//! Each case has a system that breaks exactly its promise, and is found out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use seamless_core::mapping::{FieldMapping, SideMapping};
use seamless_core::pipeline::{EntityModel, FieldSpec, MatchField, MatchRule, System};
use seamless_core::{
    EntityInfo, EntityName, Fields, ListRequest, Lookup, NativeRecord, OpenContext, Page, PageToken,
    PluginInfo, Reader, RecordId, Registry, Source, SourcePlugin, Target, TargetPlugin, Timestamp, Value,
    Write, WriteAction, Written, lookup,
};
use seamless_testkit::conformance::TestClock;

use super::*;

const CONFIG: &str = r#"
tenant = "t"
data_dir = "state"
[keys]
provider = "file"
path = "k.json"
[systems.a]
kind = "toy"
[systems.b]
kind = "toy"
[syncs.account]
between = ["a", "b"]
"#;

/// What the system does otherwise than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    SkipsAtEdges,
    SinceExclusive,
    SinceIgnored,
    StampsInFuture,
    StampsAreDays,
    StubsInLists,
    MissingIsAFault,
    NoVersions,
    FilterIgnored,
    SearchFindsNothing,
    TripsOverQuotes,
    AboveIgnored,
    SharedKeys,
    SecondKeyTaken,
    SearchLags,
    DropsFields,
    IgnoresUpdates,
    ClearsTheRest,
    StampStays,
    VersionIgnored,
    NewOnesUnlisted,
}

#[tokio::test]
async fn an_honest_system_keeps_everything() {
    let badge = badge(Lie::None).await;
    let odd: Vec<&Tried> = badge
        .cases
        .iter()
        .filter(|tried| tried.outcome != Outcome::Kept)
        .collect();
    assert!(odd.is_empty(), "{odd:#?}");
    assert_eq!((badge.records, badge.cases.len()), (12, 19));
    assert!(badge.left_behind.is_empty());
}

#[tokio::test]
async fn every_lie_is_found_out() {
    for (lie, case) in [
        (Lie::SkipsAtEdges, "pages lose nothing"),
        (Lie::SinceExclusive, "lists since a stamp"),
        (Lie::SinceIgnored, "nothing is changed tomorrow"),
        (Lie::StampsInFuture, "stamps tell the moment"),
        (Lie::StampsAreDays, "stamps tell the moment"),
        (Lie::StubsInLists, "lists and single reads agree"),
        (Lie::MissingIsAFault, "missing ids are left out"),
        (Lie::NoVersions, "versions are there"),
        (Lie::FilterIgnored, "search by name"),
        (Lie::SearchFindsNothing, "search by name"),
        (Lie::TripsOverQuotes, "signs in a search by name"),
        (Lie::AboveIgnored, "ids above another"),
        (Lie::SharedKeys, "the cross-reference is unique"),
        (Lie::SecondKeyTaken, "a key is taken once"),
        (Lie::SearchLags, "a create is found"),
        (Lie::DropsFields, "a create arrives"),
        (Lie::IgnoresUpdates, "an update changes what was sent"),
        (Lie::ClearsTheRest, "an update changes what was sent"),
        (Lie::StampStays, "an update changes what was sent"),
        (Lie::VersionIgnored, "an old version is refused"),
        (Lie::NewOnesUnlisted, "a create is listed"),
    ] {
        let badge = badge(lie).await;
        let broken: Vec<&str> = badge
            .cases
            .iter()
            .filter(|tried| tried.outcome == Outcome::Broken)
            .map(|tried| tried.case.as_str())
            .collect();
        assert!(broken.contains(&case), "{lie:?}: {broken:?}");
    }
}

#[test]
fn records_are_made_only_where_a_system_is_named() {
    let config = Config::parse(CONFIG, Path::new("tenant.toml")).unwrap();
    let probe = |system: Option<&str>, write| Probe {
        system: system.map(str::to_owned),
        write,
    };
    assert!(allow(&config, &probe(Some("a"), true)).is_ok());
    assert!(allow(&config, &probe(None, false)).is_ok());
    for (probe, sentence) in [
        (
            probe(None, true),
            "say in which system records may be made: --conformance a or b",
        ),
        (probe(Some("c"), false), "there is no system 'c'"),
    ] {
        let error = allow(&config, &probe).unwrap_err();
        assert!(error.message().starts_with(sentence), "{error}");
    }
}

async fn badge(lie: Lie) -> Badge {
    let clock = TestClock::new();
    clock.advance(std::time::Duration::from_secs(1_000));
    let config = Config::parse(CONFIG, Path::new("tenant.toml")).unwrap();
    let toy = Toy(Arc::new(Mutex::new(State::new(lie, clock.now()))), clock.clone());
    let model = EntityModel {
        name: "account".into(),
        fields: ["name", "city", "note"]
            .map(|name| (name.to_owned(), FieldSpec::default()))
            .into(),
        match_rules: vec![MatchRule {
            name: "name".to_owned(),
            fields: vec![MatchField {
                field: "name".to_owned(),
                normalise: Default::default(),
            }],
        }],
        identity: Vec::new(),
    };
    let plugins = Plugins {
        registry: Registry::default().connector(toy.clone()),
        models: vec![model],
        defaults: |_, _| None,
    };
    let plans = plan_syncs(&config, &plugins).unwrap();
    let instance = || System {
        source: Arc::new(toy.clone()),
        target: Arc::new(toy.clone()),
    };
    let ground = Ground::new(&plans[0], Side::A, [instance(), instance()], clock.clone());
    clock.drive(ground.badge(true)).await.unwrap()
}

#[derive(Clone)]
struct Toy(Arc<Mutex<State>>, Arc<TestClock>);

struct State {
    lie: Lie,
    rows: BTreeMap<i64, NativeRecord>,
    seeded: i64,
}

impl State {
    fn new(lie: Lie, now: Timestamp) -> State {
        let mut state = State {
            lie,
            rows: BTreeMap::new(),
            seeded: i64::MAX,
        };
        for number in 0..12 {
            let moment = match lie {
                Lie::StampsInFuture => now.plus(std::time::Duration::from_secs(7_200 + number)),
                Lie::StampsAreDays => Timestamp(number as i64 * 86_400_000_000),
                _ => now.minus(std::time::Duration::from_millis(12_345 - number * 7)),
            };
            let key = if lie == Lie::SharedKeys { 0 } else { number };
            let fields = [
                ("name", format!("Works {number}")),
                ("city", "Troy".to_owned()),
                ("note", "as it was".to_owned()),
                ("ref", format!("K{key}")),
            ];
            state.add(
                fields
                    .map(|(name, value)| (name.to_owned(), Value::Text(value)))
                    .into(),
                moment,
            );
        }
        state.seeded = 12;
        state
    }

    fn add(&mut self, fields: Fields, moment: Timestamp) -> RecordId {
        let number = self.rows.keys().last().copied().unwrap_or(0) + 1;
        let id = RecordId(number.to_string());
        let row = NativeRecord {
            id: id.clone(),
            stamp: Some(moment.into()),
            created: Some(moment.into()),
            version: (self.lie != Lie::NoVersions).then(|| "1".to_owned()),
            fields,
        };
        self.rows.insert(number, row);
        id
    }
}

impl Toy {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_one(&self, write: &Write) -> Result<Written> {
        let now = self.1.now();
        let mut state = self.state();
        let lie = state.lie;
        match &write.action {
            WriteAction::Create { fields } => {
                let taken = |row: &NativeRecord| row.fields.get("ref") == fields.get("ref");
                if lie != Lie::SecondKeyTaken && state.rows.values().any(taken) {
                    return Err(Error::invalid("taken"));
                }
                let mut fields = fields.clone();
                if lie == Lie::DropsFields {
                    fields.remove("ref");
                }
                Ok(Written {
                    id: state.add(fields, now),
                })
            }
            WriteAction::Update { current, fields } => {
                let Some(row) = state.rows.get_mut(&number(&current.id)) else {
                    return Err(Error::new(ErrorKind::NotFound, "gone"));
                };
                if lie != Lie::VersionIgnored && row.version != current.version {
                    return Err(Error::conflict("changed"));
                }
                if lie == Lie::IgnoresUpdates {
                    return Ok(Written { id: row.id.clone() });
                }
                if lie == Lie::ClearsTheRest {
                    row.fields.insert("name".to_owned(), Value::Null);
                }
                row.fields.extend(fields.clone());
                row.version = row.version.as_ref().map(|version| format!("{version}1"));
                if lie != Lie::StampStays {
                    row.stamp = Some(now.into());
                }
                Ok(Written { id: row.id.clone() })
            }
            WriteAction::Delete { id } => {
                state.rows.remove(&number(id));
                Ok(Written { id: id.clone() })
            }
        }
    }
}

fn number(id: &RecordId) -> i64 {
    id.as_str().parse().unwrap_or(-1)
}

#[async_trait]
impl Reader for Toy {
    fn capabilities(&self, _: &str) -> Capabilities {
        Capabilities {
            incremental: true,
            cursor_granularity: std::time::Duration::from_millis(1),
            external_key: ExternalKey::Unique,
            compare_and_set: true,
            ascending_ids: true,
            find_batch_max: 4,
            search_lag_max: std::time::Duration::from_secs(5),
            ..Capabilities::default()
        }
    }

    async fn describe(&self, _: &str) -> Result<EntityInfo> {
        Ok(EntityInfo::default())
    }

    async fn fetch(&self, _: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let state = self.state();
        let found: Vec<NativeRecord> = ids
            .iter()
            .filter_map(|id| state.rows.get(&number(id)).cloned())
            .collect();
        if state.lie == Lie::MissingIsAFault && found.len() < ids.len() {
            return Err(Error::unavailable("500"));
        }
        Ok(found)
    }

    async fn find(&self, _: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let state = self.state();
        let find = |asked: &Lookup| match asked {
            Lookup::AboveId(floor) => {
                let floor = if state.lie == Lie::AboveIgnored {
                    0
                } else {
                    number(floor)
                };
                Ok(state
                    .rows
                    .range(floor + 1..)
                    .map(|(_, row)| row.clone())
                    .collect())
            }
            Lookup::Field { value, .. }
                if state.lie == Lie::TripsOverQuotes
                    && value.as_text().is_some_and(|text| text.contains('"')) =>
            {
                Err(Error::protocol("not readable"))
            }
            Lookup::Field { field, value } => {
                let hidden = |row: &NativeRecord| match state.lie {
                    Lie::SearchLags => number(&row.id) > state.seeded,
                    Lie::SearchFindsNothing => true,
                    _ => false,
                };
                let same = |row: &NativeRecord| {
                    let held = lookup(&row.fields, field)
                        .and_then(Value::to_plain)
                        .unwrap_or_default();
                    held.eq_ignore_ascii_case(&value.to_plain().unwrap_or_default())
                };
                let found = state.rows.values().filter(|row| !hidden(row));
                Ok(found
                    .filter(|row| state.lie == Lie::FilterIgnored || same(row))
                    .cloned()
                    .collect())
            }
        };
        lookups.iter().map(find).collect()
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Source for Toy {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let state = self.state();
        let behind = request
            .after
            .as_ref()
            .map_or(0, |token| token.0.parse().unwrap_or(0));
        let due = |row: &&NativeRecord| match (request.since, state.lie) {
            (None, _) | (_, Lie::SinceIgnored) => true,
            (Some(_), Lie::NewOnesUnlisted) if number(&row.id) > state.seeded => false,
            (Some(since), Lie::SinceExclusive) => row.stamp > Some(since),
            (Some(since), _) => row.stamp >= Some(since),
        };
        let rows = state.rows.range(behind + 1..).map(|(_, row)| row).filter(due);
        let mut records: Vec<NativeRecord> = rows.take(request.limit + 1).cloned().collect();
        let more = records.len() > request.limit;
        records.truncate(request.limit);
        let last = records.last().map_or(0, |row| number(&row.id));
        let last = if state.lie == Lie::SkipsAtEdges {
            last + 1
        } else {
            last
        };
        if state.lie == Lie::StubsInLists {
            records.iter_mut().for_each(|row| drop(row.fields.remove("note")));
        }
        Ok(Page {
            records,
            next: more.then(|| PageToken(last.to_string())),
            server_time: None,
        })
    }
}

#[async_trait]
impl Target for Toy {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        writes.iter().map(|write| self.write_one(write)).collect()
    }
}

#[async_trait]
impl SourcePlugin for Toy {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            kind: "toy",
            summary: "a system that may lie",
        }
    }

    fn validate(&self, _: &serde_json::Value) -> Result<()> {
        Ok(())
    }

    fn default_mapping(&self, _: &serde_json::Value, _: &EntityName) -> Result<Option<SideMapping>> {
        let fields = [
            ("name", FieldMapping::text("name").required()),
            ("city", FieldMapping::text("city")),
            ("note", FieldMapping::text("note")),
        ];
        Ok(Some(SideMapping {
            entity: "accounts".to_owned(),
            xref: Some("ref".to_owned()),
            fields: fields.map(|(name, field)| (name.to_owned(), field)).into(),
        }))
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl TargetPlugin for Toy {
    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Target>> {
        Ok(Arc::new(self.clone()))
    }
}
