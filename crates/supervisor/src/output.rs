//! What instances print, through named pipes that outlive us.
//!
//! A service holds its end of the pipe open for reading and writing, so it always has a reader:
//! when we die, it neither gets SIGPIPE nor loses a line; what it prints waits in the pipe until
//! the next supervisor opens it by name. When the pipe is full the service waits: losing lines
//! is not for us to decide. We read as fast as whoever takes the lines allows.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archipel_model::InstanceId;
use archipel_rt::{CancellationToken, Receiver, Sender, Tasks, channel, clock};
use regex::Regex;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};

use crate::status::{LAST_LINES_MAX, LINE_BYTES_MAX, LogLine, Stream};

/// A line longer than this is cut where last lines are shown, not where they are kept.
const TAIL_LINE_BYTES_MAX: usize = 2_000;
const READ_BYTES: usize = 64 << 10;

/// The output of one instance, over all its processes.
pub(crate) struct Output {
    stdout: PathBuf,
    stderr: PathBuf,
    pub(crate) shared: Arc<Shared>,
    flush: Vec<Sender<oneshot::Sender<()>>>,
    stop: CancellationToken,
}

/// What the readers of one instance leave for others.
pub(crate) struct Shared {
    tail: Mutex<VecDeque<String>>,
    wanted: Mutex<Option<Regex>>,
    seen: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            tail: Mutex::default(),
            wanted: Mutex::default(),
            seen: watch::Sender::new(false),
        })
    }

    pub(crate) fn last_lines(&self) -> Vec<String> {
        lock(&self.tail).iter().cloned().collect()
    }

    /// Before a start: what came earlier is not this process's.
    pub(crate) fn restart(&self, wanted: Option<Regex>) {
        lock(&self.tail).clear();
        *lock(&self.wanted) = wanted;
        self.seen.send_replace(false);
    }

    /// Becomes true when a line has matched.
    pub(crate) fn seen(&self) -> watch::Receiver<bool> {
        self.seen.subscribe()
    }

    fn note(&self, text: &str) {
        {
            let mut tail = lock(&self.tail);
            if tail.len() == LAST_LINES_MAX {
                tail.pop_front();
            }
            let mut end = text.len().min(TAIL_LINE_BYTES_MAX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            tail.push_back(text[..end].to_owned());
        }
        let mut wanted = lock(&self.wanted);
        if wanted.as_ref().is_some_and(|pattern| pattern.is_match(text)) {
            *wanted = None;
            self.seen.send_replace(true);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in a critical section can leave the value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Output {
    /// Opens (and makes, when missing) the pipes of an instance in `dir` and starts reading.
    pub(crate) fn open(
        dir: &Path,
        id: &InstanceId,
        logs: Option<&Sender<LogLine>>,
        pipe_bytes: usize,
        tasks: &Tasks,
    ) -> io::Result<Self> {
        let stdout = dir.join(format!("{id}.out"));
        let stderr = dir.join(format!("{id}.err"));
        let shared = Shared::new();
        let stop = tasks.stop_token().child_token();
        let mut flush = Vec::new();
        for (path, stream) in [(&stdout, Stream::Stdout), (&stderr, Stream::Stderr)] {
            make_pipe(path)?;
            let source = pipe::OpenOptions::new().read_write(true).open_receiver(path)?;
            let _ = rustix::pipe::fcntl_setpipe_size(&source, pipe_bytes);
            let (flush_tx, flush_rx) = channel("supervisor.flush", 4);
            flush.push(flush_tx);
            let to = Target {
                instance: id.clone(),
                stream,
                shared: shared.clone(),
                logs: logs.cloned(),
            };
            let lines = Lines::default();
            let reader = Reader { source, lines, to, flush: flush_rx, stop: stop.clone() };
            tasks.spawn("supervisor.output", reader.run());
        }
        Ok(Self { stdout, stderr, shared, flush, stop })
    }

    /// The service's ends. It holds a reading side too, which is the point.
    pub(crate) fn ends(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let open = |path: &Path| -> io::Result<OwnedFd> {
            let flags = libc::O_CLOEXEC;
            Ok(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?.into())
        };
        Ok((open(&self.stdout)?, open(&self.stderr)?))
    }

    /// Returns when everything printed so far has been passed on.
    pub(crate) fn flushed(&self) -> impl Future<Output = ()> + Send + 'static {
        let readers = self.flush.clone();
        async move {
            for reader in readers {
                let (done, wait) = oneshot::channel();
                if reader.send(done).await.is_ok() {
                    let _ = wait.await;
                }
            }
        }
    }

    /// Stops reading and takes the pipes away: the instance is gone for good.
    pub(crate) fn remove(self) {
        self.stop.cancel();
        let _ = fs::remove_file(&self.stdout);
        let _ = fs::remove_file(&self.stderr);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn make_pipe(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_fifo() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
}

/// Reads one pipe until it is told to stop or, where it can, nobody writes any more.
pub(crate) struct Reader {
    source: pipe::Receiver,
    lines: Lines,
    to: Target,
    flush: Receiver<oneshot::Sender<()>>,
    stop: CancellationToken,
}

enum Read {
    Some,
    /// Nothing is there now.
    Empty,
    /// Nothing will ever come.
    End,
}

impl Reader {
    /// For a pipe of the usual kind, which ends with its writers.
    pub(crate) fn of_pipe(
        source: OwnedFd,
        to: Target,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let source = pipe::Receiver::from_owned_fd(source)?;
        // Nobody asks for a flush: it ends by itself.
        let (_, flush) = channel("supervisor.flush", 1);
        Ok(Self { source, lines: Lines::default(), to, flush, stop })
    }

    pub(crate) async fn run(mut self) {
        let mut buffer = vec![0u8; READ_BYTES];
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                ready = self.source.readable() => {
                    if ready.is_err() || matches!(self.read_once(&mut buffer).await, Read::End) {
                        break;
                    }
                }
                Some(done) = self.flush.recv() => {
                    while matches!(self.read_once(&mut buffer).await, Read::Some) {}
                    self.finish_line().await;
                    let _ = done.send(());
                }
            }
        }
        self.finish_line().await;
    }

    async fn read_once(&mut self, buffer: &mut [u8]) -> Read {
        match self.source.try_read(buffer) {
            Ok(0) => Read::End,
            Ok(n) => {
                let at_ms = clock::wall_ms();
                let mut rest = &buffer[..n];
                while let Some((text, split)) = self.lines.next_line(&mut rest) {
                    self.to.pass(at_ms, text, split).await;
                }
                Read::Some
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Empty,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Read::Some,
            Err(error) => {
                tracing::warn!(instance = %self.to.instance, %error, "cannot read its output");
                Read::End
            }
        }
    }

    async fn finish_line(&mut self) {
        if let Some(text) = self.lines.take_rest() {
            self.to.pass(clock::wall_ms(), text, false).await;
        }
    }
}

pub(crate) struct Target {
    pub(crate) instance: InstanceId,
    pub(crate) stream: Stream,
    pub(crate) shared: Arc<Shared>,
    pub(crate) logs: Option<Sender<LogLine>>,
}

impl Target {
    async fn pass(&self, at_ms: u64, text: String, split: bool) {
        self.shared.note(&text);
        let line =
            LogLine { at_ms, instance: self.instance.clone(), stream: self.stream, text, split };
        // Nobody takes lines any more: go on reading, a service must not stop for that.
        if let Some(logs) = &self.logs {
            let _ = logs.send(line).await;
        }
    }
}

/// Cuts bytes into lines of at most [`LINE_BYTES_MAX`].
#[derive(Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// The next whole line (or piece of a long one) and whether it goes on; takes what it used
    /// from `bytes`. `None`: all of `bytes` is used, the rest of a line is kept for later.
    pub(crate) fn next_line(&mut self, bytes: &mut &[u8]) -> Option<(String, bool)> {
        let room = LINE_BYTES_MAX - self.partial.len();
        let window = &bytes[..bytes.len().min(room)];
        if let Some(at) = window.iter().position(|b| *b == b'\n') {
            self.partial.extend_from_slice(&window[..at]);
            *bytes = &bytes[at + 1..];
            if self.partial.last() == Some(&b'\r') {
                self.partial.pop();
            }
            return Some((self.take_text(), false));
        }
        self.partial.extend_from_slice(window);
        *bytes = &bytes[window.len()..];
        if self.partial.len() < LINE_BYTES_MAX {
            return None;
        }
        // Never through the middle of a character, if it is text at all.
        let mut end = self.partial.len();
        while end > LINE_BYTES_MAX - 4 && self.partial[end - 1] & 0xC0 == 0x80 {
            end -= 1;
        }
        if self.partial[end - 1] >= 0xC0 {
            end -= 1;
        }
        let later = self.partial.split_off(end);
        let text = self.take_text();
        self.partial = later;
        Some((text, true))
    }

    /// A last line without a line feed.
    pub(crate) fn take_rest(&mut self) -> Option<String> {
        if self.partial.is_empty() { None } else { Some(self.take_text()) }
    }

    fn take_text(&mut self) -> String {
        let bytes = std::mem::take(&mut self.partial);
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// How large a pipe may be, so that many instances do not use up what the kernel grants a user
/// (beyond it every new pipe of theirs shrinks to two pages, their shell's too).
pub(crate) fn pipe_bytes(instances: usize) -> usize {
    const FULL: usize = 1 << 20;
    if rustix::process::geteuid().is_root() {
        return FULL;
    }
    let soft_pages: usize = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(16_384);
    if soft_pages == 0 {
        return FULL;
    }
    let share = soft_pages / 2 * rustix::param::page_size() / (2 * instances.max(1));
    share.clamp(64 << 10, FULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            while let Some(line) = lines.next_line(&mut rest) {
                out.push(line);
            }
        }
        out.extend(lines.take_rest().map(|text| (text, false)));
        out
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let whole = |text: &str| (text.to_owned(), false);
        assert_eq!(cut(&[b"a\nb", b"c\r\n\n", b"d"]), ["a", "bc", "", "d"].map(whole));
        assert_eq!(cut(&[b"\xff\xfe ok\n"]), ["\u{fffd}\u{fffd} ok"].map(whole));
        assert_eq!(cut(&["gr\u{fc}n".as_bytes()]), ["gr\u{fc}n"].map(whole));
    }

    #[test]
    fn a_very_long_line_is_cut_between_characters() {
        let text = "\u{20ac}".repeat(LINE_BYTES_MAX); // three bytes each
        let out = cut(&[text.as_bytes(), b"\nnext\n"]);
        let (pieces, rest): (Vec<_>, Vec<_>) = out.into_iter().partition(|(_, split)| *split);
        assert!(pieces.len() >= 2);
        assert!(
            pieces
                .iter()
                .all(|(text, _)| text.len() <= LINE_BYTES_MAX && !text.contains('\u{fffd}'))
        );
        assert_eq!(rest.last(), Some(&("next".to_owned(), false)));
        let joined: String =
            pieces.iter().map(|(t, _)| t.as_str()).chain([rest[0].0.as_str()]).collect();
        assert_eq!(joined, text);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_the_cut() {
        let out = cut(&[&[0x80u8; 3 * LINE_BYTES_MAX]]);
        assert!(out.len() >= 3);
    }
}
