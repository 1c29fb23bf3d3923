//! `Reload`: reads the configuration again and takes over what can change in a running server.
//!
//! A configuration with a problem changes nothing. What needs a restart is told each time, until there was one.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use crate::admin::Operations;
use crate::auth::Orderer;
use crate::config::{Config, Problems};
use crate::guard::Guard;
use crate::telemetry::LogControl;

/// Reads the configuration from where it came from at the start.
pub type ConfigSource = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// What a server needs to be told anew.
#[derive(Clone)]
pub struct Again {
    /// The configuration.
    pub config: ConfigSource,
    /// What is logged; `None` where the log is another's.
    pub log: Option<LogControl>,
}

/// What a reload came to.
#[derive(Debug, Default, Serialize)]
pub struct Reloaded {
    /// What holds from now on: settings with their values, and files that were read again.
    pub changed: Vec<String>,
    /// Settings that are other than what the server runs with, and stay so until it is started again.
    pub needs_restart: Vec<String>,
    /// Why the configuration, or a file, was not taken over.
    pub problems: Vec<String>,
}

/// Takes over what can change.
pub(crate) struct Reload {
    again: Again,
    guard: Guard,
    operations: Operations,
    /// What the server runs with. Held during a reload, of which there is one at a time.
    running: Mutex<Config>,
}

impl Reloaded {
    fn log(&self, by: &Orderer) {
        let (caller, peer) = (by.name(), by.address());
        let joined = |items: &[String]| (!items.is_empty()).then(|| items.join(", "));
        let (changed, needs_restart) = (joined(&self.changed), joined(&self.needs_restart));
        if self.problems.is_empty() {
            tracing::info!(
                order = "reload",
                caller,
                peer,
                changed,
                needs_restart,
                "configuration read again"
            );
        } else {
            let problems = self.problems.join("; ");
            tracing::warn!(
                order = "reload",
                caller,
                peer,
                changed,
                needs_restart,
                problems,
                "configuration not taken over as it is"
            );
        }
    }
}

impl Again {
    /// Nothing but what the server was started with.
    pub fn nothing(config: &Config) -> Self {
        let config = config.clone();
        Self { config: Arc::new(move || Ok(config.clone())), log: None }
    }
}

impl Reload {
    pub(crate) fn new(again: Again, config: &Config, guard: Guard, operations: Operations) -> Self {
        Self { again, guard, operations, running: Mutex::new(config.clone()) }
    }

    /// Reads all again, and tells the log what came of it. Reads files.
    pub(crate) fn run(&self, by: &Orderer) -> Reloaded {
        let mut reloaded = Reloaded::default();
        for (what, outcome) in self.guard.refresh() {
            match outcome {
                Ok(()) => reloaded.changed.push(what.to_owned()),
                Err(problem) => reloaded.problems.push(problem),
            }
        }
        let mut running = self.running.lock();
        match (self.again.config)() {
            Ok(wanted) => {
                self.take_over(&mut running, &wanted, &mut reloaded);
                let differing = differing(&running, &wanted);
                reloaded.needs_restart = differing.into_iter().map(str::to_owned).collect();
            }
            Err(Problems(problems)) => {
                reloaded.problems.extend(problems.iter().map(ToString::to_string));
            }
        }
        reloaded.log(by);
        reloaded
    }

    /// What the server runs with.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        self.running.lock().settings()
    }

    fn take_over(&self, running: &mut Config, wanted: &Config, reloaded: &mut Reloaded) {
        if wanted.scrub_rate != running.scrub_rate
            && self.operations.set_scrub_rate(wanted.scrub_rate)
        {
            running.scrub_rate = wanted.scrub_rate;
            reloaded.changed.push(format!("scrub_rate = {}", wanted.scrub_rate));
        }
        if wanted.log.level != running.log.level
            && let Some(log) = &self.again.log
        {
            match log.set_level(&wanted.log.level) {
                Ok(()) => {
                    running.log.level = wanted.log.level.clone();
                    reloaded.changed.push(format!("log.level = {}", wanted.log.level.as_str()));
                }
                Err(error) => reloaded.problems.push(error.to_string()),
            }
        }
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// The settings that are not the same in both.
fn differing(running: &Config, wanted: &Config) -> Vec<&'static str> {
    let (running, wanted) = (running.settings(), wanted.settings());
    let has = |settings: &[(&'static str, String)], pair: &(&'static str, String)| {
        settings.contains(pair)
    };
    let gone = running.iter().filter(|pair| !has(&wanted, pair));
    let mut keys: Vec<_> = gone.map(|(key, _)| *key).collect();
    let come = wanted.iter().filter(|pair| !has(&running, pair)).map(|(key, _)| *key);
    keys.extend(come.filter(|key| !running.iter().any(|(known, _)| known == key)));
    keys
}
