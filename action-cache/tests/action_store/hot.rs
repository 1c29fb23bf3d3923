//! What the hot tier must not remember.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use async_trait::async_trait;
use larder_action_cache::{ActionEntry, ActionKey, ActionStore, HotActions};
use larder_cas::{Keyspace, RequestCx, StoreError};
use larder_protos::reapi::ActionResult;
use larder_protos::{Digest, DigestFunction};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const FUNCTION: DigestFunction = DigestFunction::Sha256;
const CX: RequestCx = RequestCx::RAW;

/// One result, whatever the key, told apart by its exit code. Answers can be held back after they were taken.
#[derive(Debug)]
struct Single {
    exit_code: AtomicI32,
    holds_gets: AtomicBool,
    holds_puts: AtomicBool,
    released: Semaphore,
}

impl Single {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            exit_code: AtomicI32::new(1),
            holds_gets: AtomicBool::new(false),
            holds_puts: AtomicBool::new(false),
            released: Semaphore::new(0),
        })
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
        let found = entry(self.exit_code.load(Ordering::SeqCst));
        self.wait_if(&self.holds_gets).await;
        Ok(Some(found))
    }

    async fn put(&self, _: &RequestCx, _: &ActionKey, new: ActionEntry) -> Result<(), StoreError> {
        self.exit_code.store(new.result().exit_code, Ordering::SeqCst);
        self.wait_if(&self.holds_puts).await;
        Ok(())
    }
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

async fn get(store: &dyn ActionStore) -> i32 {
    let found = store.get(&CX, &key()).await.expect("an answer");
    found.expect("always there").result().exit_code
}

#[tokio::test]
async fn a_read_that_a_put_overtook_is_not_remembered() {
    let single = Single::new();
    let hot = HotActions::new(single.clone(), 1 << 20);
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
    assert_eq!(overtaken.await, 1, "it was asked before the put");
    assert_eq!(get(&hot).await, 2);
}

#[tokio::test]
async fn a_put_that_was_dropped_half_way_is_not_overlooked() {
    let single = Single::new();
    let hot = HotActions::new(single.clone(), 1 << 20);
    assert_eq!(get(&hot).await, 1, "now in memory");
    single.holds_puts.store(true, Ordering::SeqCst);
    let key = key();
    let mut put = Box::pin(hot.put(&CX, &key, entry(2)));
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(put.as_mut().poll(cx)));
    assert!(begun.await.is_pending(), "stored behind, not answered");
    drop(put);
    assert_eq!(get(&hot).await, 2);
}

#[tokio::test]
async fn a_put_that_was_dropped_may_take_effect_later() {
    let single = Single::new();
    let hot = HotActions::new(single.clone(), 1 << 20);
    single.holds_puts.store(true, Ordering::SeqCst);
    let key = key();
    let mut put = Box::pin(hot.put(&CX, &key, entry(2)));
    assert!(futures_util::poll!(put.as_mut()).is_pending(), "under way");
    single.exit_code.store(1, Ordering::SeqCst);
    drop(put);
    assert_eq!(get(&hot).await, 1, "it has not happened yet");
    single.exit_code.store(2, Ordering::SeqCst);
    assert_eq!(get(&hot).await, 2, "now it has");
    single.holds_puts.store(false, Ordering::SeqCst);
    hot.put(&CX, &key, entry(3)).await.expect("stored");
    assert_eq!(get(&hot).await, 3);
    single.exit_code.store(4, Ordering::SeqCst);
    assert_eq!(get(&hot).await, 3, "remembered again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_after_a_put_is_older() {
    let hot = Arc::new(HotActions::new(Single::new(), 1 << 20));
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
        assert_eq!(get(&*hot).await, exit_code);
    }
    done.store(true, Ordering::Relaxed);
    reads.join_all().await;
}
