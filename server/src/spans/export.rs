//! [`SpanExport`]: from spans that have ended to a collector, on a thread of its own.
//!
//! Bounds: [`QUEUE_SPANS`] wait, the rest is dropped and counted; an export takes [`EXPORT_WITHIN`] at most and is not
//! tried again. Nobody who ends a span waits.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use rustls::RootCertStore;
use tokio::runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::unsaid::{Noting, Unsaid};
use super::{REQUEST, TIER};
use crate::config::{TraceProtocol, TraceSettings};
use crate::telemetry::OutletCounts;
use crate::trust::{NobodyTrusted, TrustError, tls_config, trusted};

/// What waits for the collector: a few MiB.
const QUEUE_SPANS: usize = 4096;
/// What is sent at a time.
const BATCH_SPANS: usize = 512;
/// How long a batch that is not full waits for more.
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// How long an export may take.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);
/// How long the end waits for what is left to be sent.
const END_WITHIN: Duration = Duration::from_secs(3);

/// Spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum SpanExportError {
    /// No thread or runtime.
    #[error("the thread that sends spans cannot be started")]
    Thread(#[source] io::Error),
    /// The address is refused.
    #[error("traces.endpoint")]
    Exporter(#[from] ExporterBuildError),
    /// Whom to trust cannot be read.
    #[error("traces.ca_file")]
    Trust(#[source] TrustError),
}

/// Sends spans. What is left is sent when this is dropped, within three seconds.
#[derive(Debug)]
pub struct SpanExport {
    counts: Arc<OutletCounts>,
    ending: CancellationToken,
    /// Disconnected when the thread has ended.
    ended: std::sync::mpsc::Receiver<()>,
    provider: SdkTracerProvider,
    nobody_trusted: Option<NobodyTrusted>,
}

impl SpanExport {
    /// Starts the thread. Nothing is connected before there is a span.
    pub fn start(settings: &TraceSettings) -> Result<Self, SpanExportError> {
        let (queue, spans) = channel(QUEUE_SPANS);
        let counts = Arc::new(OutletCounts::default());
        let ending = CancellationToken::new();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(SpanExportError::Thread)?;
        let resource = Resource::builder_empty()
            .with_service_name("larder")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let (roots, nobody_trusted) = roots(settings)?;
        let unsaid = Unsaid::default();
        let mut exporter = {
            let _within = runtime.enter();
            exporter(settings, roots, &unsaid)?
        };
        exporter.set_resource(&resource);
        let (alive, ended) = std::sync::mpsc::channel();
        let sending = Sending {
            spans,
            exporter,
            unsaid,
            counts: Arc::clone(&counts),
            ending: ending.clone(),
            is_failing: false,
        };
        let run = move || {
            runtime.block_on(sending.all());
            drop(alive);
        };
        let thread = thread::Builder::new().name("spans".to_owned()).spawn(run);
        thread.map_err(SpanExportError::Thread)?;
        let processor = Queue { queue, counts: Arc::clone(&counts) };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        Ok(Self { counts, ending, ended, provider, nobody_trusted })
    }

    /// Says in the log that no collector can be trusted, if so: it is started before the log is.
    pub fn warn(&self) {
        if let Some(nobody) = &self.nobody_trusted {
            nobody.warn();
        }
    }

    /// What became of the spans.
    pub fn counts(&self) -> &Arc<OutletCounts> {
        &self.counts
    }
}

impl Drop for SpanExport {
    fn drop(&mut self) {
        self.ending.cancel();
        if self.ended.recv_timeout(END_WITHIN) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(limit = ?END_WITHIN, "the collector is slow: the last spans are lost");
        }
    }
}

/// Makes spans of the spans of this server, and of nothing else in the process.
pub fn span_layer<S>(export: &SpanExport) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ours = Targets::new()
        .with_target(REQUEST, LevelFilter::ERROR)
        .with_target(TIER, LevelFilter::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(export.provider.tracer("larder"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(ours)
}

/// None where nothing is encrypted.
fn roots(
    settings: &TraceSettings,
) -> Result<(Option<RootCertStore>, Option<NobodyTrusted>), SpanExportError> {
    if !settings.endpoint.is_encrypted() {
        return Ok((None, None));
    }
    let trusted = trusted(settings.ca_file.as_deref()).map_err(SpanExportError::Trust)?;
    Ok((Some(trusted.roots), trusted.nobody))
}

fn exporter(
    settings: &TraceSettings,
    roots: Option<RootCertStore>,
    unsaid: &Unsaid,
) -> Result<SpanExporter, SpanExportError> {
    let address = settings.endpoint.as_str();
    Ok(match settings.protocol {
        TraceProtocol::Grpc => {
            let mut builder = SpanExporter::builder().with_tonic();
            if let Some(RootCertStore { roots }) = roots {
                builder = builder.with_tls_config(ClientTlsConfig::new().trust_anchors(roots));
            }
            builder.with_endpoint(address).with_timeout(EXPORT_WITHIN).build()?
        }
        TraceProtocol::Http => {
            let tls = tls_config(roots.unwrap_or_else(RootCertStore::empty));
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls.map_err(SpanExportError::Trust)?)
                .https_or_http()
                .enable_http1()
                .build();
            let client = HyperClient::new(connector, EXPORT_WITHIN, None);
            SpanExporter::builder()
                .with_http()
                .with_http_client(Noting::new(client, unsaid.clone()))
                .with_endpoint(traces_url(address))
                .with_timeout(EXPORT_WITHIN)
                .build()?
        }
    })
}

/// Where OTLP over HTTP takes spans, unless a path says otherwise.
fn traces_url(address: &str) -> String {
    let has_path = address.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { address.to_owned() } else { format!("{address}/v1/traces") }
}

/// Takes spans that have ended.
#[derive(Debug)]
struct Queue {
    queue: Sender<SpanData>,
    counts: Arc<OutletCounts>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send(span).is_ok() {
            self.counts.note_accepted(1);
        } else {
            self.counts.note_dropped(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// What is left is sent when the [`SpanExport`] is dropped.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The thread's work.
struct Sending {
    spans: Receiver<SpanData>,
    exporter: SpanExporter,
    unsaid: Unsaid,
    counts: Arc<OutletCounts>,
    ending: CancellationToken,
    is_failing: bool,
}

impl Sending {
    /// Until the end, and then what is left.
    async fn all(mut self) {
        loop {
            let mut batch = Vec::with_capacity(BATCH_SPANS);
            let ending = self.ending.clone();
            let full = async {
                while batch.len() < BATCH_SPANS {
                    let room = BATCH_SPANS - batch.len();
                    if self.spans.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            let _why = timeout(BATCH_DELAY, ending.run_until_cancelled(full)).await;
            if ending.is_cancelled() {
                self.spans.close();
                while batch.len() < BATCH_SPANS
                    && let Ok(span) = self.spans.try_recv()
                {
                    batch.push(span);
                }
                if batch.is_empty() {
                    return;
                }
            }
            if !batch.is_empty() {
                self.export(batch).await;
            }
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        let failure = match timeout(EXPORT_WITHIN, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(self.unsaid.take().unwrap_or_else(|| error.to_string())),
            Err(_) => Some(format!("no answer within {EXPORT_WITHIN:?}")),
        };
        if failure.is_some() {
            self.counts.note_dropped(spans);
        }
        // One line for each change: a collector may be away for days.
        match (&failure, self.is_failing) {
            (Some(failure), false) => {
                tracing::warn!(failure, spans, "the collector takes no spans");
            }
            (None, true) => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        self.is_failing = failure.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_goes_where_otlp_says() {
        for (address, expect) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://agent:80/otlp/v1/traces", "http://agent:80/otlp/v1/traces"),
            ("https://collector:4318", "https://collector:4318/v1/traces"),
        ] {
            assert_eq!(traces_url(address), expect);
        }
    }
}
