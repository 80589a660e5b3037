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

/// A private view of the file system in which some directories are covered.
pub(crate) struct Jail {
    /// A user namespace first, for supervisors that are not root: the maps to write.
    pub(crate) user: Option<UserMap>,
    pub(crate) covers: Vec<Cover>,
    /// Give up the rights by which root could look behind the covers.
    pub(crate) seal: bool,
}

pub(crate) struct UserMap {
    pub(crate) uid_map: CString,
    pub(crate) gid_map: CString,
}

/// The child has no memory to allocate for more.
pub(crate) const KEEPS_MAX: usize = 16;

/// One directory covered by an empty read-only file system, with some of its content bound back.
pub(crate) struct Cover {
    pub(crate) path: CString,
    pub(crate) keeps: Vec<Keep>,
}

pub(crate) struct Keep {
    pub(crate) path: CString,
    /// Directories between the cover and `path`, outermost first, without `path` itself.
    pub(crate) parents: Vec<CString>,
    pub(crate) is_dir: bool,
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
fn check(step: Step, result: impl Into<i64>) -> Result<(), Step> {
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
            isolate(jail)?;
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
fn default_signals() {
    // SAFETY: structs on this stack, initialised before use; refusals (KILL, STOP) are harmless.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=64 {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn isolate(jail: &Jail) -> Result<(), Step> {
    // SAFETY: raw system calls with numbers, and pointers into `jail`, which outlives them.
    unsafe {
        if let Some(user) = &jail.user {
            check(Step::Isolate, libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS))?;
            write_file(c"/proc/self/setgroups".as_ptr(), c"deny")?;
            write_file(c"/proc/self/uid_map".as_ptr(), &user.uid_map)?;
            write_file(c"/proc/self/gid_map".as_ptr(), &user.gid_map)?;
        } else {
            check(Step::Isolate, libc::unshare(libc::CLONE_NEWNS))?;
        }
        // Slave rather than private: what the host unmounts later does not stay busy in here.
        mount(std::ptr::null(), c"/".as_ptr(), libc::MS_REC | libc::MS_SLAVE)?;
        for cover in &jail.covers {
            apply_cover(cover)?;
        }
    }
    if jail.seal { seal() } else { Ok(()) }
}

/// # Safety
/// Only between fork and exec, inside a mount namespace of its own.
unsafe fn apply_cover(cover: &Cover) -> Result<(), Step> {
    let mut fds = [-1; KEEPS_MAX];
    // SAFETY: pointers into `cover`; the buffer for the path of a descriptor is on this stack.
    unsafe {
        for (fd, keep) in fds.iter_mut().zip(&cover.keeps) {
            *fd = libc::open(keep.path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
            check(Step::Isolate, *fd)?;
        }
        let done = libc::mount(
            c"archipel".as_ptr(),
            cover.path.as_ptr(),
            c"tmpfs".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
            c"size=64k,mode=755".as_ptr().cast(),
        );
        check(Step::Isolate, done)?;
        for (fd, keep) in fds.iter().zip(&cover.keeps) {
            for parent in &keep.parents {
                libc::mkdir(parent.as_ptr(), 0o755); // may exist: two keeps share a parent
            }
            if keep.is_dir {
                libc::mkdir(keep.path.as_ptr(), 0o755);
            } else {
                libc::close(libc::open(
                    keep.path.as_ptr(),
                    libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC,
                    0o644,
                ));
            }
            let source = fd_path(*fd);
            mount(source.as_ptr().cast(), keep.path.as_ptr(), libc::MS_BIND | libc::MS_REC)?;
        }
        // Nobody may believe that what it writes beside its own directory is kept.
        let flags = libc::MS_REMOUNT
            | libc::MS_BIND
            | libc::MS_RDONLY
            | libc::MS_NOSUID
            | libc::MS_NODEV
            | libc::MS_NOEXEC;
        mount(std::ptr::null(), cover.path.as_ptr(), flags)
    }
}

/// # Safety
/// Pointers are null or null-terminated strings.
unsafe fn mount(
    source: *const libc::c_char,
    target: *const libc::c_char,
    flags: libc::c_ulong,
) -> Result<(), Step> {
    // SAFETY: as this function's own contract; the type and the data are unused with these flags.
    let done = unsafe { libc::mount(source, target, std::ptr::null(), flags, std::ptr::null()) };
    check(Step::Isolate, done)
}

/// # Safety
/// `path` is a null-terminated string.
unsafe fn write_file(path: *const libc::c_char, text: &std::ffi::CStr) -> Result<(), Step> {
    // SAFETY: as this function's own contract.
    unsafe {
        let fd = libc::open(path, libc::O_WRONLY | libc::O_CLOEXEC);
        check(Step::Isolate, fd)?;
        let bytes = text.to_bytes();
        check(Step::Isolate, libc::write(fd, bytes.as_ptr().cast(), bytes.len()) as i64)?;
        libc::close(fd);
    }
    Ok(())
}

/// `/proc/self/fd/<fd>`, without allocating.
fn fd_path(fd: RawFd) -> [u8; 32] {
    let mut path = [0u8; 32];
    let prefix = b"/proc/self/fd/";
    path[..prefix.len()].copy_from_slice(prefix);
    let mut digits = [0u8; 10];
    let mut count = 0;
    let mut rest = fd.unsigned_abs();
    loop {
        digits[count] = b'0' + (rest % 10) as u8;
        count += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    for i in 0..count {
        path[prefix.len() + i] = digits[count - 1 - i];
    }
    path
}

/// A Landlock domain of its own. It forbids nothing but making block devices; what counts is
/// what every domain brings with it: no change of mounts, so covers stay, and no look into
/// `/proc/<pid>/root` of a process outside, root or not. Moving files between directories is
/// refused in a domain unless a rule allows it, so one does, everywhere. A kernel without
/// Landlock refuses: then the covers are all there is, and `capabilities` says so.
fn seal() -> Result<(), Step> {
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
    }
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }
    /// `LANDLOCK_ACCESS_FS_MAKE_BLOCK`.
    const MAKE_BLOCK: u64 = 1 << 11;
    /// `LANDLOCK_ACCESS_FS_REFER`, since the second version (Linux 5.19).
    const REFER: u64 = 1 << 13;
    const RULE_PATH_BENEATH: u32 = 1;
    let rules = Ruleset { handled_access_fs: MAKE_BLOCK | REFER };
    // SAFETY: structs on this stack, passed with their size or by a documented layout, then
    // plain numbers.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const rules,
            size_of::<Ruleset>(),
            0u32,
        );
        check(Step::Isolate, fd)?;
        let root = libc::open(c"/".as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
        check(Step::Isolate, root)?;
        let moves = PathBeneath { allowed_access: REFER, parent_fd: root };
        let done = libc::syscall(
            libc::SYS_landlock_add_rule,
            fd as RawFd,
            RULE_PATH_BENEATH,
            &raw const moves,
            0u32,
        );
        check(Step::Isolate, done)?;
        check(Step::Isolate, libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        let done = libc::syscall(libc::SYS_landlock_restrict_self, fd as RawFd, 0u32);
        check(Step::Isolate, done)
    }
}
