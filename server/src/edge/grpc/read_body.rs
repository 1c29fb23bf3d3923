//! [`ReadBody`]: the answer to a `ByteStream.Read`, as it goes to the socket: in front of each message a few bytes of our own,
//! then the blob's bytes where they lie, not copied.
//!
//! tonic encodes every message into a buffer of its own, which for a large blob costs as much as sending it. So the service
//! answers with an empty stream and a [`Download`] among the extensions, and [`with_download`] exchanges the bodies.
//! Source: gRPC's `PROTOCOL-HTTP2.md`; `ReadResponse` has one field, `bytes data = 10`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::{HeaderMap, Response};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use larder_cas::{Payload, PayloadStream};
use parking_lot::Mutex;
use tonic::Status;
use tonic::body::Body;

use super::framing::{DATA_TAG, PREFIX_BYTES, put_prefix};
use crate::edge::limits::MAX_READ_CHUNK_BYTES;
use crate::edge::status::grpc_status;

/// The prefix, the field's tag, and a length of up to 28 bits.
const HEAD_BYTES: usize = PREFIX_BYTES + 1 + 4;
/// Up to here a copy costs less than a DATA frame of its own.
pub(super) const COPIED_BYTES: usize = 8 * 1024;

/// What an answer is to send. Extensions must be cloneable; the first who takes it has it.
#[derive(Clone)]
pub(super) struct Download(Arc<Mutex<Option<Payload>>>);

impl Download {
    /// Of these bytes, encoded as they are.
    pub(super) fn new(payload: Payload) -> Self {
        Self(Arc::new(Mutex::new(Some(payload))))
    }
}

/// Gives an answer the body that it is to have.
pub(super) fn with_download(mut response: Response<Body>) -> Response<Body> {
    let download = response.extensions_mut().remove::<Download>();
    match download.and_then(|download| download.0.lock().take()) {
        Some(payload) => response.map(|_empty| Body::new(ReadBody::new(payload))),
        None => response,
    }
}

/// The messages of a download, then the trailers.
struct ReadBody {
    /// Of the message whose head is sent.
    data: Bytes,
    /// Not in a message yet.
    chunk: Bytes,
    /// `None` once it has ended.
    rest: Option<PayloadStream>,
    ended: bool,
}

impl ReadBody {
    fn new(payload: Payload) -> Self {
        let (chunk, rest) = match payload.bytes() {
            Some(bytes) => (bytes.clone(), None),
            None => (Bytes::new(), Some(payload.into_stream())),
        };
        Self { data: Bytes::new(), chunk, rest, ended: false }
    }

    /// Begins the next message.
    fn begin_message(&mut self) -> Bytes {
        let data = self.chunk.split_to(self.chunk.len().min(MAX_READ_CHUNK_BYTES));
        let is_copied = data.len() <= COPIED_BYTES;
        let room_bytes = HEAD_BYTES + if is_copied { data.len() } else { 0 };
        let mut frame = BytesMut::with_capacity(room_bytes);
        put_head(&mut frame, data.len());
        if is_copied {
            frame.put_slice(&data);
        } else {
            self.data = data;
        }
        frame.freeze()
    }
}

/// What stands before so many bytes of data.
fn put_head(frame: &mut BytesMut, data_bytes: usize) {
    let message_bytes = 1 + prost::length_delimiter_len(data_bytes) + data_bytes;
    put_prefix(frame, message_bytes);
    frame.put_u8(DATA_TAG);
    prost::encode_length_delimiter(data_bytes, frame).expect("the buffer grows");
}

impl http_body::Body for ReadBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if !this.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.data)))));
        }
        loop {
            if !this.chunk.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(this.begin_message()))));
            }
            let status = match &mut this.rest {
                _ if this.ended => return Poll::Ready(None),
                None => Status::ok(""),
                Some(rest) => match ready!(rest.as_mut().poll_next(cx)) {
                    Some(Ok(chunk)) => {
                        this.chunk = chunk;
                        continue;
                    }
                    Some(Err(error)) => grpc_status(error),
                    None => Status::ok(""),
                },
            };
            this.rest = None;
            this.ended = true;
            return Poll::Ready(Some(trailers(&status).map(Frame::trailers)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// What an answer ends in where nothing went wrong.
pub(super) fn ok_trailers() -> Result<HeaderMap, Status> {
    trailers(&Status::ok(""))
}

/// What an answer ends in.
pub(super) fn trailers(status: &Status) -> Result<HeaderMap, Status> {
    let mut trailers = HeaderMap::with_capacity(2);
    status.add_header(&mut trailers)?;
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use larder_protos::bytestream::ReadResponse;
    use prost::Message as _;

    use super::*;

    /// A body over these chunks; its frames are what tonic would have sent, and hold at most one message each.
    async fn check(lengths: &[usize]) {
        let chunks: Vec<_> = lengths.iter().map(|length| Bytes::from(vec![5; *length])).collect();
        let mut body = ReadBody {
            data: Bytes::new(),
            chunk: Bytes::new(),
            rest: Some(stream::iter(chunks.clone()).map(Ok).boxed()),
            ended: false,
        };
        let mut expect = BytesMut::new();
        for chunk in &chunks {
            for data in chunk.chunks(MAX_READ_CHUNK_BYTES) {
                let message = ReadResponse { data: Bytes::copy_from_slice(data) };
                expect.put_u8(0);
                expect.put_u32(u32::try_from(message.encoded_len()).unwrap());
                message.encode(&mut expect).unwrap();
            }
        }
        let mut sent = BytesMut::new();
        let mut statuses = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(data) => {
                    assert!(!data.is_empty(), "{lengths:?}");
                    sent.extend_from_slice(&data);
                }
                Err(frame) => statuses.push(frame.into_trailers().unwrap()["grpc-status"].clone()),
            }
        }
        assert!(sent == expect, "{lengths:?}: {} bytes, expected {}", sent.len(), expect.len());
        assert_eq!(statuses, ["0"]);
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn messages_are_what_the_encoder_would_make() {
        check(&[]).await;
        for length in [1, 127, 128, COPIED_BYTES, COPIED_BYTES + 1, 16_383, 16_384, 2_097_151] {
            check(&[length]).await;
        }
        check(&[MAX_READ_CHUNK_BYTES, 3 * MAX_READ_CHUNK_BYTES + 1, 7]).await;
    }

    #[tokio::test]
    async fn bytes_in_memory_are_sent_as_they_lie() {
        let bytes = Bytes::from(vec![9; COPIED_BYTES + 1]);
        let mut body =
            ReadBody { data: Bytes::new(), chunk: bytes.clone(), rest: None, ended: false };
        let head = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(head.len() <= HEAD_BYTES);
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data.as_ptr(), bytes.as_ptr());
    }
}
