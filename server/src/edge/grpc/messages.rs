//! [`Messages`]: what a client sends in one upload, message by message.

use std::sync::Arc;

use futures_util::TryStreamExt;
use larder_protos::bytestream::WriteRequest;
use tonic::Status;

use super::write_parts::Parts;
use crate::edge::budget::Hold;
use crate::edge::drainer::Drainer;
use crate::edge::stalls::Turn;

/// The messages of an upload, or parts of them. However the upload ends, the rest of them is drained.
pub(super) struct Messages<P: Parts> {
    first: Option<WriteRequest>,
    /// `None` once they have ended.
    rest: Option<P>,
    drainer: Drainer,
    hold: Arc<Hold>,
}

impl<P: Parts> Messages<P> {
    /// All of them: the one that has been read, and those that follow.
    pub(super) fn new(first: WriteRequest, rest: P, drainer: Drainer, hold: Arc<Hold>) -> Self {
        Self { first: Some(first), rest: Some(rest), drainer, hold }
    }

    /// Whose turn it is of who sends them and an upload that has `hold`.
    pub(super) fn turn(&self, hold: &Arc<Hold>) -> Turn {
        Turn::over(hold, &self.hold)
    }

    /// The next one; `None` after half-close.
    pub(super) async fn next(&mut self) -> Result<Option<WriteRequest>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(rest) = &mut self.rest else { return Ok(None) };
        let next = rest.try_next().await;
        if !matches!(next, Ok(Some(_))) {
            self.rest = None;
        }
        next
    }
}

impl<P: Parts> Drop for Messages<P> {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.hold.discard_rest();
            self.drainer.drain(rest);
        }
    }
}
