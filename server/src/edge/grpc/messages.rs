//! [`Messages`]: what a client sends in one upload, message by message.

use std::sync::Arc;

use larder_protos::bytestream::WriteRequest;
use tonic::{Status, Streaming};

use crate::edge::budget::Hold;
use crate::edge::drainer::Drainer;

/// The messages of an upload. However the upload ends, the rest of them is drained.
pub(super) struct Messages {
    first: Option<WriteRequest>,
    /// `None` once they have ended.
    rest: Option<Streaming<WriteRequest>>,
    drainer: Drainer,
    hold: Arc<Hold>,
}

impl Messages {
    /// All of them: the one that has been read, and those that follow.
    pub(super) fn new(
        first: WriteRequest,
        rest: Streaming<WriteRequest>,
        drainer: Drainer,
        hold: Arc<Hold>,
    ) -> Self {
        Self { first: Some(first), rest: Some(rest), drainer, hold }
    }

    /// The next one; `None` after half-close.
    pub(super) async fn next(&mut self) -> Result<Option<WriteRequest>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(rest) = &mut self.rest else { return Ok(None) };
        let next = rest.message().await;
        if !matches!(next, Ok(Some(_))) {
            self.rest = None;
        }
        next
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.hold.discard_rest();
            self.drainer.drain(rest);
        }
    }
}
