//! [`inline`]: puts the bytes of small outputs into the answer, where the client hinted at it.

use std::collections::HashSet;

use larder_cas::{BlobKey, BlobStore, ByteRange, RequestCx, StoreError};
use larder_protos::Digest;
use larder_protos::reapi::{self, ActionResult};
use prost::Message;

use crate::ActionKey;

/// How many bytes an answer may carry inlined.
pub const MAX_INLINED_BYTES: u64 = 3 * 1024 * 1024;

/// How large an answer may become by inlining, just below the 4 MiB that many clients accept.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024 - 64 * 1024;

/// What frames inlined bytes: their tag and length, and the longer length of what they stand in.
const FRAME_BYTES: u64 = 8;

/// What the client would like to find inlined. Hints: what does not fit stays a digest.
#[derive(Clone, Debug, Default)]
pub struct InlineHints {
    /// The bytes of stdout.
    pub stdout: bool,
    /// The bytes of stderr.
    pub stderr: bool,
    /// The contents of the output files with these paths.
    pub output_files: Vec<String>,
}

/// Follows `hints` in `result` as far as they fit; digests stay where they are.
pub async fn inline(
    cx: &RequestCx,
    key: &ActionKey,
    result: &mut ActionResult,
    hints: &InlineHints,
    blobs: &dyn BlobStore,
) -> Result<(), StoreError> {
    if !hints.stdout && !hints.stderr && hints.output_files.is_empty() {
        return Ok(());
    }
    let left_bytes = MAX_ANSWER_BYTES.saturating_sub(result.encoded_len() as u64);
    let mut inliner = Inliner { cx, key, blobs, room_bytes: left_bytes.min(MAX_INLINED_BYTES) };
    if hints.stdout && result.stdout_raw.is_empty() {
        result.stdout_raw = inliner.read(result.stdout_digest.as_ref()).await?;
    }
    if hints.stderr && result.stderr_raw.is_empty() {
        result.stderr_raw = inliner.read(result.stderr_digest.as_ref()).await?;
    }
    let hinted: HashSet<&str> = hints.output_files.iter().map(String::as_str).collect();
    for file in &mut result.output_files {
        if file.contents.is_empty() && hinted.contains(file.path.as_str()) {
            file.contents = inliner.read(file.digest.as_ref()).await?;
        }
    }
    Ok(())
}

struct Inliner<'a> {
    cx: &'a RequestCx,
    key: &'a ActionKey,
    blobs: &'a dyn BlobStore,
    room_bytes: u64,
}

impl Inliner<'_> {
    /// The blob's bytes; none where there is no digest, no room, or suddenly no blob.
    async fn read(&mut self, digest: Option<&reapi::Digest>) -> Result<Vec<u8>, StoreError> {
        let function = self.key.action.function();
        let digest = digest.and_then(|digest| Digest::from_proto(digest, function).ok());
        let Some(digest) =
            digest.filter(|digest| digest.size_bytes() + FRAME_BYTES <= self.room_bytes)
        else {
            return Ok(Vec::new());
        };
        let key = BlobKey { keyspace: self.key.blobs.clone(), digest };
        let Some(payload) = self.blobs.get(self.cx, &key, ByteRange::ALL).await? else {
            return Ok(Vec::new());
        };
        let bytes = payload.into_bytes(self.room_bytes).await?;
        self.room_bytes -= bytes.len() as u64 + FRAME_BYTES;
        Ok(bytes.into())
    }
}
