//! The suite that every [`ActionStore`] must pass: each tier, each decorator and the composed stack.
//!
//! Each case uses a keyspace of its own, so one store serves for all of them. A failure panics, naming the case.

use std::sync::Arc;

use futures_util::future::join_all;
use larder_cas::{Keyspace, RequestCx};
use larder_protos::{Digest, DigestFunction, reapi::ActionResult};

use crate::{ActionEntry, ActionKey, ActionStore};

const FUNCTION: DigestFunction = DigestFunction::Sha256;

/// Runs every case against `store`.
pub async fn check_all(store: Arc<dyn ActionStore>) {
    let case = |name: &str| Case {
        store: Arc::clone(&store),
        name: name.to_owned(),
        keyspace: Keyspace::new(name).expect("a short name"),
    };
    case("an absent result is a miss").absent_is_a_miss().await;
    case("what is put is got").put_is_got().await;
    case("the last put wins").last_put_wins().await;
    case("an empty result can be stored twice").empty_twice().await;
    case("keyspaces share nothing").keyspaces_share_nothing().await;
    case("concurrent puts leave one of them").concurrent_puts_leave_one().await;
}

struct Case {
    store: Arc<dyn ActionStore>,
    name: String,
    keyspace: Keyspace,
}

/// A result that names no blob, so that it is complete anywhere.
fn result(exit_code: i32) -> ActionResult {
    ActionResult { exit_code, ..ActionResult::default() }
}

impl Case {
    fn key(&self, action: &[u8]) -> ActionKey {
        let action = *Digest::of(FUNCTION, action).hash();
        ActionKey { keyspace: self.keyspace.clone(), blobs: self.keyspace.clone(), action }
    }

    async fn put(&self, key: &ActionKey, result: ActionResult) {
        let entry = ActionEntry::new(FUNCTION, result).expect("well formed");
        let put = self.store.put(&RequestCx::RAW, key, entry).await;
        put.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    async fn get(&self, key: &ActionKey) -> Option<ActionResult> {
        let found = self.store.get(&RequestCx::RAW, key).await;
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        found.map(|entry| entry.result().clone())
    }

    async fn absent_is_a_miss(&self) {
        assert_eq!(self.get(&self.key(b"never stored")).await, None, "{}", self.name);
    }

    async fn put_is_got(&self) {
        let key = self.key(b"action");
        self.put(&key, result(3)).await;
        for _ in 0..3 {
            assert_eq!(self.get(&key).await, Some(result(3)), "{}", self.name);
        }
    }

    async fn last_put_wins(&self) {
        let key = self.key(b"action");
        for exit_code in 0..20 {
            self.put(&key, result(exit_code)).await;
            assert_eq!(self.get(&key).await, Some(result(exit_code)), "{}", self.name);
        }
    }

    async fn empty_twice(&self) {
        let key = self.key(b"action");
        for _ in 0..2 {
            self.put(&key, ActionResult::default()).await;
            assert_eq!(self.get(&key).await, Some(ActionResult::default()), "{}", self.name);
        }
    }

    async fn keyspaces_share_nothing(&self) {
        let key = self.key(b"action");
        self.put(&key, result(1)).await;
        let keyspace = Keyspace::new("another keyspace").expect("a short name");
        assert_eq!(self.get(&ActionKey { keyspace, ..key }).await, None, "{}", self.name);
    }

    async fn concurrent_puts_leave_one(&self) {
        let key = self.key(b"action");
        join_all((0..8).map(|exit_code| self.put(&key, result(exit_code)))).await;
        let left = self.get(&key).await.unwrap_or_else(|| panic!("{}: gone", self.name));
        assert!((0..8).contains(&left.exit_code), "{}", self.name);
        assert_eq!(self.get(&key).await, Some(left), "{}", self.name);
    }
}
