//! What is read of trees is lent by the request, and given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use larder_action_cache::{ActionEntry, ActionKey, ActionStore, Complete};
use larder_cas::{
    BlobKey, Encoding, Keyspace, MemoryLender, RequestCx, RequestMemory, StoreError,
    UntrustedPayload,
};
use larder_protos::reapi::{
    ActionResult, Digest as ProtoDigest, Directory, DirectoryNode, FileNode, OutputDirectory, Tree,
};
use larder_protos::{Digest, DigestFunction};
use prometheus_client::registry::Registry;
use prost::Message;

use crate::fixture::Fixture;

const FUNCTION: DigestFunction = DigestFunction::Sha256;

/// Lends up to a limit and remembers the most that was lent at a time.
#[derive(Debug)]
struct Purse {
    limit_bytes: u64,
    lent_bytes: AtomicU64,
    most_bytes: AtomicU64,
    refusals: AtomicU64,
}

impl Purse {
    fn new(limit_bytes: u64) -> Arc<Self> {
        let (lent_bytes, most_bytes, refusals) = Default::default();
        Arc::new(Self { limit_bytes, lent_bytes, most_bytes, refusals })
    }

    fn lent_bytes(&self) -> u64 {
        self.lent_bytes.load(Ordering::Relaxed)
    }

    fn most_bytes(&self) -> u64 {
        self.most_bytes.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl MemoryLender for Purse {
    async fn take(&self, needed_bytes: u64) -> Result<(), StoreError> {
        let limit_bytes = self.limit_bytes;
        let lent_bytes = self.lent_bytes() + needed_bytes;
        if lent_bytes > limit_bytes {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::NoMemory { needed_bytes, limit_bytes });
        }
        self.lent_bytes.store(lent_bytes, Ordering::Relaxed);
        self.most_bytes.fetch_max(lent_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.lent_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

struct Cache {
    fixture: Fixture,
    actions: Complete,
    keyspace: Keyspace,
}

impl Cache {
    fn new() -> Self {
        let fixture = Fixture::new();
        let (actions, blobs) = (Arc::clone(&fixture.actions), Arc::clone(&fixture.blobs));
        let removals = Arc::clone(&fixture.removals);
        let actions = Complete::new(actions, blobs, removals, 16 << 20, &mut Registry::default());
        Self { fixture, actions, keyspace: Keyspace::new("").expect("a short name") }
    }

    async fn store(&self, bytes: &[u8]) -> ProtoDigest {
        let digest = Digest::of(FUNCTION, bytes);
        let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, Bytes::copy_from_slice(bytes));
        let payload = untrusted.verify(&digest).await.expect("its own digest");
        let key = BlobKey { keyspace: self.keyspace.clone(), digest };
        self.fixture.blobs.put(&RequestCx::RAW, &key, payload).await.expect("stored");
        digest.to_proto()
    }

    async fn store_result(&self, output_directories: Vec<OutputDirectory>) -> ActionKey {
        let result = ActionResult { output_directories, ..ActionResult::default() };
        let action = *Digest::of(FUNCTION, &result.encode_to_vec()).hash();
        let (keyspace, blobs) = (self.keyspace.clone(), self.keyspace.clone());
        let key = ActionKey { keyspace, blobs, action };
        let entry = ActionEntry::new(FUNCTION, result).expect("well formed");
        self.actions.put(&RequestCx::RAW, &key, entry).await.expect("stored");
        key
    }

    async fn hits(&self, key: &ActionKey, purse: &Arc<Purse>) -> Result<bool, StoreError> {
        let memory = RequestMemory::counted_by(Arc::<Purse>::clone(purse));
        let found = self.actions.get(&RequestCx::raw_within(memory), key).await;
        assert_eq!(purse.lent_bytes(), 0, "all is given back");
        found.map(|found| found.is_some())
    }
}

/// So many files, all the same blob, which is the empty one.
fn files(count: usize) -> Vec<FileNode> {
    let file = |number| FileNode {
        name: format!("{number}"),
        digest: Some(Digest::of(FUNCTION, b"").to_proto()),
        ..FileNode::default()
    };
    (0..count).map(file).collect()
}

#[tokio::test]
async fn a_tree_is_read_with_memory_of_the_request() {
    let cache = Cache::new();
    let root = Some(Directory { files: files(5_000), ..Directory::default() });
    let tree = Tree { root, children: vec![] }.encode_to_vec();
    let tree_digest = Some(cache.store(&tree).await);
    let directory = OutputDirectory { tree_digest, ..OutputDirectory::default() };
    let key = cache.store_result(vec![directory]).await;

    let poor = Purse::new(tree.len() as u64);
    let refused = cache.hits(&key, &poor).await.expect_err("not enough");
    assert!(matches!(refused, StoreError::NoMemory { .. }), "{refused}");
    assert_eq!(poor.most_bytes(), 0);
    let rich = Purse::new(1 << 30);
    assert!(cache.hits(&key, &rich).await.expect("enough"));
    assert!(rich.most_bytes() >= 4 * tree.len() as u64, "{} B", rich.most_bytes());
    assert!(cache.hits(&key, &poor).await.expect("remembered"));
    assert_eq!((poor.most_bytes(), poor.refusals.load(Ordering::Relaxed)), (0, 1));
}

#[tokio::test]
async fn a_hierarchy_takes_more_as_it_turns_out_larger() {
    let cache = Cache::new();
    // A chain of small directories, each with a hundred files of its own, which only the last lacks.
    let mut below = Directory::default();
    for number in 0..20_u8 {
        let mut directory = Directory::default();
        for file in 0..100_u8 {
            let digest = Some(cache.store(&[number, file]).await);
            directory.files.push(FileNode {
                name: format!("{file:03}"),
                digest,
                ..FileNode::default()
            });
        }
        let digest = Some(cache.store(&below.encode_to_vec()).await);
        directory.directories.push(DirectoryNode { name: "below".to_owned(), digest });
        below = directory;
    }
    let largest_bytes = below.encoded_len() as u64;
    let root_directory_digest = Some(cache.store(&below.encode_to_vec()).await);
    let directory = OutputDirectory { root_directory_digest, ..OutputDirectory::default() };
    let key = cache.store_result(vec![directory]).await;
    let poor = Purse::new(16 * largest_bytes);
    cache.hits(&key, &poor).await.expect_err("enough for each directory, not for what all name");
    assert!(poor.most_bytes() > 0);
    let rich = Purse::new(1 << 30);
    assert!(cache.hits(&key, &rich).await.expect("enough"));
    assert!(rich.most_bytes() > poor.limit_bytes, "{} B", rich.most_bytes());
}

#[tokio::test]
async fn small_trees_take_nothing() {
    let cache = Cache::new();
    let root = Some(Directory { files: files(10), ..Directory::default() });
    let tree_digest = Some(cache.store(&Tree { root, children: vec![] }.encode_to_vec()).await);
    let directory = OutputDirectory { tree_digest, ..OutputDirectory::default() };
    let key = cache.store_result(vec![directory]).await;
    let nothing = Purse::new(0);
    assert!(cache.hits(&key, &nothing).await.expect("nothing is needed"));
}
