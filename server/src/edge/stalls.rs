//! [`Stalls`]: who holds memory while others wait for it must move. Else the connection is closed, and the memory comes back.
//!
//! A request says whose turn it is ([`Turn`]): its client's, while more of its body is to come or its answer is to be taken, or the
//! server's, whose slowness is no client's fault. Whoever waits for memory looks once a second at those whose clients have the turn,
//! connection by connection; while nobody waits nobody looks, and a client may take its time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::budget::Hold;
use crate::auth::Peer;
use crate::telemetry::Throttle;

/// How often who waits for memory looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a client may keep others waiting: longer than networks stumble, and a third of the time that others wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// After a pause in which nobody looked, what was seen before says nothing.
const LOOKS_APART_MAX: Duration = Duration::from_secs(3);

/// In that time a connection must move one part in so many of what its client is waited for with. That is 1.6 KiB/s for a download
/// with its buffers of 1 MiB, which any network that is used for builds carries; and who wants to hold 1 GiB must move 1.6 MiB/s for it.
const MOVED_PART: u64 = 64;

/// Places for entries to begin with.
const ENTRIES_MIN: usize = 64;

/// The requests that may wait for their clients, and what was seen of those.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    /// Those that have ended go when there is no room. The lock guards operations on the list.
    entries: Mutex<Vec<Weak<Entry>>>,
    /// Held while somebody looks; nobody waits for it.
    seen: Mutex<Seen>,
    cut: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    peer: Arc<Peer>,
    hold: Arc<Hold>,
    is_clients: AtomicBool,
}

/// Whose turn it is, the client's or the server's, while a request holds memory.
#[derive(Debug)]
pub(crate) struct Turn {
    hold: Arc<Hold>,
    /// `None` until the client first has the turn.
    entry: Option<Arc<Entry>>,
}

/// What was seen by the last look.
#[derive(Debug, Default)]
struct Seen {
    looked: Option<Instant>,
    /// Connections that move too little, by the address of their peer, which cannot be another's while it is known here.
    slow: HashMap<usize, Slow>,
}

#[derive(Debug)]
struct Slow {
    _peer: Weak<Peer>,
    since: Instant,
    moved_bytes: u64,
}

impl Turn {
    /// Of the request that has `hold`; at first the server's.
    pub(crate) fn of(hold: Arc<Hold>) -> Self {
        Self { hold, entry: None }
    }

    /// Of a request that feeds what another has begun, which has `hold`.
    pub(crate) fn over(hold: &Arc<Hold>, request: &Hold) -> Self {
        let entry = request.peer().map(|peer| hold.stalls().enter(peer, hold, false));
        Self { hold: Arc::clone(hold), entry }
    }

    pub(crate) fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }

    /// The client is to send or to take something.
    pub(crate) fn pass_to_client(&mut self) {
        if let Some(entry) = &self.entry {
            entry.is_clients.store(true, Ordering::Relaxed);
        } else if self.hold.bytes() > 0 {
            let enter = |peer| self.hold.stalls().enter(peer, &self.hold, true);
            self.entry = self.hold.peer().map(enter);
        }
    }

    /// The server has what it needs to go on.
    pub(crate) fn pass_to_server(&self) {
        if let Some(entry) = &self.entry {
            entry.is_clients.store(false, Ordering::Relaxed);
        }
    }
}

impl Stalls {
    /// Connections that were closed since the start.
    pub(super) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    fn enter(&self, peer: &Arc<Peer>, hold: &Arc<Hold>, is_clients: bool) -> Arc<Entry> {
        let (peer, hold) = (Arc::clone(peer), Arc::clone(hold));
        let entry = Arc::new(Entry { peer, hold, is_clients: AtomicBool::new(is_clients) });
        let mut entries = self.entries.lock();
        if entries.len() == entries.capacity() {
            sweep(&mut entries);
        }
        entries.push(Arc::downgrade(&entry));
        entry
    }

    /// Closes the connections that have moved too little for too long.
    pub(super) fn look(&self) {
        let Some(mut seen) = self.seen.try_lock() else { return };
        let now = Instant::now();
        let since_last = seen.looked.map(|looked| now.duration_since(looked));
        if since_last.is_some_and(|since| since < LOOK_EVERY) {
            return;
        }
        let mut before = std::mem::take(&mut seen.slow);
        if since_last.is_none_or(|since| since > LOOKS_APART_MAX) {
            before.clear();
        }
        seen.looked = Some(now);
        for (peer, awaited_bytes) in self.awaited() {
            let address = Arc::as_ptr(&peer).addr();
            let moved_bytes = peer.link.moved_bytes();
            let enough_bytes = (awaited_bytes / MOVED_PART).max(1);
            let slow = before
                .remove(&address)
                .filter(|slow| moved_bytes - slow.moved_bytes < enough_bytes)
                .unwrap_or_else(|| Slow { _peer: Arc::downgrade(&peer), since: now, moved_bytes });
            if now.duration_since(slow.since) >= PATIENCE {
                self.end(&peer, awaited_bytes);
            } else {
                seen.slow.insert(address, slow);
            }
        }
    }

    /// The connections that wait for their clients, and what their requests hold meanwhile.
    fn awaited(&self) -> Vec<(Arc<Peer>, u64)> {
        // Let go of after the lock is given back: the last one gives memory back, too.
        let entries: Vec<_> = self.entries.lock().iter().filter_map(Weak::upgrade).collect();
        let mut connections = HashMap::new();
        for entry in &entries {
            if entry.is_clients.load(Ordering::Relaxed) {
                let address = Arc::as_ptr(&entry.peer).addr();
                let (_, bytes) = connections.entry(address).or_insert((&entry.peer, 0));
                *bytes += entry.hold.bytes();
            }
        }
        let holding = connections.into_values().filter(|(_, bytes)| *bytes > 0);
        holding.map(|(peer, bytes)| (Arc::clone(peer), bytes)).collect()
    }

    fn end(&self, peer: &Peer, held_bytes: u64) {
        static CUTS: Throttle = Throttle::new();
        if !peer.link.cut() {
            return;
        }
        self.cut.fetch_add(1, Ordering::Relaxed);
        if let Some(suppressed) = CUTS.admit() {
            let address = peer.address.map(tracing::field::display);
            tracing::warn!(
                peer = address,
                held_bytes,
                suppressed,
                "a client stalls while others wait for memory: its connection is closed"
            );
        }
    }
}

/// Makes room: as much again as is in use.
fn sweep(entries: &mut Vec<Weak<Entry>>) {
    entries.retain(|entry| entry.strong_count() > 0);
    let wanted = (2 * entries.len()).max(ENTRIES_MIN);
    if entries.capacity() < wanted {
        entries.reserve_exact(wanted - entries.len());
    } else if entries.capacity() > 4 * wanted {
        entries.shrink_to(wanted);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::time::sleep;

    use super::super::budget::{Budget, BudgetError};
    use super::*;

    /// A client that has the turn while its request holds `bytes`, and moves `moved_bytes` each second until its connection is closed.
    async fn client(budget: &Budget, peer: &Arc<Peer>, bytes: u64, moved_bytes: usize) {
        let hold = budget.hold(Some(Arc::clone(peer)), bytes).await.unwrap();
        let mut turn = Turn::of(hold);
        turn.pass_to_client();
        let moving = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                peer.link.note_moved(moved_bytes);
            }
        };
        tokio::select! {
            () = moving => {}
            () = poll_fn(|cx| peer.link.poll_cut(cx)) => {}
        }
    }

    /// Somebody else needs `bytes`, once the clients have what they hold; how long that took, in seconds.
    async fn seconds_waited(budget: &Budget, bytes: u64) -> Result<u64, BudgetError> {
        sleep(Duration::from_millis(1)).await;
        let begun = Instant::now();
        budget.hold(None, bytes).await.map(|_hold| begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_move_is_closed_for_who_waits() {
        const HELD_BYTES: u64 = 64_000;
        for (moved_bytes, is_closed) in [(0, true), (1, true), (99, true), (100, false)] {
            let budget = Budget::new(HELD_BYTES);
            let peer = Arc::new(Peer::default());
            let waited = tokio::select! {
                waited = seconds_waited(&budget, 1) => waited,
                () = async {
                    client(&budget, &peer, HELD_BYTES, moved_bytes).await;
                    pending::<()>().await;
                } => unreachable!(),
            };
            if is_closed {
                let seconds = waited.unwrap();
                assert_eq!(seconds, (LOOK_EVERY + PATIENCE).as_secs(), "{moved_bytes} B/s");
            } else {
                waited.unwrap_err();
            }
            assert_eq!(budget.stats().stalled_connections, u64::from(is_closed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_stream_that_moves_keeps_the_connection() {
        let budget = Budget::new(100);
        let [moving, stalled] = [(); 2].map(|()| Arc::new(Peer::default()));
        let clients = async {
            tokio::join!(
                client(&budget, &moving, 30, 0),
                client(&budget, &moving, 30, 10),
                client(&budget, &stalled, 40, 0),
            );
        };
        let waited = tokio::select! {
            waited = seconds_waited(&budget, 40) => waited,
            () = clients => unreachable!("one goes on"),
        };
        waited.unwrap();
        let cut = [moving, stalled].map(|peer| !peer.link.cut());
        assert_eq!(cut, [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_own_slowness_is_no_stall_nor_is_a_client_that_nobody_waits_for() {
        let budget = Budget::new(100);
        let peer = Arc::new(Peer::default());
        let hold = budget.hold(Some(Arc::clone(&peer)), 100).await.unwrap();
        let mut turn = Turn::of(hold);
        turn.pass_to_client();
        sleep(Duration::from_hours(1)).await;
        for _ in 0..10 {
            // Waits that end early, with pauses between.
            let waited = tokio::time::timeout(Duration::from_secs(9), budget.hold(None, 1)).await;
            waited.unwrap_err();
            sleep(2 * LOOKS_APART_MAX).await;
        }
        turn.pass_to_server();
        seconds_waited(&budget, 1).await.unwrap_err();
        assert_eq!(budget.stats().stalled_connections, 0);
        turn.pass_to_client();
        seconds_waited(&budget, 1).await.unwrap_err();
        assert_eq!(budget.stats().stalled_connections, 1);
    }

    #[tokio::test]
    async fn what_has_ended_is_not_listed_for_long() {
        let budget = Budget::new(1 << 20);
        let peer = Arc::new(Peer::default());
        let begin = async || {
            let mut turn = Turn::of(budget.hold(Some(Arc::clone(&peer)), 1).await.unwrap());
            turn.pass_to_client();
            turn
        };
        let hold = budget.nothing(None);
        let capacity = || hold.stalls().entries.lock().capacity();
        for _ in 0..10 * ENTRIES_MIN {
            begin().await;
        }
        assert_eq!(capacity(), ENTRIES_MIN);
        let mut many = Vec::new();
        for _ in 0..10 * ENTRIES_MIN {
            many.push(begin().await);
        }
        assert!((10 * ENTRIES_MIN..=20 * ENTRIES_MIN).contains(&capacity()), "{}", capacity());
        assert_eq!(hold.stalls().awaited().len(), 1);
        drop(many);
        for _ in 0..20 * ENTRIES_MIN {
            begin().await;
        }
        assert_eq!(capacity(), ENTRIES_MIN);
        assert!(hold.stalls().awaited().is_empty());
    }
}
