//! [`Prepared`]: a record that is encoded and not yet with the committer.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::commit::{Commit, PutOutcome};
use crate::committer::Job;
use crate::error::DiskError;
use crate::queue::BoundedQueue;

/// A record that is encoded and waits to be handed to the committer. Dropping it stores nothing.
#[derive(Debug)]
#[must_use = "nothing is stored before it is submitted"]
pub struct Prepared(State);

#[derive(Debug)]
enum State {
    /// Nothing is left to do.
    Known(PutOutcome),
    Waiting {
        job: Job,
        answer: oneshot::Receiver<Result<PutOutcome, DiskError>>,
        queue: Arc<BoundedQueue<Job>>,
        wake: Wake,
    },
}

/// When a record that was submitted wakes the committer.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Wake {
    /// Where each batch is synced: the disk must not wait for who is not ready, and the next batch gathers during the sync.
    AtOnce,
    /// After the other tasks of its thread had a turn: what they submit in it goes into the same batch.
    AfterTurn,
}

impl Prepared {
    pub(crate) fn known(outcome: PutOutcome) -> Self {
        Self(State::Known(outcome))
    }

    pub(crate) fn waiting(
        job: Job,
        answer: oneshot::Receiver<Result<PutOutcome, DiskError>>,
        queue: Arc<BoundedQueue<Job>>,
        wake: Wake,
    ) -> Self {
        Self(State::Waiting { job, answer, queue, wake })
    }

    /// Waits for room in the queue to the committer without holding up a thread, and wakes the committer: with `Durability::Interval`
    /// after the other tasks of this thread had a turn to submit theirs. Dropped while it waits for room, nothing is stored; later, the
    /// write goes on.
    pub async fn submit(self) -> Result<Commit, DiskError> {
        match self.0 {
            State::Known(outcome) => Ok(Commit::known(outcome)),
            State::Waiting { job, answer, queue, wake } => {
                let weight = job.weight();
                let nudge = queue.push_async(job, weight).await.map_err(|_| DiskError::Closed)?;
                if matches!(wake, Wake::AfterTurn) {
                    yield_now().await;
                }
                drop(nudge);
                Ok(Commit::waiting(answer))
            }
        }
    }

    /// The same, and blocks.
    pub fn submit_blocking(self) -> Result<Commit, DiskError> {
        match self.0 {
            State::Known(outcome) => Ok(Commit::known(outcome)),
            State::Waiting { job, answer, queue, .. } => {
                let weight = job.weight();
                queue.push(job, weight).map_err(|_| DiskError::Closed)?;
                Ok(Commit::waiting(answer))
            }
        }
    }
}
