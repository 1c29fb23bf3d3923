//! [`StoreError`]: why a store could not do what it was asked, and who must act.

use larder_disk::{DiskError, DiskErrorClass};
use larder_protos::{Digest, Hash};
use thiserror::Error;

/// Who must act on an error. The edge turns this, and nothing else, into status codes and log levels.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorClass {
    /// The caller sent something wrong.
    Caller,
    /// The caller's stream ended before its upload was whole.
    Interrupted,
    /// There is no room, now.
    Capacity,
    /// Stored bytes are damaged: the copy was dropped, another is to be served, else a miss.
    Corrupt,
    /// Something that we rely on does not answer.
    Dependency,
    /// A fault of ours.
    Internal,
}

impl ErrorClass {
    /// Every class, for tables of metrics.
    pub const ALL: [Self; 6] = [
        Self::Caller,
        Self::Interrupted,
        Self::Capacity,
        Self::Corrupt,
        Self::Dependency,
        Self::Internal,
    ];

    /// The class as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Interrupted => "interrupted",
            Self::Capacity => "capacity",
            Self::Corrupt => "corrupt",
            Self::Dependency => "dependency",
            Self::Internal => "internal",
        }
    }
}

/// Why a store could not do what it was asked. An absent blob is no error but `None`.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The bytes sent hash to something else than their name.
    #[error("the bytes sent for blob {expected} have the digest {actual}")]
    DigestMismatch {
        /// What the caller named.
        expected: Digest,
        /// What the bytes are.
        actual: Digest,
    },
    /// Fewer bytes came than the digest says.
    #[error("blob {digest} ended after {actual_bytes} B")]
    TooShort {
        /// What the caller named.
        digest: Digest,
        /// How many bytes came.
        actual_bytes: u64,
    },
    /// More bytes came than the digest says; reading stopped there.
    #[error("blob {digest} goes on after its {} B", digest.size_bytes())]
    TooLong {
        /// What the caller named.
        digest: Digest,
    },
    /// The compressed bytes are no valid zstd, or ask for a window over the limit.
    #[error("the zstd stream of blob {hash} is malformed: {reason}")]
    MalformedZstd {
        /// What the caller named.
        hash: Hash,
        /// What the decoder says.
        reason: &'static str,
    },
    /// Bytes that were verified before they were stored do not decode.
    #[error("the stored zstd of a blob of {size_bytes} B is damaged: {reason}")]
    DamagedZstd {
        /// The blob's logical size.
        size_bytes: u64,
        /// What the decoder says.
        reason: &'static str,
    },
    /// The blob is over the configured limit.
    #[error("blob {digest} is over the limit of {limit_bytes} B a blob")]
    OverSizeLimit {
        /// What the caller named.
        digest: Digest,
        /// The setting's value.
        limit_bytes: u64,
    },
    /// A read begins behind the end.
    #[error("offset {offset_bytes} is beyond the end of blob {digest}")]
    OutOfRange {
        /// The blob read.
        digest: Digest,
        /// Where the read should have begun.
        offset_bytes: u64,
    },
    /// The caller's stream failed; `source` is the edge's own error.
    #[error("the upload of blob {hash} broke off")]
    UploadBrokeOff {
        /// What the caller named.
        hash: Hash,
        /// The edge's own error, handed back to it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file that keeps an upload until its end is known cannot be written or read.
    #[error("an upload could not be kept until its end")]
    Spool {
        /// What the system said.
        #[from]
        source: std::io::Error,
    },
    /// A payload larger than the caller wanted to hold in memory.
    #[error(
        "a payload of {size_bytes} B is over the {limit_bytes} B that this request may hold in memory"
    )]
    OverMemoryLimit {
        /// The payload's logical size.
        size_bytes: u64,
        /// The request's bound.
        limit_bytes: u64,
    },
    /// A blob is to be spliced from a chunk that is not there.
    #[error("chunk {chunk} of blob {digest} is absent")]
    ChunkAbsent {
        /// The blob.
        digest: Digest,
        /// The chunk.
        chunk: Digest,
    },
    /// A list of chunks that no message could carry.
    #[error("blob {digest} has more than {limit} chunks")]
    TooManyChunks {
        /// The blob.
        digest: Digest,
        /// The limit.
        limit: usize,
    },
    /// A chunk went while its blob was being read.
    #[error("chunk {chunk} of blob {digest} has just been evicted")]
    ChunkGone {
        /// The blob.
        digest: Digest,
        /// The chunk.
        chunk: Digest,
    },
    /// There is no room for all chunks of a blob beside each other.
    #[error("the first chunks of blob {digest} were evicted before its last ones were stored")]
    NoRoomForChunks {
        /// The blob.
        digest: Digest,
    },
    /// A blob is not cut, since much would have to go to make room for its chunks beside it.
    #[error(
        "blob {digest} is not split: its chunks have {room_bytes} B of room beside it; read it whole"
    )]
    TooLargeToCut {
        /// The blob.
        digest: Digest,
        /// What is free, or what may be made free.
        room_bytes: u64,
    },
    /// The memory that the request needs more is in use by others.
    #[error(
        "{needed_bytes} B that the request needs in memory are not free; the limit for all requests is {limit_bytes} B"
    )]
    NoMemory {
        /// What it needs beside what it holds.
        needed_bytes: u64,
        /// What all requests may hold together.
        limit_bytes: u64,
    },
    /// The storage engine could not do it.
    #[error("the disk tier: {source}")]
    Disk {
        /// The engine's error.
        #[from]
        source: DiskError,
    },
    /// The work was given to the blocking pool, which is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl StoreError {
    /// Who must act.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::DigestMismatch { .. }
            | Self::TooShort { .. }
            | Self::TooLong { .. }
            | Self::MalformedZstd { .. }
            | Self::OverSizeLimit { .. }
            | Self::OverMemoryLimit { .. }
            | Self::ChunkAbsent { .. }
            | Self::TooManyChunks { .. }
            | Self::TooLargeToCut { .. }
            | Self::OutOfRange { .. } => ErrorClass::Caller,
            Self::UploadBrokeOff { .. } => ErrorClass::Interrupted,
            Self::DamagedZstd { .. } => ErrorClass::Corrupt,
            Self::NoMemory { .. } | Self::NoRoomForChunks { .. } => ErrorClass::Capacity,
            Self::Spool { source } if is_full(source) => ErrorClass::Capacity,
            Self::Spool { .. } | Self::ShuttingDown | Self::ChunkGone { .. } => {
                ErrorClass::Dependency
            }
            Self::Disk { source } => match source.class() {
                DiskErrorClass::Caller => ErrorClass::Caller,
                DiskErrorClass::Capacity => ErrorClass::Capacity,
                DiskErrorClass::Corrupt => ErrorClass::Corrupt,
                DiskErrorClass::Dependency => ErrorClass::Dependency,
                DiskErrorClass::Internal => ErrorClass::Internal,
            },
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
