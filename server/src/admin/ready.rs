//! `/readyz`: whether clients should be sent here, and with `?verbose` what was looked at.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use parking_lot::Mutex;

use super::Admin;
use crate::lifecycle::Phase;

/// However often it is asked, the disk is tried no more often.
const TRY_EVERY: Duration = Duration::from_secs(5);
const TRIED_BYTES: [u8; 4096] = [0; 4096];

/// Tries whether the data directory can be written.
#[derive(Debug)]
pub(super) struct WriteProbe {
    directory: PathBuf,
    /// When it was tried, and what is wrong. Held while it is tried, so that probes do not add up on a disk that hangs.
    last: Mutex<Option<(Instant, Option<String>)>>,
}

impl WriteProbe {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, last: Mutex::new(None) }
    }

    /// What is wrong, if anything is. Blocks.
    fn problem(&self) -> Option<String> {
        let mut last = self.last.lock();
        let fresh = last.as_ref().filter(|(tried, _)| tried.elapsed() < TRY_EVERY);
        if let Some((_, problem)) = fresh {
            return problem.clone();
        }
        // A file without a name: nothing is left behind, whatever happens.
        let tried = tempfile::tempfile_in(&self.directory)
            .and_then(|mut file| file.write_all(&TRIED_BYTES));
        let problem = match tried {
            Ok(()) => None,
            // Eviction makes room when a client wants some.
            Err(error) if is_full(&error) => None,
            Err(error) => Some(error.to_string()),
        };
        *last = Some((Instant::now(), problem.clone()));
        problem
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) async fn readyz(State(admin): State<Arc<Admin>>, uri: Uri) -> (StatusCode, String) {
    let is_verbose =
        uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "verbose"));
    let phase = admin.lifecycle.phase();
    let usage = admin.store.get().map(|store| (store.usage)());
    let refuses_writes = usage.is_some_and(|usage| usage.writes_refused);
    let probed = Arc::clone(&admin);
    let unwritable = tokio::task::spawn_blocking(move || probed.probe.problem());
    // Before the store is open there may be no directory yet.
    let unwritable = unwritable.await.ok().flatten().filter(|_| usage.is_some());
    let (code, text) = if phase != Phase::Serving {
        (StatusCode::SERVICE_UNAVAILABLE, phase.word().to_owned())
    } else if refuses_writes {
        let text = "serving reads only: writes are refused since a sync failed, or since the data directory cannot be written; the log says which";
        (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
    } else if let Some(problem) = &unwritable {
        let text = format!("serving reads only: the data directory cannot be written: {problem}");
        (StatusCode::SERVICE_UNAVAILABLE, text)
    } else {
        (StatusCode::OK, phase.word().to_owned())
    };
    if !is_verbose {
        return (code, format!("{text}\n"));
    }
    let index = match usage {
        None => "not open",
        Some(usage) if usage.is_loaded => "loaded",
        Some(_) => "loading; what is asked for is found all the same",
    };
    let disk = unwritable.as_deref().unwrap_or("writable");
    let writes = if refuses_writes { "refused" } else { "accepted" };
    let lines = [("phase", phase.word()), ("disk", disk), ("writes", writes), ("index", index)];
    let lines = lines.map(|(name, says)| format!("{name:<8}{says}\n")).concat();
    (code, format!("{text}\n{lines}"))
}
