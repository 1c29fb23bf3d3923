//! [`Bookmark`]: how far the scrub has come, and the line of text that says so after a restart.
//!
//! Source: docs/design/disk-format.md, "The scrub's bookmark".

use std::fmt;
use std::io::{self, IoSlice};

use crate::error::with_causes;
use crate::io::{Io, OpenMode, read_full, write_full};
use crate::layout::{Layout, fan_of_prefix};
use crate::slot::{Entry, Location};

const HEAD: &str = "larder-scrub 1";
const LIMIT_BYTES: usize = 256;

/// Where an entry comes in a round: packs by place, then blob files by directory and sequence number.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Default, Debug)]
pub(super) struct Turn {
    /// 0: in a pack. Otherwise 1 + the directory.
    group: u16,
    at: u64,
}

impl Turn {
    pub(super) fn of(entry: &Entry) -> Self {
        match entry.location {
            Location::Pack { .. } => Self { group: 0, at: entry.location.to_bits() },
            Location::File { sequence } => {
                Self { group: 1 + u16::from(fan_of_prefix(&entry.key.prefix)), at: sequence }
            }
        }
    }
}

/// How far a round has come, or when the last one ended.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub(super) struct Bookmark {
    pub(super) begun_unix_ms: u64,
    /// 0 while the round is under way.
    pub(super) ended_unix_ms: u64,
    /// All before it has been checked, and it too.
    pub(super) last: Turn,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) corrupt_records: u64,
}

impl Bookmark {
    /// A round that begins now.
    pub(super) fn begin(now_ms: u64) -> Self {
        Self { begun_unix_ms: now_ms.max(1), ..Self::default() }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.begun_unix_ms > 0 && self.ended_unix_ms == 0
    }

    /// What an earlier run left; nothing when it cannot be read.
    pub(super) fn load(io: &dyn Io, layout: &Layout) -> Self {
        let read = || -> io::Result<String> {
            let file = io.open(&layout.scrub_file(), OpenMode::Read)?;
            let mut bytes = [0; LIMIT_BYTES];
            let length = read_full(&*file, &mut bytes, 0)?;
            Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
        };
        match read() {
            Ok(text) => Self::parse(&text).unwrap_or_else(|| {
                tracing::info!("the scrub's bookmark cannot be read; a new round begins");
                Self::default()
            }),
            Err(_) => Self::default(),
        }
    }

    /// Leaves it for the next run; what is lost of it is only work done twice.
    pub(super) fn save(&self, io: &dyn Io, layout: &Layout) {
        let (path, tmp) = (layout.scrub_file(), layout.scrub_tmp_file());
        let write = || {
            let _ = io.remove_file(&tmp);
            let file = io.open(&tmp, OpenMode::CreateNew)?;
            write_full(&*file, &mut [IoSlice::new(self.to_string().as_bytes())], 0)?;
            io.rename(&tmp, &path)
        };
        if let Err(error) = write() {
            tracing::debug!(error = %with_causes(&error), "the scrub's bookmark cannot be written");
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_suffix('\n')?.strip_prefix(HEAD)?.split_ascii_whitespace();
        let mut next = || numbers.next()?.parse::<u64>().ok();
        let bookmark = Self {
            begun_unix_ms: next()?,
            ended_unix_ms: next()?,
            last: Turn { group: u16::try_from(next()?).ok()?, at: next()? },
            records: next()?,
            bytes: next()?,
            corrupt_records: next()?,
        };
        numbers.next().is_none().then_some(bookmark)
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begun_unix_ms, ended_unix_ms, last, records, bytes, corrupt_records } = self;
        let Turn { group, at } = last;
        writeln!(
            f,
            "{HEAD} {begun_unix_ms} {ended_unix_ms} {group} {at} {records} {bytes} {corrupt_records}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_the_round_trip_and_anything_else_is_no_bookmark() {
        let bookmark = Bookmark {
            begun_unix_ms: 1,
            ended_unix_ms: 0,
            last: Turn { group: 256, at: u64::MAX },
            records: 3,
            bytes: 4,
            corrupt_records: 5,
        };
        let line = bookmark.to_string();
        assert_eq!(line, "larder-scrub 1 1 0 256 18446744073709551615 3 4 5\n");
        assert_eq!(Bookmark::parse(&line), Some(bookmark));
        for cut in 0..line.len() {
            assert_eq!(Bookmark::parse(&line[..cut]), None, "{cut}");
        }
        for text in ["larder-scrub 2 1 0 0 0 3 4 5\n", "larder-scrub 1 1 0 0 0 3 4 5 6\n", "\n"] {
            assert_eq!(Bookmark::parse(text), None, "{text}");
        }
    }
}
