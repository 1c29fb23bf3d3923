//! The stacks: which stores there are, and in which order they wrap each other. The only place that decides it.
//!
//! - CAS: `metered > (traced) > guarded > hot > coalesced > chunked > disk`
//! - AC: `metered > (traced) > complete > hot > disk`
//!
//! Where spans are sent, `metered`, `complete`, `hot` and what is behind it are `spanned` each.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use larder_action_cache::{
    ActionMetrics, ActionStore, Complete, DiskActions, HotActions, MeteredActions,
};
use larder_cas::{
    BlobMetrics, BlobStore, Chunked, Coalesced, DiskTier, Guarded, HotTier, HotTierOptions,
    Keyspace, Metered,
};
use larder_disk::{Activity, DiskError, Engine, EngineOptions, EngineState, Io};
use larder_protos::Hash;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::admin::UsageReport;
use crate::config::{ByteSize, Config, Durability};
use crate::memory::{HotMemory, HotShares};
use crate::spans::{SpannedActions, SpannedBlobs};
use crate::trace::{Recorder, RecorderError, TracedActions, TracedBlobs};

/// From this size on a blob has a file of its own: well over what packs are good at, and few enough files.
const LARGE_BLOB_BYTES: u64 = 1024 * 1024;

/// The stores of a running server. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Stacks {
    /// The blobs.
    pub blobs: Arc<dyn BlobStore>,
    /// The action results.
    pub actions: Arc<dyn ActionStore>,
    /// The sizes of blobs that are known by their hash alone.
    pub sizes: Arc<dyn BlobSizes>,
    hot: HotMemory,
    coalesced: Arc<Coalesced>,
    chunked: Chunked,
    disk: DiskTier,
    engine: Arc<Engine>,
}

/// Tells the size of a blob that is named by its hash alone, as HTTP names it.
#[async_trait]
pub trait BlobSizes: Debug + Send + Sync + 'static {
    /// The logical size, where the blob is known here. In memory, but for chunked blobs that were not asked for lately; only
    /// after a start a miss has to wait.
    async fn size_of(&self, keyspace: &Keyspace, hash: &Hash) -> Option<u64>;
}

/// The stores cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The storage engine refuses its directory.
    #[error(transparent)]
    Disk {
        /// Why.
        #[from]
        source: DiskError,
    },
    /// The trace cannot be recorded.
    #[error(transparent)]
    Trace {
        /// Why.
        #[from]
        source: RecorderError,
    },
}

/// Opens the engine and stacks the stores on it. Blocks.
pub fn build(
    config: &Config,
    io: Arc<dyn Io>,
    registry: &mut Registry,
) -> Result<Stacks, ComposeError> {
    let engine = Arc::new(Engine::open(engine_options(config), io)?);
    let shares = HotShares::of(config.hot.capacity.as_bytes());

    let disk = DiskTier::new(Arc::clone(&engine));
    let chunked = Chunked::new(disk.clone());
    let sizes: Arc<dyn BlobSizes> =
        Arc::new(StoredSizes { engine: Arc::clone(&engine), chunked: chunked.clone() });
    let hot_options = HotTierOptions {
        capacity_bytes: shares.blobs_bytes,
        max_blob_bytes: config.hot.max_blob_size.as_bytes(),
    };
    let spans = Spans(config.traces.is_some());
    let behind = spans.blobs("cas.disk", Arc::new(chunked.clone()));
    // Behind the hot tier: what is in memory need not be shared, and to find out who else reads it costs more than to read it.
    let coalesced = Arc::new(Coalesced::new_in(behind, registry));
    let hot_blobs = Arc::new(HotTier::new(Arc::<Coalesced>::clone(&coalesced), hot_options));
    let hot_tier = spans.blobs("cas.hot", Arc::<HotTier>::clone(&hot_blobs));
    let max_blob_bytes = config.max_blob_size.map(ByteSize::as_bytes);
    let recorder = match &config.trace_file {
        Some(path) => Some(Arc::new(Recorder::start(path, Arc::clone(&engine), registry)?)),
        None => None,
    };
    let mut blobs: Arc<dyn BlobStore> = Arc::new(Guarded::new(hot_tier, max_blob_bytes));
    if let Some(recorder) = &recorder {
        blobs = Arc::new(TracedBlobs::new(blobs, Arc::clone(recorder)));
    }
    let metered = Arc::new(Metered::new(blobs, BlobMetrics::register(registry)));
    let blobs = spans.blobs("cas", metered);

    let disk_actions = Arc::new(DiskActions::new(Arc::clone(&engine)));
    let versions = Arc::<DiskActions>::clone(&disk_actions);
    let disk_actions = spans.actions("ac.disk", disk_actions);
    let hot_actions = Arc::new(HotActions::new(disk_actions, versions, shares.actions_bytes));
    let inner = spans.actions("ac.hot", Arc::<HotActions>::clone(&hot_actions));
    let removals = Arc::new(disk.clone());
    let complete = Complete::new(inner, Arc::clone(&blobs), removals, shares.trees_bytes, registry);
    let complete = Arc::new(complete);
    let hot = HotMemory { blobs: hot_blobs, actions: hot_actions, trees: Arc::clone(&complete) };
    let mut actions = spans.actions("ac.complete", complete);
    if let Some(recorder) = recorder {
        actions = Arc::new(TracedActions::new(actions, recorder));
    }
    let metrics = ActionMetrics::register(registry);
    let actions = spans.actions("ac", Arc::new(MeteredActions::new(actions, metrics)));
    Ok(Stacks { blobs, actions, sizes, hot, coalesced, chunked, disk, engine })
}

/// Whether the calls of each tier have spans.
struct Spans(bool);

impl Spans {
    fn blobs(&self, tier: &'static str, store: Arc<dyn BlobStore>) -> Arc<dyn BlobStore> {
        if self.0 { Arc::new(SpannedBlobs::new(tier, store)) } else { store }
    }

    fn actions(&self, tier: &'static str, store: Arc<dyn ActionStore>) -> Arc<dyn ActionStore> {
        if self.0 { Arc::new(SpannedActions::new(tier, store)) } else { store }
    }
}

impl Stacks {
    /// What is kept in memory.
    pub fn hot(&self) -> &HotMemory {
        &self.hot
    }

    /// Empties what is kept in memory. Nothing that was read before comes in or is answered to who asks from now on, so that what was
    /// removed from the engine before is gone.
    pub fn forget(&self) {
        self.coalesced.close_boarding();
        self.hot.clear();
    }

    /// The blobs on disk as chunks and wholes, to turn the one into the other.
    pub fn chunked(&self) -> &Chunked {
        &self.chunked
    }

    /// The tier of blobs on disk.
    pub fn disk(&self) -> &DiskTier {
        &self.disk
    }

    /// The storage engine below both stacks.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Becomes true when a failed sync has ended writes.
    pub fn writes_refused(&self) -> watch::Receiver<bool> {
        self.engine.writes_refused()
    }

    /// What passed through the engine.
    pub fn activity(&self) -> &Activity {
        self.engine.activity()
    }

    /// How the engine stands. Asks the file system for its free space.
    pub fn engine_state(&self) -> EngineState {
        self.engine.state()
    }

    /// What is stored, and the limit.
    pub fn usage(&self) -> UsageReport {
        self.engine.usage().into()
    }
}

impl fmt::Display for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAS {}, AC {}", self.blobs, self.actions)
    }
}

fn engine_options(config: &Config) -> EngineOptions {
    EngineOptions {
        data_dir: config.data_dir.clone(),
        max_size_bytes: config.max_size.as_bytes(),
        min_free_disk_bytes: config.min_free_disk.as_bytes(),
        eviction: config.eviction,
        durability: match config.durability {
            Durability::Sync => larder_disk::Durability::Sync,
            Durability::Interval(interval) => larder_disk::Durability::Interval(interval),
        },
        zstd_level: config.compression.level,
        index_cache_bytes: config.index_cache.as_bytes(),
        large_blob_bytes: LARGE_BLOB_BYTES,
        scrub_rate_bytes: config.scrub_rate.as_bytes(),
    }
}

#[derive(Debug)]
struct StoredSizes {
    engine: Arc<Engine>,
    chunked: Chunked,
}

#[async_trait]
impl BlobSizes for StoredSizes {
    async fn size_of(&self, keyspace: &Keyspace, hash: &Hash) -> Option<u64> {
        let whole = self.engine.settled(|engine| engine.blob_size(keyspace, hash)).await;
        if whole.is_some() {
            return whole;
        }
        // Whose manifest cannot be read is as absent as whose chunks cannot.
        self.chunked.size_of(keyspace, hash).await.unwrap_or_else(|error| {
            tracing::warn!(%hash, %error, "the manifest of a chunked blob is not read");
            None
        })
    }
}
