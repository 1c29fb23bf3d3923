//! A server that asks who calls and speaks TLS, for the metrics that only such a one has.

use std::fs;
use std::path::Path;

use larder_testkit::TestServer;
use tempfile::TempDir;

use crate::page::Page;

/// A certificate of the tests of the service.
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service/tls");

/// The page of one that nobody has called.
async fn page() -> Page {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = start(&directory).await;
    let page = Page::of(&server).await;
    server.stop().await;
    page
}

async fn start(directory: &TempDir) -> TestServer {
    let credentials = directory.path().join("credentials");
    fs::write(&credentials, "# Nobody.\n").expect("written");
    let [cert, key] = ["server.pem", "server.key"].map(|name| Path::new(TLS).join(name));
    let files = [&credentials, &cert, &key].map(|path| path.to_str().expect("a plain path"));
    let keys = ["auth.credentials_file", "tls.cert_file", "tls.key_file"];
    let settings: Vec<_> = keys.into_iter().zip(files).collect();
    TestServer::start_with(&settings).await
}

impl Page {
    /// With the families that only a server has which asks who calls and speaks TLS.
    pub(crate) async fn with_guarded(mut self) -> Self {
        let Self { families, series } = page().await;
        let more = families.into_iter().filter(|(name, _)| !self.families.contains_key(name));
        let more: Vec<_> = more.collect();
        assert!(more.len() >= 4, "{more:?}");
        self.families.extend(more);
        for (name, value) in series {
            self.series.entry(name).or_insert(value);
        }
        self
    }
}
