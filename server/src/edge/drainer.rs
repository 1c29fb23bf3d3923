//! [`Drainer`]: reads and throws away what a client goes on sending after it has been answered.
//!
//! A client that is told "already present" at its first message may still have a gigabyte in flight, and one that is told
//! "stored" may not have ended its stream yet. To drop the rest unread is to reset the stream: some clients call that an
//! error, and a connection with a thousand resets is ended by h2 as an attack. So a bounded rest is read in the background.

use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

/// After this time the stream is cut: a client that honours the answer has long ended it.
const MAX_TIME: Duration = Duration::from_secs(30);

/// So many streams are drained at a time; one more is cut at once.
const MAX_STREAMS: usize = 256;

/// Owns the streams that are being drained. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Drainer {
    tasks: TaskTracker,
    slots: Arc<Semaphore>,
}

impl Drainer {
    pub(crate) fn new() -> Self {
        Self { tasks: TaskTracker::new(), slots: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    /// Reads `rest` to its end in the background of this worker, or drops it where a bound is met.
    pub(crate) fn drain<S>(&self, mut rest: S)
    where
        S: Stream + Send + Unpin + 'static,
    {
        // Most often nothing follows but the end, which is here already.
        if let Some(None) = rest.next().now_or_never() {
            return;
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        let deadline = Instant::now() + MAX_TIME;
        self.tasks.spawn(async move {
            while let Ok(Some(_)) = timeout_at(deadline, rest.next()).await {}
            drop(slot);
        });
    }
}
