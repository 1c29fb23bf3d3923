//! `FindMissingBlobs`, the call that names most digests.
//!
//! The request is taken as bytes and read by [`DigestList`]; what that does not read is decoded as any other message, so that its
//! faults are told in the same words.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ::http::{Request as HttpRequest, Response as HttpResponse};
use bytes::{Buf as _, Bytes};
use larder_cas::RequestCx;
use larder_protos::Digest;
use larder_protos::bounded::{self, WholeEncoder};
use larder_protos::reapi::{FindMissingBlobsRequest, FindMissingBlobsResponse};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use super::admission::AdmittedBody;
use super::digest_list::DigestList;
use crate::edge::limits::MAX_MESSAGE_BYTES;
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::report::Notes;

/// Its path.
pub(super) const PATH: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs";

/// Answers one call.
pub(super) async fn call(
    shared: &Arc<Shared>,
    request: HttpRequest<AdmittedBody>,
) -> HttpResponse<Body> {
    let limits = Some(MAX_MESSAGE_BYTES);
    let mut grpc = Grpc::new(EncodedCodec).apply_max_message_size_config(limits, limits);
    grpc.unary(FindMissing(Arc::clone(shared)), request).await
}

/// The same of a message that is decoded.
pub(super) async fn of_message(
    shared: &Shared,
    notes: &Notes,
    request: FindMissingBlobsRequest,
) -> Result<FindMissingBlobsResponse, Status> {
    notes.instance(&request.instance_name);
    let addressed = shared.addressed(&request.instance_name, request.digest_function);
    let (partition, said) = addressed.map_err(grpc_status)?;
    let digests = request.blob_digests.iter().map(|digest| said.parse(digest));
    let digests = digests.collect::<Result<Vec<_>, _>>().map_err(grpc_status)?;
    of_digests(shared, &partition, digests).await
}

async fn of_bytes(
    shared: &Shared,
    notes: &Notes,
    encoded: Bytes,
) -> Result<FindMissingBlobsResponse, Status> {
    if let Some((partition, digests)) = read(shared, notes, &encoded) {
        return of_digests(shared, &partition, digests).await;
    }
    of_message(shared, notes, bounded::decode(encoded)?).await
}

fn read(shared: &Shared, notes: &Notes, encoded: &[u8]) -> Option<(Partition, Vec<Digest>)> {
    let list = DigestList::of(encoded)?;
    let (partition, said) = shared.addressed(list.instance_name, list.digest_function).ok()?;
    notes.instance(list.instance_name);
    Some((partition, list.digests(said)?))
}

async fn of_digests(
    shared: &Shared,
    partition: &Partition,
    digests: Vec<Digest>,
) -> Result<FindMissingBlobsResponse, Status> {
    let asked = shared.blobs.find_missing(&RequestCx::RAW, partition.blobs(digests)).await;
    let missing = asked.map_err(grpc_status)?;
    let missing_blob_digests = missing.digests.iter().map(Digest::to_proto).collect();
    Ok(FindMissingBlobsResponse { missing_blob_digests })
}

struct FindMissing(Arc<Shared>);

impl UnaryService<Bytes> for FindMissing {
    type Response = FindMissingBlobsResponse;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<FindMissingBlobsResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        let notes = Notes::of(request.extensions());
        let encoded = request.into_inner();
        Box::pin(async move { of_bytes(&shared, &notes, encoded).await.map(Response::new) })
    }
}

/// Leaves requests as they came.
#[derive(Debug)]
struct EncodedCodec;

impl Codec for EncodedCodec {
    type Encode = FindMissingBlobsResponse;
    type Decode = Bytes;
    type Encoder = WholeEncoder<FindMissingBlobsResponse>;
    type Decoder = EncodedDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        WholeEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        EncodedDecoder
    }
}

#[derive(Debug)]
struct EncodedDecoder;

impl Decoder for EncodedDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, encoded: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        // Splits the message off the buffer that it arrived in, without a copy.
        Ok(Some(encoded.copy_to_bytes(encoded.remaining())))
    }
}
