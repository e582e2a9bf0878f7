//! Whole syncs with a server that misbehaves: whatever it does, nothing is lost, nothing is doubled, and when it behaves again, both
//! systems agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use seamless_core::Registry;
use seamless_core::pipeline::{EntityModel, FieldSpec, MatchField, MatchRule};
use seamless_host::{Config, Host, Plugins, RunMode, RunOptions, Silent};
use seamless_rest::Rest;
use serde_json::{Value as Json, json};

use crate::support::{Reply, Seen, Server, empty, ok, status};

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trap {
    None,
    /// A search returns everything.
    IgnoresFilter,
    /// Writes are answered with 200 and the word that they were refused; nobody told the manifest.
    RefusesWith200,
    /// The next page is the same page.
    EndlessNext,
    /// The next page is on another host.
    ForeignNext,
    /// Behind the last page there is no page.
    MissingPastTheEnd,
    /// Updates are answered with nothing.
    AnswersNothing,
    /// Unknown fields are dropped without a word.
    DropsCity,
    /// Stamps are dates.
    StampsAreDays,
    /// The list is sorted by the latest change, so that rows move while it is read.
    PagesShift,
    /// A list that is asked for changes returns everything.
    IgnoresSince,
}

/// A small CRM.
struct Crm {
    trap: Trap,
    rows: BTreeMap<u32, Json>,
    writes: usize,
    creates: usize,
    url: String,
}

impl Crm {
    fn of(names: std::ops::Range<u32>, phone: &str) -> Arc<Mutex<Crm>> {
        let row = |number: u32| {
            let name = format!("Works {number}");
            let at = "2026-01-01T00:00:00Z";
            (
                number + 100,
                json!({ "id": number + 100, "name": name, "phone": phone, "city": "", "ref": "", "at": at }),
            )
        };
        Arc::new(Mutex::new(Crm {
            trap: Trap::None,
            rows: names.map(row).collect(),
            writes: 0,
            creates: 0,
            url: String::new(),
        }))
    }

    fn answer(&mut self, seen: &Seen) -> Reply {
        let id: Option<u32> = seen
            .path
            .strip_prefix("/accounts/")
            .and_then(|id| id.parse().ok());
        match (seen.method.as_str(), id) {
            ("GET", Some(id)) => match self.rows.get(&id) {
                Some(row) => ok(self.shown(row)),
                None => status(404, json!({})),
            },
            ("GET", None) => self.list(seen),
            (method, id) => {
                self.writes += 1;
                self.creates += usize::from(id.is_none());
                if self.trap == Trap::RefusesWith200 {
                    return ok(json!({ "success": false, "error": "name is reserved" }));
                }
                let id = match (method, id) {
                    ("PATCH", Some(id)) => id,
                    _ => self.rows.keys().last().map_or(1, |last| last + 1),
                };
                let mut row = self
                    .rows
                    .remove(&id)
                    .unwrap_or_else(|| json!({ "id": id, "name": "", "phone": "", "city": "", "ref": "" }));
                for (name, value) in seen.json().as_object().unwrap() {
                    if !(self.trap == Trap::DropsCity && name == "city") {
                        row[name] = value.clone();
                    }
                }
                row["at"] = now();
                self.rows.insert(id, row.clone());
                match self.trap {
                    Trap::AnswersNothing if method == "PATCH" => empty(204),
                    _ => ok(self.shown(&row)),
                }
            }
        }
    }

    fn shown(&self, row: &Json) -> Json {
        let mut row = row.clone();
        if self.trap == Trap::StampsAreDays {
            row["at"] = row["at"].as_str().unwrap()[..10].into();
        }
        row
    }

    fn list(&self, seen: &Seen) -> Reply {
        let mut rows: Vec<&Json> = self.rows.values().collect();
        if let Some(since) = seen.param("since").filter(|_| self.trap != Trap::IgnoresSince) {
            let shown = |row: &Json| self.shown(row)["at"].as_str().unwrap().to_owned();
            rows.retain(|row| *shown(row) >= *since);
        }
        for field in ["name", "ref"] {
            if let Some(wanted) = seen.param(field).filter(|_| self.trap != Trap::IgnoresFilter) {
                rows.retain(|row| row[field] == wanted);
            }
        }
        if self.trap == Trap::PagesShift {
            rows.sort_by_key(|row| std::cmp::Reverse(row["at"].as_str().unwrap().to_owned()));
        }
        let page: usize = seen.param("page").map_or(1, |page| page.parse().unwrap());
        if self.trap == Trap::MissingPastTheEnd && page > 1 && (page - 1) * PAGE >= rows.len() {
            return status(404, json!({ "error": "no such page" }));
        }
        let more = rows.len() > page * PAGE;
        let rows: Vec<Json> = rows
            .into_iter()
            .skip((page - 1) * PAGE)
            .take(PAGE)
            .map(|row| self.shown(row))
            .collect();
        let next = match self.trap {
            Trap::EndlessNext => Some(format!("{}/accounts?page={page}", self.url)),
            Trap::ForeignNext => Some(format!("https://elsewhere.example/accounts?page={}", page + 1)),
            _ if more => Some(format!("{}/accounts?{}", self.url, next_query(seen, page + 1))),
            _ => None,
        };
        ok(json!({ "data": rows, "next": next }))
    }

    /// A person changes a field.
    fn edit(&mut self, name: &str, field: &str, value: &str) {
        let row = self.rows.values_mut().find(|row| row["name"] == name).unwrap();
        row[field] = value.into();
        row["at"] = now();
    }

    fn column(&self, field: &str) -> BTreeMap<String, String> {
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        self.rows
            .values()
            .map(|row| (text(&row["name"]), text(&row[field])))
            .collect()
    }
}

fn next_query(seen: &Seen, page: usize) -> String {
    let kept = seen.query.iter().filter(|(name, _)| name != "page");
    let kept = kept.map(|(name, value)| format!("{name}={}", value.replace(' ', "%20").replace('+', "%2B")));
    kept.chain([format!("page={page}")]).collect::<Vec<_>>().join("&")
}

fn now() -> Json {
    jiff::Timestamp::now().to_string().into()
}

const PAGE: usize = 5;

fn manifest(trap: Trap) -> String {
    let page = match trap {
        Trap::EndlessNext | Trap::ForeignNext => "{ kind = 'next_url', next = 'next' }",
        _ => "{ kind = 'page', query = 'page', size_query = 'size' }",
    };
    let form = if trap == Trap::StampsAreDays {
        "date"
    } else {
        "rfc3339"
    };
    format!(
        "manifest = 1\n[system]\nname = 'small'\n[limits]\npage_size = {PAGE}\n\
         [capabilities]\nexternal_key = 'searchable'\nsettle_after_secs = 0\nsearch_lag_secs = 0\n\
         [entities.accounts]\nmodified = 'at'\nstamp_format = '{form}'\nnull_as = ''\n\
         get = {{ path = '/accounts/{{id}}' }}\ncreate = {{ path = '/accounts' }}\nupdate = {{ path = '/accounts/{{id}}' }}\n\
         list = {{ path = '/accounts', items = 'data', since = {{ query = 'since' }}, page = {page} }}\n\
         find = {{ path = '/accounts', items = 'data', query = {{ '{{field}}' = '{{value}}' }}, page = {page} }}\n\
         [entities.accounts.map.account]\nxref = 'ref'\n\
         fields = {{ name = {{ native = 'name', required = true }}, phone = 'phone', city = 'city' }}\n"
    )
}

struct World {
    left: Arc<Mutex<Crm>>,
    right: Arc<Mutex<Crm>>,
    _servers: [Server; 2],
    config: String,
    folder: tempfile::TempDir,
}

impl World {
    /// Two systems of twelve accounts, six of them in both; the right one has the trap.
    async fn new(trap: Trap) -> World {
        let (left, right) = (Crm::of(0..12, "111"), Crm::of(6..18, "111"));
        let mut servers = Vec::new();
        for crm in [&left, &right] {
            let answering = crm.clone();
            let server = Server::start(move |seen| answering.lock().unwrap().answer(seen)).await;
            crm.lock().unwrap().url = server.url.clone();
            servers.push(server);
        }
        right.lock().unwrap().trap = trap;
        let folder = tempfile::tempdir().unwrap();
        seamless_host::keys::generate(&folder.path().join("keys.json")).unwrap();
        let system = |name: &str, server: &Server, trap| {
            std::fs::write(folder.path().join(format!("{name}.toml")), manifest(trap)).unwrap();
            format!(
                "[systems.{name}]\nkind = 'rest'\nmanifest = '{name}.toml'\nendpoint = '{}'\nallow_private_network = true\ntimeout_secs = 5\n",
                server.url
            )
        };
        let config = format!(
            "tenant = 't'\ndata_dir = 'data'\n[keys]\nprovider = 'file'\npath = 'keys.json'\n{}{}[syncs.account]\nbetween = ['left', 'right']\n[run]\npatience_secs = 1\n[timings]\nsend_within_ms = 1000\n",
            system("left", &servers[0], Trap::None),
            system("right", &servers[1], trap)
        );
        let servers: [Server; 2] = servers.try_into().ok().unwrap();
        World {
            left,
            right,
            _servers: servers,
            config,
            folder,
        }
    }

    /// Until nothing is left to do, or the host gives up.
    async fn run(&self) -> Option<String> {
        let model = EntityModel {
            name: "account".into(),
            fields: ["name", "phone", "city"]
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
            registry: Registry::default().connector(Rest),
            models: vec![model],
            defaults: |_, _| None,
        };
        let config = Config::parse(&self.config, &self.folder.path().join("tenant.toml")).unwrap();
        let host = Host::open(config, plugins).await.unwrap();
        let options = RunOptions {
            mode: RunMode::Once,
            accept_first_merge: true,
        };
        let ended = host.run(options, &Silent, std::future::pending()).await;
        ended.err().map(|error| error.to_string())
    }

    fn writes(&self) -> usize {
        self.left.lock().unwrap().writes + self.right.lock().unwrap().writes
    }

    fn nothing_is_doubled_or_lost(&self, when: &str) {
        for (crm, own) in [(&self.left, 0..12), (&self.right, 6..18)] {
            let crm = crm.lock().unwrap();
            let names: Vec<&Json> = crm.rows.values().map(|row| &row["name"]).collect();
            let distinct: BTreeSet<String> = names.iter().map(|name| name.to_string()).collect();
            assert_eq!(names.len(), distinct.len(), "{when}: doubled: {names:?}");
            for number in own {
                assert!(crm.rows.contains_key(&(number + 100)), "{when}: {number} is gone");
            }
        }
    }

    async fn rests(&self, trap: Trap) {
        let writes = self.writes();
        assert_eq!(self.run().await, None, "{trap:?}");
        assert_eq!(self.writes(), writes, "{trap:?}: the last run has nothing to do");
    }

    fn agree(&self, fields: &[&str], when: &str) {
        let (left, right) = (self.left.lock().unwrap(), self.right.lock().unwrap());
        assert_eq!(left.rows.len(), 18, "{when}");
        for field in fields {
            assert_eq!(left.column(field), right.column(field), "{when}: {field}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_that_heal_leave_nothing_behind() {
    let traps = [
        (Trap::None, false),
        (Trap::IgnoresFilter, true),
        (Trap::RefusesWith200, false),
        (Trap::EndlessNext, true),
        (Trap::ForeignNext, true),
    ];
    join_all(traps.map(|(trap, stops)| heals(trap, stops))).await;
}

async fn heals(trap: Trap, stops: bool) {
    let world = World::new(trap).await;
    let within = std::time::Duration::from_secs(60);
    let ended = tokio::time::timeout(within, world.run()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{trap:?}: there is no end"));
    world.nothing_is_doubled_or_lost(&format!("{trap:?}, first"));
    if stops {
        assert!(ended.is_some(), "{trap:?} is told");
        let rows = world.left.lock().unwrap().rows.len() + world.right.lock().unwrap().rows.len();
        assert_eq!(rows, 24, "{trap:?}: nobody guesses");
    } else {
        assert_eq!(ended, None, "{trap:?} keeps nothing else from ending");
    }
    let creates = || world.right.lock().unwrap().creates;
    if trap == Trap::RefusesWith200 {
        assert_eq!(
            creates(),
            18,
            "six that are said yes to and not made, three times each"
        );
    }
    world.left.lock().unwrap().edit("Works 7", "phone", "222");
    world.right.lock().unwrap().edit("Works 8", "city", "Troy");
    world.run().await;
    if trap == Trap::RefusesWith200 {
        assert_eq!(creates(), 24, "once more each at a start");
    }
    world.nothing_is_doubled_or_lost(&format!("{trap:?}, edited"));
    world.right.lock().unwrap().trap = Trap::None;
    // A change that was confirmed and not made waits alone, until somebody touches the record (or a running host looks again).
    world.left.lock().unwrap().edit("Works 7", "city", "Utica");
    for _ in 0..3 {
        world.run().await;
    }
    world.nothing_is_doubled_or_lost(&format!("{trap:?}, healed"));
    world.agree(&["name", "phone", "city"], &format!("{trap:?}"));
    let (left, right) = (
        world.left.lock().unwrap().column("city"),
        world.right.lock().unwrap().column("phone"),
    );
    assert_eq!(
        (left["Works 8"].as_str(), right["Works 7"].as_str()),
        ("Troy", "222"),
        "{trap:?}"
    );
    world.rests(trap).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_that_stay_do_no_harm() {
    let traps = [
        Trap::MissingPastTheEnd,
        Trap::AnswersNothing,
        Trap::DropsCity,
        Trap::StampsAreDays,
        Trap::PagesShift,
        Trap::IgnoresSince,
    ];
    join_all(traps.map(stays)).await;
}

async fn stays(trap: Trap) {
    let world = World::new(trap).await;
    world.left.lock().unwrap().edit("Works 3", "city", "Albany");
    assert_eq!(world.run().await, None, "{trap:?}");
    world.nothing_is_doubled_or_lost(&format!("{trap:?}, first"));
    // Twice on one day, on either side.
    for value in ["222", "333"] {
        world.left.lock().unwrap().edit("Works 7", "phone", value);
        world.right.lock().unwrap().edit("Works 8", "phone", value);
        assert_eq!(world.run().await, None, "{trap:?}");
    }
    world.agree(&["name", "phone"], &format!("{trap:?}"));
    let left = world.left.lock().unwrap().column("city");
    assert_eq!(
        left["Works 3"], "Albany",
        "{trap:?}: what the other side does not keep is not taken back here"
    );
    let right = world.right.lock().unwrap().column("phone");
    assert_eq!(
        (right["Works 7"].as_str(), right["Works 8"].as_str()),
        ("333", "333"),
        "{trap:?}"
    );
    world.rests(trap).await;
}
