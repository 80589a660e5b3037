//! Takes over what an earlier supervisor left: after its crash, its kill, its own restart.

use std::sync::Arc;

use archipel_rt::blocking;

use crate::process::Process;
use crate::record::{Kind, Record};
use crate::supervisor::Common;

/// A service that lives and that we hold again.
pub(crate) struct Adopted {
    pub(crate) record: Record,
    pub(crate) process: Process,
}

/// Takes hold of every recorded service that lives; ends and clears away everything else that
/// carries our marks.
pub(crate) async fn adopt(common: &Arc<Common>) -> Vec<Adopted> {
    let records = {
        let dir = common.paths.instances();
        blocking(move || Record::read_all(&dir)).await
    };
    let mut adopted: Vec<Adopted> = Vec::new();
    for record in records {
        let held = record.process.clone().and_then(Process::adopt).filter(|process| {
            !record.tree.leaf.tracks() || record.tree.leaf.pids().contains(&process.pid())
        });
        match held {
            Some(process)
                if record.kind == Kind::Service
                    && adopted.iter().all(|other| other.record.id != record.id) =>
            {
                adopted.push(Adopted { record, process });
            }
            held => clear_away(common, record, held).await,
        }
    }
    adopted
}

async fn clear_away(common: &Arc<Common>, record: Record, process: Option<Process>) {
    record.tree.clone().end(process).await;
    record.tree.leaf.remove();
    record.remove(&common.paths.instances());
}
