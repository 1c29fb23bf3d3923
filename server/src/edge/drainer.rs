//! [`Drainer`]: reads and throws away what a client goes on sending after it has been answered.
//!
//! A client that is told "already present" at its first message may still have a gigabyte in flight, and one that is told
//! "stored" may not have ended its stream yet. To drop the rest unread is to reset the stream: some clients call that an
//! error, and a connection with a thousand resets is ended by h2 as an attack. So a bounded rest is read in the background.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, TryStream, TryStreamExt};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// After this time the stream is cut: a client that honours the answer has long ended it.
const MAX_TIME: Duration = Duration::from_secs(30);

/// What is left of that time once the server drains, which waits for every open stream.
const MAX_TIME_ENDING: Duration = Duration::from_secs(1);

/// So many streams are drained at a time; for one more the oldest is cut. Honest clients end theirs within milliseconds, so
/// whoever holds many open loses them to those who come.
const MAX_STREAMS: usize = 512;

/// Owns the streams that are being drained. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Drainer(Arc<Shared>);

/// Behind one pointer, since every request takes a drainer along.
#[derive(Debug)]
struct Shared {
    tasks: TaskTracker,
    streams: Mutex<Streams>,
    ending: CancellationToken,
}

/// The streams that are being drained, the oldest first. Its lock guards map operations only.
#[derive(Debug, Default)]
struct Streams {
    begun: u64,
    tasks: BTreeMap<u64, AbortHandle>,
}

impl Drainer {
    /// Once `ending` is cancelled what is left gets little time.
    pub(crate) fn new(ending: CancellationToken) -> Self {
        Self(Arc::new(Shared { tasks: TaskTracker::new(), streams: Mutex::default(), ending }))
    }

    /// Reads `rest` to its end in the background of this worker, whose end is the task's at the latest.
    pub(crate) fn drain<S>(&self, mut rest: S)
    where
        S: TryStream + Send + Unpin + 'static,
        S::Ok: Send,
        S::Error: Send,
    {
        // Most often nothing follows but the end, which is here already.
        if let Some(Ok(None) | Err(_)) = rest.try_next().now_or_never() {
            return;
        }
        let shared = Arc::clone(&self.0);
        let mut streams = self.0.streams.lock();
        streams.begun += 1;
        let number = streams.begun;
        // The place cannot be given back before it is taken: that needs the lock, too.
        let task = self.0.tasks.spawn(async move {
            let place = Place { number, shared };
            let ending = &place.shared.ending;
            let to_the_end = async { while let Ok(Some(_)) = rest.try_next().await {} };
            let soon_after_ending = async {
                ending.cancelled().await;
                sleep(MAX_TIME_ENDING).await;
            };
            tokio::select! {
                () = to_the_end => {}
                () = sleep(MAX_TIME) => {}
                () = soon_after_ending => {}
            }
        });
        streams.tasks.insert(number, task.abort_handle());
        let cut = if streams.tasks.len() > MAX_STREAMS { streams.tasks.pop_first() } else { None };
        drop(streams);
        if let Some((_, oldest)) = cut {
            oldest.abort();
        }
    }
}

/// A stream's place among those that are drained.
struct Place {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.streams.lock().tasks.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_core::Stream;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    /// A stream on which nothing comes; it tells when it is dropped.
    struct Silent(u64, mpsc::UnboundedSender<u64>);

    impl Stream for Silent {
        type Item = Result<(), Infallible>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }

    impl Drop for Silent {
        fn drop(&mut self) {
            let _ = self.1.send(self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_rest_is_cut_after_its_time() {
        let (sender, mut dropped) = mpsc::unbounded_channel();
        let begun = Instant::now();
        Drainer::new(CancellationToken::new()).drain(Silent(1, sender));
        assert_eq!(dropped.recv().await, Some(1));
        assert_eq!(begun.elapsed().as_secs(), MAX_TIME.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ends_waits_a_second_for_it() {
        let (sender, mut dropped) = mpsc::unbounded_channel();
        let ending = CancellationToken::new();
        let drainer = Drainer::new(ending.clone());
        let begun = Instant::now();
        drainer.drain(Silent(1, sender.clone()));
        ending.cancel();
        drainer.drain(Silent(2, sender));
        for _ in 0..2 {
            dropped.recv().await.expect("it is cut");
        }
        assert_eq!(begun.elapsed().as_secs(), MAX_TIME_ENDING.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_every_place_gives_the_oldest_up() {
        let (sender, mut dropped) = mpsc::unbounded_channel();
        let drainer = Drainer::new(CancellationToken::new());
        for number in 0..MAX_STREAMS as u64 + 2 {
            drainer.drain(Silent(number, sender.clone()));
        }
        let begun = Instant::now();
        assert_eq!((dropped.recv().await, dropped.recv().await), (Some(0), Some(1)));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(drainer.0.streams.lock().tasks.len(), MAX_STREAMS);
    }
}
