//! The raw key-value space, `GET|HEAD|PUT|DELETE /kv/{any path}`: for ccache and others whose entries are no action results.
//!
//! The path is the key and the body the value. A value is a blob in the CAS; what the key points to is an action result
//! that names it, in a keyspace of its own. So values are streamed, compressed, shared and evicted as all blobs are, and an
//! entry whose value is gone is a miss.

use ::http::{Method, Response, StatusCode};
use larder_action_cache::{ActionEntry, ActionKey};
use larder_cas::{Keyspace, RequestCx, StoreError};
use larder_protos::reapi::{ActionResult, OutputFile};
use larder_protos::{Digest, DigestFunction, InstanceName};
use tonic::body::Body;

use super::body::{self, BodyError, CacheRequest};
use super::cache::{bare, method_not_allowed, refusal};
use super::download;
use super::spool::Spooled;
use crate::edge::partition::Partition;
use crate::edge::service::Shared;

/// Where the space begins: the first segment of its paths, and so of no instance's over HTTP.
pub(super) const SEGMENT: &str = "kv";

/// The keyspace of the keys. Instance names cannot have the segment `uploads`, so none is named like this.
const KEYSPACE: &str = "uploads/kv";

const FUNCTION: DigestFunction = DigestFunction::Sha256;

/// The key that a URL's path names, if it lies in this space.
pub(super) fn key(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/')?.strip_prefix(SEGMENT)?;
    path.strip_prefix('/').filter(|key| !key.is_empty())
}

/// Does what the method says with the entry of `key`.
pub(super) async fn call(shared: &Shared, key: &str, request: CacheRequest) -> Response<Body> {
    let entry = Entry { shared, key: action_key(key) };
    match *request.method() {
        Method::GET | Method::HEAD => match entry.value().await {
            Ok(Some(value)) => download::blob_of(shared, &partition(), value, &request).await,
            Ok(None) => bare(StatusCode::NOT_FOUND),
            Err(error) => refusal(error),
        },
        Method::PUT => match entry.put(request).await {
            Ok(()) => bare(StatusCode::OK),
            Err(error) => refusal(error),
        },
        Method::DELETE => match entry.delete().await {
            Ok(true) => bare(StatusCode::OK),
            Ok(false) => bare(StatusCode::NOT_FOUND),
            Err(error) => refusal(error),
        },
        _ => method_not_allowed("GET, HEAD, PUT, DELETE"),
    }
}

fn partition() -> Partition {
    Partition::of(&InstanceName::default())
}

fn action_key(key: &str) -> ActionKey {
    let keyspace = Keyspace::new(KEYSPACE).expect("a short name");
    let action = *Digest::of(FUNCTION, key.as_bytes()).hash();
    ActionKey { keyspace, ..partition().action(action) }
}

struct Entry<'a> {
    shared: &'a Shared,
    key: ActionKey,
}

impl Entry<'_> {
    /// The blob that is the value; `None` also where it was deleted.
    async fn value(&self) -> Result<Option<Digest>, StoreError> {
        let found = self.shared.actions.get(&RequestCx::RAW, &self.key).await?;
        let output = found.as_ref().and_then(|entry| entry.result().output_files.first());
        let named = output.and_then(|output| output.digest.as_ref());
        Ok(named.and_then(|digest| Digest::from_proto(digest, FUNCTION).ok()))
    }

    async fn put(&self, request: CacheRequest) -> Result<(), BodyError> {
        let encoding = body::encoding(request.headers())?;
        let needed_bytes = body::blob_bytes(encoding, None);
        let (_hold, chunks) = body::hold(self.shared, needed_bytes, request).await?;
        let decoded = body::decoded(encoding, chunks, self.key.action);
        let spooled = self.shared.spool.receive::<_, BodyError>(decoded, FUNCTION).await?;
        let Spooled { digest, untrusted } = spooled;
        let payload = untrusted.verify(&digest).await?;
        self.shared.blobs.put(&RequestCx::RAW, &partition().blob(digest), payload).await?;
        let output = OutputFile { digest: Some(digest.to_proto()), ..OutputFile::default() };
        let result = ActionResult { output_files: vec![output], ..ActionResult::default() };
        Ok(self.point_to(result).await?)
    }

    /// A result that names nothing stands for no entry. Says whether there was one.
    async fn delete(&self) -> Result<bool, StoreError> {
        let existed = self.value().await?.is_some();
        if existed {
            self.point_to(ActionResult::default()).await?;
        }
        Ok(existed)
    }

    async fn point_to(&self, result: ActionResult) -> Result<(), StoreError> {
        let entry = ActionEntry::new(FUNCTION, result).expect("its digest is well formed");
        self.shared.actions.put(&RequestCx::RAW, &self.key, entry).await
    }
}
