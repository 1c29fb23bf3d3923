//! `larder verify` from outside: its lines, its exit codes, and the server that serves what is left.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use larder_disk::{Content, Durability, Engine, EngineOptions, Keyspace, RealIo, RecordKey};
use larder_protos::{Digest, DigestFunction};

fn open(data_dir: &Path) -> Engine {
    let options = EngineOptions {
        data_dir: data_dir.to_owned(),
        max_size_bytes: 64 << 20,
        durability: Durability::Interval(Duration::from_millis(20)),
        zstd_level: 1,
        index_cache_bytes: 1 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
        eviction: larder_disk::EvictionPolicy::Lru,
        min_free_disk_bytes: 0,
    };
    let engine = Engine::open(options, Arc::new(RealIo)).unwrap();
    engine.wait_loaded();
    engine
}

fn put(engine: &Engine, content: &[u8]) -> RecordKey {
    let digest = Digest::of(DigestFunction::Sha256, content);
    let key = RecordKey::blob(&Keyspace::new("").unwrap(), &digest);
    engine.append(&key, Content::Raw(content)).unwrap().wait().unwrap();
    key
}

fn verify(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("verify").arg("--data-dir").arg(data_dir).args(arguments).env_clear();
    command.output().unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(out.contains(stdout), "{stdout:?} is not in {out}");
    assert!(err.contains(stderr), "{stderr:?} is not in {err}");
}

fn pack(data_dir: &Path) -> PathBuf {
    data_dir.join("packs/00000001.pack")
}

#[test]
fn says_what_is_wrong_mends_it_and_says_that_it_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let (good, bad) = (put(&engine, b"good"), put(&engine, b"going to be bad"));
    check(&verify(dir.path(), &[]), 1, "", "is in use by another process");
    drop(engine);
    check(&verify(dir.path(), &[]), 0, "2 records and 0 removals in 1 packs and 0 blob files", "");

    let mut bytes = std::fs::read(pack(dir.path())).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(pack(dir.path()), &bytes).unwrap();
    std::fs::write(dir.path().join("packs/README"), "not Larder's").unwrap();
    let output = verify(dir.path(), &[]);
    check(&output, 1, &format!("{bad}: the checksum of frame 0"), "is not sound");
    check(&output, 1, "packs/README: no name that Larder gives\n", "");
    check(&output, 1, "\nnot sound: --repair mends it\n", "");
    check(&verify(dir.path(), &["--repair"]), 0, "1 mended\n", "");
    check(&verify(dir.path(), &[]), 0, "\nsound\n", "");
    let engine = open(dir.path());
    assert!(engine.contains(&good) && !engine.contains(&bad));
    assert!(dir.path().join("packs/README").exists());
}

#[test]
fn refuses_what_is_no_data_directory_and_wrong_use() {
    let dir = tempfile::tempdir().unwrap();
    check(&verify(dir.path(), &["--repair"]), 1, "", "it is no data directory");
    check(&verify(&dir.path().join("absent"), &[]), 1, "", "No such file");
    check(&verify(dir.path(), &["--mend"]), 2, "", "unexpected argument");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
