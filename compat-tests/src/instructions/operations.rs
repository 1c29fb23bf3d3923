//! [`Operation`]: one call as a build makes it, and the [`Client`] that makes it again and again.

use std::cell::Cell;
use std::net::SocketAddr;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{ReadRequest, WriteRequest};
use futures_util::stream;
use reapi::action_cache_client::ActionCacheClient;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use reapi::{
    ActionResult, BatchReadBlobsRequest, Digest, FindMissingBlobsRequest, GetActionResultRequest,
    OutputFile, UpdateActionResultRequest,
};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::blob::Blob;
use crate::error::CompatError;

const SMALL_BYTES: usize = 2 * 1024;
const LARGE_BYTES: usize = 4 << 20;
/// What one message of a large upload carries, as Bazel cuts them.
const MESSAGE_BYTES: usize = 16 * 1024;
const FOUND_DIGESTS: usize = 1_000;
const BATCH_BLOBS: usize = 32;
const OUTPUTS: usize = 10;

/// One call as a build makes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// `ByteStream.Read` of 2 KiB from memory.
    ReadSmall,
    /// `ByteStream.Read` of 4 MiB that do not compress.
    ReadLarge,
    /// `BatchReadBlobs` of 32 blobs of 2 KiB.
    BatchRead,
    /// `FindMissingBlobs` of 1,000 digests that are all present.
    FindMissing,
    /// `GetActionResult` of ten outputs that are all there.
    GetResult,
    /// `UpdateActionResult` of the same.
    UpdateResult,
    /// `ByteStream.Write` of 2 KiB that are new.
    WriteSmall,
    /// `ByteStream.Write` of 4 MiB that are new and do not compress.
    WriteLarge,
}

/// In the order in which they are measured.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::ReadSmall,
    Operation::ReadLarge,
    Operation::BatchRead,
    Operation::FindMissing,
    Operation::GetResult,
    Operation::UpdateResult,
    Operation::WriteSmall,
    Operation::WriteLarge,
];

impl Operation {
    /// As reports and the file of budgets call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ReadSmall => "read-2kib",
            Self::ReadLarge => "read-4mib",
            Self::BatchRead => "batch-read-32",
            Self::FindMissing => "find-missing-1000",
            Self::GetResult => "get-result",
            Self::UpdateResult => "update-result",
            Self::WriteSmall => "write-2kib",
            Self::WriteLarge => "write-4mib",
        }
    }

    /// Whether a call moves so much that fewer of them tell as much.
    pub(super) fn is_large(self) -> bool {
        matches!(self, Self::ReadLarge | Self::WriteLarge)
    }
}

/// One gRPC connection, and what its calls are about.
pub(super) struct Client {
    channel: Channel,
    resident: Vec<Blob>,
    large: Blob,
    find: FindMissingBlobsRequest,
    /// Which new blob comes next.
    next_seed: Cell<u64>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, CompatError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map_err(CompatError::call("connect"))?.tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(CompatError::call("connect"))?;
        let resident: Vec<_> =
            (0..BATCH_BLOBS as u64).map(|seed| Blob::noise(SMALL_BYTES, seed)).collect();
        let large = Blob::noise(LARGE_BYTES, 1 << 32);
        let blob_digests = resident.iter().map(digest).cycle().take(FOUND_DIGESTS).collect();
        let find = FindMissingBlobsRequest { blob_digests, ..FindMissingBlobsRequest::default() };
        Ok(Self { channel, resident, large, find, next_seed: Cell::new(1 << 33) })
    }

    /// Stores what the operations read.
    pub(super) async fn prepare(&self) -> Result<(), CompatError> {
        for blob in self.resident.iter().chain([&self.large]) {
            self.write(blob).await.map_err(CompatError::call("Write"))?;
        }
        self.call(Operation::UpdateResult).await.map_err(CompatError::call("UpdateActionResult"))
    }

    /// Makes the call so often, one after the other.
    pub(super) async fn repeat(&self, operation: Operation, calls: u64) -> Result<(), CompatError> {
        for _ in 0..calls {
            self.call(operation).await.map_err(CompatError::call(operation.name()))?;
        }
        Ok(())
    }

    async fn call(&self, operation: Operation) -> Result<(), Status> {
        match operation {
            Operation::ReadSmall => self.read(&self.resident[0]).await,
            Operation::ReadLarge => self.read(&self.large).await,
            Operation::BatchRead => self.batch_read().await,
            Operation::FindMissing => self.find_missing().await,
            Operation::GetResult => self.get_result().await,
            Operation::UpdateResult => self.update_result().await,
            Operation::WriteSmall => {
                let seed = self.next_seed.replace(self.next_seed.get() + 1);
                self.write(&Blob::noise(SMALL_BYTES, seed)).await
            }
            Operation::WriteLarge => {
                let seed = self.next_seed.replace(self.next_seed.get() + 1);
                self.write(&Blob::noise(LARGE_BYTES, seed)).await
            }
        }
    }

    async fn read(&self, blob: &Blob) -> Result<(), Status> {
        let resource_name = format!("blobs/{}", blob.digest());
        let request = ReadRequest { resource_name, ..ReadRequest::default() };
        let mut client = ByteStreamClient::new(self.channel.clone());
        let mut parts = client.read(request).await?.into_inner();
        let mut rest = &*blob.bytes;
        while let Some(part) = parts.message().await? {
            rest = rest.strip_prefix(&*part.data).ok_or_else(|| wrong("a part of a blob"))?;
        }
        rest.is_empty().then_some(()).ok_or_else(|| wrong("the size of a blob"))
    }

    async fn write(&self, blob: &Blob) -> Result<(), Status> {
        let name = format!("uploads/u/blobs/{}", blob.digest());
        let count = blob.bytes.len().div_ceil(MESSAGE_BYTES);
        let parts = blob.bytes.chunks(MESSAGE_BYTES).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let messages = parts.into_iter().enumerate().map(move |(index, data)| WriteRequest {
            resource_name: if index == 0 { name.clone() } else { String::new() },
            write_offset: i64::try_from(index * MESSAGE_BYTES).unwrap_or(i64::MAX),
            finish_write: index + 1 == count,
            data,
        });
        let mut client = ByteStreamClient::new(self.channel.clone());
        client.write(stream::iter(messages)).await.map(drop)
    }

    async fn batch_read(&self) -> Result<(), Status> {
        let digests = self.resident.iter().map(digest).collect();
        let request = BatchReadBlobsRequest { digests, ..BatchReadBlobsRequest::default() };
        let mut client = ContentAddressableStorageClient::new(self.channel.clone());
        let answer = client.batch_read_blobs(request).await?.into_inner();
        let read = answer.responses.iter().map(|response| &response.data);
        let all = read.eq(self.resident.iter().map(|blob| &blob.bytes));
        all.then_some(()).ok_or_else(|| wrong("the blobs of a batch"))
    }

    async fn find_missing(&self) -> Result<(), Status> {
        let request = self.find.clone();
        let mut client = ContentAddressableStorageClient::new(self.channel.clone());
        let answer = client.find_missing_blobs(request).await?.into_inner();
        let none = answer.missing_blob_digests.is_empty();
        none.then_some(()).ok_or_else(|| wrong("what is missing"))
    }

    async fn get_result(&self) -> Result<(), Status> {
        let action_digest = Some(digest(&self.resident[0]));
        let request = GetActionResultRequest { action_digest, ..GetActionResultRequest::default() };
        let mut client = ActionCacheClient::new(self.channel.clone());
        let answer = client.get_action_result(request).await?.into_inner();
        (answer == self.result()).then_some(()).ok_or_else(|| wrong("a result"))
    }

    async fn update_result(&self) -> Result<(), Status> {
        let request = UpdateActionResultRequest {
            action_digest: Some(digest(&self.resident[0])),
            action_result: Some(self.result()),
            ..UpdateActionResultRequest::default()
        };
        let mut client = ActionCacheClient::new(self.channel.clone());
        client.update_action_result(request).await.map(drop)
    }

    fn result(&self) -> ActionResult {
        let outputs = self.resident[..OUTPUTS].iter().enumerate();
        let output = |(index, blob)| OutputFile {
            path: format!("bazel-out/k8-fastbuild/bin/package/output-{index}.o"),
            digest: Some(digest(blob)),
            ..OutputFile::default()
        };
        ActionResult { output_files: outputs.map(output).collect(), ..ActionResult::default() }
    }
}

fn digest(blob: &Blob) -> Digest {
    let size_bytes = i64::try_from(blob.bytes.len()).unwrap_or(i64::MAX);
    Digest { hash: blob.hash.clone(), size_bytes }
}

fn wrong(what: &str) -> Status {
    Status::data_loss(format!("{what} is not what was stored"))
}
