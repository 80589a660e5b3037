//! Memory of processes where no control group counts it, and hints for runtimes with a heap.

use std::fs;

use archipel_model::Memory;

use crate::status::MemoryTier;

/// What these processes occupy for themselves: resident pages that belong to no file.
pub(crate) fn of_processes(pids: &[i32]) -> u64 {
    let page = rustix::param::page_size() as u64;
    pids.iter()
        .filter_map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            let mut fields = text.split(' ').skip(1);
            let resident: u64 = fields.next()?.parse().ok()?;
            let shared: u64 = fields.next()?.parse().ok()?;
            Some(resident.saturating_sub(shared) * page)
        })
        .sum()
}

/// Environment entries that tell a runtime how much it has, so that it collects garbage instead
/// of being killed. An entry that a service sets itself should win.
pub fn memory_hints(memory: &Memory, tier: MemoryTier) -> Vec<(String, String)> {
    let limit = memory.limit.0;
    let mut hints = Vec::new();
    if memory.jvm {
        // The JVM reads its control group by itself; where there is none it must be told.
        let heap = match tier {
            MemoryTier::V1 | MemoryTier::V2 => "-XX:MaxRAMPercentage=75".to_owned(),
            MemoryTier::Poll | MemoryTier::None => format!("-Xmx{}k", limit / 4 * 3 / 1024),
        };
        hints.push(("JAVA_TOOL_OPTIONS".to_owned(), heap));
    }
    if memory.go {
        hints.push(("GOMEMLIMIT".to_owned(), format!("{}B", limit / 10 * 9)));
    }
    if memory.node {
        let mib = (limit / 4 * 3) >> 20;
        let option = format!("--max-old-space-size={}", mib.max(1));
        hints.push(("NODE_OPTIONS".to_owned(), option));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use archipel_model::Bytes;

    #[test]
    fn runtimes_are_told_less_than_the_limit() {
        let memory = Memory {
            limit: Bytes(400 << 20),
            high: None,
            swap: None,
            jvm: true,
            go: true,
            node: true,
        };
        let show = |tier| {
            let hints = memory_hints(&memory, tier);
            hints.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            show(MemoryTier::V1),
            "JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=75 GOMEMLIMIT=377487360B \
             NODE_OPTIONS=--max-old-space-size=300"
        );
        assert!(show(MemoryTier::Poll).starts_with("JAVA_TOOL_OPTIONS=-Xmx307200k "));
    }

    #[test]
    fn this_process_occupies_something() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(of_processes(&[me]) > 100_000);
        assert_eq!(of_processes(&[]), 0);
    }
}
