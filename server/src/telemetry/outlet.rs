//! [`Outlet`]: what goes to a file or a pipe that may not take it, by way of a thread that may wait for it.
//!
//! Who offers something never waits: what finds no place in the queue is dropped and counted. A reader that stalls holds
//! up the writer's thread and nobody else.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// What waits for the writer: a second of a busy server's lines.
const QUEUE_ITEMS: usize = 4096;
/// What is written at a time, about.
const BATCH_BYTES: usize = 64 << 10;
/// How often it is looked whether all is written.
const FLUSH_POLL: Duration = Duration::from_millis(1);

/// What happened to what was offered.
#[derive(Debug, Default)]
pub struct OutletCounts {
    /// In the queue, on the way into it, or done. Counted before an item can be done: else another's that is done, and not
    /// counted yet, would stand for one that a flush waits for.
    offered: AtomicU64,
    accepted: AtomicU64,
    /// Written, or lost in the attempt.
    done: AtomicU64,
    dropped: AtomicU64,
}

impl OutletCounts {
    /// What found no place in the queue, or could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes that so much was taken into a queue.
    pub(crate) fn note_accepted(&self, count: u64) {
        self.accepted.fetch_add(count, Ordering::Relaxed);
    }

    /// Notes that so much was lost.
    pub(crate) fn note_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// What was taken into the queue.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Where things are offered. Cloning shares it; the thread ends once the last clone is gone and all is written.
pub(crate) struct Outlet<T> {
    queue: SyncSender<T>,
    counts: Arc<OutletCounts>,
}

impl<T: Send + 'static> Outlet<T> {
    /// Starts the thread `name`, which writes to `sink` what `format` makes of each item.
    pub(crate) fn start(
        name: &str,
        sink: impl Write + Send + 'static,
        format: fn(&T, &mut Vec<u8>),
    ) -> io::Result<Self> {
        let (queue, items) = sync_channel(QUEUE_ITEMS);
        let counts = Arc::new(OutletCounts::default());
        let counted = Arc::clone(&counts);
        let write = move || write_all_of(&items, sink, format, &counted);
        thread::Builder::new().name(name.to_owned()).spawn(write)?;
        Ok(Self { queue, counts })
    }

    /// Queues `item`, or drops and counts it. Does not wait.
    pub(crate) fn offer(&self, item: T) {
        self.counts.offered.fetch_add(1, Ordering::Release);
        match self.queue.try_send(item) {
            Ok(()) => self.counts.note_accepted(1),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counts.offered.fetch_sub(1, Ordering::Release);
                self.counts.note_dropped(1);
            }
        }
    }
}

impl<T> Outlet<T> {
    /// What happened to what was offered.
    pub(crate) fn counts(&self) -> &Arc<OutletCounts> {
        &self.counts
    }

    /// Waits until what was offered by now is written, at most for `limit`; whether it is.
    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let offered = || self.counts.offered.load(Ordering::Acquire);
        let due = offered();
        let begun = Instant::now();
        // Some that were on the way found no place.
        while self.counts.done.load(Ordering::Acquire) < due.min(offered()) {
            if begun.elapsed() >= limit {
                return false;
            }
            thread::park_timeout(FLUSH_POLL);
        }
        true
    }
}

fn write_all_of<T>(
    items: &Receiver<T>,
    mut sink: impl Write,
    format: fn(&T, &mut Vec<u8>),
    counts: &OutletCounts,
) {
    let mut batch = Vec::new();
    while let Ok(first) = items.recv() {
        batch.clear();
        format(&first, &mut batch);
        let mut count = 1;
        while batch.len() < BATCH_BYTES
            && let Ok(next) = items.try_recv()
        {
            format(&next, &mut batch);
            count += 1;
        }
        if sink.write_all(&batch).and_then(|()| sink.flush()).is_err() {
            // Nothing is left to tell it to, but the metric.
            counts.note_dropped(count);
        }
        counts.done.fetch_add(count, Ordering::Release);
    }
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), counts: Arc::clone(&self.counts) }
    }
}

impl<T> fmt::Debug for Outlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("counts", &self.counts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Writes nothing before the gate says so, and hands on what it writes.
    struct Gated {
        gate: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A gate that is gone stands open.
            let _open = self.gate.recv();
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Number(usize);

    fn number(item: &Number, line: &mut Vec<u8>) {
        line.extend_from_slice(format!("{}\n", item.0).as_bytes());
    }

    #[test]
    fn a_stalled_sink_holds_nobody_up_and_what_is_dropped_is_counted() {
        let (open, gate) = mpsc::channel();
        let (written, writes) = mpsc::channel();
        let outlet = Outlet::start("outlet", Gated { gate, written }, number).unwrap();
        let offered = 3 * QUEUE_ITEMS;
        (0..offered).for_each(|item| outlet.offer(Number(item)));
        assert!(!outlet.flush(Duration::from_millis(5)), "nothing can be written yet");
        drop(open);
        assert!(outlet.flush(PATIENCE));
        let counts = Arc::clone(outlet.counts());
        drop(outlet);
        let text: Vec<u8> = writes.iter().flatten().collect();
        let lines = str::from_utf8(&text).unwrap().lines().count() as u64;
        assert_eq!(lines, counts.accepted(), "all that was accepted is written");
        assert_eq!(lines + counts.dropped(), offered as u64);
        // What is being written has left the queue.
        assert!(counts.accepted() >= QUEUE_ITEMS as u64 && counts.dropped() > 0, "{counts:?}");
        assert!(text.starts_with(b"0\n1\n2\n"), "in order");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let (written, writes) = mpsc::channel();
        drop(writes);
        let (_, gate) = mpsc::channel();
        let outlet = Outlet::start("outlet", Gated { gate, written }, number).unwrap();
        outlet.offer(Number(1));
        assert!(outlet.flush(PATIENCE));
        assert_eq!(outlet.counts().dropped(), 1);
    }
}
