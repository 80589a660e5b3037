//! What it takes to become ready, and what is said when it does not.

use std::time::Duration;

use archipel_model::{Check, Command, Health, InstanceState, Probe, RestartOn};
use archipel_supervisor::{Exit, StartError, Stream, Supervisor};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_becomes_ready_and_stops() {
    let world = World::new().await;
    let spec = world.server("shop-0");
    world.apply(vec![spec.clone()]).await;
    let ready = world.wait_state("shop-0", InstanceState::Ready).await;
    assert_eq!(ready.port, spec.port);
    assert_eq!(ready.reason, None);
    assert!(ready.pid.is_some() && ready.ready_since_ms.is_some() && !ready.adopted);
    let probe = ready.probe_last.as_ref().unwrap();
    assert_eq!((probe.what.as_str(), probe.detail.as_str()), ("startup: GET /healthz", "HTTP 200"));
    // The same again does nothing.
    world.apply(vec![spec]).await;
    assert_eq!(world.status("shop-0").unwrap().pid, ready.pid);
    world.apply(vec![]).await;
    archipel_testkit::eventually(LONG, || async {
        match world.status("shop-0") {
            None => Ok(()),
            still => Err(still),
        }
    })
    .await;
    assert!(world.processes().is_empty());
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_listens_on_another_port_is_told_where() {
    let world = World::new().await;
    let mut spec = world.server("shop-0");
    let other = world.ports.get("instance/other-0").unwrap();
    spec.env.insert("PORT".into(), other.to_string());
    let port = spec.port.unwrap();
    world.apply(vec![spec]).await;
    let expected = format!(
        "startup probe: nothing listens on port {port} yet; \
         it listens on port {other} instead: does it read PORT?"
    );
    archipel_testkit::eventually(LONG, || async {
        match world.status("shop-0").and_then(|status| status.reason.clone()) {
            Some(reason) if reason == expected => Ok(()),
            other => Err(other),
        }
    })
    .await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_named_and_stops_nobody_else() {
    let world = World::new().await;
    let missing = program("bad-0", &["no-such-tool"]);
    let good = world.server("good-0");
    world.apply(vec![missing, good]).await;
    let bad = world.wait_state("bad-0", InstanceState::Failed).await;
    let reason = bad.reason.as_deref().unwrap();
    assert!(reason.starts_with("program not found: no-such-tool (looked in PATH="), "{reason}");
    world.wait_state("good-0", InstanceState::Ready).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_errors_say_what_is_wrong() {
    let world = World::new().await;
    let file = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = world.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let script = file("script", "#!/no/such/interpreter\n", 0o755);
    let garbage = file("garbage", "\0\0\0\0", 0o755);
    let plain = file("plain", "echo\n", 0o644);
    let mut nowhere = program("nowhere-0", &["sh"]);
    nowhere.cwd = "/no/such/directory".into();
    world
        .apply(vec![
            program("script-0", &[&script]),
            program("garbage-0", &[&garbage]),
            program("plain-0", &[&plain]),
            nowhere,
        ])
        .await;
    for (id, part) in [
        ("script-0", "the interpreter that"),
        ("garbage-0", "is not a program that this system can run"),
        ("plain-0", "chmod +x"),
        ("nowhere-0", "/no/such/directory cannot be entered: it does not exist"),
    ] {
        let status = world.wait_state(id, InstanceState::Failed).await;
        assert!(status.reason.as_ref().unwrap().contains(part), "{:?}", status.reason);
    }
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_names_its_holder() {
    let world = World::new().await;
    let mut spec = world.server("shop-0");
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    spec.port = Some(port);
    spec.env.insert("PORT".into(), port.to_string());
    world.apply(vec![spec]).await;
    let status = world.wait_state("shop-0", InstanceState::BackingOff).await;
    let reason = status.reason.as_ref().unwrap();
    let holder = format!("port {port} is taken by process {} `", std::process::id());
    assert!(reason.starts_with(&holder), "{reason}");
    // As soon as the stranger leaves, it starts by itself.
    drop(stranger);
    world.wait_state("shop-0", InstanceState::Ready).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_repeated_with_pauses_and_its_last_lines() {
    let world = World::new().await;
    world.apply(vec![sh("bad-0", "echo it hurts >&2; exit 3")]).await;
    let status =
        world.wait("bad-0", |s| s.attempt >= 3 && s.state == InstanceState::BackingOff).await;
    assert_eq!(status.last_exit.as_ref().unwrap().exit, Exit::Code(3));
    assert_eq!(status.last_lines, ["it hurts"]);
    assert!(status.next_start_at_ms.is_some());
    let reason = status.reason.as_ref().unwrap();
    assert!(reason.starts_with("exit 3 before it was ready (never ready in "), "{reason}");
    // A person starts it anew: the count begins again.
    world.supervisor.restart(&["bad-0".parse().unwrap()]).await.unwrap();
    world.wait("bad-0", |s| s.attempt <= 1).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_0_is_the_end_only_where_that_is_allowed() {
    let world = World::new().await;
    let mut done = sh("done-0", "exit 0");
    done.restart.on = RestartOn::Failure;
    let mut never = sh("never-0", "exit 4");
    never.restart.on = RestartOn::Never;
    let mut limited = sh("limited-0", "exit 5");
    limited.restart.max = Some(2);
    world.apply(vec![done, never, limited, sh("always-0", "exit 0")]).await;
    world.wait_state("done-0", InstanceState::Completed).await;
    world.wait_state("never-0", InstanceState::Failed).await;
    let limited = world.wait_state("limited-0", InstanceState::Failed).await;
    assert_eq!(limited.restarts, 3);
    assert!(limited.reason.as_ref().unwrap().contains("after 2 restarts"), "{:?}", limited.reason);
    let always = world.wait("always-0", |s| s.attempt >= 2).await;
    assert!(always.last_exit.as_ref().unwrap().exit.is_success());
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_slow_a_start_is_ended_with_the_probes_last_word() {
    let world = World::new().await;
    let mut spec = sh("slow-0", "sleep 1000");
    spec.port = Some(world.ports.get("slow").unwrap());
    spec.health.startup.within = Duration::from_millis(300);
    world.apply(vec![spec]).await;
    let status = world.wait_state("slow-0", InstanceState::BackingOff).await;
    let reason = status.reason.as_ref().unwrap();
    assert!(reason.starts_with("not ready within 300ms: nothing listens on port"), "{reason}");
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_ways_to_say_ready() {
    let world = World::new().await;
    let with = |mut spec: archipel_supervisor::InstanceSpec, check: Check| {
        let every = Duration::from_millis(20);
        spec.health = Health {
            startup: Probe { every, ..Probe::startup(check) },
            ready: Probe::ready(Check::Tcp),
            live: None,
        };
        spec
    };
    let file = world.dir.path().join("up");
    let file = file.to_str().unwrap();
    let notify = "python3 -c \"import os,socket; a=os.environ['NOTIFY_SOCKET']; \
        s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.connect('\\0'+a[1:]); \
        s.send(b'STATUS=x\\nREADY=1')\"; sleep 1000";
    let exec = Command { argv: vec!["test".into(), "-e".into(), file.into()], shell: false };
    world
        .apply(vec![
            with(
                sh("log-0", "echo loading; echo now serving on 80; sleep 1000"),
                Check::Log { pattern: "serving on [0-9]+".into() },
            ),
            with(sh("exec-0", &format!("touch {file}; sleep 1000")), Check::Exec(exec)),
            with(sh("notify-0", notify), Check::Notify),
            with(sh("plain-0", "sleep 1000"), Check::Tcp),
            with(world.server("tcp-0"), Check::Tcp),
        ])
        .await;
    for id in ["log-0", "exec-0", "notify-0", "plain-0", "tcp-0"] {
        world.wait_state(id, InstanceState::Ready).await;
    }
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_say_who_they_are() {
    let world = World::new().await;
    let mut spec = world.server("shop-0");
    spec.env.insert("SHOW_HEADERS".into(), "1".into());
    spec.env.insert("APP_API_TOKEN".into(), "s3cret".into());
    world.apply(vec![spec]).await;
    let line = world.wait_line("shop-0", "user-agent").await;
    assert!(line.contains("user-agent: archipel-probe"), "{line}");
    assert!(line.contains("dapr-api-token: s3cret"), "{line}");
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_starts_clean() {
    let world = World::new().await;
    let script = "grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/self/status; \
        echo core $(ulimit -c); echo umask $(umask); echo fds $(ls /proc/$$/fd | tr '\\n' ' '); \
        echo session $(cut -d' ' -f6 /proc/$$/stat) $$; \
        echo oom $(cat /proc/self/oom_score_adj); read line || echo no input; \
        env | cut -d= -f1 | sort | tr '\\n' ' '; echo; sleep 1000";
    world.apply(vec![sh("clean-0", script)]).await;
    world.wait_line("clean-0", "PATH").await;
    let lines = world.lines("clean-0", Stream::Stdout);
    let has = |line: &str| assert!(lines.iter().any(|l| l == line), "{line:?} in {lines:#?}");
    has("SigBlk:\t0000000000000000");
    // SIGPIPE above all, which Rust programs ignore.
    has("SigIgn:\t0000000000000000");
    has("NoNewPrivs:\t1");
    has("core 0");
    has("umask 0022");
    // The shell's own pipe for `$(…)` is the fourth; nothing of ours came along.
    has("fds 0 1 2 3");
    has("oom 200");
    has("no input");
    let session = lines.iter().find(|line| line.starts_with("session ")).unwrap();
    let numbers: Vec<&str> = session.split(' ').skip(1).collect();
    assert_eq!(numbers[0], numbers[1], "a session of its own");
    // Nothing is inherited but what was given (and what a shell adds by itself).
    let env = lines.last().unwrap();
    assert_eq!(env.trim(), "ARCHIPEL_RUN ARC_WORLD PATH PWD");
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_start_in_order_and_failures_do_not_hold_them_up() {
    let world = World::new().await;
    let mut bad = sh("bad-0", "exit 1");
    bad.level = 0;
    let mut base = world.server("base-0");
    base.level = 0;
    let mut top = world.server("top-0");
    top.level = 1;
    let mut stuck = sh("stuck-0", "sleep 1000");
    stuck.port = Some(world.ports.get("stuck").unwrap());
    stuck.health.startup.within = Duration::from_millis(500);
    world.apply(vec![top, base, bad, stuck]).await;
    let waiting = world.wait("top-0", |s| s.reason.is_some()).await;
    assert!(waiting.reason.as_ref().unwrap().starts_with("waits for "), "{waiting:?}");
    let top = world.wait_state("top-0", InstanceState::Ready).await;
    let base = world.wait_state("base-0", InstanceState::Ready).await;
    assert!(top.started_at_ms >= base.ready_since_ms, "{top:?} {base:?}");
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_supervisor_is_told_who_holds_the_lock() {
    let world = World::new().await;
    let (logs, _receiver) = archipel_rt::channel("test.logs", 16);
    let stop = archipel_rt::CancellationToken::new();
    let second = Supervisor::start(config(world.dir.path()), logs, &stop).await;
    match second.map(|_| ()) {
        Err(StartError::AlreadyRunning { pid, .. }) => {
            assert_eq!(pid, Some(std::process::id() as i32));
        }
        other => panic!("{other:?}"),
    }
    world.down().await;
}
