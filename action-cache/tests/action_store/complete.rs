//! A hit is complete: everything that a result names is present, or it is a miss.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::poll;
use larder_action_cache::{
    ActionEntry, ActionKey, ActionStore, Complete, InlineHints, MalformedResult, OutlineError,
    inline, outline,
};
use larder_cas::{
    BlobKey, BlobKeys, BlobStore, ByteRange, Encoding, Keyspace, Payload, PutOutcome, RequestCx,
    StoreError, UntrustedPayload, blocking,
};
use larder_disk::{Engine, RecordKey};
use larder_protos::reapi::{
    ActionResult, Digest as ProtoDigest, Directory, DirectoryNode, FileNode, OutputDirectory,
    OutputFile, Tree,
};
use larder_protos::{Digest, DigestFunction};
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;

use crate::fixture::Fixture;

const FUNCTION: DigestFunction = DigestFunction::Sha256;
const CX: RequestCx = RequestCx::RAW;

/// Blobs of which one goes just after it was asked for and found, once.
#[derive(Debug)]
struct Leaking {
    inner: Arc<dyn BlobStore>,
    engine: Arc<Engine>,
    gone: RecordKey,
    is_due: AtomicBool,
}

impl fmt::Display for Leaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaking({})", self.inner)
    }
}

#[async_trait]
impl BlobStore for Leaking {
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError> {
        let missing = self.inner.find_missing(cx, keys).await?;
        if self.is_due.swap(false, Ordering::Relaxed) {
            let (engine, key) = (Arc::clone(&self.engine), self.gone.clone());
            assert!(blocking::run(move || engine.remove(&key)).await?.expect("removed"));
        }
        Ok(missing)
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        self.inner.get(cx, key, range).await
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.inner.put(cx, key, payload).await
    }
}

struct Cache {
    fixture: Fixture,
    actions: Complete,
    keyspace: Keyspace,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(FUNCTION, bytes)
}

fn file(digest: Option<ProtoDigest>) -> FileNode {
    FileNode { name: "file".to_owned(), digest, ..FileNode::default() }
}

fn folder(digest: Option<ProtoDigest>) -> DirectoryNode {
    DirectoryNode { name: "folder".to_owned(), digest }
}

fn directory(files: Vec<FileNode>, directories: Vec<DirectoryNode>) -> Directory {
    Directory { files, directories, ..Directory::default() }
}

fn entry(result: ActionResult) -> ActionEntry {
    ActionEntry::new(FUNCTION, result).expect("well formed")
}

fn output_directory(directory: OutputDirectory) -> ActionResult {
    ActionResult { output_directories: vec![directory], ..ActionResult::default() }
}

impl Cache {
    fn new() -> Self {
        let fixture = Fixture::new();
        let hot = Arc::new(fixture.hot_actions());
        let (blobs, removals) = (Arc::clone(&fixture.blobs), Arc::clone(&fixture.removals));
        let actions = Complete::new(hot, blobs, removals, 1 << 20, &mut Registry::default());
        Self { fixture, actions, keyspace: Keyspace::new("").expect("a short name") }
    }

    fn key(&self) -> ActionKey {
        let keyspace = self.keyspace.clone();
        ActionKey { keyspace: keyspace.clone(), blobs: keyspace, action: *digest(b"action").hash() }
    }

    async fn store_blob(&self, bytes: &[u8]) -> ProtoDigest {
        let digest = digest(bytes);
        let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, Bytes::copy_from_slice(bytes));
        let payload = untrusted.verify(&digest).await.expect("its own digest");
        let key = BlobKey { keyspace: self.keyspace.clone(), digest };
        self.fixture.blobs.put(&CX, &key, payload).await.expect("stored");
        digest.to_proto()
    }

    async fn lose_blob(&self, bytes: &[u8]) {
        let key = RecordKey::blob(&self.keyspace, &digest(bytes));
        let engine = Arc::clone(&self.fixture.engine);
        let removed = blocking::run(move || engine.remove(&key)).await.expect("a runtime");
        assert!(removed.expect("removed"), "it was there");
    }

    async fn update(&self, result: ActionResult) {
        let entry = ActionEntry::new(FUNCTION, result).expect("well formed");
        self.actions.put(&CX, &self.key(), entry).await.expect("stored");
    }

    async fn hits(&self) -> bool {
        self.actions.get(&CX, &self.key()).await.expect("an answer").is_some()
    }

    async fn update_and_hit(&self, result: ActionResult) -> bool {
        self.update(result).await;
        self.hits().await
    }
}

#[tokio::test]
async fn output_files_and_streams_must_be_present() {
    let cache = Cache::new();
    let output = OutputFile { digest: Some(digest(b"out").to_proto()), ..OutputFile::default() };
    let result = ActionResult {
        output_files: vec![output],
        stdout_digest: Some(digest(b"stdout").to_proto()),
        stderr_digest: Some(digest(b"").to_proto()),
        ..ActionResult::default()
    };
    assert!(!cache.update_and_hit(result).await, "nothing is there");
    cache.store_blob(b"out").await;
    assert!(!cache.hits().await, "stdout is absent");
    cache.store_blob(b"stdout").await;
    assert!(cache.hits().await, "all is there, the empty blob always");
    cache.lose_blob(b"out").await;
    assert!(!cache.hits().await, "the output is gone again");
}

#[tokio::test]
async fn every_file_of_a_tree_must_be_present() {
    let cache = Cache::new();
    let child = directory(vec![file(Some(digest(b"in the child").to_proto()))], vec![]);
    let tree = Tree {
        root: Some(directory(
            vec![file(Some(digest(b"in the root").to_proto()))],
            // The directory itself need not be a blob: the tree holds it.
            vec![folder(Some(digest(&child.encode_to_vec()).to_proto()))],
        )),
        children: vec![child],
    };
    let tree_digest = Some(cache.store_blob(&tree.encode_to_vec()).await);
    let result = output_directory(OutputDirectory { tree_digest, ..OutputDirectory::default() });
    cache.store_blob(b"in the root").await;
    assert!(!cache.update_and_hit(result).await, "the child's file is absent");
    cache.store_blob(b"in the child").await;
    assert!(cache.hits().await, "all is there");
    cache.lose_blob(b"in the root").await;
    assert!(!cache.hits().await, "a remembered tree is no excuse");
    cache.store_blob(b"in the root").await;
    assert!(cache.hits().await, "healed by the upload");
    cache.lose_blob(&tree.encode_to_vec()).await;
    assert!(!cache.hits().await, "the tree itself is gone");
}

#[tokio::test]
async fn what_goes_while_a_tree_is_checked_is_missed_the_next_time() {
    let mut cache = Cache::new();
    let fixture = &cache.fixture;
    let leaking = Arc::new(Leaking {
        inner: Arc::clone(&fixture.blobs),
        engine: Arc::clone(&fixture.engine),
        gone: RecordKey::blob(&cache.keyspace, &digest(b"named")),
        is_due: AtomicBool::new(false),
    });
    let blobs = Arc::<Leaking>::clone(&leaking);
    let (actions, removals) = (Arc::clone(&fixture.actions), Arc::clone(&fixture.removals));
    cache.actions = Complete::new(actions, blobs, removals, 1 << 20, &mut Registry::default());
    let named = Some(cache.store_blob(b"named").await);
    let tree = Tree { root: Some(directory(vec![file(named)], vec![])), children: vec![] };
    let tree_digest = Some(cache.store_blob(&tree.encode_to_vec()).await);
    let result = output_directory(OutputDirectory { tree_digest, ..OutputDirectory::default() });
    assert!(cache.update_and_hit(result).await && cache.hits().await, "all is there");
    cache.store_blob(b"other").await;
    cache.lose_blob(b"other").await;
    leaking.is_due.store(true, Ordering::Relaxed);
    assert!(
        cache.hits().await,
        "it was there when it was asked for, which it was since another went"
    );
    assert!(!cache.hits().await, "it went after that");
}

#[tokio::test]
async fn what_trees_name_is_forgotten_under_a_lower_limit_and_read_again() {
    let cache = Cache::new();
    let named = Some(cache.store_blob(b"named").await);
    let tree = Tree { root: Some(directory(vec![file(named)], vec![])), children: vec![] };
    let tree_digest = Some(cache.store_blob(&tree.encode_to_vec()).await);
    let result = output_directory(OutputDirectory { tree_digest, ..OutputDirectory::default() });
    assert!(cache.update_and_hit(result).await && cache.hits().await);
    let stats = cache.actions.tree_stats();
    assert_eq!((stats.entries, stats.hits, stats.misses), (1, 1, 1));
    cache.actions.set_tree_limit(0);
    let stats = cache.actions.tree_stats();
    assert_eq!((stats.entries, stats.bytes, stats.evictions), (0, 0, 1));
    assert!(cache.hits().await, "read again");
    assert_eq!(cache.actions.tree_stats().entries, 0);
    cache.actions.set_tree_limit(1 << 20);
    assert!(cache.hits().await);
    assert_eq!(cache.actions.tree_stats().entries, 1);
}

#[tokio::test]
async fn directories_below_a_root_are_followed_once_each() {
    let cache = Cache::new();
    let leaf_file = Some(digest(b"at the leaf").to_proto());
    let mut below =
        cache.store_blob(&directory(vec![file(leaf_file)], vec![]).encode_to_vec()).await;
    // 2^24 paths, 25 directories.
    for _ in 0..24 {
        let twice = vec![folder(Some(below.clone())), folder(Some(below))];
        below = cache.store_blob(&directory(vec![], twice).encode_to_vec()).await;
    }
    let root_directory_digest = Some(below);
    let result =
        output_directory(OutputDirectory { root_directory_digest, ..OutputDirectory::default() });
    assert!(!cache.update_and_hit(result).await, "the leaf's file is absent");
    cache.store_blob(b"at the leaf").await;
    assert!(cache.hits().await, "all is there");
}

#[tokio::test]
async fn what_is_no_tree_is_no_hit() {
    let cache = Cache::new();
    let nameless = Tree { root: Some(directory(vec![file(None)], vec![])), children: vec![] };
    for bytes in [&b"\xFFnot a tree"[..], &nameless.encode_to_vec()] {
        let tree_digest = Some(cache.store_blob(bytes).await);
        let directory = OutputDirectory { tree_digest, ..OutputDirectory::default() };
        assert!(!cache.update_and_hit(output_directory(directory)).await, "{bytes:?}");
    }
    let nameless = directory(vec![], vec![folder(None)]);
    let root_directory_digest = Some(cache.store_blob(&nameless.encode_to_vec()).await);
    let directory = OutputDirectory { root_directory_digest, ..OutputDirectory::default() };
    assert!(!cache.update_and_hit(output_directory(directory)).await, "a node without digest");
}

#[tokio::test]
async fn a_tree_over_a_limit_is_no_hit() {
    let cache = Cache::new();
    // Each child takes 2 bytes here, and 24 decoded.
    let children = |count: usize| b"\x12\x00".repeat(count);
    for (tree, expect) in [(children(10_000), true), (children(100_000), false)] {
        let tree_digest = Some(cache.store_blob(&tree).await);
        let directory = OutputDirectory { tree_digest, ..OutputDirectory::default() };
        assert_eq!(cache.update_and_hit(output_directory(directory)).await, expect);
    }
    // One unknown field, which says nothing.
    let large = [&b"\xfa\x7f\x81\x80\x80\x20"[..], &vec![0; (64 << 20) + 1]].concat();
    let tree_digest = Some(cache.store_blob(&large).await);
    let directory = OutputDirectory { tree_digest, ..OutputDirectory::default() };
    assert!(!cache.update_and_hit(output_directory(directory)).await, "a miss, not an error");
}

#[tokio::test]
async fn a_tree_named_many_times_is_asked_for_once() {
    let cache = Cache::new();
    let files = (0..20_000_u32).map(|number| {
        let digest = ProtoDigest { size_bytes: i64::from(number), ..digest(b"").to_proto() };
        file(Some(digest))
    });
    // Absent files: only the empty one is there.
    let tree = Tree { root: Some(directory(files.collect(), vec![])), children: vec![] };
    let tree_digest = Some(cache.store_blob(&tree.encode_to_vec()).await);
    let directory = OutputDirectory { tree_digest, ..OutputDirectory::default() };
    // 4e8 digests in all, which no test machine has the memory for.
    let output_directories = vec![directory; 20_000];
    let result = ActionResult { output_directories, ..ActionResult::default() };
    assert!(!cache.update_and_hit(result).await);
}

#[tokio::test]
async fn inlined_bytes_move_to_the_cas_and_back() {
    let cache = Cache::new();
    let output = OutputFile {
        path: "out".to_owned(),
        contents: b"contents".to_vec(),
        ..OutputFile::default()
    };
    let result = ActionResult {
        output_files: vec![output],
        stdout_raw: b"said".to_vec(),
        ..ActionResult::default()
    };
    let (key, blobs) = (cache.key(), &*cache.fixture.blobs);
    let mut result =
        outline(&CX, &key, entry(result), blobs).await.expect("outlined").into_result();
    assert_eq!(result.output_files[0].digest, Some(digest(b"contents").to_proto()));
    assert_eq!(result.stdout_digest, Some(digest(b"said").to_proto()));
    assert!(result.output_files[0].contents.is_empty() && result.stdout_raw.is_empty());
    assert!(cache.update_and_hit(result.clone()).await, "its blobs were stored");

    let hints = InlineHints {
        stdout: true,
        stderr: true,
        output_files: vec!["out".to_owned(), "no such file".to_owned()],
    };
    inline(&CX, &key, &mut result, &hints, blobs).await.expect("inlined");
    assert_eq!(result.output_files[0].contents, b"contents");
    assert_eq!(result.stdout_raw, b"said");
    assert_eq!(result.stdout_digest, Some(digest(b"said").to_proto()), "the digest stays");
}

#[tokio::test]
async fn inlining_stops_where_an_answer_would_grow_too_large() {
    let cache = Cache::new();
    let large = vec![7; 2 << 20];
    let stored = cache.store_blob(&large).await;
    let hints = InlineHints { stdout: true, stderr: true, ..InlineHints::default() };
    let blobs = &*cache.fixture.blobs;
    let both = ActionResult {
        stdout_digest: Some(stored.clone()),
        stderr_digest: Some(stored),
        ..ActionResult::default()
    };
    let mut result = both.clone();
    inline(&CX, &cache.key(), &mut result, &hints, blobs).await.expect("inlined");
    assert_eq!((result.stdout_raw.len(), result.stderr_raw.len()), (large.len(), 0));
    // What the result takes itself counts too.
    let path = "x".repeat(5 << 19);
    let output_files = vec![OutputFile { path, ..OutputFile::default() }];
    let mut result = ActionResult { output_files, ..both };
    inline(&CX, &cache.key(), &mut result, &hints, blobs).await.expect("nothing is inlined");
    assert_eq!((result.stdout_raw.len(), result.stderr_raw.len()), (0, 0));
}

#[tokio::test]
async fn many_small_outputs_stay_below_what_clients_accept() {
    let cache = Cache::new();
    let stored = cache.store_blob(b"x").await;
    let file = |number: usize| OutputFile {
        path: format!("{number:05}"),
        digest: Some(stored.clone()),
        ..OutputFile::default()
    };
    // 48,000 files take 4.0 MB, and with the 1 B of each, and what frames it, over 4 MiB.
    let output_files: Vec<_> = (0..48_000).map(file).collect();
    let paths = output_files.iter().map(|file| file.path.clone());
    let hints = InlineHints { output_files: paths.collect(), ..InlineHints::default() };
    let mut result = ActionResult { output_files, ..ActionResult::default() };
    let before_bytes = result.encoded_len();
    let blobs = &*cache.fixture.blobs;
    inline(&CX, &cache.key(), &mut result, &hints, blobs).await.expect("inlined");
    let inlined = result.output_files.iter().filter(|file| !file.contents.is_empty()).count();
    assert!((1..48_000).contains(&inlined), "{inlined} files of {before_bytes} B");
    assert!(result.encoded_len() <= 4 << 20);
}

#[test]
fn large_contents_are_hashed_off_the_async_worker() {
    let runtime = Builder::new_current_thread().max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(async {
        let cache = Cache::new();
        let output = OutputFile {
            digest: Some(digest(b"other").to_proto()),
            contents: vec![7; 1 << 20],
            ..OutputFile::default()
        };
        let result = ActionResult { output_files: vec![output], ..ActionResult::default() };
        let (key, entry) = (cache.key(), entry(result));
        // The one thread that may hash is taken until `release` is dropped.
        let (release, taken) = mpsc::channel::<()>();
        let busy = spawn_blocking(move || taken.recv());
        let mut outlined = std::pin::pin!(outline(&CX, &key, entry, &*cache.fixture.blobs));
        // That the contents are not their digest is known only once they are hashed.
        assert!(poll!(&mut outlined).is_pending(), "hashed on the worker");
        drop(release);
        outlined.await.expect_err("the contents are not their digest");
        busy.await.expect("no panic").expect_err("nothing was sent");
    });
}

#[tokio::test]
async fn contents_that_are_not_their_digest_are_refused() {
    let cache = Cache::new();
    let output = OutputFile {
        digest: Some(digest(b"other").to_proto()),
        contents: b"contents".to_vec(),
        ..OutputFile::default()
    };
    let result = ActionResult { output_files: vec![output], ..ActionResult::default() };
    let error = outline(&CX, &cache.key(), entry(result), &*cache.fixture.blobs).await;
    let error = error.expect_err("the contents are not their digest");
    let OutlineError::Malformed { source: MalformedResult::Contents { field, index, .. } } = error
    else {
        panic!("{error}");
    };
    assert_eq!((field, index), ("output_files", 0));
}
