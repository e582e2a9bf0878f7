//! Plans: made, kept in a sealed file, carried out.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use seamless_core::pipeline::{Engine, ItemOutcome, Plan, Rehearsal, open_plan, seal_plan};
use seamless_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::books::Books;
use crate::build::plan_syncs;
use crate::config::Config;
use crate::host::Plugins;
use crate::keys;
use crate::random::OsRandom;
use crate::view::{PlanLine, PlanView};

/// What became of a plan that was carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Items written, or so already.
    pub done: u64,
    /// Items that were not written, because something has changed since the plan was made.
    pub refused: Vec<RefusedItem>,
    /// Ids written into cross-reference fields.
    pub written_back: u64,
}

/// An item of a plan that was not written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusedItem {
    /// What was planned.
    pub planned: PlanLine,
    /// Why it was not done.
    pub why: String,
}

/// Largest plan file, in bytes.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// Seals a plan into a new file, 0600. An existing file is replaced only when the new one is complete.
pub fn save_plan(plan: &Plan, config: &Config, file: &Path) -> Result<()> {
    let bytes = seal_plan(plan, &keys::row_seal(config)?, &OsRandom)?;
    let shown = file.display();
    let failed = |error: std::io::Error| Error::storage(format!("cannot write {shown}: {error}"));
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let mut open = std::fs::OpenOptions::new();
    let mut opened = open
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(part)
        .map_err(failed)?;
    opened
        .write_all(&bytes)
        .and_then(|()| opened.sync_all())
        .and_then(|()| std::fs::rename(part, file))
        .map_err(failed)
}

/// Opens a sealed plan of this tenant.
pub fn load_plan(config: &Config, file: &Path) -> Result<Plan> {
    let shown = file.display();
    let named = |error: Error| error.with("file", &shown);
    let failed = |error: std::io::Error| Error::config(format!("cannot read {shown}: {error}"));
    let about = std::fs::metadata(file).map_err(failed)?;
    if about.len() > FILE_BYTES_MAX {
        return Err(Error::config(format!(
            "{shown} is larger than {FILE_BYTES_MAX} bytes: not a plan"
        )));
    }
    let bytes = std::fs::read(file).map_err(failed)?;
    open_plan(&bytes, &keys::row_seal(config)?).map_err(named)
}

/// A plan as people read it.
pub fn tell_plan(plan: &Plan, config: &Config, plugins: &Plugins) -> Result<PlanView> {
    Ok(PlanView::of(plan, &plan_syncs(config, plugins)?))
}

impl Books {
    /// What a run would do now.
    pub(crate) async fn rehearse(&self, engine: &Arc<Engine>) -> Result<Plan> {
        let rehearsal = Arc::new(Rehearsal::new(engine));
        self.on_paper(Some(rehearsal.clone()));
        let plan = rehearsal.run().await;
        self.on_paper(None);
        plan
    }

    /// Carries out the plan in a file.
    pub(crate) async fn carry_out(&self, engine: &Arc<Engine>, file: &Path) -> Result<Applied> {
        let plan = load_plan(&self.config, file)?;
        let outcomes = engine.carry_out(&plan).await?;
        let mut applied = Applied {
            done: outcomes.counts().0 as u64,
            refused: Vec::new(),
            written_back: outcomes.written_back,
        };
        let mut lines = PlanView::of(&plan, &self.plans).items;
        for (at, outcome) in outcomes.items.into_iter().rev() {
            if let ItemOutcome::Refused { why } = outcome {
                let planned = lines.swap_remove(at);
                applied.refused.push(RefusedItem { planned, why });
            }
        }
        applied.refused.reverse();
        Ok(applied)
    }
}
