//! [`LogChecker`]: ERROR means that a human must look, so a test that logs one fails; and so does one that logs a secret.

use std::fmt::{Debug, Write};
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Collects the ERROR lines of this process. One for all tests in it, since workers of a server are threads of their own,
/// which a subscriber of one test would not see.
#[derive(Debug, Default)]
pub struct LogChecker {
    errors: Mutex<Vec<String>>,
    /// Texts that may stand in no line of any level.
    secrets: Mutex<Vec<String>>,
    leaks: Mutex<Vec<String>>,
}

impl LogChecker {
    /// The process's checker, listening from the first call on.
    pub fn install() -> &'static Self {
        static CHECKER: OnceLock<LogChecker> = OnceLock::new();
        let mut first = false;
        let checker = CHECKER.get_or_init(|| {
            first = true;
            Self::default()
        });
        if first {
            let subscriber = tracing_subscriber::registry().with(Collector(checker));
            tracing::subscriber::set_global_default(subscriber)
                .expect("no other subscriber in a test");
        }
        checker
    }

    /// What was logged as ERROR since the last call.
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut self.errors.lock())
    }

    /// From now on no line and no span of any level may have this text in it.
    pub fn forbid(&self, secret: &str) {
        self.secrets.lock().push(secret.to_owned());
    }

    /// The lines that had a forbidden text in them.
    pub fn leaks(&self) -> Vec<String> {
        self.leaks.lock().clone()
    }

    fn look_for_secrets(&self, line: &str) {
        if self.secrets.lock().iter().any(|secret| line.contains(secret)) {
            self.leaks.lock().push(line.to_owned());
        }
    }

    /// Panics if anything was logged as ERROR.
    pub fn assert_no_errors(&self) {
        let errors = self.errors.lock();
        assert!(errors.is_empty(), "logged as ERROR: {errors:#?}");
    }
}

struct Collector(&'static LogChecker);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let is_error = *event.metadata().level() == Level::ERROR;
        if !is_error && self.0.secrets.lock().is_empty() {
            return;
        }
        let mut line = Line(format!("{}:", event.metadata().target()));
        event.record(&mut line);
        self.0.look_for_secrets(&line.0);
        if is_error {
            self.0.errors.lock().push(line.0);
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if self.0.secrets.lock().is_empty() {
            return;
        }
        let mut line = Line(format!("{}:", attributes.metadata().name()));
        attributes.record(&mut line);
        self.0.look_for_secrets(&line.0);
    }

    fn on_record(&self, span: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if self.0.secrets.lock().is_empty() {
            return;
        }
        let name = context.metadata(span).map_or("a span", |metadata| metadata.name());
        let mut line = Line(format!("{name}:"));
        values.record(&mut line);
        self.0.look_for_secrets(&line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_text_is_found_wherever_it_is_logged() {
        let checker: &'static LogChecker = Box::leak(Box::default());
        checker.forbid("hunter2");
        let subscriber = tracing_subscriber::registry().with(Collector(checker));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::debug_span!("later", password = tracing::field::Empty);
            span.record("password", "hunter2");
            let _begun = tracing::trace_span!("at once", password = "hunter2");
            tracing::info!(password = "hunter2", "line");
            tracing::info!(password = "hunter3", "another");
        });
        let begins = |line: String| line.split(':').next().map(str::to_owned);
        let found: Vec<_> = checker.leaks().into_iter().filter_map(begins).collect();
        assert_eq!(found, ["later", "at once", "larder_testkit"]);
    }
}
