//! [`Client`]: the few calls that the measurements need, by the generated stubs of another project.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{ReadRequest, WriteRequest};
use futures_util::stream;
use sha2::{Digest as _, Sha256};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::error::CompatError;

/// What one message of an upload carries.
const CHUNK_BYTES: usize = 1 << 20;

const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// How an upload is encoded.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Identity,
    Zstd,
}

/// One gRPC connection.
pub(super) struct Client(ByteStreamClient<Channel>);

/// A blob as its name says it: the hash in hex, a slash, the size.
pub(super) fn digest(blob: &[u8]) -> String {
    format!("{}/{}", faster_hex::hex_string(&Sha256::digest(blob)), blob.len())
}

/// A blob that no memory need hold: chunks that do not shrink, no two alike.
pub(super) struct LargeBlob {
    chunk: Vec<u8>,
    chunks: u64,
    /// Stands in its chunks.
    number: u64,
    digest: String,
}

impl LargeBlob {
    /// One of many of this size.
    pub(super) fn new(size_bytes: u64, number: u64) -> Self {
        let mut state = 1_u64;
        let random = (0..CHUNK_BYTES / 8).flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let chunks = size_bytes / CHUNK_BYTES as u64;
        let mut blob = Self { chunk: random.collect(), chunks, number, digest: String::new() };
        let mut hasher = Sha256::new();
        for number in 0..chunks {
            hasher.update(blob.numbered(number));
        }
        let hash = faster_hex::hex_string(&hasher.finalize());
        blob.digest = format!("{hash}/{}", chunks * CHUNK_BYTES as u64);
        blob
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    fn numbered(&self, number: u64) -> Vec<u8> {
        numbered(&self.chunk, self.number << 32 | number)
    }
}

fn numbered(chunk: &[u8], number: u64) -> Vec<u8> {
    let mut chunk = chunk.to_vec();
    chunk[..8].copy_from_slice(&number.to_le_bytes());
    chunk
}

/// So many zeros as one zstd frame.
pub(super) fn zeros(size_bytes: u64) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("zstd in memory");
    let zeros = std::io::repeat(0).take(size_bytes);
    std::io::copy(&mut { zeros }, &mut encoder).expect("zstd in memory");
    encoder.finish().expect("zstd in memory")
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, CompatError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map_err(CompatError::call("connect"))?.tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(CompatError::call("connect"))?;
        Ok(Self(ByteStreamClient::new(channel)))
    }

    /// Uploads bytes under the name of a blob, which they need not be.
    pub(super) async fn write(
        &self,
        form: Form,
        digest: &str,
        sent: Vec<u8>,
    ) -> Result<(), Status> {
        let form = match form {
            Form::Identity => "blobs",
            Form::Zstd => "compressed-blobs/zstd",
        };
        let message = WriteRequest {
            resource_name: format!("uploads/limits/{form}/{digest}"),
            finish_write: true,
            data: sent,
            ..WriteRequest::default()
        };
        self.0.clone().write(stream::iter([message])).await.map(drop)
    }

    pub(super) async fn write_large(&self, blob: &LargeBlob) -> Result<(), CompatError> {
        let (chunk, chunks, of) = (blob.chunk.clone(), blob.chunks, blob.number << 32);
        let resource_name = format!("uploads/limits/blobs/{}", blob.digest);
        let messages = (0..chunks).map(move |number| WriteRequest {
            resource_name: if number == 0 { resource_name.clone() } else { String::new() },
            write_offset: (number * CHUNK_BYTES as u64).cast_signed(),
            finish_write: number + 1 == chunks,
            data: numbered(&chunk, of | number),
        });
        let written = self.0.clone().write(stream::iter(messages)).await;
        written.map(drop).map_err(CompatError::call("Write"))
    }

    /// Downloads a blob and holds it against its digest.
    pub(super) async fn read_verified(&self, digest: &str) -> Result<(), CompatError> {
        let request =
            ReadRequest { resource_name: format!("blobs/{digest}"), ..ReadRequest::default() };
        let parts = self.0.clone().read(request).await.map_err(CompatError::call("Read"))?;
        let (mut parts, mut hasher, mut size_bytes) = (parts.into_inner(), Sha256::new(), 0);
        while let Some(part) = parts.message().await.map_err(CompatError::call("Read"))? {
            hasher.update(&part.data);
            size_bytes += part.data.len();
        }
        let actual = format!("{}/{size_bytes}", faster_hex::hex_string(&hasher.finalize()));
        if actual == digest {
            return Ok(());
        }
        let wrong = format!("blob {digest} came back as {actual}");
        Err(CompatError::call("Read")(wrong))
    }
}

/// `PUT`s a zstd body under a blob's name; the status line.
pub(super) fn put_over_http(
    address: SocketAddr,
    digest: &str,
    frame: &[u8],
) -> Result<String, CompatError> {
    let exchange = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let hash = digest.split('/').next().unwrap_or_default();
        let length = frame.len();
        write!(
            stream,
            "PUT /cas/{hash} HTTP/1.1\r\nhost: larder\r\nconnection: close\r\n\
             content-encoding: zstd\r\ncontent-length: {length}\r\n\r\n"
        )?;
        stream.write_all(frame)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let answer = exchange().map_err(CompatError::call("PUT"))?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
