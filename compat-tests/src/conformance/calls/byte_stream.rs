//! `google.bytestream`: reads, writes message by message, and QueryWriteStatus.

use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, WriteRequest, WriteResponse,
};
use futures_util::{Stream, StreamExt, stream};

use super::MAX_MESSAGE_BYTES;
use crate::conformance::context::{Answer, Connection, Cx};
use crate::conformance::digest::{Blob, signed};
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome};

/// How much of a blob a message carries where a case does not say.
const CHUNK_BYTES: usize = 256 * 1024;

/// A message of an upload.
pub(crate) fn write_request(name: &str, offset: usize, data: &[u8], finish: bool) -> WriteRequest {
    WriteRequest {
        resource_name: name.to_owned(),
        write_offset: signed(offset),
        finish_write: finish,
        data: data.to_vec(),
    }
}

/// A well-formed upload in messages of `chunk_bytes`: the name in the first, offsets that continue, a finish in the last.
pub(crate) fn messages(name: &str, data: &[u8], chunk_bytes: usize) -> Vec<WriteRequest> {
    if data.is_empty() {
        return vec![write_request(name, 0, data, true)];
    }
    let count = data.len().div_ceil(chunk_bytes);
    let message = |(index, chunk): (usize, &[u8])| {
        let name = if index == 0 { name } else { "" };
        write_request(name, index * chunk_bytes, chunk, index + 1 == count)
    };
    data.chunks(chunk_bytes).enumerate().map(message).collect()
}

impl Cx {
    /// The client itself, for cases that need more than the methods below.
    pub(crate) fn byte_stream(&self) -> ByteStreamClient<Connection> {
        ByteStreamClient::new(self.connection())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Everything that a name stands for.
    pub(crate) async fn read(&self, name: &str) -> Answer<Vec<u8>> {
        self.read_range(name, 0, 0).await
    }

    /// The bytes from `read_offset` on, at most `read_limit` unless it is 0.
    pub(crate) async fn read_range(
        &self,
        name: &str,
        read_offset: i64,
        read_limit: i64,
    ) -> Answer<Vec<u8>> {
        let messages = self.read_messages(name, read_offset, read_limit).await?;
        Ok(messages.concat())
    }

    /// The same, message by message.
    pub(crate) async fn read_messages(
        &self,
        name: &str,
        read_offset: i64,
        read_limit: i64,
    ) -> Answer<Vec<Vec<u8>>> {
        let request = ReadRequest { resource_name: name.to_owned(), read_offset, read_limit };
        let mut stream = self.byte_stream().read(request).await?.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message.data);
        }
        Ok(messages)
    }

    /// Sends the messages, then closes its half.
    pub(crate) async fn write_messages(
        &self,
        messages: Vec<WriteRequest>,
    ) -> Answer<WriteResponse> {
        self.write_stream(stream::iter(messages)).await
    }

    /// Sends the messages and leaves its half open.
    pub(crate) async fn write_unclosed(
        &self,
        messages: Vec<WriteRequest>,
    ) -> Answer<WriteResponse> {
        self.write_stream(stream::iter(messages).chain(stream::pending())).await
    }

    /// Sends whatever the stream yields.
    pub(crate) async fn write_stream(
        &self,
        messages: impl Stream<Item = WriteRequest> + Send + 'static,
    ) -> Answer<WriteResponse> {
        Ok(self.byte_stream().write(messages).await?.into_inner())
    }

    /// Begins an upload with these messages and breaks it off, once the client has sent them all as far as it can tell.
    pub(crate) async fn write_broken_off(&self, messages: Vec<WriteRequest>) {
        let (all_sent, sent) = tokio::sync::oneshot::channel();
        let mark = stream::once(async move {
            // Asked for only when all before it are on their way; never yields.
            let _gone = all_sent.send(());
            std::future::pending().await
        });
        let cx = self.clone();
        let upload = async move { cx.write_stream(stream::iter(messages).chain(mark)).await };
        tokio::select! {
            _answered_early = upload => {}
            _sent = async {
                let _gone = sent.await;
                // The transport gets a turn to put them on the wire before the stream is reset.
                let _absent = self.query_write("").await;
            } => {}
        }
    }

    /// A well-formed upload.
    pub(crate) async fn write(&self, blob: &Blob) -> Answer<WriteResponse> {
        self.write_messages(messages(&self.write_name(blob), &blob.data, CHUNK_BYTES)).await
    }

    /// A well-formed zstd upload of these compressed bytes, which should be the blob's.
    pub(crate) async fn write_zstd(&self, blob: &Blob, zstd: &[u8]) -> Answer<WriteResponse> {
        self.write_messages(messages(&self.zstd_write_name(blob), zstd, CHUNK_BYTES)).await
    }

    /// How far an upload is.
    pub(crate) async fn query_write(&self, name: &str) -> Answer<QueryWriteStatusResponse> {
        let request = QueryWriteStatusRequest { resource_name: name.to_owned() };
        Ok(self.byte_stream().query_write_status(request).await?.into_inner())
    }

    /// Prepares a case: the blob is there.
    pub(crate) async fn store(&self, blob: &Blob) -> Outcome {
        let what = format!("the upload of a {} B blob, which prepares the case", blob.data.len());
        expect::ok(self.write(blob).await, what).map(drop)
    }

    /// Prepares a case with a random blob that is there.
    pub(crate) async fn stored(&self, size: usize) -> Result<Blob, Halt> {
        let blob = self.blob(size);
        self.store(&blob).await?;
        Ok(blob)
    }

    /// The blob can be read as it was uploaded.
    pub(crate) async fn expect_readable(&self, blob: &Blob, what: &str) -> Outcome {
        let data = expect::ok(self.read(&self.read_name(blob)).await, what)?;
        expect::bytes(&data, &blob.data, what)
    }
}
