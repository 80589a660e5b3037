//! The service says by itself that it is ready, as it would to systemd.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as unix;

use tokio::net::UnixDatagram;

/// A socket with a name of its own in the kernel, not in the file system: it can be reached from
/// behind a covered directory, and leaves nothing behind.
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    name: String,
    ready: bool,
}

impl NotifySocket {
    pub(crate) fn bind(name: &str) -> io::Result<Self> {
        let address = unix::SocketAddr::from_abstract_name(name)?;
        let socket = unix::UnixDatagram::bind_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixDatagram::from_std(socket)?, name: name.to_owned(), ready: false })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn address(&self) -> String {
        format!("@{}", self.name)
    }

    /// Returns when `READY=1` has arrived, at once if it had before.
    pub(crate) async fn ready(&mut self) -> Result<(), String> {
        let mut buffer = [0u8; 4096];
        while !self.ready {
            let n = self.socket.recv(&mut buffer).await.map_err(|error| error.to_string())?;
            self.ready = says_ready(&buffer[..n]);
        }
        Ok(())
    }
}

fn says_ready(message: &[u8]) -> bool {
    message.split(|b| *b == b'\n').any(|line| line.trim_ascii() == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::says_ready;

    #[test]
    fn ready_is_one_line_among_others() {
        assert!(says_ready(b"STATUS=loading done\nREADY=1\n"));
        assert!(says_ready(b"READY=1"));
        assert!(!says_ready(b"READY=10"));
        assert!(!says_ready(b"STATUS=not READY=1"));
    }
}
