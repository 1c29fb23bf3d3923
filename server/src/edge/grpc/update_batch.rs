//! `BatchUpdateBlobs` without a codec: its blobs are taken from the frames that brought them.
//!
//! Invariant: a request that is read blob by blob is what prost reads; a property test holds them against each other. What is unusual is
//! put together and decoded as any other message, so that its faults are told in the same words.

use std::sync::Arc;

use ::http::{Request, Response};
use bytes::{Buf as _, Bytes};
use larder_protos::bounded::{self, Bounded as _};
use larder_protos::hot::BatchUpdateBlobsRequest;
use larder_protos::hot::batch_update_blobs_request::Request as Blob;
use prost::Message as _;
use prost::encoding::decode_varint;
use tonic::Status;
use tonic::body::Body;

use super::admission::{AdmittedBody, hold_among};
use super::batch;
use super::frames::Frames;
use super::write_call::answer;
use crate::edge::service::Shared;
use crate::report::Notes;

/// Its path.
pub(super) const PATH: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs";

const INSTANCE_NAME_TAG: u8 = (1 << 3) | 2;
const REQUESTS_TAG: u8 = (2 << 3) | 2;
const DIGEST_FUNCTION_TAG: u8 = 5 << 3;

/// Answers one call.
pub(super) async fn call(shared: &Arc<Shared>, request: Request<AdmittedBody>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let hold = hold_among(&head.extensions);
    let stored = async {
        let request = decode(Frames::receive(body).await?)?;
        Notes::of(&head.extensions).instance(&request.instance_name);
        batch::update(shared, &hold, request).await
    };
    stored.await.map_or_else(Status::into_http, |message| answer(&message))
}

/// Blob by blob, or the long way.
pub(super) fn decode(frames: Frames) -> Result<BatchUpdateBlobsRequest, Status> {
    if let Some(request) = read(frames.clone()) {
        return Ok(request);
    }
    Ok(bounded::decode(frames.into_bytes())?)
}

/// Reads what encoders write; `None` where anything is unusual, or there are more blobs than may be.
fn read(mut frames: Frames) -> Option<BatchUpdateBlobsRequest> {
    let most = BatchUpdateBlobsRequest::LIMIT.of(frames.remaining());
    let mut request = BatchUpdateBlobsRequest::default();
    while frames.has_remaining() {
        match frames.get_u8() {
            INSTANCE_NAME_TAG => {
                request.instance_name = String::from_utf8(field(&mut frames)?.into()).ok()?;
            }
            REQUESTS_TAG if request.requests.len() < most => {
                request.requests.push(Blob::decode(field(&mut frames)?).ok()?);
            }
            DIGEST_FUNCTION_TAG => {
                request.digest_function = i32::try_from(decode_varint(&mut frames).ok()?).ok()?;
            }
            _ => return None,
        }
    }
    Some(request)
}

/// A field with a length.
fn field(frames: &mut Frames) -> Option<Bytes> {
    let length = usize::try_from(decode_varint(frames).ok()?).ok()?;
    (length <= frames.remaining()).then(|| frames.copy_to_bytes(length))
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use larder_protos::reapi::Digest;
    use proptest::prelude::*;

    use super::*;

    /// Of a body in frames of this size.
    fn received(encoded: &[u8], frame_bytes: usize) -> Frames {
        let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
        let body = [&[0], &length[..], encoded].concat();
        let frames = body.chunks(frame_bytes).map(Bytes::copy_from_slice);
        let frames: Vec<_> = frames.map(|data| Ok(Frame::data(data))).collect();
        let received = Frames::receive(StreamBody::new(stream::iter(frames))).now_or_never();
        received.expect("all has arrived").expect("a message")
    }

    fn check(encoded: &[u8], frame_bytes: usize) -> Option<BatchUpdateBlobsRequest> {
        let read = read(received(encoded, frame_bytes));
        if let Some(read) = &read {
            let decoded = bounded::decode(Bytes::copy_from_slice(encoded));
            assert_eq!(decoded.as_ref(), Ok(read), "{encoded:?}");
        }
        read
    }

    fn request(blobs: &[(String, i64, Vec<u8>, i32)]) -> BatchUpdateBlobsRequest {
        let blob = |(hash, size_bytes, data, compressor): &(String, i64, Vec<u8>, i32)| Blob {
            digest: Some(Digest { hash: hash.clone(), size_bytes: *size_bytes }),
            data: data.clone().into(),
            compressor: *compressor,
        };
        BatchUpdateBlobsRequest {
            instance_name: "a/b".to_owned(),
            requests: blobs.iter().map(blob).collect(),
            digest_function: 1,
        }
    }

    #[test]
    fn as_many_blobs_are_read_as_may_be() {
        let limit = BatchUpdateBlobsRequest::LIMIT.of(0);
        let blobs = |count: usize| [REQUESTS_TAG, 0].repeat(count);
        for few in [0, 1, limit] {
            let read = check(&blobs(few), 100).expect("not too many");
            assert_eq!(read.requests.len(), few);
        }
        let many = blobs(2 * limit);
        assert_eq!(check(&many, 100), None);
        assert!(bounded::decode::<BatchUpdateBlobsRequest>(many.into()).is_err());
    }

    proptest! {
        /// Whatever encoders write is read, and all that is read is what prost reads, however it is cut and changed.
        #[test]
        fn what_is_read_is_what_prost_reads(
            blobs in prop::collection::vec(("[0-9a-f]{0,8}", any::<i64>(), prop::collection::vec(any::<u8>(), 0..40), 0..4), 0..8),
            frame_bytes in 1_usize..60,
            change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            end in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let request = request(&blobs);
            let mut encoded = request.encode_to_vec();
            prop_assert_eq!(check(&encoded, frame_bytes), Some(request));
            if let Some((index, byte)) = change {
                let index = index.index(encoded.len());
                encoded[index] = byte;
            }
            if let Some(end) = end {
                encoded.truncate(end.index(encoded.len() + 1));
            }
            check(&encoded, frame_bytes);
        }
    }
}
