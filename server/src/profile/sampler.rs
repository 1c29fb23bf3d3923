//! [`Sampling`]: the sampler while it runs. The only file that knows the crate `pprof`.
//!
//! A timer of the kernel that counts the CPU time of all threads interrupts whichever runs, and the crate notes its stack. What
//! waits is not seen. Stacks are told apart by their functions, so that what the compiler has inlined counts for the function
//! that it was inlined into.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::time::{Duration, Instant, SystemTime};

use pprof::{Error, Frames, ProfilerGuard, ProfilerGuardBuilder, Symbol};

use super::stacks::{Profile, Stack};

/// A prime, or nearly: it does not keep step with what happens a hundred times a second.
const FREQUENCY_HZ: c_int = 99;
/// As the crate computes it.
const PERIOD: Duration = Duration::from_micros(1_000_000 / FREQUENCY_HZ as u64);
/// Where no stack can be taken: the unwinder itself, and the loader while it holds its lock.
const LEFT_OUT: [&str; 3] = ["libgcc_s", "ld-linux", "vdso"];
/// The functions that take the stack stand in it.
const OWN_FRAMES: [&str; 3] = ["pprof::", "backtrace::", "_Unwind_Backtrace"];

/// The sampler while it runs; dropping it stops it.
pub(super) struct Sampling {
    guard: ProfilerGuard<'static>,
    begun: SystemTime,
    since: Instant,
}

impl Sampling {
    /// Starts it. A process has one.
    pub(super) fn start() -> Result<Self, Error> {
        let builder = ProfilerGuardBuilder::default().frequency(FREQUENCY_HZ).blocklist(&LEFT_OUT);
        Ok(Self { guard: builder.build()?, begun: SystemTime::now(), since: Instant::now() })
    }

    /// Stops it and names what was seen, which takes seconds the first time: the debug information of the whole program is read.
    pub(super) fn finish(self) -> Result<Profile, Error> {
        let Self { guard, begun, since } = self;
        let length = since.elapsed();
        let seen = guard.report().build_unresolved()?;
        drop(guard);
        let mut samples = BTreeMap::new();
        for (frames, count) in seen.data {
            let stack = stack(&Frames::from(frames));
            *samples.entry(stack).or_default() += u64::try_from(count).unwrap_or(0);
        }
        Ok(Profile { begun, length, period: PERIOD, samples })
    }
}

fn stack(frames: &Frames) -> Stack {
    // Of what was inlined only who it was inlined into is certain; he stands last.
    let functions = frames.frames.iter().filter_map(|frame| frame.last().map(Symbol::name));
    let own = |name: &String| OWN_FRAMES.iter().any(|own| name.contains(own));
    let mut functions: Vec<_> = functions.skip_while(own).collect();
    functions.reverse();
    Stack { thread: frames.thread_name_or_id(), functions }
}
