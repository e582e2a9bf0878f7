//! The two systems without sockets, on a clock that somebody else moves: for a simulator.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::watch;

use crate::System;
use crate::call::{Arrived, Landing, Outcome};
use crate::clock::Clock;
use crate::config::Config;
use crate::faults::Faults;
use crate::server::App;
use crate::truth::Rules;
use crate::value::http_date;
use crate::wire::Req;
use crate::world::World;

const PORTS: [u16; 3] = [1, 2, 3];

/// A sandbox without a network. Nothing in it waits, and nothing goes by the machine's clock: the same calls at the same times give the same answers.
pub struct Offline {
    app: Arc<App>,
}

/// A call to one of the systems.
#[derive(Clone, Debug)]
pub struct OfflineCall {
    /// `GET`, `POST`, …
    pub method: String,
    /// The whole address, encoded; its port says which system is meant.
    pub url: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// Empty where there is none.
    pub body: Vec<u8>,
}

/// A call that has arrived and is to be carried out after [`OfflineArrived::delay`].
pub struct OfflineArrived(Arrived);

/// What its sender gets to see.
pub enum OfflineOutcome {
    /// Status, headers and body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// The connection is cut.
    Cut,
    /// The connection is cut, and the write lands so much later.
    Ghost(OfflineLanding, Duration),
}

/// A write that lands when its sender has given it up.
pub struct OfflineLanding(Box<Landing>);

impl Offline {
    /// Seeds the data. The clock stands at this many milliseconds since 1970. Ports of the configuration do not count.
    pub fn new(config: Config, now_ms: i64) -> Offline {
        let mut world = World::new(config, Clock::held(now_ms));
        world.autotask_port = PORTS[System::Autotask as usize];
        world.foreign_port = PORTS[2];
        let listeners = [(); 3].map(|()| watch::channel(false).0);
        let urls = PORTS.map(|port| format!("http://127.0.0.1:{port}"));
        Offline {
            app: Arc::new(App::new(world, listeners, urls)),
        }
    }

    /// Origin of a system.
    pub fn url(&self, system: System) -> &str {
        &self.app.urls[system as usize]
    }

    /// Moves the clock; it never goes back.
    pub fn set_now(&self, now_ms: i64) {
        self.app.world().clock.set(now_ms);
    }

    /// Whether somebody answers at this address.
    pub fn is_there(&self, url: &str) -> bool {
        self.system_of(url)
            .is_some_and(|system| !self.app.world().faults.dead(system))
    }

    /// A call arrives; `None` when nobody answers.
    pub fn arrive(&self, call: OfflineCall) -> Option<OfflineArrived> {
        let system = self.system_of(&call.url)?;
        let place = call.url.strip_prefix(self.url(system))?;
        let header = |name: &str| {
            let found = call.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let req = Req::new(&call.method, place, header, call.body);
        Arrived::new(self.app.clone(), system, req).map(OfflineArrived)
    }

    fn system_of(&self, url: &str) -> Option<System> {
        let is_of = |system: &System| {
            let rest = url.strip_prefix(self.url(*system));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        };
        [System::Autotask, System::Crm].into_iter().find(is_of)
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.app.set_faults(faults);
    }

    /// As [`crate::Sandbox::admin`].
    pub fn admin(&self, method: &str, path_and_query: &str, body: &Json) -> (u16, Json) {
        self.app.admin(method, path_and_query, body)
    }

    /// As [`crate::Sandbox::truth`].
    pub fn truth(&self, owner: System) -> Json {
        let rules = Rules {
            owner,
            one_way: Vec::new(),
        };
        self.app.world().truth_report(&rules)
    }
}

impl OfflineArrived {
    /// How long the server takes before it does anything.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.0.delay_ms())
    }

    /// Does what is asked for.
    pub fn carry_out(self) -> OfflineOutcome {
        match self.0.carry_out() {
            Outcome::Lost => OfflineOutcome::Cut,
            Outcome::Ghost(landing, ms) => {
                OfflineOutcome::Ghost(OfflineLanding(Box::new(landing)), Duration::from_millis(ms))
            }
            Outcome::Answer(_, plan, _) if plan.cut => OfflineOutcome::Cut,
            Outcome::Answer(mut reply, plan, now) => {
                plan.spoil(&mut reply);
                let mut headers = vec![
                    ("content-type".to_owned(), reply.content_type().to_owned()),
                    ("date".to_owned(), http_date(now)),
                ];
                let own = reply.headers.iter();
                headers.extend(own.map(|(name, value)| ((*name).to_owned(), value.clone())));
                OfflineOutcome::Answer(reply.status, headers, reply.body.into_bytes())
            }
        }
    }
}

impl OfflineLanding {
    /// Lands it.
    pub fn land(self) {
        self.0.land();
    }
}
