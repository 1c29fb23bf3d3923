//! [`DiskError`]: what can go wrong below the ports, and [`DiskErrorClass`], who must act.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::key::RecordKey;

/// What went wrong in the storage engine. Cheap to clone: one failed batch answers many callers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The operating system refused.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another engine, of this or another process, has the directory open.
    #[error("data directory {} is in use by another process", data_dir.display())]
    Locked {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The directory was written by another version, or by something else.
    #[error("{} says {found:?}, not a layout this version reads", path.display())]
    Layout {
        /// The `LAYOUT` file.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
    /// There is nothing of Larder's in the directory.
    #[error("{} holds no LAYOUT and no packs: it is no data directory", path.display())]
    NoDataDir {
        /// The directory.
        path: PathBuf,
    },
    /// A keyspace is longer than a record can hold.
    #[error("keyspace of {length_bytes} B is over the limit of {limit_bytes} B")]
    KeyspaceTooLong {
        /// Its length.
        length_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// More pairs of keyspace and digest function than the index can number.
    #[error("more than {limit} partitions (keyspace, digest function, kind of record)")]
    TooManyPartitions {
        /// The limit.
        limit: usize,
    },
    /// The content can never fit.
    #[error("{key} of {size_bytes} B is over the limit of {limit_bytes} B")]
    TooLarge {
        /// What was to be stored.
        key: RecordKey,
        /// Its logical size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Content of another size than its key says.
    #[error("content of {key} is {actual_bytes} B")]
    SizeMismatch {
        /// What was to be stored.
        key: RecordKey,
        /// The size of what came.
        actual_bytes: u64,
    },
    /// Only blobs are streamed: of an action result nothing says the size beforehand.
    #[error("{key} is not a blob and cannot be streamed")]
    NotABlob {
        /// What was to be streamed.
        key: RecordKey,
    },
    /// There is no room, and nothing that could be evicted to make some.
    #[error("{needed_bytes} B do not fit: {used_bytes} B of {limit_bytes} B are taken")]
    Full {
        /// What was to be written.
        needed_bytes: u64,
        /// What is taken.
        used_bytes: u64,
        /// `max_size_bytes`.
        limit_bytes: u64,
    },
    /// Writes that have not ended have taken what they may, and may never end.
    #[error(
        "{needed_bytes} B do not fit: unfinished uploads would take {unfinished_bytes} B of {limit_bytes} B"
    )]
    Unfinished {
        /// What was to be written.
        needed_bytes: u64,
        /// What all of them would have taken.
        unfinished_bytes: u64,
        /// What they may take together, now.
        limit_bytes: u64,
    },
    /// A record disagrees with its checksum or its key. It is dropped; a new put heals it.
    #[error("{key} is corrupt at {place}")]
    Corrupt {
        /// The record.
        key: RecordKey,
        /// Its file and offset.
        place: String,
    },
    /// A sync failed earlier, or what was half written could not be taken back: what the disk holds is unknown, so nothing is written
    /// any more.
    #[error("writes are refused since {reason}")]
    Poisoned {
        /// What failed.
        reason: Arc<str>,
    },
    /// The directory could not be written when the engine was opened, so it is only read.
    #[error("the data directory takes no writes, only reads are served: {reason}")]
    ReadOnly {
        /// What the system said.
        reason: Arc<str>,
    },
    /// The engine is shutting down.
    #[error("the storage engine is closed")]
    Closed,
}

/// Who must act on a [`DiskError`].
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum DiskErrorClass {
    /// What was to be stored can never be: to try again does not help.
    Caller,
    /// No room, no descriptors: try again later.
    Capacity,
    /// The record is dropped: another copy or a new put heals it.
    Corrupt,
    /// The disk or its file system: an operator.
    Dependency,
    /// A defect in what calls the engine, or in the engine.
    Internal,
}

impl DiskError {
    /// Who must act.
    pub fn class(&self) -> DiskErrorClass {
        match self {
            Self::Io { source, .. }
                if is_disk_full(source)
                    || is_transient(source)
                    || source.kind() == io::ErrorKind::FileTooLarge =>
            {
                DiskErrorClass::Capacity
            }
            Self::Full { .. }
            | Self::Unfinished { .. }
            | Self::TooManyPartitions { .. }
            | Self::ReadOnly { .. } => DiskErrorClass::Capacity,
            Self::TooLarge { .. } => DiskErrorClass::Caller,
            Self::Corrupt { .. } => DiskErrorClass::Corrupt,
            Self::Io { .. }
            | Self::Poisoned { .. }
            | Self::Closed
            | Self::Locked { .. }
            | Self::Layout { .. }
            | Self::NoDataDir { .. } => DiskErrorClass::Dependency,
            Self::KeyspaceTooLong { .. } | Self::SizeMismatch { .. } | Self::NotABlob { .. } => {
                DiskErrorClass::Internal
            }
        }
    }

    /// What the operating system said, where it refused.
    pub fn refusal(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// Whether the disk has no room, so that evicting may help.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_disk_full(source))
    }

    /// Whether the call was not tried for want of descriptors or memory.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_transient(source))
    }

    /// For `map_err`: names what was tried on which file.
    pub(crate) fn io<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { operation, path: path.to_owned(), source: Arc::new(source) }
    }
}

/// An error and what caused it, in one line, with colons between.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// No room: to evict helps.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// No descriptors or no memory for the call: it was not tried at all, and may succeed later.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || [Errno::MFILE, Errno::NFILE].iter().any(|errno| is_errno(error, *errno))
}

/// Nothing can be written there, by this user or by anybody.
pub(crate) fn is_read_only(error: &io::Error) -> bool {
    [Errno::ROFS, Errno::ACCESS, Errno::PERM].iter().any(|errno| is_errno(error, *errno))
}

/// The bytes are there and cannot be had: a bad sector, a file system that found itself damaged, a lost network disk.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    const UNREADABLE: [Errno; 5] =
        [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA, Errno::STALE];
    UNREADABLE.iter().any(|errno| is_errno(error, *errno))
}

fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_says_what_the_system_said() {
        let source = io::Error::from_raw_os_error(Errno::IO.raw_os_error());
        let error = DiskError::io("sync", Path::new("d/blobs/1a"))(source);
        let line = with_causes(&error);
        assert_eq!(line, "sync d/blobs/1a: Input/output error (os error 5)");
    }
}
