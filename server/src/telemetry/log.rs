//! Log lines: to standard error, for people or as JSON; panics become log lines too.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{Log, LogFilter, LogFormat};

/// How log lines look, once `auto` is decided.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum LogStyle {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Changes what is logged while the process runs. Cloning shares it.
#[derive(Clone)]
pub struct LogControl(Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

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
}

/// Sets up the log of this process: once, and from the binary only.
pub fn start_log(log: &Log) -> Result<(LogStyle, LogControl), LogError> {
    let on_terminal = io::stderr().is_terminal();
    let style = match log.format {
        LogFormat::Auto if on_terminal => LogStyle::Human,
        LogFormat::Human => LogStyle::Human,
        LogFormat::Auto | LogFormat::Json => LogStyle::Json,
    };
    let filter = filter(&log.level)?;
    let lines = tracing_subscriber::fmt().with_writer(io::stderr);
    let control = match style {
        LogStyle::Human => {
            let lines = lines.compact().with_ansi(on_terminal);
            let lines = lines.with_env_filter(filter).with_filter_reloading();
            let control = LogControl::of(lines.reload_handle());
            lines.finish().try_init()?;
            control
        }
        LogStyle::Json => {
            let lines = lines.json().flatten_event(true);
            let lines = lines.with_env_filter(filter).with_filter_reloading();
            let control = LogControl::of(lines.reload_handle());
            lines.finish().try_init()?;
            control
        }
    };
    panic::set_hook(Box::new(log_panic));
    Ok((style, control))
}

impl LogControl {
    fn of<S: 'static>(handle: Handle<EnvFilter, S>) -> Self {
        Self(Arc::new(move |filter| handle.reload(filter)))
    }

    /// What is logged from now on.
    pub fn set_level(&self, level: &LogFilter) -> Result<(), LogError> {
        Ok((self.0)(filter(level)?)?)
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogControl")
    }
}

/// The engine says what becomes of its index; sled's own lines about a full disk are ERRORs without end. A level that names
/// sled counts nevertheless.
fn filter(level: &LogFilter) -> Result<EnvFilter, LogError> {
    Ok(EnvFilter::builder().parse(format!("sled=off,{}", level.as_str()))?)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a value that is no text");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    // ERROR: a panic is a defect, wherever it is caught.
    tracing::error!(location, "panic: {message}");
}
