//! The admin port: `/livez`, `/readyz`, `/metrics`, `/statusz`, and `/admin/v1` and `/debug/pprof` for admins.
//!
//! It answers from before the store is opened until the drain has ended.

mod api;
mod operations;
mod profiles;
mod ready;
mod status;
mod text_format;
mod usage_report;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use larder_cas::HotStats;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

pub use self::operations::{EvictOrder, Operations, OrderError, PurgeOrder, ScrubOrder, Step};
use self::ready::{WriteProbe, readyz};
pub use self::status::{Addresses, Lines, Status};
pub use self::usage_report::{ScrubReport, UsageReport};
use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::profile::Profiler;
use crate::reload::Reload;

/// The media type that `OpenMetrics` has registered.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin port shows.
#[derive(Debug)]
pub struct Admin {
    config: Config,
    addresses: Addresses,
    lifecycle: Arc<Lifecycle>,
    started: Instant,
    probe: WriteProbe,
    /// Where profiles are on.
    profiler: Option<Profiler>,
    store: OnceLock<StoreView>,
}

/// What can be shown of the store once it is open.
pub(crate) struct StoreView {
    /// Everything that was registered.
    pub(crate) registry: Registry,
    /// The stacks, as they show themselves.
    pub(crate) stack: String,
    /// Asked at each request.
    pub(crate) usage: Box<dyn Fn() -> UsageReport + Send + Sync>,
    /// The same for what is in memory: blobs, action results, trees.
    pub(crate) hot: Box<dyn Fn() -> [HotStats; 3] + Send + Sync>,
    /// What an admin can have done.
    pub(crate) operations: Operations,
    /// Reads the configuration again.
    pub(crate) reload: Arc<Reload>,
}

impl std::fmt::Debug for StoreView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreView").field("stack", &self.stack).finish_non_exhaustive()
    }
}

impl Admin {
    /// For a server that is about to open its store. `ending` is cancelled when the drain begins.
    pub fn new(
        config: Config,
        addresses: Addresses,
        lifecycle: Arc<Lifecycle>,
        ending: CancellationToken,
    ) -> Self {
        let probe = WriteProbe::new(config.data_dir.clone());
        let profiler = config.debug_profiles.then(|| Profiler::new(&config.data_dir, ending));
        Self {
            config,
            addresses,
            lifecycle,
            started: Instant::now(),
            probe,
            profiler,
            store: OnceLock::new(),
        }
    }

    /// Shows the store from now on. A server opens one store; a second is ignored.
    pub(crate) fn show_store(&self, store: StoreView) {
        let _first = self.store.set(store);
    }

    /// The routes.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/statusz", get(statusz))
            .merge(api::routes())
            .merge(profiles::routes())
            .with_state(self)
    }

    fn status(&self) -> Status {
        let settings = match self.store.get() {
            Some(store) => store.reload.settings(),
            None => self.config.settings(),
        };
        Status {
            version: env!("CARGO_PKG_VERSION"),
            phase: self.lifecycle.phase().word(),
            uptime_seconds: self.started.elapsed().as_secs(),
            addresses: self.addresses.clone(),
            stack: self.store.get().map(|store| store.stack.clone()),
            usage: self.store.get().map(|store| (store.usage)()),
            config: settings.into_iter().collect(),
        }
    }
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let Some(store) = admin.store.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response();
    };
    let mut text = String::new();
    match encode(&mut text, &store.registry) {
        Ok(()) if accepts(&headers, "application/openmetrics-text") => {
            ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
        }
        Ok(()) => {
            let text = text_format::of_open_metrics(&text);
            ([(header::CONTENT_TYPE, text_format::MEDIA_TYPE)], text).into_response()
        }
        Err(error) => {
            // ERROR: a metric that cannot be written as text is a defect.
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|value| value.contains(media_type))
}

async fn statusz(State(admin): State<Arc<Admin>>, uri: Uri, headers: HeaderMap) -> Response {
    let mut query = uri.query().unwrap_or_default().split('&');
    let accepts_json = accepts(&headers, "application/json");
    let status = admin.status();
    if accepts_json || query.any(|pair| pair == "format=json") {
        axum::Json(status).into_response()
    } else {
        status.to_string().into_response()
    }
}
