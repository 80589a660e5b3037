//! Notices that certificate files have changed.
//!
//! By looking every two seconds: it works on every file system, through links that are swapped
//! as a whole, and a renewal happens every few weeks.

use std::fs;
use std::path::Path;
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use archipel_rt::{CancellationToken, chain, clock};

use super::Tls;
use super::door::TlsDoor;

pub(super) async fn watch(door: Weak<TlsDoor>, pause: Duration, stop: CancellationToken) {
    let mut seen = match door.upgrade() {
        Some(door) => marks(door.wanted()),
        None => return,
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = clock::sleep(pause) => {}
        }
        let Some(door) = door.upgrade() else { return };
        let now = marks(door.wanted());
        if now == seen {
            continue;
        }
        // Before loading: a pair that is half written changes once more.
        seen = now;
        match archipel_rt::blocking(move || door.reload()).await {
            Ok(()) => tracing::info!("the gateway uses the certificates that changed"),
            Err(fault) => tracing::warn!(
                "the certificates changed and cannot be used, the gateway keeps the old ones: {}",
                chain(&fault)
            ),
        }
    }
}

type Mark = Option<(SystemTime, u64)>;

/// Time and size, which is what any way of replacing a file changes.
fn marks(tls: &Tls) -> Vec<Mark> {
    let mark = |path: &Path| -> Mark {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    let pairs = tls.wanted.files.iter().flat_map(|files| [&files.cert, &files.key]);
    let authority = tls.wanted.client_ca.iter().map(|ca| &ca.file);
    pairs.chain(authority).map(|path| mark(path)).collect()
}
