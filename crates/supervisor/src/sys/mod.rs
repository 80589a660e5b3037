//! The one place with `unsafe`: what the kernel offers and no safe wrapper covers.
//!
//! `child` makes a process and runs on the child's side between fork and exec, where only
//! async-signal-safe calls are allowed: nothing there allocates, locks or panics; everything it
//! needs has been laid out by the parent; `jail` is the part of it that hides directories. `pidfd` reads the exit status of a process that is not
//! our child, and signals a whole process group by descriptor.

pub(crate) mod child;
pub(crate) mod jail;
pub(crate) mod pidfd;
