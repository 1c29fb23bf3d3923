//! Who is let in: the ways to say who one is, what is answered to who does not, and that no secret is ever logged.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use larder_protos::asset::FetchBlobRequest;
use larder_protos::reapi::GetCapabilitiesRequest;
use larder_testkit::TestServer;
use tempfile::TempDir;
use tonic::Code;
use tonic::metadata::MetadataValue;

use crate::client::metric;
use crate::origin_server::OriginServer;

const ABSENT: &str = "/cas/1111111111111111111111111111111111111111111111111111111111111111";

/// Tokens; `alice` has a password.
pub(crate) const READER: &str = "reader-2b9f1c0d7a5e4f83";
pub(crate) const WRITER: &str = "writer-b1946ac92492d234";
pub(crate) const ADMIN: &str = "admin-e2fc714c4727ee93";
const PASSWORD: &str = "correct horse battery";
/// Made by `larder hash-credential`.
const PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$iTT4Q0a6VvLMJqVDYZvw7A$nAHIokdVjWqCgPF8MzLHkdYgYokzUD/vx/F0qfNsX8A";
pub(crate) const CREDENTIALS: &str = "\
    reader read token sha256:@READER@\n\
    writer write token sha256:@WRITER@\n\
    boss admin token sha256:@ADMIN@\n\
    alice write password @PASSWORD@ # a comment\n\
    ci write certificate URI:spiffe://example.org/ci\n";

/// The credentials as a file, and the setting that names it.
pub(crate) struct File {
    directory: TempDir,
}

impl File {
    pub(crate) fn new() -> Self {
        let file = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        file.write(CREDENTIALS);
        file
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("credentials")
    }

    /// Fills the hashes in.
    pub(crate) fn write(&self, text: &str) {
        let mut text = text.to_owned();
        for (name, token) in [("@READER@", READER), ("@WRITER@", WRITER), ("@ADMIN@", ADMIN)] {
            let hash =
                larder_protos::Digest::of(larder_protos::DigestFunction::Sha256, token.as_bytes());
            text = text.replace(name, &hash.hash().to_string());
        }
        text = text.replace("@PASSWORD@", PASSWORD_HASH);
        std::fs::write(self.path(), text).expect("written");
    }

    pub(crate) async fn server(&self, more: &[(&str, &str)]) -> TestServer {
        let path = self.path().display().to_string();
        let mut settings = vec![("auth.credentials_file", path.as_str())];
        settings.extend(more);
        TestServer::start_with(&settings).await
    }
}

fn basic(user: &str, password: &str) -> String {
    // 3 bytes are 4 letters, by hand: a test that encodes with the server's own crate proves less.
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::from("Basic ");
    for three in format!("{user}:{password}").as_bytes().chunks(3) {
        let number = three.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        let number = number << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place)) & 63];
            encoded.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    encoded
}

async fn get(server: &TestServer, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = Request::get(ABSENT);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.http(request.body(Bytes::new()).expect("a request")).await.status()
}

#[tokio::test]
async fn there_are_many_ways_to_say_who_one_is() {
    let file = File::new();
    let server = file.server(&[("auth.header", "x-api-key")]).await;
    for secret in [READER, WRITER, PASSWORD, "wrong-secret-0123"] {
        server.log().forbid(secret);
        server.log().forbid(basic("alice", secret).trim_start_matches("Basic "));
    }
    let bearer = format!("Bearer {READER}");
    let (absent, refused) = (StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED);
    for (headers, expect) in [
        (&[][..], refused),
        (&[("authorization", bearer.as_str())], absent),
        (&[("authorization", "Bearer wrong-secret-0123")], refused),
        (&[("authorization", "Negotiate wrong-secret-0123")], refused),
        (&[("authorization", &basic("reader", READER))], absent),
        (&[("authorization", &basic("writer", READER))], refused),
        (&[("authorization", &basic("alice", PASSWORD))], absent),
        (&[("authorization", &basic("alice", PASSWORD))], absent),
        (&[("authorization", &basic("alice", "wrong-secret-0123"))], refused),
        (&[("authorization", &basic("nobody", PASSWORD))], refused),
        (&[("x-api-key", READER)], absent),
        (&[("x-api-key", "wrong-secret-0123")], refused),
        (&[("x-other-key", READER)], refused),
    ] {
        assert_eq!(get(&server, headers).await, expect, "{headers:?}");
    }
    let authority = |user_info: &str| format!("http://{user_info}@{}{ABSENT}", server.address());
    let password = PASSWORD.replace(' ', "%20");
    assert_eq!(server.http2_get(&authority(&format!("reader:{READER}"))).await, absent);
    assert_eq!(server.http2_get(&authority(&format!("alice:{password}"))).await, absent);
    assert_eq!(server.http2_get(&authority("reader:wrong-secret-0123")).await, refused);
    assert_eq!(server.log().leaks(), [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_says_how_to_come_in() {
    let file = File::new();
    let server = file.server(&[]).await;
    let answer = server.http(Request::get(ABSENT).body(Bytes::new()).expect("a request")).await;
    let schemes: Vec<_> = answer.headers().get_all(WWW_AUTHENTICATE).iter().collect();
    assert!(schemes.iter().any(|scheme| scheme.as_bytes().starts_with(b"Basic ")), "{schemes:?}");
    assert!(schemes.iter().any(|scheme| scheme.as_bytes().starts_with(b"Bearer ")), "{schemes:?}");
    let request = Request::put(ABSENT).header(AUTHORIZATION, format!("Bearer {READER}"));
    let answer = server.http(request.body(Bytes::new()).expect("a request")).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.body(), "reader has the role read, and this needs write\n");
    assert_eq!(answer.headers().get(WWW_AUTHENTICATE), None);
    assert_eq!(metric(&server, "larder_auth_refusals_total{reason=\"missing\"}").await, 1);
    assert_eq!(metric(&server, "larder_auth_refusals_total{reason=\"denied\"}").await, 1);
    server.stop().await;
}

async fn update_enabled(server: &TestServer, token: Option<&str>) -> Result<bool, Code> {
    let mut request = tonic::Request::new(GetCapabilitiesRequest::default());
    if let Some(token) = token {
        let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("a value");
        request.metadata_mut().insert("authorization", value);
    }
    let answer = server.capabilities().get_capabilities(request).await;
    let capabilities = answer.map_err(|status| status.code())?.into_inner().cache_capabilities;
    let capabilities = capabilities.expect("capabilities of the cache");
    let updates = capabilities.action_cache_update_capabilities.expect("of the action cache");
    Ok(updates.update_enabled)
}

#[tokio::test]
async fn who_is_refused_amid_an_upload_learns_why() {
    let file = File::new();
    let server = file.server(&[]).await;
    let chunks = vec![Bytes::from(vec![7; 1 << 20]); 20];
    assert_eq!(server.http_chunked("PUT", ABSENT, chunks.clone()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(server.http2_chunked("PUT", ABSENT, chunks).await, StatusCode::UNAUTHORIZED);
    server.stop().await;
}

#[tokio::test]
async fn capabilities_are_the_callers() {
    let file = File::new();
    let server = file.server(&[("auth.anonymous", "read")]).await;
    assert_eq!(update_enabled(&server, None).await, Ok(false));
    assert_eq!(update_enabled(&server, Some(READER)).await, Ok(false));
    assert_eq!(update_enabled(&server, Some(WRITER)).await, Ok(true));
    assert_eq!(update_enabled(&server, Some(ADMIN)).await, Ok(true));
    // Who says that he is somebody is not taken for anybody.
    assert_eq!(update_enabled(&server, Some("wrong")).await, Err(Code::Unauthenticated));
    assert_eq!(get(&server, &[]).await, StatusCode::NOT_FOUND);
    let put = Request::put(ABSENT).body(Bytes::new()).expect("a request");
    assert_eq!(server.http(put).await.status(), StatusCode::UNAUTHORIZED);
    server.stop().await;
}

#[tokio::test]
async fn guesses_are_limited_and_who_knows_is_not_held_up() {
    let file = File::new();
    let server = file.server(&[]).await;
    let mut refused = 0;
    while get(&server, &[("authorization", "Bearer wrong")]).await == StatusCode::UNAUTHORIZED {
        refused += 1;
        assert!(refused < 500, "no limit");
    }
    assert!(refused >= 50, "{refused}");
    let bearer = format!("Bearer {READER}");
    assert_eq!(get(&server, &[("authorization", &bearer)]).await, StatusCode::NOT_FOUND);
    assert!(metric(&server, "larder_auth_refusals_total{reason=\"too_many\"}").await >= 1);
    server.stop().await;
}

#[tokio::test]
async fn a_changed_file_is_taken_over_and_a_wrong_one_is_not() {
    let file = File::new();
    let server = file.server(&[]).await;
    let reloads = "larder_credentials_reloads_total{outcome=";
    let until = async |outcome: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while metric(&server, &format!("{reloads}\"{outcome}\"}}")).await == 0 {
            assert!(Instant::now() < deadline, "never {outcome}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let bearer = format!("Bearer {READER}");
    file.write("reader read token oops\n");
    until("refused").await;
    assert_eq!(get(&server, &[("authorization", &bearer)]).await, StatusCode::NOT_FOUND);
    file.write("boss admin token sha256:@ADMIN@\n");
    until("replaced").await;
    assert_eq!(get(&server, &[("authorization", &bearer)]).await, StatusCode::UNAUTHORIZED);
    server.stop().await;
}

#[tokio::test]
async fn only_who_may_write_has_origins_asked() {
    let file = File::new();
    let origin = OriginServer::start(b"from the origin").await;
    let allow = origin.address().to_string();
    let settings = [
        ("fetch.enabled", "true"),
        ("fetch.allow", allow.as_str()),
        ("fetch.allow_addresses", "127.0.0.0/8"),
        ("fetch.unchecked", "true"),
    ];
    let server = file.server(&settings).await;
    let fetch = async |token: &str| {
        let message = FetchBlobRequest {
            uris: vec![format!("http://{allow}/blob")],
            ..FetchBlobRequest::default()
        };
        let mut request = tonic::Request::new(message);
        let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("a value");
        request.metadata_mut().insert("authorization", value);
        let answer = server.fetch().fetch_blob(request).await;
        answer.map(|answer| answer.into_inner().status.map(|status| status.code))
    };
    assert_eq!(fetch(READER).await.map_err(|status| status.code()), Err(Code::PermissionDenied));
    assert_eq!(fetch(WRITER).await.map_err(|status| status.code()), Ok(Some(0)));
    // What is here needs no origin.
    assert_eq!(fetch(READER).await.map_err(|status| status.code()), Ok(Some(0)));
    server.stop().await;
}

#[tokio::test]
async fn a_burst_with_a_password_is_hashed_once() {
    let file = File::new();
    let server = file.server(&[]).await;
    let authorization = basic("alice", PASSWORD);
    let headers = [("authorization", authorization.as_str())];
    let calls = (0..100).map(|_| get(&server, &headers));
    // More than may guess: who is right takes no guesses.
    let mut answers = String::new();
    for status in futures_util::future::join_all(calls).await {
        write!(answers, "{} ", status.as_u16()).expect("a string takes all");
    }
    assert_eq!(answers, "404 ".repeat(100));
    server.stop().await;
}
