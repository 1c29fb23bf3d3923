//! What is answered from memory is what the store behind would answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use larder_action_cache::{ActionEntry, ActionKey, ActionStore, ActionVersions, HotActions};
use larder_cas::{Keyspace, RequestCx, StoreError};
use larder_disk::RecordVersion;
use larder_protos::reapi::ActionResult;
use larder_protos::{Digest, DigestFunction};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const FUNCTION: DigestFunction = DigestFunction::Sha256;
const CX: RequestCx = RequestCx::RAW;

/// One result, whatever the key, told apart by its exit code. Answers can be held back after they were taken, and puts before
/// they take effect.
#[derive(Debug)]
struct Single {
    /// Guards one look or one change.
    current: Mutex<Current>,
    reads: AtomicU64,
    holds_gets: AtomicBool,
    holds_puts: AtomicBool,
    released: Semaphore,
}

#[derive(Copy, Clone, Debug)]
struct Current {
    exit_code: Option<i32>,
    version: u64,
}

impl Single {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            current: Mutex::new(Current { exit_code: Some(1), version: 1 }),
            reads: AtomicU64::new(0),
            holds_gets: AtomicBool::new(false),
            holds_puts: AtomicBool::new(false),
            released: Semaphore::new(0),
        })
    }

    fn change(&self, exit_code: Option<i32>) {
        let mut current = self.current.lock();
        *current = Current { exit_code, version: current.version + 1 };
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    async fn wait_if(&self, held: &AtomicBool) {
        if held.load(Ordering::SeqCst) {
            self.released.acquire().await.expect("never closed").forget();
        }
    }
}

impl fmt::Display for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("single")
    }
}

#[async_trait]
impl ActionStore for Single {
    async fn get(&self, _: &RequestCx, _: &ActionKey) -> Result<Option<ActionEntry>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let found = self.current.lock().exit_code.map(entry);
        self.wait_if(&self.holds_gets).await;
        Ok(found)
    }

    async fn put(&self, _: &RequestCx, _: &ActionKey, new: ActionEntry) -> Result<(), StoreError> {
        self.wait_if(&self.holds_puts).await;
        self.change(Some(new.result().exit_code));
        Ok(())
    }
}

impl ActionVersions for Single {
    fn version(&self, _: &ActionKey) -> Option<RecordVersion> {
        let current = *self.current.lock();
        current.exit_code.map(|_| RecordVersion::new(current.version))
    }
}

fn hot(single: &Arc<Single>) -> HotActions {
    HotActions::new(Arc::<Single>::clone(single), Arc::<Single>::clone(single), 1 << 20)
}

fn entry(exit_code: i32) -> ActionEntry {
    let result = ActionResult { exit_code, ..ActionResult::default() };
    ActionEntry::new(FUNCTION, result).expect("well formed")
}

fn key() -> ActionKey {
    let keyspace = Keyspace::new("").expect("a short name");
    let action = *Digest::of(FUNCTION, b"action").hash();
    ActionKey { keyspace: keyspace.clone(), blobs: keyspace, action }
}

async fn get(store: &dyn ActionStore) -> Option<i32> {
    let found = store.get(&CX, &key()).await.expect("an answer");
    found.map(|entry| entry.result().exit_code)
}

#[tokio::test]
async fn hits_do_not_read_behind() {
    let single = Single::new();
    let hot = hot(&single);
    for _ in 0..5 {
        assert_eq!(get(&hot).await, Some(1));
    }
    assert_eq!(single.reads(), 1);
}

#[tokio::test]
async fn what_changes_behind_is_seen_whoever_changed_it() {
    let single = Single::new();
    let hot = hot(&single);
    for (exit_code, reads) in [(Some(2), 1), (Some(3), 2), (None, 3), (None, 4), (Some(3), 5)] {
        single.change(exit_code);
        assert_eq!(get(&hot).await, exit_code);
        assert_eq!(single.reads(), reads);
    }
    assert_eq!((get(&hot).await, single.reads()), (Some(3), 5), "in memory again");
}

#[tokio::test]
async fn a_read_that_a_put_overtook_is_not_served_again() {
    let single = Single::new();
    let hot = hot(&single);
    single.holds_gets.store(true, Ordering::SeqCst);
    let key = key();
    let overtaken = async {
        // In this order: `join!` polls the read first.
        let put = async {
            hot.put(&CX, &key, entry(2)).await.expect("stored");
            single.holds_gets.store(false, Ordering::SeqCst);
            single.released.add_permits(1);
        };
        tokio::join!(get(&hot), put).0
    };
    assert_eq!(overtaken.await, Some(1), "it was asked before the put");
    assert_eq!(get(&hot).await, Some(2));
}

#[tokio::test]
async fn a_put_whose_caller_went_away_may_take_effect_later() {
    let single = Single::new();
    let hot = hot(&single);
    single.holds_puts.store(true, Ordering::SeqCst);
    let key = key();
    let mut put = Box::pin(hot.put(&CX, &key, entry(2)));
    assert!(futures_util::poll!(put.as_mut()).is_pending(), "under way");
    drop(put);
    assert_eq!(get(&hot).await, Some(1), "it has not happened yet");
    assert_eq!((get(&hot).await, single.reads()), (Some(1), 1), "and is in memory");
    single.change(Some(2));
    assert_eq!(get(&hot).await, Some(2), "now it has");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_after_a_put_is_older() {
    let hot = Arc::new(hot(&Single::new()));
    let reader = Arc::clone(&hot);
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    let mut reads = JoinSet::new();
    reads.spawn(async move {
        while !seen.load(Ordering::Relaxed) {
            get(&*reader).await;
            tokio::task::yield_now().await;
        }
    });
    let key = key();
    for exit_code in 2..20_000 {
        hot.put(&CX, &key, entry(exit_code)).await.expect("stored");
        assert_eq!(get(&*hot).await, Some(exit_code));
    }
    done.store(true, Ordering::Relaxed);
    reads.join_all().await;
}
