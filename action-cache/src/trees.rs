//! [`Trees`]: which blobs a tree names, remembered, since a digest never changes its meaning.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use larder_cas::{BlobKey, BlobStore, ByteRange, Keyspace, RequestCx, StoreError, blocking};
use larder_protos::{Digest, DigestFunction, reapi};
use moka::sync::Cache;
use prost::Message;

/// The largest `Tree` or `Directory` message read. Reading one takes a small multiple of its size in memory.
const MAX_MESSAGE_BYTES: u64 = 256 * 1024 * 1024;

/// The most `Directory` messages read below one root.
const MAX_DIRECTORIES: usize = 1_000_000;

/// Reads trees from the CAS and remembers what they name.
pub(crate) struct Trees {
    blobs: Arc<dyn BlobStore>,
    memo: Cache<(Form, BlobKey), Arc<[Digest]>>,
}

/// The two ways to name a directory hierarchy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Form {
    /// One `Tree` message, which holds every directory; these need not be in the CAS themselves.
    Tree,
    /// The root's `Directory` message; the CAS holds the ones below.
    Root,
}

impl Trees {
    /// Reads from `blobs` and spends at most about `memo_bytes` on remembering.
    pub(crate) fn new(blobs: Arc<dyn BlobStore>, memo_bytes: u64) -> Self {
        let weigh = |_: &(Form, BlobKey), named: &Arc<[Digest]>| {
            u32::try_from(size_of_val::<[Digest]>(named) + size_of::<BlobKey>()).unwrap_or(u32::MAX)
        };
        Self { blobs, memo: Cache::builder().max_capacity(memo_bytes).weigher(weigh).build() }
    }

    /// Every blob that the tree `digest` needs, itself included; `None` where a message is absent or no tree.
    pub(crate) async fn named_by(
        &self,
        cx: &RequestCx,
        keyspace: &Keyspace,
        form: Form,
        digest: Digest,
    ) -> Result<Option<Arc<[Digest]>>, StoreError> {
        let key = (form, BlobKey { keyspace: keyspace.clone(), digest });
        if let Some(named) = self.memo.get(&key) {
            return Ok(Some(named));
        }
        let named = match form {
            Form::Tree => self.named_by_tree(cx, &key.1).await?,
            Form::Root => self.named_by_root(cx, &key.1).await?,
        };
        let named: Option<Arc<[Digest]>> = named.map(|digests| digests.into_iter().collect());
        if let Some(named) = &named {
            self.memo.insert(key, Arc::clone(named));
        }
        Ok(named)
    }

    async fn named_by_tree(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
    ) -> Result<Option<HashSet<Digest>>, StoreError> {
        let Some(bytes) = self.read(cx, key).await? else { return Ok(None) };
        let function = key.digest.function();
        let files = blocking::run_sized(bytes.len(), move || TreeDigests::files(bytes, function));
        let mut named = files.await?;
        if let Some(named) = &mut named {
            named.insert(key.digest);
        }
        Ok(named)
    }

    /// Reads every distinct directory once, however many paths lead to it.
    async fn named_by_root(
        &self,
        cx: &RequestCx,
        root: &BlobKey,
    ) -> Result<Option<HashSet<Digest>>, StoreError> {
        let function = root.digest.function();
        let mut named = HashSet::from([root.digest]);
        let mut unread = vec![root.digest];
        let mut read = 0;
        while let Some(digest) = unread.pop() {
            read += 1;
            if read > MAX_DIRECTORIES {
                tracing::warn!(root = %root, "more than {MAX_DIRECTORIES} directories: no hit");
                return Ok(None);
            }
            let key = BlobKey { digest, ..root.clone() };
            let Some(bytes) = self.read(cx, &key).await? else { return Ok(None) };
            let Ok(directory) = DirectoryDigests::decode(bytes) else { return Ok(None) };
            for file in &directory.files {
                let Some(digest) = file.digest(function) else { return Ok(None) };
                named.insert(digest);
            }
            for child in &directory.directories {
                let Some(digest) = child.digest(function) else { return Ok(None) };
                if named.insert(digest) {
                    unread.push(digest);
                }
            }
        }
        Ok(Some(named))
    }

    async fn read(&self, cx: &RequestCx, key: &BlobKey) -> Result<Option<Bytes>, StoreError> {
        let Some(payload) = self.blobs.get(cx, key, ByteRange::ALL).await? else { return Ok(None) };
        payload.into_bytes(MAX_MESSAGE_BYTES).await.map(Some)
    }
}

impl fmt::Debug for Trees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trees")
            .field("remembered", &self.memo.entry_count())
            .finish_non_exhaustive()
    }
}

// The parts of `Tree` and `Directory` that name blobs. Decoding only these leaves names and properties, most of a
// large tree, unread.

#[derive(Clone, PartialEq, Message)]
struct TreeDigests {
    #[prost(message, optional, tag = "1")]
    root: Option<DirectoryDigests>,
    #[prost(message, repeated, tag = "2")]
    children: Vec<DirectoryDigests>,
}

impl TreeDigests {
    /// The files of all directories; `None` where this is no tree, or a file has no digest.
    fn files(encoded: Bytes, function: DigestFunction) -> Option<HashSet<Digest>> {
        let tree = Self::decode(encoded).ok()?;
        let directories = tree.root.iter().chain(&tree.children);
        let files = directories.flat_map(|directory| &directory.files);
        files.map(|file| file.digest(function)).collect()
    }
}

#[derive(Clone, PartialEq, Message)]
struct DirectoryDigests {
    #[prost(message, repeated, tag = "1")]
    files: Vec<NodeDigest>,
    #[prost(message, repeated, tag = "2")]
    directories: Vec<NodeDigest>,
}

/// The shape that `FileNode` and `DirectoryNode` share.
#[derive(Clone, PartialEq, Message)]
struct NodeDigest {
    #[prost(message, optional, tag = "2")]
    digest: Option<reapi::Digest>,
}

impl NodeDigest {
    fn digest(&self, function: DigestFunction) -> Option<Digest> {
        Digest::from_proto(self.digest.as_ref()?, function).ok()
    }
}
