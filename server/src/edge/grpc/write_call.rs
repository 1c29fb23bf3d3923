//! `ByteStream.Write` without a codec: its messages are taken apart as they arrive ([`WriteParts`]), and the answer is one message.

use std::future::ready;
use std::sync::Arc;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Request, Response};
use bytes::BytesMut;
use http_body_util::{BodyExt, Full};
use larder_protos::bytestream::WriteResponse;
use prost::Message;
use tonic::Status;
use tonic::body::Body;

use super::admission::{AdmittedBody, hold_among};
use super::framing::{PREFIX_BYTES, put_prefix};
use super::read_body::trailers;
use super::upload;
use super::write_parts::WriteParts;
use crate::edge::service::Shared;
use crate::report::Notes;

/// Its path.
pub(super) const PATH: &str = "/google.bytestream.ByteStream/Write";

/// Whether a call can be served without a codec. One whose messages are compressed as gRPC can is left to tonic, which refuses it.
pub(super) fn is_plain<B>(request: &Request<B>) -> bool {
    request.headers().get("grpc-encoding").is_none_or(|it| it == "identity")
}

/// Receives the upload.
pub(super) async fn call(shared: &Arc<Shared>, request: Request<AdmittedBody>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let hold = hold_among(&head.extensions);
    let tool = head.extensions.get().copied().unwrap_or_default();
    let notes = Notes::of(&head.extensions);
    match upload::receive(shared, &hold, tool, &notes, WriteParts::of(body)).await {
        Ok(committed_size) => {
            // The answer takes nothing, and its client may go on sending.
            hold.discard_rest();
            answer(&WriteResponse { committed_size })
        }
        Err(status) => status.into_http(),
    }
}

/// One message, and that all went well.
pub(super) fn answer(message: &impl Message) -> Response<Body> {
    let message_bytes = message.encoded_len();
    let mut encoded = BytesMut::with_capacity(PREFIX_BYTES + message_bytes);
    put_prefix(&mut encoded, message_bytes);
    message.encode(&mut encoded).expect("the buffer grows");
    let ended = ready(Some(trailers(&Status::ok(""))));
    let body = Full::new(encoded.freeze()).map_err(|never| match never {});
    let mut response = Response::new(Body::new(body.with_trailers(ended)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
