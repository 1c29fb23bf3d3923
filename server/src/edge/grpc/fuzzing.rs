//! The parsers of gRPC's framing, for [`crate::fuzzing`].

use super::framing::{MessageTracker, first_message};

/// A gRPC body, cut as its first byte says: what its beginning tells stays told, and however it is cut, the longest message
/// is found.
pub fn grpc_body(data: &[u8]) {
    let Some((cut, body)) = data.split_first() else { return };
    if let Some(first) = first_message(body) {
        let told = (0..body.len()).find_map(|end| first_message(&body[..end])).unwrap_or(first);
        assert_eq!(told.length_bytes, first.length_bytes, "the length does not change");
    }
    let longest = |chunk_bytes: usize| {
        let mut tracker = MessageTracker::default();
        body.chunks(chunk_bytes).map(|chunk| tracker.pass(chunk)).max()
    };
    let whole = longest(body.len().max(1));
    assert_eq!(longest(usize::from(*cut) + 1), whole, "in chunks of {} B", usize::from(*cut) + 1);
}
