//! [`Claims`]: who is about to store what may be stored only once.

use std::collections::HashSet;

use larder_action_cache::ActionKey;
use parking_lot::Mutex;

/// The keys that are being stored. There are as many as requests in progress, at most.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Guards one look-up or change.
    taken: Mutex<HashSet<ActionKey>>,
}

/// The right to store one key, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    claims: &'a Claims,
    key: ActionKey,
}

impl Claims {
    /// The claim to `key`, unless another has it.
    pub(super) fn take(&self, key: &ActionKey) -> Option<Claim<'_>> {
        let is_new = self.taken.lock().insert(key.clone());
        is_new.then(|| Claim { claims: self, key: key.clone() })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.claims.taken.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::EntryName;
    use super::*;

    #[test]
    fn one_at_a_time_has_the_claim() {
        let claims = Claims::default();
        let name = |key| EntryName::new("nx", "", key).expect("a good name");
        let first = claims.take(name("a").key()).expect("free");
        assert!(claims.take(name("a").key()).is_none());
        assert!(claims.take(name("b").key()).is_some());
        drop(first);
        assert!(claims.take(name("a").key()).is_some());
        assert!(claims.taken.lock().is_empty());
    }
}
