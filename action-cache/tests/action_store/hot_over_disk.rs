//! The hot tier of action results over a real engine: what is gone there is gone, and memory that is taken away costs nothing but reads.

use std::sync::Arc;

use larder_action_cache::{ActionEntry, ActionKey, ActionStore};
use larder_cas::{Keyspace, RequestCx, blocking};
use larder_disk::RecordKey;
use larder_protos::reapi::ActionResult;
use larder_protos::{Digest, DigestFunction};

use crate::fixture::Fixture;

const CX: RequestCx = RequestCx::RAW;

fn key(name: &[u8]) -> ActionKey {
    let keyspace = Keyspace::new("").expect("a short name");
    let action = *Digest::of(DigestFunction::Sha256, name).hash();
    ActionKey { keyspace: keyspace.clone(), blobs: keyspace, action }
}

#[tokio::test]
async fn a_result_that_went_behind_is_not_served_from_memory() {
    let fixture = Fixture::new();
    let hot = fixture.hot_actions();
    let (key, other) = (key(b"action"), key(b"other"));
    let entry =
        ActionEntry::new(DigestFunction::Sha256, ActionResult::default()).expect("well formed");
    for key in [&key, &other] {
        hot.put(&CX, key, entry.clone()).await.expect("stored");
        assert!(hot.get(&CX, key).await.expect("an answer").is_some());
        assert!(hot.get(&CX, key).await.expect("an answer").is_some());
    }
    let engine = Arc::clone(&fixture.engine);
    let removed = RecordKey::action_result(&key.keyspace, &key.action);
    let removed = blocking::run(move || engine.remove(&removed)).await.expect("a runtime");
    assert!(removed.expect("removed"), "it was there");
    assert!(hot.get(&CX, &key).await.expect("an answer").is_none());
    assert!(hot.get(&CX, &other).await.expect("an answer").is_some());
}

#[tokio::test]
async fn under_a_lower_limit_the_coldest_go_and_all_are_served() {
    let fixture = Fixture::new();
    let hot = fixture.hot_actions();
    let keys: Vec<_> = (0..40_u8).map(|number| key(&[number])).collect();
    for (exit_code, key) in (0..).zip(&keys) {
        let result = ActionResult { exit_code, ..ActionResult::default() };
        let entry = ActionEntry::new(DigestFunction::Sha256, result).expect("well formed");
        hot.put(&CX, key, entry).await.expect("stored");
    }
    let exit_code = async |key| {
        let found = hot.get(&CX, key).await.expect("an answer");
        found.expect("stored").result().exit_code
    };
    for (expect, key) in (0..).zip(&keys) {
        assert_eq!(exit_code(key).await, expect);
    }
    for key in &keys[7..10] {
        exit_code(key).await;
    }
    let full = hot.stats();
    assert_eq!((full.entries, full.hits, full.misses, full.evictions), (40, 3, 40, 0));
    let limit_bytes = full.bytes / 2;
    hot.set_limit(limit_bytes);
    let shrunk = hot.stats();
    assert!(shrunk.bytes <= limit_bytes && shrunk.limit_bytes == limit_bytes, "{shrunk:?}");
    assert_eq!(shrunk.evictions, 40 - shrunk.entries);
    for (expect, key) in (0..).zip(&keys) {
        assert_eq!(exit_code(key).await, expect);
    }
    let served = hot.stats();
    assert!(served.hits >= full.hits + 3, "the warmest were still there: {served:?}");
    assert!(served.bytes <= limit_bytes, "{served:?}");
    hot.set_limit(u64::MAX);
    assert_eq!(hot.stats().limit_bytes, hot.stats().capacity_bytes);
}
