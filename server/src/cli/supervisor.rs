//! [`Supervisor`]: tells systemd, or whoever else asked by `NOTIFY_SOCKET`, that the server serves, and that it stops.
//!
//! Source: `sd_notify(3)`, "Notes". Nobody waits for an answer, so that a supervisor that is gone costs a line in the log.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where a supervisor says that it listens.
pub(super) const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// Who started the process and wants to hear of it, if anyone does.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: Option<String>,
}

impl Supervisor {
    /// `socket` is a path, or a name after an `@` that no file system has.
    pub(super) fn new(socket: Option<&str>) -> Self {
        Self { socket: socket.map(str::to_owned) }
    }

    /// Sends one assignment, such as `READY=1`.
    pub(super) fn tell(&self, assignment: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, assignment) {
            tracing::warn!(%error, socket, assignment, "the supervisor is not told");
        }
    }
}

fn send(socket: &str, assignment: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(assignment.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_hears_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify").to_str().unwrap().to_owned();
        let name = format!("@larder-{}", std::process::id());
        for (socket, address) in [
            (&path, SocketAddr::from_pathname(&path).unwrap()),
            (&name, SocketAddr::from_abstract_name(&name[1..]).unwrap()),
        ] {
            let receiver = UnixDatagram::bind_addr(&address).unwrap();
            Supervisor::new(Some(socket)).tell("READY=1");
            let mut heard = [0; 16];
            let length = receiver.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1", "{socket}");
        }
    }

    #[test]
    fn one_that_is_gone_is_an_error_to_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nobody").to_str().unwrap().to_owned();
        assert!(send(&path, "READY=1").is_err());
    }
}
