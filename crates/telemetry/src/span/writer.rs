//! The one writer of the span store: gathers, saves the tail, seals groups, keeps the budget.
//!
//! Its turns run on the blocking pool: compressing a group takes milliseconds, and a disk may
//! take longer.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use archipel_rt::clock::{self, Instant};

use super::encode::{Encoder, ROWS_MAX};
use super::files::{self, Appending, Group};
use super::group::Fields;
use super::hop::Row;
use super::store::{Command, Shared, SpanPolicy};
use crate::turns::Turns;

/// What a crash may lose.
const SAVE_EVERY: Duration = Duration::from_secs(1);
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Small groups of the tail are made one when there are more.
const TAIL_GROUPS_MAX: usize = 32;

pub(crate) struct Writer {
    dir: PathBuf,
    policy: SpanPolicy,
    shared: Arc<Shared>,
    encoder: Encoder,
    segment: Option<Appending>,
    /// Of the group that `open` will be.
    number: u64,
    open: Vec<Row>,
    /// How many of `open` lie in the tail.
    saved: usize,
    tail: Option<Appending>,
    tail_groups: Vec<Arc<Group>>,
    generation: u64,
    save_at: Instant,
    tidy_at: Instant,
    /// The disk refuses: said once, until it takes something again.
    failing: bool,
}

impl Turns for Writer {
    type Command = Command;
    const BATCH: usize = 256;

    fn due(&self) -> Instant {
        let unsaved = self.saved < self.open.len();
        if unsaved { self.save_at.min(self.tidy_at) } else { self.tidy_at }
    }

    fn turn(mut self, mut batch: Vec<Command>) -> (Self, Vec<Command>) {
        let mut waiting = Vec::new();
        for command in batch.drain(..) {
            match command {
                Command::Spans(spans) => self.add(spans.into_iter().map(Row::Span)),
                Command::Hops(hops) => self.add(hops.into_iter().map(Row::Hop)),
                Command::Flush(done) => waiting.push(done),
            }
        }
        if !waiting.is_empty() || self.save_at <= clock::now() {
            self.save();
        }
        for done in waiting {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
        if self.tidy_at <= clock::now() {
            self.tidy();
        }
        (self, batch)
    }

    fn finish(mut self) {
        self.save();
    }
}

impl Writer {
    pub(crate) fn open(dir: PathBuf, policy: SpanPolicy, shared: Arc<Shared>) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut sealed = Vec::new();
        let mut segment = None;
        for path in files::segments(&dir)? {
            let (groups, bytes) = files::scan(&path)?;
            sealed.extend(groups);
            segment = Some((path, bytes));
        }
        let segment = match segment {
            Some((path, bytes)) if bytes < policy.segment_bytes() => Some(Appending::create(path)?),
            _ => None,
        };
        let number = sealed.last().map_or(0, |group: &Arc<Group>| group.index.number + 1);
        let mut writer = Self {
            dir,
            policy,
            shared,
            encoder: Encoder::new()?,
            segment,
            number,
            open: Vec::new(),
            saved: 0,
            tail: None,
            tail_groups: Vec::new(),
            generation: 0,
            save_at: clock::now(),
            tidy_at: clock::now(),
            failing: false,
        };
        writer.shared.change(|groups| groups.sealed = sealed);
        writer.recover_tail()?;
        Ok(writer)
    }

    /// Takes up what the last process had not yet sealed.
    fn recover_tail(&mut self) -> io::Result<()> {
        let mut tails = files::tails(&self.dir)?;
        // Of several generations the newest holds everything; lower numbers were sealed.
        let newest = match tails.pop() {
            Some(((number, generation), path)) if number >= self.number => {
                self.number = number;
                self.generation = generation;
                Some(path)
            }
            Some((_, path)) => {
                fs::remove_file(path)?;
                None
            }
            None => None,
        };
        for (_, path) in tails {
            fs::remove_file(path)?;
        }
        let Some(path) = newest else { return Ok(()) };
        let (groups, _) = files::scan(&path)?;
        for group in &groups {
            let wanted = vec![true; group.index.rows as usize];
            let spans = Fields::new(&group.index, &**group).materialise(&wanted)?;
            self.open.extend(spans.into_iter().map(Row::Span));
        }
        self.saved = self.open.len();
        self.tail = Some(Appending::create(path)?);
        self.tail_groups = groups;
        self.publish_tail();
        Ok(())
    }

    fn add(&mut self, rows: impl ExactSizeIterator<Item = Row>) {
        self.shared.taken(rows.len());
        if self.saved == self.open.len() {
            self.save_at = clock::now() + SAVE_EVERY;
        }
        let before = self.open.len();
        self.open.extend(rows);
        if let Some(exporter) = self.shared.copies.get().filter(|of| of.is_active()) {
            exporter.spans(&self.open[before..]);
        }
        while self.open.len() >= ROWS_MAX {
            self.seal();
        }
    }

    fn publish_tail(&self) {
        let tail = self.tail_groups.clone();
        self.shared.change(|groups| groups.tail = tail);
    }

    /// Writes what is new to the tail.
    fn save(&mut self) {
        if self.saved == self.open.len() {
            return;
        }
        let done = if self.tail_groups.len() >= TAIL_GROUPS_MAX {
            self.rewrite_tail()
        } else {
            self.extend_tail()
        };
        self.save_at = clock::now() + SAVE_EVERY;
        self.judge(done, 0);
        self.publish_tail();
    }

    fn extend_tail(&mut self) -> io::Result<()> {
        let (index, bytes) = self.encoder.encode(&self.open[self.saved..], self.number)?;
        let tail = match &mut self.tail {
            Some(tail) => tail,
            None => {
                let path = files::tail_path(&self.dir, self.number, self.generation);
                self.tail.insert(Appending::create(path)?)
            }
        };
        self.tail_groups.push(tail.append(index, &bytes)?);
        self.saved = self.open.len();
        Ok(())
    }

    /// One group instead of many, in a file that takes the place of the old one when complete.
    fn rewrite_tail(&mut self) -> io::Result<()> {
        let (index, bytes) = self.encoder.encode(&self.open, self.number)?;
        self.generation += 1;
        let path = files::tail_path(&self.dir, self.number, self.generation);
        let unfinished = path.with_extension("new");
        let _ = fs::remove_file(&unfinished); // of a try that failed
        let mut tail = Appending::create(unfinished.clone())?;
        let group = tail.append(index, &bytes)?;
        fs::rename(&unfinished, &path)?;
        tail.path = path;
        self.delete_tail();
        self.tail = Some(tail);
        self.tail_groups = vec![group];
        self.saved = self.open.len();
        Ok(())
    }

    fn delete_tail(&mut self) {
        if let Some(tail) = self.tail.take()
            && let Err(error) = fs::remove_file(&tail.path)
        {
            tracing::warn!(path = %tail.path.display(), %error, "could not delete a telemetry file");
        }
        self.tail_groups.clear();
    }

    fn seal(&mut self) {
        let rest = self.open.split_off(ROWS_MAX.min(self.open.len()));
        let rows = std::mem::replace(&mut self.open, rest);
        let done = self.append(&rows);
        let lost = if done.is_err() { rows.len() } else { 0 };
        if done.is_ok() {
            self.shared.stored.fetch_add(rows.len() as u64, Relaxed);
        }
        self.judge(done.map(|group| self.shared.change(|groups| groups.sealed.push(group))), lost);
        self.number += 1;
        self.generation = 0;
        self.saved = 0;
        self.delete_tail();
        self.publish_tail();
    }

    fn append(&mut self, rows: &[Row]) -> io::Result<Arc<Group>> {
        let (index, bytes) = self.encoder.encode(rows, self.number)?;
        let bytes_max = self.policy.segment_bytes();
        let full = |segment: &Appending| segment.bytes + bytes.len() as u64 > bytes_max;
        if self.segment.as_ref().is_none_or(full) {
            let path = files::segment_path(&self.dir, index.start_min / 1_000_000, self.number);
            self.segment = Some(Appending::create(path)?);
            self.tidy_at = clock::now();
            self.shared.full.notify_one();
        }
        self.segment.as_mut().expect("made above").append(index, &bytes)
    }

    fn judge(&mut self, done: io::Result<()>, lost: usize) {
        match done {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.shared.dropped.fetch_add(lost as u64, Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    let dir = self.dir.display();
                    tracing::error!(%dir, %error, "could not write spans; they are lost until it works again");
                }
            }
        }
    }

    fn tidy(&mut self) {
        self.tidy_at = clock::now() + TIDY_EVERY;
        let SpanPolicy { bytes_max, age_max, .. } = self.policy;
        match files::keep_budget(&self.dir, bytes_max, age_max) {
            Ok(false) => {}
            Ok(true) => self.forget_deleted(),
            Err(error) => tracing::warn!(%error, "could not delete old spans; tried again soon"),
        }
    }

    /// Deleted files stay readable for questions under way, not for new ones.
    fn forget_deleted(&self) {
        let first = files::segments(&self.dir)
            .ok()
            .and_then(|paths| files::number_of(paths.first()?.file_stem()?.to_str()?));
        self.shared.change(|groups| {
            groups.sealed.retain(|group| first.is_some_and(|first| group.index.number >= first));
        });
    }
}
