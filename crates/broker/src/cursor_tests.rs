//! The cursor against its promises, by property.

use std::collections::BTreeMap;

use archipel_rt::clock;
use proptest::prelude::*;

use super::*;

fn policy(concurrency: usize, attempts_max: u32) -> Policy {
    let backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(60) };
    Policy { concurrency, backoff, attempts_max }
}

fn key(n: u8) -> Option<OrderKey> {
    (n > 0).then_some(OrderKey([n; 16]))
}

fn failure() -> Failure {
    Failure { status: Some(500), detail: "boom".to_owned() }
}

/// A world around a cursor: a topic that grows, an app that answers, a clock, restarts.
struct World {
    cursor: Cursor,
    policy: Policy,
    keys: Vec<u8>,
    now: Instant,
    wall_ms: u64,
    in_flight: Vec<Slot>,
    /// What the app took for good, in order.
    done: Vec<u64>,
    buried: Vec<u64>,
    stored: SubscriptionV1,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            cursor: Cursor::new(policy, SubscriptionV1::default()),
            policy,
            keys: Vec::new(),
            now: clock::now(),
            wall_ms: 1_000_000,
            in_flight: Vec::new(),
            done: Vec::new(),
            buried: Vec::new(),
            stored: SubscriptionV1::default(),
        }
    }

    fn publish(&mut self, key: u8) {
        self.keys.push(key);
    }

    fn read(&mut self) {
        while let Some((from, max)) = self.cursor.wants() {
            let records = self.keys.iter().enumerate().skip(from as usize - 1).take(max);
            let arrivals: Vec<_> = records
                .map(|(i, k)| Arrival { seq: i as u64 + 1, key: key(*k), at_ms: self.wall_ms })
                .collect();
            assert_eq!(self.cursor.arrived(from, &arrivals), 0, "nothing is lost");
            if arrivals.is_empty() {
                break;
            }
        }
    }

    fn send(&mut self) {
        while let Some((slot, attempt)) = self.cursor.next(self.now) {
            assert!(attempt > 0);
            if let Slot::Log(seq) = slot {
                let key = self.keys[seq as usize - 1];
                let same = self.in_flight.iter().any(|other| match other {
                    Slot::Log(other) => key > 0 && self.keys[*other as usize - 1] == key,
                    Slot::Again(_) => false,
                });
                assert!(!same, "two events of one key at once");
            }
            self.in_flight.push(slot);
            assert!(self.in_flight.len() <= self.policy.concurrency);
        }
    }

    fn answer(&mut self, which: usize, verdict: Verdict, roll: u64) {
        if self.in_flight.is_empty() {
            return;
        }
        let slot = self.in_flight.swap_remove(which % self.in_flight.len());
        let done = matches!(verdict, Verdict::Done | Verdict::Drop);
        let moment = Moment { now: self.now, wall_ms: self.wall_ms, roll: Roll::of(roll) };
        match (self.cursor.answered(slot, verdict, moment), slot) {
            (Step::Settled | Step::Dropped, Slot::Log(seq)) => {
                assert!(done);
                self.done.push(seq);
            }
            (Step::Bury { .. }, Slot::Log(seq)) => {
                self.buried.push(seq);
                // The loop goes on with the key only when the dead letter is safe.
                self.stored = self.cursor.snapshot(&BTreeSet::from([slot]));
                self.cursor.buried(slot);
            }
            (step, _) => assert_eq!(step, Step::Retry),
        }
    }

    fn pass(&mut self, pause: Duration) {
        self.now += pause;
        self.wall_ms += pause.as_millis() as u64;
        self.cursor.wake(self.now);
    }

    fn save(&mut self) {
        self.stored = self.cursor.snapshot(&BTreeSet::new());
    }

    /// A crash: what was in flight is unknown, the cursor is as it was saved.
    fn crash(&mut self) {
        self.in_flight.clear();
        self.cursor = Cursor::new(self.policy, self.stored.clone());
    }

    fn check_floor(&self) {
        let floor = self.cursor.floor();
        for seq in 1..floor.min(self.keys.len() as u64 + 1) {
            let settled = self.done.contains(&seq) || self.buried.contains(&seq);
            assert!(settled, "{seq} is below the floor {floor} and was not settled");
        }
    }

    fn finish(&mut self) {
        for _ in 0..100_000 {
            self.read();
            self.send();
            match self.in_flight.is_empty() {
                false => self.answer(0, Verdict::Done, 0),
                true if self.cursor.due().is_some() => self.pass(Duration::from_secs(61)),
                true => break,
            }
        }
        assert_eq!(self.cursor.floor(), self.keys.len() as u64 + 1, "everything is settled");
        assert_eq!(self.cursor.open(), 0);
        assert!(self.cursor.lanes.is_empty() && self.cursor.waiting.is_empty());
    }
}

#[derive(Debug, Clone)]
enum Act {
    Publish(u8),
    Turn,
    Answer(usize, u8, u64),
    Pass(u64),
    Save,
    Crash,
    Hurry,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_u8).prop_map(Act::Publish),
        4 => Just(Act::Turn),
        6 => (any::<usize>(), 0..10_u8, any::<u64>()).prop_map(|(w, v, r)| Act::Answer(w, v, r)),
        2 => (0..90_000_u64).prop_map(Act::Pass),
        1 => Just(Act::Save),
        1 => Just(Act::Crash),
        1 => Just(Act::Hurry),
    ]
}

fn verdict(n: u8) -> Verdict {
    match n {
        0 => Verdict::Retry(failure()),
        1 => Verdict::NotYet(failure()),
        2 => Verdict::Busy(failure(), Duration::from_secs(3)),
        3 => Verdict::Poison(failure()),
        4 => Verdict::Unavailable,
        5 => Verdict::Drop,
        _ => Verdict::Done,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever the app answers and whenever we crash: nothing is skipped, the key order holds,
    /// the concurrency holds, and in the end everything is settled.
    #[test]
    fn every_event_is_settled_in_the_order_of_its_key(
        acts in prop::collection::vec(act(), 1..200),
        concurrency in 1..5_usize,
        attempts_max in 1..4_u32,
    ) {
        let mut world = World::new(policy(concurrency, attempts_max));
        for act in acts {
            match act {
                Act::Publish(key) => world.publish(key),
                Act::Turn => { world.read(); world.send(); }
                Act::Answer(which, n, roll) => world.answer(which, verdict(n), roll),
                Act::Pass(ms) => world.pass(Duration::from_millis(ms)),
                Act::Save => world.save(),
                Act::Crash => world.crash(),
                Act::Hurry => world.cursor.hurry(),
            }
            world.check_floor();
        }
        world.finish();

        // At least once: everything was taken or buried.
        let mut settled: Vec<u64> = world.done.iter().chain(&world.buried).copied().collect();
        settled.sort_unstable();
        settled.dedup();
        prop_assert_eq!(settled, (1..=world.keys.len() as u64).collect::<Vec<_>>());

        // In order: the first time each event of a key was taken, its predecessors had been.
        let mut last: BTreeMap<u8, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for seq in &world.done {
            let key = world.keys[*seq as usize - 1];
            if key > 0 && seen.insert(*seq) {
                let before = last.insert(key, *seq);
                prop_assert!(before.is_none_or(|before| before < *seq), "key {}: {:?}", key, world.done);
            }
        }
    }
}

fn moment(world: &World) -> Moment {
    Moment { now: world.now, wall_ms: world.wall_ms, roll: Roll::of(u64::MAX) }
}

#[test]
fn a_parked_key_lets_others_pass_and_keeps_its_order() {
    let mut world = World::new(policy(4, 3));
    [1, 2, 1, 2, 0, 1].into_iter().for_each(|key| world.publish(key));
    world.read();
    let mut taken = Vec::new();
    for _ in 0..20 {
        world.send();
        while let Some(slot) = world.in_flight.pop() {
            let Slot::Log(seq) = slot else { unreachable!() };
            let verdict = if seq == 1 { Verdict::NotYet(failure()) } else { Verdict::Done };
            if world.cursor.answered(slot, verdict, moment(&world)) == Step::Settled {
                taken.push(seq);
            }
        }
    }
    taken.sort_unstable();
    assert_eq!(taken, [2, 4, 5], "3 and 6 wait behind 1");
    assert_eq!(world.cursor.counts().parked_keys, 1);
    assert_eq!(world.cursor.floor(), 1);
    assert_eq!(
        world.cursor.snapshot(&BTreeSet::new()).open.iter().map(|o| o.seq).collect::<Vec<_>>(),
        [1, 3, 6]
    );
    world.finish();
    assert_eq!(world.done, [1, 3, 6]);
}

#[test]
fn not_yet_is_not_counted_and_ends_after_a_day() {
    let mut world = World::new(policy(1, 2));
    world.publish(1);
    world.read();
    let mut tries = 0;
    let tries = loop {
        world.send();
        let slot = world.in_flight.pop().expect("sent");
        match world.cursor.answered(slot, Verdict::NotYet(failure()), moment(&world)) {
            Step::Bury { tries, .. } => break tries,
            step => assert_eq!(step, Step::Retry),
        }
        tries += 1;
        assert!(tries < 100_000);
        let due = world.cursor.due().expect("it waits");
        assert!(due - world.now <= Duration::from_secs(10), "a person may be watching");
        world.pass(due - world.now + Duration::from_millis(1));
    };
    assert_eq!(tries.attempts, 0);
    let age = world.wall_ms - tries.first_ms;
    assert!((86_400_000..86_420_000).contains(&age), "{age}");
}

#[test]
fn a_service_without_instances_is_asked_seldom_and_counts_nothing() {
    let mut world = World::new(policy(8, 2));
    (0..50).for_each(|_| world.publish(0));
    world.read();
    let mut asked = 0;
    let start = world.now;
    while world.now - start < Duration::from_secs(600) {
        world.send();
        asked += world.in_flight.len();
        while let Some(slot) = world.in_flight.pop() {
            let step = world.cursor.answered(slot, Verdict::Unavailable, moment(&world));
            assert_eq!(step, Step::Retry);
        }
        let due = world.cursor.due().expect("it asks again");
        world.pass(due - world.now);
    }
    assert!(asked < 400, "asked {asked} times in ten minutes");
    let snapshot = world.cursor.snapshot(&BTreeSet::new());
    assert!(snapshot.open.iter().all(|open| open.tries == Tries::default()));
    world.finish();
    assert_eq!(world.done.len(), 50);
}

#[test]
fn poison_is_buried_at_once_and_its_key_goes_on() {
    let mut world = World::new(policy(2, 20));
    world.publish(1);
    world.publish(1);
    world.read();
    world.send();
    world.answer(0, Verdict::Poison(failure()), 0);
    assert_eq!(world.buried, [1]);
    world.finish();
    assert_eq!(world.done, [2]);
}

#[test]
fn attempts_end_at_their_limit() {
    let mut world = World::new(policy(1, 3));
    world.publish(0);
    world.read();
    for attempt in 1..=3 {
        world.pass(Duration::from_secs(61));
        assert_eq!(world.cursor.next(world.now), Some((Slot::Log(1), attempt)));
        world.in_flight.push(Slot::Log(1));
        world.answer(0, Verdict::Retry(failure()), u64::MAX);
    }
    assert_eq!(world.buried, [1]);
}

#[test]
fn attempts_are_remembered_over_a_restart() {
    let mut world = World::new(policy(1, 3));
    world.publish(0);
    world.read();
    world.send();
    world.answer(0, Verdict::Retry(failure()), 0);
    world.save();
    world.crash();
    world.read();
    assert_eq!(world.cursor.next(world.now), Some((Slot::Log(1), 2)));
}

#[test]
fn a_rewind_delivers_again_and_forgets_nothing_before_it() {
    let mut world = World::new(policy(1, 3));
    (0..6).for_each(|_| world.publish(1));
    world.read();
    world.send();
    world.answer(0, Verdict::NotYet(failure()), u64::MAX);
    assert!(world.cursor.is_still());
    world.cursor.rewind(4);
    world.finish();
    assert_eq!(world.done, [1, 2, 3, 4, 5, 6]);
    world.cursor.rewind(5);
    world.finish();
    assert_eq!(world.done[6..], [5, 6]);
}

#[test]
fn truncated_events_are_counted_as_lost() {
    let mut cursor = Cursor::new(policy(1, 3), SubscriptionV1::default());
    assert_eq!(cursor.truncated(11), 10);
    assert_eq!(cursor.wants(), Some((11, READ_MAX)));
    let open = |seq| OpenV1 { seq, tries: Tries::default() };
    let stored = SubscriptionV1 { high: 20, open: vec![open(3), open(4), open(18)] };
    let mut cursor = Cursor::new(policy(1, 3), stored);
    assert_eq!(cursor.wants(), Some((3, 2)));
    let arrival = |seq| Arrival { seq, key: None, at_ms: 0 };
    // The read began at 3 and the topic now begins at 15.
    assert_eq!(cursor.arrived(3, &[arrival(15), arrival(16)]), 2);
    assert_eq!(cursor.wants(), Some((18, 1)));
    assert_eq!(cursor.arrived(18, &[arrival(18)]), 0);
    assert_eq!(cursor.wants(), Some((20, READ_MAX)));
    assert_eq!(cursor.arrived(20, &[arrival(25)]), 5);
    assert_eq!(cursor.floor(), 18);
}

#[test]
fn one_stuck_key_does_not_fill_the_memory() {
    let mut world = World::new(policy(1, 3));
    (0..30_000).for_each(|_| world.publish(1));
    world.read();
    assert!(world.cursor.is_full());
    assert_eq!(world.cursor.wants(), None);
    world.finish();
    assert_eq!(world.done.len(), 30_000);
}

#[test]
fn a_dead_letter_comes_again_before_new_events() {
    let mut world = World::new(policy(1, 3));
    world.publish(0);
    world.read();
    world.cursor.inject(7, None, 0);
    assert_eq!(world.cursor.next(world.now), Some((Slot::Again(7), 1)));
    assert_eq!(world.cursor.answered(Slot::Again(7), Verdict::Done, moment(&world)), Step::Settled);
    world.finish();
    assert_eq!(world.done, [1]);
}
