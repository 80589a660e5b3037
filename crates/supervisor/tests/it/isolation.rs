//! One service cannot read another's data, nor Archipel's own.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

use std::path::PathBuf;

use archipel_model::InstanceState;
use archipel_supervisor::{InstanceSpec, Isolation, IsolationKind};

use crate::support::*;

/// `<state>/data/<name>`, with a file in it.
fn data(world: &World, name: &str) -> PathBuf {
    let dir = world.dir.path().join("state/data").join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("secret"), format!("of {name}")).unwrap();
    dir
}

fn isolated(world: &World, id: &str, name: &str, argv: &[&str]) -> InstanceSpec {
    let mut spec = program(id, argv);
    spec.cwd = data(world, name);
    spec.isolate =
        Isolation { hide: vec![world.dir.path().join("state")], keep: vec![spec.cwd.clone()] };
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbours_data_cannot_be_read() {
    let world = World::new().await;
    let kind = world.supervisor.capabilities().isolation;
    if kind == IsolationKind::None {
        println!("skipped: {}", world.supervisor.capabilities().isolation_why);
        return;
    }
    let neighbour = isolated(&world, "b-0", "b", &["sleep", "1000"]);
    let other = neighbour.cwd.join("secret");
    world.apply(vec![neighbour.clone()]).await;
    let b = world.wait_state("b-0", InstanceState::Ready).await;
    let around = format!("/proc/{}/root{}", b.pid.unwrap(), other.display());
    let record = world.dir.path().join("state/supervisor.lock");

    let read = |id: &str, path: &str| isolated(&world, id, "a", &[&fixture(), "read", path]);
    let other = other.to_str().unwrap();
    // Its own working directory is its own data: relative paths, cwd and new files work.
    let writes = "echo mine > new && cat new secret; echo; mv new old; ls ..; echo end; sleep 1000";
    world
        .apply(vec![
            neighbour,
            read("own-0", "secret"),
            read("other-0", other),
            read("around-0", &around),
            read("state-0", record.to_str().unwrap()),
            isolated(&world, "writes-0", "a", &["sh", "-c", writes]),
            isolated(&world, "umount-0", "a", &["sh", "-c", &undo(&world, other)]),
        ])
        .await;
    assert_eq!(world.wait_line("own-0", "read").await, "read: of a");
    for id in ["other-0", "state-0"] {
        let line = world.wait_line(id, "read").await;
        assert_eq!(line, "not read: No such file or directory (os error 2)", "{id}");
    }
    if kind != IsolationKind::MountNamespace {
        let line = world.wait_line("around-0", "read").await;
        assert!(line.starts_with("not read: Permission denied"), "{line}");
        assert_eq!(world.wait_line("umount-0", "tried").await, "tried");
        assert!(
            !world
                .lines("umount-0", archipel_supervisor::Stream::Stdout)
                .contains(&"of b".to_owned())
        );
    }
    world.wait_line("writes-0", "end").await;
    // It sees that there is a directory above, and nothing in it but its own.
    let printed = world.lines("writes-0", archipel_supervisor::Stream::Stdout);
    assert_eq!(printed, ["mine", "of a", "a", "end"]);
    let kept = std::fs::read_to_string(world.dir.path().join("state/data/a/old")).unwrap();
    assert_eq!(kept, "mine\n");
    world.down().await;
    assert!(world.processes().is_empty());
}

/// What somebody would do who wants to look behind the cover.
fn undo(world: &World, other: &str) -> String {
    let cover = world.dir.path().join("state");
    format!(
        "umount {0}; umount -l {0}; unshare -r -m sh -c 'umount -l {0}; cat {other}'; \
         nsenter -t 1 -m cat {other}; cat {other}; echo tried; sleep 1000",
        cover.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_refused_that_is_shown_and_all_else_works() {
    let world = World::with(|config| config.isolation = false).await;
    let capabilities = world.supervisor.capabilities();
    assert_eq!(capabilities.isolation, IsolationKind::None);
    let finding = capabilities.findings().into_iter().find(|(what, ..)| *what == "isolation");
    assert_eq!(
        finding,
        Some(("isolation", false, "services can read each other's data (switched off)".to_owned()))
    );
    let other = data(&world, "b").join("secret");
    let spec = isolated(&world, "a-0", "a", &[&fixture(), "read", other.to_str().unwrap()]);
    world.apply(vec![spec]).await;
    assert_eq!(world.wait_line("a-0", "read").await, "read: of b");
    world.down().await;
}
