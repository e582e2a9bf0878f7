//! A call from its arrival to its answer: admission, faults, what it does. Knows no sockets and never waits.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::calls::Done;
use crate::plan::{Plan, decide, fault_500};
use crate::server::App;
use crate::wire::{Reply, Req, Twists};
use crate::world::World;
use crate::{System, at, crm};

/// A call that has arrived and has not been carried out yet.
pub(crate) struct Arrived {
    app: Arc<App>,
    system: System,
    req: Req,
    write: bool,
    endpoint: String,
    plan: Plan,
    slot: Option<Slot>,
}

/// What its sender gets to see.
pub(crate) enum Outcome {
    /// An answer, what is to be done to it on its way, and the time.
    Answer(Reply, Box<Plan>, i64),
    /// The connection is cut: everything is done.
    Lost,
    /// The connection is cut: it lands after so many milliseconds.
    Ghost(Landing, u64),
}

/// A write that lands when its sender has given it up.
pub(crate) struct Landing {
    app: Arc<App>,
    system: System,
    req: Req,
}

/// Gives a thread slot back however the call ends.
struct Slot {
    app: Arc<App>,
    code: String,
    endpoint: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.app.world().limits.leave(&self.code, &self.endpoint);
    }
}

impl Arrived {
    /// `None` when nobody answers.
    pub(crate) fn new(app: Arc<App>, system: System, req: Req) -> Option<Arrived> {
        let foreign = match system {
            System::Autotask => req.bearer.is_some(),
            System::Crm => req.has_autotask_credentials(),
        };
        if foreign {
            app.world().calls.foreign_credentials();
        }
        let (write, endpoint) = match system {
            System::Autotask => (at::is_write(&req.method, &req.path), at::endpoint_of(&req.path)),
            System::Crm => (crm::is_write(&req.method, &req.path), crm::endpoint_of(&req.path)),
        };
        let mut plan = {
            let mut world = app.world();
            if world.faults.dead(system) {
                return None;
            }
            decide(&mut world, system, &req, write, &endpoint)
        };
        let slot = plan.slot.take().map(|(code, endpoint)| Slot {
            app: app.clone(),
            code,
            endpoint,
        });
        Some(Arrived {
            app,
            system,
            req,
            write,
            endpoint,
            plan,
            slot,
        })
    }

    /// How long the server takes.
    pub(crate) fn delay_ms(&self) -> u64 {
        self.plan.delay_ms
    }

    /// Does what is asked for.
    pub(crate) fn carry_out(mut self) -> Outcome {
        if let Some(ms) = self.plan.ghost_ms {
            let nothing = Reply {
                status: 0,
                ..Reply::json(200, Json::Null)
            };
            let mut world = self.app.world();
            let now = world.now();
            world.calls.add(self.done(&nothing), now);
            drop(world);
            let landing = Landing {
                app: self.app.clone(),
                system: self.system,
                req: self.req.clone(),
            };
            return Outcome::Ghost(landing, ms);
        }
        let early = self.plan.early.take();
        let mut world = self.app.world();
        let mut reply =
            early.unwrap_or_else(|| dispatch(&mut world, self.system, &self.req, &self.plan.twists));
        if self.plan.applied_500 && reply.status < 300 {
            let note = std::mem::take(&mut reply.note);
            reply = fault_500(&mut world, self.system);
            reply.note = note;
        }
        if !self.write && self.plan.spoils() {
            // Nobody has been shown what nobody could read.
            reply.note.ids.clear();
        }
        let now = world.now();
        world.calls.add(self.done(&reply), now);
        drop(world);
        drop(self.slot.take());
        if self.plan.lost {
            return Outcome::Lost;
        }
        Outcome::Answer(reply, Box::new(std::mem::take(&mut self.plan)), now)
    }

    fn done(&self, reply: &Reply) -> Done<'_> {
        Done {
            system: self.system,
            method: &self.req.method,
            path: &self.req.path,
            endpoint: &self.endpoint,
            status: reply.status,
            write: self.write,
            note: reply.note.clone(),
            fault: self.plan.fault,
        }
    }
}

impl Landing {
    pub(crate) fn land(mut self) {
        self.req.late = true;
        dispatch(&mut self.app.world(), self.system, &self.req, &Twists::default());
    }
}

fn dispatch(world: &mut World, system: System, req: &Req, twists: &Twists) -> Reply {
    match system {
        System::Autotask => at::call(world, req, twists),
        System::Crm => crm::call(world, req, twists),
    }
}
