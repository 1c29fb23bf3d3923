//! The scrub: reads all that is stored, round after round, and drops what has rotten before a client asks for it.
//!
//! It goes by the table: what it lists is what is claimed, in packs by place, then in blob files. Each record is held against
//! its place, its checksums and its digest. One thread, bounded by a rate, giving way to clients; a bookmark lets it go on
//! after a restart where it was.

mod bookmark;
mod round;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use self::round::Round;
use crate::error::with_causes;
use crate::inventory::Inventory;
use crate::pace::{Throttle, Traffic};

/// A round begins no sooner than this after the one before began: media rot slowly, and reading wears on what is served.
const ROUND_EVERY: Duration = Duration::from_hours(24);
/// At most this long the clock is not looked at.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// What the scrub does, and has done since the engine was opened.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub struct ScrubUsage {
    /// The limit of what it reads, in bytes a second; 0 when it is off.
    pub rate_bytes: u64,
    /// Whether a round is under way; otherwise it waits for the next.
    pub is_running: bool,
    /// Whether somebody has halted it.
    pub is_halted: bool,
    /// When the round under way, or the last one, was begun; milliseconds since 1970, 0 when there was none.
    pub round_begun_unix_ms: u64,
    /// Bytes that round has checked, earlier runs included.
    pub round_bytes: u64,
    /// Rounds that came to their end.
    pub rounds: u64,
    /// Records that were checked.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Records that were rotten, and dropped.
    pub corrupt_records: u64,
    /// Records that could not be opened for a reason that may pass; the next round tries again.
    pub skipped_records: u64,
}

/// What [`ScrubUsage`] is read from.
#[derive(Default, Debug)]
struct Progress {
    is_running: AtomicBool,
    /// A round is to begin that is not due yet.
    is_asked_for: AtomicBool,
    round_begun_unix_ms: AtomicU64,
    round_bytes: AtomicU64,
    rounds: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    corrupt_records: AtomicU64,
    skipped_records: AtomicU64,
}

impl Traffic for Arc<Inventory> {
    fn traffic_bytes(&self) -> u64 {
        self.counters.traffic_bytes()
    }
}

/// The scrub's thread, and what it can be told.
#[derive(Debug)]
pub struct Scrub {
    throttle: Arc<Throttle<Arc<Inventory>>>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Scrub {
    /// Begins to scrub, at so many bytes a second; not 0.
    pub(crate) fn start(inventory: Arc<Inventory>, rate_bytes: u64) -> std::io::Result<Self> {
        let throttle = Arc::new(Throttle::new(rate_bytes, Arc::clone(&inventory)));
        let progress = Arc::new(Progress::default());
        let worker =
            Worker { inventory, throttle: Arc::clone(&throttle), progress: Arc::clone(&progress) };
        let thread = std::thread::Builder::new()
            .name("disk-scrub".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self { throttle, progress, thread: Some(thread) })
    }

    /// Lets it go on where it was halted, or begin a round that is not due yet.
    pub fn begin(&self) {
        if !self.progress.is_running.load(Ordering::Relaxed) {
            self.progress.is_asked_for.store(true, Ordering::Release);
        }
        self.throttle.hold(false);
    }

    /// Halts it before its next read, until [`Self::begin`].
    pub fn halt(&self) {
        self.throttle.hold(true);
    }

    /// What it may read in a second from now on; not 0.
    pub fn set_rate_bytes(&self, rate_bytes: u64) {
        self.throttle.set_rate_bytes(rate_bytes.max(1));
    }

    pub(crate) fn usage(&self) -> ScrubUsage {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let progress = &self.progress;
        ScrubUsage {
            rate_bytes: self.throttle.rate_bytes(),
            is_halted: self.throttle.is_held(),
            // The last that a round changes is read first: who sees its end sees all it did.
            rounds: progress.rounds.load(Ordering::Acquire),
            is_running: progress.is_running.load(Ordering::Relaxed),
            round_begun_unix_ms: read(&progress.round_begun_unix_ms),
            round_bytes: read(&progress.round_bytes),
            records: read(&progress.records),
            bytes: read(&progress.bytes),
            corrupt_records: read(&progress.corrupt_records),
            skipped_records: read(&progress.skipped_records),
        }
    }

    /// Ends the thread. What it was reading is left; the bookmark says up to where it came.
    pub(crate) fn stop(&mut self) -> Option<JoinHandle<()>> {
        self.throttle.stop();
        self.thread.take()
    }
}

struct Worker {
    inventory: Arc<Inventory>,
    throttle: Arc<Throttle<Arc<Inventory>>>,
    progress: Arc<Progress>,
}

impl Worker {
    fn run(self) {
        // What is not in the table yet would be passed over.
        self.inventory.loaded.wait();
        if self.inventory.is_closing() {
            return;
        }
        let mut round = Round::resume(&self.inventory, Arc::clone(&self.throttle) as _);
        self.show(&round);
        loop {
            while let Some(rest) = self.due_in(&round) {
                if !self.throttle.rest(rest.min(LONGEST_REST)) {
                    return;
                }
            }
            round.begin_or_go_on();
            self.progress.is_running.store(true, Ordering::Relaxed);
            let outcome = self.round(&mut round);
            self.progress.is_running.store(false, Ordering::Relaxed);
            if self.throttle.is_stopped() {
                return;
            }
            match outcome {
                Ok(()) => {
                    self.progress.rounds.fetch_add(1, Ordering::Release);
                    // The next may be due at once, after one that could check nothing.
                    if round.totals().records == 0 && !self.throttle.rest(LONGEST_REST) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %with_causes(&error), "the scrub cannot go on for now");
                    if !self.throttle.rest(LONGEST_REST) {
                        return;
                    }
                }
            }
        }
    }

    /// How long to wait for the next round. Where nothing is stored none begins: it would put off the next by a day.
    fn due_in(&self, round: &Round) -> Option<Duration> {
        if self.throttle.is_held() {
            return Some(LONGEST_REST);
        }
        if self.progress.is_asked_for.swap(false, Ordering::AcqRel) {
            return None;
        }
        let is_empty = self.inventory.counters.records() == 0;
        round.due_in(ROUND_EVERY).or_else(|| is_empty.then_some(LONGEST_REST))
    }

    fn round(&self, round: &mut Round) -> std::io::Result<()> {
        let mut last = round.totals();
        self.show(round);
        let outcome = round.run(&mut |now| {
            let add =
                |to: &AtomicU64, now: u64, last: u64| to.fetch_add(now - last, Ordering::Relaxed);
            add(&self.progress.records, now.records, last.records);
            add(&self.progress.bytes, now.bytes, last.bytes);
            add(&self.progress.corrupt_records, now.corrupt_records, last.corrupt_records);
            add(&self.progress.skipped_records, now.skipped_records, last.skipped_records);
            self.progress.round_bytes.store(now.bytes, Ordering::Relaxed);
            last = now;
        });
        round.save();
        outcome
    }

    fn show(&self, round: &Round) {
        self.progress.round_begun_unix_ms.store(round.begun_unix_ms(), Ordering::Relaxed);
        self.progress.round_bytes.store(round.totals().bytes, Ordering::Relaxed);
    }
}
