//! Lets a gRPC call in: takes from the budget what its messages need before they are read into memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{Extensions, Request};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use larder_protos::{Compressor, DigestFunction, WriteName};
use tonic::Status;

use super::framing::{FirstMessage, MessageTracker, first_message};
use crate::auth::Peer;
use crate::edge::budget::{Budget, BudgetError, Hold};
use crate::edge::limits::{MAX_BATCH_BYTES, MAX_MESSAGE_BYTES};
use crate::edge::stalls::Turn;
use crate::edge::status::grpc_status;
use crate::edge::working_set::{
    CHUNKING_BYTES, UNCOUNTED_MESSAGE_BYTES, batch_answer_bytes, message_bytes, upload_bytes,
};
use crate::telemetry::Tally;

/// What the calls need for their messages.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Kind {
    /// `ByteStream.Write`.
    Upload,
    /// `BatchUpdateBlobs`.
    UpdateBatch,
    /// `BatchReadBlobs`.
    ReadBatch,
    /// `SplitBlob` and `SpliceBlob`.
    Chunks,
    Other,
}

impl Kind {
    /// By the path of the call.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/google.bytestream.ByteStream/Write" => Self::Upload,
            "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs" => {
                Self::UpdateBatch
            }
            "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs" => {
                Self::ReadBatch
            }
            "/build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob"
            | "/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob" => {
                Self::Chunks
            }
            _ => Self::Other,
        }
    }

    /// What the call needs, and how much its client sends in all, as far as the first message tells.
    fn needs(self, first: FirstMessage<'_>) -> (u64, u64) {
        let FirstMessage { length_bytes, name } = first;
        let needed_bytes = match self {
            Self::Upload => {
                // A name that is none is refused as soon as the message is read.
                let Some(name) = name.and_then(name_of_upload) else {
                    return (length_bytes, length_bytes);
                };
                let size_bytes = name.digest.size_bytes();
                let needed_bytes = upload_bytes(name.compressor, size_bytes, length_bytes);
                return (needed_bytes, size_bytes.max(length_bytes));
            }
            Self::UpdateBatch => length_bytes,
            Self::ReadBatch if length_bytes > UNCOUNTED_MESSAGE_BYTES => {
                message_bytes(length_bytes) + batch_answer_bytes(MAX_BATCH_BYTES)
            }
            Self::Chunks => message_bytes(length_bytes) + CHUNKING_BYTES,
            Self::ReadBatch | Self::Other => message_bytes(length_bytes),
        };
        (needed_bytes, length_bytes)
    }

    /// What each further byte costs by which a later message is longer than those before.
    fn cost_of_longer(self) -> u64 {
        let one = upload_bytes(Compressor::Identity, u64::MAX, 1);
        match self {
            Self::Upload => one - upload_bytes(Compressor::Identity, u64::MAX, 0),
            Self::UpdateBatch | Self::ReadBatch | Self::Chunks | Self::Other => 1,
        }
    }
}

/// A call that was let in; the hold is among the request's extensions too.
pub(super) struct Admitted {
    pub(super) request: Request<AdmittedBody>,
    pub(super) hold: Arc<Hold>,
}

/// Reads as far as the first message tells what the call needs, and waits for that. A call that cannot have it comes back
/// with what is left of its body.
pub(super) async fn admit(
    budget: &Budget,
    request: Request<Incoming>,
) -> Result<Admitted, (Status, Incoming)> {
    let kind = Kind::of(request.uri().path());
    let (mut head, mut rest) = request.into_parts();
    let mut ahead = Bytes::new();
    let mut messages = MessageTracker::default();
    let mut longest_bytes = 0;
    let (needed_bytes, unread_bytes) = loop {
        if let Some(first) = first_message(&ahead) {
            // A message over tonic's limit is refused unread, with a reason of its own.
            let length_bytes = first.length_bytes.min(MAX_MESSAGE_BYTES as u64);
            if let Err(error) = budget.check_fits(length_bytes) {
                return Err((grpc_status(error), rest));
            }
            // The frame that brought the first message may have brought the beginning of a longer one.
            longest_bytes = messages.pass(&ahead).min(MAX_MESSAGE_BYTES as u64);
            let first = FirstMessage { length_bytes: longest_bytes, ..first };
            break kind.needs(first);
        }
        match rest.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if ahead.is_empty() => ahead = data,
                Ok(data) => {
                    let mut joined = BytesMut::from(ahead);
                    joined.extend_from_slice(&data);
                    ahead = joined.freeze();
                }
                Err(_trailers) => break (0, 0),
            },
            // The client has gone: nobody reads the answer.
            Some(Err(error)) => return Err((Status::cancelled(error.to_string()), rest)),
            None => break (0, 0),
        }
    };
    let hold = budget.nothing(Peer::of(&head.extensions).cloned());
    if let Err(error) = hold.cover_unread(needed_bytes, unread_bytes).await {
        return Err((grpc_status(error), rest));
    }
    let tally = Tally::of(&head.extensions);
    tally.note_received(ahead.len());
    head.extensions.insert(Arc::clone(&hold));
    let body = AdmittedBody {
        ahead,
        rest,
        messages,
        longest_bytes,
        cost_of_longer: kind.cost_of_longer(),
        turn: Turn::of(Arc::clone(&hold)),
        tally,
    };
    Ok(Admitted { request: Request::from_parts(head, body), hold })
}

/// The hold of the call that a handler serves.
pub(super) fn hold_of<T>(request: &tonic::Request<T>) -> Arc<Hold> {
    hold_among(request.extensions())
}

/// The same among a call's extensions.
pub(super) fn hold_among(extensions: &Extensions) -> Arc<Hold> {
    let hold = extensions.get::<Arc<Hold>>();
    Arc::clone(hold.expect("the router lets every call in by its hold"))
}

/// A body whose messages are within what its call holds. Once the hold discards, it ends without what still comes.
#[derive(Debug)]
pub(super) struct AdmittedBody {
    /// Read already.
    ahead: Bytes,
    rest: Incoming,
    messages: MessageTracker,
    longest_bytes: u64,
    cost_of_longer: u64,
    turn: Turn,
    tally: Arc<Tally>,
}

impl AdmittedBody {
    fn pass(&mut self, data: &Bytes) -> Result<(), BudgetError> {
        let longest_bytes = self.messages.pass(data).min(MAX_MESSAGE_BYTES as u64);
        if longest_bytes > self.longest_bytes && longest_bytes > UNCOUNTED_MESSAGE_BYTES {
            self.turn.hold().grow_by((longest_bytes - self.longest_bytes) * self.cost_of_longer)?;
            self.longest_bytes = longest_bytes;
        }
        Ok(())
    }
}

impl Body for AdmittedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.ahead)))));
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.rest).poll_frame(cx) else {
                this.turn.pass_to_client();
                return Poll::Pending;
            };
            this.turn.pass_to_server();
            let Some(frame) = frame else {
                return Poll::Ready(None);
            };
            let frame = frame.map_err(|error| Status::from_error(error.into()))?;
            if let Some(data) = frame.data_ref() {
                this.tally.note_received(data.len());
                if this.turn.hold().discards() {
                    continue;
                }
                this.pass(data).map_err(grpc_status)?;
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // tonic does not ask.
        SizeHint::default()
    }
}

/// An upload's name as far as it is needed here: which function is meant makes no difference to the size.
fn name_of_upload(resource_name: &str) -> Option<WriteName> {
    WriteName::parse(resource_name, |_, digits| DigestFunction::inferred_from(digits)).ok()
}
