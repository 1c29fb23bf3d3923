//! The services, servers and clients: the one place to look for them.

pub use self::asset_v1_fetch::{fetch_client, fetch_server};
pub use self::asset_v1_push::{push_client, push_server};
pub use self::google_bytestream::{byte_stream_client, byte_stream_server};
pub use self::reapi_v2::{content_addressable_storage_client, content_addressable_storage_server};
pub use self::reapi_v2_actions::{action_cache_client, action_cache_server};
pub use self::reapi_v2_capabilities::{capabilities_client, capabilities_server};

#[allow(clippy::pedantic, missing_docs, unreachable_pub, reason = "generated code")]
mod asset_v1_fetch {
    include!(concat!(env!("OUT_DIR"), "/build.bazel.remote.asset.v1.Fetch.rs"));
}

#[allow(clippy::pedantic, missing_docs, unreachable_pub, reason = "generated code")]
mod asset_v1_push {
    include!(concat!(env!("OUT_DIR"), "/build.bazel.remote.asset.v1.Push.rs"));
}

#[allow(clippy::pedantic, missing_docs, unreachable_pub, reason = "generated code")]
mod google_bytestream {
    include!(concat!(env!("OUT_DIR"), "/google.bytestream.ByteStream.rs"));
}

#[allow(clippy::pedantic, missing_docs, unreachable_pub, reason = "generated code")]
mod reapi_v2 {
    include!(concat!(
        env!("OUT_DIR"),
        "/build.bazel.remote.execution.v2.ContentAddressableStorage.rs"
    ));
}

#[allow(clippy::pedantic, missing_docs, unreachable_pub, reason = "generated code")]
mod reapi_v2_actions {
    include!(concat!(env!("OUT_DIR"), "/build.bazel.remote.execution.v2.ActionCache.rs"));
}

#[allow(clippy::pedantic, missing_docs, unreachable_pub, reason = "generated code")]
mod reapi_v2_capabilities {
    include!(concat!(env!("OUT_DIR"), "/build.bazel.remote.execution.v2.Capabilities.rs"));
}
