//! What the kernel tells of processes and of the host, from `/proc`. Blocks for a moment.

use std::collections::BTreeMap;
use std::fs;

/// Of one process group: a service's process and those it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in hundredths of a second, since the processes began.
    pub cpu_ticks: u64,
    pub threads: u64,
    /// Open descriptors; 0 where they may not be counted.
    pub files: u64,
    pub processes: u64,
}

/// Of the whole machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Host {
    pub busy_ticks: u64,
    pub all_ticks: u64,
    pub cores: u64,
    pub memory_total: u64,
    pub memory_available: u64,
    /// Processes that ran or waited to, over the last minute.
    pub load: f64,
}

/// The kernel's unit of time towards programs; it has been this since long before us.
pub const TICKS_PER_SECOND: f64 = 100.0;

/// What each of these groups uses, by the process that leads it.
pub fn usage(leaders: &[u32]) -> BTreeMap<u32, Usage> {
    let mut found: BTreeMap<u32, Usage> =
        leaders.iter().map(|pid| (*pid, Usage::default())).collect();
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may be gone by now.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((group, ticks, threads)) = parse(&stat) else { continue };
        if let Some(of) = found.get_mut(&group) {
            of.cpu_ticks += ticks;
            of.threads += threads;
            of.processes += 1;
            of.files += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.count() as u64);
        }
    }
    found.retain(|_, of| of.processes > 0);
    found
}

/// Group, processor time with that of children that ended, threads.
fn parse(stat: &str) -> Option<(u32, u64, u64)> {
    // The name of the program may hold anything, also parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = (11..=14).map(number).sum::<Option<u64>>()?;
    Some((u32::try_from(number(2)?).ok()?, ticks, number(17)?))
}

pub fn host() -> Option<Host> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let times: Vec<u64> = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|number| number.parse().ok())
        .collect();
    let all: u64 = times.iter().sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    let kilobytes = |key: &str| {
        let line = memory.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some(Host {
        busy_ticks: all - idle,
        all_ticks: all,
        cores: stat.lines().skip(1).take_while(|line| line.starts_with("cpu")).count() as u64,
        memory_total: kilobytes("MemTotal:")? * 1024,
        memory_available: kilobytes("MemAvailable:")? * 1024,
        load: load.split_whitespace().next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_finds_itself() {
        let own = std::process::id();
        let stat = fs::read_to_string(format!("/proc/{own}/stat")).unwrap();
        let (group, _, threads) = parse(&stat).unwrap();
        assert!(threads >= 1);
        let of = usage(&[group])[&group];
        assert!(of.files >= 3 && of.processes >= 1, "{of:?}");
        assert_eq!(parse("1 (a) b) S 1 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 5 0 9"), Some((7, 10, 5)));
        assert_eq!(parse("nonsense"), None);
        let host = host().unwrap();
        assert!(host.cores >= 1 && host.memory_total > host.memory_available);
    }
}
