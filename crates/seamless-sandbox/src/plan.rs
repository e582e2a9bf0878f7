//! Deciding, once and at its start, what is to happen to a call: limits, then faults.

use serde_json::json;

use crate::faults::Call;
use crate::limits::Admission;
use crate::wire::{Reply, Req, Twists};
use crate::world::World;
use crate::{System, at};

/// Size of a huge reply if the fault names none.
const HUGE: u64 = 64 * 1024 * 1024;

/// What is to happen to a call, decided once at its start.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) delay_ms: u64,
    pub(crate) slot: Option<(String, String)>,
    pub(crate) fault: Option<&'static str>,
    pub(crate) early: Option<Reply>,
    pub(crate) ghost_ms: Option<u64>,
    pub(crate) lost: bool,
    pub(crate) applied_500: bool,
    pub(crate) truncate: bool,
    pub(crate) cut: bool,
    pub(crate) huge: Option<u64>,
    pub(crate) twists: Twists,
}

impl Plan {
    /// Whether the answer cannot be read where it arrives.
    pub(crate) fn spoils(&self) -> bool {
        self.truncate || self.cut || self.huge.is_some()
    }

    /// What becomes of the answer's body on its way.
    pub(crate) fn spoil(&self, reply: &mut Reply) {
        if let Some(bytes) = self.huge {
            let padding = "x".repeat(usize::try_from(bytes).unwrap_or(usize::MAX).min(1 << 31));
            reply.body = format!("{{\"padding\":\"{padding}\"}}");
        }
        if self.truncate {
            let mut half = reply.body.len() / 2;
            while !reply.body.is_char_boundary(half) {
                half -= 1;
            }
            reply.body.truncate(half);
        }
    }
}

/// Limits first, then faults; every fault is asked in a fixed order, so that a seed repeats.
pub(crate) fn decide(w: &mut World, system: System, req: &Req, write: bool, endpoint: &str) -> Plan {
    let mut plan = Plan::default();
    let call = Call {
        system,
        method: &req.method,
        path: &req.path,
        write,
    };
    let autotask = system == System::Autotask;
    if autotask && !at::is_open(&req.path) {
        limits(w, req, endpoint, &mut plan);
    }
    if autotask && at::is_open(&req.path) {
        // Discovery itself is left alone, except by the network.
    } else if w.strike(&call, |f| &mut f.zone_moved).is_some() && autotask {
        w.zone += 1;
        plan.fault = Some("zone_moved");
    }
    if let Some(fault) = w.strike(&call, |f| &mut f.latency) {
        plan.delay_ms += fault.delay_ms;
        plan.fault = Some("latency");
    }
    if plan.early.is_some() {
        return plan;
    }
    if let Some(fault) = w.strike(&call, |f| &mut f.unavailable) {
        let reply = Reply::html(503, "503 - Service Unavailable");
        plan.early = Some(retry_after(reply, fault.retry_after_secs));
        plan.fault = Some("unavailable");
    } else if let Some(fault) = w.strike(&call, |f| &mut f.throttled) {
        let reply = if autotask {
            Reply::json(429, json!({ "errors": ["Too many requests."] }))
        } else {
            Reply::json(
                429,
                json!({ "error": { "code": "rate_limited", "message": "too many requests" } }),
            )
        };
        plan.early = Some(retry_after(reply, fault.retry_after_secs));
        plan.fault = Some("throttled");
    } else if w.strike(&call, |f| &mut f.error_500).is_some() {
        plan.early = Some(fault_500(w, system));
        plan.fault = Some("error_500");
    }
    if plan.early.is_some() {
        return plan;
    }
    if write {
        if let Some(fault) = w.strike(&call, |f| &mut f.ghost_write) {
            plan.ghost_ms = Some(fault.delay_ms);
            plan.fault = Some("ghost_write");
        } else if w.strike(&call, |f| &mut f.lost_answer).is_some() {
            plan.lost = true;
            plan.fault = Some("lost_answer");
        }
    }
    if w.strike(&call, |f| &mut f.error_500_applied).is_some() {
        plan.applied_500 = true;
        plan.fault = Some("error_500_applied");
    }
    if w.strike(&call, |f| &mut f.truncated_body).is_some() {
        plan.truncate = true;
        plan.fault = Some("truncated_body");
    }
    if w.strike(&call, |f| &mut f.cut_body).is_some() {
        plan.cut = true;
        plan.fault = Some("cut_body");
    }
    if let Some(fault) = w.strike(&call, |f| &mut f.huge_body) {
        plan.huge = Some(if fault.bytes == 0 { HUGE } else { fault.bytes });
        plan.fault = Some("huge_body");
    }
    if w.strike(&call, |f| &mut f.endless_paging).is_some() {
        plan.twists.endless = true;
        plan.fault = Some("endless_paging");
    }
    if w.strike(&call, |f| &mut f.foreign_next_page).is_some() {
        plan.twists.foreign = true;
        plan.fault = Some("foreign_next_page");
    }
    if w.strike(&call, |f| &mut f.ignored_filter).is_some() {
        plan.twists.unfiltered = true;
        plan.fault = Some("ignored_filter");
    }
    plan
}

fn limits(w: &mut World, req: &Req, endpoint: &str, plan: &mut Plan) {
    let code = req.code.clone().unwrap_or_default();
    if !w.limits.enter(&code, endpoint, w.config.threads_max) {
        w.calls.over_threads();
        let max = w.config.threads_max;
        let text = format!("The Autotask API thread threshold of {max} threads has been exceeded");
        plan.early = Some(Reply::json(429, json!({ "errors": [text] })));
        return;
    }
    plan.slot = Some((code, endpoint.to_owned()));
    let now = w.clock.limit_ms();
    match w.limits.admit(now, w.config.hourly_limit) {
        Admission::Go(ms) => plan.delay_ms += (ms as f64 / w.clock.speed()) as u64,
        Admission::Refused => {
            w.calls.over_budget();
            let limit = w.config.hourly_limit;
            let text =
                format!("The threshold of {limit} external requests within 60 minutes has been exceeded.");
            plan.early = Some(Reply::json(
                w.config.over_limit_status,
                json!({ "errors": [text] }),
            ));
        }
    }
}

fn retry_after(reply: Reply, secs: u64) -> Reply {
    if secs == 0 {
        reply
    } else {
        reply.header("retry-after", secs.to_string())
    }
}

pub(crate) fn fault_500(world: &mut World, system: System) -> Reply {
    match system {
        System::Autotask => at::unexpected(world),
        System::Crm => Reply::json(
            500,
            json!({ "error": { "code": "internal", "message": "something went wrong" } }),
        ),
    }
}
