//! Lines: all of them, in order, also across lives of the supervisor.

use archipel_model::InstanceState;
use archipel_supervisor::Stream;
use archipel_testkit::eventually;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_line_arrives_in_order() {
    let world = World::new().await;
    let mut spec = program("loud-0", &[&fixture(), "lines", "50000"]);
    spec.restart.on = archipel_model::RestartOn::Never;
    world.apply(vec![spec]).await;
    world.wait_line("loud-0", "line 49999").await;
    let lines = world.lines("loud-0", Stream::Stdout);
    let expected: Vec<String> = (0..50_000).map(|n| format!("line {n}")).collect();
    assert!(lines == expected, "{} lines", lines.len());
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_of_a_dying_process_arrive() {
    let world = World::new().await;
    let mut spec = sh("last-0", "echo out; echo err >&2; printf 'no line feed'; kill -9 $$");
    spec.restart.on = archipel_model::RestartOn::Never;
    world.apply(vec![spec]).await;
    let status = world.wait_state("last-0", InstanceState::Failed).await;
    let mut last = status.last_lines.clone();
    last.sort();
    assert_eq!(last, ["err", "no line feed", "out"]);
    assert_eq!(world.lines("last-0", Stream::Stderr), ["err"]);
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_printed_while_nobody_reads_are_not_lost() {
    let mut world = World::new().await;
    let go = world.dir.path().join("go");
    let script = format!(
        "echo before; while ! test -e {0}; do sleep 0.02; done; \
         for i in $(seq 1000); do echo gap $i; done; touch {0}.done; sleep 1000",
        go.display()
    );
    let spec = sh("shop-0", &script);
    world.apply(vec![spec.clone()]).await;
    world.wait_line("shop-0", "before").await;
    let first = world.wait_state("shop-0", InstanceState::Ready).await;
    world.supervisor.shutdown(archipel_supervisor::Shutdown::Leave).await;
    std::fs::write(&go, "").unwrap();
    let done = world.dir.path().join("go.done");
    eventually(LONG, || async { if done.exists() { Ok(()) } else { Err("no end") } }).await;
    world.reopen().await;
    let adopted = world.wait_state("shop-0", InstanceState::Ready).await;
    assert!(adopted.adopted);
    assert_eq!(adopted.pid, first.pid);
    world.wait_line("shop-0", "gap 1000").await;
    let expected: Vec<String> = (1..=1000).map(|n| format!("gap {n}")).collect();
    assert_eq!(world.lines("shop-0", Stream::Stdout), expected);
    // The same specification: it goes on untouched.
    world.apply(vec![spec]).await;
    let still = world.wait_state("shop-0", InstanceState::Ready).await;
    assert_eq!(still.pid, first.pid);
    world.down().await;
    assert!(world.processes().is_empty());
}
