//! [`Patient`]: a connection that ends when its client says nothing for too long.
//!
//! hyper times the head of a request, but neither the bytes that tell HTTP/2 from HTTP/1.1 nor the body of an upload. A client
//! that is gone without a word, or that only holds a place, ends here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::auth::Peer;

/// Until it is known which protocol the client speaks.
pub(super) const GREETING_TIMEOUT: Duration = Duration::from_secs(30);
/// Without a byte in either direction. HTTP/2 clients answer a ping every minute, so this is for HTTP/1.1.
pub(super) const SILENCE_TIMEOUT: Duration = Duration::from_mins(5);

/// What an HTTP/2 client says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that fails to be read once its client was silent for too long, and whose link knows what it moves.
pub(super) struct Patient<I> {
    io: I,
    peer: Arc<Peer>,
    timer: Pin<Box<Sleep>>,
    wait: Wait,
}

/// What is waited for.
#[derive(Copy, Clone)]
enum Wait {
    /// So many bytes could yet become the preface; all of it must come by then.
    Greeting { preface_bytes: usize, until: Instant },
    /// Anything; since then, if anybody waits. While hyper does not read, since it has no room, nobody does.
    Bytes { since: Option<Instant> },
}

impl<I> Patient<I> {
    /// Must be made within a runtime.
    pub(super) fn new(io: I, peer: Arc<Peer>) -> Self {
        let until = Instant::now() + GREETING_TIMEOUT;
        let wait = Wait::Greeting { preface_bytes: 0, until };
        Self { io, peer, timer: Box::pin(sleep_until(until)), wait }
    }

    fn note_read(&mut self, bytes: &[u8]) {
        self.peer.link.note_moved(bytes.len());
        if let Wait::Greeting { preface_bytes, until } = self.wait {
            let rest = &PREFACE[preface_bytes..];
            if bytes.len() < rest.len() && rest.starts_with(bytes) {
                let preface_bytes = preface_bytes + bytes.len();
                self.wait = Wait::Greeting { preface_bytes, until };
                return;
            }
        }
        self.wait = Wait::Bytes { since: None };
    }

    fn note_written(&mut self, bytes: usize) {
        self.peer.link.note_moved(bytes);
        if matches!(self.wait, Wait::Bytes { .. }) {
            self.wait = Wait::Bytes { since: None };
        }
    }

    /// Called when there is nothing to read; ready when it is too late.
    fn poll_too_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let until = match &mut self.wait {
            Wait::Greeting { until, .. } => *until,
            Wait::Bytes { since } => *since.get_or_insert_with(Instant::now) + SILENCE_TIMEOUT,
        };
        loop {
            // The timer is set anew only when it fires: that is once in minutes, not once a read.
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= until {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(until);
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Patient<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buffer) else {
            return self.poll_too_late(cx);
        };
        self.note_read(&buffer.filled()[filled..]);
        Poll::Ready(read)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Patient<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.note_written(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.note_written(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
