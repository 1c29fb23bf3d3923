//! `UpdateActionResult`: what a client sends is decoded to be checked, and stored and answered as it came.
//!
//! tonic would decode the result with its request and encode it for the answer, which for a usual result costs as much as to store it.

use std::sync::Arc;

use ::http::{Request, Response};
use bytes::Bytes;
use larder_action_cache::{ActionEntry, outline};
use larder_cas::{RequestCx, blocking};
use larder_protos::bounded::{self, BoundedError};
use larder_protos::hot::UpdateActionResultRequest;
use larder_protos::reapi::ActionResult;
use tonic::Status;
use tonic::body::Body;

use super::admission::AdmittedBody;
use super::frames::Frames;
use super::stored_message::answer_of;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::report::Notes;

/// Its path.
pub(super) const PATH: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";

/// Answers one call.
pub(super) async fn call(shared: &Arc<Shared>, request: Request<AdmittedBody>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let notes = Notes::of(&head.extensions);
    let stored = async {
        let request = bounded::decode(Frames::receive(body).await?.into_bytes())?;
        store(shared, &notes, request).await
    };
    stored.await.map_or_else(Status::into_http, answer_of)
}

/// Stores the result of a request, which is the answer too.
pub(super) async fn store(
    shared: &Shared,
    notes: &Notes,
    request: UpdateActionResultRequest,
) -> Result<Bytes, Status> {
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
    Ok(encoded)
}

/// The message that came in these fields, each of which must be one too: two that are none may be one together.
fn whole(fields: Vec<Bytes>) -> Result<Bytes, BoundedError> {
    if let [field] = &fields[..] {
        // A copy: what is stored stays in memory, and a slice would keep all with which it came.
        return Ok(Bytes::copy_from_slice(field));
    }
    for field in &fields {
        bounded::check::<ActionResult>(field)?;
    }
    Ok(fields.concat().into())
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
