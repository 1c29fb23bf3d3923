//! [`Profiler`]: where the CPU goes, looked at for a while, for who asks on the admin port.
//!
//! Promise: one at a time; it ends with who asked and with the server; nothing runs while nobody asks.

mod flamegraph;
mod protobuf;
mod sampler;
mod spill;
mod stacks;

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
pub use self::stacks::{Profile, Stack};

/// How long may be looked, in seconds.
pub const SECONDS: RangeInclusive<u64> = 1..=300;

/// Looks where the CPU goes.
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
    /// One that is idle. `ending` is cancelled when the drain begins.
    pub fn new(data_dir: &Path, ending: CancellationToken) -> Self {
        let spill = Arc::new(Spill::new(data_dir));
        Self { one: Arc::new(Semaphore::new(1)), spill, ending }
    }

    /// Looks for so long. Who drops the future ends it.
    pub async fn sample(&self, seconds: u64) -> Result<Profile, ProfileError> {
        if !SECONDS.contains(&seconds) {
            return Err(ProfileError::Length { seconds });
        }
        let one = Arc::clone(&self.one);
        let place = one.try_acquire_owned().map_err(|_| ProfileError::Busy)?;
        tracing::info!(seconds, "profiling");
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_length_out_of_bounds_is_refused() {
        let profiler = Profiler::new(Path::new("/nonexistent"), CancellationToken::new());
        for seconds in [0, 301, u64::MAX] {
            let refused = profiler.sample(seconds).await.unwrap_err().to_string();
            assert_eq!(refused, format!("{seconds} s is not between 1 and 300 s"));
        }
    }
}
