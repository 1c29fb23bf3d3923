//! [`Coalesced`]: when many ask for one cold blob at once, or send it at once, one goes to the store behind.
//!
//! Only what is in memory is shared. A stream goes at its client's pace, and a stalled client must not hold up the
//! others, so streams each make their own way. So do puts of what is small: the engine stores it as it is, and once, however often it
//! comes, so that sharing would cost more than it saves.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use larder_disk::STORED_PLAIN_BYTES;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

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
    reads_saved: Counter,
    puts_saved: Counter,
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
        Self {
            inner,
            reads: Flights::new(),
            puts: Flights::new(),
            reads_saved: Counter::default(),
            puts_saved: Counter::default(),
        }
    }

    /// Counts in `registry` what sharing has saved.
    pub fn new_in(inner: Arc<dyn BlobStore>, registry: &mut Registry) -> Self {
        let saved = Family::<[(&'static str, &'static str); 1], Counter>::default();
        registry.register(
            "coalesced_calls",
            "Reads and uploads that another one under way for the same blob answered too, so that the store was asked once; \
             many mean that clients start together, and need no action",
            saved.clone(),
        );
        let of = |operation| saved.get_or_create_owned(&[("operation", operation)]);
        Self { reads_saved: of("read"), puts_saved: of("put"), ..Self::new(inner) }
    }

    /// Who comes from now on shares nothing with who came before: what these found, or stored, may be removed since.
    pub fn close_boarding(&self) {
        self.reads.close_boarding();
        self.puts.close_boarding();
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
        let (role, found) = self.reads.join(&(key.clone(), cx.accepts), read).await?;
        if role == Role::Follower && !matches!(found, Found::Stream) {
            self.reads_saved.inc();
        }
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
        if payload.bytes().is_none_or(|bytes| bytes.len() <= STORED_PLAIN_BYTES) {
            return self.inner.put(cx, key, payload).await;
        }
        let (role, outcome) = self.puts.join(key, || self.inner.put(cx, key, payload)).await?;
        if role == Role::Leader {
            return Ok(outcome);
        }
        self.puts_saved.inc();
        Ok(PutOutcome::AlreadyPresent)
    }
}
