//! Which outcome a call is counted under, whoever ends it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use larder_protos::reapi::{RequestMetadata, ToolDetails};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use prost::Message as _;
use tower::{ServiceExt as _, service_fn};

use super::{BoxError, Observed, Sinks};

type TestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// What the service does with a request, by the request's path.
fn answer(path: &str) -> Response<TestBody> {
    let data = || Ok(Frame::data(Bytes::from_static(b"12345")));
    let trailers = |status: &'static str| {
        let fields =
            [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(status))];
        Ok(Frame::trailers(HeaderMap::from_iter(fields)))
    };
    let failure = || Err(BoxError::from(io::Error::other("disk")));
    let body = |frames: Vec<Result<Frame<Bytes>, BoxError>>| {
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    };
    let mut response = match path {
        "/trailers-ok" => Response::new(body(vec![data(), trailers("0")])),
        "/trailers-missing-blob" => Response::new(body(vec![trailers("5")])),
        "/no-trailers" | "/ok" => Response::new(body(vec![data()])),
        "/two" => Response::new(body(vec![data(), data()])),
        "/broken" => Response::new(body(vec![data(), failure()])),
        "/body-panics" => {
            let frames = stream::once(async { panic!("on purpose") });
            let frames = frames.map(|()| Ok(Frame::data(Bytes::new())));
            Response::new(StreamBody::new(frames).boxed_unsync())
        }
        "/headers-denied" => {
            let mut response = Response::new(body(vec![]));
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("7"));
            response
        }
        "/full" => {
            let mut response = Response::new(body(vec![]));
            *response.status_mut() = StatusCode::INSUFFICIENT_STORAGE;
            response
        }
        "/panics" => panic!("on purpose"),
        other => unreachable!("{other}"),
    };
    if path == "/two" {
        response.headers_mut().insert("content-length", HeaderValue::from_static("10"));
    }
    response
}

struct Observation {
    status: StatusCode,
    trailers: Option<HeaderMap>,
    recorded: String,
}

/// Sends a request, takes so many frames of the answer and drops the rest.
fn observe(verb: &str, path: &str, content_type: &str, frames: usize) -> Observation {
    let sinks = Sinks::default();
    let service =
        service_fn(async |request: Request<()>| Ok::<_, Infallible>(answer(request.uri().path())));
    let request = Request::builder().method(verb).uri(path).header("content-type", content_type);
    let request = request.body(()).unwrap();
    let service = Observed::new(service, sinks.clone());
    let (status, trailers) = async {
        let mut response = service.oneshot(request).await.unwrap();
        let mut trailers =
            response.headers().get("grpc-status").map(|_| response.headers().clone());
        for _ in 0..frames {
            match response.body_mut().frame().await {
                Some(Ok(frame)) => trailers = frame.into_trailers().ok().or(trailers),
                Some(Err(_)) | None => break,
            }
        }
        (response.status(), trailers)
    }
    .now_or_never()
    .expect("nothing here waits");
    let mut registry = Registry::default();
    registry.register_collector(Box::new(sinks.rpcs));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let counts = text
        .lines()
        .filter(|line| line.starts_with("larder_rpcs_total") || *line == "larder_panics_total 1");
    let recorded = counts.collect::<Vec<_>>().join("\n");
    Observation { status, trailers, recorded }
}

#[test]
fn each_call_is_counted_once_under_its_outcome() {
    const ALL: usize = 10;
    for (verb, path, content_type, frames, method, code) in [
        ("POST", "/trailers-ok", "application/grpc", ALL, "other", "OK"),
        ("POST", "/trailers-ok", "application/grpc+proto", 1, "other", "CANCELLED"),
        ("POST", "/trailers-missing-blob", "application/grpc", ALL, "other", "NOT_FOUND"),
        ("POST", "/no-trailers", "application/grpc", ALL, "other", "UNKNOWN"),
        ("POST", "/headers-denied", "application/grpc", 0, "other", "PERMISSION_DENIED"),
        ("POST", "/broken", "application/grpc", ALL, "other", "INTERNAL"),
        ("GET", "/ok", "", ALL, "http/GET", "OK"),
        ("GET", "/ok", "", 0, "http/GET", "CANCELLED"),
        // hyper stops at the length that the headers say.
        ("GET", "/two", "", 2, "http/GET", "OK"),
        ("GET", "/two", "", 1, "http/GET", "CANCELLED"),
        ("HEAD", "/two", "", 0, "http/HEAD", "OK"),
        ("PUT", "/full", "", ALL, "http/PUT", "RESOURCE_EXHAUSTED"),
        ("GET", "/broken", "", ALL, "http/GET", "INTERNAL"),
    ] {
        let expect = format!("larder_rpcs_total{{method=\"{method}\",code=\"{code}\"}} 1");
        let recorded = observe(verb, path, content_type, frames).recorded;
        assert_eq!(recorded, expect, "{verb} {path} {content_type} {frames}");
    }
}

/// What is written to the log as JSON while a request with this metadata is served.
fn logged(metadata: Option<&str>) -> serde_json::Value {
    let lines = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let writer = Lines(Arc::clone(&lines));
    let log = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let service = service_fn(async |_request: Request<()>| {
        tracing::warn!("on purpose");
        Ok::<_, Infallible>(answer("/ok"))
    });
    let mut request = Request::get("/ok").body(()).unwrap();
    if let Some(metadata) = metadata {
        let name = "build.bazel.remote.execution.v2.requestmetadata-bin";
        request.headers_mut().insert(name, metadata.parse().unwrap());
    }
    tracing::subscriber::with_default(log, || {
        let service = Observed::new(service, Sinks::default());
        service.oneshot(request).now_or_never().expect("nothing here waits").unwrap();
    });
    serde_json::from_slice(&lines.lock()).expect("one line")
}

#[derive(Clone)]
struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn log_lines_tell_whose_request_it_was() {
    let metadata = RequestMetadata {
        tool_details: Some(ToolDetails {
            tool_name: "bazel".to_owned(),
            tool_version: "9.0.1".to_owned(),
        }),
        action_id: "ab".repeat(32),
        tool_invocation_id: "b6c5".to_owned(),
        correlated_invocations_id: "d7e8".to_owned(),
        configuration_id: "k8-opt".to_owned(),
        target_id: "//lib:\nlib".to_owned(),
        action_mnemonic: "CppCompile".to_owned(),
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(metadata.encode_to_vec());
    let line = logged(Some(&encoded));
    let span = &line["span"];
    for (field, expect) in [
        ("tool", "bazel"),
        ("tool_version", "9.0.1"),
        ("action_id", &metadata.action_id),
        ("tool_invocation_id", "b6c5"),
        ("correlated_invocations_id", "d7e8"),
        ("configuration_id", "k8-opt"),
        ("target_id", "//lib:\nlib"),
        ("action_mnemonic", "CppCompile"),
    ] {
        assert_eq!(span[field], expect, "{field} in {line}");
    }
    for garbage in [None, Some("!!"), Some("////")] {
        assert_eq!(logged(garbage)["span"], serde_json::Value::Null, "{garbage:?}");
    }
}

#[test]
fn a_panic_becomes_an_answer() {
    for (path, content_type, status, grpc_status) in [
        ("/panics", "application/grpc", 200, Some("13")),
        ("/body-panics", "application/grpc", 200, Some("13")),
        ("/panics", "", 500, None),
        ("/body-panics", "", 200, None),
    ] {
        let observation = observe("PUT", path, content_type, 10);
        assert_eq!(observation.status, status, "{path}");
        let found = observation.trailers.and_then(|trailers| trailers.get("grpc-status").cloned());
        assert_eq!(found, grpc_status.map(HeaderValue::from_static), "{path}");
        let method = if content_type.is_empty() { "http/PUT" } else { "other" };
        let expect = format!(
            "larder_rpcs_total{{method=\"{method}\",code=\"INTERNAL\"}} 1\nlarder_panics_total 1"
        );
        assert_eq!(observation.recorded, expect, "{path}");
    }
}
