//! Workflows of five steps, in this process, over the embedded store with full sync: what the
//! engine costs without a wire and without an SDK.
//!
//! `cargo run --release -p archipel-workflow --example throughput -- DIRECTORY [concurrent] [seconds] [repeats] [waiting]`
//!
//! `waiting`: so many instances that have done five steps and wait for an event, before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_storage::Kv as _;
use archipel_storage::embedded::{EmbeddedKv, Options};
use archipel_workflow::{Config, Engine, Key, Reuse, is_terminal};
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::work_item::Request;
use dapr_durabletask_proto::workflow_action::WorkflowActionType as Action;
use dapr_durabletask_proto::{
    ActivityResponse, CompleteWorkflowAction, CreateInstanceRequest, OrchestrationStatus,
    ScheduleTaskAction, WorkItem, WorkflowAction, WorkflowRequest, WorkflowResponse,
};

const APP: &str = "bench";
const STEPS: i32 = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(or);
    let dir = PathBuf::from(args.first().ok_or("usage: throughput DIRECTORY …")?);
    let (concurrent, seconds) = (number(1, 64), number(2, 5));
    let (repeats, waiting) = (number(3, 3), number(4, 0));
    let stop = CancellationToken::new();
    let kv = Arc::new(EmbeddedKv::open(&dir.join("workflows.db"), Options::default()).await?);
    let begun = clock::now();
    let engine = Engine::open(kv.clone(), Config::default(), &stop).await?;
    println!("opened in {} ms, {} MiB", begun.elapsed().as_millis(), memory_kib() / 1024);
    let tasks = Tasks::new(&stop);
    for _ in 0..2 {
        let (engine, own) = (engine.clone(), tasks.clone());
        tasks.spawn("worker", async move { work(engine, own).await });
    }
    if waiting > 0 {
        wait_for_ever(&engine, &tasks, waiting).await;
    }
    let total = Arc::new(AtomicU64::new(0));
    for _ in 0..repeats {
        let (before, cpu) = (total.load(Ordering::Relaxed), cpu_us());
        let end = clock::now() + Duration::from_secs(seconds);
        let load = Tasks::new(&stop);
        for _ in 0..concurrent {
            let (engine, total) = (engine.clone(), Arc::clone(&total));
            load.spawn_unnamed(async move {
                while clock::now() < end {
                    once(&engine, "five").await;
                    total.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while !load.is_empty() {
            clock::sleep(Duration::from_millis(20)).await;
        }
        let done = total.load(Ordering::Relaxed) - before;
        println!(
            "{concurrent} at once: {} workflows/s, {:.1} us CPU per step, {} MiB, {} MiB on disk",
            done / seconds,
            (cpu_us() - cpu) as f64 / (done * STEPS as u64).max(1) as f64,
            memory_kib() / 1024,
            disk_bytes(&dir) >> 20,
        );
    }
    engine.shutdown(Duration::from_secs(5)).await;
    kv.close().await;
    Ok(())
}

async fn begin(engine: &Engine, name: &str) -> Key {
    let id = archipel_rt::random::u64();
    let request = CreateInstanceRequest {
        instance_id: format!("{name}-{id:016x}{:016x}", archipel_rt::random::u64()),
        name: name.to_owned(),
        input: Some("0".to_owned()),
        ..Default::default()
    };
    engine.create(APP, request, Reuse::Ended).await.expect("created")
}

async fn once(engine: &Engine, name: &str) {
    let key = begin(engine, name).await;
    let ended = engine.wait(&key, true, |s| s.is_some_and(|s| is_terminal(s.workflow_status)));
    assert_eq!(ended.await.expect("ends").expect("is there").output.as_deref(), Some("5"));
}

/// Each has done its steps.
async fn wait_for_ever(engine: &Engine, tasks: &Tasks, count: u64) {
    let (left, before) = (Arc::new(AtomicU64::new(count)), memory_kib());
    let begun = clock::now();
    let own = Tasks::new(&tasks.stop_token());
    for _ in 0..256 {
        let (engine, left) = (engine.clone(), Arc::clone(&left));
        own.spawn_unnamed(async move {
            let less = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
                let key = begin(&engine, "wait").await;
                let waits = |s: Option<&dapr_durabletask_proto::WorkflowState>| {
                    s.is_some_and(|s| s.custom_status.as_deref() == Some("waits"))
                };
                engine.wait(&key, false, waits).await.expect("waits");
            }
        });
    }
    while !own.is_empty() {
        clock::sleep(Duration::from_millis(20)).await;
    }
    // Until they are idle for long enough, and something is committed.
    clock::sleep(Config::default().idle_max + Duration::from_secs(1)).await;
    once(engine, "five").await;
    let used = memory_kib().saturating_sub(before);
    println!(
        "{count} wait after {} s: {used} KiB, {} bytes each",
        begun.elapsed().as_secs(),
        used * 1024 / count
    );
}

async fn work(engine: Engine, tasks: Tasks) {
    let mut worker = engine.connect(APP, true);
    let stop = tasks.stop_token();
    loop {
        let item = tokio::select! {
            item = worker.next() => item,
            () = stop.cancelled() => return,
        };
        let Some(WorkItem { completion_token, request, .. }) = item else { return };
        let engine = engine.clone();
        tasks.spawn_unnamed(async move {
            let done = match request {
                Some(Request::WorkflowRequest(request)) => {
                    engine.complete_turn(APP, turn(request, completion_token)).await
                }
                Some(Request::ActivityRequest(request)) => {
                    let response = ActivityResponse {
                        instance_id: request.workflow_instance.unwrap_or_default().instance_id,
                        task_id: request.task_id,
                        result: Some((request.task_id + 1).to_string()),
                        failure_details: None,
                        completion_token,
                    };
                    engine.complete_task(APP, response).await
                }
                _ => Ok(()),
            };
            done.expect("taken");
        });
    }
}

/// The step after the last that was answered. What is new says enough.
fn turn(request: WorkflowRequest, completion_token: String) -> WorkflowResponse {
    let mut next = 0;
    for event in &request.new_events {
        if let Some(EventType::TaskCompleted(done)) = &event.event_type {
            next = done.task_scheduled_id + 1;
        }
    }
    let done = next == STEPS;
    let action = match done {
        false => Action::ScheduleTask(ScheduleTaskAction {
            name: "step".to_owned(),
            input: Some(next.to_string()),
            ..Default::default()
        }),
        true => Action::CompleteWorkflow(CompleteWorkflowAction {
            workflow_status: OrchestrationStatus::Completed as i32,
            result: Some(STEPS.to_string()),
            ..Default::default()
        }),
    };
    let action = WorkflowAction { id: next, router: None, workflow_action_type: Some(action) };
    let waits = done && request.instance_id.starts_with("wait");
    WorkflowResponse {
        instance_id: request.instance_id,
        actions: if waits { Vec::new() } else { vec![action] },
        custom_status: waits.then(|| "waits".to_owned()),
        completion_token,
        ..Default::default()
    }
}

fn cpu_us() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    // A tick is 10 ms.
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000
}

fn memory_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
}

fn disk_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}
