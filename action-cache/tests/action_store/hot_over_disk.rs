//! The hot tier of action results over a real engine: what is gone there is gone.

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
