//! [`Complete`]: a hit is complete, or it is no hit.
//!
//! What the result names itself is asked for each time. What its trees name is not while nothing at all has gone from the store since
//! it was all there (`trees.rs`): most hits of a warm cache, however large their trees are.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_cas::{BlobStore, HotStats, Removals, RequestCx, StoreError, blocking};
use larder_protos::Digest;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::named::Named;
use crate::trees::{Form, Trees};
use crate::{ActionEntry, ActionKey, ActionStore};

/// How many blobs the CAS is asked for at once. Only the trees of a huge result name more.
const MAX_ASKED_AT_ONCE: usize = 1_000_000;

/// What each blob that is asked for takes: in a list that may be half empty, and in what the tiers make of it.
const MEMORY_A_NAME: u64 = 3 * size_of::<Digest>() as u64;

/// Answers only with results whose every blob is present, asking the CAS once for all of them, which extends all their
/// lives alike.
#[derive(Debug)]
pub struct Complete {
    inner: Arc<dyn ActionStore>,
    blobs: Arc<dyn BlobStore>,
    trees: Trees,
    incomplete: Counter,
}

impl Complete {
    /// Checks the results of `inner` against `blobs`, whose `removals` are told; remembers what trees name in about
    /// `tree_memo_bytes`.
    pub fn new(
        inner: Arc<dyn ActionStore>,
        blobs: Arc<dyn BlobStore>,
        removals: Arc<dyn Removals>,
        tree_memo_bytes: u64,
        registry: &mut Registry,
    ) -> Self {
        let incomplete = Counter::default();
        registry.register(
            "action_results_incomplete",
            "Results withheld since a blob they name is gone; a rising rate means that the cache is too small",
            incomplete.clone(),
        );
        let trees = Trees::new(Arc::clone(&blobs), removals, tree_memo_bytes);
        Self { inner, blobs, trees, incomplete }
    }

    /// What it remembers of trees, and what happened since it was made.
    pub fn tree_stats(&self) -> HotStats {
        self.trees.stats()
    }

    /// Changes how much it may remember of trees, up to what it was made for. Blocks while the coldest are sorted out.
    pub fn set_tree_limit(&self, limit_bytes: u64) {
        self.trees.set_limit(limit_bytes);
    }

    /// Forgets all trees.
    pub fn clear_trees(&self) {
        self.trees.clear();
    }

    async fn is_complete(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: &ActionEntry,
    ) -> Result<bool, StoreError> {
        let moment = self.trees.moment();
        let function = key.action.function();
        let asked = entry.clone();
        let named = move || Named::by(asked.result(), function);
        let named = blocking::run_sized(entry.encoded().len(), named).await?;
        let Ok(Named { files: mut needed, trees, roots }) = named else { return Ok(false) };
        let trees = trees.into_iter().map(|tree| (Form::Tree, tree));
        let roots = roots.into_iter().map(|root| (Form::Root, root));
        // A result may name one tree many times.
        let distinct: HashSet<_> = trees.chain(roots).collect();
        let mut loan = cx.memory.loan();
        let mut asked = Vec::new();
        for (form, digest) in distinct {
            let Some(tree) = self.trees.named_by(cx, &key.blobs, form, digest).await? else {
                return Ok(false);
            };
            if tree.is_complete(moment) {
                continue;
            }
            let named = &tree.digests;
            if needed.len() + named.len() > MAX_ASKED_AT_ONCE
                && !self.are_present(cx, key, std::mem::take(&mut needed)).await?
            {
                return Ok(false);
            }
            loan.grow_to((needed.len() + named.len()) as u64 * MEMORY_A_NAME).await?;
            needed.extend_from_slice(named);
            asked.push(tree);
        }
        let are_present = self.are_present(cx, key, needed).await?;
        if are_present {
            for tree in asked {
                tree.note_complete(moment);
            }
        }
        Ok(are_present)
    }

    async fn are_present(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        digests: Vec<Digest>,
    ) -> Result<bool, StoreError> {
        if digests.is_empty() {
            return Ok(true);
        }
        let missing = self.blobs.find_missing(cx, key.blob_keys(digests)).await?;
        Ok(missing.is_empty())
    }
}

impl fmt::Display for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "complete({})", self.inner)
    }
}

#[async_trait]
impl ActionStore for Complete {
    async fn get(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
    ) -> Result<Option<ActionEntry>, StoreError> {
        let Some(entry) = self.inner.get(cx, key).await? else { return Ok(None) };
        if self.is_complete(cx, key, &entry).await? {
            return Ok(Some(entry));
        }
        self.incomplete.inc();
        Ok(None)
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError> {
        self.inner.put(cx, key, entry).await
    }
}
