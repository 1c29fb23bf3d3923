//! Both kinds of store over one engine in a temporary directory.

use std::sync::Arc;
use std::time::Duration;

use larder_action_cache::{ActionStore, ActionVersions, DiskActions, HotActions};
use larder_cas::{BlobStore, DiskTier, Guarded, Removals};
use larder_disk::{Durability, Engine, EngineOptions, EvictionPolicy, RealIo};
use tempfile::TempDir;

/// An engine and the stores on it. The directory is removed at the end.
pub(crate) struct Fixture {
    pub(crate) engine: Arc<Engine>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) removals: Arc<dyn Removals>,
    pub(crate) actions: Arc<dyn ActionStore>,
    pub(crate) versions: Arc<dyn ActionVersions>,
    _directory: TempDir,
}

impl Fixture {
    /// An empty engine.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = EngineOptions {
            data_dir: directory.path().to_owned(),
            max_size_bytes: 1 << 30,
            min_free_disk_bytes: 0,
            eviction: EvictionPolicy::Lfu,
            durability: Durability::Interval(Duration::from_secs(1)),
            zstd_level: 1,
            index_cache_bytes: 8 << 20,
            large_blob_bytes: 1 << 20,
            scrub_rate_bytes: 0,
        };
        let engine = Engine::open(options, Arc::new(RealIo)).expect("an empty directory opens");
        let engine = Arc::new(engine);
        let actions = Arc::new(DiskActions::new(Arc::clone(&engine)));
        let disk = DiskTier::new(Arc::clone(&engine));
        Self {
            blobs: Arc::new(Guarded::new(Arc::new(disk.clone()), None)),
            removals: Arc::new(disk),
            actions: Arc::<DiskActions>::clone(&actions),
            versions: actions,
            engine,
            _directory: directory,
        }
    }

    /// The hot tier over the one on disk.
    pub(crate) fn hot_actions(&self) -> HotActions {
        HotActions::new(Arc::clone(&self.actions), Arc::clone(&self.versions), 1 << 20)
    }
}
