//! Minutes on the disk.
//!
//! ```text
//! metrics/<hour since 1970>.arcm    blocks, one appended a minute; one alone when the hour is over
//! ```
//!
//! A block: length and CRC of the rest, then, compressed, each series with its minutes. A block
//! that a crash tore is the last one, and is cut off before the next is written.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{MetricKey, MetricPolicy};
use crate::span::codec::{Reader, damaged, put_text, put_varint};

const SUFFIX: &str = "arcm";
/// What a damaged length can make us allocate.
const BLOCK_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Minute {
    pub(super) minute: u64,
    pub(super) mean: f32,
    pub(super) max: f32,
}

pub(super) type Block = BTreeMap<MetricKey, Vec<Minute>>;

pub(super) struct Files {
    dir: PathBuf,
    policy: MetricPolicy,
    /// The hour that is written to.
    hour: Option<u64>,
}

impl Files {
    pub(super) fn open(dir: PathBuf, policy: MetricPolicy) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        hours(&dir)?;
        Ok(Self { dir, policy, hour: None })
    }

    pub(super) fn append(&mut self, minute: u64, block: &Block) -> io::Result<()> {
        let hour = minute / 60;
        let path = path(&self.dir, hour);
        if self.hour != Some(hour) {
            // A torn block of the last run would hide what comes after it.
            cut_torn(&path)?;
            for (old, _) in hours(&self.dir)?.into_iter().filter(|(old, _)| *old < hour) {
                join(&self.dir, old)?;
            }
            self.hour = Some(hour);
            self.keep_budget()?;
        }
        if block.is_empty() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).mode(0o600).open(&path)?;
        let before = file.metadata()?.len();
        file.write_all(&encode(block)?).inspect_err(|_| {
            let _ = file.set_len(before);
        })
    }

    pub(super) fn read(
        &self,
        minutes: Range<u64>,
        takes: impl Fn(&MetricKey) -> bool,
    ) -> io::Result<Block> {
        let mut found = Block::new();
        for (hour, path) in hours(&self.dir)? {
            if (hour + 1) * 60 <= minutes.start || hour * 60 >= minutes.end {
                continue;
            }
            for block in blocks(&path)?.0 {
                for (key, values) in block.into_iter().filter(|(key, _)| takes(key)) {
                    let within = values.into_iter().filter(|of| minutes.contains(&of.minute));
                    found.entry(key).or_default().extend(within);
                }
            }
        }
        Ok(found)
    }

    fn keep_budget(&self) -> io::Result<()> {
        let mut all = hours(&self.dir)?;
        let Some((newest, _)) = all.pop() else { return Ok(()) };
        let hours_max = self.policy.age_max.as_secs() / 3600;
        let mut left = 0;
        for (hour, path) in all.into_iter().rev() {
            left += fs::metadata(&path)?.len();
            if left > self.policy.bytes_max || hour + hours_max < newest {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn path(dir: &Path, hour: u64) -> PathBuf {
    dir.join(format!("{hour:08}.{SUFFIX}"))
}

/// Oldest first.
fn hours(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let ours = path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let hour = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        found.extend(hour.filter(|_| ours).map(|hour| (hour, path)));
    }
    found.sort();
    Ok(found)
}

/// The whole blocks of a file, and how far they reach.
fn blocks(path: &Path) -> io::Result<(Vec<Block>, u64)> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let Some(body) = bytes.get(at + 8..(at + 8).saturating_add(length)) else { break };
        let Some(block) = (crc32fast::hash(body) == crc).then(|| decode(body)).transpose()? else {
            break;
        };
        found.push(block);
        at += 8 + length;
    }
    Ok((found, at as u64))
}

fn cut_torn(path: &Path) -> io::Result<()> {
    let (_, whole) = blocks(path)?;
    match OpenOptions::new().write(true).open(path) {
        Ok(file) if file.metadata()?.len() > whole => file.set_len(whole),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// One block instead of sixty, in a file that takes the place of the old one when complete.
fn join(dir: &Path, hour: u64) -> io::Result<()> {
    let old = path(dir, hour);
    let (all, _) = blocks(&old)?;
    if all.len() < 2 {
        return Ok(());
    }
    let mut whole = Block::new();
    for (key, minutes) in all.into_iter().flatten() {
        whole.entry(key).or_default().extend(minutes);
    }
    let new = old.with_extension("new");
    fs::write(&new, encode(&whole)?)?;
    fs::rename(new, old)
}

fn encode(block: &Block) -> io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    put_varint(&mut raw, block.len() as u64);
    for (key, minutes) in block {
        // A name has no brace: files from before there were labels read the same.
        let metric = match &key.labels {
            None => key.metric.clone(),
            Some(labels) => format!("{}{{{labels}", key.metric),
        };
        for text in [&metric, &key.service, &key.instance] {
            put_text(&mut raw, text.as_bytes());
        }
        put_varint(&mut raw, minutes.len() as u64);
        let mut last = 0;
        for of in minutes {
            put_varint(&mut raw, of.minute.wrapping_sub(last));
            last = of.minute;
            raw.extend_from_slice(&of.mean.to_le_bytes());
            raw.extend_from_slice(&of.max.to_le_bytes());
        }
    }
    let body = zstd::bulk::compress(&raw, 1)?;
    let mut out = Vec::with_capacity(body.len() + 8);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

fn decode(body: &[u8]) -> io::Result<Block> {
    let raw = zstd::bulk::decompress(body, BLOCK_BYTES_MAX)?;
    let mut reader = Reader(&raw);
    let mut block = Block::new();
    for _ in 0..reader.count()? {
        let [metric, service, instance] =
            [reader.text()?, reader.text()?, reader.text()?].map(str::to_owned);
        let mut minutes = Vec::new();
        let mut last = 0u64;
        for _ in 0..reader.count()? {
            last = last.wrapping_add(reader.varint()?);
            let mean = f32::from_le_bytes(reader.array()?);
            let max = f32::from_le_bytes(reader.array()?);
            minutes.push(Minute { minute: last, mean, max });
        }
        let (metric, labels) = match metric.split_once('{') {
            Some((metric, labels)) => (metric.to_owned(), Some(labels.to_owned())),
            None => (metric, None),
        };
        block.insert(MetricKey { metric, service, instance, labels }, minutes);
    }
    if reader.0.is_empty() { Ok(block) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(minute: u64, mean: f32) -> Block {
        let [metric, service, instance] = ["cpu", "a", "a-0"].map(str::to_owned);
        let key = MetricKey { metric, service, instance, labels: Some("zone=\"x{y}\"".into()) };
        Block::from([(key, vec![Minute { minute, mean, max: mean }])])
    }

    fn means(files: &Files, minutes: Range<u64>) -> Vec<f32> {
        let found = files.read(minutes, |_| true).unwrap();
        found.into_values().flatten().map(|of| of.mean).collect()
    }

    #[test]
    fn minutes_survive_a_restart_a_torn_block_and_the_end_of_their_hour() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Files::open(dir.path().to_owned(), MetricPolicy::default()).unwrap();
        let mut files = open();
        for minute in 0..5 {
            files.append(minute, &block(minute, minute as f32)).unwrap();
        }
        // The crash.
        let path = path(dir.path(), 0);
        let length = fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
        let mut files = open();
        assert_eq!(means(&files, 0..60), [0.0, 1.0, 2.0, 3.0]);
        files.append(5, &block(5, 5.0)).unwrap();
        files.append(60, &block(60, 60.0)).unwrap();
        assert_eq!(means(&files, 2..61), [2.0, 3.0, 5.0, 60.0]);
        assert_eq!(blocks(&path).unwrap().0.len(), 1, "an hour that is over is one block");
    }

    #[test]
    fn the_budget_holds() {
        let dir = tempfile::tempdir().unwrap();
        let policy = MetricPolicy { bytes_max: 200, ..MetricPolicy::default() };
        let mut files = Files::open(dir.path().to_owned(), policy).unwrap();
        for hour in 0..50 {
            files.append(hour * 60, &block(hour * 60, 1.0)).unwrap();
        }
        let bytes: u64 =
            hours(dir.path()).unwrap().iter().map(|(_, p)| fs::metadata(p).unwrap().len()).sum();
        assert!(bytes < 400, "{bytes}");
        assert_eq!(means(&files, 49 * 60..50 * 60), [1.0]);
    }
}
