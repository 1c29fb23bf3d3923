//! [`Profiler`]: where the CPU goes, looked at for a while, and who has allocated the memory, for who asks on the admin port.
//!
//! Promise: one at a time; it ends with who asked and with the server. While nobody asks only the allocator notes some stacks.

mod flamegraph;
mod heap;
mod heap_dump;
mod protobuf;
mod sampler;
mod spill;
mod stacks;
mod symbols;

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;

use self::sampler::Sampling;
use self::spill::Spill;
pub use self::stacks::{Measure, Profile, Stack};
use crate::auth::Orderer;
use crate::telemetry::BoxError;

/// How long may be looked, in seconds.
pub const SECONDS: RangeInclusive<u64> = 1..=300;

/// Looks where the CPU and the memory go.
#[derive(Debug)]
pub struct Profiler {
    one: Arc<Semaphore>,
    spill: Arc<Spill>,
    /// Cancelled when the drain begins.
    ending: CancellationToken,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Longer or shorter than may be.
    #[error(
        "{seconds} s is not between {} and {} s", SECONDS.start(), SECONDS.end()
    )]
    Length {
        /// What was asked for.
        seconds: u64,
    },
    /// Another is under way in this process.
    #[error("another profile is under way")]
    Busy,
    /// The server is told to end.
    #[error("the server is ending")]
    Ending,
    /// The sampler has no place for a file.
    #[error("no temporary file can be made")]
    Spill(#[source] io::Error),
    /// The sampler does not start, or cannot give what it has.
    #[error("the sampler")]
    Sampler(#[from] pprof::Error),
    /// The allocator is another, or was not told at the start.
    #[error(
        "the allocator notes no stacks: start the server with _RJEM_MALLOC_CONF=prof:true,prof_active:false in its environment"
    )]
    NoHeap,
    /// The allocator cannot give what it has.
    #[error("the allocator")]
    Heap(#[source] BoxError),
    /// A defect.
    #[error("a defect in the profiler")]
    Panic(#[from] JoinError),
}

/// The sampler while it runs, and the place that it takes.
struct Running {
    // Stops before the place is given back.
    sampling: Sampling,
    place: OwnedSemaphorePermit,
}

impl Profiler {
    /// From now on the allocator notes stacks. `ending` is cancelled when the drain begins.
    pub fn new(data_dir: &Path, ending: CancellationToken) -> Self {
        heap::start();
        let spill = Arc::new(Spill::new(data_dir));
        Self { one: Arc::new(Semaphore::new(1)), spill, ending }
    }

    /// Looks for so long where the CPU goes. Who drops the future ends it.
    pub async fn cpu(&self, by: &Orderer, seconds: u64) -> Result<Profile, ProfileError> {
        if !SECONDS.contains(&seconds) {
            return Err(ProfileError::Length { seconds });
        }
        let place = self.place()?;
        let (caller, peer) = (by.name(), by.address());
        tracing::info!(order = "profile", caller, peer, seconds, "profiling the CPU");
        let spill = Arc::clone(&self.spill);
        let start = move || {
            spill.prepare().map_err(ProfileError::Spill)?;
            Ok(Running { sampling: Sampling::start()?, place })
        };
        let running = match spawn_blocking(start).await? {
            // Of another server in this process.
            Err(ProfileError::Sampler(pprof::Error::Running)) => return Err(ProfileError::Busy),
            started => started?,
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = self.ending.cancelled() => return Err(ProfileError::Ending),
        }
        let finish = move || {
            let Running { sampling, place } = running;
            let profile = sampling.finish();
            drop(place);
            profile
        };
        Ok(spawn_blocking(finish).await??)
    }

    /// Who has allocated what is in use.
    pub async fn heap(&self, by: &Orderer) -> Result<Profile, ProfileError> {
        let place = self.place()?;
        let (caller, peer) = (by.name(), by.address());
        tracing::info!(order = "profile", caller, peer, "profiling the memory");
        let spill = Arc::clone(&self.spill);
        let look = move || {
            let _place = place;
            spill.prepare().map_err(ProfileError::Spill)?;
            heap::live()
        };
        spawn_blocking(look).await?
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, ProfileError> {
        Arc::clone(&self.one).try_acquire_owned().map_err(|_| ProfileError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_length_out_of_bounds_is_refused() {
        let profiler = Profiler::new(Path::new("/nonexistent"), CancellationToken::new());
        for seconds in [0, 301, u64::MAX] {
            let refused = profiler.cpu(&Orderer::default(), seconds).await.unwrap_err().to_string();
            assert_eq!(refused, format!("{seconds} s is not between 1 and 300 s"));
        }
    }
}
