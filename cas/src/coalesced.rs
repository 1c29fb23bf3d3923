//! [`Coalesced`]: when many ask for one cold blob at once, or send it at once, one goes to the store behind.
//!
//! Only what is in memory is shared. A stream goes at its client's pace, and a stalled client must not hold up the
//! others, so streams each make their own way.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::flights::{Flights, Role};
use crate::{
    Accepts, BlobKey, BlobKeys, BlobStore, ByteRange, Encoding, Payload, PutOutcome, RequestCx,
    StoreError,
};

/// Shares concurrent whole reads, and concurrent puts, of the same blob.
#[derive(Debug)]
pub struct Coalesced {
    inner: Arc<dyn BlobStore>,
    reads: Flights<(BlobKey, Accepts), Found>,
    puts: Flights<BlobKey, PutOutcome>,
}

/// What a read found, in a form that several callers can have.
#[derive(Clone, Debug)]
enum Found {
    Nothing,
    InMemory(Encoding, Bytes),
    /// Too large to share: the one who opened it has it, the others open their own.
    Stream,
}

impl Coalesced {
    /// Shares what goes to `inner`.
    pub fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self { inner, reads: Flights::new(), puts: Flights::new() }
    }
}

impl fmt::Display for Coalesced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coalesced({})", self.inner)
    }
}

#[async_trait]
impl BlobStore for Coalesced {
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError> {
        self.inner.find_missing(cx, keys).await
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        if !range.is_whole(key.digest.size_bytes()) {
            return self.inner.get(cx, key, range).await;
        }
        let mut own_stream = None;
        let read = async || {
            let Some(payload) = self.inner.get(cx, key, range).await? else {
                return Ok(Found::Nothing);
            };
            if let Some(bytes) = payload.bytes() {
                return Ok::<_, StoreError>(Found::InMemory(payload.encoding(), bytes.clone()));
            }
            own_stream = Some(payload);
            Ok(Found::Stream)
        };
        let (_, found) = self.reads.join(&(key.clone(), cx.accepts), read).await?;
        match found {
            Found::Nothing => Ok(None),
            Found::InMemory(encoding, bytes) => {
                let size_bytes = key.digest.size_bytes();
                Ok(Some(Payload::from_trusted_bytes(size_bytes, encoding, bytes)))
            }
            Found::Stream if own_stream.is_some() => Ok(own_stream),
            Found::Stream => self.inner.get(cx, key, range).await,
        }
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        if payload.bytes().is_none() {
            return self.inner.put(cx, key, payload).await;
        }
        let (role, outcome) = self.puts.join(key, || self.inner.put(cx, key, payload)).await?;
        Ok(if role == Role::Leader { outcome } else { PutOutcome::AlreadyPresent })
    }
}
