//! [`outline`]: moves inlined bytes of an uploaded result to the CAS, the reverse of `inline`.
//!
//! So a stored result is small, and whoever later asks for it without inlining finds every blob by its digest. One that has none, as
//! most have, stays the bytes that its client sent.

use bytes::Bytes;
use larder_cas::{BlobKey, BlobStore, RequestCx, StoreError, UntrustedPayload, blocking};
use larder_protos::Digest;
use larder_protos::reapi;
use thiserror::Error;

use crate::{ActionEntry, ActionKey, MalformedResult};

/// Why a result could not be outlined.
#[derive(Debug, Error)]
pub enum OutlineError {
    /// Contents and digest disagree.
    #[error(transparent)]
    Malformed {
        /// Where, and how.
        #[from]
        source: MalformedResult,
    },
    /// The contents could not be stored.
    #[error(transparent)]
    Store {
        /// The CAS's error.
        #[from]
        source: StoreError,
    },
}

/// Moves the contents of output files, stdout and stderr to `blobs`, leaving their digests in the entry.
pub async fn outline(
    cx: &RequestCx,
    key: &ActionKey,
    entry: ActionEntry,
    blobs: &dyn BlobStore,
) -> Result<ActionEntry, OutlineError> {
    if !entry.has_inlined_bytes() {
        return Ok(entry);
    }
    let (encoded_bytes, function) = (entry.encoded().len(), key.action.function());
    let mut result = entry.into_result();
    let outliner = Outliner { cx, key, blobs };
    for (index, file) in result.output_files.iter_mut().enumerate() {
        let contents = std::mem::take(&mut file.contents);
        outliner.store("output_files", index, contents, &mut file.digest).await?;
    }
    let stdout = std::mem::take(&mut result.stdout_raw);
    outliner.store("stdout_digest", 0, stdout, &mut result.stdout_digest).await?;
    let stderr = std::mem::take(&mut result.stderr_raw);
    outliner.store("stderr_digest", 0, stderr, &mut result.stderr_digest).await?;
    let renew = move || ActionEntry::new(function, result);
    Ok(blocking::run_sized(encoded_bytes, renew).await??)
}

struct Outliner<'a> {
    cx: &'a RequestCx,
    key: &'a ActionKey,
    blobs: &'a dyn BlobStore,
}

impl Outliner<'_> {
    async fn store(
        &self,
        field: &'static str,
        index: usize,
        contents: Vec<u8>,
        named: &mut Option<reapi::Digest>,
    ) -> Result<(), OutlineError> {
        if contents.is_empty() {
            return Ok(());
        }
        let function = self.key.action.function();
        let (actual, untrusted) =
            UntrustedPayload::identify(function, Bytes::from(contents)).await?;
        if let Some(named) = named {
            let expected = Digest::from_proto(named, function)
                .map_err(|source| MalformedResult::Digest { field, index, source })?;
            if expected != actual {
                let mismatch = MalformedResult::Contents { field, index, expected, actual };
                return Err(mismatch.into());
            }
        }
        let payload = untrusted.verify(&actual).await?;
        let key = BlobKey { keyspace: self.key.blobs.clone(), digest: actual };
        self.blobs.put(self.cx, &key, payload).await?;
        *named = Some(actual.to_proto());
        Ok(())
    }
}
