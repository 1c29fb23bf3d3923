//! [`Operations`]: what an admin has done to the store: purge, give up, scrub. One purge or eviction at a time.

use std::sync::Arc;
use std::time::Duration;

use larder_cas::{BlobKey, Chunked, Keyspace, StoreError};
use larder_disk::{DiskError, GoOn, PurgeRule, Purged, RecordKey, RecordKind, Usage};
use larder_protos::{Digest, DigestFunction, Hash, InstanceName, ParseError};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::auth::Orderer;
use crate::compose::Stacks;
use crate::config::ByteSize;
use crate::edge::instance_keyspaces;

/// Steps that whoever asked has not read yet; of more only the last counts, for which there is always room.
const STEPS_MAX: usize = 16;

/// What is to be purged: all that fits what is said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeOrder {
    /// A blob and an action result of that hash.
    pub hash: Option<String>,
    /// A keyspace; of the action results of an instance its name, of all blobs the empty one.
    pub keyspace: Option<String>,
    /// An instance: its action results, and its entries of the dialects over HTTP.
    pub instance: Option<String>,
    /// `blobs` or `action-results`.
    pub kind: Option<String>,
    /// Not asked for in so many seconds, at least one.
    pub unused_for_s: Option<u64>,
    /// Everything, where nothing else is said.
    #[serde(default)]
    pub everything: bool,
}

/// Down to how many bytes the store is to shrink.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvictOrder {
    /// Stored and dead bytes together.
    pub to_bytes: u64,
}

/// What the scrub is to do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScrubOrder {
    /// Go on, or begin a round that is not due yet.
    Start,
    /// Wait until it is started.
    Stop,
}

/// How far a purge or an eviction is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// `running`, `done` or `failed`.
    pub state: &'static str,
    /// Of `total`: records looked at, or bytes given up.
    pub done: u64,
    /// What there is to do.
    pub total: u64,
    /// Records that went.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Records that fit and could not be removed now.
    pub skipped_records: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// Why an order is not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Nothing says what to purge.
    #[error("say what to purge: hash, keyspace, instance, kind, unused_for_s, or everything")]
    Nothing,
    /// No time, which is everything.
    #[error("unused_for_s is 0, below the limit of 1; for all there is say everything")]
    UnusedForNoTime,
    /// A hash says all.
    #[error("hash stands alone or with keyspace")]
    HashAlone,
    /// No function's digits.
    #[error("{hash:?} is not the hash of any digest function")]
    Hash {
        /// What was said.
        hash: String,
    },
    /// An instance is no keyspace, and has no blobs of its own.
    #[error("instance stands alone or with unused_for_s")]
    InstanceAlone,
    /// No instance has such a name.
    #[error(transparent)]
    Instance(#[from] ParseError),
    /// Neither kind.
    #[error("{kind:?} is neither blobs nor action-results")]
    Kind {
        /// What was said.
        kind: String,
    },
    /// No keyspace has such a name.
    #[error(transparent)]
    Keyspace(#[from] DiskError),
    /// Another is under way.
    #[error("a purge or an eviction is under way")]
    Busy,
    /// There is no scrub.
    #[error("the scrub is off: scrub_rate was 0 at the start")]
    NoScrub,
}

/// What an admin can have done to the store. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Operations {
    stacks: Stacks,
    one: Arc<Semaphore>,
}

/// What a purge is about, checked.
enum Purge {
    Named { keyspace: Keyspace, hashes: Vec<Hash> },
    Rule(PurgeRule),
}

impl PurgeOrder {
    fn check(&self) -> Result<Purge, OrderError> {
        let keyspace = self.keyspace.as_deref().map(Keyspace::new).transpose()?;
        if let Some(hash) = &self.hash {
            let others = self.kind.is_some() || self.unused_for_s.is_some();
            if others || self.instance.is_some() || self.everything {
                return Err(OrderError::HashAlone);
            }
            let parse = |function| Hash::parse(function, hash).ok();
            let hashes: Vec<_> = DigestFunction::ALL.into_iter().filter_map(parse).collect();
            if hashes.is_empty() {
                return Err(OrderError::Hash { hash: hash.clone() });
            }
            let keyspace = match keyspace {
                Some(keyspace) => keyspace,
                None => Keyspace::new("")?,
            };
            return Ok(Purge::Named { keyspace, hashes });
        }
        if self.unused_for_s == Some(0) {
            return Err(OrderError::UnusedForNoTime);
        }
        let partitions: Option<fn(&Keyspace, RecordKind) -> bool> = match self.kind.as_deref() {
            None => None,
            Some("blobs") => Some(are_blobs),
            Some("action-results") => Some(are_action_results),
            Some(kind) => return Err(OrderError::Kind { kind: kind.to_owned() }),
        };
        let unused_for = self.unused_for_s.map(Duration::from_secs);
        if let Some(instance) = &self.instance {
            if keyspace.is_some() || partitions.is_some() || self.everything {
                return Err(OrderError::InstanceAlone);
            }
            let keyspaces = instance_keyspaces(&InstanceName::parse(instance)?);
            // Blobs, which all instances share, are in the keyspace of the action results of the one without a name.
            return Ok(Purge::Rule(PurgeRule {
                keyspaces: Some(keyspaces),
                partitions: Some(are_action_results),
                unused_for,
            }));
        }
        let is_said = keyspace.is_some() || partitions.is_some() || unused_for.is_some();
        if is_said == self.everything {
            return Err(OrderError::Nothing);
        }
        let keyspaces = keyspace.map(|keyspace| {
            let manifests = Chunked::manifests_of(&keyspace);
            std::iter::once(keyspace).chain(manifests).collect()
        });
        Ok(Purge::Rule(PurgeRule { keyspaces, partitions, unused_for }))
    }
}

/// What is stored of blobs: themselves, their chunks, and the manifests that say which these are.
fn are_blobs(keyspace: &Keyspace, kind: RecordKind) -> bool {
    kind == RecordKind::Blob || Chunked::are_manifests(keyspace)
}

fn are_action_results(keyspace: &Keyspace, kind: RecordKind) -> bool {
    !are_blobs(keyspace, kind)
}

impl Operations {
    /// On these stores.
    pub fn new(stacks: Stacks) -> Self {
        Self { stacks, one: Arc::new(Semaphore::new(1)) }
    }

    /// Purges on a thread of its own; the steps end with one that is not `running`. Who drops the receiver ends it.
    pub fn purge(
        &self,
        by: &Orderer,
        order: &PurgeOrder,
    ) -> Result<mpsc::Receiver<Step>, OrderError> {
        let purge = order.check()?;
        let place = self.place()?;
        let PurgeOrder { hash, keyspace, instance, kind, unused_for_s, everything } = order;
        tracing::info!(
            order = "purge",
            caller = by.name(),
            peer = by.address(),
            hash,
            keyspace,
            instance,
            kind,
            unused_for_s,
            everything,
            "an admin's order begins"
        );
        Ok(self.carry_out("purge", by, place, move |operations, steps| match purge {
            Purge::Named { keyspace, hashes } => operations.purge_named(&keyspace, &hashes),
            Purge::Rule(rule) => operations.purge_rule(&rule, steps),
        }))
    }

    /// Shrinks the store, as [`Self::purge`] does its work.
    pub fn evict(
        &self,
        by: &Orderer,
        order: &EvictOrder,
    ) -> Result<mpsc::Receiver<Step>, OrderError> {
        let place = self.place()?;
        let to_bytes = order.to_bytes;
        tracing::info!(
            order = "evict",
            caller = by.name(),
            peer = by.address(),
            to_bytes,
            "an admin's order begins"
        );
        Ok(self.carry_out("evict", by, place, move |operations, steps| {
            operations.shrink(to_bytes, steps)
        }))
    }

    /// Starts or stops the scrub.
    pub fn scrub(&self, by: &Orderer, order: &ScrubOrder) -> Result<(), OrderError> {
        let scrub = self.stacks.engine().scrub().ok_or(OrderError::NoScrub)?;
        let action = match order {
            ScrubOrder::Start => {
                scrub.begin();
                "start"
            }
            ScrubOrder::Stop => {
                scrub.halt();
                "stop"
            }
        };
        tracing::info!(
            order = "scrub",
            caller = by.name(),
            peer = by.address(),
            action,
            "an admin's order is through"
        );
        Ok(())
    }

    /// Another rate of the scrub; says whether it could be changed.
    pub fn set_scrub_rate(&self, rate: ByteSize) -> bool {
        match self.stacks.engine().scrub() {
            Some(scrub) if rate.as_bytes() > 0 => {
                scrub.set_rate_bytes(rate.as_bytes());
                true
            }
            _ => false,
        }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, OrderError> {
        Arc::clone(&self.one).try_acquire_owned().map_err(|_| OrderError::Busy)
    }

    fn carry_out(
        &self,
        order: &'static str,
        by: &Orderer,
        place: OwnedSemaphorePermit,
        work: impl FnOnce(&Self, &mpsc::Sender<Step>) -> Result<Step, StoreError> + Send + 'static,
    ) -> mpsc::Receiver<Step> {
        let (steps, receiver) = mpsc::channel(STEPS_MAX);
        let (operations, by) = (self.clone(), by.clone());
        // Ends with its receiver, which the answer owns, at the latest.
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let last = work(&operations, &steps).unwrap_or_else(|error| Step {
                state: "failed",
                error: Some(error.to_string()),
                ..Step::default()
            });
            // What went must not be served from memory.
            operations.stacks.forget();
            log_end(order, &by, &last, steps.is_closed());
            let _gone = steps.try_send(last);
        });
        receiver
    }

    fn purge_named(&self, keyspace: &Keyspace, hashes: &[Hash]) -> Result<Step, StoreError> {
        let engine = self.stacks.engine();
        let mut step = Step { state: "done", done: 1, total: 1, ..Step::default() };
        for hash in hashes {
            let sizes = Arc::clone(&self.stacks.sizes);
            let size = block_on(async { sizes.size_of(keyspace, hash).await });
            if let Some(size_bytes) = size {
                let digest = Digest::new(*hash, size_bytes);
                let key = BlobKey { keyspace: keyspace.clone(), digest };
                if block_on(self.stacks.chunked().remove(&key))? {
                    step.records += 1;
                    step.bytes += size_bytes;
                }
            }
            let key = RecordKey::action_result(keyspace, hash);
            step.records += u64::from(engine.remove(&key)?);
        }
        Ok(step)
    }

    fn purge_rule(&self, rule: &PurgeRule, steps: &mpsc::Sender<Step>) -> Result<Step, StoreError> {
        let engine = self.stacks.engine();
        let total = engine.usage().records;
        let step = |state, purged: Purged| Step {
            state,
            done: purged.seen_records,
            total: total.max(purged.seen_records),
            records: purged.records,
            bytes: purged.bytes,
            skipped_records: purged.skipped_records,
            error: None,
        };
        let purged = engine.purge(rule, &mut |purged| tell(steps, step("running", purged)))?;
        Ok(Step { total: purged.seen_records, ..step("done", purged) })
    }

    fn shrink(&self, to_bytes: u64, steps: &mpsc::Sender<Step>) -> Result<Step, StoreError> {
        let engine = self.stacks.engine();
        let taken = |usage: &Usage| usage.stored_bytes + usage.dead_bytes;
        let first = engine.usage();
        // What went is counted where it goes: clients store meanwhile, and after a start what is there is still being counted.
        let step = |state: &'static str| {
            let now = engine.usage();
            let done = taken(&first).saturating_sub(taken(&now));
            Step {
                state,
                done,
                total: taken(&first).saturating_sub(to_bytes).max(done),
                records: now.evictions - first.evictions,
                bytes: now.evicted_bytes - first.evicted_bytes,
                ..Step::default()
            }
        };
        while engine.give_up(to_bytes)? {
            if tell(steps, step("running")) == GoOn::No {
                break;
            }
        }
        let last = step("done");
        // Headers of what is still open stay.
        Ok(Step { total: last.done, ..last })
    }
}

/// What an order came to. Who has gone away has broken it off, unless it was through by then.
fn log_end(order: &'static str, by: &Orderer, last: &Step, is_abandoned: bool) {
    let Step { state, records, bytes, skipped_records, error, .. } = last;
    if let Some(error) = error {
        tracing::warn!(
            order,
            caller = by.name(),
            peer = by.address(),
            error,
            "an admin's order failed"
        );
    } else {
        tracing::info!(
            order,
            caller = by.name(),
            peer = by.address(),
            state = if is_abandoned { "broken off" } else { state },
            records,
            bytes,
            skipped_records,
            "an admin's order is through"
        );
    }
}

/// Whoever asked may read slowly, or not at all, but not go away.
fn tell(steps: &mpsc::Sender<Step>, step: Step) -> GoOn {
    // The last place is for the last step.
    if steps.capacity() > 1 {
        let _gone = steps.try_send(step);
    }
    if steps.is_closed() { GoOn::No } else { GoOn::Yes }
}

/// On the thread for blocking work, which belongs to a runtime.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(work)
}
