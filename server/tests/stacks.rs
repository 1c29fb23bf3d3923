//! The stacks that a server runs with pass the suites that every store must pass.

use std::num::NonZeroUsize;
use std::sync::Arc;

use larder_disk::RealIo;
use larder_server::compose::{self, Stacks};
use larder_server::config::{ByteSize, Config, Machine, Origin, Sources};
use prometheus_client::registry::Registry;
use tempfile::TempDir;

/// What `compose::build` makes of the defaults over an empty directory, which is removed at the end.
fn stacks() -> (Stacks, TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut sources = Sources::default();
    sources.set(Origin::Flag, "data_dir", directory.path().display().to_string());
    sources.set(Origin::Flag, "max_size", "1GiB");
    let machine = Machine {
        cores: NonZeroUsize::new(2).expect("two"),
        memory: ByteSize::gib(1),
        cache_dir: None,
        disk_room: |_| None,
        disk_size: |_| None,
    };
    let config = Config::check(sources, &machine).unwrap_or_else(|problems| panic!("{problems}"));
    let built = compose::build(&config, Arc::new(RealIo), &mut Registry::default());
    (built.expect("an empty directory opens"), directory)
}

#[tokio::test]
async fn the_stack_of_blobs() {
    let (stacks, _directory) = stacks();
    let shown = stacks.blobs.to_string();
    assert!(shown.starts_with("metered(guarded(hot "), "{shown}");
    larder_cas::conformance::check_all(Arc::clone(&stacks.blobs)).await;
}

#[tokio::test]
async fn the_stack_of_action_results() {
    let (stacks, _directory) = stacks();
    let shown = stacks.actions.to_string();
    assert!(shown.starts_with("metered(complete(hot "), "{shown}");
    larder_action_cache::conformance::check_all(Arc::clone(&stacks.actions)).await;
}
