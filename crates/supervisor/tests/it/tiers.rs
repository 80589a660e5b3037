//! The same promises whatever control groups there are.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

use std::path::{Path, PathBuf};

use archipel_model::{Bytes, InstanceState, Memory};
use archipel_supervisor::{Exit, MemoryTier};
use archipel_testkit::eventually;

use crate::support::*;

const REAL: &str = "/sys/fs/cgroup";

/// A directory in which only some of the machine's hierarchies can be seen.
fn view(parts: &[&str]) -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    for part in parts {
        let real = PathBuf::from(REAL).join(part);
        if !real.join("cgroup.procs").exists() {
            return None;
        }
        std::os::unix::fs::symlink(real, dir.path().join(part)).unwrap();
    }
    Some(dir)
}

async fn check(parts: &[&str], memory: MemoryTier, tracks: bool) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let Some(view) = view(parts) else {
        println!("skipped: this machine has no {parts:?}");
        return;
    };
    let world = World::with(|config| config.cgroup_root = view.path().to_path_buf()).await;
    let capabilities = world.supervisor.capabilities();
    let seen = (capabilities.memory, capabilities.tracks_processes);
    assert_eq!(seen, (memory, tracks), "{capabilities:?}");

    let mut leak = program("leak-0", &[&fixture(), "leak", "200"]);
    let limit = Bytes(64 << 20);
    leak.memory =
        Some(Memory { limit, high: None, swap: None, jvm: false, go: false, node: false });
    world.apply(vec![program("forks-0", &[&fixture(), "fork", "3"]), leak]).await;

    let status = world.wait("leak-0", |s| s.last_exit.is_some()).await;
    let exit = status.last_exit.as_ref().unwrap();
    assert!(matches!(exit.exit, Exit::OomKilled { .. }), "{exit:?}");

    // The first process dies; its orphans in sessions of their own follow before the next start.
    world.wait_line("forks-0", "forked all").await;
    let first = world.wait_state("forks-0", InstanceState::Ready).await;
    let orphans = world.processes();
    kill(first.pid.unwrap());
    world.wait("forks-0", |s| s.restarts == 1).await;
    eventually(LONG, || async {
        let left: Vec<i32> = orphans.iter().copied().filter(|pid| alive(*pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    world.down().await;
    assert!(world.processes().is_empty());
}

fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_alone() {
    check(&["memory", "freezer"], MemoryTier::V1, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_without_the_freezer() {
    check(&["memory"], MemoryTier::V1, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_without_memory_control() {
    check(&["unified"], MemoryTier::Poll, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_control_groups_at_all() {
    check(&[], MemoryTier::Poll, false).await;
}
