//! How fast lines are understood and stored: a million of each shape, one thread each.

use std::time::Duration;

use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_telemetry::{Filter, Line, LogStore, Stream, parse};

const LINES: u64 = 1_000_000;

fn rate(count: u64, took: Duration) -> String {
    let each = took.as_secs_f64() / count as f64;
    format!("{:.2} M lines/s, {:.2} us each", 1e-6 / each, each * 1e6)
}

fn shapes(n: u64) -> [(&'static str, String); 4] {
    let trace = format!("{:032x}", n + 1);
    [
        ("plain", format!("2026-01-01T10:00:00.{n:06}Z  INFO orders: order {n} accepted in 12 ms")),
        (
            "colour",
            format!("\x1b[2m2026-01-01\x1b[0m \x1b[32m INFO\x1b[0m orders: order {n} accepted"),
        ),
        ("logfmt", format!("level=info msg=\"order accepted\" order={n} trace_id={trace}")),
        (
            "json",
            format!(
                r#"{{"time":"2026-01-01T10:00:00Z","level":"info","msg":"order {n} accepted","trace_id":"{trace}","order_id":"ord_{n}","ms":12}}"#
            ),
        ),
    ]
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for shape in 0..4 {
        let lines: Vec<String> = (0..1000).map(|n| shapes(n)[shape].1.clone()).collect();
        let started = clock::now();
        let mut found = 0;
        for n in 0..LINES {
            found += u64::from(parse::line(&lines[(n % 1000) as usize]).level.is_some());
        }
        let took = clock::now() - started;
        println!("parse {:7} {} ({found} levels)", shapes(0)[shape].0, rate(LINES, took));
    }
    let dir = std::env::temp_dir().join(format!("ingest-{}", std::process::id()));
    let tasks = Tasks::new(&CancellationToken::new());
    let store = LogStore::open(dir.clone(), &tasks)?;
    let started = clock::now();
    for n in 0..LINES {
        let instance = format!("orders-{}", n % 2).parse()?;
        let text = shapes(n)[(n % 4) as usize].1.clone();
        store.take(Line { at_ms: n, instance, stream: Stream::Stdout, text });
        if n % 4096 == 0 {
            store.flush().await;
        }
    }
    store.flush().await;
    println!(
        "store all shapes {}, {} dropped",
        rate(LINES, clock::now() - started),
        store.dropped()
    );
    let trace = Filter { trace_id: Some(format!("{:032x}", 1003)), ..Filter::default() };
    let text = Filter { text: Some("ord_1003".to_owned()), ..Filter::default() };
    for (name, filter) in [("last 200", Filter::default()), ("one trace", trace), ("a text", text)]
    {
        let started = clock::now();
        let found = store.last(&filter, 200).await?.len();
        println!("query {name}: {found} records in {:?}", clock::now() - started);
    }
    tasks.shutdown(Duration::from_secs(5)).await;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
