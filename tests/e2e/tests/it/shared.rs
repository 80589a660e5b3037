//! Several Archipel processes over one PostgreSQL, killed, stopped and cut off in the middle of
//! work. The test is the worker of each; run by `crates/storage/tests/with-postgres.sh`.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured and slept")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use archipel_e2e::binary;
use archipel_testkit::{Rng, seeds};
use dapr_durabletask_proto::history_event::EventType as E;
use dapr_durabletask_proto::task_hub_sidecar_service_client::TaskHubSidecarServiceClient;
use dapr_durabletask_proto::work_item::Request as Work;
use dapr_durabletask_proto::workflow_action::WorkflowActionType as Action;
use dapr_durabletask_proto::{
    ActivityResponse, CompleteWorkflowAction, CreateChildWorkflowAction, CreateInstanceRequest,
    CreateTimerAction, GetInstanceRequest, GetWorkItemsRequest, HistoryEvent,
    OrchestrationStatus as Status, RaiseEventRequest, ScheduleTaskAction, WorkItem, WorkflowAction,
    WorkflowResponse,
};
use tokio::runtime::Runtime;
use tonic::Code;
use tonic::transport::Channel;

type Client = TaskHubSidecarServiceClient<Channel>;

const LEASE: Duration = Duration::from_secs(2);
const INSTANCES: usize = 200;
/// Of an instance: three, and one of its child.
const EFFECTS: usize = 4;

/// What activities did, by their key; and what should not be.
#[derive(Default)]
struct Done {
    /// How often each ran: a crash may have it run again, under the same key.
    effects: Mutex<BTreeMap<(String, i32), usize>>,
    wrong: Mutex<BTreeSet<String>>,
}

impl Done {
    fn count(&self) -> usize {
        self.effects.lock().expect("no test panics here").len()
    }

    #[track_caller]
    fn check(&self, instances: usize) {
        assert_eq!(*self.wrong.lock().expect("no test panics here"), BTreeSet::new());
        let effects = self.effects.lock().expect("no test panics here");
        assert_eq!(effects.len(), instances * EFFECTS);
        let again: usize = effects.values().map(|times| times - 1).sum();
        eprintln!("{} effects, {again} of them run again under their key", effects.len());
    }
}

fn server(test: &str) -> Option<String> {
    let url = std::env::var("ARCHIPEL_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!("SKIPPED {test}: ARCHIPEL_TEST_POSTGRES_URL is not set");
    }
    url
}

/// One of the tests restarts the server; nobody else uses it meanwhile.
pub(crate) fn alone_with_the_server() -> MutexGuard<'static, ()> {
    static SERVER: Mutex<()> = Mutex::new(());
    SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn application() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("shared-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One process, and the worker that is connected to it.
struct Sidecar {
    process: Child,
    address: String,
}

impl Sidecar {
    fn start(url: &str, application: &str) -> Self {
        let mut command = Command::new(binary());
        command.args(["sidecar", "--port", "0", "--app-id", "orders", "--full"]);
        command.args(["--application", application, "--lease", "2s"]);
        command.env("ARCHIPEL_STORE_URL", url).stdout(Stdio::piped());
        let mut process = command.spawn().expect("starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("is piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it is");
        let address = line.trim().rsplit_once(' ').expect("an address").1.to_owned();
        Self { process, address }
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let done = Command::new("kill").args([signal, &id]).status().expect("runs");
        assert!(done.success());
    }

    fn work(&self, runtime: &Runtime, done: &Arc<Done>) {
        let (address, done) = (self.address.clone(), Arc::clone(done));
        runtime.spawn(async move {
            loop {
                // It may be dead, or stopped.
                let _ = stream(&address, &done).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn connect(address: &str) -> Result<Client, tonic::transport::Error> {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("a URL");
    let endpoint = endpoint.connect_timeout(Duration::from_secs(2));
    Ok(Client::new(endpoint.connect().await?))
}

async fn stream(address: &str, done: &Arc<Done>) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = connect(address).await?;
    let items = client.get_work_items(GetWorkItemsRequest::default()).await?;
    let mut items = items.into_inner();
    // What is in hand ends with the stream, as with a worker that dies.
    let mut serving = tokio::task::JoinSet::new();
    while let Some(item) = items.message().await? {
        let (mut client, done) = (client.clone(), Arc::clone(done));
        while serving.try_join_next().is_some() {}
        serving.spawn(async move { serve(&mut client, &done, item).await });
    }
    Ok(())
}

async fn serve(client: &mut Client, done: &Done, item: WorkItem) {
    let WorkItem { completion_token, request } = item;
    match request {
        Some(Work::WorkflowRequest(turn)) => {
            let events: Vec<_> = turn.past_events.iter().chain(&turn.new_events).collect();
            let actions = match order(&events) {
                Ok(actions) => actions,
                Err(wrong) => {
                    done.wrong.lock().expect("no test panics here").insert(wrong);
                    Vec::new()
                }
            };
            let instance_id = turn.instance_id;
            let response =
                WorkflowResponse { actions, instance_id, completion_token, ..Default::default() };
            let _ = client.complete_workflow_task(response).await;
        }
        Some(Work::ActivityRequest(task)) => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let instance_id = task.workflow_instance.unwrap_or_default().instance_id;
            let key = (instance_id.clone(), task.task_id);
            *done.effects.lock().expect("no test panics here").entry(key).or_default() += 1;
            let response = ActivityResponse {
                instance_id,
                task_id: task.task_id,
                result: Some("1".to_owned()),
                completion_token,
                ..Default::default()
            };
            let _ = client.complete_activity_task(response).await;
        }
        _ => {}
    }
}

/// An activity, a timer, a child with an activity, an event, two activities; then the end.
fn order(events: &[&HistoryEvent]) -> Result<Vec<WorkflowAction>, String> {
    let (mut begun, mut answered) = (BTreeSet::new(), BTreeSet::new());
    let (mut name, mut raised) = (String::new(), false);
    for event in events {
        let id = match &event.event_type {
            Some(E::ExecutionStarted(start)) => {
                name.clone_from(&start.name);
                continue;
            }
            Some(E::EventRaised(_)) => {
                raised = true;
                continue;
            }
            Some(E::TaskScheduled(_) | E::TimerCreated(_) | E::ChildWorkflowInstanceCreated(_)) => {
                begun.insert(event.event_id);
                continue;
            }
            Some(E::TaskCompleted(e)) => e.task_scheduled_id,
            Some(E::TimerFired(e)) => e.timer_id,
            Some(E::ChildWorkflowInstanceCompleted(e)) => e.task_scheduled_id,
            Some(E::TaskFailed(_) | E::ChildWorkflowInstanceFailed(_)) => {
                return Err(format!("something failed: {event:?}"));
            }
            _ => continue,
        };
        if !begun.contains(&id) || !answered.insert(id) {
            return Err(format!("{id} is answered twice, or was not asked: {events:?}"));
        }
    }
    let steps: &[&[i32]] = if name == "leaf" { &[&[0]] } else { &[&[0], &[1, 2], &[3], &[4]] };
    for step in steps {
        if step.iter().all(|id| answered.contains(id)) {
            continue;
        }
        if *step == [3] && !raised {
            return Ok(Vec::new());
        }
        return Ok(step.iter().filter(|id| !begun.contains(id)).map(|id| action(*id)).collect());
    }
    let end = CompleteWorkflowAction {
        workflow_status: Status::Completed as i32,
        result: Some("\"done\"".to_owned()),
        ..Default::default()
    };
    Ok(vec![WorkflowAction {
        id: 900,
        router: None,
        workflow_action_type: Some(Action::CompleteWorkflow(end)),
    }])
}

fn action(id: i32) -> WorkflowAction {
    let kind = match id {
        1 => {
            let fire_at = SystemTime::now() + Duration::from_millis(300);
            Action::CreateTimer(CreateTimerAction {
                fire_at: Some(fire_at.into()),
                ..Default::default()
            })
        }
        2 => Action::CreateChildWorkflow(CreateChildWorkflowAction {
            name: "leaf".to_owned(),
            ..Default::default()
        }),
        _ => Action::ScheduleTask(ScheduleTaskAction {
            name: format!("step{id}"),
            ..Default::default()
        }),
    };
    WorkflowAction { id, router: None, workflow_action_type: Some(kind) }
}

/// Repeats until it is done: one process is dead, or has lost its place, and the other will do.
async fn until<T, F: Future<Output = Result<T, tonic::Status>>>(
    addresses: &[String],
    ask: impl Fn(Client) -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let mut last = String::new();
        for address in addresses {
            let asked = async { Ok(ask(connect(address).await?).await) };
            let asked: Result<Result<Result<T, tonic::Status>, tonic::transport::Error>, _> =
                tokio::time::timeout(Duration::from_secs(5), asked).await;
            match asked {
                Ok(Ok(Ok(answer))) => return answer,
                Ok(Ok(Err(status))) => last = status.to_string(),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => "no answer".clone_into(&mut last),
            }
        }
        assert!(Instant::now() < deadline, "nobody does it: {last}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn create(addresses: &[String], id: &str) {
    until(addresses, |mut client| async move {
        let request = CreateInstanceRequest {
            instance_id: id.to_owned(),
            name: "order".to_owned(),
            enforce_unique_instance_id: true,
            ..Default::default()
        };
        match client.start_instance(request).await {
            // It was done before somebody died.
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            other => other.map(drop),
        }
    })
    .await;
}

async fn raise(addresses: &[String], id: &str) {
    until(addresses, |mut client| async move {
        let request = RaiseEventRequest {
            instance_id: id.to_owned(),
            name: "go".to_owned(),
            ..Default::default()
        };
        client.raise_event(request).await.map(drop)
    })
    .await;
}

async fn status(addresses: &[String], id: &str) -> i32 {
    until(addresses, |mut client| async move {
        let request = GetInstanceRequest { instance_id: id.to_owned(), ..Default::default() };
        let state = client.get_instance(request).await?.into_inner().workflow_state;
        Ok(state.map_or(-1, |state| state.workflow_status))
    })
    .await
}

/// Creates all, half at each end, raises each one's event, and calls `fault` in the middle.
/// Returns how long after the fault all had ended.
fn run(
    runtime: &Runtime,
    sidecars: &[Sidecar],
    done: &Arc<Done>,
    fault: impl FnOnce(),
) -> Duration {
    let all: Vec<_> = sidecars.iter().map(|sidecar| sidecar.address.clone()).collect();
    let ids: Vec<_> = (0..INSTANCES).map(|i| format!("order-{i}")).collect();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (i, id) in ids.iter().cloned().enumerate() {
            let mut addresses = all.clone();
            let count = addresses.len();
            addresses.rotate_left(i % count);
            tasks.spawn(async move {
                create(&addresses, &id).await;
                tokio::time::sleep(Duration::from_millis(i as u64 * 5)).await;
                raise(&addresses, &id).await;
            });
        }
        let (half, deadline) = (INSTANCES * EFFECTS / 3, Instant::now() + Duration::from_secs(60));
        while done.count() < half {
            assert!(Instant::now() < deadline, "only {} effects", done.count());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (begun, of) = (done.count(), INSTANCES * EFFECTS);
        tokio::task::block_in_place(fault);
        let at = Instant::now();
        while let Some(task) = tasks.join_next().await {
            task.expect("is done");
        }
        for id in &ids {
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let status = status(&all, id).await;
                if status == Status::Completed as i32 {
                    break;
                }
                assert!(Instant::now() < deadline, "{id} stays in {status}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        eprintln!("fault after {begun} of {of} effects; all had ended {:?} later", at.elapsed());
        at.elapsed()
    })
}

fn two(url: &str, runtime: &Runtime, done: &Arc<Done>) -> Vec<Sidecar> {
    let application = application();
    let sidecars: Vec<_> = (0..2).map(|_| Sidecar::start(url, &application)).collect();
    sidecars.iter().for_each(|sidecar| sidecar.work(runtime, done));
    sidecars
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

#[test]
fn when_a_process_is_killed_its_instances_go_on_elsewhere() {
    let Some(url) = server("when_a_process_is_killed") else { return };
    let _alone = alone_with_the_server();
    let (runtime, done) = (runtime(), Arc::new(Done::default()));
    let sidecars = two(&url, &runtime, &done);
    let took = run(&runtime, &sidecars, &done, || sidecars[0].signal("-KILL"));
    done.check(INSTANCES);
    assert!(took < LEASE + Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_process_that_was_stopped_past_its_lease_writes_nothing_and_takes_part_again() {
    let Some(url) = server("a_process_that_was_stopped") else { return };
    let _alone = alone_with_the_server();
    let (runtime, done) = (runtime(), Arc::new(Done::default()));
    let sidecars = two(&url, &runtime, &done);
    run(&runtime, &sidecars, &done, || {
        sidecars[0].signal("-STOP");
        std::thread::sleep(3 * LEASE);
        sidecars[0].signal("-CONT");
    });
    done.check(INSTANCES);
    // The one that was stopped does its part again, alone if need be.
    sidecars[1].signal("-TERM");
    let first = std::slice::from_ref(&sidecars[0].address);
    runtime.block_on(async {
        create(first, "later").await;
        raise(first, "later").await;
        while status(first, "later").await != Status::Completed as i32 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    done.check(INSTANCES + 1);
}

#[test]
fn when_the_database_is_restarted_everything_waits_and_goes_on() {
    let Some(url) = server("when_the_database_is_restarted") else { return };
    let _alone = alone_with_the_server();
    let Ok(restart) = std::env::var("ARCHIPEL_TEST_POSTGRES_RESTART") else { return };
    let (runtime, done) = (runtime(), Arc::new(Done::default()));
    let sidecars = two(&url, &runtime, &done);
    run(&runtime, &sidecars, &done, || {
        let done = Command::new("sh").args(["-c", &restart]).stdout(Stdio::null()).status();
        assert!(done.expect("runs").success(), "{restart}");
    });
    done.check(INSTANCES);
}

/// Kills and stops by dice; somebody always comes back.
#[test]
fn processes_are_killed_and_stopped_by_dice_and_every_instance_ends() {
    let Some(url) = server("processes_are_killed_by_dice") else { return };
    let _alone = alone_with_the_server();
    seeds(2, |seed| {
        let (runtime, done) = (runtime(), Arc::new(Done::default()));
        let application = application();
        let mut dice = Rng::new(seed);
        let sidecars: Vec<_> = (0..3).map(|_| Sidecar::start(&url, &application)).collect();
        sidecars.iter().for_each(|sidecar| sidecar.work(&runtime, &done));
        let mut late = None;
        run(&runtime, &sidecars, &done, || {
            let first = usize::try_from(dice.below(3)).expect("small");
            sidecars[first].signal("-KILL");
            let other = (first + 1) % 3;
            sidecars[other].signal("-STOP");
            std::thread::sleep(Duration::from_millis(dice.below(5_000)));
            sidecars[other].signal("-CONT");
            let fresh = Sidecar::start(&url, &application);
            fresh.work(&runtime, &done);
            late = Some(fresh);
        });
        done.check(INSTANCES);
    });
}

#[test]
fn a_database_that_cannot_be_reached_is_explained_and_no_password_shows() {
    let port = archipel_e2e::free_port().expect("a port");
    let url = format!("postgres://me:hidden@127.0.0.1:{port}/shop");
    let run = |arguments: &[&str], url: &str| {
        let mut command = Command::new(binary());
        command.arg("sidecar").args(arguments).env("ARCHIPEL_STORE_URL", url);
        let out = command.output().expect("runs");
        assert!(!out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let said = run(&["--port", "0"], &url);
    for part in [&format!("127.0.0.1:{port}/shop"), "cannot be reached", "ARCHIPEL_STORE_URL"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("hidden"), "{said}");
    let said = run(&["--port", "0", "--store", &url], "");
    assert!(said.contains("list of processes") && !said.contains("hidden"), "{said}");
}

/// Two machines, each with the whole application, and the manifest's database between them.
#[test]
fn two_ups_of_one_application_share_its_workflows() {
    use archipel_e2e::App;
    use archipel_testkit::eventually_blocking;
    let Some(url) = server("two_ups") else { return };
    let _alone = alone_with_the_server();
    let name = application();
    let manifest = crate::fixture::MANIFEST
        .replace("name = \"small\"", &format!("name = \"{name}\""))
        + "[secrets]\nworkflows-database = { required = true }\n[storage]\n\
           workflows = { secret = \"workflows-database\" }\nlease = \"2s\"\n";
    let up = || {
        let app = App::new(&manifest, &[("app.py", crate::fixture::APP_PY)]).expect("a directory");
        let app = app.env("ARCHIPEL_SECRET_WORKFLOWS_DATABASE", &url);
        app.up();
        app
    };
    let (one, two) = (up(), up());
    for i in 0..6 {
        let at = if i % 2 == 0 { &one } else { &two };
        let id = format!("o-{i}");
        at.run(&["workflow", "start", "front", "order", "--id", &id, "--input", "\"back\""]).ok();
    }
    for app in [&one, &two] {
        let listed = app.run(&["workflow", "list", "--json"]).ok().json();
        assert_eq!(listed["counts"]["pending"], 6, "{listed}");
    }
    crate::lifecycle::kill(one.archipel_pid(), "KILL");
    let runtime = runtime();
    let done = crate::workflows::work(&runtime, &two, &["front", "back"]);
    for i in 0..6 {
        let id = format!("o-{i}");
        two.run(&["workflow", "raise", "paid", &id]).ok();
        eventually_blocking(Duration::from_secs(30), || {
            let whole = two.run(&["workflow", "describe", &id, "--json"]).ok().json();
            if whole["status"] == "completed" { Ok(()) } else { Err(whole.to_string()) }
        });
    }
    assert_eq!(done.lock().expect("whole").len(), 6);
    let password = url.split([':', '@']).nth(2).expect("a password");
    let log = std::fs::read_to_string(two.state().join("archipel.log")).unwrap_or_default();
    assert!(log.contains("workflows are taken over") && !log.contains(password), "{log}");
    let everybody = Command::new("ps").args(["-eo", "args"]).output().expect("lists");
    assert!(!String::from_utf8_lossy(&everybody.stdout).contains(password));
}
