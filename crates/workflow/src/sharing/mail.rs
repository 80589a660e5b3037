//! What is said to instances of other processes, and what those say to ours.

use std::collections::HashSet;

use archipel_storage::{Entry, Kv};
use dapr_durabletask_proto::HistoryEvent;
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::ask::{self, Asked};
use super::shard_of;
use super::stored::{self, Ask, End, LetterV1, ReplyV1, TaskV1};
use crate::engine::{Engine, Shared};
use crate::error::WorkflowError;
use crate::key::Key;
use crate::state::{State, Unit};
use crate::stored::Record as _;

const PAGE: usize = 500;

impl State {
    fn post(&mut self, key: &Key, letter: LetterV1, unit: &mut Unit) {
        let Some(role) = &mut self.role else { return };
        role.wanted.insert(key.app.clone());
        let number = role.next();
        let record = stored::mail_key(&key.app, shard_of(key), &role.me, number);
        unit.put(record, letter.write());
        unit.ring();
    }

    pub(crate) fn post_event(&mut self, key: &Key, event: HistoryEvent, unit: &mut Unit) {
        self.post(key, LetterV1 { event: Some(event), ..to(key) }, unit);
    }

    pub(crate) fn post_end(
        &mut self,
        key: &Key,
        output: Option<String>,
        of: Option<&Key>,
        unit: &mut Unit,
    ) {
        let of = of.map(Key::path);
        self.post(key, LetterV1 { end: Some(End { output, of }), ..to(key) }, unit);
    }

    pub(super) fn post_answer(&mut self, key: &Key, answer: stored::Answer, unit: &mut Unit) {
        self.post(key, LetterV1 { answer: Some(answer), ..to(key) }, unit);
    }

    pub(super) fn post_ask(&mut self, key: &Key, ask: Ask, unit: &mut Unit) {
        self.post(key, LetterV1 { ask: Some(ask), ..to(key) }, unit);
    }

    /// What a letter says happens, and the letter is gone, in one.
    fn open(&mut self, record: &str, key: &Key, letter: LetterV1, unit: &mut Unit) -> Option<Ask> {
        if let Some(ask) = letter.ask {
            return Some(ask);
        }
        unit.delete(record.to_owned());
        if let Some(event) = letter.event {
            self.send(key, event, unit);
        }
        if let Some(end) = letter.end {
            let of = end.of.as_deref().and_then(Key::from_path);
            self.end(key, end.output, of.as_ref(), unit);
        }
        if let Some(answer) = letter.answer {
            self.take_answer(key, answer, unit);
        }
        None
    }
}

fn to(key: &Key) -> LetterV1 {
    LetterV1 { app: key.app.to_string(), id: key.id.to_string(), ..LetterV1::default() }
}

/// Takes in all that has come for this member and the shards that it holds.
///
/// A row is taken in once: it stays in `seen` until a look that began later does not find it.
/// Only one look goes on at a time.
///
/// # Errors
/// When the store fails.
pub(crate) async fn take_in(engine: &Engine) -> Result<(), WorkflowError> {
    let shared = &engine.shared;
    let (me, held) = match &shared.lock().role {
        Some(role) => (role.me.clone(), role.held.clone()),
        None => return Ok(()),
    };
    let ours = |record: &str| {
        let shard = stored::mail_for(record).map(|(app, shard)| (app.into(), shard));
        shard.is_some_and(|shard| held.contains(&shard))
    };
    let mut found = HashSet::new();
    let mut asks = Vec::new();
    for page in rows(&*shared.kv, stored::MAIL, ours, &mut found).await? {
        asks.extend(letters(shared, page));
    }
    for page in rows(&*shared.kv, &stored::tasks_prefix(&me), |_| true, &mut found).await? {
        borrow(shared, page);
    }
    for page in rows(&*shared.kv, &stored::replies_prefix(&me), |_| true, &mut found).await? {
        replies(shared, page);
    }
    {
        let mut state = shared.lock();
        if let Some(role) = state.role.as_mut().filter(|role| role.me == me) {
            role.seen.retain(|record| found.contains(record));
            role.foreign.retain(|_, task| task.in_hand() || found.contains(&task.row));
        }
    }
    let mut answers = Vec::with_capacity(asks.len());
    for asked in asks {
        answers.push(ask::answer(engine, asked).boxed());
    }
    join_all(answers).await;
    Ok(())
}

type Page = Vec<(String, Entry)>;

/// All pages, read before any is taken in: what is taken in may add rows. What is not to be kept
/// takes no memory.
async fn rows(
    kv: &dyn Kv,
    prefix: &str,
    keep: impl Fn(&str) -> bool,
    found: &mut HashSet<String>,
) -> Result<Vec<Page>, WorkflowError> {
    let (mut pages, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut page = kv.list(prefix, after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(pages) };
        after = Some(last.clone());
        found.extend(page.iter().map(|(record, _)| record.clone()));
        page.retain(|(record, _)| keep(record));
        pages.push(page);
    }
}

fn letters(shared: &Shared, page: Page) -> Vec<Asked> {
    let read = page.into_iter().filter_map(|(record, entry)| {
        let letter = LetterV1::read(&record, &entry.value);
        // A newer Archipel beside us may write what we do not know; it stays for that one.
        let letter = letter.inspect_err(|error| tracing::debug!(%error, "a letter stays")).ok()?;
        let key = Key::new(&letter.app, &letter.id).ok()?;
        Some((record, key, letter))
    });
    let read: Vec<_> = read.collect();
    let mut asks = Vec::new();
    if read.is_empty() {
        return asks;
    }
    drop(shared.change(|state, unit| {
        for (record, key, letter) in read {
            if !state.mine(&key) || !state.first_sight(&record) {
                continue;
            }
            if let Some(ask) = state.open(&record, &key, letter, unit) {
                asks.push(Asked { record, key, ask });
            }
        }
    }));
    asks
}

fn borrow(shared: &Shared, page: Page) {
    let mut state = shared.lock();
    for (record, entry) in page {
        if let Ok(task) = TaskV1::read(&record, &entry.value)
            && state.first_sight(&record)
        {
            state.borrow(record, task);
        }
    }
}

fn replies(shared: &Shared, page: Page) {
    drop(shared.change(|state, unit| {
        for (record, entry) in page {
            if !state.first_sight(&record) {
                continue;
            }
            unit.delete(record.clone());
            let waiting = stored::number_of_reply(&record)
                .and_then(|number| state.role.as_mut()?.replies.remove(&number));
            if let (Some(waiting), Ok(reply)) = (waiting, ReplyV1::read(&record, &entry.value)) {
                // Whoever asked may have given up.
                let _ = waiting.send(reply);
            }
        }
    }));
}

impl State {
    fn first_sight(&mut self, record: &str) -> bool {
        self.role.as_mut().is_some_and(|role| role.seen.insert(record.to_owned()))
    }
}
