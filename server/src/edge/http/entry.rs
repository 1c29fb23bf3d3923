//! [`Entry`]: a key and its value, as tools have them whose entries are no action results. Each dialect makes its keys
//! of its paths; here is what they share.
//!
//! A value is a blob in the CAS; what the key points to is an action result that names it, in a keyspace of the dialect's
//! and the instance's own. So values are streamed, compressed, shared and evicted as all blobs are, and an entry whose
//! value is gone is a miss.

use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, Method, Response, StatusCode};
use larder_action_cache::{ActionEntry, ActionKey};
use larder_cas::{Encoding, RequestCx, StoreError};
use larder_protos::reapi::{ActionResult, NodeProperties, NodeProperty, OutputFile};
use larder_protos::{Digest, DigestFunction, InstanceName};
use tonic::body::Body;

use super::body::{self, BodyError, CacheRequest};
use super::cache::{bare, method_not_allowed, refusal};
use super::claims::Claims;
use super::conditions::Tag;
use super::download;
use super::path::PathError;
use super::spool::Spooled;
use crate::edge::partition::{Partition, space_keyspace};
use crate::edge::service::Shared;

const FUNCTION: DigestFunction = DigestFunction::Sha256;

/// What names an entry: its keyspace, and the hash of its key.
#[derive(Clone, Debug)]
pub(super) struct EntryName {
    partition: Partition,
    key: ActionKey,
}

/// What an entry points to, and what was said of it.
#[derive(Debug, Default)]
pub(super) struct Value {
    pub(super) digest: Option<Digest>,
    pub(super) properties: Vec<(String, String)>,
    /// To the second.
    pub(super) stored: Option<SystemTime>,
}

/// An entry that may be there or not.
pub(super) struct Entry<'a> {
    shared: &'a Shared,
    name: EntryName,
}

/// What became of an upload that may not overwrite.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stored {
    Now,
    Before,
}

/// Gets or puts an entry, as most dialects do it; other methods than `allowed` are refused.
pub(super) async fn get_or_put(
    shared: &Shared,
    name: Result<EntryName, PathError>,
    request: CacheRequest,
    allowed: &'static str,
) -> Response<Body> {
    let entry = match name {
        Ok(name) => Entry::of(shared, name),
        Err(error) => return refusal(error),
    };
    match *request.method() {
        Method::GET | Method::HEAD => entry.get(&request).await,
        Method::PUT => match entry.put(request, Vec::new()).await {
            Ok(()) => bare(StatusCode::OK),
            Err(error) => refusal(error),
        },
        _ => method_not_allowed(allowed),
    }
}

impl EntryName {
    /// The entry of `key` in the `space` of a dialect and an instance.
    pub(super) fn new(space: &'static str, instance: &str, key: &str) -> Result<Self, PathError> {
        let instance = InstanceName::parse(instance)?;
        let partition = Partition::of(&instance);
        let keyspace = space_keyspace(space, &instance);
        let hash = *Digest::of(FUNCTION, key.as_bytes()).hash();
        let key = ActionKey { keyspace, ..partition.action(hash) };
        Ok(Self { partition, key })
    }

    /// As the store has it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn key(&self) -> &ActionKey {
        &self.key
    }
}

impl<'a> Entry<'a> {
    pub(super) fn of(shared: &'a Shared, name: EntryName) -> Self {
        Self { shared, name }
    }

    /// `GET` and `HEAD`.
    pub(super) async fn get(&self, request: &CacheRequest) -> Response<Body> {
        match self.value().await {
            Ok(Some(value)) => self.send(&value, request).await,
            Ok(None) => bare(StatusCode::NOT_FOUND),
            Err(error) => refusal(error),
        }
    }

    /// The same for a value that was found.
    pub(super) async fn send(&self, value: &Value, request: &CacheRequest) -> Response<Body> {
        let Some(digest) = value.digest else { return bare(StatusCode::NOT_FOUND) };
        download::blob_of(self.shared, &self.name.partition, digest, request).await
    }

    /// What the key points to; `None` also where it was deleted. This extends its life.
    pub(super) async fn value(&self) -> Result<Option<Value>, StoreError> {
        let found = self.shared.actions.get(&RequestCx::RAW, &self.name.key).await?;
        let output = found.as_ref().and_then(|entry| entry.result().output_files.first());
        Ok(output.and_then(Value::of))
    }

    /// Makes the body the value of the key, whatever it was before, unless the request has conditions that this does not
    /// meet. They are looked at before the body is read and once more after it; no lock spans the rest.
    pub(super) async fn put(
        &self,
        request: CacheRequest,
        properties: Vec<(String, String)>,
    ) -> Result<(), BodyError> {
        let conditions = Tag::conditions(request.headers());
        self.check(&conditions).await?;
        let digest = self.receive(request).await?;
        self.check(&conditions).await?;
        let stored = Some(SystemTime::now());
        Ok(self.point_to(Value { digest: Some(digest), properties, stored }).await?)
    }

    /// The same unless the key has a value: then the body is drained, and nothing changes.
    ///
    /// Of several that come at once one is stored: the claim spans the question and the answer. Who finds it taken is
    /// told that there is a value, though the one who has it may yet fail.
    pub(super) async fn put_once(
        &self,
        claims: &Claims,
        request: CacheRequest,
    ) -> Result<Stored, BodyError> {
        if self.value().await?.is_some() {
            return Ok(Stored::Before);
        }
        let digest = self.receive(request).await?;
        let Some(_claim) = claims.take(&self.name.key) else { return Ok(Stored::Before) };
        if self.value().await?.is_some() {
            return Ok(Stored::Before);
        }
        let stored = Some(SystemTime::now());
        self.point_to(Value { digest: Some(digest), stored, ..Value::default() }).await?;
        Ok(Stored::Now)
    }

    /// Ends the entry. Says whether there was one.
    pub(super) async fn delete(&self) -> Result<bool, StoreError> {
        let existed = self.value().await?.is_some();
        if existed {
            self.point_to(Value::default()).await?;
        }
        Ok(existed)
    }

    async fn check(&self, conditions: &HeaderMap) -> Result<(), BodyError> {
        if conditions.is_empty() {
            return Ok(());
        }
        let digest = self.value().await?.and_then(|value| value.digest);
        let current = digest.map(|digest| Tag::of(digest.hash()));
        let may_replace = Tag::may_replace(current.as_ref(), conditions);
        if may_replace { Ok(()) } else { Err(BodyError::Condition) }
    }

    /// Stores the body as a blob.
    async fn receive(&self, request: CacheRequest) -> Result<Digest, BodyError> {
        let encoding = body::encoding(request.headers())?;
        let limit_bytes = self.shared.spool.limit_bytes;
        let length_bytes = body::length_bytes(request.headers());
        if encoding == Encoding::Raw && length_bytes.is_some_and(|length| length > limit_bytes) {
            return Err(BodyError::TooLarge { limit_bytes });
        }
        let needed_bytes = body::blob_bytes(encoding, None);
        let (_hold, chunks) = body::hold(self.shared, needed_bytes, request).await?;
        let decoded = body::decoded(encoding, chunks, self.name.key.action);
        let spooled = self.shared.spool.receive::<_, BodyError>(decoded, FUNCTION).await?;
        let Spooled { digest, untrusted } = spooled;
        let payload = untrusted.verify(&digest).await?;
        let key = self.name.partition.blob(digest);
        self.shared.blobs.put(&RequestCx::RAW, &key, payload).await?;
        Ok(digest)
    }

    async fn point_to(&self, value: Value) -> Result<(), StoreError> {
        let entry = ActionEntry::new(FUNCTION, value.into_result());
        let entry = entry.expect("its digest is well formed, its properties are few");
        self.shared.actions.put(&RequestCx::RAW, &self.name.key, entry).await
    }
}

impl Value {
    fn of(output: &OutputFile) -> Option<Self> {
        let digest = Digest::from_proto(output.digest.as_ref()?, FUNCTION).ok()?;
        let NodeProperties { properties, mtime, .. } =
            output.node_properties.clone().unwrap_or_default();
        let properties = properties.into_iter().map(|property| (property.name, property.value));
        let stored = mtime.and_then(|mtime| {
            let seconds = u64::try_from(mtime.seconds).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
        });
        Some(Self { digest: Some(digest), properties: properties.collect(), stored })
    }

    /// A result that names nothing stands for no entry.
    fn into_result(self) -> ActionResult {
        let Self { digest: Some(digest), properties, stored } = self else {
            return ActionResult::default();
        };
        let properties = properties.into_iter().map(|(name, value)| NodeProperty { name, value });
        let mut node_properties =
            NodeProperties { properties: properties.collect(), ..NodeProperties::default() };
        let since = stored.and_then(|stored| stored.duration_since(SystemTime::UNIX_EPOCH).ok());
        if let Some(seconds) = since.and_then(|since| i64::try_from(since.as_secs()).ok()) {
            node_properties.mtime.get_or_insert_default().seconds = seconds;
        }
        let output = OutputFile {
            digest: Some(digest.to_proto()),
            node_properties: Some(node_properties),
            ..OutputFile::default()
        };
        ActionResult { output_files: vec![output], ..ActionResult::default() }
    }

    /// What was said of it under this name.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        let (_, value) = self.properties.iter().find(|(known, _)| known == name)?;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_with_what_was_said_of_it() {
        let digest = Digest::of(FUNCTION, b"value");
        let stored = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let properties = vec![("tag".to_owned(), "x=".to_owned())];
        let value = Value { digest: Some(digest), properties, stored: Some(stored) };
        let result = value.into_result();
        let value = Value::of(&result.output_files[0]).expect("a value");
        assert_eq!((value.digest, value.stored), (Some(digest), Some(stored)));
        assert_eq!((value.property("tag"), value.property("duration")), (Some("x="), None));
        assert_eq!(Value::default().into_result(), ActionResult::default());
    }
}
