//! Where a server listens: [`ListenAddress`], and [`SocketMode`] of a socket that is a file.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::value::Value;

/// What the kernel has for the path of a socket, less the byte that ends it.
const PATH_BYTES_MAX: usize = 107;

/// A place where clients connect.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum ListenAddress {
    /// An address of the network.
    Tcp(SocketAddr),
    /// A file, for clients on this machine.
    Unix(PathBuf),
}

/// The permissions of a socket that is a file: who may connect.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct SocketMode(pub u32);

impl ListenAddress {
    /// The address, if it is one of the network.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path, if it is a file.
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Value for ListenAddress {
    const EXPECTED: &'static str = "a list of addresses such as 127.0.0.1:8980, [::1]:8980 or \
                                    unix:/run/larder.sock (a path of up to 107 B)";

    fn read(text: &str) -> Option<Self> {
        let Some(path) = text.strip_prefix("unix:") else {
            return text.parse().ok().map(Self::Tcp);
        };
        // gRPC's names have the form unix:///path too.
        let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
        let path = PathBuf::read(path)?;
        (path.as_os_str().len() <= PATH_BYTES_MAX).then_some(Self::Unix(path))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for SocketMode {
    const EXPECTED: &'static str = "permissions in quotes such as \"0600\" or \"0660\"";

    fn read(text: &str) -> Option<Self> {
        // A number that TOML has read already would be decimal by now.
        let digits = text.strip_prefix('0').filter(|digits| digits.len() == 3)?;
        u32::from_str_radix(digits, 8).ok().map(Self)
    }

    fn show(&self) -> String {
        format!("0{:03o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&str>) {
        let read = Vec::<ListenAddress>::read(text);
        assert_eq!(read.map(|list| list.show()).as_deref(), expect, "{text:?}");
    }

    #[test]
    fn addresses_and_paths() {
        check("127.0.0.1:8980", Some("127.0.0.1:8980"));
        check("[::1]:0, unix:/run/l.sock", Some("[::1]:0,unix:/run/l.sock"));
        check("unix:///run/l.sock", Some("unix:/run/l.sock"));
        check("unix:l.sock", Some("unix:l.sock"));
        check("unix:", None);
        check("unix:/a\0b", None);
        check("/run/l.sock", None);
        check("localhost:8980", None);
        check("127.0.0.1:8980,", None);
        check(&format!("unix:/{}", "x".repeat(107)), None);
    }

    #[test]
    fn modes_are_octal() {
        for (text, expect) in [
            ("0600", Some(0o600)),
            ("0777", Some(0o777)),
            ("600", None),
            ("0800", None),
            ("432", None),
        ] {
            let mode = SocketMode::read(text);
            assert_eq!(mode.map(|mode| mode.0), expect, "{text}");
            assert!(mode.is_none_or(|mode| mode.show() == text), "{text}");
        }
    }
}
