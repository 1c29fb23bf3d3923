//! [`Uploads`]: uploads of plain bytes that outlive their connection, so that a client can go on where it was cut off.
//!
//! A task per upload feeds the store from a channel; whoever has the upload's lease puts chunks into it. When the lease ends
//! before the upload does, the task simply waits, with all that came so far in the store's own temporary file. Invariant: one
//! lease at a time feeds an upload, at the offset that it has reached, so two connections cannot mix their bytes. The digest is
//! checked over all of them, as for any upload.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use larder_cas::{PutOutcome, StoreError, UntrustedStream};
use larder_protos::{Compressor, Digest, InstanceName, WriteName};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::budget::Hold;

/// Smaller uploads begin anew: to send them again costs about what asking where to go on costs.
const RESUMABLE_BYTES: u64 = 64 * 1024;

/// A client's own name for an upload, a UUID in practice, is kept with it; longer ones are not worth their memory.
const UPLOAD_ID_BYTES: usize = 256;

/// Messages between a connection and its store (`working_set.rs` counts them).
const CHANNEL_MESSAGES: usize = 2;

/// What is kept of uploads whose connection is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadLimits {
    /// Uploads: one client has a few large ones under way, and a build farm some dozens when its network fails.
    pub(crate) count: usize,
    /// Their bytes on disk, which no quota counts yet.
    pub(crate) disk_bytes: u64,
    /// Their part of the budget of memory.
    pub(crate) memory_bytes: u64,
    /// Clients that come back do so within their retries, a few minutes.
    pub(crate) age: Duration,
}

/// What tells one upload from another. The client chose part of it, so a retry has the same and nobody else.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct UploadName {
    instance: InstanceName,
    upload_id: String,
    digest: Digest,
}

/// The uploads that can be resumed.
#[derive(Debug)]
pub struct Uploads {
    limits: UploadLimits,
    /// Guards operations on the lists, and leases that change hands or end.
    lists: Mutex<Lists>,
    resumed: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Lists {
    /// All, with a connection or without; the latest of each name.
    by_name: HashMap<UploadName, Arc<Upload>>,
    /// Those of them without a connection, the oldest first.
    kept: VecDeque<Kept>,
}

/// An upload without a connection.
#[derive(Debug)]
struct Kept {
    since: Instant,
    name: UploadName,
    upload: Arc<Upload>,
}

/// What is kept, and what became of it, for metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UploadStats {
    /// Uploads without a connection.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Uploads that went on over another connection.
    pub resumed: u64,
    /// Uploads that were kept and given up: too old, or too many.
    pub dropped: u64,
}

#[derive(Debug)]
struct Upload {
    /// Held while a chunk is handed on, and while a lease changes hands.
    feed: tokio::sync::Mutex<Feed>,
    committed_bytes: AtomicU64,
    /// Which lease is the valid one.
    lease: AtomicU64,
    hold: Arc<Hold>,
}

#[derive(Debug)]
struct Feed {
    /// `None` once all has been handed on.
    chunks: Option<mpsc::Sender<Bytes>>,
    /// The task that stores the upload; empty once its outcome has been told. Dropping it ends the task, and nothing is left.
    stored: JoinSet<Result<PutOutcome, StoreError>>,
}

/// The right to feed an upload. Dropping it keeps what came so far for another connection, within the limits.
#[derive(Debug)]
pub(crate) struct Lease {
    uploads: Arc<Uploads>,
    name: UploadName,
    upload: Arc<Upload>,
    number: u64,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fed {
    /// The store takes it.
    Taken,
    /// The store wants no more: [`Lease::finish`] says why.
    Enough,
}

/// Why an upload does not go on.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub(crate) enum LeaseError {
    #[error(
        "the upload begins at offset {asked_bytes}, but {kept_bytes} bytes of it are kept here"
    )]
    Offset { asked_bytes: u64, kept_bytes: u64 },
    #[error("the upload goes on over another connection")]
    TakenOver,
}

impl UploadName {
    /// The name under which an upload can be resumed, if it can.
    pub(crate) fn of(name: &WriteName) -> Option<Self> {
        let resumable = name.compressor == Compressor::Identity
            && name.digest.size_bytes() > RESUMABLE_BYTES
            && name.upload_id.len() <= UPLOAD_ID_BYTES;
        resumable.then(|| Self {
            instance: name.instance.clone(),
            upload_id: name.upload_id.clone(),
            digest: name.digest,
        })
    }
}

impl Uploads {
    pub(crate) fn new(limits: UploadLimits) -> Self {
        let (resumed, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { limits, lists: Mutex::default(), resumed, dropped }
    }

    /// Begins an upload: `store` is given its bytes and runs as a task of this runtime. An upload of the same name that has
    /// no connection is given up; one that has is left to it, but is not kept any more.
    pub(crate) fn begin<F>(
        self: &Arc<Self>,
        name: UploadName,
        hold: Arc<Hold>,
        store: impl FnOnce(UntrustedStream) -> F,
    ) -> Lease
    where
        F: Future<Output = Result<PutOutcome, StoreError>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(CHANNEL_MESSAGES);
        let arriving = stream::unfold(receiver, async |mut receiver| {
            let chunk = receiver.recv().await?;
            Some((Ok(chunk), receiver))
        });
        let mut stored = JoinSet::new();
        stored.spawn(store(Box::pin(arriving)));
        let upload = Arc::new(Upload {
            feed: tokio::sync::Mutex::new(Feed { chunks: Some(sender), stored }),
            committed_bytes: AtomicU64::new(0),
            lease: AtomicU64::new(0),
            hold,
        });
        // Dropped after the lock is given back: its temporary file goes with it.
        let _replaced = {
            let mut lists = self.lists.lock();
            let replaced = lists.by_name.insert(name.clone(), Arc::clone(&upload));
            replaced.map(|replaced| (lists.take_kept(&replaced), replaced))
        };
        Lease { uploads: Arc::clone(self), name, upload, number: 0 }
    }

    /// Takes an upload over that has reached just this offset; a connection that still feeds it is cut off.
    pub(crate) async fn resume(
        self: &Arc<Self>,
        name: UploadName,
        offset_bytes: u64,
    ) -> Result<Lease, LeaseError> {
        let refused = |kept_bytes| LeaseError::Offset { asked_bytes: offset_bytes, kept_bytes };
        let known = self.lists.lock().by_name.get(&name).cloned();
        let upload = known.ok_or(refused(0))?;
        let feed = upload.feed.lock().await;
        let kept_bytes = upload.committed_bytes.load(Ordering::Acquire);
        if kept_bytes != offset_bytes {
            return Err(refused(kept_bytes));
        }
        let number = {
            let mut lists = self.lists.lock();
            drop(lists.take_kept(&upload));
            upload.lease.fetch_add(1, Ordering::AcqRel) + 1
        };
        drop(feed);
        self.resumed.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { uploads: Arc::clone(self), name, upload, number })
    }

    /// How many bytes of an upload are here; 0 where nothing is.
    pub(crate) fn committed_bytes(&self, name: &UploadName) -> u64 {
        let lists = self.lists.lock();
        lists.by_name.get(name).map_or(0, |upload| upload.committed_bytes.load(Ordering::Acquire))
    }

    /// Gives up what nobody came back for.
    pub fn expire(&self) {
        let Some(oldest) = Instant::now().checked_sub(self.limits.age) else { return };
        self.give_up(|lists| lists.kept.front().is_some_and(|kept| kept.since <= oldest));
    }

    /// What is kept, and what became of it.
    pub fn stats(&self) -> UploadStats {
        let lists = self.lists.lock();
        UploadStats {
            kept: lists.kept.len() as u64,
            kept_bytes: lists.disk_bytes(),
            resumed: self.resumed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Keeps an upload whose lease has ended too early, the oldest ones making room for it.
    fn keep(&self, lease: &Lease) {
        {
            let mut lists = self.lists.lock();
            let valid = lease.upload.lease.load(Ordering::Acquire) == lease.number;
            if !valid || !lists.has(&lease.name, &lease.upload) {
                return;
            }
            let (name, upload) = (lease.name.clone(), Arc::clone(&lease.upload));
            lists.kept.push_back(Kept { since: Instant::now(), name, upload });
        }
        self.give_up(|lists| {
            lists.kept.len() > self.limits.count
                || lists.disk_bytes() > self.limits.disk_bytes
                || lists.memory_bytes() > self.limits.memory_bytes
        });
    }

    /// Gives the oldest up for as long as there is one and `too_much` says so.
    fn give_up(&self, too_much: impl Fn(&Lists) -> bool) {
        // Dropped after the lock is given back: their temporary files go with them.
        let mut given_up = Vec::new();
        {
            let mut lists = self.lists.lock();
            while too_much(&lists) {
                let Some(oldest) = lists.kept.pop_front() else { break };
                lists.by_name.remove(&oldest.name);
                given_up.push(oldest);
            }
        }
        self.dropped.fetch_add(given_up.len() as u64, Ordering::Relaxed);
    }

    /// Takes an upload that has ended off the list.
    fn forget(&self, name: &UploadName, upload: &Arc<Upload>) {
        let mut lists = self.lists.lock();
        if lists.has(name, upload) {
            lists.by_name.remove(name);
        }
    }
}

impl Lists {
    fn has(&self, name: &UploadName, upload: &Arc<Upload>) -> bool {
        self.by_name.get(name).is_some_and(|listed| Arc::ptr_eq(listed, upload))
    }

    fn take_kept(&mut self, upload: &Arc<Upload>) -> Option<Kept> {
        let place = self.kept.iter().position(|kept| Arc::ptr_eq(&kept.upload, upload))?;
        self.kept.remove(place)
    }

    fn disk_bytes(&self) -> u64 {
        self.kept.iter().map(|kept| kept.upload.committed_bytes.load(Ordering::Acquire)).sum()
    }

    fn memory_bytes(&self) -> u64 {
        self.kept.iter().map(|kept| kept.upload.hold.bytes()).sum()
    }
}

impl Lease {
    /// What the upload holds.
    pub(crate) fn hold(&self) -> &Arc<Hold> {
        &self.upload.hold
    }

    /// Hands the next bytes on; waits until the store takes them.
    pub(crate) async fn feed(&self, data: Bytes) -> Result<Fed, LeaseError> {
        let feed = self.upload.feed.lock().await;
        self.check()?;
        let length_bytes = data.len() as u64;
        let Some(chunks) = &feed.chunks else { return Ok(Fed::Enough) };
        // Dropped while it waits, it has sent nothing: the client sends these bytes again.
        if chunks.send(data).await.is_err() {
            return Ok(Fed::Enough);
        }
        self.upload.committed_bytes.fetch_add(length_bytes, Ordering::AcqRel);
        Ok(Fed::Taken)
    }

    /// Says that this was all, and waits for what the store makes of it. Dropped while it waits, the store goes on.
    pub(crate) async fn finish(self) -> Result<Result<PutOutcome, StoreError>, LeaseError> {
        let mut feed = self.upload.feed.lock().await;
        self.check()?;
        feed.chunks = None;
        let ended = feed.stored.join_next().await.ok_or(LeaseError::TakenOver)?;
        self.uploads.forget(&self.name, &self.upload);
        Ok(match ended {
            Ok(stored) => stored,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_cancelled) => Err(StoreError::ShuttingDown),
        })
    }

    /// Under the lock of the feed: another lease comes only with it.
    fn check(&self) -> Result<(), LeaseError> {
        let valid = self.upload.lease.load(Ordering::Acquire) == self.number;
        valid.then_some(()).ok_or(LeaseError::TakenOver)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.uploads.keep(self);
    }
}

#[cfg(test)]
mod tests;
