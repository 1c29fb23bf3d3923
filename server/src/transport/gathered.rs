//! [`Gathered`]: a connection whose small writes leave as few large ones.
//!
//! h2 writes one frame at a time and flushes after each, which is a system call for every 16 KiB of a large answer and for every
//! small one. Here a write goes to a buffer, and a flush does nothing: whoever polls the connection's protocol empties the buffer
//! when the poll is over and nothing more will be added ([`Outlet::poll_drain`]), and [`AsyncWrite::poll_shutdown`] does.
//!
//! Bounds: at most [`CAPACITY_BYTES`] a connection, and nothing once they are written. Large writes pass without a copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is written at a time.
const CAPACITY_BYTES: usize = 256 << 10;
/// For a few small answers; most connections never need more.
const SMALL_BYTES: usize = 16 << 10;
/// A copy of more costs more than the system call that it saves.
const PASSED_BYTES: usize = 64 << 10;

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
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    written_bytes: usize,
}

/// Both ends of one connection.
pub(super) fn gathered<I>(io: I) -> (Gathered<I>, Outlet<I>) {
    let gathering = Arc::new(Mutex::new(Gathering { io, buffer: Vec::new(), written_bytes: 0 }));
    (Gathered(Arc::clone(&gathering)), Outlet(gathering))
}

impl<I: AsyncWrite + Unpin> Outlet<I> {
    /// Writes what has gathered, and flushes, since TLS keeps back what the socket did not take. Must be called after each poll of the
    /// protocol, by the same task.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.lock();
        ready!(gathering.poll_drain(cx))?;
        Pin::new(&mut gathering.io).poll_flush(cx)
    }
}

impl<I: AsyncWrite + Unpin> Gathering<I> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written_bytes < self.buffer.len() {
            let rest = &self.buffer[self.written_bytes..];
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written_bytes += written;
        }
        // An idle connection holds nothing.
        self.buffer = Vec::new();
        self.written_bytes = 0;
        Poll::Ready(Ok(()))
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
        if self.buffer.len() + length > CAPACITY_BYTES {
            ready!(self.poll_drain(cx))?;
        }
        let needed_bytes = self.buffer.len() + length;
        if needed_bytes > self.buffer.capacity() {
            let capacity = if needed_bytes > SMALL_BYTES { CAPACITY_BYTES } else { SMALL_BYTES };
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
        for slice in slices {
            self.buffer.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
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

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

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
        let (mut protocol, outlet) = gathered(Counting { io: theirs, writes: Arc::clone(&writes) });
        let mut sent = Vec::new();
        for (number, length) in (0..).zip(lengths) {
            let piece = vec![number; *length];
            protocol.write_all(&piece).await.unwrap();
            protocol.flush().await.unwrap();
            sent.extend(piece);
        }
        poll_fn(|cx| outlet.poll_drain(cx)).await.unwrap();
        assert_eq!(*writes.lock(), expect, "{lengths:?}");
        assert_eq!(outlet.0.lock().buffer.capacity(), 0, "an idle connection holds nothing");
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
        let (mut protocol, outlet) = gathered(theirs);
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

    #[tokio::test]
    async fn the_end_of_a_connection_takes_what_has_gathered() {
        let (mut ours, theirs) = duplex(1_000);
        let (mut protocol, _outlet) = gathered(theirs);
        protocol.write_all(b"last words").await.unwrap();
        protocol.shutdown().await.unwrap();
        let mut received = String::new();
        ours.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, "last words");
    }
}
