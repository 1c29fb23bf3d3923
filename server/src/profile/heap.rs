//! The memory that is allocated, by who has allocated it. The only file that asks jemalloc.
//!
//! jemalloc notes the stack of about one byte in two MiB that is allocated, and forgets it when that memory is freed
//! (docs/adr/0015-heap-profiles.md). It does so in a process that was started with its option `prof`, from [`start`] on.
//! Source: jemalloc(3).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::time::SystemTime;

use parking_lot::Mutex;
use tikv_jemalloc_ctl::{Access as _, AsName as _};

use super::ProfileError;
use super::heap_dump::HeapDump;
use super::stacks::{Measure, Profile, Stack};
use super::symbols::Symbols;
use crate::telemetry::BoxError;

/// Whether it was told at the start.
const IS_READY: &str = "opt.prof\0";
/// Whether it notes what is allocated.
const IS_ACTIVE: &str = "prof.active\0";
/// Has it written to a path.
const DUMP: &str = "prof.dump\0";

/// What it writes to, once that was asked for. Held while it is written and read.
static DUMP_FILE: Mutex<Option<DumpFile>> = Mutex::new(None);

/// The allocator's own functions; what is called by the outermost of them is too.
const OF_ALLOCATOR: [&str; 6] =
    ["_rjem_", "do_rallocx", "tikv_jemallocator::", "__rust_alloc", "__rust_realloc", "__rg_"];
/// They stand among so many innermost ones.
const OF_ALLOCATOR_MAX: usize = 16;

/// Has what is allocated from now on noted. What nobody can look at need not be.
pub(super) fn start() {
    if is_ready()
        && let Err(error) = activate()
    {
        tracing::warn!(%error, "memory is not profiled");
    }
}

/// What was allocated since the start and is not freed. Blocks, and writes a temporary file.
pub(super) fn live() -> Result<Profile, ProfileError> {
    if !is_ready() {
        return Err(ProfileError::NoHeap);
    }
    activate().map_err(|error| ProfileError::Heap(error.into()))?;
    let HeapDump { period_bytes, stacks } = dump()?;
    let mut symbols = Symbols::of_process();
    let mut samples = BTreeMap::new();
    for (addresses, in_use_bytes) in &stacks {
        *samples.entry(stack(addresses, &mut symbols)).or_default() += in_use_bytes;
    }
    samples.retain(|_, bytes| *bytes > 0);
    Ok(Profile { begun: SystemTime::now(), measure: Measure::Heap { period_bytes }, samples })
}

/// A build without its profiler does not know the name.
fn is_ready() -> bool {
    IS_READY.name().read().unwrap_or(false)
}

fn activate() -> Result<(), tikv_jemalloc_ctl::Error> {
    IS_ACTIVE.name().write(true)
}

fn dump() -> Result<HeapDump, ProfileError> {
    let mut file = DUMP_FILE.lock();
    let opened = match file.take() {
        Some(opened) => opened,
        None => DumpFile::open().map_err(ProfileError::Spill)?,
    };
    let dumped = file.insert(opened).dump().map_err(ProfileError::Heap)?;
    drop(file);
    HeapDump::parse(&String::from_utf8_lossy(&dumped))
        .map_err(|error| ProfileError::Heap(error.into()))
}

/// A temporary file without a name.
struct DumpFile {
    file: File,
    /// What jemalloc can open it by. It must be there for ever; so there is one for the process.
    path: &'static str,
}

impl DumpFile {
    fn open() -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
        Ok(Self { file, path: path.leak() })
    }

    fn dump(&mut self) -> Result<Vec<u8>, BoxError> {
        DUMP.name().write(self.path)?;
        let mut dumped = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut dumped)?;
        // The room is somebody else's until the next time.
        self.file.set_len(0)?;
        Ok(dumped)
    }
}

/// The outermost comes first, of the addresses the innermost.
fn stack(addresses: &[usize], symbols: &mut Symbols) -> Stack {
    let outermost_first = addresses.iter().rev();
    let mut functions: Vec<_> =
        outermost_first.map(|address| symbols.name(*address).to_owned()).collect();
    let is_own = |name: &String| OF_ALLOCATOR.iter().any(|own| name.contains(own));
    let innermost = functions.len().saturating_sub(OF_ALLOCATOR_MAX);
    if let Some(own) = functions[innermost..].iter().position(is_own) {
        functions.truncate(innermost + own);
    }
    Stack { thread: None, functions }
}
