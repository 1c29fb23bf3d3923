//! [`Client`]: the calls that scenarios are made of, each checked.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use larder_protos::bytestream::{ReadRequest, WriteRequest};
use larder_protos::reapi::{
    ActionResult, FindMissingBlobsRequest, GetActionResultRequest, UpdateActionResultRequest,
};
use larder_protos::services::action_cache_client::ActionCacheClient;
use larder_protos::services::byte_stream_client::ByteStreamClient;
use larder_protos::services::content_addressable_storage_client::ContentAddressableStorageClient;
use larder_protos::{Compressor, Digest, DigestHasher, InstanceName, ReadName, WriteName};
use tonic::transport::{Channel, Endpoint};

use crate::{BoxError, blobs};

/// What one message of an upload carries.
const UPLOAD_CHUNK_BYTES: usize = 1024 * 1024;

/// The instance that bench data goes to.
const INSTANCE: &str = "larder-bench";

/// One connection to the cache. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    byte_stream: ByteStreamClient<Channel>,
    storage: ContentAddressableStorageClient<Channel>,
    actions: ActionCacheClient<Channel>,
    instance: InstanceName,
}

impl Client {
    pub(crate) async fn connect(target: &str) -> Result<Self, BoxError> {
        let address = target.replacen("grpc://", "http://", 1);
        let channel = Endpoint::from_shared(address)?
            .tcp_nodelay(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .connect()
            .await?;
        Ok(Self {
            byte_stream: ByteStreamClient::new(channel.clone()),
            storage: ContentAddressableStorageClient::new(channel.clone())
                .max_encoding_message_size(64 << 20),
            actions: ActionCacheClient::new(channel),
            instance: InstanceName::parse(INSTANCE)?,
        })
    }

    /// Uploads a blob in one message.
    pub(crate) async fn write(&self, blob: Bytes) -> Result<(), BoxError> {
        let digest = blobs::digest(&blob);
        let message = WriteRequest {
            resource_name: self.write_name(digest),
            write_offset: 0,
            finish_write: true,
            data: blob,
        };
        let written = self.byte_stream.clone().write(stream::iter([message])).await?.into_inner();
        expect(written.committed_size, digest.size_bytes().cast_signed(), "committed_size")
    }

    /// Uploads a blob that is `part` over and over.
    pub(crate) async fn write_large(&self, digest: Digest, part: Bytes) -> Result<(), BoxError> {
        let name = self.write_name(digest);
        let size_bytes = digest.size_bytes();
        let step = UPLOAD_CHUNK_BYTES.min(part.len());
        let messages = (0..size_bytes).step_by(step).map(move |offset| {
            let start = usize::try_from(offset % part.len() as u64).unwrap_or_default();
            let length = size_bytes - offset;
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(step);
            WriteRequest {
                resource_name: if offset == 0 { name.clone() } else { String::new() },
                write_offset: offset.cast_signed(),
                finish_write: offset + length as u64 == size_bytes,
                data: part.slice(start..start + length),
            }
        });
        let written = self.byte_stream.clone().write(stream::iter(messages)).await?.into_inner();
        expect(written.committed_size, size_bytes.cast_signed(), "committed_size")
    }

    /// Downloads a blob and holds it against its digest.
    pub(crate) async fn read(&self, digest: Digest) -> Result<(), BoxError> {
        let name =
            ReadName { instance: self.instance.clone(), compressor: Compressor::Identity, digest };
        let request = ReadRequest { resource_name: name.to_string(), ..ReadRequest::default() };
        let mut parts = self.byte_stream.clone().read(request).await?.into_inner();
        let mut hasher = DigestHasher::new(digest.function(), digest.size_bytes());
        while let Some(part) = parts.message().await? {
            hasher.update(&part.data);
        }
        expect(hasher.finish(), digest, "the blob read")
    }

    /// Asks for digests that are all present.
    pub(crate) async fn find_present(&self, digests: &[Digest]) -> Result<(), BoxError> {
        let request = FindMissingBlobsRequest {
            instance_name: INSTANCE.to_owned(),
            blob_digests: digests.iter().map(Digest::to_proto).collect(),
            ..FindMissingBlobsRequest::default()
        };
        let missing = self.storage.clone().find_missing_blobs(request).await?.into_inner();
        expect(missing.missing_blob_digests.len(), 0, "blobs missing")
    }

    /// Stores the result of an action whose one output is this blob.
    pub(crate) async fn update_result(&self, output: Digest) -> Result<(), BoxError> {
        let result =
            ActionResult { stdout_digest: Some(output.to_proto()), ..ActionResult::default() };
        let request = UpdateActionResultRequest {
            instance_name: INSTANCE.to_owned(),
            action_digest: Some(output.to_proto()),
            action_result: Some(result),
            ..UpdateActionResultRequest::default()
        };
        self.actions.clone().update_action_result(request).await?;
        Ok(())
    }

    /// Asks for that result.
    pub(crate) async fn get_result(&self, output: Digest) -> Result<(), BoxError> {
        let request = GetActionResultRequest {
            instance_name: INSTANCE.to_owned(),
            action_digest: Some(output.to_proto()),
            ..GetActionResultRequest::default()
        };
        let result = self.actions.clone().get_action_result(request).await?.into_inner();
        expect(result.stdout_digest, Some(output.to_proto()), "the result read")
    }

    fn write_name(&self, digest: Digest) -> String {
        let name = WriteName {
            instance: self.instance.clone(),
            upload_id: "bench".to_owned(),
            compressor: Compressor::Identity,
            digest,
        };
        name.to_string()
    }
}

/// The digest of `part` repeated up to `size_bytes`.
pub(crate) fn repeated_digest(part: &BytesMut, size_bytes: u64) -> Digest {
    let mut hasher = DigestHasher::new(larder_protos::DigestFunction::Sha256, size_bytes);
    let mut left = size_bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
        hasher.update(&part[..length]);
        left -= length as u64;
    }
    hasher.finish()
}

#[expect(clippy::needless_pass_by_value, reason = "callers have values")]
fn expect<T: PartialEq + Debug>(actual: T, expected: T, what: &str) -> Result<(), BoxError> {
    let right = actual == expected;
    right.then_some(()).ok_or_else(|| format!("{what}: {actual:?}, expected {expected:?}").into())
}
