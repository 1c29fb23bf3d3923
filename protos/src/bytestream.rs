//! The messages of `google.bytestream`; the two that carry blobs are our `Bytes` twins.

pub use bazel_remote_apis::google::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, WriteResponse,
};

pub use crate::hot::{ReadResponse, WriteRequest};
