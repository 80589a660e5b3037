//! State as its callers see it, on the back ends that keep it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use archipel_state::{Change, Guard, KEY_BYTES_MAX, Space, StateError, States, What};
use archipel_storage::Kv;
use archipel_storage::embedded::{EmbeddedKv, Options};
use archipel_storage::memory::MemoryKv;
use archipel_storage::postgres::{PostgresKv, PostgresUrl};
use archipel_testkit::{Rng, seeds};
use tokio::task::JoinSet;

const URL: &str = "ARCHIPEL_TEST_POSTGRES_URL";

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }
}

fn timed(kv: Arc<dyn Kv>) -> (States, Hand) {
    let hand = Hand(Arc::new(AtomicU64::new(1_700_000_000_000)));
    let own = hand.clone();
    (States::with_clock(kv, Arc::new(move || own.0.load(Ordering::SeqCst))), hand)
}

fn memory() -> (States, Hand, Arc<dyn Kv>) {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::default());
    let (states, hand) = timed(Arc::clone(&kv));
    (states, hand, kv)
}

/// Memory, a file, and a server where there is one.
async fn back_ends(test: &str, dir: &tempfile::TempDir) -> Vec<Arc<dyn Kv>> {
    let file = EmbeddedKv::open(&dir.path().join("state.db"), Options::default()).await;
    let mut all: Vec<Arc<dyn Kv>> =
        vec![Arc::new(MemoryKv::default()), Arc::new(file.expect("opens"))];
    match std::env::var(URL).ok().filter(|url| !url.is_empty()) {
        Some(url) => {
            let url = PostgresUrl::parse(&url).expect("a URL");
            let namespace = format!("{test}-{}", std::process::id());
            all.push(Arc::new(PostgresKv::open(url, &namespace).await.expect("opens")));
        }
        None => eprintln!("SKIPPED {test} on PostgreSQL: {URL} is not set"),
    }
    all
}

fn cart() -> Space {
    Space::new("statestore", "cart")
}

fn lasting(key: &str, seconds: u64) -> Change {
    let time_to_live = Some(Duration::from_secs(seconds));
    Change { what: What::Put { data: "v".into(), time_to_live }, ..Change::delete(key) }
}

async fn text(states: &States, space: &Space, key: &str) -> Option<String> {
    let item = states.get(space, key).await.expect("reads")?;
    Some(String::from_utf8_lossy(&item.data).into_owned())
}

fn is_mismatch<T>(result: Result<T, StateError>) -> bool {
    result.is_err_and(|error| matches!(error.first(), StateError::Mismatch { .. }))
}

#[tokio::test]
async fn an_etag_guards_a_write_and_changes_with_each() {
    let (states, _, _) = memory();
    let space = cart();
    states.save(&space, &[Change::put("k", "1")]).await.expect("saves");
    let first = states.get(&space, "k").await.expect("reads").expect("is there").etag;
    let by = |etag: &str| Change::put("k", "2").guarded(Guard::Etag(etag.to_owned()));
    states.save(&space, &[by(&first)]).await.expect("is as it was");
    assert!(is_mismatch(states.save(&space, &[by(&first)]).await));
    let second = states.get(&space, "k").await.expect("reads").expect("is there").etag;
    assert_ne!(first, second);
    let gone = Change::delete("nobody").guarded(Guard::Etag(second.clone()));
    assert!(is_mismatch(states.save(&space, &[gone]).await), "an etag on an absent key");
    assert!(is_mismatch(states.save(&space, &[by("1").guarded(Guard::Absent)]).await));
    let error = states.save(&space, &[by("abc")]).await.expect_err("is no etag");
    assert!(matches!(error, StateError::Etag { .. }), "{error}");
    states.save(&space, &[Change::delete("k"), Change::delete("nobody")]).await.expect("deletes");
    assert_eq!(text(&states, &space, "k").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_race_for_a_key_exactly_one_wins() {
    let dir = tempfile::tempdir().expect("a directory");
    for kv in back_ends("race", &dir).await {
        let states = States::new(kv);
        let mut picked = Vec::new();
        seeds(8, |seed| picked.push(seed));
        for seed in picked {
            let mut rng = Rng::new(seed);
            let (space, key) = (cart(), format!("race-{seed}"));
            let guard = if rng.below(2) == 0 {
                Guard::Absent
            } else {
                states.save(&space, &[Change::put(key.as_str(), "0")]).await.expect("saves");
                let item = states.get(&space, &key).await.expect("reads").expect("is there");
                Guard::Etag(item.etag)
            };
            let mut racers = JoinSet::new();
            for racer in 0..2 + rng.below(14) {
                let (states, space) = (states.clone(), space.clone());
                let change = Change::put(key.as_str(), racer.to_string()).guarded(guard.clone());
                racers.spawn(async move {
                    match states.save(&space, &[change]).await {
                        Ok(()) => Some(racer.to_string()),
                        Err(StateError::Mismatch { .. }) => None,
                        Err(error) => panic!("seed {seed}: {error}"),
                    }
                });
            }
            let winners: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
            assert_eq!(winners.len(), 1, "seed {seed}: {winners:?}");
            assert_eq!(text(&states, &space, &key).await.as_ref(), winners.first(), "seed {seed}");
        }
        states.close().await;
    }
}

#[tokio::test]
async fn a_transaction_happens_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    for kv in back_ends("whole", &dir).await {
        let (states, space) = (States::new(kv), cart());
        states.save(&space, &[Change::put("a", "1")]).await.expect("saves");
        let changes = [
            Change::put("b", "2"),
            Change::delete("a"),
            Change::put("c", "3").guarded(Guard::Etag("999999999".to_owned())),
        ];
        assert!(is_mismatch(states.transact(&space, &changes).await));
        assert_eq!(text(&states, &space, "a").await.as_deref(), Some("1"));
        assert_eq!(text(&states, &space, "b").await, None);
        states.transact(&space, &changes[..2]).await.expect("commits");
        assert_eq!(text(&states, &space, "a").await, None);
        assert_eq!(text(&states, &space, "b").await.as_deref(), Some("2"));
        states.close().await;
    }
}

#[tokio::test]
async fn what_has_expired_is_gone_at_once_and_swept_later() {
    let (states, hand, kv) = memory();
    let space = cart();
    states.save(&space, &[lasting("k", 10), lasting("again", 10)]).await.expect("saves");
    let item = states.get(&space, "k").await.expect("reads").expect("is there");
    assert_eq!(item.expires_ms, Some(1_700_000_010_000));
    // Written again with a later end, and without one.
    states.save(&space, &[lasting("again", 60), lasting("kept", 5)]).await.expect("saves");
    states.save(&space, &[Change::put("kept", "for good")]).await.expect("saves");
    hand.forward(10);
    assert_eq!(text(&states, &space, "k").await, None);
    assert_eq!(text(&states, &space, "again").await.as_deref(), Some("v"));
    let listed = states.list(&space, "", None, 10).await.expect("lists");
    let keys: Vec<_> = listed.items.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(keys, ["again", "kept"]);
    let old = Change::put("k", "x").guarded(Guard::Etag(item.etag));
    assert!(is_mismatch(states.save(&space, &[old]).await), "it expired under its etag");
    assert_eq!(states.sweep().await.expect("sweeps"), 1);
    assert_eq!(kv.list("", None, 100).await.expect("lists").len(), 3, "two entries, one mark");
    // First write wins also over one that has expired and is still there.
    hand.forward(60);
    let fresh = Change::put("again", "new").guarded(Guard::Absent);
    states.save(&space, &[fresh]).await.expect("it counts as absent");
    while states.sweep().await.expect("sweeps") > 0 {}
    assert_eq!(text(&states, &space, "again").await.as_deref(), Some("new"));
    assert_eq!(kv.list("", None, 100).await.expect("lists").len(), 2, "two entries, no mark");
}

#[tokio::test]
async fn a_sweep_takes_bounded_steps() {
    let (states, hand, kv) = memory();
    let changes: Vec<_> = (0..600).map(|i| lasting(&format!("k{i}"), 1)).collect();
    states.save(&cart(), &changes).await.expect("saves");
    hand.forward(2);
    let mut steps = Vec::new();
    while let swept @ 1.. = states.sweep().await.expect("sweeps") {
        steps.push(swept);
    }
    assert_eq!(steps, [256, 256, 88]);
    assert!(kv.list("", None, 10).await.expect("lists").is_empty());
}

#[tokio::test]
async fn owners_see_their_own_keys_alone() {
    let (states, _, _) = memory();
    let (cart, orders) = (cart(), Space::new("statestore", "orders"));
    for space in [&cart, &orders] {
        let changes: Vec<_> =
            (0..5).map(|i| Change::put(format!("k{i}"), space.owner.clone())).collect();
        states.save(space, &changes).await.expect("saves");
    }
    assert_eq!(text(&states, &cart, "k0").await.as_deref(), Some("cart"));
    let page = states.list(&cart, "k", None, 3).await.expect("lists");
    assert_eq!((page.items.len(), page.next.as_deref()), (3, Some("k2")));
    let page = states.list(&cart, "k", Some("k2"), 3).await.expect("lists");
    assert_eq!((page.items.len(), page.next), (2, None));
    assert_eq!(states.owners("statestore").await.expect("lists"), ["cart", "orders"]);
    for bad in ["", "a||b", "a\0b", &"k".repeat(KEY_BYTES_MAX + 1)] {
        let error = states.save(&cart, &[Change::put(bad, "v")]).await.expect_err("no key");
        assert!(matches!(error, StateError::Key { .. }), "{bad:?}: {error}");
    }
}

#[tokio::test]
async fn of_many_items_the_failure_of_one_keeps_back_no_other() {
    let (states, _, _) = memory();
    let wrong = Change::put("a", "1").guarded(Guard::Etag("7".to_owned()));
    let saved = states.save(&cart(), &[wrong, Change::put("b", "1"), Change::put("b", "2")]).await;
    assert!(is_mismatch(saved));
    assert_eq!(text(&states, &cart(), "a").await, None);
    assert_eq!(text(&states, &cart(), "b").await.as_deref(), Some("2"), "the last one wins");
    let keys = ["b".to_owned(), "nobody".to_owned(), "b".to_owned()];
    let found = states.get_many(&cart(), &keys, 10).await.expect("reads");
    let there: Vec<_> = found.iter().map(|item| item.as_ref().is_ok_and(Option::is_some)).collect();
    assert_eq!(there, [true, false, true]);
}
