//! What fuzzing asks of the edge's parsers and of the configuration: any bytes are read or refused without a panic.
//!
//! Each function takes the bytes that a fuzzer made up and panics where a promise is broken. `fuzz/` runs them under
//! libFuzzer, `testkit/tests/fuzzing.rs` as property tests.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::config::{ByteSize, Config, DiskRoom, Machine, Sources};
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
    };
    match Config::check(sources, &machine) {
        Ok(config) => assert!(!config.settings().is_empty()),
        Err(problems) => {
            assert!(problems.0.iter().all(|problem| !problem.to_string().is_empty()));
            assert!(!problems.0.is_empty(), "a refusal without a reason");
        }
    }
}
