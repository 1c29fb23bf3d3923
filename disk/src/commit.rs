//! [`Commit`]: the answer to a write that waits for its group.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::error::DiskError;

/// What a put did.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum PutOutcome {
    /// The content is stored now.
    Stored,
    /// The blob was there; nothing was written.
    AlreadyPresent,
}

/// The answer to a write. It need not be awaited: the write goes on when this is dropped.
#[derive(Debug)]
#[must_use = "whether the record is stored is known only from the answer"]
pub struct Commit(State);

#[derive(Debug)]
enum State {
    Known(Option<Result<PutOutcome, DiskError>>),
    Waiting(oneshot::Receiver<Result<PutOutcome, DiskError>>),
}

impl Commit {
    pub(crate) fn known(outcome: PutOutcome) -> Self {
        Self(State::Known(Some(Ok(outcome))))
    }

    pub(crate) fn waiting(answer: oneshot::Receiver<Result<PutOutcome, DiskError>>) -> Self {
        Self(State::Waiting(answer))
    }

    /// Blocks until the answer is there. Not for async code, where this is a future.
    pub fn wait(self) -> Result<PutOutcome, DiskError> {
        match self.0 {
            State::Known(answer) => answer.unwrap_or(Err(DiskError::Closed)),
            State::Waiting(answer) => answer.blocking_recv().unwrap_or(Err(DiskError::Closed)),
        }
    }
}

impl Future for Commit {
    type Output = Result<PutOutcome, DiskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(answer) => Poll::Ready(answer.take().unwrap_or(Err(DiskError::Closed))),
            State::Waiting(answer) => {
                Pin::new(answer).poll(cx).map(|answer| answer.unwrap_or(Err(DiskError::Closed)))
            }
        }
    }
}
