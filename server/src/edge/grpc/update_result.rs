//! `UpdateActionResult`: what a client sends is decoded to be checked, and stored and answered as it came.
//!
//! tonic would decode the result with its request and encode it for the answer, which for a usual result costs as much as to store it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ::http::{Request as HttpRequest, Response as HttpResponse};
use bytes::Bytes;
use larder_action_cache::{ActionEntry, outline};
use larder_cas::{RequestCx, blocking};
use larder_protos::bounded::{self, BoundedCodec, BoundedError};
use larder_protos::hot::UpdateActionResultRequest;
use larder_protos::reapi::ActionResult;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use super::admission::AdmittedBody;
use super::stored_message::{StoredMessage, with_stored};
use crate::edge::limits::MAX_MESSAGE_BYTES;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::report::Notes;

/// Its path.
pub(super) const PATH: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";

/// Answers one call.
pub(super) async fn call(
    shared: &Arc<Shared>,
    request: HttpRequest<AdmittedBody>,
) -> HttpResponse<Body> {
    let limits = Some(MAX_MESSAGE_BYTES);
    let codec = BoundedCodec::<ActionResult, UpdateActionResultRequest>::default();
    let mut grpc = Grpc::new(codec).apply_max_message_size_config(limits, limits);
    with_stored(grpc.unary(UpdateResult(Arc::clone(shared)), request).await)
}

/// Stores the result of a request; the encoded result that is the answer stands among the extensions.
pub(super) async fn store(
    shared: &Shared,
    notes: &Notes,
    request: UpdateActionResultRequest,
) -> Result<Response<ActionResult>, Status> {
    let addressed = shared.addressed(&request.instance_name, request.digest_function);
    let (partition, said) = addressed.map_err(grpc_status)?;
    let action = said.require("action_digest", request.action_digest.as_ref());
    let action = action.map_err(grpc_status)?;
    notes.instance(&request.instance_name).digest(action);
    let key = partition.action(*action.hash());
    let fields = request.action_result;
    if fields.is_empty() {
        return Err(Status::invalid_argument("the request has no action_result"));
    }
    let cx = RequestCx::RAW;
    let function = key.action.function();
    let sent_bytes = fields.iter().map(Bytes::len).sum();
    let parse = move || ActionEntry::parse(function, whole(fields)?);
    let parsed = blocking::run_sized(sent_bytes, parse).await.map_err(grpc_status)?;
    let entry = parsed.map_err(grpc_status)?;
    let encoded = entry.encoded().clone();
    let entry = outline(&cx, &key, entry, &*shared.blobs).await.map_err(grpc_status)?;
    shared.actions.put(&cx, &key, entry).await.map_err(grpc_status)?;
    let mut response = Response::new(ActionResult::default());
    response.extensions_mut().insert(StoredMessage(encoded));
    Ok(response)
}

/// The message that came in these fields, each of which must be one too: two that are none may be one together.
fn whole(mut fields: Vec<Bytes>) -> Result<Bytes, BoundedError> {
    if fields.len() == 1 {
        return Ok(fields.remove(0));
    }
    for field in &fields {
        bounded::check::<ActionResult>(field)?;
    }
    Ok(fields.concat().into())
}

struct UpdateResult(Arc<Shared>);

impl UnaryService<UpdateActionResultRequest> for UpdateResult {
    type Response = ActionResult;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ActionResult>, Status>> + Send>>;

    fn call(&mut self, request: Request<UpdateActionResultRequest>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        let notes = Notes::of(request.extensions());
        Box::pin(async move { store(&shared, &notes, request.into_inner()).await })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn fields_are_messages_and_so_is_what_they_say_together() {
        let sent = ActionResult { stdout_raw: vec![1; 100], exit_code: 7, ..Default::default() };
        let encoded = Bytes::from(sent.encode_to_vec());
        assert_eq!(whole(vec![encoded.clone()]).unwrap(), encoded);
        let mut parts = Vec::new();
        for at in 0..=encoded.len() {
            let fields = vec![encoded.slice(..at), encoded.slice(at..)];
            let are_messages =
                fields.iter().all(|field| ActionResult::decode(field.clone()).is_ok());
            match whole(fields) {
                Ok(together) => {
                    assert_eq!((together, are_messages), (encoded.clone(), true), "{at}");
                }
                Err(error) => assert!(!are_messages, "{at}: {error}"),
            }
            parts.push(are_messages);
        }
        assert_eq!(parts.iter().filter(|&&are_messages| are_messages).count(), 3, "{parts:?}");
    }
}
