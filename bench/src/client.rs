//! [`Client`]: the calls that scenarios are made of, each checked to the last byte.

use bytes::Bytes;
use larder_protos::bytestream::{ReadRequest, WriteResponse};
use larder_protos::hot::{BatchReadBlobsResponse, BatchUpdateBlobsRequest};
use larder_protos::reapi::{
    ActionResult, BatchUpdateBlobsResponse, FindMissingBlobsRequest, FindMissingBlobsResponse,
    GetActionResultRequest, UpdateActionResultRequest,
};
use larder_protos::{Compressor, Digest};
use tokio::task::JoinSet;

use crate::error::CallError;
use crate::target::Target;
use crate::wire::{Connection, HttpPool, MessageHead, ReadParser, Wire, message, write_message};

const READ: &str = "/google.bytestream.ByteStream/Read";
const WRITE: &str = "/google.bytestream.ByteStream/Write";
const FIND: &str = "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs";
const BATCH_READ: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs";
const BATCH_UPDATE: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs";
const GET_RESULT: &str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
const UPDATE_RESULT: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";

/// What goes with its head into one frame of every server, which take 16 KiB at least.
const ONE_FRAME_BYTES: usize = 15 << 10;

/// What the server answers where an upload ends early in an encoding that is not the blob's.
const COMPLETE: i64 = -1;

/// One gRPC connection to a server, and its HTTP cache.
pub(crate) struct Client {
    connection: Connection,
    http: Option<HttpPool>,
    instance: String,
    message_bytes: usize,
}

impl Client {
    /// Connects. Uploads are cut into messages of `message_bytes`.
    pub(crate) async fn connect(
        target: &Target,
        wire: &Wire,
        message_bytes: usize,
        drivers: &mut JoinSet<()>,
    ) -> Result<Self, CallError> {
        let http = |address| HttpPool::new(address, &wire.tls, &target.headers);
        Ok(Self {
            connection: Connection::open(target, wire, drivers).await?,
            http: target.http.as_ref().map(http),
            instance: target.instance.clone(),
            message_bytes,
        })
    }

    /// The instance that requests name.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Downloads a blob; its bytes go to `sink` as they arrive.
    pub(crate) async fn read(
        &self,
        digest: &Digest,
        compressor: Compressor,
        sink: &mut impl FnMut(&[u8]) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let resource_name = format!("{}{}{digest}", self.prefix(), segment(compressor));
        let request = ReadRequest { resource_name, ..ReadRequest::default() };
        let mut parser = ReadParser::default();
        let mut take = |bytes: &[u8]| parser.push(bytes, sink);
        self.connection.read(READ, message(&request), &mut take).await?;
        parser.finish()
    }

    /// Downloads a blob as it is and holds it against its bytes.
    pub(crate) async fn read_expecting(
        &self,
        digest: &Digest,
        expected: &[u8],
    ) -> Result<(), CallError> {
        let mut rest = Rest::of(expected);
        self.read(digest, Compressor::Identity, &mut |bytes| rest.take(bytes)).await?;
        rest.finish()
    }

    /// Uploads what `parts` are together, encoded as `compressor` says.
    pub(crate) async fn write(
        &self,
        digest: &Digest,
        compressor: Compressor,
        parts: &[Bytes],
    ) -> Result<(), CallError> {
        let sent_bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let kind = segment(compressor);
        let name = format!("{}uploads/larder-bench/{kind}{digest}", self.prefix());
        let mut offset = 0;
        let frames = parts.iter().flat_map(|part| self.cut(part)).flat_map(|data| {
            let head = MessageHead {
                resource_name: if offset == 0 { &name } else { "" },
                write_offset: offset,
                finish_write: offset + data.len() as u64 == sent_bytes,
            };
            offset += data.len() as u64;
            framed(head, data)
        });
        let written: WriteResponse = self.connection.write(WRITE, frames).await?;
        let size_bytes = digest.size_bytes().cast_signed();
        let right = match compressor {
            Compressor::Identity => written.committed_size == size_bytes,
            // What is right here differs between servers, and between their clients.
            Compressor::Zstd => {
                [size_bytes, sent_bytes.cast_signed(), COMPLETE].contains(&written.committed_size)
            }
        };
        right.then_some(()).ok_or(CallError::Different { what: "committed_size" })
    }

    /// Uploads a blob as it is.
    pub(crate) async fn write_blob(&self, digest: &Digest, blob: Bytes) -> Result<(), CallError> {
        self.write(digest, Compressor::Identity, &[blob]).await
    }

    /// Asks a question of [`Self::find_request`], whose blobs are all present.
    pub(crate) async fn find_present(&self, request: Bytes) -> Result<(), CallError> {
        let answer: FindMissingBlobsResponse = self.connection.unary(FIND, request).await?;
        let right = answer.missing_blob_digests.is_empty();
        right.then_some(()).ok_or(CallError::Different { what: "the blobs that are present" })
    }

    /// How many of these blobs are missing.
    pub(crate) async fn count_missing(&self, digests: &[Digest]) -> Result<usize, CallError> {
        let request = self.find_request(digests);
        let answer: FindMissingBlobsResponse = self.connection.unary(FIND, request).await?;
        Ok(answer.missing_blob_digests.len())
    }

    /// The encoded question which of these blobs are missing.
    pub(crate) fn find_request(&self, digests: &[Digest]) -> Bytes {
        message(&FindMissingBlobsRequest {
            instance_name: self.instance.clone(),
            blob_digests: digests.iter().map(Digest::to_proto).collect(),
            ..FindMissingBlobsRequest::default()
        })
    }

    /// Reads small blobs by one encoded `BatchReadBlobsRequest`; the answers are in no order that is fixed.
    pub(crate) async fn batch_read(
        &self,
        request: Bytes,
    ) -> Result<BatchReadBlobsResponse, CallError> {
        self.connection.unary(BATCH_READ, request).await
    }

    /// Stores small blobs.
    pub(crate) async fn batch_update(
        &self,
        request: &BatchUpdateBlobsRequest,
    ) -> Result<(), CallError> {
        let answer: BatchUpdateBlobsResponse =
            self.connection.unary(BATCH_UPDATE, message(request)).await?;
        let failed = answer.responses.iter().filter_map(|blob| blob.status.as_ref());
        if let Some(status) = failed.into_iter().find(|status| status.code != 0) {
            let (code, message) = (status.code, status.message.clone());
            return Err(CallError::Status { path: BATCH_UPDATE, code, message });
        }
        let right = answer.responses.len() == request.requests.len();
        right.then_some(()).ok_or(CallError::Different { what: "the number of blobs stored" })
    }

    /// The result of an action.
    pub(crate) async fn get_result(&self, action: &Digest) -> Result<ActionResult, CallError> {
        let request = GetActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(action.to_proto()),
            ..GetActionResultRequest::default()
        };
        self.connection.unary(GET_RESULT, message(&request)).await
    }

    /// Stores the result of an action.
    pub(crate) async fn update_result(
        &self,
        action: &Digest,
        result: ActionResult,
    ) -> Result<(), CallError> {
        let request = UpdateActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(action.to_proto()),
            action_result: Some(result),
            ..UpdateActionResultRequest::default()
        };
        let _stored: ActionResult = self.connection.unary(UPDATE_RESULT, message(&request)).await?;
        Ok(())
    }

    /// Fetches a blob over HTTP/1.1 and holds it against its bytes.
    pub(crate) async fn http_get(&self, digest: &Digest, expected: &[u8]) -> Result<(), CallError> {
        let http = self.http.as_ref().ok_or(CallError::NoHttp)?;
        let path = format!("/{}cas/{}", self.prefix(), digest.hash());
        let mut rest = Rest::of(expected);
        http.get(&path, &mut |bytes| rest.take(bytes)).await?;
        rest.finish()
    }

    fn prefix(&self) -> String {
        if self.instance.is_empty() { String::new() } else { format!("{}/", self.instance) }
    }

    /// A part as the data of messages.
    fn cut(&self, part: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let (part, step) = (part.clone(), self.message_bytes);
        // Of an empty blob one message must tell that it has ended.
        (0..part.len().max(1))
            .step_by(step)
            .map(move |at| part.slice(at..part.len().min(at + step)))
    }
}

/// A message of an upload. What fits one HTTP/2 frame is worth a copy; more is sent as it is.
fn framed(head: MessageHead<'_>, data: Bytes) -> [Bytes; 2] {
    let before = write_message(head, data.len());
    if data.len() > ONE_FRAME_BYTES {
        return [before, data];
    }
    [[before, data].concat().into(), Bytes::new()]
}

fn segment(compressor: Compressor) -> &'static str {
    match compressor {
        Compressor::Identity => "blobs/",
        Compressor::Zstd => "compressed-blobs/zstd/",
    }
}

/// What is still expected of an answer.
#[derive(Debug)]
pub(crate) struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Nothing has come yet.
    pub(crate) fn of(expected: &'a [u8]) -> Self {
        Self(expected)
    }

    /// These must be the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        self.0 = self.0.strip_prefix(bytes).ok_or(CallError::Different { what: "the blob" })?;
        Ok(())
    }

    /// There must be no more.
    pub(crate) fn finish(self) -> Result<(), CallError> {
        self.0.is_empty().then_some(()).ok_or(CallError::Different { what: "the blob's length" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_same_bytes_or_an_error() {
        let check = |parts: &[&str], expect: bool| {
            let mut rest = Rest::of(b"blob");
            let taken = parts.iter().try_for_each(|part| rest.take(part.as_bytes()));
            assert_eq!(taken.and_then(|()| rest.finish()).is_ok(), expect, "{parts:?}");
        };
        check(&["blob"], true);
        check(&["b", "", "lob"], true);
        check(&["b", "lo"], false);
        check(&["bl0b"], false);
        check(&["blob", "s"], false);
    }
}
