//! What fuzzing asks of the protocol's words: any text or bytes are read or refused, without a panic, and what was read
//! says the same when it is written and read again.
//!
//! Each function takes the bytes that a fuzzer made up and panics where a promise is broken. `fuzz/` runs them under
//! libFuzzer, `testkit/tests/fuzzing.rs` as property tests.

use std::fmt::Debug;

use bytes::Bytes;

use crate::bounded::{self, Bounded, MAX_ELEMENT_BYTES};
use crate::reapi::{self, ActionResult, Directory, Tree};
use crate::{Digest, DigestFunction, InstanceName, ReadName, WriteName, hot};

/// Names of blobs as `ByteStream` has them, and instance names.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let unmarked = |_: &InstanceName, digits: usize| DigestFunction::inferred_from(digits);
    if let Ok(name) = ReadName::parse(text, unmarked) {
        let again = ReadName::parse(&name.to_string(), unmarked);
        assert_eq!(again.as_ref(), Ok(&name), "{text:?} as {name}");
    }
    if let Ok(name) = WriteName::parse(text, unmarked) {
        let again = WriteName::parse(&name.to_string(), unmarked);
        assert_eq!(again.as_ref(), Ok(&name), "{text:?} as {name}");
    }
    if let Ok(name) = InstanceName::parse(text) {
        assert_eq!(InstanceName::parse(name.as_str()).as_ref(), Ok(&name));
    }
    for function in DigestFunction::ALL {
        if let Ok(digest) = Digest::parse(function, text, 7) {
            assert_eq!(digest.to_proto().hash, text, "lower-case hex of the full length");
        }
    }
}

/// A message of the kind that the first byte says: what the decoder makes of it is no more than was counted.
pub fn messages(data: &[u8]) {
    let Some((kind, encoded)) = data.split_first() else { return };
    let encoded = Bytes::copy_from_slice(encoded);
    match kind % 10 {
        0 => message::<ActionResult>(encoded),
        1 => message::<Directory>(encoded),
        2 => message::<Tree>(encoded),
        3 => message::<reapi::GetActionResultRequest>(encoded),
        4 => message::<reapi::UpdateActionResultRequest>(encoded),
        5 => message::<reapi::FindMissingBlobsRequest>(encoded),
        6 => message::<hot::BatchUpdateBlobsRequest>(encoded),
        7 => message::<reapi::BatchReadBlobsRequest>(encoded),
        9 => message::<hot::UpdateActionResultRequest>(encoded),
        _ => message::<reapi::GetTreeRequest>(encoded),
    }
}

fn message<T: Bounded + PartialEq + Debug>(encoded: Bytes) {
    let Ok(counted) = bounded::check::<T>(&encoded) else { return };
    let Ok(message) = bounded::decode::<T>(encoded) else { return };
    let again = message.encode_to_vec();
    let counted_again = bounded::check::<T>(&again).map_or(0, |elements| elements);
    assert!(counted_again <= counted, "{counted} elements became {counted_again}");
    assert!(counted * MAX_ELEMENT_BYTES <= (1 << 30), "{counted} elements");
    if let Ok(read) = bounded::decode::<T>(again.into()) {
        assert!(read == message, "{message:?} written and read again is {read:?}");
    }
}
