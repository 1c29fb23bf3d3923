//! [`Target`]: where the server under test is, parsed from what the user writes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use tonic::transport::Endpoint;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What other clients open: Bazel's own flow-control windows are of this order.
const WINDOW_BYTES: u32 = 4 << 20;

/// An address of a server that speaks gRPC or HTTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// `host:port`.
    Tcp(String),
    /// A unix socket.
    Unix(PathBuf),
}

/// Why a target cannot be understood.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum TargetError {
    #[error("{text:?} has no scheme: write {expected}")]
    NoScheme { text: String, expected: &'static str },
    #[error("{scheme}:// is not spoken by this kit: TLS ends at a proxy in front of the server")]
    Tls { scheme: String },
    #[error("{scheme}:// is not known here: write {expected}")]
    Scheme { scheme: String, expected: &'static str },
    #[error("{text:?} has no port: write {text}:PORT")]
    NoPort { text: String },
    #[error("{text:?} has a path; instances are named by --instance")]
    Path { text: String },
    #[error("unix: has no path: write unix:/path/to/socket")]
    NoPath,
}

const GRPC: &str = "grpc://HOST:PORT or unix:/PATH";
const HTTP: &str = "http://HOST:PORT or unix:/PATH";

impl Target {
    /// Where HTTP/1.1 is spoken: `http://host:port[/prefix]` or `unix:/path`. The prefix is what paths begin with, without a
    /// slash at its end.
    pub(crate) fn parse_http(text: &str) -> Result<(Self, String), TargetError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok((Self::unix(path)?, String::new()));
        }
        let rest = after_scheme(text, "http", HTTP)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = path.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Ok((Self::tcp(authority)?, prefix))
    }

    fn tcp(authority: &str) -> Result<Self, TargetError> {
        let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        if has_port {
            Ok(Self::Tcp(authority.to_owned()))
        } else {
            Err(TargetError::NoPort { text: authority.to_owned() })
        }
    }

    fn unix(path: &str) -> Result<Self, TargetError> {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() { Err(TargetError::NoPath) } else { Ok(Self::Unix(path.into())) }
    }

    /// How gRPC connects to it.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, tonic::transport::Error> {
        let uri = match self {
            Self::Tcp(authority) => format!("http://{authority}"),
            Self::Unix(path) => format!("unix:{}", absolute(path).display()),
        };
        let endpoint = Endpoint::from_shared(uri)?
            .connect_timeout(CONNECT_LIMIT)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .http2_max_header_list_size(1 << 20)
            .user_agent(concat!("larder-conformance/", env!("CARGO_PKG_VERSION")))?;
        Ok(endpoint)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// Where gRPC is spoken: `grpc://host:port` or `unix:/path`.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path);
        }
        let authority = after_scheme(text, "grpc", GRPC)?.trim_end_matches('/');
        if authority.contains('/') {
            return Err(TargetError::Path { text: text.to_owned() });
        }
        Self::tcp(authority)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "grpc://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn after_scheme<'a>(
    text: &'a str,
    wanted: &str,
    expected: &'static str,
) -> Result<&'a str, TargetError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(TargetError::NoScheme { text: text.to_owned(), expected });
    };
    match scheme {
        _ if scheme == wanted => Ok(rest),
        "grpcs" | "https" => Err(TargetError::Tls { scheme: scheme.to_owned() }),
        _ => Err(TargetError::Scheme { scheme: scheme.to_owned(), expected }),
    }
}

/// tonic's URIs know no relative paths.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&str, TargetError>) {
        let parsed = text.parse::<Target>().map(|target| target.to_string());
        assert_eq!(parsed, expect.map(str::to_owned), "{text}");
    }

    #[test]
    fn targets_of_grpc() {
        let (text, scheme) = ("x".to_owned(), "grpcs".to_owned());
        check("grpc://localhost:8980", Ok("grpc://localhost:8980"));
        check("grpc://[::1]:8980/", Ok("grpc://[::1]:8980"));
        check("unix:/run/x.sock", Ok("unix:/run/x.sock"));
        check("unix:///run/x.sock", Ok("unix:/run/x.sock"));
        check("unix:", Err(TargetError::NoPath));
        check("x", Err(TargetError::NoScheme { text: text.clone(), expected: GRPC }));
        check("grpc://x", Err(TargetError::NoPort { text }));
        check("grpcs://x:1", Err(TargetError::Tls { scheme }));
        check("ftp://x:1", Err(TargetError::Scheme { scheme: "ftp".to_owned(), expected: GRPC }));
        let text = "grpc://x:1/main".to_owned();
        check("grpc://x:1/main", Err(TargetError::Path { text }));
    }

    #[test]
    fn targets_of_http_may_have_a_prefix() {
        let parse = |text| Target::parse_http(text).unwrap();
        let tcp = Target::Tcp("h:1".to_owned());
        assert_eq!(parse("http://h:1"), (tcp.clone(), String::new()));
        assert_eq!(parse("http://h:1/"), (tcp.clone(), String::new()));
        assert_eq!(parse("http://h:1/a/b/"), (tcp, "/a/b".to_owned()));
        assert_eq!(parse("unix:/x"), (Target::Unix("/x".into()), String::new()));
        assert!(Target::parse_http("https://h:1").is_err());
    }
}
