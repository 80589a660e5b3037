//! Lets people in when they arrive, and waits for the last of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::arrivals::arrivals;
use crate::browser::Browser;
use crate::journey::{Journey, Person};
use crate::random::Random;
use crate::report::{Notes, Report};

pub(crate) struct Wish {
    pub(crate) url: String,
    pub(crate) rate: f64,
    pub(crate) lasts: Duration,
    pub(crate) seed: u64,
    pub(crate) buyers_only: bool,
    pub(crate) think: bool,
    pub(crate) open_max: usize,
    pub(crate) accepted: Option<PathBuf>,
    /// In seconds from the start.
    pub(crate) windows: Vec<f64>,
    pub(crate) json: bool,
}

pub(crate) async fn run(wish: &Wish) -> Report {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let base: Arc<str> = wish.url.as_str().into();
    let begin = Instant::now();
    let notes = Arc::new(Notes::new(begin, wish.windows.clone()));
    let room = Arc::new(Semaphore::new(wish.open_max));
    let mut inside = JoinSet::new();
    for (number, at) in arrivals(wish.rate, wish.lasts, wish.seed).into_iter().enumerate() {
        let due = begin + at;
        tokio::time::sleep_until(due).await;
        notes.person();
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            notes.turned_away();
            continue;
        };
        let mut random =
            Random::new(wish.seed ^ (number as u64).wrapping_mul(0x2545_F491_4F6C_DD1D));
        let journey = Journey::draw(&mut random, wish.buyers_only);
        let browser = Browser::new(http.clone(), Arc::clone(&base), Arc::clone(&notes), due);
        let name = format!("load-{}-{number}", wish.seed);
        let (notes, thinks) = (Arc::clone(&notes), wish.think);
        inside.spawn(async move {
            let person = Person { browser, random, notes: &notes, thinks, name };
            // Why somebody gave up stands in the notes.
            let _ = person.go(journey).await;
            drop(place);
        });
        while inside.try_join_next().is_some() {}
    }
    while inside.join_next().await.is_some() {}
    notes.report()
}
