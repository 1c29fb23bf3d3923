//! [`Session`]: one gRPC connection, and the calls that are under way on it when the signal comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{ReadRequest, WriteRequest};
use futures_util::stream::{self, StreamExt as _};
use reapi::batch_update_blobs_request::Request as BatchItem;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::blob::Blob;
use crate::error::CompatError;

const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 64;
/// An upload takes two seconds and a half.
const PACE: Duration = Duration::from_millis(40);
const BATCH_BLOBS: u64 = 8;
const BATCH_BLOB_BYTES: usize = 100_000;
/// More than the windows of HTTP/2 hold, so that the server has some of it left to send.
pub(super) const READ_BYTES: usize = 16 << 20;

pub(super) const UPLOAD: &str = "ByteStream.Write";
pub(super) const READ: &str = "ByteStream.Read";
pub(super) const GET: &str = "GET";
const BATCH: &str = "BatchUpdateBlobs";

/// How a client tells that a connection takes no more calls: GOAWAY, or no connection.
const REFUSED: [Code; 3] = [Code::Unavailable, Code::Cancelled, Code::Unknown];

/// What tonic says, under INTERNAL, of a call whose stream a GOAWAY that goes with no error has left out.
const LEFT_OUT: &str = "NO_ERROR, Remote";

/// What has been sent.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pieces: AtomicU64,
    batches: AtomicU64,
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) what: &'static str,
    pub(super) begun: Instant,
    ended: Instant,
    pub(super) code: Code,
    /// What the client says where it went wrong.
    said: String,
}

/// One gRPC connection. Cloning shares it.
#[derive(Clone)]
pub(super) struct Session {
    channel: Channel,
    number: u64,
    progress: Arc<Progress>,
}

impl Progress {
    pub(super) fn is_enough(&self, pieces: u64, batches: u64) -> bool {
        self.pieces.load(Ordering::Relaxed) >= pieces
            && self.batches.load(Ordering::Relaxed) >= batches
    }
}

impl Outcome {
    fn of(what: &'static str, begun: Instant, result: Result<(), Status>) -> Self {
        let ended = Instant::now();
        let (code, said) = match result {
            Ok(()) => (Code::Ok, String::new()),
            Err(status) => (status.code(), format!("{status:?}")),
        };
        Self { what, begun, ended, code, said }
    }

    /// Whether the server has not taken it.
    pub(super) fn is_refused(&self) -> bool {
        REFUSED.contains(&self.code) || self.code == Code::Internal && self.said.contains(LEFT_OUT)
    }

    /// Whether it was in progress at that moment.
    pub(super) fn spans(&self, at: Instant) -> bool {
        self.begun < at && self.ended > at
    }
}

impl Session {
    pub(super) async fn open(
        address: SocketAddr,
        number: u64,
        progress: &Arc<Progress>,
    ) -> Result<Self, CompatError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map_err(CompatError::call("connect"))?.tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(CompatError::call("connect"))?;
        Ok(Self { channel, number, progress: Arc::clone(progress) })
    }

    /// In pieces with pauses between.
    pub(super) async fn upload(self, number: u64) -> Vec<Outcome> {
        let blob = upload_blob(self.number, number);
        let name = format!("drain/uploads/{}-{number}/blobs/{}", self.number, blob.digest());
        let count = blob.bytes.len().div_ceil(PIECE_BYTES);
        let progress = Arc::clone(&self.progress);
        let pieces = stream::iter(0..count).then(move |piece| {
            let at = piece * PIECE_BYTES;
            let data = blob.bytes[at..blob.bytes.len().min(at + PIECE_BYTES)].to_vec();
            let message = WriteRequest {
                resource_name: if piece == 0 { name.clone() } else { String::new() },
                write_offset: i64::try_from(at).expect("a small blob"),
                finish_write: piece + 1 == count,
                data,
            };
            let progress = Arc::clone(&progress);
            async move {
                sleep(PACE).await;
                progress.pieces.fetch_add(1, Ordering::Relaxed);
                message
            }
        });
        let begun = Instant::now();
        let written = ByteStreamClient::new(self.channel).write(pieces).await;
        let size = i64::try_from(PIECES * PIECE_BYTES).expect("a small blob");
        let written = written.and_then(|answer| match answer.into_inner().committed_size {
            committed if committed == size => Ok(()),
            committed => Err(Status::data_loss(format!("committed_size {committed}"))),
        });
        vec![Outcome::of(UPLOAD, begun, written)]
    }

    /// One after the other, until one is refused.
    pub(super) async fn batches(self) -> Vec<Outcome> {
        let mut client = ContentAddressableStorageClient::new(self.channel.clone());
        let mut outcomes = Vec::new();
        for round in 0_u64.. {
            let items = (0..BATCH_BLOBS).map(|item| {
                let seed = 1_000_000 * (self.number + 1) + 100 * round + item;
                let blob = Blob::noise(BATCH_BLOB_BYTES, seed);
                let size_bytes = i64::try_from(blob.bytes.len()).expect("a small blob");
                let digest = reapi::Digest { hash: blob.hash, size_bytes };
                BatchItem { digest: Some(digest), data: blob.bytes, ..BatchItem::default() }
            });
            let request = reapi::BatchUpdateBlobsRequest {
                instance_name: "drain".to_owned(),
                requests: items.collect(),
                ..reapi::BatchUpdateBlobsRequest::default()
            };
            let begun = Instant::now();
            let answer = client.batch_update_blobs(request).await.and_then(|answer| {
                let mut parts = answer.into_inner().responses.into_iter();
                match parts.find_map(|part| part.status.filter(|status| status.code != 0)) {
                    None => Ok(()),
                    Some(status) => Err(Status::new(status.code.into(), status.message)),
                }
            });
            self.progress.batches.fetch_add(1, Ordering::Relaxed);
            outcomes.push(Outcome::of(BATCH, begun, answer));
            if outcomes.last().is_some_and(|outcome| outcome.code != Code::Ok) {
                break;
            }
        }
        outcomes
    }

    /// With pauses between what is read, so that the server waits for this client.
    pub(super) async fn read_slowly(self, digest: String) -> Vec<Outcome> {
        let begun = Instant::now();
        let read = async {
            let resource_name = format!("drain/blobs/{digest}");
            let request = ReadRequest { resource_name, ..ReadRequest::default() };
            let mut parts = ByteStreamClient::new(self.channel).read(request).await?.into_inner();
            let mut bytes = Vec::new();
            while let Some(part) = parts.message().await? {
                bytes.extend_from_slice(&part.data);
                sleep(PACE).await;
            }
            match Blob::of(bytes).digest() {
                read if read == digest => Ok(()),
                read => Err(Status::data_loss(format!("read {read}"))),
            }
        };
        let read = read.await;
        vec![Outcome::of(READ, begun, read)]
    }
}

/// The same over HTTP.
pub(super) async fn get_slowly(address: SocketAddr, path: String, hash: String) -> Vec<Outcome> {
    let begun = Instant::now();
    let get = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: larder\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let (mut answer, mut part) = (Vec::new(), vec![0; 4 * PIECE_BYTES]);
        loop {
            let count = stream.read(&mut part).await?;
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&part[..count]);
            sleep(PACE / 4).await;
        }
        Ok::<_, std::io::Error>(answer)
    };
    let result = match get.await {
        Ok(answer) => {
            let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let body = head.and_then(|end| answer.get(end + 4..)).unwrap_or_default();
            let is_whole = Blob::of(body).hash == hash;
            if is_whole { Ok(()) } else { Err(Status::data_loss(format!("{} B", answer.len()))) }
        }
        Err(error) => Err(Status::unavailable(error.to_string())),
    };
    vec![Outcome::of(GET, begun, result)]
}

/// What an upload carries.
pub(super) fn upload_blob(session: u64, number: u64) -> Blob {
    Blob::noise(PIECES * PIECE_BYTES, 100 * session + number + 1)
}
