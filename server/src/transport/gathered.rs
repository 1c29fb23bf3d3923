//! [`Gathered`]: a connection whose small writes leave as few large ones.
//!
//! h2 writes one frame at a time and flushes after each, which is a system call for every 16 KiB of a large answer and for every
//! small one. Here a write goes to a queue, and a flush does nothing: whoever polls the connection's protocol empties the queue
//! when the poll is over and nothing more will be added ([`Outlet::poll_drain`]), and [`AsyncWrite::poll_shutdown`] does.
//! What is a part of a body's bytes stays where it lies (`outgoing.rs`), all else is copied.
//!
//! Bounds: at most [`CAPACITY_BYTES`] copied and [`SHARED_MAX`] slices a connection, with the pieces of bodies that those are parts of,
//! and nothing once they are written. Large writes pass without a copy.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::Outgoing;

/// What is copied before it is written.
const CAPACITY_BYTES: usize = 256 << 10;
/// For a few small answers; most connections never need more.
const SMALL_BYTES: usize = 16 << 10;
/// A copy of more costs more than the system call that it saves.
const PASSED_BYTES: usize = 64 << 10;
/// A copy of less costs less than finding out whose it is.
const FOUND_BYTES: usize = 4 << 10;
/// Slices that are not copied: frames of 16 KiB make 512 KiB.
const SHARED_MAX: usize = 32;

// A write that is gathered finds no more slices than there is room for.
const _: () = assert!(PASSED_BYTES / FOUND_BYTES <= SHARED_MAX);

/// The end that the protocol reads and writes.
#[derive(Debug)]
pub(super) struct Gathered<I>(Arc<Mutex<Gathering<I>>>);

/// The end that empties the buffer.
#[derive(Debug)]
pub(super) struct Outlet<I>(Arc<Mutex<Gathering<I>>>);

/// Locked for one call of a poll function, by the one task that has both ends.
#[derive(Debug)]
struct Gathering<I> {
    io: I,
    outgoing: Outgoing,
    copied: Vec<u8>,
    /// How much of `copied` is written.
    written_bytes: usize,
    shared: VecDeque<Shared>,
}

/// Bytes that are not copied.
#[derive(Debug)]
struct Shared {
    /// How much of `copied` goes before them.
    at: usize,
    bytes: Bytes,
}

/// Both ends of one connection, whose bodies note in `outgoing` what they hand out.
pub(super) fn gathered<I>(io: I, outgoing: Outgoing) -> (Gathered<I>, Outlet<I>) {
    let gathering =
        Gathering { io, outgoing, copied: Vec::new(), written_bytes: 0, shared: VecDeque::new() };
    let gathering = Arc::new(Mutex::new(gathering));
    (Gathered(Arc::clone(&gathering)), Outlet(gathering))
}

impl<I: AsyncWrite + Unpin> Outlet<I> {
    /// Writes what has gathered, and flushes, since TLS keeps back what the socket did not take. Must be called after each poll of the
    /// protocol, by the same task.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.lock();
        let drained = gathering.poll_drain(cx);
        gathering.outgoing.sweep();
        ready!(drained)?;
        Pin::new(&mut gathering.io).poll_flush(cx)
    }
}

impl<I: AsyncWrite + Unpin> Gathering<I> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written_bytes < self.copied.len() || !self.shared.is_empty() {
            let written = ready!(self.poll_write_some(cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        // An idle connection holds nothing.
        self.copied = Vec::new();
        self.written_bytes = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.io);
        if self.shared.is_empty() {
            return io.poll_write(cx, &self.copied[self.written_bytes..]);
        }
        // What is copied and what is shared take turns; where nothing is copied between two shared ones, a slice is empty.
        let mut slices = [IoSlice::new(&[]); 2 * SHARED_MAX + 1];
        let (pairs, _) = slices.as_chunks_mut::<2>();
        let mut begin = self.written_bytes;
        for (pair, Shared { at, bytes }) in pairs.iter_mut().zip(&self.shared) {
            *pair = [IoSlice::new(&self.copied[begin..*at]), IoSlice::new(bytes)];
            begin = *at;
        }
        slices[2 * self.shared.len()] = IoSlice::new(&self.copied[begin..]);
        io.poll_write_vectored(cx, &slices[..=2 * self.shared.len()])
    }

    /// Passes over what has been written.
    fn advance(&mut self, mut written_bytes: usize) {
        while let Some(Shared { at, bytes }) = self.shared.front_mut() {
            let copied_bytes = (*at - self.written_bytes).min(written_bytes);
            self.written_bytes += copied_bytes;
            written_bytes -= copied_bytes;
            if self.written_bytes < *at {
                return;
            }
            let shared_bytes = bytes.len().min(written_bytes);
            bytes.advance(shared_bytes);
            written_bytes -= shared_bytes;
            if !bytes.is_empty() {
                return;
            }
            self.shared.pop_front();
        }
        self.written_bytes += written_bytes;
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if length >= PASSED_BYTES {
            ready!(self.poll_drain(cx))?;
            return Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        }
        if self.copied.len() + length > CAPACITY_BYTES
            || self.shared.len() + slices.len() > SHARED_MAX
        {
            ready!(self.poll_drain(cx))?;
        }
        for slice in slices {
            let found = (slice.len() >= FOUND_BYTES).then(|| self.outgoing.find(slice)).flatten();
            match found {
                Some(bytes) => self.shared.push_back(Shared { at: self.copied.len(), bytes }),
                None => self.copy(slice),
            }
        }
        Poll::Ready(Ok(length))
    }

    fn copy(&mut self, slice: &[u8]) {
        let needed_bytes = self.copied.len() + slice.len();
        if needed_bytes > self.copied.capacity() {
            let capacity = if needed_bytes > SMALL_BYTES { CAPACITY_BYTES } else { SMALL_BYTES };
            self.copied.reserve_exact(capacity - self.copied.len());
        }
        self.copied.extend_from_slice(slice);
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gathered<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gathered<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Leaves it to the [`Outlet`].
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.lock();
        ready!(gathering.poll_drain(cx))?;
        Pin::new(&mut gathering.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::{BodyExt as _, Full};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::outgoing::Noted;
    use super::*;

    /// Counts the writes that reach it.
    struct Counting<I> {
        io: I,
        writes: Arc<Mutex<Vec<usize>>>,
    }

    impl<I: AsyncWrite + Unpin> AsyncWrite for Counting<I> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
            self.writes.lock().push(written);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_shutdown(cx)
        }
    }

    /// Writes pieces of these lengths, flushing after each, drains once; which writes reached the connection.
    async fn check(lengths: &[usize], expect: &[usize]) {
        let (mut ours, theirs) = duplex(1 << 20);
        let writes = Arc::default();
        let counting = Counting { io: theirs, writes: Arc::clone(&writes) };
        let (mut protocol, outlet) = gathered(counting, Outgoing::default());
        let mut sent = Vec::new();
        for (number, length) in (0..).zip(lengths) {
            let piece = vec![number; *length];
            protocol.write_all(&piece).await.unwrap();
            protocol.flush().await.unwrap();
            sent.extend(piece);
        }
        poll_fn(|cx| outlet.poll_drain(cx)).await.unwrap();
        assert_eq!(*writes.lock(), expect, "{lengths:?}");
        assert_eq!(outlet.0.lock().copied.capacity(), 0, "an idle connection holds nothing");
        let mut received = vec![0; sent.len()];
        ours.read_exact(&mut received).await.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn small_writes_leave_together_and_large_ones_as_they_come() {
        check(&[], &[]).await;
        check(&[9, 2_048, 30], &[2_087]).await;
        check(&[16_384; 17], &[262_144, 16_384]).await;
        check(&[9, 65_536, 9], &[9, 65_536, 9]).await;
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_stops_the_writer_at_the_bound() {
        let (mut ours, theirs) = duplex(1_000);
        let (mut protocol, outlet) = gathered(theirs, Outgoing::default());
        let piece = [7; 16_384];
        let mut taken = 0;
        while let Poll::Ready(written) =
            poll_fn(|cx| Poll::Ready(Pin::new(&mut protocol).poll_write(cx, &piece))).await
        {
            taken += written.unwrap();
        }
        assert_eq!(taken, CAPACITY_BYTES);
        let mut received = Vec::new();
        let all = async {
            poll_fn(|cx| outlet.poll_drain(cx)).await.unwrap();
            protocol.shutdown().await.unwrap();
        };
        let (read, ()) = tokio::join!(ours.read_to_end(&mut received), all);
        assert_eq!((read.unwrap(), received.len()), (taken, taken));
    }

    /// Frames of a body of so many bytes through a pipe that takes so many at a time.
    async fn check_shared(body_bytes: usize, frame_bytes: usize, pipe_bytes: usize) {
        let outgoing = Outgoing::default();
        let (mut ours, theirs) = duplex(pipe_bytes);
        let (mut protocol, outlet) = gathered(theirs, outgoing.clone());
        let whole: Vec<u8> = (0..=250).cycle().take(body_bytes).collect();
        let mut body = Noted::new(Full::new(Bytes::from(whole.clone())), outgoing.clone());
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let sending = async {
            let mut copied_most = 0;
            for frame in piece.chunks(frame_bytes) {
                let slices = [IoSlice::new(b"head"), IoSlice::new(frame)];
                let written =
                    poll_fn(|cx| Pin::new(&mut protocol).poll_write_vectored(cx, &slices));
                assert_eq!(written.await.unwrap(), 4 + frame.len());
                copied_most = copied_most.max(outlet.0.lock().copied.len());
            }
            poll_fn(|cx| outlet.poll_drain(cx)).await.unwrap();
            protocol.shutdown().await.unwrap();
            assert!(copied_most <= 4 * SHARED_MAX + FOUND_BYTES, "{copied_most} B are copied");
        };
        let mut received = Vec::new();
        let (read, ()) = tokio::join!(ours.read_to_end(&mut received), sending);
        read.unwrap();
        let expect = whole.chunks(frame_bytes).flat_map(|frame| [b"head", frame].concat());
        assert!(received == expect.collect::<Vec<_>>(), "{body_bytes} B by {frame_bytes}");
    }

    #[tokio::test]
    async fn what_a_body_handed_out_is_not_copied() {
        check_shared(256 << 10, 16 << 10, 1 << 20).await;
        check_shared(256 << 10, 16 << 10, 1_000).await;
        check_shared((1 << 20) + 77, 16 << 10, 10_007).await;
        check_shared(100_000, 5_000, 3).await;
    }

    #[tokio::test]
    async fn the_end_of_a_connection_takes_what_has_gathered() {
        let (mut ours, theirs) = duplex(1_000);
        let (mut protocol, _outlet) = gathered(theirs, Outgoing::default());
        protocol.write_all(b"last words").await.unwrap();
        protocol.shutdown().await.unwrap();
        let mut received = String::new();
        ours.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, "last words");
    }
}
