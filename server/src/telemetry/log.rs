//! Log lines: to standard error, for people or as JSON; panics become log lines too.
//!
//! A line is made where it is logged and written by a thread ([`Outlet`]), so that a pipe that nobody reads stops no
//! request. What is left is written at the end and at a panic, within limits.

use std::io::{self, IsTerminal as _, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::outlet::{Outlet, OutletCounts};
use crate::config::{Log, LogFilter, LogFormat};
use crate::spans::{SpanExport, TIER, span_layer};

/// How long the end waits for lines to be written.
const END_WITHIN: Duration = Duration::from_secs(1);
/// How long a panic does: where a request is ended by it, its worker goes on.
const PANIC_WITHIN: Duration = Duration::from_millis(100);

/// How log lines look, once `auto` is decided.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum LogStyle {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Changes what is logged while the process runs. Cloning shares it.
#[derive(Clone, Debug)]
pub struct LogControl(Handle<EnvFilter, Registry>);

/// The log cannot be set up, or be changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The configuration lets nothing through that this refuses.
    #[error("log.level")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else logs in this process.
    #[error("the log is already set up")]
    AlreadySet(#[from] TryInitError),
    /// It is gone, or a thread panicked in it.
    #[error("what is logged cannot be changed")]
    Unchanged(#[from] reload::Error),
    /// No thread to write it.
    #[error("the log's thread cannot be started")]
    Thread(#[source] io::Error),
}

/// The log of this process. What is left of it is written when this is dropped, within a second.
#[derive(Debug)]
pub struct LogHandle {
    style: LogStyle,
    control: LogControl,
    lines: Lines,
}

impl LogHandle {
    /// How lines look.
    pub fn style(&self) -> LogStyle {
        self.style
    }

    /// What changes it.
    pub fn control(&self) -> &LogControl {
        &self.control
    }

    /// Writes `text` as it is, in its turn among the lines.
    pub fn tell(&self, text: String) {
        self.lines.0.offer(Line(text.into_bytes().into()));
    }

    /// What became of the lines.
    pub fn counts(&self) -> &Arc<OutletCounts> {
        self.lines.0.counts()
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        // Lines that nobody takes are lost; there is no one to tell.
        self.lines.0.flush(END_WITHIN);
    }
}

/// Sets up the log of this process, and where its spans go: once, and from the binary only.
pub fn start_log(log: &Log, spans: Option<&SpanExport>) -> Result<LogHandle, LogError> {
    let on_terminal = io::stderr().is_terminal();
    let style = match log.format {
        LogFormat::Auto if on_terminal => LogStyle::Human,
        LogFormat::Human => LogStyle::Human,
        LogFormat::Auto | LogFormat::Json => LogStyle::Json,
    };
    let whole = |line: &Line, batch: &mut Vec<u8>| batch.extend_from_slice(&line.0);
    let lines = Lines(Outlet::start("log", io::stderr(), whole).map_err(LogError::Thread)?);
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let layer = fmt::layer().with_writer(lines.clone()).with_ansi(on_terminal);
    let layer = match style {
        LogStyle::Human => layer.compact().boxed(),
        LogStyle::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .with(spans.map(span_layer))
        .try_init()?;
    let at_panic = lines.clone();
    panic::set_hook(Box::new(move |info| {
        log_panic(info);
        at_panic.0.flush(PANIC_WITHIN);
    }));
    Ok(LogHandle { style, control: LogControl(handle), lines })
}

impl LogControl {
    /// What is logged from now on.
    pub fn set_level(&self, level: &LogFilter) -> Result<(), LogError> {
        Ok(self.0.reload(filter(level)?)?)
    }
}

/// The engine says what becomes of its index; sled's own lines about a full disk are ERRORs without end. Who asks for a profile
/// is told already; pprof's own lines say no more than that it begins and ends. What breaks off a handshake is counted, and rustls
/// would have a warning for each. A level that names these counts nevertheless.
fn filter(level: &LogFilter) -> Result<EnvFilter, LogError> {
    let level = level.as_str();
    Ok(EnvFilter::builder()
        .parse(format!("sled=off,pprof=error,rustls=error,{TIER}=off,{level}"))?)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a value that is no text");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    // ERROR: a panic is a defect, wherever it is caught.
    tracing::error!(location, "panic: {message}");
}

/// Takes each line as one write.
#[derive(Clone, Debug)]
struct Lines(Outlet<Line>);

/// A whole line, with its end.
#[derive(Debug)]
struct Line(Box<[u8]>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.offer(Line(line.into()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
