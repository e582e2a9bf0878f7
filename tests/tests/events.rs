//! Events: what people do to tickets and accounts is told to a web service and to a command, once, in order, and not lost.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seamless_tests::{World, text};
use serde_json::{Value as Json, json};

/// What the receiver got.
#[derive(Clone, Debug)]
struct Call {
    key: String,
    path: String,
    body: Json,
}

/// A web service that notes what it is told.
struct Receiver {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    /// How it answers; 0 hangs up.
    status: Arc<Mutex<u16>>,
}

impl Receiver {
    fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback ports are there");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let status = Arc::new(Mutex::new(200));
        let (noted, answer) = (calls.clone(), status.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let status = *answer.lock().expect("no test panicked with it");
                // A client that goes away in the middle is no call.
                if let Some(call) = serve(stream, status)
                    && status == 200
                {
                    noted.lock().expect("no test panicked with it").push(call);
                }
            }
        });
        Receiver { url, calls, status }
    }

    fn answers(&self, status: u16) {
        *self.status.lock().expect("no test panicked with it") = status;
    }

    fn taken(&self) -> Vec<Call> {
        self.calls.lock().expect("no test panicked with it").clone()
    }

    /// The names of the events taken, for one record, in the order in which they came.
    fn names(&self, record: &Json) -> Vec<String> {
        let of_record = |call: &Call| call.body["record"] == *record;
        self.taken()
            .into_iter()
            .filter(of_record)
            .map(|call| text(call.body.get("event")).to_owned())
            .collect()
    }
}

fn serve(stream: TcpStream, status: u16) -> Option<Call> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    if status == 0 {
        return None;
    }
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = value.to_owned(),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut stream = stream;
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    stream.write_all(answer.as_bytes()).ok()?;
    Some(Call {
        key,
        path: first.split(' ').nth(1)?.to_owned(),
        body: serde_json::from_slice(&body).ok()?,
    })
}

/// A tenant whose tickets a web service wants to hear of.
fn world(seed: u64) -> (World, Receiver) {
    let world = World::of(90, seed);
    let receiver = Receiver::start();
    let manifest =
        "manifest = 1\n[system]\nname = \"Hook\"\n[events.\"*\"]\npath = \"/hooks/{entity}/{record}\"\n";
    fs::write(world.path("hook.toml"), manifest).expect("a manifest can be written");
    let more = format!(
        "[systems.hook]\nkind = \"rest\"\nmanifest = \"hook.toml\"\nendpoint = \"{}\"\nallow_private_network = true\n\n\
         [events.pager]\nto = \"hook\"\non = [\"ticket.status_changed\", \"ticket.completed\", \"account.deactivated\"]\n\n\
         [systems.crm]\n",
        receiver.url
    );
    world.configure("[systems.crm]\n", &more);
    world.good_run();
    assert!(receiver.taken().is_empty(), "what was there before is no event");
    (world, receiver)
}

/// Tickets of the CRM that are new, and linked.
fn new_tickets(world: &World) -> Vec<Json> {
    let tickets = world.linked("crm", "ticket");
    let is_new = |ticket: &Json| {
        matches!(
            text(ticket["fields"].get("status")),
            "new" | "waiting" | "scheduled"
        )
    };
    let found: Vec<Json> = tickets
        .into_iter()
        .filter(is_new)
        .map(|ticket| ticket["id"].clone())
        .collect();
    assert!(found.len() >= 3, "the seed has too few new tickets");
    found
}

fn set_status(world: &World, ticket: &Json, status: &str) {
    world.edit("crm", "ticket", ticket, json!({ "status": status }));
}

#[test]
fn a_change_is_told_once_in_order_and_what_we_write_ourselves_is_not() {
    let (world, receiver) = world(80);
    let ticket = new_tickets(&world)[0].clone();
    set_status(&world, &ticket, "open");
    world.good_run();
    set_status(&world, &ticket, "solved");
    world.good_run();
    world.good_run();
    let expected = [
        "ticket.status_changed",
        "ticket.status_changed",
        "ticket.completed",
    ];
    assert_eq!(receiver.names(&ticket), expected);
    let calls = receiver.taken();
    assert_eq!(
        calls.len(),
        3,
        "Autotask's ticket was changed by us, not by a person: {calls:#?}"
    );
    let last = &calls[2].body;
    assert_eq!(calls[2].path, format!("/hooks/ticket/{}", text(Some(&ticket))));
    assert_eq!(
        (&last["system"], &last["after"]),
        (&json!("crm"), &json!("complete"))
    );
    assert!(last["fields"]["title"].is_string(), "{last:#}");
    assert_eq!(calls[2].key, text(last.get("id")));

    // A person, in Autotask.
    let account = world.linked("autotask", "account")[0]["id"].clone();
    world.edit("autotask", "account", &account, json!({ "isActive": false }));
    world.good_run();
    let calls = receiver.taken();
    assert_eq!(calls.len(), 4, "{calls:#?}");
    assert_eq!(calls[3].body["event"], "account.deactivated");
    assert_eq!(calls[3].body["system"], "autotask");
}

#[test]
fn what_cannot_be_told_is_told_later_and_what_is_refused_can_be_replayed() {
    let (world, receiver) = world(81);
    let tickets = new_tickets(&world);
    let (one, two) = (&tickets[0], &tickets[1]);
    for status in [0, 503] {
        receiver.answers(status);
        set_status(&world, one, if status == 0 { "open" } else { "solved" });
        let ended = world.run_once();
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.said().contains("tell pager"), "{ended:?}");
    }
    assert!(receiver.taken().is_empty());
    receiver.answers(200);
    world.good_run();
    let names = receiver.names(one);
    assert_eq!(names.len(), 3, "{names:?}");
    let sequences: Vec<u64> = receiver
        .taken()
        .iter()
        .filter_map(|call| call.body["sequence"].as_u64())
        .collect();
    assert_eq!(sequences, [1, 2, 3], "in order");

    receiver.answers(422);
    set_status(&world, two, "open");
    let ended = world.run_once();
    assert_eq!(ended.code, 4, "a refused event is for a person: {ended:?}");
    let listed = world.seamless(&["dlq", "list", "--json"]);
    assert_eq!(listed.code, 4, "{listed:?}");
    let letters = listed.json();
    assert_eq!(letters[0]["queue"], "pager.events", "{letters:#}");
    assert_eq!(letters[0]["code"], "event_refused");
    let id = text(letters[0].get("id")).to_owned();
    let shown = world.seamless(&["dlq", "show", &id, "--json"]).json();
    assert_eq!(shown["content"]["event"], "ticket.status_changed", "{shown:#}");

    receiver.answers(200);
    set_status(&world, two, "solved");
    world.run_once();
    assert_eq!(
        receiver.names(two).len(),
        2,
        "later events do not wait for one that was refused"
    );
    let replayed = world.seamless(&["dlq", "replay", &id, "--json"]);
    assert_eq!(replayed.json()["replayed"], 1, "{replayed:?}");
    world.good_run();
    assert_eq!(receiver.names(two).len(), 3);
    assert_eq!(world.seamless(&["dlq", "list"]).code, 0);
    let nothing = world.seamless(&["dlq", "replay", &id]);
    assert_eq!(nothing.code, 3, "it is not there any more: {nothing:?}");
}

#[test]
fn kills_lose_no_event_and_repeat_one_under_its_id_only() {
    let (world, receiver) = world(82);
    let tickets = new_tickets(&world);
    let steps = ["open", "solved", "open", "solved", "open"];
    for (round, status) in steps.into_iter().enumerate() {
        for ticket in tickets.iter().take(3) {
            set_status(&world, ticket, status);
        }
        // From the first steps of a host to well within its work.
        let life = Duration::from_millis(300 + 350 * round as u64);
        world.start(&["run"]).kill_after(life);
        world.good_run();
    }
    for ticket in tickets.iter().take(3) {
        let mut ids: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut last = 0;
        for call in receiver
            .taken()
            .iter()
            .filter(|call| call.body["record"] == *ticket)
        {
            let sequence = call.body["sequence"].as_u64().expect("it is counted");
            assert!(sequence >= last, "in order");
            last = sequence;
            ids.entry(sequence).or_default().push(call.key.clone());
        }
        // Each step changes the status, two of them complete the ticket.
        assert_eq!(ids.len(), 7, "{ids:#?}");
        for keys in ids.values_mut() {
            keys.dedup();
            assert_eq!(keys.len(), 1, "one event, one id");
        }
    }
}

#[test]
fn a_command_is_told_on_its_standard_input() {
    let world = World::of(90, 83);
    let script = world.path("on-event");
    fs::write(
        &script,
        "#!/bin/sh\nenv > env.txt\ncat >> told.jsonl\nexit $(cat code.txt)\n",
    )
    .expect("a script can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("it can be made to run");
    fs::write(world.path("code.txt"), "0").expect("a file can be written");
    // Who subscribes later hears of the first change, too.
    world.good_run();
    world.configure(
        "[systems.crm]\n",
        "[events.script]\ncommand = [\"./on-event\"]\non = [\"ticket.completed\"]\n\n[systems.crm]\n",
    );
    world.good_run();
    let tickets = new_tickets(&world);
    set_status(&world, &tickets[0], "solved");
    let told = |world: &World| fs::read_to_string(world.path("told.jsonl")).unwrap_or_default();
    let ended = world.seamless_with(&[("A_SECRET", "hidden")], &["run", "--once", "--json"]);
    assert!(matches!(ended.code, 0 | 4), "{ended:?}");
    let line: Json = serde_json::from_str(told(&world).trim()).expect("one document");
    assert_eq!(line["event"], "ticket.completed");
    let environment = fs::read_to_string(world.path("env.txt")).expect("it ran");
    assert!(!environment.contains("hidden"), "{environment}");

    fs::write(world.path("code.txt"), "65").expect("a file can be written");
    set_status(&world, &tickets[1], "solved");
    assert_eq!(world.run_once().code, 4);
    assert_eq!(world.seamless(&["dlq", "list"]).code, 4);
    fs::write(world.path("code.txt"), "1").expect("a file can be written");
    set_status(&world, &tickets[2], "solved");
    assert_eq!(world.run_once().code, 3, "told again later");

    world.configure("on = [\"ticket.completed\"]", "on = [\"ticket.complete\"]");
    let checked = world.seamless(&["check", "--offline"]);
    assert_eq!(checked.code, 2);
    assert!(
        checked.said().contains("did you mean 'ticket.completed'"),
        "{checked:?}"
    );
}
