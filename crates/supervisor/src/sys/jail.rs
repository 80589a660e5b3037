//! A private view of the file system, made by the child for itself.
//!
//! The rule of `child` holds here too: raw system calls on memory that the parent has laid out.

#![expect(unsafe_code, reason = "between fork and exec, see each SAFETY comment")]

use std::ffi::CString;
use std::os::fd::RawFd;

use super::child::{Step, check};

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

/// Covers what is to be covered, for this process and all that it starts. In a child only, which
/// has one thread.
pub(super) fn enter(jail: &Jail) -> Result<(), Step> {
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
