//! The memory that is allocated, by who has allocated it. The only file that knows the crate `jemalloc_pprof`.
//!
//! jemalloc notes the stack of about one byte in two MiB that is allocated, and forgets it when that memory is freed
//! (docs/adr/0015-heap-profiles.md). It does so in a process that was started with its option `prof`, from [`start`] on.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jemalloc_pprof::{JemallocProfCtl, PROF_CTL, WeightedStack};

use super::ProfileError;
use super::stacks::{Measure, Profile, Stack};
use super::symbols::Symbols;

/// The allocator's own functions; what is called by the outermost of them is too.
const OF_ALLOCATOR: [&str; 6] =
    ["_rjem_", "do_rallocx", "tikv_jemallocator::", "__rust_alloc", "__rust_realloc", "__rg_"];
/// They stand among so many innermost ones.
const OF_ALLOCATOR_MAX: usize = 16;

/// Has what is allocated from now on noted. What nobody can look at need not be.
pub(super) fn start() {
    // Another server of this process may be at it; then it has done so.
    if let Some(control) = PROF_CTL.as_ref()
        && let Ok(mut control) = control.try_lock()
        && let Err(error) = activate(&mut control)
    {
        tracing::warn!(%error, "memory is not profiled");
    }
}

/// What was allocated since the start and is not freed. Blocks, and writes a temporary file.
pub(super) fn live() -> Result<Profile, ProfileError> {
    let control = PROF_CTL.as_ref().ok_or(ProfileError::NoHeap)?;
    let mut control = control.blocking_lock();
    activate(&mut control)?;
    let dumped = control.dump_profile().map_err(|error| ProfileError::Heap(error.into()))?;
    let period_bytes = 1 << control.lg_sample();
    drop(control);
    let mut symbols = Symbols::of_process();
    let mut samples = BTreeMap::new();
    for (WeightedStack { addrs, weight }, _) in &dumped.stacks {
        *samples.entry(stack(addrs, &mut symbols)).or_default() += whole(*weight);
    }
    samples.retain(|_, bytes| *bytes > 0);
    Ok(Profile { begun: SystemTime::now(), measure: Measure::Heap { period_bytes }, samples })
}

fn activate(control: &mut JemallocProfCtl) -> Result<(), ProfileError> {
    if control.activated() {
        return Ok(());
    }
    control.activate().map_err(|error| ProfileError::Heap(error.into()))
}

/// The outermost comes first.
fn stack(addresses: &[usize], symbols: &mut Symbols) -> Stack {
    let mut functions: Vec<_> =
        addresses.iter().map(|address| symbols.name(*address).to_owned()).collect();
    let is_own = |name: &String| OF_ALLOCATOR.iter().any(|own| name.contains(own));
    let innermost = functions.len().saturating_sub(OF_ALLOCATOR_MAX);
    if let Some(own) = functions[innermost..].iter().position(is_own) {
        functions.truncate(innermost + own);
    }
    Stack { thread: None, functions }
}

/// The crate's estimate of bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and what is no number becomes 0"
)]
fn whole(weight: f64) -> u64 {
    weight as u64
}
