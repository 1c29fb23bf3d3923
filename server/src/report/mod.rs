//! [`Reports`]: what is told about single requests, beside the metrics of all: the access log, and spans.
//!
//! Both are off unless the configuration turns them on, and a server where both are off does none of this.

mod about;
mod access_log;
mod draws;
mod traceparent;

use std::sync::Arc;
use std::time::SystemTime;

use http::Request;
use tracing::Span;

pub(crate) use self::about::{About, Notes};
pub(crate) use self::access_log::AccessLog;
pub use self::access_log::AccessLogError;
use self::access_log::Event;
pub(crate) use self::draws::Draws;
pub(crate) use self::traceparent::{TraceId, Traceparent};
use crate::auth::Peer;
use crate::caller::Caller;
use crate::config::Config;
use crate::spans::{self, RequestSpans};
use crate::telemetry::{Ended, OutletCounts};

/// Tells about requests.
#[derive(Debug)]
pub struct Reports {
    access_log: Option<AccessLog>,
    spans: Option<RequestSpans>,
}

/// What is told about one request once it has ended.
#[derive(Debug)]
pub(crate) struct Report {
    reports: Arc<Reports>,
    about: Arc<About>,
    /// `None` where a test calls without a connection.
    peer: Option<Arc<Peer>>,
    trace_id: Option<TraceId>,
    /// Where the request is sampled.
    span: Option<Span>,
}

impl Reports {
    /// As the configuration says; `None` where nothing is told. `seed` begins the drawing of what is sampled.
    pub fn start(config: &Config, seed: u64) -> Result<Option<Self>, AccessLogError> {
        let access_log = config.access_log.as_ref().map(AccessLog::start).transpose()?;
        let spans =
            config.traces.as_ref().map(|traces| RequestSpans::new(traces.sample_ratio, seed));
        let is_on = access_log.is_some() || spans.is_some();
        Ok(is_on.then_some(Self { access_log, spans }))
    }

    /// What became of the events of the access log, if there is one.
    pub fn access_log_counts(&self) -> Option<&Arc<OutletCounts>> {
        self.access_log.as_ref().map(AccessLog::counts)
    }
}

impl Report {
    /// Begins the report of a request, and lets those who serve it add to it.
    pub(crate) fn begin<B>(
        reports: &Arc<Reports>,
        request: &mut Request<B>,
        caller: &Caller,
        method: &'static str,
    ) -> Self {
        let parent = Traceparent::of(request.headers());
        let spans = reports.spans.as_ref();
        let sampled = spans.and_then(|spans| spans.begin(parent, caller, method));
        let (span, trace_id) = match sampled {
            Some((span, trace_id)) => (Some(span), trace_id),
            None => (None, parent.map(|parent| parent.trace_id)),
        };
        let peer = Peer::of(request.extensions()).cloned();
        let about = Arc::<About>::default();
        request.extensions_mut().insert(Arc::clone(&about));
        Self { reports: Arc::clone(reports), about, peer, trace_id, span }
    }

    /// What the lines that are logged for the request carry.
    pub(crate) fn span(&self, caller: &Caller) -> Span {
        self.span.clone().unwrap_or_else(|| caller.span(self.trace_id))
    }

    /// Tells about it.
    pub(crate) fn end(self, ended: Ended) {
        if let Some(span) = &self.span {
            spans::end(span, &ended, &self.about);
        }
        if let Some(access_log) = &self.reports.access_log
            && access_log.wants(ended.code)
        {
            let Self { about, peer, trace_id, .. } = self;
            access_log.offer(Event { at: SystemTime::now(), ended, about, peer, trace_id });
        }
    }
}
