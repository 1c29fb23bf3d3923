//! [`HeldBody`]: an answer that holds its part of the budget until it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::Response;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::body::Body;

use super::budget::Hold;
use super::stalls::Turn;

pin_project! {
    /// An answer on its way, and what it holds until it is sent. While nobody asks for more of it, its client has the turn.
    struct HeldBody {
        #[pin]
        inner: Body,
        turn: Turn,
    }
}

/// Keeps `hold` until the answer is sent, if it holds anything.
pub(crate) fn held(response: Response<Body>, hold: Arc<Hold>) -> Response<Body> {
    if hold.bytes() == 0 {
        return response;
    }
    let mut turn = Turn::of(hold);
    turn.pass_to_client();
    response.map(|inner| Body::new(HeldBody { inner, turn }))
}

impl http_body::Body for HeldBody {
    type Data = bytes::Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, tonic::Status>>> {
        let this = self.project();
        this.turn.pass_to_server();
        let frame = ready!(this.inner.poll_frame(cx));
        this.turn.pass_to_client();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
