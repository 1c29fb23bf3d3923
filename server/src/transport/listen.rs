//! [`listen`]: a listening socket, or a line that says what to do.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::{ListenAddress, SocketMode};

/// Connections that wait to be accepted: a burst of clients, such as a CI job with many shards.
const BACKLOG: i32 = 4096;

/// A listening socket that tokio can take.
#[derive(Debug)]
pub enum Listener {
    /// On an address of the network.
    Tcp(TcpListener),
    /// On a file, which is removed with the value.
    Unix(UnixListener, SocketFile),
}

/// The file of a socket; removed when dropped, unless it has become another's.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Tells a file from another at the same path. The number of an inode alone is soon used again.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
struct Identity {
    device: u64,
    inode: u64,
    /// `None` on file systems that do not keep it.
    born: Option<SystemTime>,
}

/// No socket could be had for an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Somebody listens there.
    #[error(
        "{address} is in use, perhaps by another larder; stop it, or choose another address with \
         --{flag}"
    )]
    InUse {
        /// The address.
        address: ListenAddress,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// What is at the path is not a socket, and so not ours to remove.
    #[error("{} is there and is no socket; choose another path with --{flag}", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The system refused.
    #[error("cannot listen on {address} (--{flag})")]
    Refused {
        /// The address.
        address: ListenAddress,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening socket, and its real address; `flag` is the setting to name if there is none.
pub fn listen(
    address: &ListenAddress,
    mode: SocketMode,
    flag: &'static str,
) -> Result<(Listener, ListenAddress), ListenError> {
    let bound = match address {
        ListenAddress::Tcp(address) => bind(*address),
        ListenAddress::Unix(path) if is_no_socket(path) => {
            return Err(ListenError::NoSocket { path: path.clone(), flag });
        }
        ListenAddress::Unix(path) => bind_file(path, mode)
            .map(|(listener, file)| (Listener::Unix(listener, file), address.clone())),
    };
    bound.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address: address.clone(), flag },
        _ => ListenError::Refused { address: address.clone(), flag, source },
    })
}

fn bind(address: SocketAddr) -> io::Result<(Listener, ListenAddress)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the server before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((Listener::Tcp(listener), ListenAddress::Tcp(address)))
}

fn is_no_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket())
}

fn bind_file(path: &Path, mode: SocketMode) -> io::Result<(UnixListener, SocketFile)> {
    // Of two servers that start at once one must not remove what the other has just bound.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = fs::File::open(directory.unwrap_or(Path::new(".")))?;
    flock(&directory, FlockOperation::LockExclusive)?;
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), identity: Identity::of(path)? };
    // Nobody can connect before `listen`, so nobody slips in under another mode.
    fs::set_permissions(path, fs::Permissions::from_mode(mode.0))?;
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from(socket), file))
}

/// Removes a socket that nobody listens on: what a server leaves behind that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Else a full backlog, which is somebody too, would make it wait.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
            _ => Err(error),
        },
    }
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let born = metadata.created().ok();
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), born })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Identity::of(&self.path).ok() != Some(self.identity) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    const MODE: SocketMode = SocketMode(0o640);

    fn at(path: &Path) -> Result<(Listener, ListenAddress), ListenError> {
        listen(&ListenAddress::Unix(path.to_owned()), MODE, "listen")
    }

    #[test]
    fn a_socket_is_a_file_with_a_mode_and_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.sock");
        let (listener, _) = at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE.0);
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.sock");
        let (first, _) = at(&path).unwrap();
        let refused = at(&path).unwrap_err();
        assert!(matches!(refused, ListenError::InUse { .. }), "{refused}");
        UnixStream::connect(&path).unwrap();
        // As a killed server leaves it: the file without a listener.
        let Listener::Unix(listener, file) = first else { panic!("a unix socket") };
        drop(listener);
        let (second, _) = at(&path).unwrap();
        // The first one's end leaves the second one's file alone.
        drop(file);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "kept").unwrap();
        let refused = at(&path).unwrap_err().to_string();
        assert!(refused.contains("is no socket"), "{refused}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 4);
        let refused = at(&directory.path().join("absent/l.sock")).unwrap_err();
        assert!(matches!(refused, ListenError::Refused { .. }), "{refused}");
    }
}
