//! `BatchUpdateBlobs` and `BatchReadBlobs`: many small blobs in one message, each with a status of its own.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use larder_cas::{ByteRange, Encoding, RequestCx, UntrustedPayload};
use larder_protos::Compressor;
use larder_protos::hot::{
    BatchReadBlobsResponse, BatchUpdateBlobsRequest, batch_read_blobs_response,
    batch_update_blobs_request,
};
use larder_protos::reapi::{
    BatchReadBlobsRequest, BatchUpdateBlobsResponse, Digest as ProtoDigest,
    batch_update_blobs_response, compressor,
};
use larder_protos::rpc;
use tonic::{Code, Status};

use super::in_order::in_order;
use crate::edge::budget::Hold;
use crate::edge::functions::Said;
use crate::edge::limits::{BATCH_CONCURRENCY, MAX_BATCH_BYTES};
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::edge::working_set::{batch_answer_bytes, batched_bytes};

/// Stores each blob that is what it claims to be.
pub(crate) async fn update(
    shared: &Shared,
    hold: &Hold,
    request: BatchUpdateBlobsRequest,
) -> Result<BatchUpdateBlobsResponse, Status> {
    let batch = Batch::new(shared, &request.instance_name, request.digest_function)?;
    let sent_bytes = request.requests.iter().map(|request| request.data.len() as u64).sum();
    check_total("the blobs of this batch", sent_bytes)?;
    let stored = request.requests.into_iter().map(|request| batch.store_one(hold, request));
    let responses = stream::iter(stored).buffered(BATCH_CONCURRENCY).collect().await;
    Ok(BatchUpdateBlobsResponse { responses })
}

/// Reads each blob that is there.
pub(crate) async fn read(
    shared: &Shared,
    hold: &Hold,
    request: BatchReadBlobsRequest,
) -> Result<BatchReadBlobsResponse, Status> {
    let batch = Batch::new(shared, &request.instance_name, request.digest_function)?;
    // What counts is what is asked for: a small message could name one large blob a thousand times.
    let asked = request.digests.iter();
    let asked_bytes = asked.map(|digest| u64::try_from(digest.size_bytes).unwrap_or(0));
    let asked_bytes = asked_bytes.fold(0, u64::saturating_add);
    check_total("the blobs asked for", asked_bytes)?;
    hold.cover(batch_answer_bytes(asked_bytes)).await.map_err(grpc_status)?;
    let takes_zstd = request.acceptable_compressors.contains(&compressor::Value::Zstd.into());
    let cx = if takes_zstd { RequestCx::RAW_OR_ZSTD } else { RequestCx::RAW };
    let reads = request.digests.into_iter().map(|digest| batch.read_one(&cx, digest));
    let responses = in_order(reads, BATCH_CONCURRENCY).await;
    Ok(BatchReadBlobsResponse { responses })
}

struct Batch<'a> {
    shared: &'a Shared,
    partition: Partition,
    said: Said<'a>,
}

impl<'a> Batch<'a> {
    fn new(shared: &'a Shared, instance: &str, digest_function: i32) -> Result<Self, Status> {
        let addressed = shared.addressed(instance, digest_function);
        let (partition, said) = addressed.map_err(grpc_status)?;
        Ok(Self { shared, partition, said })
    }

    async fn store_one(
        &self,
        hold: &Hold,
        request: batch_update_blobs_request::Request,
    ) -> batch_update_blobs_response::Response {
        let batch_update_blobs_request::Request { digest, data, compressor } = request;
        let stored = self.try_store_one(hold, digest.as_ref(), data, compressor).await;
        let status = Some(stored.err().map_or_else(ok, rpc_status));
        batch_update_blobs_response::Response { digest, status }
    }

    async fn try_store_one(
        &self,
        hold: &Hold,
        digest: Option<&ProtoDigest>,
        data: Bytes,
        compressor: i32,
    ) -> Result<(), Status> {
        let digest = self.said.require("digest", digest).map_err(grpc_status)?;
        let compressor = Compressor::from_proto(compressor).map_err(grpc_status)?;
        let encoding = match compressor {
            Compressor::Identity => Encoding::Raw,
            Compressor::Zstd => Encoding::Zstd,
        };
        let _decoded =
            hold.lend(batched_bytes(compressor, digest.size_bytes())).map_err(grpc_status)?;
        let untrusted = UntrustedPayload::from_bytes(encoding, data);
        let payload = untrusted.verify(&digest).await.map_err(grpc_status)?;
        let key = self.partition.blob(digest);
        self.shared.blobs.put(&RequestCx::RAW, &key, payload).await.map_err(grpc_status)?;
        Ok(())
    }

    async fn read_one(
        &self,
        cx: &RequestCx,
        digest: ProtoDigest,
    ) -> batch_read_blobs_response::Response {
        let (data, compressor, status) = match self.try_read_one(cx, &digest).await {
            Ok((data, compressor)) => (data, compressor, ok()),
            Err(status) => (Bytes::new(), compressor::Value::Identity, rpc_status(status)),
        };
        batch_read_blobs_response::Response {
            digest: Some(digest),
            data,
            compressor: compressor.into(),
            status: Some(status),
        }
    }

    async fn try_read_one(
        &self,
        cx: &RequestCx,
        digest: &ProtoDigest,
    ) -> Result<(Bytes, compressor::Value), Status> {
        let digest = self.said.parse(digest).map_err(grpc_status)?;
        let key = self.partition.blob(digest);
        let found = self.shared.blobs.get(cx, &key, ByteRange::ALL).await.map_err(grpc_status)?;
        let payload = found.ok_or_else(|| Status::not_found(format!("blob {key} is absent")))?;
        if payload.encoding() == Encoding::Zstd
            && let Some(frame) = payload.bytes()
        {
            return Ok((frame.clone(), compressor::Value::Zstd));
        }
        // Plain bytes are always acceptable. What is plain here lies in memory so, or was not worth encoding when it was stored:
        // to encode it for each batch would cost more than the network saves on blobs of this size.
        let data = payload.into_bytes(MAX_BATCH_BYTES).await.map_err(grpc_status)?;
        Ok((data, compressor::Value::Identity))
    }
}

fn check_total(what: &str, total_bytes: u64) -> Result<(), Status> {
    if total_bytes > MAX_BATCH_BYTES {
        let message = format!(
            "{what} sum to {total_bytes} B, over the limit of {MAX_BATCH_BYTES} B a batch; \
             use ByteStream for large blobs"
        );
        return Err(Status::invalid_argument(message));
    }
    Ok(())
}

fn ok() -> rpc::Status {
    rpc::Status { code: Code::Ok.into(), ..rpc::Status::default() }
}

fn rpc_status(status: Status) -> rpc::Status {
    let message = status.message().to_owned();
    rpc::Status { code: status.code().into(), message, ..rpc::Status::default() }
}
