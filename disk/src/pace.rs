//! [`Pace`]: what a reader in the background is told with each read; [`PacedFile`], which tells it; [`Throttle`], which makes
//! it wait, and ends it.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::io::IoFile;

/// The scrub gives way to what it serves: as much slower as clients move more bytes than it does, at most so many times.
const SLOWEST: u64 = 8;
/// Shorter pauses are saved up.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// Is told of each read before it is used; may wait, and may end the reader with an error.
pub(crate) trait Pace: Debug + Send + Sync + 'static {
    fn note_read(&self, bytes: u64) -> io::Result<()>;
}

/// A file that is read at a pace.
#[derive(Debug)]
pub(crate) struct PacedFile {
    pub(crate) file: Arc<dyn IoFile>,
    pub(crate) pace: Arc<dyn Pace>,
}

impl IoFile for PacedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.file.read_at(buffer, offset)?;
        // Read once from end to end, it would push out of memory what clients read.
        self.file.forget_cached(offset, bytes as u64);
        self.pace.note_read(bytes as u64)?;
        Ok(bytes)
    }
    fn read_cached(&self, _buffer: &mut [u8], _offset: u64) -> usize {
        // What is read at a pace may have to wait.
        0
    }
    fn forget_cached(&self, offset: u64, length_bytes: u64) {
        self.file.forget_cached(offset, length_bytes);
    }
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_at(slices, offset)
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.file.len_bytes()
    }
    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.file.truncate(length_bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Keeps a reader below a rate, and well below it while clients are busy, until it is stopped.
#[derive(Debug)]
pub(crate) struct Throttle<T> {
    rate_bytes: AtomicU64,
    /// How many bytes clients have moved so far.
    traffic: T,
    /// Guards a few words; waited on while there is a pause.
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug)]
struct State {
    is_stopped: bool,
    /// Readers wait until they are let go on.
    is_held: bool,
    /// Who rests next has been woken already.
    is_woken: bool,
    owed: Duration,
    seen_traffic_bytes: u64,
}

/// Tells how many bytes clients have moved.
pub(crate) trait Traffic: Debug + Send + Sync + 'static {
    fn traffic_bytes(&self) -> u64;
}

impl<T: Traffic> Throttle<T> {
    /// `rate_bytes` a second; not 0.
    pub(crate) fn new(rate_bytes: u64, traffic: T) -> Self {
        let seen_traffic_bytes = traffic.traffic_bytes();
        let state = State {
            is_stopped: false,
            is_held: false,
            is_woken: false,
            owed: Duration::ZERO,
            seen_traffic_bytes,
        };
        let rate_bytes = AtomicU64::new(rate_bytes);
        Self { rate_bytes, traffic, state: Mutex::new(state), stopped: Condvar::new() }
    }

    /// Waits as long, or until it is stopped; says whether it was not.
    pub(crate) fn rest(&self, pause: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_stopped && !state.is_woken && !pause.is_zero() {
            self.stopped.wait_for(&mut state, pause);
        }
        state.is_woken = false;
        !state.is_stopped
    }

    /// Bytes in a second, at most.
    pub(crate) fn rate_bytes(&self) -> u64 {
        self.rate_bytes.load(Ordering::Relaxed)
    }

    /// Another rate from the next read on; not 0.
    pub(crate) fn set_rate_bytes(&self, rate_bytes: u64) {
        self.rate_bytes.store(rate_bytes, Ordering::Relaxed);
    }

    /// Holds readers at their next read, or lets them go on. Who rests, or is about to, is woken.
    pub(crate) fn hold(&self, is_held: bool) {
        let mut state = self.state.lock();
        state.is_held = is_held;
        state.is_woken = true;
        drop(state);
        self.stopped.notify_all();
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state.lock().is_held
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().is_stopped
    }

    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.stopped.notify_all();
    }
}

impl<T: Traffic> Pace for Throttle<T> {
    fn note_read(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let traffic_bytes = self.traffic.traffic_bytes();
        let foreground_bytes = traffic_bytes.saturating_sub(state.seen_traffic_bytes);
        state.seen_traffic_bytes = traffic_bytes;
        state.owed = state.owed.saturating_add(pause(bytes, self.rate_bytes(), foreground_bytes));
        if state.owed >= SHORTEST_PAUSE && !state.is_stopped {
            let owed = std::mem::take(&mut state.owed);
            self.stopped.wait_for(&mut state, owed);
        }
        while state.is_held && !state.is_stopped {
            self.stopped.wait(&mut state);
        }
        if state.is_stopped { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// How long to wait after so many bytes, while clients moved so many.
fn pause(bytes: u64, rate_bytes: u64, foreground_bytes: u64) -> Duration {
    let slower = 1 + (foreground_bytes / bytes.max(1)).min(SLOWEST - 1);
    let nanos = u128::from(bytes) * u128::from(slower) * 1_000_000_000 / u128::from(rate_bytes);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_keep_the_rate_and_give_way() {
        let check = |bytes: u64, rate: u64, foreground: u64, expect: Duration| {
            assert_eq!(pause(bytes, rate, foreground), expect, "{bytes} {rate} {foreground}");
        };
        check(0, 1_000, 0, Duration::ZERO);
        check(1_000, 1_000, 0, Duration::from_secs(1));
        check(1_000, 1_000, 999, Duration::from_secs(1));
        check(1_000, 1_000, 1_000, Duration::from_secs(2));
        check(1_000, 1_000, 5_500, Duration::from_secs(6));
        check(1_000, 1_000, u64::MAX, Duration::from_secs(8));
        check(256 << 10, u64::MAX, 0, Duration::ZERO);
        check(u64::MAX, 1, u64::MAX, Duration::from_nanos(u64::MAX));
    }

    #[derive(Debug)]
    struct Idle;

    impl Traffic for Idle {
        fn traffic_bytes(&self) -> u64 {
            0
        }
    }

    #[test]
    fn who_is_held_goes_on_when_let() {
        let throttle = Arc::new(Throttle::new(u64::MAX, Idle));
        throttle.hold(true);
        let reader = Arc::clone(&throttle);
        let waiting = std::thread::spawn(move || reader.note_read(1));
        // A thread that is not held is through long before.
        let deadline = std::time::Instant::now() + Duration::from_millis(50);
        while !waiting.is_finished() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished());
        throttle.hold(false);
        assert!(waiting.join().unwrap().is_ok());
    }

    #[test]
    fn who_is_woken_a_moment_too_early_does_not_rest() {
        let throttle = Arc::new(Throttle::new(1, Idle));
        throttle.hold(false);
        let worker = Arc::clone(&throttle);
        let resting = std::thread::spawn(move || worker.rest(Duration::MAX));
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !resting.is_finished() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(resting.is_finished(), "it sleeps through the call");
    }

    #[test]
    fn stopping_ends_a_pause_that_would_never_end() {
        let throttle = Arc::new(Throttle::new(1, Idle));
        let reader = Arc::clone(&throttle);
        let waiting = std::thread::spawn(move || reader.note_read(u64::MAX));
        throttle.stop();
        assert!(waiting.join().unwrap().is_err());
        assert!(!throttle.rest(Duration::MAX));
    }
}
