//! [`Target`]: one server to load, as the command line names it.

use std::str::FromStr;

use thiserror::Error;

/// A server: `NAME=URL[,pid=N][,http=URL][,instance=NAME][,entries=N]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    /// What reports call it.
    pub(crate) name: String,
    /// `host:port` of gRPC.
    pub(crate) grpc: String,
    /// `host:port` of the HTTP cache.
    pub(crate) http: Option<String>,
    /// The server's process on this machine.
    pub(crate) pid: Option<u32>,
    /// The instance that bench data goes to.
    pub(crate) instance: String,
    /// How many entries its store has, where that is not what the others have.
    pub(crate) entries: Option<u64>,
}

/// The text names no server.
#[derive(Debug, Eq, Error, PartialEq)]
pub(crate) enum TargetError {
    #[error("expected NAME=URL[,pid=N][,http=URL][,instance=NAME][,entries=N]")]
    Form,
    #[error("`{key}` is none of pid, http, instance, entries")]
    Key { key: String },
    #[error("`{value}` is no process id")]
    Pid { value: String },
    #[error("`{value}` is no number of entries")]
    Entries { value: String },
    #[error("`{url}` is not grpc://HOST:PORT or http://HOST:PORT: TLS is not spoken here")]
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
                "http" => target.http = Some(authority(value)?),
                "instance" => value.clone_into(&mut target.instance),
                "entries" => {
                    let entries = value.parse();
                    target.entries = Some(
                        entries.map_err(|_| TargetError::Entries { value: value.to_owned() })?,
                    );
                }
                _ => return Err(TargetError::Key { key: key.to_owned() }),
            }
        }
        Ok(target)
    }
}

impl Target {
    /// A server of which nothing but its address is known.
    pub(crate) fn of(name: &str, url: &str) -> Result<Self, TargetError> {
        let grpc = authority(url)?;
        let (name, instance) = (name.to_owned(), String::new());
        Ok(Self { name, grpc, http: None, pid: None, instance, entries: None })
    }
}

/// `host:port` of a URL.
pub(crate) fn authority(url: &str) -> Result<String, TargetError> {
    let refused = || TargetError::Url { url: url.to_owned() };
    let rest = url.strip_prefix("grpc://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.ok_or_else(refused)?.trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').ok_or_else(refused)?;
    let well_formed = !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok();
    well_formed.then(|| authority.to_owned()).ok_or_else(refused)
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
                http: Some("[::1]:2".to_owned()),
                instance: "x/y".to_owned(),
                entries: Some(9),
                ..bare
            }),
        );
        check("grpc://localhost:1", Err(TargetError::Form));
        check("=grpc://localhost:1", Err(TargetError::Form));
        check("a=grpc://localhost:1,pid", Err(TargetError::Form));
        check("a=grpc://localhost:1,pid=x", Err(TargetError::Pid { value: "x".to_owned() }));
        let entries = TargetError::Entries { value: "1k".to_owned() };
        check("a=grpc://localhost:1,entries=1k", Err(entries));
        check("a=grpc://localhost:1,size=1", Err(TargetError::Key { key: "size".to_owned() }));
        for url in
            ["localhost:1", "grpcs://localhost:1", "grpc://localhost", "grpc://:1", "grpc://h:x"]
        {
            check(&format!("a={url}"), Err(TargetError::Url { url: url.to_owned() }));
        }
    }
}
