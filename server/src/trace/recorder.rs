//! [`Recorder`]: writes a trace behind the requests, on a thread of its own.
//!
//! Never blocks a request: what does not fit into the queue is counted, in the metrics and in the trace. Its bounds are the queue
//! and the size of the file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_disk::eviction::trace::{TraceEvent, TraceOp, TraceWriter};
use larder_disk::{Engine, RecordKey, RecordKind};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::unwaiting::Unwaiting as _;

/// Events that wait for the writer: 2.5 MiB.
const QUEUE_LENGTH: usize = 65_536;
/// About thirty million events; then recording ends.
const FILE_LIMIT_BYTES: u64 = 1 << 30;
/// How long an event may wait for its way to the file when nothing follows.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// The trace cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// Its file.
    #[error("trace file {} cannot be written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes a trace behind the requests. Dropping it writes what is in the queue.
#[derive(Debug)]
pub struct Recorder {
    engine: Arc<Engine>,
    /// `None` once it is being dropped.
    sender: Option<SyncSender<TraceEvent>>,
    dropped: Dropped,
    writer: Option<JoinHandle<()>>,
}

/// Events that were left out.
#[derive(Clone, Debug, Default)]
struct Dropped {
    total: Counter,
    /// Those that the trace does not say yet.
    untold: Arc<AtomicU64>,
}

impl Dropped {
    fn count(&self) {
        self.total.inc();
        self.untold.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder {
    /// Appends to the file at `path`, or begins it. Blocks.
    pub fn start(
        path: &Path,
        engine: Arc<Engine>,
        registry: &mut Registry,
    ) -> Result<Self, RecorderError> {
        let failed = |source| RecorderError::File { path: path.to_owned(), source };
        let file = OpenOptions::new().create(true).append(true).open_unwaiting(path);
        let file = file.map_err(failed)?;
        let written_bytes = file.metadata().map_err(failed)?.len();
        let trace = TraceWriter::begin(BufWriter::new(file), unix_ms()).map_err(failed)?;
        let dropped = Dropped::default();
        registry.register(
            "trace_dropped_events",
            "Events missing in the trace, since they came faster than they could be written or the file is full",
            dropped.total.clone(),
        );
        let (sender, receiver) = sync_channel(QUEUE_LENGTH);
        let counted = dropped.clone();
        let writer = std::thread::Builder::new()
            .name("trace".to_owned())
            .spawn(move || write(trace, written_bytes, &receiver, &counted))
            .map_err(failed)?;
        tracing::info!(path = %path.display(), "recording a trace");
        Ok(Self { engine, sender: Some(sender), dropped, writer: Some(writer) })
    }

    /// Notes what was asked of a record.
    pub(super) fn note(&self, op: TraceOp, was_hit: bool, key: &RecordKey) {
        let bytes = self.engine.record(key).map_or(0, |info| info.stored_size_bytes);
        let event = TraceEvent { unix_ms: unix_ms(), op, was_hit, name: name(key), bytes };
        let Some(sender) = &self.sender else { return };
        if sender.try_send(event).is_err() {
            self.dropped.count();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.sender = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            // ERROR: a defect; the panic hook has logged where.
            tracing::error!("the recorder of the trace panicked");
        }
    }
}

/// The thread's work: until there is nobody left who could send.
fn write(
    mut trace: TraceWriter<BufWriter<File>>,
    mut written_bytes: u64,
    events: &Receiver<TraceEvent>,
    dropped: &Dropped,
) {
    let mut is_writing = true;
    loop {
        let event = match events.recv_timeout(FLUSH_AFTER) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if !is_writing {
            if event.is_some() {
                dropped.count();
            }
            continue;
        }
        let done = match event {
            Some(event) => write_one(&mut trace, &event, dropped),
            None => trace.flush().map(|()| 0),
        };
        match done {
            Ok(bytes) => written_bytes += bytes,
            Err(error) => {
                tracing::warn!(%error, "the trace cannot be written; recording ends");
                is_writing = false;
            }
        }
        if is_writing && written_bytes >= FILE_LIMIT_BYTES {
            tracing::warn!(written_bytes, "the trace is full; recording ends");
            is_writing = trace.flush().is_err();
        }
    }
    if is_writing && let Err(error) = trace.flush() {
        tracing::warn!(%error, "the end of the trace is lost");
    }
}

fn write_one(
    trace: &mut TraceWriter<BufWriter<File>>,
    event: &TraceEvent,
    dropped: &Dropped,
) -> io::Result<u64> {
    let untold = dropped.untold.swap(0, Ordering::Relaxed);
    if untold > 0 {
        trace.dropped(untold)?;
    }
    trace.write(event).map(|bytes| bytes as u64)
}

/// What stands for a record: the same for the same record, whoever records it.
fn name(key: &RecordKey) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    let kind = match key.kind() {
        RecordKind::Blob => 1,
        RecordKind::ActionResult => 2,
    };
    let keyspace = key.keyspace().as_str().as_bytes().iter().fold(0xCBF2_9CE4_8422_2325, fold);
    key.hash().as_bytes().iter().fold(fold(keyspace, &kind), fold)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
