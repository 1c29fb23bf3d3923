//! `ActionCache`.

use std::sync::Arc;

use bytes::Bytes;
use larder_action_cache::{ActionEntry, InlineHints, MAX_INLINED_BYTES, inline};
use larder_cas::{RequestCx, RequestMemory, blocking};
use larder_protos::reapi::{ActionResult, GetActionResultRequest, UpdateActionResultRequest};
use larder_protos::services::action_cache_server::ActionCache;
use tonic::{Request, Response, Status};

use super::admission::hold_of;
use super::stored_message::StoredMessage;
use super::update_result;
use crate::edge::budget::Hold;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::edge::working_set::answer_bytes;
use crate::report::Notes;
use crate::telemetry::Tally;

#[derive(Clone, Debug)]
pub(crate) struct ActionCacheService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl ActionCache for ActionCacheService {
    async fn get_action_result(
        &self,
        request: Request<GetActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let (hold, tally) = (hold_of(&request), Tally::of(request.extensions()));
        let notes = Notes::of(request.extensions());
        let request = request.into_inner();
        let addressed = self.0.addressed(&request.instance_name, request.digest_function);
        let (partition, said) = addressed.map_err(grpc_status)?;
        let action = said.require("action_digest", request.action_digest.as_ref());
        let action = action.map_err(grpc_status)?;
        notes.instance(&request.instance_name).digest(action);
        let key = partition.action(*action.hash());
        let lender: Arc<Hold> = Arc::clone(&hold);
        let cx = RequestCx::raw_within(RequestMemory::counted_by(lender));
        let found = self.0.actions.get(&cx, &key).await.map_err(grpc_status)?;
        tally.note_lookup(found.as_ref().map(ActionEntry::result));
        let entry = found
            .ok_or_else(|| Status::not_found(format!("no result of action {key} is cached")))?;
        let inlines = request.inline_stdout
            || request.inline_stderr
            || !request.inline_output_files.is_empty();
        let mut needed_bytes = answer_bytes(entry.memory_bytes() as u64);
        if inlines {
            needed_bytes += MAX_INLINED_BYTES;
        }
        hold.cover(needed_bytes).await.map_err(grpc_status)?;
        if !inlines {
            return Ok(answered_with(entry.encoded().clone()));
        }
        let encoded_bytes = entry.encoded().len();
        let copy = move || entry.result().clone();
        let mut result = blocking::run_sized(encoded_bytes, copy).await.map_err(grpc_status)?;
        let hints = InlineHints {
            stdout: request.inline_stdout,
            stderr: request.inline_stderr,
            output_files: request.inline_output_files,
        };
        inline(&cx, &key, &mut result, &hints, &*self.0.blobs).await.map_err(grpc_status)?;
        Ok(Response::new(result))
    }

    async fn update_action_result(
        &self,
        request: Request<UpdateActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let notes = Notes::of(request.extensions());
        // The router lets no such call come here; its message would be decoded by now.
        let stored = update_result::store(&self.0, &notes, request.into_inner().into()).await?;
        Ok(answered_with(stored))
    }
}

/// The answer that stands among the extensions.
fn answered_with(stored: Bytes) -> Response<ActionResult> {
    let mut response = Response::new(ActionResult::default());
    response.extensions_mut().insert(StoredMessage(stored));
    response
}
