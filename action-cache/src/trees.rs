//! [`Trees`]: which blobs a tree names, remembered, since a digest never changes its meaning.
//!
//! Also remembered is at how many removals all of them were there. While nothing has gone since, they are there, and need not be asked
//! for one by one; now and then they are all the same, since to be asked for extends their lives.
//! Invariant: the number that a tree was complete at was read before its blobs were asked for.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use larder_cas::{
    BlobKey, BlobStore, ByteRange, HotCache, HotStats, HotValue, Keyspace, MemoryLoan, Removals,
    RequestCx, StoreError, blocking, decoding_bytes,
};
use larder_protos::bounded::{Bounded, Field, Limit, Shape};
use larder_protos::{Digest, DigestFunction, bounded, reapi};
use prost::Message;

/// The largest `Tree` or `Directory` message read; some 700,000 files.
const MAX_MESSAGE_BYTES: u64 = 64 * 1024 * 1024;

/// The most blobs that one hierarchy may name, directories included.
const MAX_NAMED: usize = 1_000_000;

/// What reading a tree takes at most, for each byte of its message: the message, the digests decoded from it, and the set of them.
const MEMORY_A_MESSAGE_BYTE: u64 = 8;

/// What each blob named takes while a hierarchy is read: its place in the set, which may be half empty, and in the list made of it.
const MEMORY_A_NAME: u64 = 4 * size_of::<Digest>() as u64;

/// What a remembered tree costs besides the names: its key, the cache's entry and bookkeeping.
const MEMO_OVERHEAD_BYTES: u64 = 400;

/// What the largest tree costs.
const MEMO_LARGEST_BYTES: u64 = (MAX_NAMED * size_of::<Digest>()) as u64 + MEMO_OVERHEAD_BYTES;

/// How often the blobs of a tree are asked for though nothing has gone; far below any useful retention.
const TOUCH_EVERY: Duration = Duration::from_secs(10);

/// Reads trees from the CAS and remembers what they name.
pub(crate) struct Trees {
    blobs: Arc<dyn BlobStore>,
    removals: Arc<dyn Removals>,
    memo: HotCache<(Form, BlobKey), Remembered>,
}

/// What the memo keeps.
struct Remembered(Arc<TreeBlobs>);

/// What a tree names.
#[derive(Debug)]
pub(crate) struct TreeBlobs {
    /// Itself included.
    pub(crate) digests: Box<[Digest]>,
    complete_at: CompleteAt,
}

/// When all blobs of a tree were there. The two numbers may be those of two moments: each then holds for one of them, and what follows
/// from the first is true whatever the second is.
#[derive(Debug)]
struct CompleteAt {
    removals: AtomicU64,
    second: AtomicU64,
}

/// Just before blobs are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    removals: u64,
    second: u64,
}

impl TreeBlobs {
    fn new(digests: HashSet<Digest>) -> Self {
        let complete_at =
            CompleteAt { removals: AtomicU64::new(u64::MAX), second: AtomicU64::new(0) };
        Self { digests: digests.into_iter().collect(), complete_at }
    }

    /// Whether all of them are there, and were asked for lately.
    pub(crate) fn is_complete(&self, now: Moment) -> bool {
        let asked_second = self.complete_at.second.load(Ordering::Relaxed);
        self.complete_at.removals.load(Ordering::Relaxed) == now.removals
            && now.second < asked_second + TOUCH_EVERY.as_secs()
    }

    /// Notes that all of them were found when they were asked for after `moment`.
    pub(crate) fn note_complete(&self, moment: Moment) {
        self.complete_at.removals.store(moment.removals, Ordering::Relaxed);
        self.complete_at.second.store(moment.second, Ordering::Relaxed);
    }
}

impl HotValue for Remembered {
    fn cost_bytes(&self) -> u64 {
        size_of_val::<[Digest]>(&self.0.digests) as u64 + MEMO_OVERHEAD_BYTES
    }
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
    pub(crate) fn new(
        blobs: Arc<dyn BlobStore>,
        removals: Arc<dyn Removals>,
        memo_bytes: u64,
    ) -> Self {
        let memo = HotCache::new(memo_bytes, MEMO_LARGEST_BYTES);
        Self { blobs, removals, memo }
    }

    /// To be read before blobs are asked for.
    pub(crate) fn moment(&self) -> Moment {
        Moment { removals: self.removals.removals(), second: self.memo.now_seconds() }
    }

    pub(crate) fn stats(&self) -> HotStats {
        self.memo.stats()
    }

    pub(crate) fn set_limit(&self, limit_bytes: u64) {
        self.memo.set_limit(limit_bytes);
    }

    pub(crate) fn clear(&self) {
        self.memo.clear();
    }

    /// Every blob that the tree `digest` needs, itself included; `None` where a message is absent, no tree, or
    /// over a limit. What it takes in memory meanwhile is lent by the request.
    pub(crate) async fn named_by(
        &self,
        cx: &RequestCx,
        keyspace: &Keyspace,
        form: Form,
        digest: Digest,
    ) -> Result<Option<Arc<TreeBlobs>>, StoreError> {
        let key = (form, BlobKey { keyspace: keyspace.clone(), digest });
        if let Some(remembered) = self.memo.get(&key) {
            return Ok(Some(Arc::clone(&remembered.0)));
        }
        let mut loan = cx.memory.loan();
        loan.grow_to(memory_of_message(&digest)).await?;
        // Whoever had the memory before may have read the same tree.
        if let Some(remembered) = self.memo.get_uncounted(&key) {
            return Ok(Some(Arc::clone(&remembered.0)));
        }
        let named = match form {
            Form::Tree => self.named_by_tree(cx, &key.1).await?,
            Form::Root => self.named_by_root(cx, &key.1, &mut loan).await?,
        };
        let named = named.map(|digests| Arc::new(TreeBlobs::new(digests)));
        if let Some(named) = &named {
            self.memo.insert(key, Remembered(Arc::clone(named)));
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
        let files = blocking::run_sized(bytes.len(), move || tree_files(bytes, function));
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
        loan: &mut MemoryLoan,
    ) -> Result<Option<HashSet<Digest>>, StoreError> {
        let function = root.digest.function();
        let mut named = HashSet::from([root.digest]);
        let mut unread = vec![root.digest];
        while let Some(digest) = unread.pop() {
            let held_bytes = named.len() as u64 * MEMORY_A_NAME + memory_of_message(&digest);
            loan.grow_to(held_bytes).await?;
            let key = BlobKey { digest, ..root.clone() };
            let Some(bytes) = self.read(cx, &key).await? else { return Ok(None) };
            let decode = move || bounded::decode::<DirectoryDigests>(bytes);
            let decoded = blocking::run_sized(size_of_message(&digest), decode).await?;
            let Ok(directory) = decoded else { return Ok(None) };
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
            if named.len() > MAX_NAMED {
                tracing::warn!(root = %root, "names more than {MAX_NAMED} blobs: no hit");
                return Ok(None);
            }
        }
        Ok(Some(named))
    }

    async fn read(&self, cx: &RequestCx, key: &BlobKey) -> Result<Option<Bytes>, StoreError> {
        if key.digest.size_bytes() > MAX_MESSAGE_BYTES {
            tracing::warn!(tree = %key, "a tree or directory over {MAX_MESSAGE_BYTES} B: no hit");
            return Ok(None);
        }
        let Some(payload) = self.blobs.get(cx, key, ByteRange::ALL).await? else { return Ok(None) };
        payload.into_bytes(MAX_MESSAGE_BYTES).await.map(Some)
    }
}

fn size_of_message(digest: &Digest) -> usize {
    usize::try_from(digest.size_bytes()).unwrap_or(usize::MAX)
}

/// What reading the message takes. One that is too large is not read.
fn memory_of_message(digest: &Digest) -> u64 {
    let size_bytes = digest.size_bytes();
    size_bytes.min(MAX_MESSAGE_BYTES) * MEMORY_A_MESSAGE_BYTE + decoding_bytes(size_bytes)
}

impl fmt::Debug for Trees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trees").field("memo", &self.memo).finish_non_exhaustive()
    }
}

// The parts of `Tree` and `Directory` that name blobs. Decoding only these leaves names and properties, most of a
// large tree, unread.

/// A `Tree`, which holds the directories itself: only their files count.
#[derive(Clone, PartialEq, Message)]
struct TreeFiles {
    #[prost(message, optional, tag = "1")]
    root: Option<DirectoryFiles>,
    #[prost(message, repeated, tag = "2")]
    children: Vec<DirectoryFiles>,
}

#[derive(Clone, PartialEq, Message)]
struct DirectoryFiles {
    #[prost(message, repeated, tag = "1")]
    files: Vec<NodeDigest>,
}

#[derive(Clone, PartialEq, Message)]
struct DirectoryDigests {
    #[prost(message, repeated, tag = "1")]
    files: Vec<NodeDigest>,
    #[prost(message, repeated, tag = "2")]
    directories: Vec<NodeDigest>,
}

const DIRECTORY_FILES: Shape = Shape { name: "Directory", fields: &[(1, Field::Values)] };

impl Bounded for TreeFiles {
    const SHAPE: &'static Shape = &Shape {
        name: "Tree",
        fields: &[(1, Field::Message(&DIRECTORY_FILES)), (2, Field::Messages(&DIRECTORY_FILES))],
    };
    const LIMIT: Limit = Limit::OUTPUTS;
}

impl Bounded for DirectoryDigests {
    const SHAPE: &'static Shape =
        &Shape { name: "Directory", fields: &[(1, Field::Values), (2, Field::Values)] };
    const LIMIT: Limit = Limit::OUTPUTS;
}

/// The files of all directories; `None` where this is no tree, or a file has no digest.
pub(crate) fn tree_files(encoded: Bytes, function: DigestFunction) -> Option<HashSet<Digest>> {
    let tree = bounded::decode::<TreeFiles>(encoded).ok()?;
    let directories = tree.root.iter().chain(&tree.children);
    let files = directories.flat_map(|directory| &directory.files);
    files.map(|file| file.digest(function)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_complete_while_nothing_goes_and_for_some_seconds_at_a_time() {
        let tree = TreeBlobs::new(HashSet::new());
        let check = |removals, second, expect| {
            let now = Moment { removals, second };
            assert_eq!(tree.is_complete(now), expect, "{now:?}");
        };
        check(0, 0, false);
        tree.note_complete(Moment { removals: 7, second: 100 });
        check(7, 100, true);
        check(7, 109, true);
        check(7, 110, false);
        check(8, 100, false);
        tree.note_complete(Moment { removals: 8, second: 110 });
        check(8, 119, true);
        // Another who began to ask before that and ended later.
        tree.note_complete(Moment { removals: 7, second: 100 });
        check(8, 110, false);
    }
}
