//! Commits a second of the embedded store and of PostgreSQL, by writers.
//!
//!   ARCHIPEL_TEST_POSTGRES_FSYNC=on crates/storage/tests/with-postgres.sh \
//!       cargo run -p archipel-storage --example commits

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use archipel_rt::clock;
use archipel_storage::embedded::{EmbeddedKv, Options};
use archipel_storage::postgres::{PostgresKv, PostgresUrl};
use archipel_storage::{Expect, Kv, StorageError, Tx};
use tokio::task::JoinSet;

const FOR: Duration = Duration::from_secs(5);
const VALUE: &[u8] = &[b'x'; 300];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("commits-{}", std::process::id()));
    let file = EmbeddedKv::open(&directory.join("a.db"), Options::default()).await?;
    measure("embedded, full sync", Arc::new(file)).await?;
    std::fs::remove_dir_all(directory)?;
    if let Ok(url) = std::env::var("ARCHIPEL_TEST_POSTGRES_URL") {
        let kv = PostgresKv::open(PostgresUrl::parse(&url)?, "commits").await?;
        measure("postgres", Arc::new(kv)).await?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is what this program is for")]
async fn measure(name: &str, kv: Arc<dyn Kv>) -> Result<(), StorageError> {
    let fence = kv.commit(Tx::new().put("fence", "")).await;
    let fence = fence.map_err(|error| StorageError::Invalid(error.to_string()))?;
    for writers in [1_usize, 64, 512] {
        let (done, end) = (Arc::new(AtomicU64::new(0)), clock::now() + FOR);
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (kv, done) = (Arc::clone(&kv), Arc::clone(&done));
            tasks.spawn(async move {
                let mut i = 0;
                while clock::now() < end {
                    // As the engine's: an expectation, a row, the one before it gone.
                    let key = |i: u64| format!("h/{writer:03}/{i:08x}");
                    let tx = Tx::new().expect("fence", Expect::Version(fence));
                    let tx = tx.put(key(i + 1), VALUE).delete(key(i));
                    if kv.commit(tx).await.is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    i += 1;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        let rate = done.load(Ordering::Relaxed) as f64 / FOR.as_secs_f64();
        println!("{name}: {writers} writers, {rate:.0} commits/s");
    }
    kv.close().await;
    Ok(())
}
