//! The profile of memory, which needs the binary's own allocator.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use flate2::read::GzDecoder;
use larder_protos::{Digest, DigestFunction};
use prost::Message;

use crate::running::{PATIENCE, Running, get, home};

/// Of pprof's `Profile`, what is looked at here.
#[derive(Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
}

#[derive(Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    locations: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
}

const BLOBS: usize = 400;
const BLOB_BYTES: usize = 100_000;

/// Stores blobs that differ, and so fill the memory in front of the disk.
fn fill(address: SocketAddr) {
    for number in 0..BLOBS {
        let blob: Vec<u8> = (0..BLOB_BYTES)
            .map(|at| (at.wrapping_mul(at ^ number) >> 3).to_le_bytes()[0])
            .collect();
        let hash = Digest::of(DigestFunction::Sha256, &blob).hash().to_string();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("PUT /cas/{hash} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        write!(head, "content-length: {BLOB_BYTES}\r\n\r\n").unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&blob).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// The body of a GET.
fn body(address: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..end]));
    answer.split_off(end + 4)
}

#[test]
fn memory_is_told_by_who_has_allocated_it() {
    let home = home();
    let running = Running::start(&home, &["--debug-profiles", "--hot-capacity=64MiB"]);
    fill(running.address);
    let mut bytes = Vec::new();
    let gzip = body(running.admin, "/debug/pprof/heap");
    GzDecoder::new(&gzip[..]).read_to_end(&mut bytes).unwrap();
    let Profile { samples, strings } = Profile::decode(&bytes[..]).unwrap();
    let total: i64 = samples.iter().map(|sample| sample.values[0]).sum();
    let stored = i64::try_from(BLOBS * BLOB_BYTES).unwrap();
    // An estimate from some twenty samples.
    assert!((stored / 3..4 * stored + (64 << 20)).contains(&total), "{total} B in use");
    assert!(samples.iter().any(|sample| sample.locations.len() > 5), "whole stacks");
    let of = |part: &str| strings.iter().any(|name| name.contains(part));
    assert!(of("larder_server::") && of("larder_cas::"), "{strings:?}");
    for own in ["_rjem_", "do_rallocx", "prof_backtrace", "__rust_alloc"] {
        assert!(!of(own), "the allocator does not stand in its profile: {strings:?}");
    }
    let (_, picture) = get(running.admin, "/debug/pprof/heap/flamegraph", "");
    assert!(picture.contains(" in use, sampled each 2MiB</text>"), "{picture}");
}

#[test]
fn an_allocator_that_was_not_told_to_notes_nothing() {
    let home = home();
    let mut command = crate::running::larder(&home, &["serve", "--debug-profiles"]);
    command.env("_RJEM_MALLOC_CONF", "prof:false");
    let running = Running::spawn(command);
    let (code, text) = get(running.admin, "/debug/pprof/heap", "");
    assert_eq!(code, 501, "{text}");
    assert!(text.contains("_RJEM_MALLOC_CONF=prof:true"), "{text}");
}
