//! The edge's bounds. What a client must know of them is announced by Capabilities.

/// Sum of the blobs in one batch, just under the 4 MiB that a gRPC peer takes unless told otherwise, so that the digests
/// and statuses beside the blobs fit too.
pub(crate) const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024 - 64 * 1024;

/// The largest message taken: an action result of a huge action, or a long list of digests.
pub(crate) const MAX_MESSAGE_BYTES: usize = 65 * 1024 * 1024;

/// The most blob bytes in one message of a read; the protocol asks for at most 2 MiB.
pub(crate) const MAX_READ_CHUNK_BYTES: usize = 1024 * 1024;

/// The largest body of an action result over HTTP; the same as over gRPC.
pub(crate) const MAX_ACTION_RESULT_BYTES: u64 = MAX_MESSAGE_BYTES as u64;

/// How many blobs of one batch are worked on at a time.
pub(crate) const BATCH_CONCURRENCY: usize = 32;
