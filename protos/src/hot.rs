//! Twins of the messages that carry blobs, or messages that are stored as they came: the same bytes on the wire, with `Bytes` where
//! the published crate has `Vec<u8>` or a message, so that nothing is copied out of the buffer that it arrived in.
//!
//! Source: `remote_execution.proto` and `bytestream.proto`, whose field numbers these repeat; `tests/twins.rs` holds them
//! against the published messages.

use bytes::Bytes;
use prost::Message;

use crate::reapi::{self, Digest, ResultsCachePolicy, compressor, digest_function};
use crate::rpc::Status;

/// `google.bytestream.WriteRequest`: a part of an upload.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct WriteRequest {
    /// What is uploaded; may be left out after the first message.
    #[prost(string, tag = "1")]
    pub resource_name: String,
    /// How many bytes were sent before.
    #[prost(int64, tag = "2")]
    pub write_offset: i64,
    /// Whether this is the last part.
    #[prost(bool, tag = "3")]
    pub finish_write: bool,
    /// The part's bytes.
    #[prost(bytes = "bytes", tag = "10")]
    pub data: Bytes,
}

/// `google.bytestream.ReadResponse`: a part of a download.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ReadResponse {
    /// The part's bytes.
    #[prost(bytes = "bytes", tag = "10")]
    pub data: Bytes,
}

/// `BatchUpdateBlobsRequest`: small blobs to store.
#[derive(Clone, PartialEq, Message)]
pub struct BatchUpdateBlobsRequest {
    /// The instance.
    #[prost(string, tag = "1")]
    pub instance_name: String,
    /// The blobs.
    #[prost(message, repeated, tag = "2")]
    pub requests: Vec<batch_update_blobs_request::Request>,
    /// The function of all digests; zero says nothing.
    #[prost(enumeration = "digest_function::Value", tag = "5")]
    pub digest_function: i32,
}

/// What [`BatchUpdateBlobsRequest`] is made of.
pub mod batch_update_blobs_request {
    use super::{Bytes, Digest, Message, compressor};

    /// One blob to store.
    #[derive(Clone, PartialEq, Eq, Hash, Message)]
    pub struct Request {
        /// What the blob is claimed to be.
        #[prost(message, optional, tag = "1")]
        pub digest: Option<Digest>,
        /// Its bytes, encoded as `compressor` says.
        #[prost(bytes = "bytes", tag = "2")]
        pub data: Bytes,
        /// The encoding of `data`.
        #[prost(enumeration = "compressor::Value", tag = "3")]
        pub compressor: i32,
    }
}

/// `BatchReadBlobsResponse`: the small blobs that were asked for.
#[derive(Clone, PartialEq, Message)]
pub struct BatchReadBlobsResponse {
    /// One for each digest asked for.
    #[prost(message, repeated, tag = "1")]
    pub responses: Vec<batch_read_blobs_response::Response>,
}

/// What [`BatchReadBlobsResponse`] is made of.
pub mod batch_read_blobs_response {
    use super::{Bytes, Digest, Message, Status, compressor};

    /// One blob, or why it is not here.
    #[derive(Clone, PartialEq, Message)]
    pub struct Response {
        /// The digest, as it was asked for.
        #[prost(message, optional, tag = "1")]
        pub digest: Option<Digest>,
        /// The blob's bytes, encoded as `compressor` says.
        #[prost(bytes = "bytes", tag = "2")]
        pub data: Bytes,
        /// The encoding of `data`.
        #[prost(enumeration = "compressor::Value", tag = "4")]
        pub compressor: i32,
        /// What became of it.
        #[prost(message, optional, tag = "3")]
        pub status: Option<Status>,
    }
}

/// `GetTreeResponse`: a page of directories, each as the bytes that its digest names; decoding and encoding it anew
/// could lose what a later version of the message holds.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct GetTreeResponse {
    /// Encoded `Directory` messages: on the wire an embedded message is its bytes.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub directories: Vec<Bytes>,
    /// Where the next page begins; empty after the last.
    #[prost(string, tag = "2")]
    pub next_page_token: String,
}

/// `UpdateActionResultRequest`: a result to store, as its client encoded it.
#[derive(Clone, PartialEq, Message)]
pub struct UpdateActionResultRequest {
    /// The instance.
    #[prost(string, tag = "1")]
    pub instance_name: String,
    /// The action.
    #[prost(message, optional, tag = "2")]
    pub action_digest: Option<Digest>,
    /// The encoded `ActionResult`. Protobuf allows a message to come in several fields, each of which is one: it is what they say
    /// together, and so are the bytes of all, one after the other.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub action_result: Vec<Bytes>,
    /// How long it should be kept.
    #[prost(message, optional, tag = "4")]
    pub results_cache_policy: Option<ResultsCachePolicy>,
    /// The function of all digests; zero says nothing.
    #[prost(enumeration = "digest_function::Value", tag = "5")]
    pub digest_function: i32,
}

impl From<reapi::UpdateActionResultRequest> for UpdateActionResultRequest {
    fn from(request: reapi::UpdateActionResultRequest) -> Self {
        let result = request.action_result.map(|result| result.encode_to_vec().into());
        Self {
            instance_name: request.instance_name,
            action_digest: request.action_digest,
            action_result: result.into_iter().collect(),
            results_cache_policy: request.results_cache_policy,
            digest_function: request.digest_function,
        }
    }
}
