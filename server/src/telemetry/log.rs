//! Log lines: to standard error, for people or as JSON; panics become log lines too.

use std::io::{self, IsTerminal as _};
use std::panic::{self, PanicHookInfo};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{Log, LogFormat};

/// How log lines look, once `auto` is decided.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum LogStyle {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The configuration lets nothing through that this refuses.
    #[error("log.level")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else logs in this process.
    #[error("the log is already set up")]
    AlreadySet(#[from] TryInitError),
}

/// Sets up the log of this process: once, and from the binary only.
pub fn start_log(log: &Log) -> Result<LogStyle, LogError> {
    let on_terminal = io::stderr().is_terminal();
    let style = match log.format {
        LogFormat::Auto if on_terminal => LogStyle::Human,
        LogFormat::Human => LogStyle::Human,
        LogFormat::Auto | LogFormat::Json => LogStyle::Json,
    };
    // The engine says what becomes of its index; sled's own lines about a full disk are ERRORs without end. A level that names
    // sled counts nevertheless.
    let filter = EnvFilter::builder().parse(format!("sled=off,{}", log.level.as_str()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match style {
        LogStyle::Human => lines.compact().with_ansi(on_terminal).finish().try_init()?,
        LogStyle::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    panic::set_hook(Box::new(log_panic));
    Ok(style)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a value that is no text");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    // ERROR: a panic is a defect, wherever it is caught.
    tracing::error!(location, "panic: {message}");
}
