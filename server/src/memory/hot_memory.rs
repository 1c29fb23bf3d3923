//! [`HotMemory`]: the three caches in memory, and what each may have of `hot.capacity`.

use std::sync::Arc;

use larder_action_cache::{Complete, HotActions};
use larder_cas::{HotStats, HotTier};

/// Of the hot tier's memory, the share that keeps decoded action results, and the share that remembers trees.
const ACTIONS_SHARE: u64 = 8;
const TREES_SHARE: u64 = 8;

/// The caches in memory: blobs, decoded action results, and what trees name. Cloning shares them.
#[derive(Clone, Debug)]
pub struct HotMemory {
    /// The tier of blobs.
    pub blobs: Arc<HotTier>,
    /// The tier of action results.
    pub actions: Arc<HotActions>,
    /// Remembers trees.
    pub trees: Arc<Complete>,
}

/// So much for each of the caches.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct HotShares {
    /// For blobs.
    pub blobs_bytes: u64,
    /// For action results.
    pub actions_bytes: u64,
    /// For what trees name.
    pub trees_bytes: u64,
}

impl HotShares {
    /// Divides so many bytes; nothing is left over.
    pub fn of(bytes: u64) -> Self {
        let (actions_bytes, trees_bytes) = (bytes / ACTIONS_SHARE, bytes / TREES_SHARE);
        Self { blobs_bytes: bytes - actions_bytes - trees_bytes, actions_bytes, trees_bytes }
    }
}

impl HotMemory {
    /// What they may hold together when memory is not short.
    pub fn capacity_bytes(&self) -> u64 {
        self.stats().iter().map(|stats| stats.capacity_bytes).sum()
    }

    /// Changes what they may hold together; the coldest entries of each go at once. Blocks while they are sorted out.
    pub fn set_limit(&self, limit_bytes: u64) {
        let HotShares { blobs_bytes, actions_bytes, trees_bytes } = HotShares::of(limit_bytes);
        self.blobs.set_limit(blobs_bytes);
        self.actions.set_limit(actions_bytes);
        self.trees.set_tree_limit(trees_bytes);
    }

    /// Lets all go.
    pub fn clear(&self) {
        self.blobs.clear();
        self.actions.clear();
        self.trees.clear_trees();
    }

    /// What they hold: blobs, action results, trees.
    pub fn stats(&self) -> [HotStats; 3] {
        [self.blobs.stats(), self.actions.stats(), self.trees.tree_stats()]
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use larder_disk::RealIo;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::compose;
    use crate::config::{ByteSize, Config, Machine, Origin, Sources};

    #[test]
    fn shares_are_all_there_is() {
        for bytes in [0, 1, 7, 8, 100, 1 << 20, (1 << 30) - 1] {
            let HotShares { blobs_bytes, actions_bytes, trees_bytes } = HotShares::of(bytes);
            assert_eq!(blobs_bytes + actions_bytes + trees_bytes, bytes);
        }
        let shares = HotShares { blobs_bytes: 600, actions_bytes: 100, trees_bytes: 100 };
        assert_eq!(HotShares::of(800), shares);
    }

    #[test]
    fn one_limit_is_that_of_all_three() {
        let data_dir = tempfile::tempdir().unwrap();
        let mut sources = Sources::default();
        sources.set(Origin::Flag, "data_dir", data_dir.path().display().to_string());
        sources.set(Origin::Flag, "max_size", "64MiB");
        sources.set(Origin::Flag, "hot.capacity", "8MiB");
        let machine = Machine {
            cache_dir: None,
            cores: NonZeroUsize::MIN,
            memory: ByteSize::gib(1),
            disk_room: |_| None,
            disk_size: |_| None,
        };
        let config = Config::check(sources, &machine).unwrap();
        let stacks = compose::build(&config, Arc::new(RealIo), &mut Registry::default()).unwrap();
        let hot = stacks.hot();
        assert_eq!(hot.capacity_bytes(), 8 << 20);
        let limits = || hot.stats().map(|stats| stats.limit_bytes);
        assert_eq!(limits(), [6 << 20, 1 << 20, 1 << 20]);
        hot.set_limit(2 << 20);
        assert_eq!(limits(), [3 << 19, 1 << 18, 1 << 18]);
        hot.set_limit(8 << 20);
        assert_eq!(limits(), [6 << 20, 1 << 20, 1 << 20]);
    }
}
