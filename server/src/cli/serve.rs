//! `larder serve`: start, tell the user, wait for a signal, drain.

use std::io;
use std::sync::Arc;

use larder_disk::RealIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, spawn_blocking};

use super::banner::announce;
use super::supervisor::Supervisor;
use crate::auth::Orderer;
use crate::config::Config;
use crate::reload::{Again, ConfigSource};
use crate::run::{Server, StartError};
use crate::spans::{SpanExport, SpanExportError};
use crate::telemetry::{LogError, LogHandle, Reported, start_log};

/// What ends `larder serve` other than a signal.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Spans(#[from] SpanExportError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("no runtime for signals")]
    Runtime(#[from] io::Error),
    #[error("defect in the server")]
    Panic(#[from] JoinError),
}

/// Serves until SIGTERM or SIGINT. A second signal ends the process at once: whatever was
/// acknowledged is with the kernel. `source` reads the configuration again, at a SIGHUP too.
pub(super) fn serve(
    config: &Config,
    source: ConfigSource,
    supervisor: &Supervisor,
) -> Result<(), ServeError> {
    let (log, spans) = start_telemetry(config)?;
    let again = Again { config: source, log: Some(log.control().clone()) };
    let reported = Reported {
        log: Some(Arc::clone(log.counts())),
        spans: spans.as_ref().map(|spans| Arc::clone(spans.counts())),
        access_log: None,
    };
    raise_open_files_limit();
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::install()?;
        let settings = config.clone();
        let mut starting = spawn_blocking(move || {
            Server::start_again(&settings, Arc::new(RealIo), again, reported)
        });
        let mut early_signal = None;
        let started = tokio::select! {
            started = &mut starting => started,
            name = signals.next_end() => {
                // To end amid the opening is to crash: what was recovered so far would be recovered again.
                tracing::info!(signal = name, "stopping once the store is open");
                early_signal = Some(name);
                tokio::select! {
                    started = starting => started,
                    name = signals.next_end() => {
                        tracing::warn!(signal = name, "start cut short");
                        return Ok(());
                    }
                }
            }
        };
        let server = started??;
        let name = if let Some(name) = early_signal {
            name
        } else {
            announce(&server, config, &log);
            supervisor.tell("READY=1");
            loop {
                match signals.next().await {
                    Asked::End(name) => break name,
                    Asked::Reload(name) => {
                        let reload = Arc::clone(server.reload());
                        // Not waited for: a file whose end does not come must not hold up the next signal.
                        drop(spawn_blocking(move || reload.run(&Orderer::signal(name))));
                    }
                }
            }
        };
        server.shutdown();
        supervisor.tell("STOPPING=1");
        tracing::info!(signal = name, timeout = ?config.drain_timeout, "draining");
        tokio::select! {
            ended = spawn_blocking(move || server.wait()) => ended?,
            name = signals.next_end() => {
                tracing::warn!(signal = name, "drain cut short");
                return Ok(());
            }
        }
        tracing::info!("stopped");
        Ok(())
    });
    // After a second signal a thread is still waiting for the drain.
    runtime.shutdown_background();
    outcome
}

/// The spans are dropped before the log is, which may have to say that the last of them are lost.
fn start_telemetry(config: &Config) -> Result<(LogHandle, Option<SpanExport>), ServeError> {
    let spans = config.traces.as_ref().map(SpanExport::start).transpose()?;
    let log = start_log(&config.log, spans.as_ref())?;
    if let Some(spans) = &spans {
        spans.warn();
    }
    Ok((log, spans))
}

/// What a signal, by its name, asks for.
enum Asked {
    End(&'static str),
    Reload(&'static str),
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.hang_up.recv() => Asked::Reload("SIGHUP"),
        }
    }

    /// The next one that ends the server; a start or a drain reads nothing again.
    async fn next_end(&mut self) -> &'static str {
        loop {
            if let Asked::End(name) = self.next().await {
                return name;
            }
        }
    }
}

/// The usual soft limit of 1024 is less than a busy server's connections and blobs take.
fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = ?limit.current, "the limit for open files stays");
    }
}
