//! Processes by identity, never by number alone.
//!
//! A number is given away again as soon as a process has been reaped; a stop that trusts a stored
//! number kills a stranger. So a process is known by boot, number and start time, and is held by
//! a descriptor as soon as it is known: signals and exit status go through that.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::clock;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::status::Exit;
use crate::sys::pidfd;

/// Which process, over the lives of many supervisors.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Identity {
    pub(crate) boot_id: String,
    pub(crate) pid: i32,
    /// Clock ticks after boot (field 22 of `/proc/<pid>/stat`).
    pub(crate) start_ticks: u64,
}

pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// The fields of `/proc/<pid>/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    pub(crate) ppid: i32,
    pub(crate) session: i32,
    pub(crate) start_ticks: u64,
    /// Of a zombie: how it ended, as `wait` would say.
    pub(crate) exit_code: Option<i32>,
}

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may hold anything, parentheses too, so fields count from the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        ppid: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        exit_code: fields.get(49).and_then(|field| field.parse().ok()),
    })
}

/// Every process number there is now.
pub(crate) fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The live processes whose environment, as they were started, has an entry that begins with
/// `prefix`, and that entry.
///
/// Finds what a control group does not hold: it is how trees are found where there are none.
pub(crate) fn pids_with_env_prefix(prefix: &str) -> Vec<(i32, String)> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    all_pids()
        .into_iter()
        .filter(|pid| *pid != me)
        .filter_map(|pid| Some((pid, env_entry(pid, prefix)?)))
        .filter(|(pid, _)| stat(*pid).is_some_and(|stat| !matches!(stat.state, b'Z' | b'X')))
        .collect()
}

/// The first entry of a process's environment that begins with `prefix`.
pub(crate) fn env_entry(pid: i32, prefix: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let entry = environ.split(|b| *b == 0).find(|line| line.starts_with(prefix.as_bytes()))?;
    Some(String::from_utf8_lossy(entry).into_owned())
}

/// A live process, held.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) identity: Identity,
    pidfd: Arc<OwnedFd>,
    /// Ours to reap; an adopted one belongs to init.
    child: bool,
}

impl Process {
    /// Takes hold of our own fresh child.
    pub(crate) fn of_child(pid: i32, pidfd: OwnedFd, boot_id: &str) -> Self {
        // Gone already when there is no stat: then the start time matters to nobody.
        let start_ticks = stat(pid).map_or(0, |stat| stat.start_ticks);
        let identity = Identity { boot_id: boot_id.to_owned(), pid, start_ticks };
        Self { identity, pidfd: Arc::new(pidfd), child: true }
    }

    /// Takes hold of a recorded process if it is still the same one; `None` when it is gone.
    pub(crate) fn adopt(identity: Identity) -> Option<Self> {
        if identity.boot_id != boot_id() {
            return None;
        }
        let same = || {
            stat(identity.pid).is_some_and(|stat| {
                stat.start_ticks == identity.start_ticks && !matches!(stat.state, b'Z' | b'X')
            })
        };
        if !same() {
            return None;
        }
        let pidfd =
            rustix::process::pidfd_open(Pid::from_raw(identity.pid)?, PidfdFlags::empty()).ok()?;
        // Once more: the number may have changed hands while we were opening.
        if !same() {
            return None;
        }
        Some(Self { identity, pidfd: Arc::new(pidfd), child: false })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// To the whole group whose leader it is.
    pub(crate) fn signal_group(&self, signal: i32) {
        if pidfd::signal_group(self.pidfd.as_fd(), signal).is_ok() {
            return;
        }
        // Older kernels: by number, right after asking the descriptor whether it is still ours.
        if self.is_alive()
            && let (Some(pid), Some(signal)) =
                (Pid::from_raw(self.pid()), Signal::from_named_raw(signal))
        {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    pub(crate) fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.signal_group(libc::SIGKILL);
    }

    pub(crate) fn is_alive(&self) -> bool {
        let mut fds = [rustix::event::PollFd::new(&*self.pidfd, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
    }

    /// Waits for the end and says how it was. Dropping the future loses nothing.
    pub(crate) async fn exited(&self) -> Exit {
        let Ok(ready) = pidfd::watch(self.pidfd.clone()) else {
            return self.exited_by_looking().await;
        };
        if ready.readable().await.is_err() {
            return self.exited_by_looking().await;
        }
        self.take_exit().await
    }

    fn exit_of_zombie(&self) -> Option<Exit> {
        let stat = stat(self.pid())?;
        let same = stat.state == b'Z' && stat.start_ticks == self.identity.start_ticks;
        stat.exit_code.filter(|_| same).map(Exit::from_wait_status)
    }

    /// Where descriptors cannot be watched, which is nowhere we know of.
    async fn exited_by_looking(&self) -> Exit {
        while self.is_alive() {
            clock::sleep(Duration::from_millis(200)).await;
        }
        self.take_exit().await
    }

    async fn take_exit(&self) -> Exit {
        if self.child {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            return match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
                Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Unknown,
                },
                Ok(None) | Err(_) => Exit::Unknown,
            };
        }
        // Init reaps it at its leisure: until then it is a zombie that tells, after that the
        // kernel does (since Linux 6.15).
        if let Some(exit) = self.exit_of_zombie() {
            return exit;
        }
        let deadline = clock::now() + Duration::from_secs(2);
        while clock::now() < deadline {
            match pidfd::exit_status(self.pidfd.as_fd()) {
                Ok(Some(status)) => return Exit::from_wait_status(status),
                Ok(None) => clock::sleep(Duration::from_millis(5)).await,
                Err(_) => break,
            }
        }
        Exit::Unknown
    }
}

/// Kills whatever runs under this number if `still_ours` says so after we hold it.
pub(crate) fn kill_checked(pid: i32, still_ours: impl Fn(i32) -> bool) {
    let Some(number) = Pid::from_raw(pid) else { return };
    let Ok(fd) = rustix::process::pidfd_open(number, PidfdFlags::empty()) else { return };
    if still_ours(pid) {
        let _ = rustix::process::pidfd_send_signal(&fd, Signal::KILL);
    }
}

/// Whether the kernel tells the exit status of processes that are not our children.
pub(crate) fn kernel_tells_exits() -> bool {
    let me = rustix::process::getpid();
    let Ok(fd) = rustix::process::pidfd_open(me, PidfdFlags::empty()) else { return false };
    let fd: BorrowedFd<'_> = fd.as_fd();
    pidfd::exit_status(fd).is_ok()
}

pub(crate) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_owned())
        .unwrap_or_else(|_| "unknown".to_owned())
}

/// The control groups of a process as the kernel lists them: (controllers, path).
pub(crate) fn cgroups_of(proc_cgroup: &str) -> Vec<(String, String)> {
    let lines = proc_cgroup.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((controllers.to_owned(), path.to_owned()))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let text = "12 (a) b) (c) S 1 12 12 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.ppid, stat.session, stat.start_ticks), (1, 12, 987_654));
        assert_eq!(parse_stat("12 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn another_boot_is_another_process() {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let start_ticks = stat(pid).unwrap().start_ticks;
        let here = Identity { boot_id: boot_id(), pid, start_ticks };
        let again = here.clone();
        assert!(Process::adopt(here.clone()).is_some());
        assert!(Process::adopt(Identity { boot_id: "other".into(), ..here }).is_none());
        assert!(Process::adopt(Identity { start_ticks: start_ticks + 1, ..again }).is_none());
    }
}
