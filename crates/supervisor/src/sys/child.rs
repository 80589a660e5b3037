//! Makes a process: fork with a process descriptor, set it up, exec.
//!
//! The child is a plain copy-on-write fork (`clone3` without `CLONE_VM`): of our threads only
//! the spawner exists in it, so any lock may be held for ever by a thread that is not there.
//! Hence the rule of this file: between fork and exec only raw system calls on memory that the
//! parent has laid out. The first call that fails is told to the parent through a pipe that
//! exec closes: an empty pipe means that the program runs.

#![expect(unsafe_code, reason = "fork and exec, see each SAFETY comment")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::pipe::{PipeFlags, pipe_with};

use super::jail::{self, Jail};

/// Everything the child needs, in the form in which the kernel takes it.
pub(crate) struct Plan {
    /// `None`: exit with 0 instead of exec; a rehearsal of the set-up.
    pub(crate) program: Option<CString>,
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: CString,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// The directory of the cgroup v2 leaf, entered by the fork itself.
    pub(crate) cgroup: Option<OwnedFd>,
    /// `cgroup.procs` files that the child writes `0` to before anything else.
    pub(crate) procs: Vec<OwnedFd>,
    /// A session of its own, without a terminal. Off only for what a person runs in theirs.
    pub(crate) session: bool,
    /// Die with the supervisor: for builds and one-off commands, never for services.
    pub(crate) die_with_parent: bool,
    pub(crate) oom_score_adj: Option<CString>,
    pub(crate) umask: libc::mode_t,
    pub(crate) jail: Option<Jail>,
}

/// What the child was doing when a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Fork = 0,
    Cgroup,
    Session,
    Limits,
    Isolate,
    Output,
    Directory,
    Exec,
}

impl Step {
    fn from_byte(byte: u8) -> Self {
        const ALL: [Step; 8] = [
            Step::Fork,
            Step::Cgroup,
            Step::Session,
            Step::Limits,
            Step::Isolate,
            Step::Output,
            Step::Directory,
            Step::Exec,
        ];
        ALL.get(usize::from(byte)).copied().unwrap_or(Step::Fork)
    }
}

#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) step: Step,
    pub(crate) error: io::Error,
}

pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// Blocks every signal for the calling thread: no handler of ours may run in a child.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by `sigfillset` before it is read.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// Starts the program and returns when exec has succeeded or some step has failed. Call it on
/// a thread with all signals blocked that lives as long as the process.
pub(crate) fn spawn(plan: &Plan) -> Result<Child, Failed> {
    let fail = |error: io::Error| Failed { step: Step::Fork, error };
    let (report_read, report_write) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| fail(error.into()))?;
    let argv = pointers(&plan.argv);
    let env = pointers(&plan.env);
    let parent = rustix::process::getpid().as_raw_nonzero().get();

    let (pid, pidfd, entered) = match clone3(plan.cgroup.as_ref()) {
        Ok((pid, pidfd)) => (pid, pidfd, true),
        // A kernel or a sandbox without clone3 into a cgroup: fork, and enter by hand.
        Err(error) if plan.cgroup.is_some() && may_lack_clone3(&error) => {
            let (pid, pidfd) = clone3(None).or_else(|_| fork()).map_err(fail)?;
            (pid, pidfd, false)
        }
        Err(error) if may_lack_clone3(&error) => {
            let (pid, pidfd) = fork().map_err(fail)?;
            (pid, pidfd, false)
        }
        Err(error) => return Err(fail(error)),
    };
    if pid == 0 {
        run_child(plan, &argv, &env, parent, entered, report_write.as_raw_fd());
    }
    drop(report_write);

    let pidfd = match pidfd {
        Some(pidfd) => pidfd,
        // Our own unreaped child: its number cannot have been given away.
        None => open_pidfd(pid).map_err(fail)?,
    };
    let mut report = [0u8; 5];
    let mut have = 0;
    while have < report.len() {
        match rustix::io::read(&report_read, &mut report[have..]) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(fail(error.into())),
        }
    }
    if have == report.len() {
        reap(&pidfd);
        let errno = i32::from_ne_bytes([report[1], report[2], report[3], report[4]]);
        return Err(Failed {
            step: Step::from_byte(report[0]),
            error: io::Error::from_raw_os_error(errno),
        });
    }
    Ok(Child { pid, pidfd })
}

fn may_lack_clone3(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM | libc::E2BIG | libc::EINVAL | libc::EACCES | libc::EBADF)
    )
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

fn reap(pidfd: &OwnedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// Returns twice, like fork: with 0 in the child.
fn clone3(cgroup: Option<&OwnedFd>) -> io::Result<(i32, Option<OwnedFd>)> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid value of this plain struct.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        /// `CLONE_INTO_CGROUP`, since Linux 5.7.
        const INTO_CGROUP: u64 = 0x2_0000_0000;
        args.flags |= INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` is a valid `clone_args` whose size is passed with it. Without CLONE_VM and
    // without a stack this is a fork: the child continues here on a copy of this stack and
    // obeys the rule at the top of this file.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok((0, None)),
        // SAFETY: the kernel has stored a new descriptor there that nobody else owns.
        pid => Ok((pid as i32, Some(unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

fn fork() -> io::Result<(i32, Option<OwnedFd>)> {
    // SAFETY: the child obeys the rule at the top of this file.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok((pid, None)),
    }
}

/// The child's side. Never returns.
fn run_child(
    plan: &Plan,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
    parent: i32,
    entered: bool,
    report: RawFd,
) -> ! {
    let step = match set_up(plan, parent, entered) {
        Err(step) => step,
        Ok(()) => {
            if let Some(program) = &plan.program {
                // SAFETY: null-terminated arrays of null-terminated strings that live in `plan`.
                unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
            } else {
                // SAFETY: leaves without running any handler of the parent's.
                unsafe { libc::_exit(0) };
            }
            Step::Exec
        }
    };
    // SAFETY: plain calls on a descriptor that is open and a buffer of five bytes.
    unsafe {
        let errno = (*libc::__errno_location()).to_ne_bytes();
        let message = [step as u8, errno[0], errno[1], errno[2], errno[3]];
        libc::write(report, message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}

/// Turns a failed call (-1) into the step that it belongs to.
pub(super) fn check(step: Step, result: impl Into<i64>) -> Result<(), Step> {
    if result.into() < 0 { Err(step) } else { Ok(()) }
}

fn set_up(plan: &Plan, parent: i32, entered: bool) -> Result<(), Step> {
    // SAFETY: raw system calls with numbers, and pointers into `plan`, which outlives them.
    unsafe {
        if !entered && let Some(cgroup) = &plan.cgroup {
            let procs = libc::openat(
                cgroup.as_raw_fd(),
                c"cgroup.procs".as_ptr(),
                libc::O_WRONLY | libc::O_CLOEXEC,
            );
            check(Step::Cgroup, procs)?;
            check(Step::Cgroup, libc::write(procs, c"0".as_ptr().cast(), 1) as i64)?;
        }
        for procs in &plan.procs {
            let wrote = libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1);
            check(Step::Cgroup, wrote as i64)?;
        }
        if plan.session {
            check(Step::Session, libc::setsid())?;
        }
        if plan.die_with_parent {
            check(Step::Session, libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            if libc::getppid() != parent {
                libc::_exit(0); // it died before we asked
            }
        }
        limits(plan)?;
        // Outputs are opened by the parent, so a covered directory does not matter to them.
        check(Step::Output, libc::dup2(plan.stdin.as_raw_fd(), 0))?;
        check(Step::Output, libc::dup2(plan.stdout.as_raw_fd(), 1))?;
        check(Step::Output, libc::dup2(plan.stderr.as_raw_fd(), 2))?;
        close_others();
        if let Some(jail) = &plan.jail {
            jail::enter(jail)?;
        }
        check(Step::Directory, libc::chdir(plan.cwd.as_ptr()))?;
        check(Step::Limits, libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        default_signals();
    }
    Ok(())
}

const FILES_MAX: libc::rlim_t = 524_288;

/// # Safety
/// Only between fork and exec.
unsafe fn limits(plan: &Plan) -> Result<(), Step> {
    // SAFETY: plain numbers, and structs on this stack.
    unsafe {
        libc::umask(plan.umask);
        if let Some(adj) = &plan.oom_score_adj {
            let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY);
            if fd >= 0 {
                // A wish: refused where the supervisor itself may not change it.
                libc::write(fd, adj.as_ptr().cast(), adj.as_bytes().len());
                libc::close(fd);
            }
        }
        let mut files: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files) == 0 {
            // Not without bound: some programs walk through all numbers to close them.
            files.rlim_cur = files.rlim_cur.max(files.rlim_max.min(FILES_MAX));
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
        }
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        check(Step::Limits, libc::setrlimit(libc::RLIMIT_CORE, &raw const none))
    }
}

/// Everything above 2 closes at exec, whoever opened it and however.
fn close_others() {
    // SAFETY: plain numbers; marks descriptors, closes none before exec.
    unsafe {
        let done = libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        );
        if done != 0 {
            for fd in 3..4096 {
                let flags = libc::fcntl(fd, libc::F_GETFD);
                if flags >= 0 {
                    libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC);
                }
            }
        }
    }
}

/// Exec resets handlers but keeps what is ignored (SIGPIPE, in Rust programs) and the mask.
///
/// By raw calls, because the C library hides two signals that it uses itself, and those may be
/// ignored too: whoever started us decides that.
fn default_signals() {
    /// Larger than the kernel's structure on every machine; zero everywhere means the default.
    const DEFAULT: [u64; 8] = [0; 8];
    const NONE: u64 = 0;
    const SET_BYTES: usize = size_of::<u64>();
    // SAFETY: the kernel reads one structure and one set, both larger or as large as it expects,
    // and writes nothing; refusals (KILL, STOP) are harmless.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET_BYTES,
            );
        }
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            std::ptr::from_ref(&NONE),
            std::ptr::null_mut::<u64>(),
            SET_BYTES,
        );
    }
}
