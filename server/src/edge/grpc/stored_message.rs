//! [`StoredMessage`]: the answer to a call whose message is stored as it goes to the wire, and need not be encoded again.
//!
//! As with reads (`read_body.rs`), the service answers with an empty message and a [`StoredMessage`] among the extensions, and
//! [`with_stored`] exchanges the bodies. Source: gRPC's `PROTOCOL-HTTP2.md`.

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::body::Body;

use super::framing::{PREFIX_BYTES, put_prefix};
use super::read_body::{COPIED_BYTES, ok_trailers};

/// An encoded message that is to be the whole answer.
#[derive(Clone)]
pub(super) struct StoredMessage(pub(super) Bytes);

/// Gives an answer the body that it is to have.
pub(super) fn with_stored(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<StoredMessage>() {
        Some(StoredMessage(message)) => response.map(|_empty| body_of(message)),
        None => response,
    }
}

/// The answer to a call that is served without a codec.
pub(super) fn answer_of(message: Bytes) -> Response<Body> {
    let mut response = Response::new(body_of(message));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn body_of(message: Bytes) -> Body {
    let is_copied = message.len() <= COPIED_BYTES;
    let room_bytes = PREFIX_BYTES + if is_copied { message.len() } else { 0 };
    let mut head = BytesMut::with_capacity(room_bytes);
    put_prefix(&mut head, message.len());
    let rest = if is_copied {
        head.put_slice(&message);
        None
    } else {
        Some(message)
    };
    let data = [Some(head.freeze()), rest].into_iter().flatten().map(|it| Ok(Frame::data(it)));
    let end = ok_trailers().map(Frame::trailers);
    Body::new(StreamBody::new(stream::iter(data.chain([end]))))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn check(length: usize) {
        let message = Bytes::from(vec![7; length]);
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(StoredMessage(message.clone()));
        let body = with_stored(response).into_body().collect().await.expect("no error");
        assert_eq!(body.trailers().expect("trailers")["grpc-status"], "0");
        let mut expect = BytesMut::from(&[0][..]);
        expect.put_u32(u32::try_from(length).expect("small"));
        expect.put_slice(&message);
        assert!(body.to_bytes() == expect, "{length}");
    }

    #[tokio::test]
    async fn the_message_goes_out_as_it_is_stored() {
        check(0).await;
        check(1).await;
        check(COPIED_BYTES).await;
        check(COPIED_BYTES + 1).await;
    }

    #[tokio::test]
    async fn other_answers_stay_as_they_are() {
        let body = with_stored(Response::new(Body::new("as it was".to_owned()))).into_body();
        assert_eq!(body.collect().await.expect("no error").to_bytes(), "as it was");
    }
}
