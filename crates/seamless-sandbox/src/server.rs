//! The three servers: admission, faults, latency, logging, and the reply itself.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::call::{Arrived, Outcome};
use crate::clock::Clock;
use crate::config::Config;
use crate::faults::Faults;
use crate::net::{Conn, Gate};
use crate::plan::Plan;
use crate::wire::{Reply, Req, parse_query, read, wire};
use crate::world::World;
use crate::{System, admin, at};

/// A running sandbox. Dropping it stops the servers.
#[derive(Debug)]
pub struct Sandbox {
    /// Origin of the Autotask simulator, e.g. `http://127.0.0.1:4100`.
    pub autotask_url: String,
    /// Origin of the CRM.
    pub crm_url: String,
    /// Origin of the admin interface.
    pub admin_url: String,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct App {
    world: Mutex<World>,
    /// Switches of the three listeners; the admin interface's is never turned.
    dead: [watch::Sender<bool>; 3],
    /// Origins of Autotask, the CRM and the admin interface.
    pub(crate) urls: [String; 3],
}

impl Sandbox {
    /// Seeds the data and starts the three servers on loopback.
    ///
    /// # Errors
    /// If a port cannot be bound.
    pub async fn start(config: Config) -> io::Result<Self> {
        let dead = [config.faults.autotask_dead, config.faults.crm_dead, false].map(|d| watch::channel(d).0);
        let autotask = Gate::bind(config.autotask_port, dead[0].subscribe()).await?;
        let crm = Gate::bind(config.crm_port, dead[1].subscribe()).await?;
        let admin = Gate::bind(config.admin_port, dead[2].subscribe()).await?;
        let ports = [autotask.port(), crm.port(), admin.port()];
        let urls = ports.map(|p| format!("http://127.0.0.1:{p}"));
        let clock = Clock::new(config.clock_speed);
        let mut world = World::new(config, clock);
        world.autotask_port = ports[0];
        world.foreign_port = ports[2];
        let app = Arc::new(App::new(world, dead, urls.clone()));
        let (stop, _) = watch::channel(false);
        let tasks = vec![
            serve(
                autotask,
                Router::new().fallback(autotask_call).with_state(app.clone()),
                &stop,
            ),
            serve(
                crm,
                Router::new().fallback(crm_call).with_state(app.clone()),
                &stop,
            ),
            serve(
                admin,
                Router::new().fallback(admin_call).with_state(app.clone()),
                &stop,
            ),
            send_events(app.clone(), &stop),
        ];
        let [autotask_url, crm_url, admin_url] = urls;
        tracing::info!(autotask_url, crm_url, admin_url, "sandbox started");
        Ok(Self {
            autotask_url,
            crm_url,
            admin_url,
            app,
            stop,
            tasks,
        })
    }

    /// Stops the servers; calls under way get a moment to finish.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(Duration::from_millis(300), &mut task)
                .await
                .is_err()
            {
                task.abort();
            }
        }
    }

    /// The report of `GET /truth`.
    pub fn truth(&self, owner: System) -> Json {
        let rules = crate::truth::Rules {
            owner,
            one_way: Vec::new(),
        };
        self.app.world().truth_report(&rules)
    }

    /// The counters of `GET /stats`.
    pub fn stats(&self) -> Json {
        let world = self.app.world();
        world.calls.stats(&world.limits.peaks)
    }

    /// Replaces the fault set, as `POST /faults` does.
    pub fn set_faults(&self, faults: Faults) {
        self.app.set_faults(faults);
    }

    /// Answers an admin request without the network, e.g. `("POST", "/edit", body)`; status and body come back.
    pub fn admin(&self, method: &str, path_and_query: &str, body: &Json) -> (u16, Json) {
        self.app.admin(method, path_and_query, body)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl App {
    /// The state behind the servers. Listeners that nobody holds are never switched.
    pub(crate) fn new(world: World, dead: [watch::Sender<bool>; 3], urls: [String; 3]) -> App {
        App {
            world: Mutex::new(world),
            dead,
            urls,
        }
    }

    pub(crate) fn admin(self: &Arc<App>, method: &str, path_and_query: &str, body: &Json) -> (u16, Json) {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let req = Req {
            method: method.to_owned(),
            path: path.to_owned(),
            query: parse_query(query),
            body: body.to_string().into_bytes(),
            ..Req::default()
        };
        let reply = admin::call(self, &req);
        (
            reply.status,
            serde_json::from_str(&reply.body).unwrap_or(Json::Null),
        )
    }

    /// The state. A panic elsewhere must not take the sandbox down with it.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        let mut world = self.world();
        for system in [System::Autotask, System::Crm] {
            self.dead[system as usize].send_replace(faults.dead(system));
        }
        world.faults = faults;
    }
}

fn serve(gate: Gate, router: Router, stop: &watch::Sender<bool>) -> JoinHandle<()> {
    let mut stopped = stop.subscribe();
    tokio::spawn(async move {
        let service = router.into_make_service_with_connect_info::<Conn>();
        let signal = async move {
            // An error means that the sandbox has been dropped: stop as well.
            let _stopped = stopped.wait_for(|s| *s).await;
        };
        if let Err(error) = axum::serve(gate, service).with_graceful_shutdown(signal).await {
            tracing::error!(%error, "sandbox server ended");
        }
    })
}

fn send_events(app: Arc<App>, stop: &watch::Sender<bool>) -> JoinHandle<()> {
    let mut stopped = stop.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            () = at::hooks::run(app) => {}
            // An error means that the sandbox has been dropped: stop as well.
            _stopped = stopped.wait_for(|s| *s) => {}
        }
    })
}

async fn autotask_call(
    State(app): State<Arc<App>>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    req: Request,
) -> Response {
    answer(app, conn, req, System::Autotask).await
}

async fn crm_call(
    State(app): State<Arc<App>>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    req: Request,
) -> Response {
    answer(app, conn, req, System::Crm).await
}

async fn admin_call(State(app): State<Arc<App>>, req: Request) -> Response {
    let reply = match read(req).await {
        Ok(req) => {
            if req.has_autotask_credentials() || req.bearer.is_some() {
                app.world().calls.foreign_credentials();
            }
            admin::call(&app, &req)
        }
        Err(reply) => reply,
    };
    let now = app.world().now();
    wire(reply, now)
}

async fn answer(app: Arc<App>, conn: Conn, request: Request, system: System) -> Response {
    let req = match read(request).await {
        Ok(req) => req,
        Err(reply) => return wire(reply, app.world().now()),
    };
    let cut = |conn: &Conn| {
        conn.cut_after(0);
        Response::new(Body::empty())
    };
    let Some(arrived) = Arrived::new(app, system, req) else {
        return cut(&conn);
    };
    if arrived.delay_ms() > 0 {
        tokio::time::sleep(Duration::from_millis(arrived.delay_ms())).await;
    }
    match arrived.carry_out() {
        Outcome::Answer(reply, plan, now) => finish(reply, &plan, &conn, now),
        Outcome::Lost => cut(&conn),
        Outcome::Ghost(landing, ms) => {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                landing.land();
            });
            cut(&conn)
        }
    }
}

fn finish(mut reply: Reply, plan: &Plan, conn: &Conn, now: i64) -> Response {
    plan.spoil(&mut reply);
    if plan.cut {
        // About the size of the head, so that the cut falls into the body.
        conn.cut_after(200 + reply.body.len() as i64 / 2);
    }
    wire(reply, now)
}
