//! Acknowledged appends per second of the embedded log, by number of producers.
//!
//! `cargo run --release -p archipel-storage --example log_throughput [seconds] [directory]`
//!
//! Every producer waits for its acknowledgement before it sends the next record (256 bytes, with
//! a key, as the broker sends them). Prints what `sync` was, because a figure without it means
//! nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::clock;
use archipel_storage::embedded::{Durability, EmbeddedLogs, Options};
use archipel_storage::{Logs as _, Record, RecordKey};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("log-throughput-{}", std::process::id()));
    println!(
        "{:>6} {:>9} {:>6} {:>12} {:>12}",
        "sync", "producers", "batch", "records/s", "cpu us/rec"
    );
    for sync in [Durability::Full, Durability::Normal] {
        for (producers, batch) in [(1, 1), (16, 1), (256, 1), (1_024, 1), (4, 500)] {
            let path = directory.join(format!("{sync:?}-{producers}-{batch}.db"));
            let logs = EmbeddedLogs::open(&path, Options { sync }).await?;
            let (count, wall, cpu) = measure(&logs, producers, batch, seconds).await?;
            logs.close().await;
            println!(
                "{:>6} {producers:>9} {batch:>6} {:>12.0} {:>12.1}",
                format!("{sync:?}").to_lowercase(),
                count as f64 / wall.as_secs_f64(),
                cpu * 1e6 / count as f64,
            );
        }
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

async fn measure(
    logs: &EmbeddedLogs,
    producers: usize,
    batch: usize,
    seconds: u64,
) -> Result<(usize, Duration, f64), Box<dyn std::error::Error>> {
    let log = logs.open("events").await?;
    let (start, cpu) = (clock::now(), cpu_seconds());
    let end = start + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let mut count = 0;
            while clock::now() < end {
                let records = (0..batch).map(|i| Record {
                    key: Some(RecordKey::of(&[
                        "/store/orders",
                        &format!("{producer} {count} {i}"),
                    ])),
                    bytes: vec![b'x'; 256].into(),
                });
                count += log.append(records.collect()).await?.fresh;
            }
            Ok::<_, archipel_storage::StorageError>(count)
        });
    }
    let mut total = 0;
    while let Some(done) = tasks.join_next().await {
        total += done??;
    }
    Ok((total, clock::now() - start, cpu_seconds() - cpu))
}

/// User and system time of this process, from the kernel.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| -> f64 {
        after_name.split_whitespace().nth(at).and_then(|t| t.parse().ok()).unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}
