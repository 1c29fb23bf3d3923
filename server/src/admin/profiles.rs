//! `/debug/pprof/…`: where the CPU goes, while the setting `debug_profiles` is on. The paths are those that pprof's users know.

use std::error::Error as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Admin;
use crate::profile::{Profile, ProfileError};

/// As elsewhere where pprof is served.
const SECONDS_DEFAULT: u64 = 30;

/// Why a request gets no profile.
enum Refused {
    Off,
    Seconds,
    Profile(ProfileError),
    Compression(std::io::Error),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, text) = match self {
            Self::Off => (StatusCode::NOT_FOUND, "profiles are off: set debug_profiles".to_owned()),
            Self::Seconds => (StatusCode::BAD_REQUEST, "seconds is no number".to_owned()),
            Self::Profile(error @ ProfileError::Length { .. }) => {
                (StatusCode::BAD_REQUEST, error.to_string())
            }
            Self::Profile(error @ ProfileError::Busy) => (StatusCode::CONFLICT, error.to_string()),
            Self::Profile(error @ ProfileError::Ending) => {
                (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            Self::Profile(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                tracing::warn!(%error, cause, "no profile");
                (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}{cause}"))
            }
            Self::Compression(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        (code, format!("{text}\n")).into_response()
    }
}

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/debug/pprof/profile", get(profile))
        .route("/debug/pprof/flamegraph", get(flamegraph))
}

async fn profile(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Response, Refused> {
    let profile = sampled(&admin, &uri).await?.to_pprof().map_err(Refused::Compression)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"profile.pb.gz\""),
    ];
    Ok((headers, profile).into_response())
}

async fn flamegraph(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Response, Refused> {
    let picture = sampled(&admin, &uri).await?.to_flamegraph();
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], picture).into_response())
}

async fn sampled(admin: &Admin, uri: &Uri) -> Result<Profile, Refused> {
    let profiler = admin.profiler.as_ref().ok_or(Refused::Off)?;
    let mut pairs = uri.query().unwrap_or_default().split('&');
    let seconds = match pairs.find_map(|pair| pair.strip_prefix("seconds=")) {
        Some(text) => text.parse().map_err(|_| Refused::Seconds)?,
        None => SECONDS_DEFAULT,
    };
    profiler.sample(seconds).await.map_err(Refused::Profile)
}
