//! Memory limits, and the truth about who was killed for them.

use archipel_model::{Bytes, InstanceState, Memory};
use archipel_supervisor::{Exit, InstanceSpec, MemoryTier};

use crate::support::*;

fn limited(id: &str, what: &str, mib: &str, limit: u64) -> InstanceSpec {
    let mut spec = program(id, &[&fixture(), what, mib]);
    let limit = Bytes(limit << 20);
    spec.memory =
        Some(Memory { limit, high: None, swap: None, jvm: false, go: false, node: false });
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_is_told_as_what_it_is() {
    let world = World::new().await;
    world.apply(vec![limited("leak-0", "leak", "200", 64)]).await;
    let status = world.wait("leak-0", |s| s.last_exit.is_some()).await;
    let Exit::OomKilled { limit, peak } = status.last_exit.as_ref().unwrap().exit else {
        panic!("{status:?}")
    };
    assert_eq!(limit, Bytes(64 << 20));
    assert!(peak >= limit || peak.0 > 60 << 20, "{peak}");
    let status = world.wait_state("leak-0", InstanceState::BackingOff).await;
    let reason = status.reason.as_ref().unwrap();
    assert!(reason.starts_with("killed: memory limit 64M reached (peak "), "{reason}");
    assert_eq!(status.memory_tier, world.supervisor.capabilities().memory);
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_child_falls_to_the_limit_the_rest_follows() {
    let world = World::new().await;
    if world.supervisor.capabilities().memory == MemoryTier::Poll {
        return; // there the whole tree is measured and ended by us
    }
    world.apply(vec![limited("wrap-0", "child-leak", "200", 64)]).await;
    let first = world.wait_state("wrap-0", InstanceState::Ready).await;
    let status = world.wait("wrap-0", |s| s.last_exit.is_some()).await;
    let exit = status.last_exit.as_ref().unwrap();
    assert!(matches!(exit.exit, Exit::OomKilled { .. }), "{exit:?}");
    assert!(!std::path::Path::new(&format!("/proc/{}", first.pid.unwrap())).exists());
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_measured_without_the_page_cache() {
    let world = World::new().await;
    let mut spec = limited("user-0", "leak", "40", 300);
    // Much page cache, which is charged to the group too.
    let file = world.dir.path().join("big");
    spec.argv = ["sh", "-c"].map(String::from).to_vec();
    spec.argv.push(format!(
        "dd if=/dev/zero of={0} bs=1M count=120 2>/dev/null; cat {0} >/dev/null; exec {1} leak 40",
        file.display(),
        fixture()
    ));
    world.apply(vec![spec]).await;
    world.wait_line("user-0", "took").await;
    let mib = |s: &archipel_supervisor::InstanceStatus| s.memory_bytes.unwrap_or(0) >> 20;
    let status = world.wait("user-0", |s| mib(s) >= 40).await;
    assert!(mib(&status) < 80, "{} MiB", mib(&status));
    assert_eq!(status.memory_limit, Some(300 << 20));
    world.down().await;
}
