//! Log files that are full, as columns: a tenth of the bytes, and most questions pass them over.
//!
//! A file of lines is written to until it is full; then it is sealed: the same records in groups
//! of 8,192, a column for each part and field, messages as templates and what varies in them, a
//! filter of words before each group. The sealed file takes the name of the one it replaces, with
//! another ending, and is complete when it has that name; then the lines are deleted. So a crash
//! at any moment leaves one of them whole, and where both are there the sealed one counts.

mod group;
mod template;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use archipel_rt::{CancellationToken, blocking, clock};

use crate::query::Filter;
use crate::record::LogRecord;
use crate::segment;
use crate::span::bloom;
use group::{HEAD_BYTES, Head};

pub(crate) const SUFFIX: &str = "arcl";
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Who began to read a file of lines a moment ago may still be at it.
const REST: Duration = Duration::from_secs(5);

/// Seals what is full until told to stop.
pub(crate) async fn run(root: std::path::PathBuf, stop: CancellationToken) {
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = clock::sleep(LOOK_EVERY) => {}
        }
        let (dir, stop) = (root.clone(), stop.clone());
        match blocking(move || seal_all(&dir, REST, &|| stop.is_cancelled())).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "could not make a full log file smaller; tried again");
            }
            Err(_) => {}
        }
    }
}

/// Every file of lines but the newest of each service. Blocks.
pub(crate) fn seal_all(root: &Path, rest: Duration, stop: &dyn Fn() -> bool) -> io::Result<()> {
    for (_, dir) in segment::services(root)? {
        let mut paths = segment::paths(&dir)?;
        paths.pop();
        // Left by a crash, after the sealed file had its name.
        for path in paths.iter().filter(|path| is_sealed(path)) {
            match fs::remove_file(path.with_extension("ndjson")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        for path in paths.iter().filter(|path| !is_sealed(path)) {
            let age = fs::metadata(path).ok().and_then(|meta| meta.modified().ok());
            let age = age.and_then(|at| clock::wall().duration_since(at).ok());
            if stop() {
                return Ok(());
            }
            if age.is_some_and(|age| age >= rest) {
                seal(path)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn is_sealed(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == SUFFIX)
}

fn seal(path: &Path) -> io::Result<()> {
    let lines = match fs::read(path) {
        Ok(lines) => lines,
        // Over the budget meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let modified = fs::metadata(path)?.modified()?;
    let records: Vec<LogRecord> = lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    for rows in records.chunks(group::ROWS_MAX) {
        file.write_all(&group::encode(rows)?)?;
    }
    // Its age is that of its last line.
    file.set_modified(modified)?;
    file.sync_data()?;
    fs::rename(&new, path.with_extension(SUFFIX))?;
    fs::remove_file(path)
}

/// What a question needs of a record to be judged, and what a group must hold to be read.
pub(crate) struct Wanted<'a> {
    filter: &'a Filter,
    words: Vec<u64>,
    trace: Option<u32>,
    /// Time, level and who are enough.
    pub(crate) light: bool,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(filter: &'a Filter) -> Self {
        let (words, named) = filter.expr.log_words();
        let trace = filter.trace_id.as_deref().or(named).and_then(group::fingerprint);
        let light =
            filter.text.is_none() && filter.trace_id.is_none() && !filter.expr.needs_content();
        Self {
            filter,
            words: words.into_iter().map(|word| bloom::hash(&word)).collect(),
            trace,
            light,
        }
    }

    fn may_be_in(
        &self,
        head: &Head,
        words: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<bool> {
        let possible = self.filter.since_ms.is_none_or(|since| head.last_ms >= since)
            && self.filter.until_ms.is_none_or(|until| head.first_ms <= until)
            && self.filter.level.is_none_or(|level| head.has_level(level))
            && self.trace.is_none_or(|trace| head.may_hold_trace(trace));
        if !possible || self.words.is_empty() {
            return Ok(possible);
        }
        Ok(bloom::may_hold(&words()?, &self.words))
    }
}

/// Gives matching records of a sealed file, newest first, until `each` has enough. With `light`,
/// messages and fields are left out.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn search(
    path: &Path,
    wanted: &Wanted<'_>,
    light: bool,
    each: &mut dyn FnMut(LogRecord) -> bool,
) -> io::Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let (mut heads, mut at) = (Vec::new(), 0);
    while at + (HEAD_BYTES as u64) <= length {
        let mut fixed = [0; HEAD_BYTES];
        file.read_exact_at(&mut fixed, at)?;
        let (head_bytes, body_bytes) = group::lengths(&fixed)?;
        let mut head = vec![0; head_bytes];
        file.read_exact_at(&mut head, at + HEAD_BYTES as u64)?;
        let body_at = at + (HEAD_BYTES + head_bytes) as u64;
        heads.push((Head::read(&fixed, &head)?, body_at, body_bytes));
        at = body_at + body_bytes as u64;
    }
    for (head, body_at, body_bytes) in heads.iter().rev() {
        let read = |from: usize, bytes: usize| {
            let mut out = vec![0; bytes];
            file.read_exact_at(&mut out, body_at + from as u64).map(|()| out)
        };
        if !wanted.may_be_in(head, || read(0, head.words_bytes))? {
            continue;
        }
        let body = read(0, *body_bytes)?;
        for record in group::decode(head, &body, light, wanted.filter)?.into_iter().rev() {
            if wanted.filter.takes(&record) && !each(record) {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expr, Level, Stream, query};
    use std::path::PathBuf;

    const ROWS: u64 = 1_200;

    fn record(n: u64) -> LogRecord {
        let mut fields = serde_json::Map::new();
        fields.insert("order_id".to_owned(), format!("ord_{n}").into());
        fields.insert("ms".to_owned(), (n % 100).into());
        LogRecord {
            at_ms: 1_000_000 + n * 10,
            instance: format!("orders-{}", n % 2).parse().unwrap(),
            stream: Stream::Stdout,
            level: Some(if n.is_multiple_of(100) { Level::Error } else { Level::Info }),
            message: format!("order {n} moved to state {}", n % 7),
            trace_id: n.is_multiple_of(10).then(|| format!("{:032x}", n + 1)),
            span_id: None,
            fields,
        }
    }

    /// Three files, of which the last is still written to.
    fn files(dir: &Path) -> PathBuf {
        let service = dir.join("orders");
        fs::create_dir_all(&service).unwrap();
        for file in 0..3u64 {
            let rows = (file * ROWS..(file + 1) * ROWS).map(record);
            let lines: String =
                rows.map(|row| serde_json::to_string(&row).unwrap() + "\n").collect();
            let began = record(file * ROWS).at_ms;
            fs::write(service.join(format!("{began:015}-000.ndjson")), lines).unwrap();
        }
        service
    }

    fn asked(dir: &Path, question: &str, tail: usize) -> Vec<LogRecord> {
        let filter = Filter { expr: Expr::parse(question).unwrap(), ..Filter::default() };
        query::last(dir, &filter, tail, None).unwrap()
    }

    const QUESTIONS: [&str; 9] = [
        "",
        "ord_777",
        "order_id:ord_1234",
        "ms>=99 level:error OR ms:3 instance:orders-1",
        "\"moved to state 3\" -ms:5",
        "level>=error",
        "trace:000000000000000000000000000003e9",
        "state* ord_2999*",
        "nowhere",
    ];

    #[test]
    fn what_is_sealed_is_found_as_before_and_smaller() {
        let dir = tempfile::tempdir().unwrap();
        let service = files(dir.path());
        let size = || -> u64 {
            let entries = fs::read_dir(&service).unwrap();
            entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
        };
        let all = |tail| QUESTIONS.map(|question| asked(dir.path(), question, tail));
        let counts = |question: &str| {
            let expr = Expr::parse(question).unwrap();
            query::count(dir.path(), &Filter { expr, ..Filter::default() }).unwrap()
        };
        let (before, few, bytes) = (all(usize::MAX), all(5), size());
        let counted = QUESTIONS.map(counts);
        seal_all(dir.path(), Duration::ZERO, &|| false).unwrap();
        assert!(size() < bytes / 2, "{} of {bytes}", size());
        let suffixes: Vec<bool> =
            segment::paths(&service).unwrap().iter().map(|path| is_sealed(path)).collect();
        assert_eq!(suffixes, [true, true, false], "the newest is still written to");
        assert_eq!(all(usize::MAX), before);
        assert_eq!(all(5), few);
        assert_eq!(QUESTIONS.map(counts), counted);
        assert_eq!(before[1].len(), 1);
        assert_eq!(before[0].len() as u64, 3 * ROWS);
    }

    #[test]
    fn a_crash_while_sealing_neither_loses_nor_doubles_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let service = files(dir.path());
        let before = asked(dir.path(), "", usize::MAX);
        let first = segment::paths(&service).unwrap().remove(0);
        let lines = fs::read(&first).unwrap();
        // Before it had its name.
        fs::write(first.with_extension("new"), b"half of it").unwrap();
        assert_eq!(asked(dir.path(), "", usize::MAX), before);
        // After it had its name, before the lines were deleted.
        seal_all(dir.path(), Duration::ZERO, &|| false).unwrap();
        fs::write(&first, &lines).unwrap();
        assert_eq!(asked(dir.path(), "", usize::MAX), before);
        seal_all(dir.path(), Duration::ZERO, &|| false).unwrap();
        assert!(!first.exists(), "what is sealed already is cleared away");
        assert_eq!(asked(dir.path(), "", usize::MAX), before);
    }
}
