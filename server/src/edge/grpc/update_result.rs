//! `UpdateActionResult`: what a client sends is decoded to be checked, and stored and answered as it came.
//!
//! tonic would decode the result with its request and encode it for the answer, which for a usual result costs as much as to store it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ::http::{Request as HttpRequest, Response as HttpResponse};
use bytes::{Bytes, BytesMut};
use larder_action_cache::{ActionEntry, outline};
use larder_cas::{RequestCx, blocking};
use larder_protos::bounded::BoundedCodec;
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
    let Some(encoded) = whole(request.action_result) else {
        return Err(Status::invalid_argument("the request has no action_result"));
    };
    let cx = RequestCx::RAW;
    let (function, sent) = (key.action.function(), encoded.clone());
    let parse = move || ActionEntry::parse(function, sent);
    let parsed = blocking::run_sized(encoded.len(), parse).await.map_err(grpc_status)?;
    let entry = parsed.map_err(grpc_status)?;
    let entry = outline(&cx, &key, entry, &*shared.blobs).await.map_err(grpc_status)?;
    shared.actions.put(&cx, &key, entry).await.map_err(grpc_status)?;
    let mut response = Response::new(ActionResult::default());
    response.extensions_mut().insert(StoredMessage(encoded));
    Ok(response)
}

/// The message that came in these fields; `None` where there are none.
fn whole(fields: Vec<Bytes>) -> Option<Bytes> {
    let mut fields = fields.into_iter();
    let first = fields.next()?;
    if fields.len() == 0 {
        return Some(first);
    }
    let mut whole = BytesMut::from(first);
    fields.for_each(|field| whole.extend_from_slice(&field));
    Some(whole.freeze())
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
