//! How long each step took: from the moment its code begins to the moment that of the next one
//! does. A line on standard input asks for what there is since the last one.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

pub const STEPS: u32 = 5;

#[derive(Default)]
struct Steps {
    last: HashMap<String, Instant>,
    took_ms: Vec<f64>,
}

static STEPS_TAKEN: LazyLock<Mutex<Steps>> = LazyLock::new(Mutex::default);

pub fn step(instance: &str, number: u32) -> u32 {
    let now = Instant::now();
    let mut steps = STEPS_TAKEN.lock().expect("nobody panics with it");
    let before = match number + 1 < STEPS {
        true => steps.last.insert(instance.to_owned(), now),
        false => steps.last.remove(instance),
    };
    if let Some(before) = before.filter(|_| number > 0) {
        steps.took_ms.push((now - before).as_secs_f64() * 1e3);
    }
    number + 1
}

/// `values` is sorted.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().checked_sub(1)?)).copied()
}

/// Until standard input ends, and the process with it.
pub fn answer_reports() {
    println!("ready");
    for _ in std::io::stdin().lock().lines() {
        let mut took = std::mem::take(&mut STEPS_TAKEN.lock().expect("as above").took_ms);
        took.sort_by(f64::total_cmp);
        let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
        println!("{}", serde_json::json!({ "steps": took.len(), "p50": p50, "p99": p99 }));
    }
    std::process::exit(0);
}

/// User and system time of this process, in microseconds.
pub fn cpu_us() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    // A tick is 10 ms.
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000
}
