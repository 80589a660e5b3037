//! Commands that run to their end, and builds.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use archipel_model::ServiceName;
use archipel_supervisor::{BuildOutcome, BuildSpec, Exit, Isolation, OnceSpec, Stream};
use archipel_testkit::eventually;

use crate::support::*;

fn once(world: &World, script: &str) -> OnceSpec {
    OnceSpec {
        name: "shop-migrate".into(),
        service: ServiceName::new("shop").unwrap(),
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        cwd: world.dir.path().to_path_buf(),
        env: BTreeMap::from([
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("ARC_WORLD".to_owned(), world.mark()),
        ]),
        memory: None,
        isolate: Isolation::default(),
        timeout: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_to_its_end() {
    let world = World::new().await;
    let done = world.supervisor.run_once(once(&world, "echo one; echo two >&2")).await;
    assert!(done.is_success(), "{done:?}");
    assert_eq!(done.exit_code(), 0);
    let mut lines = done.last_lines.clone();
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(world.lines("shop-0", Stream::Stdout), ["one"]);

    let failed = world.supervisor.run_once(once(&world, "echo why >&2; exit 7")).await;
    assert_eq!((failed.exit.clone(), failed.exit_code()), (Ok(Exit::Code(7)), 7));
    assert_eq!((failed.reason().as_str(), failed.last_lines.len()), ("exit 7", 1));

    let mut missing = once(&world, "");
    missing.argv = vec!["no-such-tool".into()];
    let missing = world.supervisor.run_once(missing).await;
    assert_eq!(missing.exit_code(), 127);
    assert!(missing.reason().starts_with("program not found: no-such-tool"));
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_running_is_ended_with_it() {
    let world = World::new().await;
    let done = world.supervisor.run_once(once(&world, "setsid sleep 1000 & echo left")).await;
    assert!(done.is_success());
    assert!(world.processes().is_empty());
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_too_long_is_killed() {
    let world = World::new().await;
    let mut spec = once(&world, "echo begun; sleep 1000");
    spec.timeout = Some(Duration::from_millis(200));
    let done = world.supervisor.run_once(spec).await;
    assert_eq!(done.exit_code(), 124);
    assert_eq!(done.reason(), "killed: not done within 200ms");
    assert_eq!(done.last_lines, ["begun"]);
    assert!(world.processes().is_empty());
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_any_more_so_it_ends() {
    let world = World::new().await;
    {
        let run = world.supervisor.run_once(once(&world, "echo begun; sleep 1000; true"));
        tokio::select! {
            biased;
            done = run => panic!("{done:?}"),
            _ = world.wait_line("shop-0", "begun") => {}
        }
    }
    eventually(LONG, || async {
        let left = world.processes();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_supervisor_is_the_end_of_its_commands() {
    let world = World::new().await;
    let supervisor = world.supervisor.clone();
    let spec = once(&world, "echo begun; sleep 1000; true");
    let mut run = tokio::task::JoinSet::new();
    run.spawn(async move { supervisor.run_once(spec).await });
    world.wait_line("shop-0", "begun").await;
    world.down().await;
    assert!(world.processes().is_empty());
    assert!(!run.join_next().await.unwrap().unwrap().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_end_the_supervisor_runs_no_command() {
    let world = World::new().await;
    let (supervisor, spec) = (world.supervisor.clone(), once(&world, "exit 0"));
    world.down().await;
    let done = supervisor.run_once(spec).await;
    assert!(done.exit.is_err() && done.reason().contains("stopping"), "{done:?}");
}

struct Project {
    spec: BuildSpec,
    counter: PathBuf,
}

impl Project {
    /// A "compiler" that copies its source and counts how often it ran.
    fn new(world: &World) -> Self {
        let dir = world.dir.path().join("shop");
        std::fs::create_dir_all(dir.join("src")).unwrap();
        std::fs::write(dir.join("src/main.txt"), "one").unwrap();
        let counter = world.dir.path().join("count");
        let artifact = dir.join("out/app");
        let script = format!(
            "echo compiling; echo x >> {}; mkdir -p out; cp src/main.txt out/app",
            counter.display()
        );
        let spec = BuildSpec {
            service: ServiceName::new("shop").unwrap(),
            argv: vec!["sh".into(), "-c".into(), script],
            cwd: dir,
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            inputs: Vec::new(),
            artifact: vec![artifact],
        };
        Self { spec, counter }
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(&self.counter).map_or(0, |text| text.lines().count())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_runs_only_when_something_changed() {
    let mut world = World::new().await;
    let project = Project::new(&world);
    let build = || world.supervisor.build(project.spec.clone());
    let BuildOutcome::Built { hash, .. } = build().await else { panic!("not built") };
    assert_eq!(world.lines("shop-0", Stream::Build), ["compiling"]);
    assert_eq!(build().await, BuildOutcome::Cached { hash: hash.clone() });
    // A change, a lost artefact: built again.
    std::fs::write(project.spec.cwd.join("src/main.txt"), "two").unwrap();
    match build().await {
        BuildOutcome::Built { hash: other, .. } => assert_ne!(other, hash),
        other => panic!("{other:?}"),
    }
    std::fs::remove_file(&project.spec.artifact[0]).unwrap();
    assert!(matches!(build().await, BuildOutcome::Built { .. }));
    assert_eq!(project.runs(), 3);
    let project = project.spec;
    // The next supervisor remembers.
    world.reopen().await;
    assert!(matches!(world.supervisor.build(project.clone()).await, BuildOutcome::Cached { .. }));
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_says_why_and_is_tried_again() {
    let world = World::new().await;
    let mut spec = Project::new(&world).spec;
    spec.argv = ["sh", "-c", "echo error: no such thing >&2; exit 2"].map(String::from).to_vec();
    for _ in 0..2 {
        match world.supervisor.build(spec.clone()).await {
            BuildOutcome::Failed { exit, reason, last_lines } => {
                assert_eq!(exit, Some(Exit::Code(2)));
                assert!(reason.ends_with("ended with exit 2"), "{reason}");
                assert_eq!(last_lines, ["error: no such thing"]);
            }
            other => panic!("{other:?}"),
        }
    }
    spec.argv = ["sh", "-c", "true"].map(String::from).to_vec();
    match world.supervisor.build(spec.clone()).await {
        BuildOutcome::Failed { reason, .. } => assert!(reason.contains("did not make"), "{reason}"),
        other => panic!("{other:?}"),
    }
    spec.argv = vec!["uv".into()];
    spec.env.insert("PATH".into(), "/nowhere".into());
    match world.supervisor.build(spec).await {
        BuildOutcome::Failed { exit: None, reason, .. } => {
            assert!(reason.starts_with("program not found: uv (looked in PATH=/nowhere); "));
        }
        other => panic!("{other:?}"),
    }
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_many_files_is_quick() {
    let world = World::new().await;
    let project = Project::new(&world);
    for dir in 0..50 {
        let dir = project.spec.cwd.join(format!("src/{dir}"));
        std::fs::create_dir_all(&dir).unwrap();
        for file in 0..100 {
            std::fs::write(dir.join(format!("{file}.rs")), format!("fn f{file}() {{}}")).unwrap();
        }
    }
    let build = || world.supervisor.build(project.spec.clone());
    assert!(matches!(build().await, BuildOutcome::Built { .. }));
    // Files that were written a moment ago are read once more; from then on a look suffices.
    let mut times = Vec::new();
    let begun = archipel_rt::clock::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let started = archipel_rt::clock::now();
        assert!(matches!(build().await, BuildOutcome::Cached { .. }));
        times.push(started.elapsed());
    }
    let best = times.iter().min().unwrap();
    println!("no-op check of 5,000 files: {best:?}");
    // Generous: this is an unoptimised build on a shared machine.
    assert!(*best < Duration::from_secs(1), "{times:?}");
    world.down().await;
}
