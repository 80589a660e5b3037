//! The machine against a small world: any order of events that processes, people and time can
//! bring about.

use archipel_model::Bytes;
use proptest::prelude::*;

use super::*;

fn policy(on: RestartOn, max: Option<u32>) -> Policy {
    Policy {
        restart: Restart { on, max, ..Restart::default() },
        drain: Duration::from_secs(2),
        grace: Duration::from_secs(10),
        startup_within: Duration::from_secs(60),
    }
}

/// What exists outside the machine.
struct World {
    machine: Machine,
    policy: Policy,
    now: Instant,
    spawning: bool,
    alive: bool,
    exited: Option<Exit>,
    forgotten: bool,
}

impl World {
    fn new(policy: Policy, seed: u64) -> Self {
        let now = archipel_rt::clock::now();
        let machine = Machine::new(policy, seed, now);
        Self { machine, policy, now, spawning: false, alive: false, exited: None, forgotten: false }
    }

    #[expect(clippy::needless_pass_by_value, reason = "events are made where they are given")]
    fn give(&mut self, event: Event) {
        for effect in self.machine.step(event.clone(), self.now) {
            match effect {
                Effect::Spawn => {
                    let free = !self.spawning && !self.alive && self.exited.is_none();
                    assert!(free && !self.forgotten, "a second process after {event:?}");
                    self.spawning = true;
                }
                Effect::Ask | Effect::Kill | Effect::Remember => {
                    assert!(self.alive || self.exited.is_some(), "nobody there: {event:?}");
                }
                Effect::Clear => assert!(self.exited.is_some(), "cleared alive: {event:?}"),
                Effect::Forget => {
                    assert!(!self.spawning && !self.alive && self.exited.is_none());
                    self.forgotten = true;
                }
            }
        }
        self.check(&event);
    }

    fn check(&self, event: &Event) {
        let machine = &self.machine;
        let exists = self.spawning || self.alive || self.exited.is_some();
        assert_eq!(machine.has_process(), exists, "after {event:?}: {:?}", machine.phase);
        if machine.state() != InstanceState::Ready && *machine.phase() != Phase::Gone {
            let reason = machine.reason().expect("a reason for not being ready");
            assert!(!reason.is_empty());
        }
        if let Phase::BackingOff { until } = machine.phase {
            let delay = until.saturating_duration_since(self.now);
            assert!(delay <= self.policy.restart.backoff.max.max(DELAY_MIN), "{delay:?}");
        }
        if machine.goal() == Goal::Run {
            match machine.phase() {
                Phase::Stopped | Phase::Gone => panic!("wanted, but {:?}", machine.phase),
                Phase::Completed => assert_ne!(self.policy.restart.on, RestartOn::Always),
                Phase::Failed => {
                    let final_spawn =
                        matches!(&machine.failure, Some(Failure::Spawn(text)) if text == "final");
                    let limited = self.policy.restart.max.is_some_and(|max| machine.attempt > max);
                    let never = self.policy.restart.on == RestartOn::Never;
                    assert!(final_spawn || limited || never, "gave up after {event:?}");
                }
                Phase::BackingOff { .. } | Phase::Starting { .. } => {
                    assert!(machine.due().is_some());
                }
                _ => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.give(Event::Due);
    }

    /// One move of the world, if it is possible now.
    fn act(&mut self, act: &Act) {
        match act {
            Act::Time(ms) => self.pass(Duration::from_millis(*ms)),
            Act::People(event) => self.give(event.clone()),
            Act::Turn => self.give(Event::Turn),
            Act::Drained => self.give(Event::Drained),
            Act::Spawned if self.spawning => {
                self.spawning = false;
                self.alive = true;
                self.give(Event::Spawned);
            }
            Act::SpawnFailed(is_final) if self.spawning => {
                self.spawning = false;
                let text = if *is_final { "final" } else { "once more" }.to_owned();
                self.give(Event::SpawnFailed { is_final: *is_final, text });
            }
            Act::Probe(event) if self.alive => self.give(event.clone()),
            Act::Exit(exit) if self.alive => {
                self.alive = false;
                self.exited = Some(*exit);
                self.give(Event::Exited);
            }
            Act::Cleared => {
                if let Some(exit) = self.exited.take() {
                    self.give(Event::Cleared(exit));
                }
            }
            _ => {}
        }
    }

    /// Everything goes well from now on.
    fn calm(&mut self) {
        for _ in 0..20 {
            if self.spawning {
                self.act(&Act::Spawned);
            } else if self.exited.is_some() {
                self.act(&Act::Cleared);
            } else if matches!(self.machine.phase, Phase::Stopping { .. }) {
                self.act(&Act::Exit(Exit::Signal(15)));
            } else if matches!(self.machine.phase, Phase::Up { ready: false }) {
                self.give(Event::Readiness { ok: true, detail: String::new() });
            } else if matches!(self.machine.phase, Phase::Starting { .. }) {
                self.give(Event::Started { ready: true, detail: String::new() });
            } else if matches!(self.machine.phase, Phase::Up { ready: true }) {
                return;
            } else if let Some(due) = self.machine.due() {
                self.now = self.now.max(due);
                self.give(Event::Due);
            } else {
                self.act(&Act::Turn);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Time(u64),
    People(Event),
    Turn,
    Drained,
    Spawned,
    SpawnFailed(bool),
    Probe(Event),
    Exit(Exit),
    Cleared,
}

fn acts() -> impl Strategy<Value = Act> {
    let text = String::new;
    let people = prop_oneof![
        Just(Event::Run),
        Just(Event::Stop { goal: Goal::Stop, why: Why::Person }),
        Just(Event::Stop { goal: Goal::Stop, why: Why::Shutdown }),
        Just(Event::Stop { goal: Goal::Remove, why: Why::Removed }),
        Just(Event::Again(Why::Restart)),
        Just(Event::Again(Why::Replaced)),
        Just(Event::KillNow(Why::Memory)),
        Just(Event::KillNow(Why::Shutdown)),
    ];
    let probe = prop_oneof![
        any::<bool>().prop_map(move |ready| Event::Started { ready, detail: text() }),
        any::<bool>().prop_map(move |ok| Event::Readiness { ok, detail: text() }),
        Just(Event::Unhealthy { detail: "no".to_owned() }),
    ];
    let exit = prop_oneof![
        (0..3i32).prop_map(Exit::Code),
        Just(Exit::Signal(9)),
        Just(Exit::OomKilled { limit: Bytes(1), peak: Bytes(1) }),
        Just(Exit::Unknown),
    ];
    prop_oneof![
        3 => (0..100_000u64).prop_map(Act::Time),
        1 => people.prop_map(Act::People),
        4 => Just(Act::Turn),
        1 => Just(Act::Drained),
        4 => Just(Act::Spawned),
        1 => any::<bool>().prop_map(Act::SpawnFailed),
        4 => probe.prop_map(Act::Probe),
        3 => exit.prop_map(Act::Exit),
        4 => Just(Act::Cleared),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    let on = prop_oneof![Just(RestartOn::Always), Just(RestartOn::Failure), Just(RestartOn::Never)];
    (on, prop::option::of(0..4u32), any::<bool>()).prop_map(|(on, max, drains)| {
        let policy = policy(on, max);
        Policy { drain: if drains { policy.drain } else { Duration::ZERO }, ..policy }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Never two processes, always a next step or a final reason, whatever happens.
    #[test]
    fn every_order_of_events(
        policy in policies(),
        seed in any::<u64>(),
        acts in prop::collection::vec(acts(), 0..80),
    ) {
        let mut world = World::new(policy, seed);
        for act in &acts {
            world.act(act);
        }
    }

    /// Once the world is kind again, what is wanted comes about.
    #[test]
    fn calm_after_any_storm(
        policy in policies(),
        seed in any::<u64>(),
        acts in prop::collection::vec(acts(), 0..60),
        wanted in any::<bool>(),
    ) {
        let mut world = World::new(policy, seed);
        for act in &acts {
            world.act(act);
        }
        if world.forgotten {
            return Ok(());
        }
        let event = if wanted {
            Event::Run
        } else {
            Event::Stop { goal: Goal::Stop, why: Why::Person }
        };
        world.give(event);
        // One failure may still be under way; people ask again.
        world.calm();
        if wanted {
            world.give(Event::Run);
            world.calm();
            prop_assert_eq!(world.machine.state(), InstanceState::Ready);
            prop_assert_eq!(world.machine.reason(), None);
        } else {
            prop_assert_eq!(world.machine.state(), InstanceState::Stopped);
        }
    }

    #[test]
    fn pauses_stay_within_their_bounds(
        seed in any::<u64>(),
        attempt in 1..100u32,
        min_ms in 0..5_000u64,
        max_ms in 0..100_000u64,
    ) {
        let backoff = Backoff { min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms) };
        let delay = delay(backoff, attempt, &mut Random(seed));
        prop_assert!(delay >= DELAY_MIN);
        prop_assert!(delay <= backoff.max.max(DELAY_MIN));
        if attempt == 1 {
            prop_assert!(delay <= backoff.min.max(DELAY_MIN));
        }
    }
}

fn ready(policy: Policy) -> World {
    let mut world = World::new(policy, 17);
    world.calm();
    assert_eq!(world.machine.state(), InstanceState::Ready);
    world
}

fn crash(world: &mut World, exit: Exit) {
    world.act(&Act::Exit(exit));
    world.act(&Act::Cleared);
}

#[test]
fn pauses_grow_and_begin_anew_only_after_long_readiness() {
    let mut world = ready(policy(RestartOn::Always, None));
    for n in 1..=6 {
        // Ready, but for less than `reset_after`.
        world.pass(Duration::from_secs(15));
        crash(&mut world, Exit::Code(1));
        assert_eq!((world.machine.attempt, world.machine.restarts), (n, n));
        world.calm();
    }
    world.pass(Duration::from_secs(61));
    assert_eq!(world.machine.attempt, 0);
    crash(&mut world, Exit::Code(1));
    assert_eq!((world.machine.attempt, world.machine.restarts), (1, 7));
}

#[test]
fn reasons_tell_the_kinds_of_failure_apart() {
    let reason = |world: &World| world.machine.reason().unwrap();
    let always = || policy(RestartOn::Always, None);

    let mut world = ready(always());
    crash(&mut world, Exit::Code(1));
    assert_eq!(reason(&world), "exit 1 while it was running; start 2 follows");

    let mut world = ready(always());
    crash(&mut world, Exit::OomKilled { limit: Bytes(64 << 20), peak: Bytes(64 << 20) });
    assert_eq!(reason(&world), "killed: memory limit 64M reached (peak 64M); start 2 follows");

    let mut world = ready(always());
    world.give(Event::Unhealthy { detail: "HTTP 500".into() });
    crash(&mut world, Exit::Signal(15));
    assert_eq!(reason(&world), "liveness probe failed: HTTP 500; start 2 follows");

    let mut world = World::new(always(), 17);
    world.act(&Act::Turn);
    world.act(&Act::Spawned);
    world.machine.probe_detail = "nothing listens on port 80 yet".into();
    world.pass(Duration::from_secs(60));
    crash(&mut world, Exit::Signal(15));
    let text = "not ready within 1m: nothing listens on port 80 yet; start 2 follows";
    assert_eq!(reason(&world), text);

    let mut world = ready(always());
    crash(&mut world, Exit::Code(0));
    assert!(reason(&world).starts_with("exit 0, but a service should go on"));

    let mut world = ready(policy(RestartOn::Always, Some(0)));
    crash(&mut world, Exit::Signal(11));
    let text = "killed by SIGSEGV while it was running; it is not started again after 0 restarts (restart.max)";
    assert_eq!(reason(&world), text);
}

#[test]
fn a_missing_program_is_final_only_before_it_has_ever_run() {
    let missing = Act::SpawnFailed(true);
    let mut world = World::new(policy(RestartOn::Always, None), 17);
    world.act(&Act::Turn);
    world.act(&missing);
    assert_eq!(world.machine.state(), InstanceState::Failed);
    // It was there a moment ago: a build is replacing it.
    let mut world = ready(policy(RestartOn::Always, None));
    crash(&mut world, Exit::Code(1));
    world.pass(Duration::from_secs(60));
    world.act(&Act::Turn);
    world.act(&missing);
    assert_eq!(world.machine.state(), InstanceState::BackingOff);
}

#[test]
fn stopping_goes_through_drain_signal_and_kill() {
    let mut world = ready(policy(RestartOn::Always, None));
    world.give(Event::Stop { goal: Goal::Stop, why: Why::Person });
    assert_eq!(world.machine.state(), InstanceState::Draining);
    let asked = world.machine.step(Event::Due, world.now + Duration::from_secs(2));
    assert_eq!(asked, [Effect::Ask]);
    let killed = world.machine.step(Event::Due, world.now + Duration::from_secs(12));
    assert_eq!(killed, [Effect::Kill]);
    assert!(world.machine.reason().unwrap().contains("did not stop within 10s"));
    // And again, should the kernel have held it.
    let killed = world.machine.step(Event::Due, world.now + Duration::from_secs(17));
    assert_eq!(killed, [Effect::Kill]);
}
