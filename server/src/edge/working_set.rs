//! What a request needs in memory at most, from what it announces. Pure; the budget enforces it.

use larder_cas::chunking::Chunker;
use larder_cas::decoding_bytes;
use larder_protos::Compressor;

use super::limits::MAX_MESSAGE_BYTES;

/// Messages up to here cost no more than the headers they come with; only larger ones are counted, uploads apart.
pub(crate) const UNCOUNTED_MESSAGE_BYTES: u64 = 16 * 1024;

/// Blobs up to this size are collected and verified whole (`larder_cas::UntrustedPayload`).
const COLLECTED_BYTES: u64 = 1024 * 1024;

/// A streamed upload: a batch of a MiB being written, one being gathered, a quarter of one being hashed, and the frames between.
const STREAMED_BYTES: u64 = 2 * 1024 * 1024 + 768 * 1024;

/// The parts of a streamed upload that end with the message in which they came: the one that arrives, those between
/// connection and store, and the overhang of the two batches.
const STREAMED_MESSAGES: u64 = 4;

/// The largest window that a zstd stream may ask for (`larder_cas::zstd_codec::MAX_WINDOW_LOG`), and its buffers.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024 + 512 * 1024;

/// What the encoded form of a small blob may have over a quarter more than its size (`larder_cas::UntrustedPayload`).
const ENCODED_SLACK_BYTES: u64 = 64 * 1024;

/// What is read from an origin at a time.
const RETRIEVAL_CHUNK_BYTES: u64 = 64 * 1024;

/// A download: the chunk that was read, and its copy on the way to the socket.
const READ_CHUNK_BYTES: u64 = 512 * 1024;

/// What decoding a blob takes that is not in memory whole.
const DECODING_BYTES: u64 = decoding_bytes(COLLECTED_BYTES + 1);

/// Cutting a blob or putting one together: what waits to be cut, a chunk that is being stored, and what is read.
pub(crate) const CHUNKING_BYTES: u64 =
    Chunker::MAX_HELD_BYTES as u64 + 6 * 1024 * 1024 + DECODING_BYTES;

/// Of a list of chunks one entry: as a digest, as the message it becomes, and encoded.
const LISTED_CHUNK_BYTES: u64 = 512;

/// A decoded message takes about twice the encoded one beside it.
const DECODED_MESSAGES: u64 = 3;

/// An upload of a blob whose messages are as large as `message_bytes`.
pub(crate) fn upload_bytes(compressor: Compressor, size_bytes: u64, message_bytes: u64) -> u64 {
    match compressor {
        Compressor::Identity if message_bytes >= size_bytes => message_bytes,
        Compressor::Identity if size_bytes <= COLLECTED_BYTES => {
            size_bytes + STREAMED_MESSAGES * message_bytes
        }
        Compressor::Identity => STREAMED_BYTES + STREAMED_MESSAGES * message_bytes,
        // As it came, which may be a little more than its size, and decoded.
        Compressor::Zstd if size_bytes <= COLLECTED_BYTES => {
            size_bytes * 9 / 4 + ENCODED_SLACK_BYTES + 2 * message_bytes
        }
        Compressor::Zstd => STREAMED_BYTES + WINDOW_BYTES + STREAMED_MESSAGES * message_bytes,
    }
}

/// What a blob in a batch takes beside the batch's own message.
pub(crate) fn batched_bytes(compressor: Compressor, size_bytes: u64) -> u64 {
    match compressor {
        Compressor::Identity => 0,
        Compressor::Zstd => upload_bytes(compressor, size_bytes, 0),
    }
}

/// A download of `wanted_bytes` of a blob, as it is stored.
pub(crate) fn download_bytes(wanted_bytes: u64) -> u64 {
    2 * wanted_bytes.min(READ_CHUNK_BYTES)
}

/// A download of `wanted_bytes` of a blob of `size_bytes`, as plain bytes.
pub(crate) fn plain_download_bytes(wanted_bytes: u64, size_bytes: u64) -> u64 {
    download_bytes(wanted_bytes) + decoding_bytes(size_bytes)
}

/// What the frame of a download takes that memory holds and the client takes as zstd.
pub(crate) fn encoded_bytes(size_bytes: u64) -> u64 {
    size_bytes.min(COLLECTED_BYTES)
}

/// The answer to a batch of reads: the blobs as they are stored, and the message made of them. Each MiB may be of one that must be
/// decoded.
pub(crate) fn batch_answer_bytes(size_bytes: u64) -> u64 {
    2 * size_bytes + size_bytes / COLLECTED_BYTES * DECODING_BYTES
}

/// What each reference of an asset takes beside its request: parsed, and as an output of a result, decoded and encoded.
const REFERENCE_BYTES: u64 = 512;

/// The references of an asset that is pushed.
pub(crate) fn reference_bytes(references: usize) -> u64 {
    let all_bytes = REFERENCE_BYTES * references as u64;
    if all_bytes <= UNCOUNTED_MESSAGE_BYTES { 0 } else { all_bytes }
}

/// A body that comes from an origin, whose size is not known: kept until its end in a file, and then stored.
pub(crate) fn retrieval_bytes() -> u64 {
    upload_bytes(Compressor::Identity, u64::MAX, RETRIEVAL_CHUNK_BYTES)
}

/// An answer that takes so much memory, encoded and decoded.
pub(crate) fn answer_bytes(memory_bytes: u64) -> u64 {
    if memory_bytes <= UNCOUNTED_MESSAGE_BYTES { 0 } else { memory_bytes }
}

/// The answer that lists so many chunks.
pub(crate) fn chunk_list_bytes(chunks: usize) -> u64 {
    answer_bytes(chunks as u64 * LISTED_CHUNK_BYTES)
}

/// A message other than a part of an upload.
pub(crate) fn message_bytes(encoded_bytes: u64) -> u64 {
    if encoded_bytes <= UNCOUNTED_MESSAGE_BYTES {
        return 0;
    }
    DECODED_MESSAGES * encoded_bytes.min(MAX_MESSAGE_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(compressor: Compressor, size_bytes: u64, message_bytes: u64, expect: u64) {
        let needed = upload_bytes(compressor, size_bytes, message_bytes);
        assert_eq!(needed, expect, "{compressor:?} {size_bytes} B by {message_bytes} B");
    }

    #[test]
    fn small_uploads_take_little_and_large_ones_no_more_for_being_larger() {
        use Compressor::{Identity, Zstd};
        let (mib, gib) = (1 << 20, 1 << 30);
        check(Identity, 2_000, 2_100, 2_100);
        check(Identity, 100_000, 16_384, 100_000 + 4 * 16_384);
        check(Identity, 100 * mib, mib, 7 * mib - mib / 4);
        check(Identity, 100 * gib, mib, 7 * mib - mib / 4);
        check(Zstd, 1_000, 500, 2_250 + 65_536 + 1_000);
        check(Zstd, 100 * gib, 16_384, 11 * mib + mib / 4 + 4 * 16_384);
    }

    #[test]
    fn small_messages_are_not_counted() {
        assert_eq!(message_bytes(16_384), 0);
        assert_eq!(message_bytes(16_385), 3 * 16_385);
        assert_eq!(answer_bytes(16_384), 0);
        assert_eq!(answer_bytes(100_000), 100_000);
        assert_eq!(download_bytes(2_048), 4_096);
        assert_eq!(download_bytes(1 << 40), 1 << 20);
        assert_eq!(plain_download_bytes(5, 1 << 20), 10);
        assert_eq!(plain_download_bytes(5, 8 << 20), 10 + (2 << 20) + (512 << 10));
        assert_eq!(plain_download_bytes(1 << 40, 1 << 40), 1 << 20);
        assert_eq!(batched_bytes(Compressor::Identity, 1 << 20), 0);
        assert!(batched_bytes(Compressor::Zstd, 1 << 20) >= 2 << 20);
    }
}
