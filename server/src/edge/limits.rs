//! The edge's bounds. What a client must know of them is announced by Capabilities.

use std::time::Duration;

/// Sum of the blobs in one batch, just under the 4 MiB that a gRPC peer takes unless told otherwise, so that the digests
/// and statuses beside the blobs fit too.
pub(crate) const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024 - 64 * 1024;

/// The largest message taken: an action result of a huge action, or a long list of digests.
pub(crate) const MAX_MESSAGE_BYTES: usize = 65 * 1024 * 1024;

/// The most blob bytes in one message of a read; the protocol asks for at most 2 MiB.
pub(crate) const MAX_READ_CHUNK_BYTES: usize = 1024 * 1024;

/// The largest body of an action result over HTTP; the same as over gRPC.
pub(crate) const MAX_ACTION_RESULT_BYTES: u64 = MAX_MESSAGE_BYTES as u64;

/// Uploads without a connection that are kept to be resumed.
pub(crate) const MAX_KEPT_UPLOADS: usize = 64;

/// Of the data directory's limit and of the memory for requests, the share that these may take.
pub(crate) const KEPT_UPLOADS_DISK_SHARE: u64 = 16;
pub(crate) const KEPT_UPLOADS_MEMORY_SHARE: u64 = 4;

/// How long they are kept: Bazel, for one, gives up after five retries, which take some minutes at most.
pub(crate) const KEPT_UPLOADS_AGE: Duration = Duration::from_mins(10);

/// How many blobs of one batch are worked on at a time; what is uploaded together is also written together.
pub(crate) const BATCH_CONCURRENCY: usize = 128;
