//! The messages of `google.protobuf` that stand in others.

pub use bazel_remote_apis::google::protobuf::{Any, Duration, Timestamp};
