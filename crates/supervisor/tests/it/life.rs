//! Restart, stop, drain, degrade.

use std::time::Duration;

use archipel_model::{Command, InstanceState, Probe};
use archipel_supervisor::{Exit, InstanceSpec};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back() {
    let world = World::new().await;
    world.apply(vec![world.server("shop-0")]).await;
    let first = world.wait_state("shop-0", InstanceState::Ready).await;
    kill(first.pid.unwrap());
    let second =
        world.wait("shop-0", |s| s.state == InstanceState::Ready && s.pid != first.pid).await;
    assert_eq!(second.restarts, 1);
    assert_eq!(second.last_exit.as_ref().unwrap().exit, Exit::Signal(9));
    assert!(second.run > first.run);
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_specification_replaces_the_process() {
    let world = World::new().await;
    let mut spec = world.server("shop-0");
    world.apply(vec![spec.clone()]).await;
    let first = world.wait_state("shop-0", InstanceState::Ready).await;
    spec.spec_hash = "2".into();
    world.apply(vec![spec]).await;
    let second =
        world.wait("shop-0", |s| s.state == InstanceState::Ready && s.pid != first.pid).await;
    assert_eq!((second.spec_hash.as_str(), second.restarts), ("2", 0));
    let exit = second.last_exit.as_ref().unwrap();
    assert_eq!(exit.ended_by.as_deref(), Some("replaced by a new specification"));
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_stop_stays_stopped() {
    let world = World::new().await;
    let spec = world.server("shop-0");
    let id = [spec.id.clone()];
    world.apply(vec![spec.clone()]).await;
    world.wait_state("shop-0", InstanceState::Ready).await;
    world.supervisor.stop_instances(&id).await.unwrap();
    world.wait_state("shop-0", InstanceState::Stopped).await;
    world.apply(vec![spec]).await;
    assert_eq!(world.status("shop-0").unwrap().state, InstanceState::Stopped);
    world.supervisor.start_instances(&id).await.unwrap();
    world.wait_state("shop-0", InstanceState::Ready).await;
    let unknown = ["other-0".parse().unwrap()];
    let error = world.supervisor.restart(&unknown).await.unwrap_err();
    assert_eq!(error.to_string(), "no such instance: other-0");
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_out_of_traffic_before_it_is_asked_to_stop() {
    let world = World::new().await;
    let mut spec = world.server("shop-0");
    spec.stop.drain = Duration::from_secs(3600);
    let id = spec.id.clone();
    world.apply(vec![spec]).await;
    let ready = world.wait_state("shop-0", InstanceState::Ready).await;
    world.supervisor.stop_instances(std::slice::from_ref(&id)).await.unwrap();
    let draining = world.wait_state("shop-0", InstanceState::Draining).await;
    assert_eq!(draining.pid, ready.pid);
    // Nothing is in flight any more: no need to wait for an hour.
    world.supervisor.drained(&id).await;
    world.wait_state("shop-0", InstanceState::Stopped).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ignores_the_signal_is_killed_and_told_off() {
    let world = World::new().await;
    let mut spec = sh("deaf-0", "trap '' TERM; while true; do sleep 1000; done");
    spec.stop.grace = Duration::from_millis(300);
    let id = spec.id.clone();
    world.apply(vec![spec]).await;
    world.wait_state("deaf-0", InstanceState::Ready).await;
    world.supervisor.stop_instances(&[id]).await.unwrap();
    let stopped = world.wait_state("deaf-0", InstanceState::Stopped).await;
    assert_eq!(stopped.last_exit.as_ref().unwrap().exit, Exit::Signal(9));
    assert!(world.processes().is_empty());
    let events = world.lines("deaf-0", archipel_supervisor::Stream::Event).join("\n");
    assert!(events.contains("did not stop within 300ms"), "{events}");
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_command_is_used_and_has_the_environment() {
    let world = World::new().await;
    let file = world.dir.path().join("stop");
    let mut spec = sh("cmd-0", "trap '' TERM; until test -e $STOP_FILE; do sleep 0.02; done");
    spec.env.insert("STOP_FILE".into(), file.to_str().unwrap().into());
    let command = Command { argv: vec!["touch".into(), "$STOP_FILE".into()], shell: false };
    spec.stop.command = Some(command);
    let id = spec.id.clone();
    world.apply(vec![spec]).await;
    world.wait_state("cmd-0", InstanceState::Ready).await;
    world.supervisor.stop_instances(&[id]).await.unwrap();
    let stopped = world.wait_state("cmd-0", InstanceState::Stopped).await;
    assert_eq!(stopped.last_exit.as_ref().unwrap().exit, Exit::Code(0));
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_server_is_taken_out_of_traffic_and_put_back() {
    let world = World::new().await;
    let sick = world.dir.path().join("sick");
    let mut spec = world.server("shop-0");
    spec.env.insert("SICK".into(), sick.to_str().unwrap().into());
    world.apply(vec![spec]).await;
    let ready = world.wait_state("shop-0", InstanceState::Ready).await;
    std::fs::write(&sick, "").unwrap();
    let degraded = world.wait_state("shop-0", InstanceState::Degraded).await;
    assert_eq!(degraded.reason.as_deref(), Some("readiness probe fails: HTTP 503: sick"));
    std::fs::remove_file(&sick).unwrap();
    let again = world.wait_state("shop-0", InstanceState::Ready).await;
    assert_eq!((again.pid, again.restarts), (ready.pid, 0));
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_alive_is_restarted() {
    let world = World::new().await;
    let sick = world.dir.path().join("sick");
    let mut spec = world.server("shop-0");
    spec.env.insert("SICK".into(), sick.to_str().unwrap().into());
    let check = spec.health.ready.check.clone();
    let every = Duration::from_millis(30);
    spec.health.live = Some(Probe { every, fail_after: 2, ..Probe::live(check) });
    world.apply(vec![spec]).await;
    world.wait_state("shop-0", InstanceState::Ready).await;
    std::fs::write(&sick, "").unwrap();
    let status = world.wait("shop-0", |s| s.restarts == 1 && s.last_exit.is_some()).await;
    let exit = status.last_exit.as_ref().unwrap();
    assert_eq!(exit.ended_by.as_deref(), Some("liveness probe failed: HTTP 503: sick"));
    std::fs::remove_file(&sick).unwrap();
    world.wait_state("shop-0", InstanceState::Ready).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_down_ends_everything_from_the_top() {
    let world = World::new().await;
    let mut specs = Vec::new();
    for (id, level) in [("base-0", 0), ("mid-0", 1), ("top-0", 2)] {
        let mut spec = world.server(id);
        spec.level = level;
        specs.push(spec);
    }
    let mut forks = program("forks-0", &[&fixture(), "fork", "3"]);
    forks.level = 2;
    specs.push(forks);
    world.apply(specs).await;
    for id in ["base-0", "mid-0", "top-0", "forks-0"] {
        world.wait_state(id, InstanceState::Ready).await;
    }
    world.wait_line("forks-0", "forked all").await;
    let watch = world.supervisor.watch();
    world.down().await;
    let ended = |id: &str| {
        let all = watch.borrow();
        let status = all.iter().find(|s| s.id.to_string() == id).unwrap();
        (status.state, status.last_exit.as_ref().unwrap().at_ms)
    };
    assert!(ended("top-0").1 <= ended("mid-0").1 && ended("mid-0").1 <= ended("base-0").1);
    assert_eq!(ended("base-0").0, InstanceState::Stopped);
    assert!(world.processes().is_empty());
}

/// Whether ever fewer than `least` of these instances were fit to serve, until all have a
/// process other than before.
async fn served_all_the_while(world: &World, ids: &[&str], least: usize) {
    let before: Vec<_> = ids.iter().map(|id| world.status(id).expect("it is there").run).collect();
    let mut watch = world.supervisor.watch();
    let all = async {
        loop {
            let now: Vec<_> = ids.iter().map(|id| world.status(id).expect("it is there")).collect();
            let ready = now.iter().filter(|s| s.state == InstanceState::Ready).count();
            assert!(ready >= least, "{now:#?}");
            if ready == ids.len() && now.iter().zip(&before).all(|(s, run)| s.run != *run) {
                return;
            }
            watch.changed().await.expect("the supervisor runs");
        }
    };
    tokio::time::timeout(LONG, all).await.expect("all are replaced in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_two_instances_is_no_outage() {
    let world = World::new().await;
    let mut specs = vec![world.server("shop-0"), world.server("shop-1")];
    world.apply(specs.clone()).await;
    for id in ["shop-0", "shop-1"] {
        world.wait_state(id, InstanceState::Ready).await;
    }
    let ids: Vec<_> = specs.iter().map(|spec| spec.id.clone()).collect();
    world.supervisor.restart(&ids).await.unwrap();
    served_all_the_while(&world, &["shop-0", "shop-1"], 1).await;

    // The same for what changed in the manifest, and when people want it done again meanwhile.
    for spec in &mut specs {
        spec.spec_hash = "2".into();
    }
    world.apply(specs).await;
    world.supervisor.restart(&ids).await.unwrap();
    served_all_the_while(&world, &["shop-0", "shop-1"], 1).await;
    assert_eq!(world.status("shop-1").unwrap().spec_hash, "2");
    world.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_specification_that_does_not_work_costs_one_instance_not_the_service() {
    let world = World::new().await;
    let good = [world.server("shop-0"), world.server("shop-1")];
    world.apply(good.to_vec()).await;
    for id in ["shop-0", "shop-1"] {
        world.wait_state(id, InstanceState::Ready).await;
    }
    let old = world.status("shop-1").unwrap();
    let bad = good.clone().map(|spec| {
        let mut bad = sh(&spec.id.to_string(), "exit 3");
        bad.spec_hash = "2".into();
        bad
    });
    world.apply(bad.to_vec()).await;
    world.wait("shop-0", |s| s.attempt > 1).await;
    let held = world.wait("shop-1", |s| s.reason.is_some()).await;
    assert_eq!((held.state, held.run), (InstanceState::Ready, old.run));
    assert_eq!(held.reason.as_deref(), Some("to be replaced, when shop-0 is ready"));

    let mended = good.map(|spec| InstanceSpec { spec_hash: "3".into(), ..spec });
    world.apply(mended.to_vec()).await;
    for id in ["shop-0", "shop-1"] {
        let one = world.wait(id, |s| s.state == InstanceState::Ready && s.spec_hash == "3").await;
        assert_eq!(one.reason, None);
    }
    world.down().await;
}
