//! The keys of one issuer, as they are now.
//!
//! Fetched at once, again before they expire, and when a token names a key that is not among
//! them: but not more often than every [`Limits::keys_pause`](crate::Limits), or anybody could
//! make us flood the issuer. While the issuer cannot be reached, the keys that we have count on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use archipel_model::ServiceName;
use archipel_rt::{CancellationToken, blocking, clock, random};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::guard::auth::jwk::KeySet;
use crate::guard::fetch::{self, Fetched};
use crate::shared::Shared;
use crate::upstream::service::Service;

const FRESH_DEFAULT: Duration = Duration::from_secs(600);
const FRESH_MIN: Duration = Duration::from_secs(60);
const FRESH_MAX: Duration = Duration::from_secs(3_600);
/// A file costs nothing to read.
const FILE_LOOK: Duration = Duration::from_secs(30);
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// As long as a request waits for keys.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries while there are no keys at all and requests ask for them.
const PAUSE_EMPTY: Duration = Duration::from_millis(200);
const FILE_MAX: u64 = 1 << 20;

pub(crate) enum Source {
    /// Never changes.
    Secret(String),
    File(PathBuf),
    Service(Arc<Service>, String),
    Url(ServiceName, String),
    /// The issuer's own document says where.
    Discovery(ServiceName, String),
}

pub(crate) struct Keyring {
    keys: ArcSwap<Round>,
    wanted: Notify,
    /// Counts tries, good or not.
    tries: watch::Sender<u64>,
    tried_ms: AtomicU64,
    trying: AtomicBool,
    shared: Arc<Shared>,
}

/// Keys, and how often they have changed.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) keys: KeySet,
    /// 0: there were none yet.
    pub(crate) number: u64,
    text: Vec<u8>,
}

impl Keyring {
    /// `Err`: what is wrong with the secret.
    pub(crate) fn open(
        name: &str,
        source: Source,
        shared: &Arc<Shared>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let ring = Arc::new(Self {
            keys: ArcSwap::default(),
            wanted: Notify::new(),
            tries: watch::Sender::new(0),
            tried_ms: AtomicU64::new(0),
            trying: AtomicBool::new(true),
            shared: Arc::clone(shared),
        });
        if let Source::Secret(secret) = &source {
            ring.keys.store(Arc::new(Round {
                keys: KeySet::secret(secret),
                number: 1,
                text: Vec::new(),
            }));
            ring.trying.store(false, Relaxed);
            return ring;
        }
        let run = Arc::clone(&ring).run(name.to_owned(), source, stop);
        shared.tasks.spawn("gateway.keys", run);
        ring
    }

    pub(crate) fn now(&self) -> arc_swap::Guard<Arc<Round>> {
        self.keys.load()
    }

    /// Waits for newer keys, if it is time to ask for them.
    pub(crate) async fn refresh(&self) {
        let mut tries = self.tries.subscribe();
        if !self.trying.load(Relaxed) {
            if !self.is_time() {
                return;
            }
            self.wanted.notify_one();
        }
        // No news: then the keys that there are decide.
        let _ = clock::timeout(PATIENCE, tries.changed()).await;
    }

    fn is_time(&self) -> bool {
        let pause = match self.keys.load().number {
            0 => PAUSE_EMPTY,
            _ => self.shared.limits.keys_pause,
        };
        self.shared.millis() >= self.tried_ms.load(Relaxed) + pause.as_millis() as u64
    }

    async fn run(self: Arc<Self>, name: String, source: Source, stop: CancellationToken) {
        let everything = self.shared.tasks.stop_token();
        let mut failures = 0u32;
        loop {
            self.trying.store(true, Relaxed);
            let looked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = everything.cancelled() => return,
                looked = self.look(&source) => looked,
            };
            let pause = match looked {
                Ok(fresh) => {
                    if failures > 0 {
                        tracing::info!(rule = name, "the keys of the issuer are here again");
                    }
                    failures = 0;
                    // Before they expire, and not all gateways at once.
                    fresh * (70 + random::below(20) as u32) / 100
                }
                Err(why) => {
                    if failures == 0 {
                        let have = self.keys.load().number > 0;
                        tracing::warn!(
                            rule = name,
                            why,
                            have,
                            "could not fetch the keys of the issuer"
                        );
                    }
                    failures += 1;
                    (BACKOFF_MIN * 2u32.saturating_pow(failures.min(10) - 1)).min(BACKOFF_MAX)
                }
            };
            self.tried_ms.store(self.shared.millis(), Relaxed);
            self.trying.store(false, Relaxed);
            self.tries.send_modify(|tries| *tries += 1);
            let due = clock::now() + pause;
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = everything.cancelled() => return,
                    () = clock::sleep_until(due) => break,
                    // Asked for while the last try was under way: that was the answer.
                    () = self.wanted.notified() => if self.is_time() { break },
                }
            }
        }
    }

    /// Takes over what the source has now; returns for how long that is good.
    async fn look(&self, source: &Source) -> Result<Duration, String> {
        let shared = &self.shared;
        let fetched = match source {
            Source::Secret(_) => return Ok(FRESH_MAX),
            Source::File(file) => {
                let read = read(file.clone()).await?;
                self.take(read)?;
                return Ok(FILE_LOOK);
            }
            Source::Service(service, path) => fetch::from(shared, service, path).await?,
            Source::Url(name, url) => fetch::url(shared, name, url).await?,
            Source::Discovery(name, issuer) => {
                let place = discover(shared, name, issuer).await?;
                fetch::url(shared, name, &place).await?
            }
        };
        let Fetched { body, fresh } = fetched;
        self.take(body.to_vec())?;
        Ok(fresh.unwrap_or(FRESH_DEFAULT).clamp(FRESH_MIN, FRESH_MAX))
    }

    fn take(&self, text: Vec<u8>) -> Result<(), String> {
        let before = self.keys.load();
        if before.number > 0 && before.text == text {
            return Ok(());
        }
        let keys =
            KeySet::parse(&text).map_err(|why| format!("the key set is not usable: {why}"))?;
        self.keys.store(Arc::new(Round { keys, number: before.number + 1, text }));
        Ok(())
    }
}

async fn read(file: PathBuf) -> Result<Vec<u8>, String> {
    blocking(move || {
        let told = |error: std::io::Error| format!("{}: {error}", file.display());
        if std::fs::metadata(&file).map_err(told)?.len() > FILE_MAX {
            return Err(format!("{}: larger than 1 MiB", file.display()));
        }
        std::fs::read(&file).map_err(told)
    })
    .await
}

/// OpenID Connect Discovery 1.0, section 4: the document must be of the issuer that was asked.
async fn discover(
    shared: &Arc<Shared>,
    name: &ServiceName,
    issuer: &str,
) -> Result<String, String> {
    let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let fetched = fetch::url(shared, name, &place).await?;
    let document: Value =
        serde_json::from_slice(&fetched.body).map_err(|_| format!("{place}: it is not JSON"))?;
    let text = |key: &str| document.get(key).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err(format!("{place}: it is the document of another issuer"));
    }
    text("jwks_uri").map(str::to_owned).ok_or_else(|| format!("{place}: it has no `jwks_uri`"))
}
