//! Old traces make room for new ones without all of them going.
//!
//! When three quarters of the budget are used, the oldest file that is not thin yet is written
//! again with what is worth keeping: traces with an error, traces that were slow for their kind,
//! and a share of the rest. Only when that is not enough are files deleted. A trace is kept or
//! goes whole, as far as it lies in one file, because all of it is known by then; the share is
//! taken by the trace id, so that every file, and every other tool that samples the same way,
//! keeps the same ones.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archipel_model::{Sampling, TraceId};
use archipel_rt::{CancellationToken, blocking};
use foldhash::fast::RandomState;

use super::encode::{Encoder, ROWS_MAX};
use super::files::{self, Appending, Group};
use super::group::Fields;
use super::hop::Row;
use super::index::Fixed;
use super::model::SpanStatus;
use super::store::{Shared, SpanPolicy};

const EVERYTHING: u32 = 1_000_000;

/// Thins whenever a file is full, until told to stop.
pub(crate) async fn run(
    dir: PathBuf,
    policy: SpanPolicy,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    if policy.sample.rest >= EVERYTHING {
        return;
    }
    loop {
        let (of, shared_too, until) = (dir.clone(), Arc::clone(&shared), stop.clone());
        let thinned = blocking(move || one(&of, policy, &shared_too, &until)).await;
        match thinned {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "could not thin old spans; tried again when a file is full");
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = shared.full.notified() => {}
        }
    }
}

/// Thins the oldest file that is not, when room is short. Whether there may be more to do.
fn one(
    dir: &Path,
    policy: SpanPolicy,
    shared: &Shared,
    stop: &CancellationToken,
) -> io::Result<bool> {
    let mut paths = files::segments(dir)?;
    let mut used = 0;
    for path in &paths {
        used += fs::metadata(path)?.len();
    }
    // The newest is still written to.
    paths.pop();
    let Some(path) = paths.iter().find(|path| !files::is_thin(path)) else { return Ok(false) };
    if used < policy.bytes_max / 4 * 3 || stop.is_cancelled() {
        return Ok(false);
    }
    let (groups, _) = files::scan(path)?;
    let kept = kept(&groups, policy.sample)?;
    let modified = fs::metadata(path)?.modified()?;
    let unfinished = path.with_extension("new");
    let _ = fs::remove_file(&unfinished); // of a try that a crash ended
    let mut file = Appending::create(unfinished.clone())?;
    let Some(thin) = rewrite(&groups, &kept, &mut file, stop)? else {
        fs::remove_file(&unfinished)?;
        return Ok(false);
    };
    // Its age is that of its spans.
    OpenOptions::new().append(true).open(&unfinished)?.set_modified(modified)?;
    if !path.exists() {
        // Over the budget meanwhile.
        fs::remove_file(&unfinished)?;
        return Ok(true);
    }
    // First in its place, so that no crash leaves both.
    fs::rename(&unfinished, path)?;
    fs::rename(path, files::thin_path(path))?;
    let (first, last) = (groups.first(), groups.last());
    let numbers = first.zip(last).map(|(a, b)| a.index.number..=b.index.number);
    shared.change(|all| {
        let Some(numbers) = numbers else { return };
        let at = all.sealed.partition_point(|group| group.index.number < *numbers.start());
        let end = all.sealed.partition_point(|group| group.index.number <= *numbers.end());
        if at < end {
            all.sealed.splice(at..end, thin);
        }
    });
    Ok(true)
}

/// `None` when told to stop.
fn rewrite(
    groups: &[Arc<Group>],
    kept: &HashSet<TraceId, RandomState>,
    file: &mut Appending,
    stop: &CancellationToken,
) -> io::Result<Option<Vec<Arc<Group>>>> {
    let mut encoder = Encoder::new()?;
    let (mut thin, mut rows): (Vec<_>, Vec<Row>) = (Vec::new(), Vec::new());
    for (n, group) in groups.iter().enumerate() {
        if stop.is_cancelled() {
            return Ok(None);
        }
        let fields = Fields::new(&group.index, &**group);
        let wanted: Vec<bool> = fields.traces()?.iter().map(|id| kept.contains(id)).collect();
        if wanted.contains(&true) {
            rows.extend(fields.materialise(&wanted)?.into_iter().map(Row::Span));
        }
        let over = n + 1 == groups.len();
        // A full group takes the number of the last one that it has spans of.
        while rows.len() >= ROWS_MAX || over && !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(ROWS_MAX));
            // Of what is left there is less than another group, and the last group is one more.
            let (index, bytes) = encoder.encode(&rows, group.index.number)?;
            thin.push(file.append(index, &bytes)?);
            rows = rest;
        }
    }
    Ok(Some(thin))
}

fn kept(groups: &[Arc<Group>], of: Sampling) -> io::Result<HashSet<TraceId, RandomState>> {
    let mut kept: HashSet<TraceId, RandomState> = HashSet::default();
    // Whole requests by service and name; only these are compared.
    let mut kinds: HashMap<(String, String), Vec<(u64, TraceId)>, RandomState> = HashMap::default();
    for group in groups {
        let fields = Fields::new(&group.index, &**group);
        let (traces, flags, durations) = (fields.traces()?, fields.flags()?, fields.durations()?);
        let roots: Vec<bool> =
            fields.parents(&fields.spans()?)?.iter().map(Option::is_none).collect();
        let names = fields.texts(Fixed::Name, &roots)?;
        let (resources, codes) = fields.resources()?;
        for (row, trace) in traces.iter().enumerate() {
            let failed = flags[row].1 == SpanStatus::Error;
            if of.keep_errors && failed || is_chosen(trace, of.rest) {
                kept.insert(*trace);
            }
        }
        for (row, name) in names {
            let kind = (resources[codes[row]].service.clone(), name);
            kinds.entry(kind).or_default().push((durations[row], traces[row]));
        }
    }
    for mut all in kinds.into_values() {
        // Of ten the hundredth part is none; the slowest one is then the only one that is slow.
        let slow = all.len() as u64 * u64::from(EVERYTHING - of.slow.min(EVERYTHING));
        let slow = usize::try_from(slow.div_ceil(u64::from(EVERYTHING))).unwrap_or(usize::MAX);
        if slow == 0 {
            continue;
        }
        let at = slow.min(all.len()) - 1;
        let (slower, last, _) = all.select_nth_unstable_by(at, |a, b| b.0.cmp(&a.0));
        kept.extend(slower.iter().map(|(_, trace)| *trace));
        kept.insert(last.1);
    }
    Ok(kept)
}

/// By the last 56 bits, which W3C says are random.
fn is_chosen(trace: &TraceId, per_million: u32) -> bool {
    let bytes = trace.bytes();
    let random = bytes[9..].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let share = u128::from(EVERYTHING - per_million.min(EVERYTHING)) << 56;
    u128::from(random) >= share / u128::from(EVERYTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_taken_by_the_end_of_the_id() {
        let with = |first: u8, byte: u8| {
            let mut bytes = [first; 16];
            bytes[9] = byte;
            TraceId::new(bytes).unwrap()
        };
        let chosen = (0..=255).filter(|byte| is_chosen(&with(1, *byte), 100_000)).count();
        assert_eq!(chosen, 25);
        assert!((0..=255).all(|byte| is_chosen(&with(9, byte), EVERYTHING)));
        assert!(!(0..=255).any(|byte| is_chosen(&with(9, byte), 0)));
        let same = |byte| is_chosen(&with(1, byte), 100_000) == is_chosen(&with(7, byte), 100_000);
        assert!((0..230).all(same));
    }
}
