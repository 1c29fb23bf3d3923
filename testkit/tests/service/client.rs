//! What the tests send, and how they say it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use larder_protos::bytestream::{ReadRequest, WriteRequest};
use larder_protos::{Digest, DigestFunction};
use larder_testkit::TestServer;
use tonic::{Code, Status};

pub(crate) const FUNCTION: DigestFunction = DigestFunction::Sha256;

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(FUNCTION, bytes)
}

/// Bytes that no two sizes share and that zstd shrinks by about half.
pub(crate) fn sample(size: usize) -> Bytes {
    let mut state = size as u64 + 1;
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(b"........");
    }
    bytes.truncate(size);
    bytes.into()
}

/// A name of an upload; `compressed-blobs/zstd` or `blobs` is the form.
pub(crate) fn upload_name(form: &str, digest: Digest) -> String {
    format!("uploads/test/{form}/{digest}")
}

/// An upload in chunks of so many bytes.
pub(crate) fn chunked(name: &str, sent: &Bytes, chunk_bytes: usize) -> Vec<WriteRequest> {
    let mut offset = 0;
    let mut messages = Vec::new();
    loop {
        let end = (offset + chunk_bytes).min(sent.len());
        messages.push(WriteRequest {
            resource_name: if offset == 0 { name.to_owned() } else { String::new() },
            write_offset: i64::try_from(offset).expect("a small test"),
            finish_write: end == sent.len(),
            data: sent.slice(offset..end),
        });
        if end == sent.len() {
            return messages;
        }
        offset = end;
    }
}

/// Sends an upload; the answer is `committed_size`.
pub(crate) async fn write(server: &TestServer, messages: Vec<WriteRequest>) -> Result<i64, Status> {
    let written = server.byte_stream().write(stream::iter(messages)).await?;
    Ok(written.into_inner().committed_size)
}

/// Stores a blob.
pub(crate) async fn store(server: &TestServer, blob: &Bytes) -> Digest {
    let digest = digest(blob);
    let messages = chunked(&upload_name("blobs", digest), blob, 1 << 20);
    write(server, messages).await.expect("stored");
    digest
}

/// Reads by any name; an error may come at once or within the stream.
pub(crate) async fn read_range(
    server: &TestServer,
    resource_name: &str,
    read_offset: i64,
    read_limit: i64,
) -> Result<Vec<u8>, Status> {
    let resource_name = resource_name.to_owned();
    let request = ReadRequest { resource_name, read_offset, read_limit };
    let mut parts = server.byte_stream().read(request).await?.into_inner();
    let mut whole = Vec::new();
    while let Some(part) = parts.message().await? {
        assert!(!part.data.is_empty(), "an empty message");
        assert!(part.data.len() <= 2 << 20, "a message of {} B", part.data.len());
        whole.extend_from_slice(&part.data);
    }
    Ok(whole)
}

/// Reads a whole blob by its digest.
pub(crate) async fn read(server: &TestServer, digest: Digest) -> Result<Vec<u8>, Status> {
    read_range(server, &format!("blobs/{digest}"), 0, 0).await
}

/// Asserts that a call was refused with this code and a message that has these words.
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    result: Result<T, Status>,
    code: Code,
    words: &str,
) {
    let status = result.expect_err("it should be refused");
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(words), "{:?} lacks {words:?}", status.message());
}

/// The value of a metric without labels.
pub(crate) async fn metric(server: &TestServer, name: &str) -> u64 {
    let page = server.admin("/metrics").await;
    let page = String::from_utf8_lossy(page.body()).into_owned();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is not in {page}")).parse().expect("a number")
}

/// Reads a metric until it is as it should be.
pub(crate) async fn until(server: &TestServer, name: &str, is_so: impl Fn(u64) -> bool) {
    let reached = async {
        while !is_so(metric(server, name).await) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let last = tokio::time::timeout(Duration::from_secs(20), reached).await;
    assert!(last.is_ok(), "{name} stays at {}", metric(server, name).await);
}
