//! [`TARGETS`]: every parser of outside bytes, as a function that panics where it breaks a promise.
//!
//! `fuzz/fuzz_targets` has a program for each, `fuzz/corpus` inputs to begin with; `tests/fuzzing.rs` runs them all without a
//! fuzzer.

pub use larder_action_cache::fuzzing::{action_result, tree};
pub use larder_cas::fuzzing::{manifest, zstd_upload};
pub use larder_disk::fuzzing::{index_line, pack, record, trace};
pub use larder_protos::fuzzing::{messages, names};
pub use larder_server::fuzzing::{
    configuration, grpc_body, http_request, origin, request_metadata,
};

/// A parser under attack: any bytes may come, and it returns.
pub type FuzzTarget = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, FuzzTarget); 15] = [
    ("action_result", action_result),
    ("configuration", configuration),
    ("grpc_body", grpc_body),
    ("http_request", http_request),
    ("index_line", index_line),
    ("manifest", manifest),
    ("messages", messages),
    ("names", names),
    ("origin", origin),
    ("pack", pack),
    ("record", record),
    ("request_metadata", request_metadata),
    ("trace", trace),
    ("tree", tree),
    ("zstd_upload", zstd_upload),
];
