//! A server that is told to end while it still reads what it stores.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use larder_disk::{DirEntry, DirLock, Io, IoFile, OpenMode, RealIo};
use larder_testkit::TestServer;
use parking_lot::{Condvar, Mutex};

use crate::client::{read, sample, store};

const FILES: usize = 12;
/// Long beside all else that this test does.
const OPENING_TAKES: Duration = Duration::from_millis(400);

/// Real files, of which the engine's loader opens each so slowly, and how many it has opened.
#[derive(Default, Debug)]
struct SlowIo {
    opened: AtomicUsize,
}

impl Io for SlowIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        let is_file_of_blob = path.ancestors().any(|dir| dir.ends_with("blobs"));
        if is_file_of_blob && std::thread::current().name() == Some("disk-loader") {
            Condvar::new().wait_for(&mut Mutex::new(()).lock(), OPENING_TAKES);
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        RealIo.open(path, mode)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealIo.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealIo.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealIo.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealIo.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        RealIo.lock(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealIo.free_bytes(path)
    }
    fn unix_ms(&self) -> u64 {
        RealIo.unix_ms()
    }
    fn salt(&self) -> u64 {
        RealIo.salt()
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_until_all_is_read() {
    let server = TestServer::start().await;
    let mut digests = Vec::new();
    for number in 0..FILES {
        digests.push(store(&server, &sample((2 << 20) + number)).await);
    }
    let directory = server.stop().await;
    std::fs::remove_dir_all(directory.path().join("index")).expect("there is an index");

    let io = Arc::new(SlowIo::default());
    let slow: Arc<dyn Io> = Arc::<SlowIo>::clone(&io);
    let server = TestServer::start_in_on(directory, slow, &[]).await;
    // A thread waits for all of it, and the stop for that thread, though whoever gave the order is gone.
    let purge = Request::post("/admin/v1/purge").header("content-type", "application/json");
    let purge = purge.body(Bytes::from_static(b"{\"everything\":true}")).expect("a request");
    let answer = tokio::time::timeout(OPENING_TAKES, server.admin_request(purge)).await;
    assert!(answer.is_err(), "{answer:?}");
    let directory = server.stop().await;
    let opened = io.opened.load(Ordering::Relaxed);
    assert!(opened < FILES, "all {opened} files were read first");

    let server = TestServer::start_in_on(directory, Arc::new(RealIo), &[]).await;
    for digest in digests {
        read(&server, digest).await.expect("still there");
    }
    server.stop().await;
}
