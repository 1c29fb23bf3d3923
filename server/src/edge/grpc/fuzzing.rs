//! The parsers of gRPC's framing, for [`crate::fuzzing`].

use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt, stream};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use larder_protos::bounded;
use larder_protos::hot::BatchUpdateBlobsRequest;
use tonic::{Code, Status};

use super::frames::Frames;
use super::framing::{MessageTracker, first_message};
use super::update_batch;
use super::write_parts::WriteParts;

/// A gRPC body, cut as its first byte says: what its beginning tells stays told, and however it is cut, the longest message
/// is found, and an upload's messages and a batch of blobs say the same, of which the batch says what prost reads.
pub fn grpc_body(data: &[u8]) {
    let Some((cut, body)) = data.split_first() else { return };
    if let Some(first) = first_message(body) {
        let told = (0..body.len()).find_map(|end| first_message(&body[..end])).unwrap_or(first);
        assert_eq!(told.length_bytes, first.length_bytes, "the length does not change");
    }
    let longest = |chunk_bytes: usize| {
        let mut tracker = MessageTracker::default();
        body.chunks(chunk_bytes).map(|chunk| tracker.pass(chunk)).max()
    };
    let whole = longest(body.len().max(1));
    assert_eq!(longest(usize::from(*cut) + 1), whole, "in chunks of {} B", usize::from(*cut) + 1);
    let cut_bytes = usize::from(*cut) + 1;
    assert_eq!(
        upload(body, cut_bytes),
        upload(body, body.len().max(1)),
        "in chunks of {cut_bytes} B"
    );
    let (cut, whole) = (message(body, cut_bytes), message(body, body.len().max(1)));
    let read = cut.and_then(update_batch::decode);
    let decoded = whole.and_then(|message| long_way(message.into_bytes()));
    assert_eq!(read.map_err(code), decoded.map_err(code), "in chunks of {cut_bytes} B");
}

fn frames_of(body: &[u8], chunk_bytes: usize) -> impl Body<Data = Bytes, Error = Status> + Unpin {
    let chunks: Vec<_> = body.chunks(chunk_bytes).map(Bytes::copy_from_slice).collect();
    StreamBody::new(stream::iter(chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)))))
}

fn message(body: &[u8], chunk_bytes: usize) -> Result<Frames, Status> {
    Frames::receive(frames_of(body, chunk_bytes)).now_or_never().expect("all is here")
}

fn long_way(message: Bytes) -> Result<BatchUpdateBlobsRequest, Status> {
    Ok(bounded::decode(message)?)
}

fn code(status: Status) -> Code {
    status.code()
}

/// The names and the data of an upload's messages, whether it ends, and what is wrong with it.
fn upload(body: &[u8], chunk_bytes: usize) -> (String, Vec<u8>, bool, Option<Code>) {
    let mut parts = WriteParts::of(frames_of(body, chunk_bytes));
    let (mut names, mut data, mut ends) = (String::new(), Vec::new(), false);
    loop {
        match parts.try_next().now_or_never().expect("all is here") {
            Ok(Some(part)) => {
                names += &part.resource_name;
                data.extend_from_slice(&part.data);
                ends |= part.finish_write;
            }
            Ok(None) => return (names, data, ends, None),
            Err(status) => return (names, data, ends, Some(status.code())),
        }
    }
}
