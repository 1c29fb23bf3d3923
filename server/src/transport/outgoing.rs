//! [`Outgoing`]: the bytes of answers that are on their way through a connection's protocol to its socket.
//!
//! A protocol hands the socket slices, and whoever gathers slices must copy them. Here each body leaves the pieces that it hands the
//! protocol; a slice that lies within such a piece is a part of it, since the memory of what is kept here is nobody else's meanwhile,
//! and can be kept without a copy.
//!
//! Bounds: the pieces that the protocol holds itself, and at most [`PIECES_MAX`]. One that passed whole, or that nobody else has any
//! more since its request was cancelled, goes.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use pin_project_lite::pin_project;

/// Smaller pieces cost less to copy than to look up.
const NOTED_BYTES: usize = 16 << 10;
/// More than the streams of a connection usually have waiting; what finds no place is copied.
const PIECES_MAX: usize = 256;

/// What a connection's bodies have handed out lately. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing(Arc<Mutex<VecDeque<Bytes>>>);

impl Outgoing {
    fn note(&self, piece: &Bytes) {
        let mut pieces = self.0.lock();
        if pieces.len() < PIECES_MAX {
            pieces.push_back(piece.clone());
        }
    }

    /// The slice itself, if it is a part of a piece.
    pub(super) fn find(&self, slice: &IoSlice<'_>) -> Option<Bytes> {
        if slice.is_empty() {
            return None;
        }
        let mut pieces = self.0.lock();
        let wanted = slice.as_ptr_range();
        let holds = |piece: &Bytes| {
            let whole = piece.as_ptr_range();
            whole.start <= wanted.start && wanted.end <= whole.end
        };
        let index = pieces.iter().position(holds)?;
        let part = pieces[index].slice_ref(slice);
        if wanted.end == pieces[index].as_ptr_range().end {
            pieces.remove(index);
        }
        Some(part)
    }

    /// Lets go what nobody else has.
    pub(super) fn sweep(&self) {
        self.0.lock().retain(|piece| !piece.is_unique());
    }
}

pin_project! {
    /// A body whose pieces are noted as they are handed out.
    #[derive(Debug)]
    pub(super) struct Noted<B> {
        #[pin]
        inner: B,
        outgoing: Outgoing,
    }
}

impl<B> Noted<B> {
    pub(super) fn new(inner: B, outgoing: Outgoing) -> Self {
        Self { inner, outgoing }
    }
}

impl<B: Body<Data = Bytes>> Body for Noted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && data.len() >= NOTED_BYTES
        {
            this.outgoing.note(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    fn held(outgoing: &Outgoing) -> usize {
        outgoing.0.lock().len()
    }

    #[tokio::test]
    async fn a_slice_of_what_a_body_handed_out_is_found_where_it_lies() {
        let outgoing = Outgoing::default();
        let whole = Bytes::from(vec![7; 3 * NOTED_BYTES]);
        let mut body = Noted::new(Full::new(whole.clone()), outgoing.clone());
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        for part in [0..100, 100..2 * NOTED_BYTES] {
            let found = outgoing.find(&IoSlice::new(&piece[part.clone()])).expect("it is a part");
            assert_eq!(found.as_ptr_range(), whole[part].as_ptr_range());
        }
        assert_eq!(outgoing.find(&IoSlice::new(&[7; 100])), None, "the same bytes elsewhere");
        assert_eq!(outgoing.find(&IoSlice::new(&[])), None);
        let last = outgoing.find(&IoSlice::new(&piece[2 * NOTED_BYTES..])).expect("it is a part");
        assert_eq!(last.len(), NOTED_BYTES);
        assert_eq!(held(&outgoing), 0, "all of it has passed");
    }

    #[tokio::test]
    async fn what_nobody_sends_any_more_is_let_go() {
        let outgoing = Outgoing::default();
        for length in [NOTED_BYTES - 1, NOTED_BYTES] {
            let whole = Bytes::from(vec![7; length]);
            let mut body = Noted::new(Full::new(whole), outgoing.clone());
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            outgoing.sweep();
            assert_eq!(held(&outgoing), usize::from(length == NOTED_BYTES), "{length}");
            drop(piece);
        }
        outgoing.sweep();
        assert_eq!(held(&outgoing), 0);
    }
}
