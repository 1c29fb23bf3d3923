//! [`Finding`]: one thing that verifying came upon; [`Verified`], how many there were.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::key::RecordKey;

/// What kind of thing it is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum FindingKind {
    /// A record that is not what it says. Mended: it is a miss, and so are older ones of its key.
    BadRecord,
    /// Bytes in a pack that are no record, with records behind them. Mended: the pack is written anew without them.
    Damage,
    /// Bytes behind the last record of a pack. Mended: cut.
    TornTail,
    /// A pack does not begin as packs do. Mended: its beginning is written anew, or the file is removed where it holds nothing.
    BadHeader,
    /// `LAYOUT` is missing or wrong. Mended: written from the packs.
    BadLayout,
    /// The index cannot be used, or knows of records that are lost. Mended: removed.
    BadIndex,
    /// The system does not hand it out. Not mended.
    Unreadable,
    /// A name or a file that is not Larder's. Nothing is wrong with that; it is left alone.
    Foreign,
    /// What a process that was ended left half done. Nothing is wrong with that. Mended: removed.
    HalfWritten,
}

impl FindingKind {
    /// Whether something is wrong.
    pub fn is_wrong(self) -> bool {
        !matches!(self, Self::Foreign | Self::HalfWritten)
    }

    fn name(self) -> &'static str {
        match self {
            Self::BadRecord => "bad record",
            Self::Damage => "damage",
            Self::TornTail => "torn tail",
            Self::BadHeader => "bad header",
            Self::BadLayout => "bad layout",
            Self::BadIndex => "bad index",
            Self::Unreadable => "unreadable",
            Self::Foreign => "foreign",
            Self::HalfWritten => "half-written",
        }
    }
}

/// One thing that verifying came upon. As text: one line with kind, place, key and reason.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: Option<u64>,
    /// The record's name, where it can be read.
    pub key: Option<RecordKey>,
    /// What is wrong, for people.
    pub reason: String,
    /// Whether it was mended.
    pub is_mended: bool,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, path: &Path, reason: impl fmt::Display) -> Self {
        let (path, reason) = (path.to_owned(), reason.to_string());
        Self { kind, path, offset: None, key: None, reason, is_mended: false }
    }

    pub(super) fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    pub(super) fn of(self, key: Option<RecordKey>) -> Self {
        Self { key, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name that is not Larder's may hold anything, line ends too.
        let path = self.path.to_string_lossy();
        write!(f, "{:<12}  {}", self.kind.name(), path.escape_debug())?;
        if let Some(offset) = self.offset {
            write!(f, " +{offset}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}{}", self.reason, if self.is_mended { " (mended)" } else { "" })
    }
}

/// What was read, and how much of it was wrong.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub struct Verified {
    /// Packs.
    pub packs: u64,
    /// Blob files.
    pub blob_files: u64,
    /// Records with content, good and bad.
    pub records: u64,
    /// Records that say that another is gone.
    pub removals: u64,
    /// Bytes of packs and blob files.
    pub bytes: u64,
    /// Records that are not what they say.
    pub bad_records: u64,
    /// Findings that something is wrong, bad records among them.
    pub wrong: u64,
    /// Those that were mended.
    pub mended: u64,
    /// Names and files that are not Larder's.
    pub foreign: u64,
    /// What processes that were ended left half done.
    pub half_written: u64,
}

impl Verified {
    /// Whether nothing is wrong any more.
    pub fn is_sound(&self) -> bool {
        self.wrong == self.mended
    }

    pub(super) fn count(&mut self, finding: &Finding) {
        match finding.kind {
            FindingKind::Foreign => self.foreign += 1,
            FindingKind::HalfWritten => self.half_written += 1,
            FindingKind::BadRecord => self.bad_records += 1,
            _ => {}
        }
        if finding.kind.is_wrong() {
            self.wrong += 1;
            self.mended += u64::from(finding.is_mended);
        }
    }
}
