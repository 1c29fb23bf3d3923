//! The content-addressable store: the port [`BlobStore`], verified [`Payload`]s, the tiers and the decorators.
//!
//! A tier holds bytes ([`HotTier`], [`DiskTier`], and [`Chunked`] over the latter); a decorator is a store made of a store ([`Metered`], [`Guarded`],
//! [`Coalesced`]). What partitions data is in the key, so no tier can mix two partitions.

pub mod blocking;
mod chunked;
pub mod chunking;
mod coalesced;
#[cfg(feature = "conformance")]
pub mod conformance;
mod disk_tier;
mod error;
mod flights;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guarded;
mod hot_cache;
mod hot_tier;
mod kept_zstd;
mod key;
mod metered;
mod payload;
mod range;
mod removals;
mod request;
mod request_memory;
mod store;
mod untrusted;
mod upload_to_disk;
mod warming;
pub mod zstd_codec;

pub use chunked::{Chunked, MAX_CHUNKS, Split};
pub use coalesced::Coalesced;
pub use disk_tier::DiskTier;
pub use error::{ErrorClass, StoreError};
pub use guarded::Guarded;
pub use hot_cache::{HotCache, HotEpoch, HotStats, HotValue};
pub use hot_tier::{HotTier, HotTierOptions};
pub use kept_zstd::decoding_bytes;
pub use key::{BlobKey, BlobKeys};
pub use larder_disk::{Accepts, Encoding, Keyspace, PutOutcome};
pub use metered::{BlobMetrics, Metered};
pub use payload::{Payload, PayloadStream};
pub use range::ByteRange;
pub use removals::Removals;
pub use request::RequestCx;
pub use request_memory::{MemoryLender, MemoryLoan, RequestMemory};
pub use store::BlobStore;
pub use untrusted::{UntrustedPayload, UntrustedStream};
pub use warming::{Warmed, warm};
