//! [`Session`]: what the tools of a build ask a cache for, as a text that can be written, read and replayed.
//!
//! Format: docs/design/bench-session.md.

mod bazel_log;

use std::collections::HashSet;
use std::fmt;

use thiserror::Error;

pub(crate) use bazel_log::{BazelLogError, session_of};

/// The first line.
const HEADER: &str = "larder-session 1";

/// Builds of Bazel, recorded by `cargo xtask record-session`.
const RECORDED: &str = include_str!("../../sessions/bazel.session");

/// The actions of a build, side by side.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Session {
    pub(crate) actions: Vec<Vec<Call>>,
}

/// One call. Those of an action are made one after the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// `GetActionResult`: with the outputs of a hit.
    Hit { action: String, outputs: Vec<BlobName> },
    /// `GetActionResult` that finds nothing.
    Miss { action: String },
    /// `FindMissingBlobs`.
    Find { blobs: Vec<BlobName> },
    /// `ByteStream.Read`.
    Read { blob: BlobName },
    /// `ByteStream.Write`.
    Write { blob: BlobName },
    /// `UpdateActionResult`.
    Update { action: String, outputs: Vec<BlobName> },
}

/// What a session calls a blob: its bytes are made from the name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct BlobName {
    pub(crate) name: String,
    pub(crate) size_bytes: usize,
}

/// A line that is none of a session.
#[derive(Debug, Eq, Error, PartialEq)]
pub(crate) enum SessionError {
    #[error("the first line is not `{HEADER}`")]
    Header,
    #[error("`{word}` is no call")]
    Call { word: String },
    #[error("a call without its action or its blobs")]
    Short,
    #[error("`{token}` is not NAME:BYTES")]
    Blob { token: String },
    #[error("`get` says neither hit nor miss but `{word}`")]
    Outcome { word: String },
    #[error("`{name}` is read or a hit names it, but only other actions or later lines write it")]
    Unwritten { name: String },
    #[error("no action at all")]
    Empty,
}

impl Session {
    /// The one that is replayed where no other is named.
    pub(crate) fn recorded() -> Self {
        Self::parse(RECORDED).expect("a test reads it")
    }

    /// Reads a whole session; an error tells the line, counted from 1.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, SessionError)> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, line)| line != HEADER) {
            return Err((1, SessionError::Header));
        }
        let mut actions = vec![Vec::new()];
        let mut numbers = vec![Vec::new()];
        for (number, line) in lines {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let (Some(calls), Some(places)) = (actions.last_mut(), numbers.last_mut()) {
                if !line.is_empty() {
                    calls.push(Call::parse(line).map_err(|error| (number, error))?);
                    places.push(number);
                    continue;
                }
                if calls.is_empty() {
                    continue;
                }
            }
            actions.push(Vec::new());
            numbers.push(Vec::new());
        }
        actions.retain(|calls| !calls.is_empty());
        if actions.is_empty() {
            return Err((1, SessionError::Empty));
        }
        let session = Self { actions };
        session.check_reads(&numbers)?;
        Ok(session)
    }

    /// The blobs that the session writes: new with each replay. All others are there before.
    pub(crate) fn written(&self) -> HashSet<&BlobName> {
        let calls = self.actions.iter().flatten();
        calls
            .filter_map(|call| if let Call::Write { blob } = call { Some(blob) } else { None })
            .collect()
    }

    /// What is read was written before by the same action, or by none.
    fn check_reads(&self, numbers: &[Vec<usize>]) -> Result<(), (usize, SessionError)> {
        let fresh = self.written();
        for (calls, numbers) in self.actions.iter().zip(numbers) {
            let mut own = HashSet::new();
            for (call, number) in calls.iter().zip(numbers) {
                let used = match call {
                    Call::Hit { outputs, .. } => &outputs[..],
                    Call::Read { blob } => std::slice::from_ref(blob),
                    Call::Write { blob } => {
                        own.insert(blob);
                        &[]
                    }
                    Call::Miss { .. } | Call::Find { .. } | Call::Update { .. } => &[],
                };
                let unwritten = used.iter().find(|it| fresh.contains(it) && !own.contains(it));
                if let Some(blob) = unwritten {
                    return Err((*number, SessionError::Unwritten { name: blob.name.clone() }));
                }
            }
        }
        Ok(())
    }
}

impl Call {
    fn parse(line: &str) -> Result<Self, SessionError> {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        match word {
            "get" => {
                let action = words.next().ok_or(SessionError::Short)?.to_owned();
                match words.next().ok_or(SessionError::Short)? {
                    "hit" => Ok(Self::Hit { action, outputs: blobs(words)? }),
                    "miss" => Ok(Self::Miss { action }),
                    word => Err(SessionError::Outcome { word: word.to_owned() }),
                }
            }
            "update" => {
                let action = words.next().ok_or(SessionError::Short)?.to_owned();
                Ok(Self::Update { action, outputs: blobs(words)? })
            }
            "find" => {
                let blobs = blobs(words)?;
                if blobs.is_empty() { Err(SessionError::Short) } else { Ok(Self::Find { blobs }) }
            }
            "read" => Ok(Self::Read { blob: BlobName::parse(words.next())? }),
            "write" => Ok(Self::Write { blob: BlobName::parse(words.next())? }),
            _ => Err(SessionError::Call { word: word.to_owned() }),
        }
    }
}

fn blobs<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<BlobName>, SessionError> {
    words.map(|word| BlobName::parse(Some(word))).collect()
}

impl BlobName {
    fn parse(token: Option<&str>) -> Result<Self, SessionError> {
        let token = token.ok_or(SessionError::Short)?;
        let parsed = token.rsplit_once(':').and_then(|(name, size)| {
            let size_bytes = size.parse().ok().filter(|_| !name.is_empty())?;
            Some(Self { name: name.to_owned(), size_bytes })
        });
        parsed.ok_or_else(|| SessionError::Blob { token: token.to_owned() })
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        for action in &self.actions {
            writeln!(f)?;
            for call in action {
                writeln!(f, "{call}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blobs = match self {
            Self::Hit { action, outputs } => {
                write!(f, "get {action} hit")?;
                &outputs[..]
            }
            Self::Miss { action } => return write!(f, "get {action} miss"),
            Self::Find { blobs } => {
                f.write_str("find")?;
                &blobs[..]
            }
            Self::Read { blob } => return write!(f, "read {blob}"),
            Self::Write { blob } => return write!(f, "write {blob}"),
            Self::Update { action, outputs } => {
                write!(f, "update {action}")?;
                &outputs[..]
            }
        };
        blobs.iter().try_for_each(|blob| write!(f, " {blob}"))
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let session = Session::recorded();
        assert_eq!(Session::parse(&session.to_string()), Ok(session));
    }

    #[test]
    fn the_recorded_one_has_calls_of_each_kind() {
        let session = Session::recorded();
        let count =
            |of: fn(&Call) -> bool| session.actions.iter().flatten().filter(|it| of(it)).count();
        let hits = count(|call| matches!(call, Call::Hit { .. }));
        let misses = count(|call| matches!(call, Call::Miss { .. }));
        assert!(hits > misses && misses > 100, "{hits} hits, {misses} misses");
        assert!(count(|call| matches!(call, Call::Read { .. })) >= hits);
        assert!(count(|call| matches!(call, Call::Write { .. })) > misses);
        assert_eq!(count(|call| matches!(call, Call::Find { .. })), misses);
        assert_eq!(count(|call| matches!(call, Call::Update { .. })), misses);
    }

    #[test]
    fn comments_and_blank_lines_part_actions() {
        let text = "larder-session 1\n# two\n\nget a hit x:1 # one\nread x:1\n\n\nget b miss\n";
        let session = Session::parse(text).unwrap();
        assert_eq!(session.actions.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let check = |lines: &str, line: usize, expect: SessionError| {
            let text = format!("larder-session 1\n{lines}");
            assert_eq!(Session::parse(&text), Err((line, expect)), "{lines}");
        };
        let name = || "x".to_owned();
        check("", 1, SessionError::Empty);
        check("\nput x:1", 3, SessionError::Call { word: "put".to_owned() });
        check("get a", 2, SessionError::Short);
        check("find", 2, SessionError::Short);
        check("get a x", 2, SessionError::Outcome { word: name() });
        check("read x", 2, SessionError::Blob { token: name() });
        check("read x:-1", 2, SessionError::Blob { token: "x:-1".to_owned() });
        check("write x:1\n\nread x:1", 4, SessionError::Unwritten { name: name() });
        check("read x:1\nwrite x:1", 2, SessionError::Unwritten { name: name() });
        check("write x:1\n\nget a hit x:1", 4, SessionError::Unwritten { name: name() });
        assert_eq!(Session::parse("larder-trace 1\n"), Err((1, SessionError::Header)));
    }
}
