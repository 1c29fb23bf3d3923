//! What fuzzing asks of the edge's parsers and of the configuration: any bytes are read or refused without a panic.
//!
//! Each function takes the bytes that a fuzzer made up and panics where a promise is broken. `fuzz/` runs them under
//! libFuzzer, `testkit/tests/fuzzing.rs` as property tests.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderValue};
use url::Url;

use crate::caller::{Caller, HEADER};
use crate::config::{ByteSize, Config, DiskRoom, Machine, Sources};
use crate::fetch::{AddressRules, HostRules, Integrity, Networks, OriginHeaders};

pub use crate::edge::fuzzing::{grpc_body, http_request};

/// A configuration file: it is accepted, or every problem has a text.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut sources = Sources::default();
    sources.add_toml(Path::new("larder.toml"), text);
    let machine = Machine {
        cache_dir: Some(PathBuf::from("/home/builder/.cache")),
        cores: NonZeroUsize::MIN,
        memory: ByteSize::gib(2),
        disk_room: |_| Some(DiskRoom { free: ByteSize::gib(30), used: ByteSize::gib(10) }),
        disk_size: |_| Some(ByteSize::gib(50)),
    };
    match Config::check(sources, &machine) {
        Ok(config) => assert!(!config.settings().is_empty()),
        Err(problems) => {
            assert!(problems.0.iter().all(|problem| !problem.to_string().is_empty()));
            assert!(!problems.0.is_empty(), "a refusal without a reason");
        }
    }
}

/// The header that says who calls: garbage is nobody.
pub fn request_metadata(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let caller = Caller::of(&HeaderMap::from_iter([(HEADER.clone(), value)]));
    assert!(caller.tool().index() < crate::caller::Tool::COUNT, "a known label");
    drop(caller.span(None));
}

/// What a client asks of an origin, a line each: `checksum.sri`, a URL, a qualifier and its value; then, as settings have
/// them, hosts and networks; and in the first bytes an address.
pub fn origin(data: &[u8]) {
    if let Some(address) = data.first_chunk::<16>() {
        let address = Ipv6Addr::from(*address);
        let rules = AddressRules::default();
        if let Some(short) = address.to_ipv4_mapped() {
            let (long, short) = (IpAddr::V6(address), IpAddr::V4(short));
            assert_eq!(rules.forbidden(long), rules.forbidden(short), "{address}");
        }
        let is_local = address.is_loopback() || address.is_multicast() || address.is_unspecified();
        assert!(!is_local || rules.forbidden(IpAddr::V6(address)).is_some(), "{address}");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    if let Ok(integrity) = Integrity::parse(next()) {
        let said = integrity.canonical();
        assert!(said.starts_with(integrity.function().path_segment()), "{said}");
    }
    let url = Url::parse(next());
    let mut headers = OriginHeaders::default();
    if headers.take(next(), next(), 2) == Ok(true) {
        let _ = (headers.of_uri(0), headers.of_uri(1));
    }
    if let (Some(hosts), Ok(url)) = (HostRules::parse(next()), url) {
        assert!(!hosts.is_empty() || !hosts.allow(&url), "nobody is allowed, but {url}");
    }
    let _ = Networks::parse(next());
}
