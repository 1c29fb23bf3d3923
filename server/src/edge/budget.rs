//! [`Budget`]: one bound for all bytes that requests hold in memory: messages, collected payloads, read buffers.
//!
//! Invariant: who holds bytes never waits for more, so those who wait always wait for requests that can end. A request says
//! at its start what it may need at most; where that turns out to be too little, more is taken if it is free, or the
//! request ends. What a client sends ahead while its request waits stands in the buffers of its connection: if that filled
//! the connection's window, the requests that hold bytes could not get the rest of theirs. So it is bounded too.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use larder_cas::{MemoryLender, StoreError};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::stalls::{LOOK_EVERY, Stalls};
use crate::auth::Peer;
use crate::transport::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};

/// Longer than any burst takes that the budget can serve at all, shorter than clients wait for an answer (Bazel: 60 s).
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A hundred connections of Bazel with all their streams wait at most; one more request is told to come again.
const MAX_WAITING: usize = 10_000;

/// What all that wait may have been sent ahead: a connection's window, less what one upload fills of it.
const MAX_UNREAD_BYTES: u64 = (CONNECTION_WINDOW_BYTES - STREAM_WINDOW_BYTES) as u64;

/// tokio counts in 32 bits; more than a request ever needs.
const REQUEST_LIMIT_BYTES: u64 = u32::MAX as u64;

/// The bytes of all requests. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit_bytes: u64,
    /// One permit a byte.
    free: Semaphore,
    waiting: AtomicUsize,
    /// Of those who wait, what their clients may have sent ahead.
    unread_bytes: AtomicU64,
    waits: AtomicU64,
    refusals: AtomicU64,
    stalls: Stalls,
}

/// What one request holds. Dropping it gives the bytes back.
#[derive(Debug)]
pub(crate) struct Hold {
    shared: Arc<Shared>,
    /// `None` where it belongs to no connection.
    peer: Option<Arc<Peer>>,
    bytes: AtomicU64,
    /// Whether what still arrives is to be thrown away unread.
    discards: AtomicBool,
}

/// The budget's state, for metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BudgetStats {
    /// What requests hold.
    pub held_bytes: u64,
    /// What they may hold together.
    pub limit_bytes: u64,
    /// Requests that wait for bytes.
    pub waiting: u64,
    /// Requests that had to wait since the start.
    pub waits: u64,
    /// Requests that were refused since the start.
    pub refusals: u64,
    /// Connections that were closed since the start, since their clients stalled while others waited.
    pub stalled_connections: u64,
}

/// A request cannot have the memory that it needs.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub(crate) enum BudgetError {
    #[error(
        "the request needs {needed_bytes} B in memory, over the limit of {limit_bytes} B for all requests"
    )]
    TooLarge { needed_bytes: u64, limit_bytes: u64 },
    #[error(
        "{needed_bytes} B for the request did not become free; {limit_bytes} B are in use by others"
    )]
    Busy { needed_bytes: u64, limit_bytes: u64 },
}

impl Budget {
    /// At most `limit_bytes` in memory.
    pub fn new(limit_bytes: u64) -> Self {
        let permits =
            usize::try_from(limit_bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let shared = Shared {
            limit_bytes: permits as u64,
            free: Semaphore::new(permits),
            waiting: AtomicUsize::new(0),
            unread_bytes: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            stalls: Stalls::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The hold of a request that needs nothing yet.
    pub(crate) fn nothing(&self, peer: Option<Arc<Peer>>) -> Arc<Hold> {
        Arc::new(Hold {
            shared: Arc::clone(&self.shared),
            peer,
            bytes: AtomicU64::new(0),
            discards: AtomicBool::new(false),
        })
    }

    /// A hold of so many bytes; waits for them, for a time.
    pub(crate) async fn hold(
        &self,
        peer: Option<Arc<Peer>>,
        bytes: u64,
    ) -> Result<Arc<Hold>, BudgetError> {
        let hold = self.nothing(peer);
        hold.cover(bytes).await?;
        Ok(hold)
    }

    /// Refuses what could never be in memory, however long it waited.
    pub(crate) fn check_fits(&self, needed_bytes: u64) -> Result<(), BudgetError> {
        let limit_bytes = self.shared.limit_bytes;
        if needed_bytes <= limit_bytes {
            return Ok(());
        }
        self.shared.refusals.fetch_add(1, Ordering::Relaxed);
        Err(BudgetError::TooLarge { needed_bytes, limit_bytes })
    }

    /// What it holds and did.
    pub fn stats(&self) -> BudgetStats {
        let shared = &*self.shared;
        BudgetStats {
            held_bytes: shared.limit_bytes - shared.free.available_permits() as u64,
            limit_bytes: shared.limit_bytes,
            waiting: shared.waiting.load(Ordering::Relaxed) as u64,
            waits: shared.waits.load(Ordering::Relaxed),
            refusals: shared.refusals.load(Ordering::Relaxed),
            stalled_connections: shared.stalls.cut(),
        }
    }
}

impl Hold {
    /// What it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whose it is.
    pub(super) fn peer(&self) -> Option<&Arc<Peer>> {
        self.peer.as_ref()
    }

    /// Who looks after those that wait for their clients with it.
    pub(super) fn stalls(&self) -> &Stalls {
        &self.shared.stalls
    }

    /// Raises the hold to `bytes`, if it is less. Waits only where nothing is held. One caller at a time.
    ///
    /// Needs are estimated from above, so who needs more than there is waits for all of it, and has it alone.
    pub(crate) async fn cover(&self, bytes: u64) -> Result<(), BudgetError> {
        self.cover_unread(bytes, 0).await
    }

    /// The same for a request of which so many bytes may come ahead while it waits.
    pub(crate) async fn cover_unread(
        &self,
        bytes: u64,
        unread_bytes: u64,
    ) -> Result<(), BudgetError> {
        let bytes = bytes.min(self.shared.limit_bytes).min(REQUEST_LIMIT_BYTES);
        match (self.bytes(), bytes) {
            (held_bytes, bytes) if held_bytes >= bytes => Ok(()),
            (0, bytes) => {
                self.shared.wait_for(bytes, unread_bytes).await?;
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                Ok(())
            }
            (held_bytes, bytes) => self.grow_by(bytes - held_bytes),
        }
    }

    /// Takes more, if it is free now.
    pub(crate) fn grow_by(&self, bytes: u64) -> Result<(), BudgetError> {
        let bytes = bytes.min(REQUEST_LIMIT_BYTES);
        match self.shared.free.try_acquire_many(permits(bytes)) {
            Ok(taken) => {
                taken.forget();
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(_) => Err(self.shared.refuse(bytes)),
        }
    }

    /// Moves all that it holds to a hold that lives longer than its request, and so belongs to no connection.
    pub(crate) fn split_off(&self) -> Arc<Self> {
        let bytes = AtomicU64::new(self.bytes.swap(0, Ordering::Relaxed));
        let (shared, discards) = (Arc::clone(&self.shared), AtomicBool::new(false));
        Arc::new(Self { shared, peer: None, bytes, discards })
    }

    /// Gives so many back, or all where it holds less.
    pub(crate) fn shrink_by(&self, bytes: u64) {
        if self.bytes() == 0 || bytes == 0 {
            return;
        }
        let keep = |held_bytes: u64| Some(held_bytes.saturating_sub(bytes));
        let before = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep);
        let given_bytes = before.unwrap_or_default().min(bytes);
        self.shared.free.add_permits(usize::try_from(given_bytes).unwrap_or_default());
    }

    /// Takes more for as long as the loan lives, if it is free now.
    pub(crate) fn lend(&self, bytes: u64) -> Result<Loan<'_>, BudgetError> {
        if bytes > 0 {
            self.grow_by(bytes)?;
        }
        Ok(Loan { hold: self, bytes })
    }

    /// The request is answered: gives everything back, and has what still arrives thrown away before it takes memory.
    pub(crate) fn discard_rest(&self) {
        self.discards.store(true, Ordering::Relaxed);
        self.shrink_by(u64::MAX);
    }

    /// Whether what still arrives is to be thrown away.
    pub(crate) fn discards(&self) -> bool {
        self.discards.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl MemoryLender for Hold {
    async fn take(&self, bytes: u64) -> Result<(), StoreError> {
        self.cover(self.bytes().saturating_add(bytes)).await.map_err(|error| match error {
            BudgetError::TooLarge { needed_bytes, limit_bytes }
            | BudgetError::Busy { needed_bytes, limit_bytes } => {
                StoreError::NoMemory { needed_bytes, limit_bytes }
            }
        })
    }

    fn give_back(&self, bytes: u64) {
        self.shrink_by(bytes);
    }
}

/// A part of a hold that is given back before the rest.
#[derive(Debug)]
pub(crate) struct Loan<'a> {
    hold: &'a Hold,
    bytes: u64,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.hold.shrink_by(self.bytes);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shrink_by(u64::MAX);
    }
}

impl Shared {
    /// Takes so many bytes, first come first served.
    async fn wait_for(&self, bytes: u64, unread_bytes: u64) -> Result<(), BudgetError> {
        if let Ok(taken) = self.free.try_acquire_many(permits(bytes)) {
            taken.forget();
            return Ok(());
        }
        let Some(_place) = Place::take(self, unread_bytes.min(STREAM_WINDOW_BYTES.into())) else {
            return Err(self.refuse(bytes));
        };
        self.waits.fetch_add(1, Ordering::Relaxed);
        let mut acquired = pin!(self.free.acquire_many(permits(bytes)));
        let acquired_or_looked = async {
            loop {
                match timeout(LOOK_EVERY, acquired.as_mut()).await {
                    Ok(acquired) => return acquired,
                    Err(_elapsed) => self.stalls.look(),
                }
            }
        };
        match timeout(MAX_WAIT, acquired_or_looked).await {
            Ok(Ok(taken)) => {
                taken.forget();
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(self.refuse(bytes)),
        }
    }

    fn refuse(&self, needed_bytes: u64) -> BudgetError {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        BudgetError::Busy { needed_bytes, limit_bytes: self.limit_bytes }
    }
}

/// A place among those who wait.
struct Place<'a> {
    shared: &'a Shared,
    unread_bytes: u64,
}

impl<'a> Place<'a> {
    fn take(shared: &'a Shared, unread_bytes: u64) -> Option<Self> {
        let place = Self { shared, unread_bytes };
        let waiting = shared.waiting.fetch_add(1, Ordering::Relaxed);
        let unread_before = shared.unread_bytes.fetch_add(unread_bytes, Ordering::Relaxed);
        let unread_limit = MAX_UNREAD_BYTES.min(shared.limit_bytes);
        (waiting < MAX_WAITING && unread_before + unread_bytes <= unread_limit).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.unread_bytes.fetch_sub(self.unread_bytes, Ordering::Relaxed);
    }
}

/// Of at most [`REQUEST_LIMIT_BYTES`].
fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use futures_util::poll;
    use larder_cas::RequestMemory;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_in_turn() {
        let budget = Budget::new(100);
        let first = budget.hold(None, 80).await.unwrap();
        let mut second = Box::pin(budget.hold(None, 30));
        let mut third = Box::pin(budget.hold(None, 10));
        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut third).is_pending(), "a small one does not overtake for ever");
        assert_eq!(budget.stats().waiting, 2);
        drop(first);
        let second = second.await.unwrap();
        let third = third.await.unwrap();
        assert_eq!((second.bytes(), third.bytes()), (30, 10));
        assert_eq!(budget.stats().held_bytes, 40);
        drop((second, third));
        let expect = BudgetStats {
            held_bytes: 0,
            limit_bytes: 100,
            waiting: 0,
            waits: 2,
            refusals: 0,
            stalled_connections: 0,
        };
        assert_eq!(budget.stats(), expect);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_after_a_time_or_with_the_request() {
        let budget = Budget::new(100);
        let held = budget.hold(None, 60).await.unwrap();
        let refused = budget.hold(None, 41).await.unwrap_err();
        assert_eq!(refused, BudgetError::Busy { needed_bytes: 41, limit_bytes: 100 });
        let mut dropped = Box::pin(budget.hold(None, 41));
        assert!(poll!(&mut dropped).is_pending());
        drop(dropped);
        assert_eq!((budget.stats().waiting, budget.stats().held_bytes), (0, 60));
        drop(held);
        budget.hold(None, 100).await.unwrap();
    }

    #[tokio::test]
    async fn more_than_there_ever_is_has_all_of_it_alone() {
        let budget = Budget::new(100);
        let refused = budget.check_fits(101).unwrap_err();
        assert_eq!(refused, BudgetError::TooLarge { needed_bytes: 101, limit_bytes: 100 });
        budget.check_fits(100).unwrap();
        let all = budget.hold(None, 101).await.unwrap();
        assert_eq!((all.bytes(), budget.stats().held_bytes), (100, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_unread_is_bounded() {
        let limit_bytes = 1 << 31;
        let budget = Budget::new(limit_bytes);
        let _all = budget.hold(None, limit_bytes).await;
        let requests: Vec<_> = (0..100).map(|_| budget.nothing(None)).collect();
        let mut waiting: Vec<_> =
            requests.iter().map(|request| Box::pin(request.cover_unread(1, 8 << 20))).collect();
        let mut refused = 0;
        for request in &mut waiting {
            refused += usize::from(poll!(request).is_ready());
        }
        // Each may fill its window of 4 MiB, and one more must always fit into the connection's.
        assert_eq!(refused, 100 - 15);
        drop(waiting);
        assert_eq!(budget.shared.unread_bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_never_waits() {
        let budget = Budget::new(100);
        let one = budget.hold(None, 50).await.unwrap();
        let other = budget.hold(None, 40).await.unwrap();
        one.cover(50).await.unwrap();
        one.cover(60).await.unwrap();
        let at_once = other.cover(61).now_or_never().expect("no waiting");
        assert_eq!(at_once, Err(BudgetError::Busy { needed_bytes: 21, limit_bytes: 100 }));
        one.shrink_by(20);
        other.cover(60).await.unwrap();
        assert_eq!((one.bytes(), other.bytes()), (40, 60));
        drop(one.lend(0).unwrap());
        one.lend(1).unwrap_err();
        let longer = one.split_off();
        assert_eq!((one.bytes(), longer.bytes()), (0, 40));
        drop(one);
        assert_eq!(budget.stats().held_bytes, 100);
        let one = longer;
        other.discard_rest();
        drop(one.lend(50).unwrap());
        assert_eq!(one.bytes(), 40);
        assert_eq!((other.bytes(), other.discards()), (0, true));
        other.shrink_by(5);
        drop((one, other));
        assert_eq!(budget.stats().held_bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_stores_take_on_their_way_waits_only_where_nothing_is_held() {
        let budget = Budget::new(100_000);
        let [first, second] = [(); 2].map(|()| budget.nothing(None));
        let memory = |hold: &Arc<Hold>| RequestMemory::counted_by(Arc::<Hold>::clone(hold));
        let mut small = memory(&first).loan();
        small.grow_to(16_384).await.unwrap();
        assert_eq!(budget.stats().held_bytes, 0, "not worth counting");
        small.grow_to(60_000).await.unwrap();
        small.grow_to(50_000).await.unwrap();
        assert_eq!(budget.stats().held_bytes, 60_000);
        let mut more = memory(&first).loan();
        more.grow_to(30_000).await.unwrap();
        let mut waiting = memory(&second).loan();
        {
            let mut wait = Box::pin(waiting.grow_to(20_000));
            assert!(poll!(&mut wait).is_pending());
            drop(more);
            wait.await.unwrap();
        }
        let refused = small.grow_to(90_000).now_or_never().expect("no waiting").unwrap_err();
        let StoreError::NoMemory { needed_bytes: 30_000, limit_bytes: 100_000 } = refused else {
            panic!("{refused}");
        };
        drop(waiting);
        // More than there ever is has all there is.
        small.grow_to(1 << 40).await.unwrap();
        assert_eq!(budget.stats().held_bytes, 100_000);
        drop(small);
        assert_eq!(budget.stats().held_bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_is_ever_held_and_nobody_starves() {
        let budget = Budget::new(1_000);
        let requests = (0..200_u64).map(|number| {
            let budget = &budget;
            async move {
                let hold = budget.hold(None, 1 + number * 37 % 1_000).await.unwrap();
                assert!(budget.stats().held_bytes <= 1_000);
                tokio::time::sleep(Duration::from_millis(1)).await;
                let _ = hold.grow_by(50);
                assert!(budget.stats().held_bytes <= 1_000);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        join_all(requests).await;
        assert_eq!((budget.stats().held_bytes, budget.stats().waiting), (0, 0));
    }
}
