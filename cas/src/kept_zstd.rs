//! A large upload that comes as zstd: whether it is worth keeping as it came, and its verification on the way.
//!
//! To compress it anew takes longer than everything else that is done for it. What speaks against keeping it: who reads a part of it, or
//! plain bytes, decodes all that is before, in a window that its sender has chosen. So both are bounded, and it must save much.
//! Numbers: docs/adr/0012-hot-path-of-writes.md.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_disk::{ZstdDecoder, stream_limit_bytes};
use larder_protos::{Digest, DigestHasher};

use crate::payload::next_chunks;
use crate::untrusted::{IN_MEMORY_BYTES, check_digest, check_size, malformed_zstd};
use crate::zstd_codec::{self, CHUNK_BYTES, Encoder};
use crate::{PayloadStream, StoreError, blocking};

/// A larger blob is decoded and compressed anew, in frames: to read its last byte would take more than a tenth of a second.
const KEPT_BLOB_BYTES: u64 = 64 * 1024 * 1024;

/// The largest window that what is kept may ask for; zstd's levels up to 8 do with it.
const KEPT_WINDOW_LOG: u32 = 21;

/// By so much of what came it is decided whether to keep it.
const SAMPLE_BYTES: usize = 256 * 1024;

/// The encoded bytes that are decoded and hashed in one go.
const DECODED_AT_ONCE_BYTES: usize = 256 * 1024;

/// Frames that follow the first are encoded anew, whatever window they ask for: at this level the encoder's is 512 KiB.
const LATER_FRAMES_LEVEL: i32 = 1;

/// What a store may need in memory to make plain bytes of a blob of this size, beside those that it hands out.
pub const fn decoding_bytes(size_bytes: u64) -> u64 {
    /// What zstd takes beside the window.
    const BUFFERS_BYTES: u64 = 512 * 1024;
    let may_be_kept = size_bytes > IN_MEMORY_BYTES && size_bytes <= KEPT_BLOB_BYTES;
    if may_be_kept { (1 << KEPT_WINDOW_LOG) + BUFFERS_BYTES } else { 0 }
}

/// Takes as much off the front of `encoded` as it needs to say whether that is to be kept as it came.
pub(crate) async fn look(
    digest: &Digest,
    encoded: &mut PayloadStream,
) -> Result<(Vec<Bytes>, bool), StoreError> {
    if digest.size_bytes() > KEPT_BLOB_BYTES {
        return Ok((Vec::new(), false));
    }
    let sample = next_chunks(encoded, SAMPLE_BYTES).await?;
    blocking::run(move || {
        let keeps = saves_much(&sample);
        (sample, keeps)
    })
    .await
}

/// Whether a frame that begins so needs no large window, and is at least an eighth smaller than its content. Up to 128 KiB of what came may
/// be of a block that is not whole yet and counts for nothing, so what is kept for sure is smaller by more than a half.
fn saves_much(sample: &[Bytes]) -> bool {
    let sample_bytes: usize = sample.iter().map(Bytes::len).sum();
    let head = sample.concat();
    if zstd_codec::window_log(&head).is_none_or(|log| log > KEPT_WINDOW_LOG) {
        return false;
    }
    let enough_bytes = sample_bytes + sample_bytes / 8;
    let mut head = Bytes::from(head);
    let mut decoder = ZstdDecoder::default();
    let mut decoded_bytes = 0;
    let mut decoded = Vec::with_capacity(CHUNK_BYTES);
    while decoded_bytes < enough_bytes && decoder.has_work(&head) {
        if decoder.advance(&mut head, &mut decoded).is_err() {
            return false;
        }
        decoded_bytes += decoded.len();
    }
    decoded_bytes >= enough_bytes
}

/// The encoded bytes of `digest`'s blob, passed on as they came once they have been decoded and hashed. The last ones are held back until
/// the digest is known to be right.
pub(crate) fn verify_kept(digest: Digest, encoded: PayloadStream) -> PayloadStream {
    let state = Some((encoded, Verification::new(digest)));
    let verified = stream::try_unfold(state, move |state| async move {
        let Some((mut encoded, mut verification)) = state else { return Ok(None) };
        let chunks = next_chunks(&mut encoded, DECODED_AT_ONCE_BYTES).await?;
        if chunks.is_empty() {
            let last = blocking::run(move || verification.finish()).await??;
            return Ok::<_, StoreError>(Some((last, None)));
        }
        let (verification, passed) = blocking::run(move || {
            let passed = verification.take(chunks);
            (verification, passed)
        })
        .await?;
        Ok(Some((passed?, Some((encoded, verification)))))
    });
    verified.map_ok(|passed| stream::iter(passed.into_iter().map(Ok))).try_flatten().boxed()
}

/// How far a blob has been verified.
struct Verification {
    digest: Digest,
    decoder: ZstdDecoder,
    hasher: DigestHasher,
    /// Reused from step to step.
    decoded: Vec<u8>,
    decoded_bytes: u64,
    frame: Frame,
    /// Verified, and not passed on before more is.
    held_back: Bytes,
    passed_bytes: u64,
}

/// Which frame what comes next is of.
enum Frame {
    /// The one that is kept.
    First,
    /// One that follows it. `None` while nothing has come of it.
    Later(Option<Encoder>),
}

impl Verification {
    fn new(digest: Digest) -> Self {
        Self {
            digest,
            decoder: ZstdDecoder::default(),
            hasher: DigestHasher::new(digest.function(), digest.size_bytes()),
            decoded: Vec::with_capacity(CHUNK_BYTES),
            decoded_bytes: 0,
            frame: Frame::First,
            held_back: Bytes::new(),
            passed_bytes: 0,
        }
    }

    /// Verifies `chunks`, and gives what may be passed on.
    fn take(&mut self, chunks: Vec<Bytes>) -> Result<Vec<Bytes>, StoreError> {
        let mut passed = Vec::new();
        for mut chunk in chunks {
            let mut kept = chunk.clone();
            while self.decoder.has_work(&chunk) {
                let encoded = self.advance(&mut chunk)?;
                if matches!(self.frame, Frame::First) && !self.decoder.is_within_frame() {
                    kept.truncate(kept.len() - chunk.len());
                    self.pass(std::mem::take(&mut kept), &mut passed)?;
                    self.frame = Frame::Later(None);
                }
                self.pass(encoded, &mut passed)?;
            }
            if matches!(self.frame, Frame::First) {
                self.pass(kept, &mut passed)?;
            }
        }
        Ok(passed)
    }

    /// Decodes and hashes some of `chunk`, and gives what was encoded anew of it.
    fn advance(&mut self, chunk: &mut Bytes) -> Result<Bytes, StoreError> {
        self.decoder
            .advance(chunk, &mut self.decoded)
            .map_err(|reason| malformed_zstd(self.digest)(reason))?;
        self.decoded_bytes += self.decoded.len() as u64;
        if self.decoded_bytes > self.digest.size_bytes() {
            return Err(StoreError::TooLong { digest: self.digest });
        }
        self.hasher.update(&self.decoded);
        match &mut self.frame {
            Frame::Later(encoder) if !self.decoded.is_empty() => {
                let encoder = encoder.get_or_insert_with(|| Encoder::new(LATER_FRAMES_LEVEL));
                Ok(encoder.encode(&self.decoded))
            }
            Frame::First | Frame::Later(_) => Ok(Bytes::new()),
        }
    }

    /// Passes on what was held back, and holds `next` back.
    fn pass(&mut self, next: Bytes, passed: &mut Vec<Bytes>) -> Result<(), StoreError> {
        if next.is_empty() {
            return Ok(());
        }
        self.passed_bytes += next.len() as u64;
        if self.passed_bytes > stream_limit_bytes(self.digest.size_bytes()) {
            return Err(malformed_zstd(self.digest)("it is much longer than its blob"));
        }
        let before = std::mem::replace(&mut self.held_back, next);
        if !before.is_empty() {
            passed.push(before);
        }
        Ok(())
    }

    /// The last bytes, where all that came is the blob.
    fn finish(mut self) -> Result<Vec<Bytes>, StoreError> {
        if self.decoder.is_within_frame() {
            return Err(malformed_zstd(self.digest)("it ends within a frame"));
        }
        let mut passed = Vec::new();
        if let Frame::Later(Some(encoder)) = std::mem::replace(&mut self.frame, Frame::First) {
            self.pass(encoder.finish(), &mut passed)?;
        }
        check_size(&self.digest, self.decoded_bytes)?;
        check_digest(self.digest, self.hasher.finish())?;
        passed.push(self.held_back);
        Ok(passed)
    }
}

#[cfg(test)]
mod tests;
