//! What only the holder of an instance can decide, asked of it by mail: whether a name is free,
//! and what is removed.
//!
//! The reply is written in the same transaction as what is asked for, and so is the end of the
//! letter: an answer that is lost with its process comes from the next holder, and nothing is
//! done twice.

use std::cell::RefCell;
use std::time::Duration;

use archipel_rt::clock;
use bytes::Bytes;
use dapr_durabletask_proto::CreateInstanceRequest;
use prost::Message as _;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::stored::{self, Ask, Create, Remove, ReplyV1, RerunOf};
use crate::engine::{Engine, Reuse, Shared};
use crate::error::WorkflowError;
use crate::key::Key;
use crate::rerun::Rerun;
use crate::state::{State, Unit};
use crate::stored::{EVENT_BYTES_MAX, Record as _};

/// Longer than a lease and a takeover.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a name is tried that a process here holds.
const NAMES: usize = 100;

/// The end of a letter, written with what it asks for.
#[derive(Debug)]
pub(crate) struct Along {
    letter: String,
    reply: (String, Bytes),
}

tokio::task_local! {
    /// Of the letter that is being answered.
    static ALONG: RefCell<Option<Along>>;
}

impl State {
    /// Called where a name is taken or given back.
    pub(crate) fn along(&self, unit: &mut Unit) {
        if self.role.is_none() {
            return;
        }
        let along = ALONG.try_with(|along| along.borrow_mut().take());
        if let Ok(Some(along)) = along {
            along.write(unit);
        }
    }
}

impl Along {
    fn write(self, unit: &mut Unit) {
        unit.delete(self.letter);
        unit.put(self.reply.0, self.reply.1);
        unit.ring();
    }
}

/// A letter that wants a reply.
#[derive(Debug)]
pub(super) struct Asked {
    pub record: String,
    pub key: Key,
    pub ask: Ask,
}

pub(super) async fn answer(engine: &Engine, asked: Asked) {
    let Asked { record, key, ask } = asked;
    let reply_key = stored::reply_key(&ask.from, ask.number);
    let done = ReplyV1 { removed: true, ..ReplyV1::default() };
    let along = Along { letter: record.clone(), reply: (reply_key.clone(), done.write()) };
    let rest = ALONG.scope(RefCell::new(Some(along)), async {
        let result = perform(engine, &key, ask).await;
        let untouched = ALONG.with(|along| along.borrow_mut().take().is_some());
        untouched.then_some(result)
    });
    let Some(result) = rest.await else { return };
    let reply = match result {
        Ok(removed) => ReplyV1 { removed, ..ReplyV1::default() },
        // It stays in the mail, for whoever holds the shard then.
        Err(WorkflowError::Closing | WorkflowError::Unavailable(_)) => return,
        Err(error) => refusal(&error),
    };
    let along = Along { letter: record, reply: (reply_key, reply.write()) };
    drop(engine.shared.change(|_, unit| along.write(unit)));
}

async fn perform(engine: &Engine, key: &Key, ask: Ask) -> Result<bool, WorkflowError> {
    let nothing = || WorkflowError::Invalid("the letter asks for nothing that is known".to_owned());
    if let Some(create) = ask.create {
        let reuse = if create.purged { Reuse::Purged } else { Reuse::Ended };
        let request = create.request.ok_or_else(nothing)?;
        return engine.create(&key.app, request, reuse).await.map(|_| true);
    }
    if let Some(rerun) = ask.rerun {
        let source = Key::new(&key.app, &rerun.source)?;
        let rerun = Rerun {
            event_id: rerun.event_id,
            new_id: Some(key.id.to_string()),
            input: rerun.with_input.then_some(rerun.input),
            child_id: rerun.child_id,
        };
        return engine.rerun(&source, rerun).await.map(|_| true);
    }
    let remove = ask.remove.ok_or_else(nothing)?;
    engine.shared.remove(key, remove.force).await
}

fn refusal(error: &WorkflowError) -> ReplyV1 {
    let (refusal, text) = match error {
        WorkflowError::AlreadyActive { id } => (1, id.clone()),
        WorkflowError::AlreadyExists { id } => (2, id.clone()),
        WorkflowError::NotFound { id } => (3, id.clone()),
        WorkflowError::NotCompleted { id } => (4, id.clone()),
        WorkflowError::Invalid(text) => (5, text.clone()),
        other => (6, archipel_rt::chain(other)),
    };
    ReplyV1 { version: 0, refusal, text, removed: false }
}

fn refused(reply: ReplyV1) -> Result<bool, WorkflowError> {
    let text = reply.text;
    Err(match reply.refusal {
        0 => return Ok(reply.removed),
        1 => WorkflowError::AlreadyActive { id: text },
        2 => WorkflowError::AlreadyExists { id: text },
        3 => WorkflowError::NotFound { id: text },
        4 => WorkflowError::NotCompleted { id: text },
        5 => WorkflowError::Invalid(text),
        _ => WorkflowError::Unavailable(text),
    })
}

/// Writes the letter, and waits for the reply.
async fn asked(shared: &Shared, key: &Key, mut ask: Ask) -> Result<bool, WorkflowError> {
    let bytes = ask.encoded_len();
    if bytes > EVENT_BYTES_MAX {
        return Err(WorkflowError::TooLarge { what: "the payload", bytes, limit: EVENT_BYTES_MAX });
    }
    let (sender, reply) = oneshot::channel();
    let (number, durable) = shared.change_and(|state, unit| {
        let role = state.role.as_mut()?;
        let number = role.next();
        (ask.from, ask.number) = (role.me.clone(), number);
        role.replies.insert(number, sender);
        state.post_ask(key, ask, unit);
        Some(number)
    });
    let lost = || {
        WorkflowError::Unavailable(
            "the process lost its place among those that share the store, and does not know \
             whether it was done; ask again"
                .to_owned(),
        )
    };
    durable.wait().await.map_err(|_| lost())?;
    match clock::timeout(PATIENCE, reply).await {
        Ok(Ok(reply)) => refused(reply),
        Ok(Err(_)) => Err(lost()),
        Err(_) => {
            if let (Some(role), Some(number)) = (&mut shared.lock().role, number) {
                role.replies.remove(&number);
            }
            let seconds = PATIENCE.as_secs();
            Err(WorkflowError::Unavailable(format!(
                "no process that runs `{key}` has answered for {seconds} s; it may be done later"
            )))
        }
    }
}

impl Shared {
    /// Whether another process runs the instance.
    pub(crate) fn elsewhere(&self, key: &Key) -> bool {
        !self.lock().mine(key)
    }

    /// A name that a process here holds, where there is one.
    fn fresh_name(&self, app: &str) -> String {
        let state = self.lock();
        let names = (0..NAMES).map(|_| Uuid::new_v4().to_string());
        let mine = |name: &String| Key::new(app, name).is_ok_and(|key| state.mine(&key));
        names.into_iter().find(mine).unwrap_or_else(|| Uuid::new_v4().to_string())
    }

    fn is_shared(&self) -> bool {
        self.lock().role.is_some()
    }
}

/// `None`: it is to be created here, with the name that `request` has then.
pub(crate) async fn create_elsewhere(
    shared: &Shared,
    app: &str,
    request: &mut CreateInstanceRequest,
    reuse: Reuse,
) -> Option<Result<Key, WorkflowError>> {
    if !shared.is_shared() {
        return None;
    }
    if request.instance_id.is_empty() {
        request.instance_id = shared.fresh_name(app);
    }
    let key = match Key::new(app, &request.instance_id) {
        Ok(key) => key,
        Err(error) => return Some(Err(error)),
    };
    if !shared.elsewhere(&key) {
        return None;
    }
    let create = Create { request: Some(request.clone()), purged: reuse == Reuse::Purged };
    let ask = Ask { create: Some(create), ..Ask::default() };
    Some(asked(shared, &key, ask).await.map(|_| key))
}

/// As [`create_elsewhere`].
pub(crate) async fn rerun_elsewhere(
    shared: &Shared,
    source: &Key,
    rerun: &mut Rerun,
) -> Option<Result<Key, WorkflowError>> {
    if !shared.is_shared() {
        return None;
    }
    let id = rerun.new_id.get_or_insert_with(|| shared.fresh_name(&source.app)).clone();
    let key = match Key::new(&source.app, &id) {
        Ok(key) => key,
        Err(error) => return Some(Err(error)),
    };
    if !shared.elsewhere(&key) {
        return None;
    }
    let of = RerunOf {
        source: source.id.to_string(),
        event_id: rerun.event_id,
        with_input: rerun.input.is_some(),
        input: rerun.input.clone().flatten(),
        child_id: rerun.child_id.clone(),
    };
    let ask = Ask { rerun: Some(of), ..Ask::default() };
    Some(asked(shared, &key, ask).await.map(|_| key))
}

/// `None`: it is to be removed here.
pub(crate) async fn remove_elsewhere(
    shared: &Shared,
    key: &Key,
    force: bool,
) -> Option<Result<bool, WorkflowError>> {
    if !shared.elsewhere(key) {
        return None;
    }
    let ask = Ask { remove: Some(Remove { force }), ..Ask::default() };
    Some(asked(shared, key, ask).await)
}
