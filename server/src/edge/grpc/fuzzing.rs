//! The parsers of gRPC's framing, for [`crate::fuzzing`].

use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Code, Status};

use super::framing::{MessageTracker, first_message};
use super::write_parts::WriteParts;

/// A gRPC body, cut as its first byte says: what its beginning tells stays told, and however it is cut, the longest message
/// is found, and an upload's messages say the same.
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
}

/// The names and the data of an upload's messages, whether it ends, and what is wrong with it.
fn upload(body: &[u8], chunk_bytes: usize) -> (String, Vec<u8>, bool, Option<Code>) {
    let chunks: Vec<_> = body.chunks(chunk_bytes).map(Bytes::copy_from_slice).collect();
    let frames = chunks.into_iter().map(|chunk| Ok::<_, Status>(Frame::data(chunk)));
    let mut parts = WriteParts::of(StreamBody::new(stream::iter(frames)));
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
