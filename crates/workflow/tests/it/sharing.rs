//! Several engines over one store, as several processes over one database. Each has a wire to
//! the store that can be held up, which is what a process that is stopped looks like to others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use archipel_storage::memory::MemoryKv;
use archipel_storage::postgres::{PostgresKv, PostgresUrl};
use archipel_storage::{Entry, Kv, KvError, StorageError, Tx, Version};
use archipel_testkit::{Rng, seeds};
use archipel_workflow::{
    Config, Engine, Filter, Limits, Rerun, Reuse, Sharing, WorkflowError, is_terminal,
};
use dapr_durabletask_proto::{OrchestrationStatus as Status, WorkflowAction};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::fake::{
    APP, Seen, WITHIN, child, ended, key, kinds, named, reaches, stages, start, task, timer, to,
};

const STOCK: &str = "stock";
const LEASE: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(600);

/// A store behind a wire of one process.
#[derive(Debug)]
struct Wire {
    kv: Arc<dyn Kv>,
    held: watch::Sender<bool>,
}

impl Wire {
    async fn pass(&self) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.expect("the sender is in `self`");
    }
}

#[async_trait::async_trait]
impl Kv for Wire {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        self.pass().await;
        self.kv.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Entry)>, StorageError> {
        self.pass().await;
        self.kv.list(prefix, after, max).await
    }

    async fn commit(&self, tx: Tx) -> Result<Version, KvError> {
        self.pass().await;
        self.kv.commit(tx).await
    }

    fn bell(&self) -> Option<watch::Receiver<u64>> {
        self.kv.bell()
    }

    async fn close(&self) {}
}

/// How often each activity ran, by instance and number.
type Ran = Arc<Mutex<BTreeMap<(String, i32), usize>>>;

struct Process {
    engine: Engine,
    wire: Arc<Wire>,
    workers: Vec<JoinHandle<()>>,
}

impl Process {
    async fn begin(kv: &Arc<dyn Kv>, lease: Duration) -> Self {
        let wire = Arc::new(Wire { kv: Arc::clone(kv), held: watch::Sender::new(false) });
        let sharing = Sharing { lease, ..Sharing::default() };
        let config = Config { attempts_max: 5, sharing: Some(sharing), ..Config::default() };
        let engine = Engine::open(wire.clone(), config, &CancellationToken::new()).await;
        Self { engine: engine.expect("opens"), wire, workers: Vec::new() }
    }

    /// A worker of `app` that connects again when its stream ends.
    fn work(&mut self, app: &'static str, ran: &Ran, pace: Duration) {
        let (engine, ran) = (self.engine.clone(), Arc::clone(ran));
        #[expect(clippy::disallowed_methods, reason = "the test aborts it")]
        self.workers.push(tokio::spawn(async move {
            loop {
                serve(&engine, app, &ran, pace).await;
                clock::sleep(Duration::from_millis(20)).await;
            }
        }));
    }

    async fn shutdown(self) {
        self.engine.shutdown(Duration::from_secs(5)).await;
        self.workers.iter().for_each(JoinHandle::abort);
    }
}

/// Until the stream ends. Activities take a while, side by side.
async fn serve(engine: &Engine, app: &'static str, ran: &Ran, pace: Duration) {
    use dapr_durabletask_proto::work_item::Request;
    let mut worker = engine.connect(app, false);
    let mut tasks = JoinSet::new();
    while let Some(item) = worker.next().await {
        let token = item.completion_token;
        match item.request {
            Some(Request::WorkflowRequest(request)) => {
                let response = crate::fake::turn(request, token, code);
                let _ = engine.complete_turn(app, response).await;
            }
            Some(Request::ActivityRequest(request)) => {
                let (engine, ran) = (engine.clone(), Arc::clone(ran));
                tasks.spawn(async move {
                    clock::sleep(pace).await;
                    let instance = request.workflow_instance.as_ref().expect("has one");
                    let step = (instance.instance_id.clone(), request.task_id);
                    *ran.lock().expect("nobody panics").entry(step).or_default() += 1;
                    let answer = crate::fake::answer(request, token, Some("ok".to_owned()));
                    let _ = engine.complete_task(app, answer).await;
                });
            }
            _ => {}
        }
    }
}

/// Steps, a fan-out, a child, a timer, an event; a child in another app with its activity there.
fn code(seen: &Seen) -> Vec<WorkflowAction> {
    match seen.name() {
        "leaf" => stages(seen, &[vec![task(0, "leaf")]], "leaf"),
        "asks" if seen.raised().is_empty() => {
            stages(seen, &[vec![task(0, "ask"), timer_far(9)]], "")
        }
        "asks" => stages(seen, &[vec![task(0, "ask")], vec![task(1, "told")]], "told"),
        "across" => {
            let plan = [
                vec![to(STOCK, task(0, "reserve")), task(1, "note")],
                vec![to(STOCK, child(2, "leaf", &format!("{}-stock", seen.input().expect("one"))))],
                vec![to(STOCK, task(3, "ship"))],
            ];
            stages(seen, &plan, "done")
        }
        _ => {
            let fan = (10..14).map(|id| task(id, "part")).collect();
            let plan = [
                vec![task(0, "reserve")],
                vec![task(1, "charge"), timer(2)],
                fan,
                vec![child(20, "leaf", "")],
                vec![task(30, "ship")],
            ];
            stages(seen, &plan, "done")
        }
    }
}

fn timer_far(id: i32) -> WorkflowAction {
    use dapr_durabletask_proto::CreateTimerAction;
    use dapr_durabletask_proto::workflow_action::WorkflowActionType as Action;
    let fire_at = Some((clock::wall() + Duration::from_secs(3_600)).into());
    let kind = Action::CreateTimer(CreateTimerAction { fire_at, ..Default::default() });
    WorkflowAction { id, router: None, workflow_action_type: Some(kind) }
}

/// In memory, or in PostgreSQL where `crates/storage/tests/with-postgres.sh` gives one.
async fn store() -> Arc<dyn Kv> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let url = std::env::var("ARCHIPEL_TEST_POSTGRES_URL").unwrap_or_default();
    if url.is_empty() {
        return Arc::new(MemoryKv::default());
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let namespace = format!("sharing-{}-{number}", std::process::id());
    let url = PostgresUrl::parse(&url).expect("a URL");
    Arc::new(PostgresKv::open(url, &namespace).await.expect("opens"))
}

fn ran() -> Ran {
    Arc::default()
}

/// Who holds how many shards of an app, by the store.
async fn shares(kv: &Arc<dyn Kv>, app: &str) -> Vec<usize> {
    let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (_, entry) in kv.list(&format!("l/shard/{app}/"), None, 100).await.expect("lists") {
        *counts.entry(entry.value.to_vec()).or_default() += 1;
    }
    // The empty holder's record is short.
    let mut counts: Vec<_> =
        counts.into_iter().filter(|(v, _)| v.len() > 10).map(|(_, n)| n).collect();
    counts.sort_unstable();
    counts
}

async fn shares_become(kv: &Arc<dyn Kv>, app: &str, wanted: &[usize]) {
    let deadline = clock::now() + WITHIN;
    loop {
        let now = shares(kv, app).await;
        if now == wanted {
            return;
        }
        assert!(clock::now() < deadline, "shards of {app} stay at {now:?}, not {wanted:?}");
        clock::sleep(Duration::from_millis(10)).await;
    }
}

fn once(ran: &Ran) {
    let ran = ran.lock().expect("nobody panics");
    let twice: Vec<_> = ran.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

fn each(ran: &Ran, instances: usize, activities: usize) {
    let ran = ran.lock().expect("nobody panics");
    let roots: BTreeSet<_> = ran.keys().map(|(id, _)| id.clone()).collect();
    assert_eq!((roots.len(), ran.len()), (instances, activities));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_alone_began_is_found_when_others_join() {
    let (kv, ran) = (store().await, ran());
    let alone = crate::fake::engine_on(Arc::clone(&kv)).await;
    let waits = crate::fake::start(&alone, "asks", "waits").await;
    alone.shutdown(WITHIN).await;
    let mut a = Process::begin(&kv, LEASE).await;
    a.work(APP, &ran, Duration::ZERO);
    shares_become(&kv, APP, &[32]).await;
    let record = kv.get("i/orders/waits").await.expect("reads");
    let deadline = clock::now() + WITHIN;
    while record.is_none() && kv.get("i/orders/waits").await.expect("reads").is_none() {
        assert!(clock::now() < deadline, "others do not find {waits}");
        clock::sleep(Duration::from_millis(10)).await;
    }
    a.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_the_work_evenly_and_do_everything_once() {
    let (kv, ran) = (store().await, ran());
    let mut a = Process::begin(&kv, LEASE).await;
    a.work(APP, &ran, Duration::from_millis(5));
    let first = start(&a.engine, "order", "alone").await;
    assert_eq!(ended(&a.engine, &first).await.output.as_deref(), Some("done"));
    shares_become(&kv, APP, &[32]).await;
    // The second joins in the middle of work.
    let mut starts = JoinSet::new();
    for i in 0..40 {
        let engine = a.engine.clone();
        starts.spawn(async move { start(&engine, "order", &format!("a{i}")).await });
    }
    let mut b = Process::begin(&kv, LEASE).await;
    b.work(APP, &ran, Duration::from_millis(5));
    shares_become(&kv, APP, &[16, 16]).await;
    for i in 0..40 {
        let engine = b.engine.clone();
        starts.spawn(async move { start(&engine, "order", &format!("b{i}")).await });
    }
    while let Some(started) = starts.join_next().await {
        let key = started.expect("starts");
        for engine in [&a.engine, &b.engine] {
            assert_eq!(ended(engine, &key).await.output.as_deref(), Some("done"), "{key}");
        }
    }
    once(&ran);
    each(&ran, 162, 81 * 8);
    let (found, _) = b.engine.list(APP, &Filter::default(), None, 1_000).await.expect("lists");
    assert_eq!(found.len(), 162, "each process shows all");
    a.shutdown().await;
    b.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stops_in_good_order_hands_over_at_once() {
    let (kv, ran) = (store().await, ran());
    let (mut a, mut b) = (Process::begin(&kv, LEASE).await, Process::begin(&kv, LEASE).await);
    a.work(APP, &ran, Duration::from_millis(5));
    b.work(APP, &ran, Duration::from_millis(5));
    shares_become(&kv, APP, &[16, 16]).await;
    let mut keys = Vec::new();
    for i in 0..30 {
        keys.push(start(&a.engine, "asks", &format!("i{i}")).await);
    }
    for key in &keys {
        let steps = async || {
            let events = b.engine.history(key).await.expect("is there");
            kinds(&events).iter().any(|kind| kind == "TaskCompleted")
        };
        let deadline = clock::now() + WITHIN;
        while !steps().await {
            assert!(clock::now() < deadline, "{key} does not begin");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }
    let before = clock::now();
    a.shutdown().await;
    for key in &keys {
        b.engine.raise(key, "go".to_owned(), Some("go".to_owned())).await.expect("raises");
    }
    for key in &keys {
        assert_eq!(ended(&b.engine, key).await.output.as_deref(), Some("told"));
    }
    assert!(clock::now() - before < LEASE, "it waited for the lease");
    shares_become(&kv, APP, &[32]).await;
    once(&ran);
    b.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_had_goes_on_elsewhere_and_the_dead_can_write_nothing() {
    let (kv, ran) = (store().await, ran());
    let (mut a, mut b) = (Process::begin(&kv, SHORT).await, Process::begin(&kv, SHORT).await);
    a.work(APP, &ran, Duration::from_millis(5));
    b.work(APP, &ran, Duration::from_millis(5));
    shares_become(&kv, APP, &[16, 16]).await;
    let mut keys = Vec::new();
    for i in 0..40 {
        let engine = if i % 2 == 0 { &a.engine } else { &b.engine };
        keys.push(start(engine, "order", &format!("i{i}")).await);
    }
    // Its commits wait on the wire from now on, and arrive when it has long been declared dead.
    a.wire.held.send_replace(true);
    for key in &keys {
        assert_eq!(ended(&b.engine, key).await.output.as_deref(), Some("done"), "{key}");
    }
    shares_become(&kv, APP, &[32]).await;
    let histories = async || {
        let mut all = Vec::new();
        for key in &keys {
            all.push(b.engine.history(key).await.expect("is there"));
        }
        all
    };
    let before = histories().await;
    a.wire.held.send_replace(false);
    // It notices, forgets, and takes part again.
    shares_become(&kv, APP, &[16, 16]).await;
    assert_eq!(histories().await, before, "the dead has written");
    for i in 0..20 {
        let key = start(&a.engine, "order", &format!("later{i}")).await;
        assert_eq!(ended(&a.engine, &key).await.output.as_deref(), Some("done"));
    }
    a.shutdown().await;
    b.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_live_where_their_workers_are_and_activities_travel() {
    let (kv, ran) = (store().await, ran());
    // As two sidecars of two services.
    let (mut orders, mut stock) =
        (Process::begin(&kv, LEASE).await, Process::begin(&kv, LEASE).await);
    orders.work(APP, &ran, Duration::from_millis(5));
    stock.work(STOCK, &ran, Duration::from_millis(5));
    shares_become(&kv, APP, &[32]).await;
    shares_become(&kv, STOCK, &[32]).await;
    let mut keys = Vec::new();
    for i in 0..30 {
        // Also from where no worker of the app is.
        let engine = if i % 2 == 0 { &orders.engine } else { &stock.engine };
        let mut request = named("across", &format!("i{i}"));
        request.input = Some(format!("i{i}"));
        keys.push(engine.create(APP, request, Reuse::Ended).await.expect("created"));
    }
    for key in &keys {
        assert_eq!(ended(&stock.engine, key).await.output.as_deref(), Some("done"));
    }
    once(&ran);
    each(&ran, 60, 30 * 4);
    // The only worker of an app moves: the instances follow it.
    let waiting = start(&orders.engine, "asks", "moves").await;
    orders.workers.drain(..).for_each(|worker| worker.abort());
    stock.work(APP, &ran, Duration::from_millis(5));
    orders.engine.raise(&waiting, "go".to_owned(), Some("go".to_owned())).await.expect("raises");
    assert_eq!(ended(&orders.engine, &waiting).await.output.as_deref(), Some("told"));
    orders.shutdown().await;
    stock.shutdown().await;
    let left = kv.list("l/", None, 1_000).await.expect("lists");
    let left: Vec<_> =
        left.into_iter().map(|(k, _)| k).filter(|k| !k.starts_with("l/shard")).collect();
    assert!(left.is_empty(), "mail and members are taken away: {left:?}");
}

/// A slow activity under way, when its instance moves to another process, runs on and counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_under_way_is_not_begun_again_when_its_instance_moves() {
    let (kv, ran) = (store().await, ran());
    let mut a = Process::begin(&kv, LEASE).await;
    a.work(APP, &ran, Duration::from_millis(1_500));
    let mut keys = Vec::new();
    for i in 0..20 {
        keys.push(start(&a.engine, "leaf", &format!("i{i}")).await);
        reaches(&a.engine, keys.last().expect("one"), Status::Running).await;
    }
    let mut b = Process::begin(&kv, LEASE).await;
    b.work(APP, &ran, Duration::from_millis(1));
    shares_become(&kv, APP, &[16, 16]).await;
    assert!(ran.lock().expect("nobody panics").is_empty(), "none is done when they move");
    for key in &keys {
        assert_eq!(ended(&b.engine, key).await.output.as_deref(), Some("leaf"));
    }
    once(&ran);
    a.shutdown().await;
    b.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_need_not_know_who_runs_what() {
    let (kv, ran) = (store().await, ran());
    let (mut a, mut b) = (Process::begin(&kv, LEASE).await, Process::begin(&kv, LEASE).await);
    a.work(APP, &ran, Duration::ZERO);
    b.work(APP, &ran, Duration::ZERO);
    shares_become(&kv, APP, &[16, 16]).await;
    // One name from both sides at once is given once.
    for i in 0..20 {
        let id = format!("same{i}");
        let both = [&a.engine, &b.engine].map(|e| e.create(APP, named("asks", &id), Reuse::Purged));
        let [one, two] = both;
        let (one, two) = tokio::join!(one, two);
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        let error = one.and(two).expect_err("one of them");
        assert!(matches!(error, WorkflowError::AlreadyExists { .. }), "{error}");
    }
    for i in 0..20 {
        let (key, name) = (key(&format!("same{i}")), "go".to_owned());
        let (near, far) = if i % 2 == 0 { (&a.engine, &b.engine) } else { (&b.engine, &a.engine) };
        match i % 4 {
            0 | 1 => near.raise(&key, name, Some("x".to_owned())).await.expect("raises"),
            2 => near.terminate(&key, Some("enough".to_owned()), true).await.expect("ends"),
            _ => {
                near.suspend(&key, None).await.expect("suspends");
                reaches(far, &key, Status::Suspended).await;
                near.resume(&key, None).await.expect("resumes");
                near.raise(&key, name, Some("x".to_owned())).await.expect("raises");
            }
        }
        let output = ended(far, &key).await.output;
        assert_eq!(output.as_deref(), Some(if i % 4 == 2 { "enough" } else { "told" }));
        let details = near.details(&key).await.expect("is there");
        assert!(is_terminal(details.summary.status as i32));
        if i % 4 != 2 {
            let rerun =
                Rerun { event_id: 1, new_id: Some(format!("again{i}")), ..Rerun::default() };
            let again = near.rerun(&key, rerun).await.expect("begins again");
            assert_eq!(ended(far, &again).await.output.as_deref(), Some("told"));
        }
        assert_eq!(near.purge(&key, true, false).await.expect("purges"), 1);
        assert!(far.get(&key, false).await.expect("asks").is_none());
        let missing = near.raise(&key, "go".to_owned(), None).await;
        assert!(matches!(missing, Err(WorkflowError::NotFound { .. })), "{missing:?}");
    }
    a.shutdown().await;
    b.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_workers_names_are_given_and_what_comes_waits() {
    let kv = store().await;
    let (a, b) = (Process::begin(&kv, LEASE).await, Process::begin(&kv, LEASE).await);
    let mut keys = Vec::new();
    for i in 0..10 {
        let engine = if i % 2 == 0 { &a.engine } else { &b.engine };
        keys.push(start(engine, "asks", &format!("i{i}")).await);
        engine.raise(&keys[i], "go".to_owned(), Some("go".to_owned())).await.expect("raises");
    }
    a.shutdown().await;
    b.shutdown().await;
    // All were away; the next one finds everything.
    let mut c = Process::begin(&kv, LEASE).await;
    c.engine.limit(APP, &Limits::default());
    c.work(APP, &ran(), Duration::ZERO);
    for key in &keys {
        assert_eq!(ended(&c.engine, key).await.output.as_deref(), Some("told"));
    }
    c.shutdown().await;
}

/// Processes are held up, stop and join by dice under a stream of instances: each ends, each
/// activity's effect is there, no history has an answer twice, and nothing is left behind.
#[test]
fn processes_come_and_go_by_dice_and_every_instance_ends() {
    seeds(4, |seed| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all();
        runtime.build().expect("a runtime").block_on(come_and_go(seed));
    });
}

async fn come_and_go(seed: u64) {
    let mut dice = Rng::new(seed);
    let (kv, ran) = (store().await, ran());
    let mut processes = Vec::new();
    for _ in 0..3 {
        let mut process = Process::begin(&kv, SHORT).await;
        process.work(APP, &ran, Duration::from_millis(3));
        process.work(STOCK, &ran, Duration::from_millis(3));
        processes.push(process);
    }
    let next = AtomicUsize::new(0);
    let mut keys = Vec::new();
    for round in 0..12 {
        for _ in 0..6 {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let free = processes.iter().filter(|p| !*p.wire.held.borrow());
            let free: Vec<_> = free.collect();
            let engine = &free[dice.below(free.len() as u64) as usize].engine;
            let name = if i.is_multiple_of(3) { "across" } else { "order" };
            let mut request = named(name, &format!("i{i}"));
            request.input = Some(format!("i{i}"));
            // A process that finds itself dead says that it does not know.
            match engine.create(APP, request, Reuse::Purged).await {
                Ok(_) | Err(WorkflowError::AlreadyExists { .. }) => {}
                Err(WorkflowError::Closing | WorkflowError::Unavailable(_)) => continue,
                Err(error) => panic!("seed {seed}: {error}"),
            }
            keys.push(key(&format!("i{i}")));
        }
        let held = processes.iter().position(|p| *p.wire.held.borrow());
        match (dice.below(4), held) {
            (0, None) if processes.len() > 1 => {
                let which = dice.below(processes.len() as u64) as usize;
                processes[which].wire.held.send_replace(true);
            }
            (1, Some(held)) => {
                processes[held].wire.held.send_replace(false);
            }
            (2, None) if processes.len() > 1 => {
                let which = dice.below(processes.len() as u64) as usize;
                processes.swap_remove(which).shutdown().await;
            }
            (3, _) if processes.len() < 4 => {
                let mut process = Process::begin(&kv, SHORT).await;
                process.work(APP, &ran, Duration::from_millis(3));
                process.work(STOCK, &ran, Duration::from_millis(3));
                processes.push(process);
            }
            _ => clock::sleep(Duration::from_millis(30 * (round % 5))).await,
        }
    }
    processes.iter().for_each(|p| {
        p.wire.held.send_replace(false);
    });
    let engine = &processes[0].engine;
    for key in &keys {
        let end = ended(engine, key).await;
        assert_eq!(end.workflow_status(), Status::Completed, "seed {seed}: {key}");
        // Panics on an answer that is there twice.
        Seen { events: engine.history(key).await.expect("is there") }.answered();
    }
    let done = ran.lock().expect("nobody panics").len();
    let across = keys.iter().filter(|k| k.id[1..].parse::<usize>().is_ok_and(|i| i % 3 == 0));
    let across = across.count();
    assert!(done >= across * 4 + (keys.len() - across) * 8, "seed {seed}: {done}");
    for process in processes {
        process.shutdown().await;
    }
}
