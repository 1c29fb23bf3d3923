//! The messages of `google.rpc`.

pub use bazel_remote_apis::google::rpc::Status;
