//! What a system has said of itself at the last start. With three systems or more, one that does not answer must not keep the others from working: what
//! they have for it is published as ever, and waits on the bus.

use seamless_core::{EntityInfo, ErrorKind, Expect, Result, RowKey, SystemId, Table};

use crate::books::Books;
use crate::build::natives;
use crate::connect::Live;

fn row_of(system: &SystemId, entity: &str) -> RowKey {
    RowKey::new(Table::Meta, format!("described/{system}/{entity}"))
}

impl Books {
    /// Remembers what the systems say of themselves.
    pub(crate) async fn note_descriptions(&self, live: &Live) -> Result<()> {
        let mut ops = Vec::new();
        for ((system, entity), info) in live {
            ops.push(
                self.rows()
                    .put_sealed(row_of(system, entity), Expect::Any, info)?,
            );
        }
        self.store.commit(ops).await.map(drop)
    }

    /// What a system has said of itself at the last start; `None` where that is not known, or where nothing could go on without it anyway.
    pub(crate) async fn last_description(&self, system: &SystemId) -> Result<Option<Live>> {
        if !self.can_do_without(system) {
            return Ok(None);
        }
        let mut live = Live::new();
        for native in natives(&self.plans).remove(system).unwrap_or_default() {
            let key = row_of(system, &native);
            let Some(row) = self.row(&key).await? else {
                return Ok(None);
            };
            let info: EntityInfo = match self.rows().sealed(&key, &row) {
                Ok(info) => info,
                // Of another version of this program: as good as none.
                Err(error) if error.kind == ErrorKind::Storage => return Ok(None),
                Err(error) => return Err(error),
            };
            live.insert((system.clone(), native), info);
        }
        Ok(Some(live))
    }

    /// Whether the syncs are between more than two systems.
    pub(crate) fn has_several_pairs(&self) -> bool {
        natives(&self.plans).len() > 2
    }

    /// Whether some sync has nothing to do with a system.
    pub(crate) fn can_do_without(&self, system: &SystemId) -> bool {
        self.plans
            .iter()
            .any(|plan| plan.side_of(system.as_str()).is_none())
    }
}
