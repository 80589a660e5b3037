//! Calls on a process descriptor that rustix does not have yet.

#![expect(unsafe_code, reason = "an ioctl and a raw system call, see each SAFETY comment")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The first published layout of the kernel's `struct pidfd_info` (64 bytes); the kernel fills
/// as much as the size in the request number says.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const WANT_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)` for 64 bytes.
const GET_INFO: u32 = (3 << 30) | (64 << 16) | (0xFF << 8) | 11;
/// `PIDFD_SIGNAL_PROCESS_GROUP`, since Linux 6.9.
const TO_GROUP: u32 = 1 << 2;

/// The wait status of a process that has been reaped by whoever is its parent.
///
/// `Ok(None)`: not reaped yet. Since Linux 6.15.
///
/// # Errors
/// `ENOTTY` and `EINVAL` on older kernels.
pub(crate) fn exit_status(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    const { assert!(size_of::<Info>() == 64) };
    let mut info = Info { mask: WANT_EXIT, ..Info::default() };
    // SAFETY: the descriptor is open for the length of the borrow, and `info` is a writable
    // struct of exactly the size that is part of the request number.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as libc::Ioctl, &raw mut info) };
    match done {
        0 if info.mask & WANT_EXIT != 0 => Ok(Some(info.exit_code)),
        0 => Ok(None),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            error => Err(error),
        },
    }
}

/// Signals the process group whose leader the descriptor names: never a reused number.
///
/// # Errors
/// `EINVAL` before Linux 6.9, `ESRCH` when nobody is left.
pub(crate) fn signal_group(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: four plain numbers and a null pointer, which the call documents as allowed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            TO_GROUP,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps a shared descriptor open for as long as it is being watched.
pub(crate) struct Shared(Arc<OwnedFd>);

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Watches a process descriptor: it turns readable when the process has ended.
///
/// # Errors
/// When the runtime cannot watch one more descriptor.
pub(crate) fn watch(pidfd: Arc<OwnedFd>) -> io::Result<AsyncFd<Shared>> {
    // SAFETY: `Shared` owns a share of the descriptor and never closes or replaces it, so it
    // stays open and the same until the registration is dropped.
    let watched = unsafe { AsyncFd::register_with_interest(Shared(pidfd), Interest::READABLE) };
    watched.map_err(Into::into)
}
