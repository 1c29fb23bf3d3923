//! What fuzzing asks of action results and trees: any bytes are read or refused, and what was accepted names only digests
//! of its function.
//!
//! Each function takes the bytes that a fuzzer made up and panics where a promise is broken. `fuzz/` runs them under
//! libFuzzer, `testkit/tests/fuzzing.rs` as property tests.

use bytes::Bytes;
use larder_protos::DigestFunction;

use crate::ActionEntry;
use crate::named::Named;
use crate::trees;

/// An action result as a client stores it: what is accepted is kept as it came, and names only what it may.
pub fn action_result(data: &[u8]) {
    let function = DigestFunction::Sha256;
    let encoded = Bytes::copy_from_slice(data);
    let Ok(entry) = ActionEntry::parse(function, encoded.clone()) else { return };
    assert_eq!(entry.encoded(), &encoded, "the client's own bytes");
    let named = Named::by(entry.result(), function).expect("it was checked");
    let digests = named.files.iter().chain(&named.trees).chain(&named.roots);
    assert!(digests.into_iter().all(|digest| digest.function() == function));
    let again = ActionEntry::new(function, entry.result().clone());
    if let Ok(again) = again {
        assert!(again.has_inlined_bytes() == entry.has_inlined_bytes());
    }
}

/// A blob that a result calls a tree or a root directory.
pub fn tree(data: &[u8]) {
    for function in [DigestFunction::Sha256, DigestFunction::Blake3, DigestFunction::Md5] {
        if let Some(named) = trees::tree_files(Bytes::copy_from_slice(data), function) {
            assert!(named.iter().all(|digest| digest.function() == function));
            assert!(named.len() <= data.len(), "a file takes bytes");
        }
    }
}
