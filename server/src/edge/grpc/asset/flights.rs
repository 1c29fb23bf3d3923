//! [`Flights`]: retrievals from origins, shared by all who ask for the same at the same time.
//!
//! A retrieval goes on when those who asked have gone, so that whoever comes back finds it done; the operator's timeout ends it, a client's only its own wait. There
//! are only so many at a time: who waits for a place holds it from nobody, and leaves when its client does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use larder_protos::{Digest, Hash};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::fetch::FetchError;

/// Each may hold a connection, a file and some megabytes of the budget.
const MAX_RETRIEVALS: usize = 32;

/// How a retrieval ended, and from or because of which URI of the request.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Found {
        uri: usize,
        digest: Digest,
    },
    Failed {
        uri: usize,
        error: FetchError,
    },
    /// The fault is ours.
    Refused(Status),
}

type Flight = Shared<oneshot::Receiver<Outcome>>;

/// The retrievals under way. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Flights {
    /// The lock guards map operations only.
    running: Arc<Mutex<HashMap<Hash, Flight>>>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    ending: CancellationToken,
}

/// A place for one more retrieval.
pub(super) type Place = OwnedSemaphorePermit;

/// One who waits for a retrieval's end.
pub(super) struct Passenger(Flight);

impl Flights {
    /// Once `ending` is cancelled all of them end.
    pub(super) fn new(ending: CancellationToken) -> Self {
        Self {
            running: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_RETRIEVALS)),
            tasks: TaskTracker::new(),
            ending,
        }
    }

    /// The retrieval of `key` that is under way.
    pub(super) fn join(&self, key: &Hash) -> Option<Passenger> {
        self.running.lock().get(key).cloned().map(Passenger)
    }

    /// Waits for a place; `None` where none became free within that time.
    pub(super) async fn place(&self, within: Duration) -> Option<Place> {
        let place = timeout(within, Arc::clone(&self.places).acquire_owned()).await;
        place.ok()?.ok()
    }

    /// Begins `work` in the background of this worker, or joins who has just begun it.
    pub(super) fn begin(
        &self,
        key: Hash,
        place: Place,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Passenger {
        let mut running = self.running.lock();
        if let Some(flight) = running.get(&key) {
            return Passenger(flight.clone());
        }
        let (sender, receiver) = oneshot::channel();
        let flight = receiver.shared();
        running.insert(key, flight.clone());
        drop(running);
        let landing = Landing { key, running: Arc::clone(&self.running) };
        let ending = self.ending.clone();
        self.tasks.spawn(async move {
            let outcome = ending.run_until_cancelled(work).await;
            // Who comes from now on finds what is stored, not this.
            drop(landing);
            let _nobody_waits =
                sender.send(outcome.unwrap_or_else(|| Outcome::Refused(ending_status())));
            drop(place);
        });
        Passenger(flight)
    }
}

impl Passenger {
    /// How it ended; `None` where it has not within that time.
    pub(super) async fn outcome(self, within: Duration) -> Option<Outcome> {
        let ended = timeout(within, self.0).await.ok()?;
        // It ended without a word: with its worker.
        Some(ended.unwrap_or_else(|_| Outcome::Refused(ending_status())))
    }
}

fn ending_status() -> Status {
    Status::unavailable("the server is stopping")
}

/// Takes a retrieval off the list, however it ends.
struct Landing {
    key: Hash,
    running: Arc<Mutex<HashMap<Hash, Flight>>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use larder_protos::DigestFunction;
    use tonic::Code;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn key(text: &str) -> Hash {
        *Digest::of(DigestFunction::Sha256, text.as_bytes()).hash()
    }

    fn found() -> Outcome {
        Outcome::Found { uri: 0, digest: Digest::empty(DigestFunction::Sha256) }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_the_same_shares_it_and_it_outlives_them() {
        let flights = Flights::new(CancellationToken::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let (go, gone) = oneshot::channel::<()>();
        let counted = Arc::clone(&runs);
        let first = flights.begin(key("a"), flights.place(LONG).await.unwrap(), async move {
            counted.fetch_add(1, Ordering::Relaxed);
            gone.await.unwrap();
            found()
        });
        let unused = async { unreachable!("it is under way") };
        let second = flights.begin(key("a"), flights.place(LONG).await.unwrap(), unused);
        assert!(flights.join(&key("b")).is_none());
        drop(first);
        let third = flights.join(&key("a")).unwrap();
        go.send(()).unwrap();
        for passenger in [second, third] {
            assert!(matches!(passenger.outcome(LONG).await, Some(Outcome::Found { .. })));
        }
        assert!(flights.join(&key("a")).is_none());
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many() {
        let flights = Flights::new(CancellationToken::new());
        let mut passengers = Vec::new();
        for number in 0..MAX_RETRIEVALS {
            let place = flights.place(LONG).await.unwrap();
            passengers.push(flights.begin(key(&number.to_string()), place, pending()));
        }
        assert!(flights.place(LONG).await.is_none());
        assert!(passengers.pop().unwrap().outcome(LONG).await.is_none(), "it goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn they_end_with_the_server() {
        let ending = CancellationToken::new();
        let flights = Flights::new(ending.clone());
        let passenger = flights.begin(key("a"), flights.place(LONG).await.unwrap(), pending());
        ending.cancel();
        match passenger.outcome(LONG).await {
            Some(Outcome::Refused(status)) => assert_eq!(status.code(), Code::Unavailable),
            other => panic!("{other:?}"),
        }
        assert!(flights.join(&key("a")).is_none());
    }
}
