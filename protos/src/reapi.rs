//! The messages of `build.bazel.remote.execution.v2`, as `bazel-remote-apis` generates them.

pub use bazel_remote_apis::build::bazel::remote::execution::v2::*;
pub use bazel_remote_apis::build::bazel::semver::SemVer;
