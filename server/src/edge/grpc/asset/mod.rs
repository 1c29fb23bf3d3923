//! Remote Asset: `Push` says what URIs stand for, `Fetch` finds it again, or has an origin asked.
//!
//! What a URI stands for is kept as an action result in a keyspace of its own, which names the blob and all that it needs.
//! So an asset whose blobs are gone is none, finding one extends their lives, and both are evicted as all else is.
//! Source: `build/bazel/remote/asset/v1/remote_asset.proto`.

mod error;
mod fetch;
mod flights;
mod identity;
mod index;
mod plan;
mod push;
mod record;
mod retrieval;
mod timestamp;

pub(super) use fetch::FetchService;
pub(super) use push::PushService;
