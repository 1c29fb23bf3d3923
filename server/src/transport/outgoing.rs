//! [`Outgoing`]: the bytes of answers that are on their way through a connection's protocol to its socket.
//!
//! A protocol hands the socket slices, and whoever gathers slices must copy them. Here each body leaves the pieces that it hands the
//! protocol; a slice that lies within such a piece, while the protocol has it, is a part of it and can be kept without a copy.
//!
//! Bounds: places of [`PIECES_MAX`] pieces. The pieces themselves are the protocol's alone: here they are known by weak references, so
//! that nothing stays in memory for having been sent, and memory that became somebody else's is not taken for a piece.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Weak};
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
pub(super) struct Outgoing(Arc<Mutex<VecDeque<Place>>>);

/// Where a piece lies, and the piece while the protocol has it.
#[derive(Debug)]
struct Place {
    addresses: Range<usize>,
    piece: Weak<Bytes>,
}

/// A piece as the protocol has it.
struct Lent(Arc<Bytes>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Outgoing {
    /// Notes a piece; returns it as the protocol is to have it.
    fn lend(&self, piece: Bytes) -> Bytes {
        let mut places = self.0.lock();
        if places.len() >= PIECES_MAX {
            return piece;
        }
        let piece = Arc::new(piece);
        places.push_back(Place { addresses: addresses(&piece), piece: Arc::downgrade(&piece) });
        Bytes::from_owner(Lent(piece))
    }

    /// The slice itself, if it is a part of a piece.
    pub(super) fn find(&self, slice: &[u8]) -> Option<Bytes> {
        if slice.is_empty() {
            return None;
        }
        let mut places = self.0.lock();
        let wanted = addresses(slice);
        let holding = |place: &Place| {
            let holds = place.addresses.start <= wanted.start && wanted.end <= place.addresses.end;
            if holds { place.piece.upgrade() } else { None }
        };
        let (index, piece) = places.iter().map(holding).enumerate().find(|(_, it)| it.is_some())?;
        if wanted.end == places[index].addresses.end {
            places.remove(index);
        }
        piece.map(|piece| piece.slice_ref(slice))
    }

    /// Forgets what the protocol no longer has.
    pub(super) fn sweep(&self) {
        self.0.lock().retain(|place| place.piece.strong_count() > 0);
    }
}

fn addresses(bytes: &[u8]) -> Range<usize> {
    let Range { start, end } = bytes.as_ptr_range();
    start.addr()..end.addr()
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
        let lend =
            |data: Bytes| if data.len() < NOTED_BYTES { data } else { this.outgoing.lend(data) };
        let frame = ready!(this.inner.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(lend))))
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
            let found = outgoing.find(&piece[part.clone()]).expect("it is a part");
            assert_eq!(found.as_ptr_range(), whole[part].as_ptr_range());
        }
        assert_eq!(outgoing.find(&[7; 100]), None, "the same bytes elsewhere");
        assert_eq!(outgoing.find(&[]), None);
        let last = outgoing.find(&piece[2 * NOTED_BYTES..]).expect("it is a part");
        assert_eq!(last.len(), NOTED_BYTES);
        assert_eq!(held(&outgoing), 0, "all of it has passed");
    }

    #[tokio::test]
    async fn what_is_not_sent_any_more_is_not_kept_whoever_else_has_it() {
        let outgoing = Outgoing::default();
        for length in [NOTED_BYTES - 1, NOTED_BYTES] {
            let hot = Bytes::from(vec![7; length]);
            let mut pieces = Vec::new();
            for _ in 0..2 {
                let mut body = Noted::new(Full::new(hot.clone()), outgoing.clone());
                pieces.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            outgoing.sweep();
            assert_eq!(held(&outgoing), if length < NOTED_BYTES { 0 } else { 2 }, "{length}");
            // Of one its last byte, which is too little to be looked for, of the other nothing at all.
            outgoing.find(&pieces[0][..length - 1]);
            drop(pieces);
            assert_eq!(outgoing.find(&hot[..1]), None, "the protocol has it no more");
            outgoing.sweep();
            assert_eq!(held(&outgoing), 0, "{length}");
            assert!(hot.is_unique(), "{length}");
        }
    }
}
