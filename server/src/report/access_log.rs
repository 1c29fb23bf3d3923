//! [`AccessLog`]: a line of JSON for each request that has ended, or for a share of them.
//!
//! An event is made where the request ends and becomes text in the writer's thread: there is no lock, and nothing waits.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tonic::Code;

use super::about::About;
use super::draws::Draws;
use super::traceparent::TraceId;
use crate::auth::Peer;
use crate::config::{AccessLogSettings, AccessLogTarget, Ratio};
use crate::telemetry::{Ended, Outlet, OutletCounts, Throttle, code_label};
use crate::unwaiting::Unwaiting as _;

/// How long the end waits for events to be written.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The access log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// No file.
    #[error("access_log.to: {} cannot be written", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread.
    #[error("the access log's thread cannot be started")]
    Thread(#[source] io::Error),
}

/// A line of JSON for each request that has ended. What is left is written when this is dropped, within a second.
#[derive(Debug)]
pub(crate) struct AccessLog {
    events: Outlet<Event>,
    sample_ratio: Ratio,
    draws: Draws,
}

/// A request that has ended.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at: SystemTime,
    pub(super) ended: Ended,
    pub(super) about: Arc<About>,
    pub(super) peer: Option<Arc<Peer>>,
    pub(super) trace_id: Option<TraceId>,
}

/// An event as it is written.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    method: &'static str,
    code: &'static str,
    duration_us: u64,
    received_bytes: u64,
    sent_bytes: u64,
    tool: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl AccessLog {
    /// Opens the file and starts the writer's thread.
    pub(crate) fn start(settings: &AccessLogSettings) -> Result<Self, AccessLogError> {
        let events = match &settings.to {
            AccessLogTarget::StandardError => Outlet::start("access-log", io::stderr(), write_line),
            AccessLogTarget::File(path) => {
                let file = open(path)
                    .map_err(|source| AccessLogError::Open { path: path.clone(), source })?;
                let file = Telling::new(file, path);
                Outlet::start("access-log", file, write_line)
            }
        };
        let events = events.map_err(AccessLogError::Thread)?;
        Ok(Self { events, sample_ratio: settings.sample_ratio, draws: Draws::seeded(0) })
    }

    /// What became of the events.
    pub(crate) fn counts(&self) -> &Arc<OutletCounts> {
        self.events.counts()
    }

    /// Whether a request that ended so has a line.
    pub(super) fn wants(&self, code: Code) -> bool {
        is_error(code) || self.sample_ratio.takes(self.draws.next())
    }

    pub(super) fn offer(&self, event: Event) {
        self.events.offer(event);
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // A pipe that nobody reads is not waited for; its metric has told.
        self.events.flush(END_WITHIN);
    }
}

/// A sink that says in the log that it takes nothing and why, again where the reason is another, and that it does again.
struct Telling<W> {
    sink: W,
    path: PathBuf,
    /// What the log says of it at present; `None` is that all is well.
    told: Option<ErrorKind>,
    throttle: Throttle,
}

impl<W> Telling<W> {
    fn new(sink: W, path: &Path) -> Self {
        Self { sink, path: path.to_owned(), told: None, throttle: Throttle::new() }
    }

    fn tell(&mut self, error: Option<&io::Error>) {
        let kind = error.map(io::Error::kind);
        // What the throttle holds back is told by a later write, if it still holds.
        if kind == self.told || self.throttle.admit().is_none() {
            return;
        }
        let path = self.path.display();
        if let Some(error) = error {
            tracing::warn!(%path, %error, "the access log loses events");
        } else {
            tracing::info!(%path, "the access log takes events again");
        }
        self.told = kind;
    }
}

impl<W: Write> Write for Telling<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes);
        match &written {
            // It is tried again at once.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            written => self.tell(written.as_ref().err()),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open_unwaiting(path)
}

/// A miss is an answer, and who goes away has his reasons.
fn is_error(code: Code) -> bool {
    !matches!(code, Code::Ok | Code::NotFound | Code::Cancelled)
}

fn write_line(event: &Event, batch: &mut Vec<u8>) {
    let Event { at, ended, about, peer, trace_id } = event;
    let line = Line {
        timestamp: humantime::format_rfc3339_micros(*at).to_string(),
        peer: peer.as_ref().and_then(|peer| peer.address),
        method: ended.method.label(),
        code: code_label(ended.code),
        duration_us: u64::try_from(ended.last_byte.as_micros()).unwrap_or(u64::MAX),
        received_bytes: ended.received_bytes,
        sent_bytes: ended.sent_bytes,
        tool: ended.tool.label(),
        instance: about.instance(),
        digest: about.digest(),
        trace_id: trace_id.map(|id| id.to_string()),
    };
    serde_json::to_writer(&mut *batch, &line).expect("texts and numbers are JSON");
    batch.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_whatever_the_ratio() {
        for (code, expect) in [
            (Code::Ok, false),
            (Code::NotFound, false),
            (Code::Cancelled, false),
            (Code::InvalidArgument, true),
            (Code::Internal, true),
            (Code::Unauthenticated, true),
        ] {
            assert_eq!(is_error(code), expect, "{code:?}");
        }
    }
}
