//! [`Target`]: one server to load, as the command line names it.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::ServerName;
use thiserror::Error;

/// What [`Target`]s are written like.
const FORM: &str = "NAME=URL[,pid=N][,http=URL][,instance=NAME][,entries=N][,header=NAME:VALUE]";

/// A server: `NAME=URL[,pid=N][,http=URL][,instance=NAME][,entries=N][,header=NAME:VALUE]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    /// What reports call it.
    pub(crate) name: String,
    /// Where gRPC is.
    pub(crate) grpc: Address,
    /// Where the HTTP cache is.
    pub(crate) http: Option<Address>,
    /// What every call says beside what its protocol needs, such as credentials.
    pub(crate) headers: HeaderMap,
    /// The server's process on this machine.
    pub(crate) pid: Option<u32>,
    /// The instance that bench data goes to.
    pub(crate) instance: String,
    /// How many entries its store has, where that is not what the others have.
    pub(crate) entries: Option<u64>,
}

/// Where a server listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    /// `host:port`.
    pub(crate) authority: String,
    /// Whom its certificate must name, where it speaks TLS.
    pub(crate) certified: Option<ServerName<'static>>,
}

/// A header of every call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Header(HeaderName, HeaderValue);

/// The text names no server.
#[derive(Debug, Eq, Error, PartialEq)]
pub(crate) enum TargetError {
    #[error("expected {FORM}")]
    Form,
    #[error("`{key}` is none of pid, http, instance, entries, header")]
    Key { key: String },
    #[error("`{value}` is no process id")]
    Pid { value: String },
    #[error("`{value}` is no number of entries")]
    Entries { value: String },
    // Not its value, which may be a secret.
    #[error("a header is NAME:VALUE, of visible characters")]
    Header,
    #[error("--tls-ca is for servers that speak TLS: grpcs:// or https://")]
    Unencrypted,
    #[error("`{url}` is not grpc://HOST:PORT or http://HOST:PORT, with TLS grpcs:// or https://")]
    Url { url: String },
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let mut parts = text.split(',');
        let (name, url) =
            parts.next().and_then(|it| it.split_once('=')).ok_or(TargetError::Form)?;
        if name.is_empty() {
            return Err(TargetError::Form);
        }
        let mut target = Self::of(name, url)?;
        for part in parts {
            let (key, value) = part.split_once('=').ok_or(TargetError::Form)?;
            match key {
                "pid" => {
                    let pid = value.parse();
                    target.pid =
                        Some(pid.map_err(|_| TargetError::Pid { value: value.to_owned() })?);
                }
                "http" => target.http = Some(value.parse()?),
                "instance" => value.clone_into(&mut target.instance),
                "entries" => {
                    let entries = value.parse();
                    target.entries = Some(
                        entries.map_err(|_| TargetError::Entries { value: value.to_owned() })?,
                    );
                }
                "header" => target.say(value.parse()?),
                _ => return Err(TargetError::Key { key: key.to_owned() }),
            }
        }
        Ok(target)
    }
}

impl Target {
    /// A server of which nothing but its address is known.
    pub(crate) fn of(name: &str, url: &str) -> Result<Self, TargetError> {
        Ok(Self {
            name: name.to_owned(),
            grpc: url.parse()?,
            http: None,
            headers: HeaderMap::new(),
            pid: None,
            instance: String::new(),
            entries: None,
        })
    }

    /// Has every call say this.
    pub(crate) fn say(&mut self, Header(name, value): Header) {
        self.headers.append(name, value);
    }

    /// Whether any of it is spoken over TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        let mut addresses = [Some(&self.grpc), self.http.as_ref()].into_iter().flatten();
        addresses.any(|address| address.certified.is_some())
    }
}

impl FromStr for Address {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        let refused = || TargetError::Url { url: url.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(refused)?;
        let authority = rest.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').ok_or_else(refused)?;
        if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
            return Err(refused());
        }
        let certified = match scheme {
            "grpc" | "http" => None,
            "grpcs" | "https" => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Some(ServerName::try_from(host.to_owned()).map_err(|_| refused())?)
            }
            _ => return Err(refused()),
        };
        Ok(Self { authority: authority.to_owned(), certified })
    }
}

impl FromStr for Header {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (name, value) = text.split_once(':').ok_or(TargetError::Header)?;
        let name = name.trim().parse().map_err(|_| TargetError::Header)?;
        let value = value.trim().parse().map_err(|_| TargetError::Header)?;
        Ok(Self(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_with_what_is_known_of_them() {
        let bare = Target::of("a", "grpc://localhost:1").unwrap();
        let check = |text: &str, expect: Result<Target, TargetError>| {
            assert_eq!(text.parse::<Target>(), expect, "{text}");
        };
        check("a=grpc://localhost:1", Ok(bare.clone()));
        check("a=http://localhost:1/", Ok(bare.clone()));
        check(
            "a=grpc://localhost:1,pid=7,http=http://[::1]:2,instance=x/y,entries=9",
            Ok(Target {
                pid: Some(7),
                http: Some(Address { authority: "[::1]:2".to_owned(), certified: None }),
                instance: "x/y".to_owned(),
                entries: Some(9),
                ..bare.clone()
            }),
        );
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer a:b=c"));
        headers.insert("x-y", HeaderValue::from_static(""));
        check(
            "a=grpc://localhost:1,header=Authorization: Bearer a:b=c,header=x-y:",
            Ok(Target { headers, ..bare }),
        );
        check("grpc://localhost:1", Err(TargetError::Form));
        check("=grpc://localhost:1", Err(TargetError::Form));
        check("a=grpc://localhost:1,pid", Err(TargetError::Form));
        check("a=grpc://localhost:1,pid=x", Err(TargetError::Pid { value: "x".to_owned() }));
        let entries = TargetError::Entries { value: "1k".to_owned() };
        check("a=grpc://localhost:1,entries=1k", Err(entries));
        check("a=grpc://localhost:1,size=1", Err(TargetError::Key { key: "size".to_owned() }));
        for header in ["x", "x y: z", ": z", "x: \u{7f}"] {
            check(&format!("a=grpc://localhost:1,header={header}"), Err(TargetError::Header));
        }
        let wrong = ["localhost:1", "ftp://h:1", "grpc://localhost", "grpc://:1", "grpc://h:x"];
        for url in wrong.into_iter().chain(["grpcs://a b:1", "grpcs://h/:1"]) {
            check(&format!("a={url}"), Err(TargetError::Url { url: url.to_owned() }));
        }
    }

    #[test]
    fn certificates_must_name_the_host() {
        let check = |text: &str, grpc: Option<&str>, http: Option<&str>, is_encrypted: bool| {
            let target: Target = text.parse().unwrap();
            let name = |address: &Address| {
                address.certified.as_ref().map(|name| name.to_str().into_owned())
            };
            let http_name = target.http.as_ref().and_then(name);
            assert_eq!((name(&target.grpc).as_deref(), http_name.as_deref()), (grpc, http));
            assert_eq!(target.is_encrypted(), is_encrypted, "{text}");
        };
        check("a=grpc://h:1,http=http://h:1", None, None, false);
        check("a=grpcs://h:1", Some("h"), None, true);
        check("a=grpc://h:1,http=https://[::1]:2", None, Some("::1"), true);
        check("a=grpcs://127.0.0.1:1,http=https://h:1", Some("127.0.0.1"), Some("h"), true);
    }
}
