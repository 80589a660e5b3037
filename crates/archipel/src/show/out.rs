//! Standard output, for data. `println!` panics when the reader has gone away (`| head`); that
//! is how a pipe normally ends, and ends us without words, as SIGPIPE ends other programs. A full
//! disk does not.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes one line to standard output.
macro_rules! outln {
    () => { $crate::show::out::text(format_args!("\n")) };
    ($($arg:tt)+) => { $crate::show::out::text(format_args!("{}\n", format_args!($($arg)+))) };
}

/// Writes to standard output, or ends the program: without its reader a verb that prints has
/// nothing left to do.
pub(crate) fn text(text: Arguments<'_>) {
    if let Err(error) = std::io::stdout().lock().write_fmt(text) {
        ended(&error);
    }
}

/// For output that is no text of ours.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        ended(&error);
    }
}

fn ended(error: &std::io::Error) -> ! {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(crate::exit::READER_GONE.into());
    }
    // Standard error may be as broken; then the exit code alone tells.
    let _ = writeln!(std::io::stderr(), "error: could not write to standard output: {error}");
    std::process::exit(crate::exit::UNEXPECTED.into());
}
