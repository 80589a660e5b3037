//! Ends what a killed Archipel has left, when no new one is to take it over.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{blocking, clock};

use crate::adopt::{self, Adopted, Inheritance};
use crate::process::Process;
use crate::record::{Kind, Lock, Paths, Record};
use crate::supervisor::{StartError, lock_error};

/// Stops every process that a supervisor of this state directory has started and that still
/// runs: services by their stop signal, the last started level first, with their grace; all else
/// at once. Returns how many services and commands that were.
///
/// # Errors
/// [`StartError::AlreadyRunning`]: ask the one that runs. [`StartError::State`].
pub async fn sweep(state_dir: &Path) -> Result<usize, StartError> {
    if !state_dir.exists() {
        return Ok(0);
    }
    let paths = Paths::new(state_dir);
    let lock = {
        let paths = paths.clone();
        blocking(move || Lock::take(&paths.lock()).map_err(|error| lock_error(error, &paths)))
            .await?
    };
    let inheritance = Arc::new(Inheritance::find(&paths).await);
    let (services, others) = inheritance.take(&paths).await;
    let count = services.len() + others;
    let mut levels: BTreeSet<u32> = services.iter().map(|one| one.record.level).collect();
    let mut services = services;
    while let Some(level) = levels.pop_last() {
        let (now, later): (Vec<_>, Vec<_>) =
            services.into_iter().partition(|one| one.record.level == level);
        services = later;
        stop_level(&paths, now).await;
    }
    inheritance.forget(&paths).await;
    drop(lock);
    Ok(count)
}

/// How many services of a killed supervisor still run. Only looks.
pub fn survivors(state_dir: &Path) -> usize {
    let records = Record::look(&Paths::new(state_dir).instances());
    let services = records.filter(|record| record.kind == Kind::Service);
    services.filter_map(|record| Process::adopt(record.process?)).count()
}

async fn stop_level(paths: &Paths, level: Vec<Adopted>) {
    let mut stops = tokio::task::JoinSet::new();
    for one in level {
        let paths = paths.clone();
        stops.spawn(async move {
            one.process.signal_group(one.record.stop_signal);
            let grace = Duration::from_millis(one.record.grace_ms);
            let _ = clock::timeout(grace, one.process.exited()).await;
            adopt::clear_away(&paths, one.record, Some(one.process)).await;
        });
    }
    while stops.join_next().await.is_some() {}
}
