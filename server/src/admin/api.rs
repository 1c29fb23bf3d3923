//! `/admin/v1/…`: what an admin asks for, as JSON. The layer before the port has seen to it that he is one.
//!
//! What takes long answers with a line of JSON for each step, and ends when the client goes away.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::operations::{EvictOrder, Operations, OrderError, PurgeOrder, ScrubOrder, Step};
use super::usage_report::UsageReport;
use super::{Admin, StoreView};
use crate::auth::Orderer;
use crate::telemetry::BoxError;

const JSON_LINES: &str = "application/x-ndjson";

/// Why a request does nothing.
enum Refused {
    Starting,
    Order(OrderError),
    /// A page in a browser of this machine could otherwise act in the name of whoever sits there.
    FromBrowser,
}

impl From<OrderError> for Refused {
    fn from(error: OrderError) -> Self {
        Self::Order(error)
    }
}

impl Refused {
    fn code_and_text(&self) -> (StatusCode, String) {
        match self {
            Self::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting".to_owned()),
            Self::Order(error @ OrderError::Busy) => (StatusCode::CONFLICT, error.to_string()),
            Self::Order(error) => (StatusCode::BAD_REQUEST, error.to_string()),
            Self::FromBrowser => (StatusCode::FORBIDDEN, "not from a page in a browser".to_owned()),
        }
    }

    /// Says in the log whose order came to nothing.
    fn logged(self, order: &'static str, by: &Orderer) -> Self {
        let (_, reason) = self.code_and_text();
        let (caller, peer) = (by.name(), by.address());
        tracing::info!(order, caller, peer, reason, "an admin's order is refused");
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, text) = self.code_and_text();
        (code, format!("{text}\n")).into_response()
    }
}

/// What `/admin/v1/stats` says.
#[derive(Serialize)]
struct Stats {
    usage: UsageReport,
    hot: BTreeMap<&'static str, HotStats>,
}

#[derive(Serialize)]
struct HotStats {
    entries: u64,
    bytes: u64,
    limit_bytes: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
}

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/admin/v1/stats", get(stats))
        .route("/admin/v1/purge", post(purge))
        .route("/admin/v1/evict", post(evict))
        .route("/admin/v1/scrub", post(scrub))
        .route("/admin/v1/reload", post(reload))
}

fn store(admin: &Admin) -> Result<&StoreView, Refused> {
    admin.store.get().ok_or(Refused::Starting)
}

fn operations<'a>(admin: &'a Admin, headers: &HeaderMap) -> Result<&'a Operations, Refused> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Refused::FromBrowser);
    }
    Ok(&store(admin)?.operations)
}

async fn stats(State(admin): State<Arc<Admin>>) -> Result<Response, Refused> {
    let store = store(&admin)?;
    let kinds = ["blobs", "action_results", "trees"].into_iter();
    let hot = kinds.zip((store.hot)()).map(|(kind, stats)| {
        let larder_cas::HotStats { bytes, limit_bytes, entries, hits, misses, evictions, .. } =
            stats;
        (kind, HotStats { entries, bytes, limit_bytes, hits, misses, evictions })
    });
    let hot = hot.collect();
    Ok(Json(Stats { usage: (store.usage)(), hot }).into_response())
}

async fn purge(
    State(admin): State<Arc<Admin>>,
    by: Orderer,
    headers: HeaderMap,
    Json(order): Json<PurgeOrder>,
) -> Result<Response, Refused> {
    let steps = operations(&admin, &headers).and_then(|known| Ok(known.purge(&by, &order)?));
    Ok(lines(steps.map_err(|refused| refused.logged("purge", &by))?))
}

async fn evict(
    State(admin): State<Arc<Admin>>,
    by: Orderer,
    headers: HeaderMap,
    Json(order): Json<EvictOrder>,
) -> Result<Response, Refused> {
    let steps = operations(&admin, &headers).and_then(|known| Ok(known.evict(&by, &order)?));
    Ok(lines(steps.map_err(|refused| refused.logged("evict", &by))?))
}

async fn scrub(
    State(admin): State<Arc<Admin>>,
    by: Orderer,
    headers: HeaderMap,
    Json(order): Json<ScrubOrder>,
) -> Result<Response, Refused> {
    let done = operations(&admin, &headers).and_then(|known| Ok(known.scrub(&by, &order)?));
    done.map_err(|refused| refused.logged("scrub", &by))?;
    Ok(Json((store(&admin)?.usage)().scrub).into_response())
}

async fn reload(
    State(admin): State<Arc<Admin>>,
    by: Orderer,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    operations(&admin, &headers).map_err(|refused| refused.logged("reload", &by))?;
    let reloaded =
        tokio::task::spawn_blocking(move || admin.store.get().map(|store| store.reload.run(&by)));
    match reloaded.await.ok().flatten() {
        Some(reloaded) => Ok(Json(reloaded).into_response()),
        None => Err(Refused::Starting),
    }
}

fn lines(steps: mpsc::Receiver<Step>) -> Response {
    let lines = ReceiverStream::new(steps).map(|step| {
        let mut line = serde_json::to_vec(&step)?;
        line.push(b'\n');
        Ok::<_, BoxError>(Bytes::from(line))
    });
    ([(header::CONTENT_TYPE, JSON_LINES)], Body::from_stream(lines)).into_response()
}
