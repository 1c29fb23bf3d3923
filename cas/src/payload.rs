//! [`Payload`]: a blob's bytes in motion, verified by type.
//!
//! Invariant: a payload's bytes are those of the digest it was verified against, or its stream ends in an error. So a
//! consumer that keeps nothing of a failed stream never keeps a wrong byte. Outside this crate the only way in is
//! [`crate::UntrustedPayload::verify`].

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_disk::STORED_PLAIN_BYTES;

use crate::{Encoding, StoreError, blocking, zstd_codec};

/// The chunks of a payload in order, none empty; after an error nothing more comes.
pub type PayloadStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// Up to this size bytes are stored as they are, and sent so: encoding them anew for each reader would cost more than the packets that
/// it saves.
const SENT_PLAIN_BYTES: usize = STORED_PLAIN_BYTES;

/// Up to this size the bytes that come in memory from outside are copied once, when they are verified, into an allocation of their own,
/// which whoever stores them keeps. Larger ones are slices of what was received.
pub(crate) const OWN_BYTES: usize = STORED_PLAIN_BYTES;

/// Chunks of at least so many bytes together, or all there are.
pub(crate) async fn next_chunks(
    stream: &mut PayloadStream,
    enough_bytes: usize,
) -> Result<Vec<Bytes>, StoreError> {
    let (mut chunks, mut chunks_bytes) = (Vec::new(), 0);
    while chunks_bytes < enough_bytes {
        let Some(chunk) = stream.try_next().await? else { break };
        chunks_bytes += chunk.len();
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// Verified bytes, or a verified stream that knows its size and its encoding.
pub struct Payload {
    size_bytes: u64,
    encoding: Encoding,
    body: Body,
}

enum Body {
    Bytes(Bytes),
    Stream(PayloadStream),
}

impl Payload {
    pub(crate) fn from_trusted_bytes(size_bytes: u64, encoding: Encoding, bytes: Bytes) -> Self {
        Self { size_bytes, encoding, body: Body::Bytes(bytes) }
    }

    pub(crate) fn from_trusted_stream(
        size_bytes: u64,
        encoding: Encoding,
        stream: PayloadStream,
    ) -> Self {
        Self { size_bytes, encoding, body: Body::Stream(stream) }
    }

    /// No bytes: what the empty blob, or an empty range, is.
    pub fn empty() -> Self {
        Self::from_trusted_bytes(0, Encoding::Raw, Bytes::new())
    }

    /// The logical size: of the blob, or of the range that was asked for.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How the chunks are encoded.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The encoded bytes, where they are in memory already.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Bytes(bytes) => Some(bytes),
            Body::Stream(_) => None,
        }
    }

    /// The encoded chunks.
    pub fn into_stream(self) -> PayloadStream {
        match self.body {
            Body::Bytes(bytes) if bytes.is_empty() => stream::empty().boxed(),
            Body::Bytes(bytes) => stream::iter([Ok(bytes)]).boxed(),
            Body::Stream(stream) => stream,
        }
    }

    /// The same payload; `observe` sees the error that its stream ends in, if it does.
    pub(crate) fn inspect_err<F>(self, observe: F) -> Self
    where
        F: FnMut(&StoreError) + Send + 'static,
    {
        let Self { size_bytes, encoding, body } = self;
        match body {
            Body::Bytes(_) => Self { size_bytes, encoding, body },
            Body::Stream(stream) => {
                let observed = stream.inspect_err(observe).boxed();
                Self::from_trusted_stream(size_bytes, encoding, observed)
            }
        }
    }

    /// The same blob as plain bytes.
    #[must_use]
    pub fn into_raw(self) -> Self {
        match self.encoding {
            Encoding::Raw => self,
            Encoding::Zstd => {
                let size_bytes = self.size_bytes;
                let decoded = zstd_codec::decode_stream(self.into_stream(), size_bytes);
                Self::from_trusted_stream(size_bytes, Encoding::Raw, decoded)
            }
        }
    }

    /// The same blob as one zstd stream; what is small is not made smaller.
    #[must_use]
    pub fn into_zstd(self, level: i32) -> Self {
        match (self.encoding, &self.body) {
            (Encoding::Zstd, _) => self,
            (Encoding::Raw, Body::Bytes(raw)) if raw.len() <= SENT_PLAIN_BYTES => {
                let frame = zstd_codec::wrap(raw);
                Self::from_trusted_bytes(self.size_bytes, Encoding::Zstd, frame)
            }
            (Encoding::Raw, _) => {
                let size_bytes = self.size_bytes;
                let encoded = zstd_codec::encode_stream(self.into_stream(), level);
                Self::from_trusted_stream(size_bytes, Encoding::Zstd, encoded)
            }
        }
    }

    /// The same blob in the smaller form, for who takes both. Bytes in memory are tried; what streams as plain bytes comes from
    /// a store that encodes what is worth it, and stays.
    pub async fn into_smaller(self, level: i32) -> Result<Self, StoreError> {
        let (Encoding::Raw, Body::Bytes(raw)) = (self.encoding, &self.body) else {
            return Ok(self);
        };
        if raw.len() <= SENT_PLAIN_BYTES {
            return Ok(self);
        }
        let (raw, size_bytes) = (raw.clone(), self.size_bytes);
        let encode = move || zstd_codec::encode(&raw, level);
        let work_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        let frame = blocking::run_sized(work_bytes, encode).await?;
        let is_smaller = (frame.len() as u64) < size_bytes;
        Ok(if is_smaller {
            Self::from_trusted_bytes(size_bytes, Encoding::Zstd, frame)
        } else {
            self
        })
    }

    /// All plain bytes at once; refused over `limit_bytes`.
    pub async fn into_bytes(self, limit_bytes: u64) -> Result<Bytes, StoreError> {
        let size_bytes = self.size_bytes;
        if size_bytes > limit_bytes {
            return Err(StoreError::OverMemoryLimit { size_bytes, limit_bytes });
        }
        match (self.encoding, self.body) {
            (Encoding::Raw, Body::Bytes(bytes)) => Ok(bytes),
            (Encoding::Zstd, Body::Bytes(bytes)) => {
                let capacity = usize::try_from(size_bytes).unwrap_or(usize::MAX);
                blocking::run_sized(capacity, move || zstd_codec::decode_stored(&bytes, capacity))
                    .await?
            }
            (encoding, body @ Body::Stream(_)) => {
                collect(Self { size_bytes, encoding, body }.into_raw()).await
            }
        }
    }
}

async fn collect(payload: Payload) -> Result<Bytes, StoreError> {
    let mut whole =
        BytesMut::with_capacity(usize::try_from(payload.size_bytes).unwrap_or_default());
    let mut chunks = payload.into_stream();
    while let Some(chunk) = chunks.next().await {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole.freeze())
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payload")
            .field("size_bytes", &self.size_bytes)
            .field("encoding", &self.encoding)
            .field("in_memory", &self.bytes().is_some())
            .finish_non_exhaustive()
    }
}
