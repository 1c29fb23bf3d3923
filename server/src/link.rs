//! [`Link`]: a connection as its requests see it: what it has moved, and a way to end it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// What a connection has moved, and a way to end it.
#[derive(Debug, Default)]
pub struct Link {
    moved_bytes: AtomicU64,
    asked: AtomicBool,
    cut: AtomicBool,
    task: AtomicWaker,
}

impl Link {
    /// Notes bytes read from the socket or taken by it.
    pub(crate) fn note_moved(&self, bytes: usize) {
        self.moved_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes in both directions since the connection began, less what TLS adds.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.moved_bytes.load(Ordering::Relaxed)
    }

    /// Notes that a request has come.
    pub(crate) fn note_asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether a request has come, all of its head.
    pub(crate) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Has the connection closed, soon and whatever is on its way. Whether nobody had before.
    pub(crate) fn cut(&self) -> bool {
        let is_first = !self.cut.swap(true, Ordering::AcqRel);
        self.task.wake();
        is_first
    }

    /// Ready once it is to be closed; for the one task that serves it.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        if self.cut.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}
