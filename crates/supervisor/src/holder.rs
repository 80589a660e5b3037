//! Who sits on a port: asked when a start fails for it, and by `doctor`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::process::{all_pids, stat};
use crate::tree::MARK;

/// The process that listens on a port, as far as we may see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Holder {
    /// `None`: it belongs to another user, so the kernel does not tell.
    pub pid: Option<i32>,
    pub command: Option<String>,
    pub user: Option<String>,
    pub cwd: Option<PathBuf>,
    /// It carries our mark: an earlier instance of an application under Archipel.
    pub ours: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a process that is not yours")?,
        }
        if let Some(command) = &self.command {
            write!(f, " `{command}`")?;
        }
        if let Some(user) = &self.user {
            write!(f, " of user {user}")?;
        }
        if let Some(cwd) = &self.cwd {
            write!(f, " in {}", cwd.display())?;
        }
        if self.ours { f.write_str(", started by Archipel") } else { Ok(()) }
    }
}

/// Who listens on `port`; `None`: nobody.
pub fn port_holder(port: u16) -> Option<Holder> {
    let mut inodes = BTreeSet::new();
    let mut uid = None;
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(file) else { continue };
        for (owner, inode) in listeners(&text, port) {
            inodes.insert(format!("socket:[{inode}]"));
            uid = Some(owner);
        }
    }
    let uid = uid?;
    // The oldest: others have inherited it, perhaps only for the moment between fork and exec.
    let holders = all_pids().into_iter().filter(|pid| holds_any(*pid, &inodes));
    let pid = holders.min_by_key(|pid| (stat(*pid).map(|stat| stat.start_ticks), *pid));
    Some(match pid {
        Some(pid) => describe(pid),
        None => {
            Holder { pid: None, command: None, user: Some(user_name(uid)), cwd: None, ours: false }
        }
    })
}

/// On which ports these processes listen.
pub(crate) fn ports_of(pids: &[i32]) -> BTreeSet<u16> {
    let mut sockets = BTreeMap::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let found = listening(&text);
        sockets
            .extend(found.into_iter().map(|(port, _, inode)| (format!("socket:[{inode}]"), port)));
    }
    let links = pids.iter().flat_map(|pid| sockets_of(*pid));
    links.filter_map(|link| sockets.get(&link).copied()).collect()
}

/// (uid, inode) of every socket in state LISTEN on `port`.
fn listeners(table: &str, port: u16) -> Vec<(u32, u64)> {
    let all = listening(table).into_iter().filter(|(local, ..)| *local == port);
    all.map(|(_, uid, inode)| (uid, inode)).collect()
}

/// (port, uid, inode) of every socket in state LISTEN.
fn listening(table: &str) -> Vec<(u16, u32, u64)> {
    const LISTEN: &str = "0A";
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(local_port, 16).ok()?;
        let (uid, inode) = (fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?);
        (*fields.get(3)? == LISTEN).then_some((port, uid, inode))
    });
    rows.collect()
}

fn holds_any(pid: i32, sockets: &BTreeSet<String>) -> bool {
    sockets_of(pid).any(|link| sockets.contains(&link))
}

/// What the descriptors of a process lead to, as the kernel names it.
fn sockets_of(pid: i32) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned))
}

fn describe(pid: i32) -> Holder {
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok().map(|bytes| {
        let words: Vec<_> = bytes
            .split(|b| *b == 0)
            .filter(|w| !w.is_empty())
            .map(String::from_utf8_lossy)
            .collect();
        let mut text = words.join(" ");
        if let Some((at, _)) = text.char_indices().nth(120) {
            text.truncate(at);
            text.push('…');
        }
        text
    });
    let user = fs::metadata(format!("/proc/{pid}")).ok().map(|meta| user_name(meta.uid()));
    let mark = format!("{MARK}=");
    let ours = fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|env| env.split(|b| *b == 0).any(|line| line.starts_with(mark.as_bytes())));
    Holder {
        pid: Some(pid),
        command: command.filter(|text| !text.is_empty()),
        user,
        cwd: fs::read_link(format!("/proc/{pid}/cwd")).ok(),
        ours,
    }
}

/// The name in `/etc/passwd`, or the number.
fn user_name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
        })
        .unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = port_holder(port).unwrap();
        assert_eq!(holder.pid, Some(std::process::id() as i32));
        assert!(holder.command.as_ref().unwrap().contains("archipel_supervisor"), "{holder}");
        assert_eq!(holder.cwd, std::env::current_dir().ok());
        drop(listener);
        // A neighbouring test may be forking at this moment.
        archipel_testkit::eventually_blocking(std::time::Duration::from_secs(10), || {
            port_holder(port).map_or(Ok(()), Err)
        });
    }

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st tx rx tr when retrnsmt uid timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 1000 0 4242 1\n\
             1: 0100007F:1F90 0100007F:9999 01 0:0 00:0 0 1000 0 4343 1\n\
             2: broken\n";
        assert_eq!(listeners(table, 8080), [(1000, 4242)]);
        assert_eq!(listeners(table, 8081), []);
    }
}
