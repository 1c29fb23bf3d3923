//! Spans, as a collector gets them.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use larder_protos::asset::{FetchBlobRequest, PushBlobRequest};
use larder_protos::reapi;
use larder_protos::services::fetch_client::FetchClient;
use larder_protos::services::push_client::PushClient;
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use tokio::runtime::Builder;
use tonic::transport::Channel;

use crate::collector::{CA_FILE, Collector, Speaks, text};
use crate::larder::{HELLO, Larder};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}\r\n")
}

fn endpoint(collector: &Collector, protocol: &str, ratio: &str) -> Vec<String> {
    let address = collector.address;
    vec![
        format!("--traces-endpoint=http://{address}"),
        format!("--traces-protocol={protocol}"),
        format!("--traces-sample-ratio={ratio}"),
    ]
}

fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The names from a request's span down to the deepest one that each next is in.
fn chain<'a>(spans: &'a [Span], first: &'a Span) -> Vec<&'a str> {
    let mut chain = vec![first.name.as_str()];
    let mut last = first;
    while let Some(next) = spans.iter().find(|span| span.parent_span_id == last.span_id) {
        chain.push(&next.name);
        last = next;
    }
    chain
}

fn check_sampled_by_the_client(speaks: Speaks, protocol: &str) {
    let collector = Collector::start(speaks);
    let mut larder = Larder::start(&endpoint(&collector, protocol, "0"));
    assert_eq!(larder.put_hello(&traceparent("01")), 200);
    assert_eq!(larder.get(&format!("/ac/{HELLO}"), &traceparent("01")), 404);
    // Neither its client nor the ratio wants this one.
    assert_eq!(larder.put_hello(&traceparent("00")), 200);
    assert_eq!(larder.put_hello(""), 200);
    // The end sends what is left.
    assert_eq!(larder.stop().0, Some(0));
    let spans = collector.spans(2);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:#?}");
    let requests: Vec<_> =
        spans.iter().filter(|span| hex(&span.parent_span_id) == PARENT).collect();
    let names: Vec<_> = requests.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["http/PUT", "http/GET"]);
    let [put, get] = requests[..] else { unreachable!("two names") };
    assert_eq!(put.kind, span::SpanKind::Server as i32);
    for (span, key, expect) in [
        (put, "rpc.method", "http/PUT"),
        (put, "rpc.response.status_code", "OK"),
        (put, "larder.instance", ""),
        (put, "larder.digest", HELLO),
        (get, "rpc.response.status_code", "NOT_FOUND"),
    ] {
        assert_eq!(text(&span.attributes, key), Some(expect), "{key} of {span:#?}");
    }
    assert_eq!(chain(&spans, get), ["http/GET", "ac", "ac.complete", "ac.hot", "ac.disk"]);
    let put_chain = chain(&spans, put);
    assert_eq!(put_chain[..2], ["http/PUT", "cas"], "{put_chain:?}");
    for span in &spans {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        let tier = span.name.starts_with("ac") || span.name.starts_with("cas");
        assert_eq!(text(&span.attributes, "outcome").is_some(), tier, "{span:#?}");
    }
}

#[test]
fn over_grpc() {
    check_sampled_by_the_client(Speaks::Grpc, "grpc");
}

#[test]
fn over_http() {
    check_sampled_by_the_client(Speaks::Http, "http");
}

/// To one whose certificate an authority of ours has signed, or of whom nobody knows.
fn over_tls(collector: &Collector, protocol: &str) -> Vec<String> {
    vec![
        format!("--traces-endpoint=https://localhost:{}", collector.address.port()),
        format!("--traces-protocol={protocol}"),
        sampled_all(),
    ]
}

#[test]
fn over_tls_to_whom_is_trusted_alone() {
    for (speaks, protocol) in [(Speaks::GrpcOverTls, "grpc"), (Speaks::HttpOverTls, "http")] {
        let collector = Collector::start(speaks);
        let stranger = over_tls(&collector, protocol);
        let trusted = [&stranger[..], &[format!("--traces-ca-file={CA_FILE}")]].concat();
        let mut larder = Larder::start(&stranger);
        assert_eq!(larder.put_hello(""), 200);
        let refused = larder.event("the collector takes no spans");
        assert!(refused["failure"].to_string().contains("UnknownIssuer"), "{protocol}: {refused}");
        assert_eq!(larder.stop().0, Some(0));
        assert!(collector.is_empty(), "{protocol}");

        let mut larder = Larder::start(&trusted);
        assert_eq!(larder.put_hello(""), 200);
        assert_eq!(larder.stop().0, Some(0));
        let spans = collector.spans(1);
        assert!(spans.iter().any(|span| span.name == "http/PUT"), "{protocol}: {spans:#?}");
    }
}

#[test]
fn why_a_collector_takes_nothing_is_said() {
    for protocol in ["grpc", "http"] {
        let away = [
            "--traces-endpoint=http://127.0.0.1:1".to_owned(),
            format!("--traces-protocol={protocol}"),
            sampled_all(),
        ];
        let mut larder = Larder::start(&away);
        assert_eq!(larder.put_hello(""), 200);
        let refused = larder.event("the collector takes no spans");
        assert!(refused["failure"].to_string().contains("Connection refused"), "{refused}");
    }
}

#[test]
fn authorities_that_cannot_be_read_are_said() {
    let collector = Collector::start(Speaks::GrpcOverTls);
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command
        .args(["serve", "--traces-ca-file=/nonexistent/ca.pem"])
        .args(over_tls(&collector, "grpc"));
    let output = command.env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let expect = "traces.ca_file: /nonexistent/ca.pem: No such file or directory (os error 2)\n";
    assert_eq!(stderr, expect);
}

#[test]
fn the_ratio_samples_whose_clients_do_not_decide() {
    let collector = Collector::start(Speaks::Grpc);
    let mut larder = Larder::start(&endpoint(&collector, "grpc", "1"));
    assert_eq!(larder.put_hello(""), 200);
    assert_eq!(larder.stop().0, Some(0));
    let spans = collector.spans(1);
    let request = spans.iter().find(|span| span.name == "http/PUT").expect("it is sampled");
    assert!(request.parent_span_id.is_empty(), "{request:#?}");
}

#[test]
fn nothing_is_sent_where_nothing_is_sampled() {
    let collector = Collector::start(Speaks::Grpc);
    let mut larder = Larder::start(&endpoint(&collector, "grpc", "0"));
    assert_eq!(larder.put_hello(""), 200);
    assert_eq!(larder.stop().0, Some(0));
    assert!(collector.is_empty());
}

#[test]
fn a_collector_that_does_not_answer_stops_neither_requests_nor_the_end() {
    // It accepts, as the kernel does, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let arguments = [format!("--traces-endpoint=http://{address}"), sampled_all()];
    let mut larder = Larder::start(&arguments);
    // A request has several spans, and 4,096 wait at most.
    for _ in 0..2500 {
        assert_eq!(larder.put_hello(""), 200);
    }
    assert!(larder.metric("larder_otlp_dropped_spans_total") > 0);
    assert!(larder.metric("larder_otlp_spans_total") > 0);
    let (code, within) = larder.stop();
    assert_eq!(code, Some(0));
    assert!(within < Duration::from_secs(10), "{within:?}");
}

fn sampled_all() -> String {
    "--traces-sample-ratio=1".to_owned()
}

#[test]
fn remote_assets_say_whose_they_are() {
    let collector = Collector::start(Speaks::Grpc);
    let mut larder = Larder::start(&endpoint(&collector, "grpc", "1"));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Channel::from_shared(format!("http://{}", larder.address)).unwrap();
        let channel = channel.connect().await.unwrap();
        let (instance_name, uris) = ("main".to_owned(), vec!["urn:x".to_owned()]);
        let push = PushBlobRequest {
            instance_name: instance_name.clone(),
            uris: uris.clone(),
            blob_digest: Some(reapi::Digest { hash: HELLO.to_owned(), size_bytes: 5 }),
            ..PushBlobRequest::default()
        };
        // Nobody has stored what it names.
        PushClient::new(channel.clone()).push_blob(push).await.unwrap_err();
        let fetch = FetchBlobRequest { instance_name, uris, ..FetchBlobRequest::default() };
        FetchClient::new(channel).fetch_blob(fetch).await.unwrap();
    });
    // With it goes the connection, which a drain would wait for.
    drop(runtime);
    assert_eq!(larder.stop().0, Some(0));
    let spans = collector.spans(2);
    let of = |name: &str| spans.iter().find(|span| span.name == name).expect("it is sampled");
    for (name, key, expect) in [
        ("Push/PushBlob", "larder.instance", "main"),
        ("Push/PushBlob", "larder.digest", &format!("{HELLO}/5")),
        ("Fetch/FetchBlob", "larder.instance", "main"),
    ] {
        assert_eq!(text(&of(name).attributes, key), Some(expect), "{key} of {name}");
    }
}
