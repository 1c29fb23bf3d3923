//! [`DigestList`]: a `FindMissingBlobsRequest`, read straight from its bytes into digests.
//!
//! A build asks for thousands of digests at a time, and prost makes a string of each first. What encoders write is read here
//! in two passes without an allocation for each digest; anything else is `None`, and the caller decodes it the long way.
//! Invariant: what is read here is what the long way reads; a property test holds them against each other.
//! Source: `remote_execution.proto`; <https://protobuf.dev/programming-guides/encoding/>.

use larder_protos::{Digest, Hash};

use super::wire_format::{field, number, take_byte};
use crate::edge::functions::Said;

const INSTANCE_NAME_TAG: u8 = (1 << 3) | 2;
const BLOB_DIGESTS_TAG: u8 = (2 << 3) | 2;
const DIGEST_FUNCTION_TAG: u8 = 3 << 3;
const HASH_TAG: u8 = (1 << 3) | 2;
const SIZE_BYTES_TAG: u8 = 2 << 3;

/// Longer lists are refused, which the long way does.
const MAX_DIGESTS: usize = 1_000_000;

/// A request whose fields are found and whose digests are not read yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct DigestList<'a> {
    pub(super) instance_name: &'a str,
    /// Zero where the request says nothing.
    pub(super) digest_function: i32,
    count: usize,
    encoded: &'a [u8],
}

impl<'a> DigestList<'a> {
    /// Finds the fields; `None` where any is unusual.
    pub(super) fn of(encoded: &'a [u8]) -> Option<Self> {
        let mut list = Self { instance_name: "", digest_function: 0, count: 0, encoded };
        let mut rest = encoded;
        while let Some((tag, after)) = rest.split_first() {
            rest = after;
            match *tag {
                INSTANCE_NAME_TAG => list.instance_name = str::from_utf8(field(&mut rest)?).ok()?,
                BLOB_DIGESTS_TAG => {
                    field(&mut rest)?;
                    list.count += 1;
                }
                DIGEST_FUNCTION_TAG => {
                    list.digest_function = i32::try_from(number(&mut rest)?).ok()?;
                }
                _ => return None,
            }
        }
        (list.count <= MAX_DIGESTS).then_some(list)
    }

    /// Reads the digests, in their order; `None` where any is unusual.
    pub(super) fn digests(&self, said: Said<'_>) -> Option<Vec<Digest>> {
        let mut digests = Vec::with_capacity(self.count);
        // The function of the last hash: those of one length have one function.
        let mut last = None;
        let mut rest = self.encoded;
        while let Some((tag, after)) = rest.split_first() {
            rest = after;
            match *tag {
                BLOB_DIGESTS_TAG => {
                    let (hex, size_bytes) = digest(field(&mut rest)?)?;
                    let function = match last {
                        Some((length, function)) if length == hex.len() => function,
                        _ => said.function_of(hex.len()).ok()?,
                    };
                    last = Some((hex.len(), function));
                    digests.push(Digest::new(Hash::from_hex(function, hex)?, size_bytes));
                }
                INSTANCE_NAME_TAG => drop(field(&mut rest)?),
                _ => drop(number(&mut rest)?),
            }
        }
        Some(digests)
    }
}

/// The digits of a hash and the size.
fn digest(mut message: &[u8]) -> Option<(&[u8], u64)> {
    if take_byte(&mut message)? != HASH_TAG {
        return None;
    }
    let hex = field(&mut message)?;
    if message.is_empty() {
        return Some((hex, 0));
    }
    if take_byte(&mut message)? != SIZE_BYTES_TAG {
        return None;
    }
    let size_bytes = number(&mut message)?;
    message.is_empty().then_some((hex, size_bytes))
}

#[cfg(test)]
mod tests {
    use larder_protos::bounded;
    use larder_protos::reapi::{Digest as ProtoDigest, FindMissingBlobsRequest};
    use larder_protos::{DigestFunction, InstanceName};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::edge::functions::Functions;

    type Read = (String, i32, Vec<Digest>);

    fn said(functions: &Functions, digest_function: i32) -> Option<Said<'_>> {
        let instance = InstanceName::parse("").expect("a good name");
        functions.of(&instance).said(digest_function).ok()
    }

    /// As prost reads it.
    fn the_long_way(encoded: &[u8]) -> Option<Read> {
        let functions = Functions::default();
        let request: FindMissingBlobsRequest = bounded::decode(encoded.to_vec().into()).ok()?;
        let said = said(&functions, request.digest_function)?;
        let digests = request.blob_digests.iter().map(|digest| said.parse(digest).ok());
        let digests = digests.collect::<Option<_>>()?;
        Some((request.instance_name, request.digest_function, digests))
    }

    fn the_short_way(encoded: &[u8]) -> Option<Read> {
        let functions = Functions::default();
        let list = DigestList::of(encoded)?;
        let digests = list.digests(said(&functions, list.digest_function)?)?;
        Some((list.instance_name.to_owned(), list.digest_function, digests))
    }

    fn request(instance: &str, function: i32, digests: Vec<(String, i64)>) -> Vec<u8> {
        let digests =
            digests.into_iter().map(|(hash, size_bytes)| ProtoDigest { hash, size_bytes });
        let request = FindMissingBlobsRequest {
            instance_name: instance.to_owned(),
            blob_digests: digests.collect(),
            digest_function: function,
        };
        request.encode_to_vec()
    }

    #[test]
    fn what_encoders_write_is_read_the_short_way() {
        let sha256 = DigestFunction::Sha256.to_proto();
        let hash = |length: usize| "0123456789abcdef".repeat(length / 8);
        for encoded in [
            Vec::new(),
            request("", 0, vec![(hash(32), 0)]),
            request("a/b", sha256, vec![(hash(32), 7), (hash(32), i64::MAX)]),
            request("", 0, vec![(hash(64), 1), (hash(48), 300), (hash(32), 1 << 40)]),
        ] {
            assert_eq!(the_short_way(&encoded), the_long_way(&encoded));
            assert!(the_short_way(&encoded).is_some(), "{encoded:?}");
        }
    }

    #[test]
    fn what_is_refused_goes_the_long_way() {
        let good = "ab".repeat(32);
        for (hash, size_bytes) in
            [(good.to_uppercase(), 1), ("ab".repeat(31), 1), (good.clone(), -1), (String::new(), 1)]
        {
            assert_eq!(the_short_way(&request("", 0, vec![(hash, size_bytes)])), None);
        }
        assert_eq!(the_short_way(&request("", 99, vec![(good, 1)])), None);
        assert_eq!(DigestList::of(&[INSTANCE_NAME_TAG, 2, 0xFF, 0xFE]), None);
        assert_eq!(DigestList::of(&[BLOB_DIGESTS_TAG, 5, 1]), None);
    }

    proptest! {
        /// Whatever is read the short way is read the long way too, and as the same.
        #[test]
        fn both_ways_agree(
            instance in "[a-z/]{0,8}",
            function in 0..12,
            digests in prop::collection::vec(("[0-9a-f]{64}|[0-9a-f]{96}|[0-9A-Fg]{0,66}", any::<i64>()), 0..8),
            change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            end in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut encoded = request(&instance, function, digests);
            if let Some((index, byte)) = change.filter(|_| !encoded.is_empty()) {
                let index = index.index(encoded.len());
                encoded[index] = byte;
            }
            if let Some(end) = end {
                encoded.truncate(end.index(encoded.len() + 1));
            }
            if let Some(short) = the_short_way(&encoded) {
                prop_assert_eq!(Some(short), the_long_way(&encoded));
            }
        }

        #[test]
        fn garbage_agrees_too(encoded in prop::collection::vec(prop_oneof![Just(10_u8), Just(18), Just(24), Just(16), 0..8_u8, any::<u8>()], 0..40)) {
            if let Some(short) = the_short_way(&encoded) {
                prop_assert_eq!(Some(short), the_long_way(&encoded));
            }
        }
    }
}
