//! [`HeldBody`]: an answer that holds its part of the budget until it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::Response;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::body::Body;

use super::budget::Hold;

pin_project! {
    /// An answer on its way, and what it holds until it is sent.
    struct HeldBody {
        #[pin]
        inner: Body,
        hold: Arc<Hold>,
    }
}

/// Keeps `hold` until the answer is sent, if it holds anything.
pub(crate) fn held(response: Response<Body>, hold: Arc<Hold>) -> Response<Body> {
    if hold.bytes() == 0 {
        return response;
    }
    response.map(|inner| Body::new(HeldBody { inner, hold }))
}

impl http_body::Body for HeldBody {
    type Data = bytes::Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, tonic::Status>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
