//! Work that would hold up an async worker: hashing and compressing large buffers, and the disk.

use crate::StoreError;

/// From this size on, hashing or compressing a buffer (about 40 µs of SHA-256, 140 µs of zstd) leaves the async worker.
pub const OFF_WORKER_BYTES: usize = 64 * 1024;

/// Runs `work` on the blocking pool of this runtime. Dropping the future lets the work finish unobserved.
pub async fn run<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Ok(value),
        // A panic goes on in the caller's task, where the edge turns it into one failed request.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_cancelled) => Err(StoreError::ShuttingDown),
    }
}

/// Runs `work` here if it touches few bytes, else on the blocking pool.
pub async fn run_sized<T, F>(bytes: usize, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if bytes < OFF_WORKER_BYTES { Ok(work()) } else { run(work).await }
}
