//! [`Frames`]: the one message of a call, as it lies in the frames that brought it.
//!
//! A codec gathers a message in a buffer of its own, and copies that whenever it grows. Here what is decoded is taken from the frames, and
//! only what lies across two of them is copied.
//! Errors: those of tonic, in its words. Source: gRPC's `PROTOCOL-HTTP2.md`.

use std::collections::VecDeque;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tonic::Status;

use super::framing::{PREFIX_BYTES, message_bytes};

/// Bytes in several pieces, none of them empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    pieces: VecDeque<Bytes>,
    remaining_bytes: usize,
}

impl Frames {
    /// Receives the only message of a call. What follows it is thrown away, as it comes.
    pub(super) async fn receive<B>(mut body: B) -> Result<Self, Status>
    where
        B: Body<Data = Bytes, Error = Status> + Unpin,
    {
        let mut frames = Self::default();
        let mut length_bytes = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let room_bytes = length_bytes.map_or(usize::MAX, |length| length - frames.remaining());
            frames.push(data.slice(..data.len().min(room_bytes)));
            if length_bytes.is_none() && frames.remaining() >= PREFIX_BYTES {
                let mut prefix = [0; PREFIX_BYTES];
                frames.copy_to_slice(&mut prefix);
                let length = message_bytes(prefix)?;
                frames.truncate(length);
                length_bytes = Some(length);
            }
        }
        match length_bytes {
            Some(length) if length == frames.remaining() => Ok(frames),
            None if !frames.has_remaining() => Err(Status::internal("Missing request message.")),
            _ => Err(Status::internal("Unexpected EOF decoding stream.")),
        }
    }

    /// All of it in one piece, which is a copy where it is in several.
    pub(super) fn into_bytes(mut self) -> Bytes {
        self.copy_to_bytes(self.remaining_bytes)
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.remaining_bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Of the frame that brought the prefix, which is the last.
    fn truncate(&mut self, length_bytes: usize) {
        let surplus_bytes = self.remaining_bytes.saturating_sub(length_bytes);
        if let Some(last) = self.pieces.back_mut() {
            last.truncate(last.len() - surplus_bytes);
            self.remaining_bytes -= surplus_bytes;
        }
        self.pieces.retain(|piece| !piece.is_empty());
    }
}

impl Buf for Frames {
    fn remaining(&self) -> usize {
        self.remaining_bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        self.remaining_bytes -= count;
        while count > 0 {
            let piece = self.pieces.front_mut().expect("the pieces have what remains");
            let taken = count.min(piece.len());
            piece.advance(taken);
            count -= taken;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        if let Some(piece) = self.pieces.front().filter(|piece| piece.len() >= count) {
            let taken = piece.slice(..count);
            self.advance(count);
            return taken;
        }
        let mut whole = BytesMut::with_capacity(count);
        whole.put(self.take(count));
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    /// Of a body in frames of this size.
    fn received(body: &[u8], frame_bytes: usize) -> Result<Frames, Code> {
        let frames = body.chunks(frame_bytes).map(Bytes::copy_from_slice);
        let frames: Vec<_> = frames.map(|data| Ok(Frame::data(data))).collect();
        let received = Frames::receive(StreamBody::new(stream::iter(frames))).now_or_never();
        received.expect("all has arrived").map_err(|status| status.code())
    }

    fn check(body: &[u8], expect: Result<&[u8], Code>) {
        for frame_bytes in 1..=body.len().max(1) {
            let got = received(body, frame_bytes).map(Frames::into_bytes);
            assert_eq!(got.as_deref().map_err(|code| *code), expect, "{body:?}, {frame_bytes} B");
        }
    }

    #[test]
    fn one_message_is_received_and_what_follows_is_not() {
        check(&[0, 0, 0, 0, 3, 1, 2, 3], Ok(&[1, 2, 3]));
        check(&[0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 1, 4], Ok(&[1, 2, 3]));
        check(&[0, 0, 0, 0, 0], Ok(&[]));
        check(&[0, 0, 0, 0, 0, 9, 9], Ok(&[]));
    }

    #[test]
    fn what_is_no_message_is_refused_in_tonics_codes() {
        check(&[], Err(Code::Internal));
        check(&[0, 0], Err(Code::Internal));
        check(&[0, 0, 0, 0, 3, 1, 2], Err(Code::Internal));
        check(&[1, 0, 0, 0, 1, 1], Err(Code::Internal));
        check(&[2, 0, 0, 0, 1, 1], Err(Code::Internal));
        check(&[0, 255, 0, 0, 1, 1], Err(Code::OutOfRange));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_what_came(
            body in prop::collection::vec(any::<u8>(), 1..200),
            frame_bytes in 1_usize..40,
            taken in prop::collection::vec((any::<bool>(), 0_usize..50), 0..20),
        ) {
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            let sent = [&[0], &length[..], &body].concat();
            let mut frames = received(&sent, frame_bytes).unwrap();
            let mut rest = &body[..];
            for (copies, count) in taken {
                let (expect, after) = rest.split_at(count.min(rest.len()));
                if copies {
                    prop_assert_eq!(&frames.copy_to_bytes(expect.len())[..], expect);
                } else {
                    frames.advance(expect.len());
                }
                rest = after;
                prop_assert_eq!(frames.remaining(), rest.len());
                prop_assert_eq!(frames.chunk().is_empty(), rest.is_empty());
            }
            prop_assert_eq!(&frames.into_bytes()[..], rest);
        }
    }
}
