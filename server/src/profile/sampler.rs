//! [`Sampling`]: the sampler while it runs. The only file that knows the crate `pprof`.
//!
//! A timer of the kernel that counts the CPU time of all threads interrupts whichever runs, and the crate notes its stack. What
//! waits is not seen. Stacks are told apart by their functions, so that what the compiler has inlined counts for the function
//! that it was inlined into.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::time::{Duration, Instant, SystemTime};

use pprof::{Error, ProfilerGuard, ProfilerGuardBuilder};

use super::stacks::{Measure, Profile, Stack};
use super::symbols::Symbols;

/// A prime, or nearly: it does not keep step with what happens a hundred times a second.
const FREQUENCY_HZ: c_int = 99;
/// As the crate computes it.
const PERIOD: Duration = Duration::from_micros(1_000_000 / FREQUENCY_HZ as u64);
/// Where no stack can be taken: the unwinder itself, and the loader while it holds its lock.
const LEFT_OUT: [&str; 3] = ["libgcc_s", "ld-linux", "vdso"];
/// The functions that take the stack stand in it, the last of them under the kernel's way back from it.
const OWN_FRAMES: [&str; 3] = ["pprof::", "backtrace::", "_Unwind_Backtrace"];
const HANDLER: &str = "perf_signal_handler";

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

    /// Stops it and names what was seen, which takes seconds the first time.
    pub(super) fn finish(self) -> Result<Profile, Error> {
        let Self { guard, begun, since } = self;
        let length = since.elapsed();
        let seen = guard.report().build_unresolved()?;
        drop(guard);
        let mut symbols = Symbols::of_process();
        let mut samples = BTreeMap::new();
        for (frames, count) in &seen.data {
            let addresses = frames.frames.iter().map(|frame| frame.ip().addr());
            let thread = frames.thread_name.get(..frames.thread_name_length).unwrap_or_default();
            let thread = thread_name(thread, frames.thread_id);
            let stack =
                Stack { thread: Some(thread), functions: functions(addresses, &mut symbols) };
            *samples.entry(stack).or_default() += u64::try_from(*count).unwrap_or(0);
        }
        Ok(Profile { begun, measure: Measure::Cpu { period: PERIOD, length }, samples })
    }
}

/// The innermost comes first in, and last out.
fn functions(addresses: impl Iterator<Item = usize>, symbols: &mut Symbols) -> Vec<String> {
    let mut functions: Vec<_> = addresses.map(|address| symbols.name(address).to_owned()).collect();
    let is_own = |name: &&String| OWN_FRAMES.iter().any(|own| name.contains(own));
    let own = match functions.iter().position(|name| name == HANDLER) {
        Some(handler) => handler + 2,
        None => functions.iter().take_while(is_own).count(),
    };
    functions.drain(..own.min(functions.len()));
    functions.reverse();
    functions
}

fn thread_name(name: &[u8], id: u64) -> String {
    match str::from_utf8(name) {
        Ok(name) if !name.is_empty() => name.to_owned(),
        _ => id.to_string(),
    }
}
