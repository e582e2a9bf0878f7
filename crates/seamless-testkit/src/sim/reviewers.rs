//! People at the host's own console: they answer what is asked, take pairs apart and put them together again, make plans and carry them out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seamless_core::pipeline::{Decision, Engine, Rehearsal};
use seamless_core::{RecordId, Side, SyncId, Table};

use super::asked::Answered;
use super::executor::{Executor, Sim};
use super::hosts::{Run, all_rows};
use super::plan::Plan;
use super::rng::Rng;
use super::world::World;

/// Starts them beside a host's workers.
pub(super) fn spawn(run: &Run, executor: &mut Executor, host: usize, engine: &Arc<Engine>, seed: u64) {
    let reviewer = Reviewer {
        engine: engine.clone(),
        sim: run.sim.clone(),
        world: run.world.clone(),
        store: run.store.clone(),
        plan: run.plan.clone(),
        rng: Rng::new(seed ^ 0x7e1e),
    };
    executor.spawn(host, reviewer.work());
    if host != 0 || run.plan.plans == 0 {
        return;
    }
    executor.spawn(host, plan(run.clone(), seed));
}

/// Makes plans, waits a while, and carries them out while everybody else goes on.
async fn plan(run: Run, seed: u64) {
    let (sim, mut rng) = (run.sim.clone(), Rng::new(seed ^ 0x91a4));
    for turn in 0..u64::from(run.plan.plans) {
        sim.wait(Duration::from_micros(rng.between(1_000, 250_000))).await;
        if sim.state().calm {
            return;
        }
        // Nothing is planned yet, so nothing may be written.
        let Some(engine) = run.engine(seed ^ turn, Some(Arc::default())) else {
            return;
        };
        let Ok(plan) = Rehearsal::new(&engine).run().await else {
            continue;
        };
        sim.note(|| format!("plan {:?}", lines(&plan)));
        sim.wait(Duration::from_micros(rng.below(120_000))).await;
        let Some(engine) = run.engine(seed ^ !turn, Some(Arc::new(plan.items.clone()))) else {
            return;
        };
        let outcomes = engine.carry_out(&plan).await;
        sim.note(|| match outcomes {
            Ok(outcomes) => format!("plan carried out: {:?}", outcomes.items),
            Err(error) => format!("plan not carried out: {error}"),
        });
    }
}

fn lines(plan: &seamless_core::pipeline::Plan) -> Vec<String> {
    let line = |item: &seamless_core::pipeline::PlanItem| {
        let fields: Vec<&String> = item.fields.keys().collect();
        format!(
            "{:?} {} {:?} {fields:?}",
            item.step,
            item.record.path(),
            item.other
        )
    };
    plan.items.iter().map(line).collect()
}

/// Answers reviews; takes pairs apart while the storm lasts.
struct Reviewer {
    engine: Arc<Engine>,
    sim: Sim,
    world: Arc<Mutex<World>>,
    store: Arc<seamless_core::memory::MemoryStore>,
    plan: Arc<Plan>,
    rng: Rng,
}

impl Reviewer {
    async fn work(mut self) {
        loop {
            self.sim
                .wait(Duration::from_micros(self.rng.between(20_000, 90_000)))
                .await;
            let calm = self.sim.state().calm;
            // The next look tries again; what the storm took back is brought in the calm.
            if calm || self.plan.refusals > 0 || self.plan.tickets.is_some() || self.plan.vanishes.is_some() {
                for sync in self.engine.syncs.keys() {
                    // The next look tries again.
                    drop(self.engine.look_again_at_held(sync).await);
                }
            }
            if self.plan.disaster.is_some() && self.rng.per_mille(200) {
                drop(self.engine.look_for_lost_messages().await);
            }
            let unlink = !calm && self.rng.per_mille(self.plan.unlinks);
            if unlink {
                self.unlink().await;
            }
            self.review().await;
        }
    }

    async fn review(&mut self) {
        let Ok(reviews) = self.engine.reviews(50).await else {
            return;
        };
        for review in reviews {
            for field in &review.asked {
                let winner = if self.rng.per_mille(500) { Side::A } else { Side::B };
                self.answer(&review.record, field, winner).await;
            }
            let Some(parked) = &review.parked else { continue };
            if parked.reason != seamless_core::pipeline::Reason::Unlinked {
                continue;
            }
            let Some(other) = self.former(&review.record) else {
                continue;
            };
            let decided = self
                .engine
                .decide(&review.record, Decision::Link { other: other.clone() })
                .await;
            self.sim.note(|| {
                format!(
                    "person links {} and {other} again: {decided:?}",
                    review.record.path()
                )
            });
        }
    }

    /// Answers, and notes between which moments: a call that failed, or is still on its way back, may have been heard.
    async fn answer(&mut self, record: &seamless_core::pipeline::RecordKey, field: &str, winner: Side) {
        let noted = {
            let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
            world.answers.push(Answered {
                record: record.clone(),
                winner,
                from: self.sim.now(),
                to: Duration::MAX,
            });
            world.answers.len() - 1
        };
        let answered = self.engine.answer(record, field, winner).await;
        self.sim.note(|| {
            format!(
                "person answers {} {field}: {winner:?} {answered:?}",
                record.path()
            )
        });
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.answers[noted].to = self.sim.now();
    }

    /// The record that it was taken apart from.
    fn former(&self, record: &seamless_core::pipeline::RecordKey) -> Option<RecordId> {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world
            .apart
            .iter()
            .find(|(sync, a, b)| {
                let own = if record.side == Side::A { a } else { b };
                *sync == record.sync && *own == record.id
            })
            .map(|(_, a, b)| {
                if record.side == Side::A {
                    b.clone()
                } else {
                    a.clone()
                }
            })
    }

    async fn unlink(&mut self) {
        let links = all_rows(&self.store, Table::Link);
        let Some((key, row)) = self.rng.pick(&links).cloned() else {
            return;
        };
        let Some(record) = self.engine.record_of(&key) else {
            return;
        };
        let link = seamless_core::pipeline::Rows::plain::<seamless_core::pipeline::Link>(
            &seamless_core::RowKey::new(Table::Link, key),
            &row,
        );
        let Ok(link) = link else { return };
        let (a, b) = match record.side {
            Side::A => (record.id.clone(), link.other),
            Side::B => (link.other, record.id.clone()),
        };
        // Before it happens: a crash in between must not make it a surprise.
        self.note_apart(&record.sync, a, b);
        let unlinked = self.engine.unlink(&record).await;
        self.sim.note(|| {
            format!(
                "person unlinks {}: {:?}",
                record.path(),
                unlinked.map(|other| other.path())
            )
        });
    }

    fn note_apart(&self, sync: &SyncId, a: RecordId, b: RecordId) {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.apart.insert((sync.clone(), a, b));
    }
}
