//! Where messages begin in the bytes of a gRPC body, and what the first of them names; the prefix of those that are sent.
//!
//! Source: gRPC's `PROTOCOL-HTTP2.md`, "Length-Prefixed-Message"; protobuf's wire format.

use bytes::{BufMut, BytesMut};
use tonic::Status;

use crate::edge::limits::MAX_MESSAGE_BYTES;

/// One byte for the compression and four for the length.
pub(super) const PREFIX_BYTES: usize = 5;

/// Longer names are none of ours; so many bytes are looked at, at most.
pub(super) const NAME_LIMIT_BYTES: usize = 4 * 1024;

/// Field 1, with a length: the name in every `WriteRequest`, which encoders put first.
pub(super) const NAME_TAG: u8 = (1 << 3) | 2;
/// Field 10, with a length: the data in a `WriteRequest` as in a `ReadResponse`.
pub(super) const DATA_TAG: u8 = (10 << 3) | 2;

/// What the first bytes of a body tell.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) struct FirstMessage<'a> {
    /// How long the first message is.
    pub(super) length_bytes: u64,
    /// Its first field, if that is a text.
    pub(super) name: Option<&'a str>,
}

/// Reads the beginning of a body; `None` where more bytes must come before it tells all.
pub(super) fn first_message(body: &[u8]) -> Option<FirstMessage<'_>> {
    let (prefix, message) = body.split_first_chunk::<PREFIX_BYTES>()?;
    let length_bytes = length_of(*prefix);
    let message = match usize::try_from(length_bytes) {
        Ok(length) if length <= message.len() => &message[..length],
        _ => message,
    };
    let is_whole = message.len() as u64 == length_bytes;
    match name_in(message) {
        Name::Here(name) => Some(FirstMessage { length_bytes, name: Some(name) }),
        Name::Further if !is_whole && message.len() < NAME_LIMIT_BYTES => None,
        Name::Further | Name::None => Some(FirstMessage { length_bytes, name: None }),
    }
}

enum Name<'a> {
    Here(&'a str),
    None,
    /// It may follow.
    Further,
}

fn name_in(message: &[u8]) -> Name<'_> {
    let Some((tag, rest)) = message.split_first() else { return Name::Further };
    if *tag != NAME_TAG {
        return Name::None;
    }
    let Some((length, rest)) = varint(rest) else { return Name::Further };
    match usize::try_from(length) {
        Ok(length) if length <= NAME_LIMIT_BYTES => match rest.get(..length) {
            Some(name) => std::str::from_utf8(name).map_or(Name::None, Name::Here),
            None => Name::Further,
        },
        _ => Name::None,
    }
}

/// A length of at most 28 bits; a longer one is cut off and thereby over every limit or a miss.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 || index == 3 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// What a message's prefix says.
pub(super) fn length_of(prefix: [u8; PREFIX_BYTES]) -> u64 {
    let [_, a, b, c, d] = prefix;
    u64::from(u32::from_be_bytes([a, b, c, d]))
}

/// The length of the message behind a prefix, which must be one that is not compressed and not too long.
pub(super) fn message_bytes(prefix: [u8; PREFIX_BYTES]) -> Result<usize, Status> {
    match prefix[0] {
        0 => {}
        1 => {
            return Err(Status::internal(
                "protocol error: received message with compressed-flag but no grpc-encoding was specified",
            ));
        }
        flag => {
            return Err(Status::internal(format!(
                "protocol error: received message with invalid compression flag: {flag} (valid flags are 0 and 1)"
            )));
        }
    }
    let length_bytes = length_of(prefix);
    match usize::try_from(length_bytes) {
        Ok(length) if length <= MAX_MESSAGE_BYTES => Ok(length),
        _ => Err(Status::out_of_range(format!(
            "Error, decoded message length too large: found {length_bytes} bytes, the limit is: {MAX_MESSAGE_BYTES} bytes"
        ))),
    }
}

/// Puts the prefix of a message of so many bytes that is not compressed.
pub(super) fn put_prefix(buffer: &mut BytesMut, message_bytes: usize) {
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(message_bytes).expect("a message is far below 4 GiB"));
}

/// Follows the messages of a body as its bytes pass.
#[derive(Debug, Default)]
pub(super) struct MessageTracker {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Of the message that is passing.
    remaining_bytes: u64,
}

impl MessageTracker {
    /// Takes the next bytes; the longest message that begins in them, as far as its prefix is here.
    pub(super) fn pass(&mut self, mut data: &[u8]) -> u64 {
        let mut longest_bytes = 0;
        while !data.is_empty() {
            if self.remaining_bytes > 0 {
                let passing = usize::try_from(self.remaining_bytes).unwrap_or(usize::MAX);
                let passing = passing.min(data.len());
                self.remaining_bytes -= passing as u64;
                data = &data[passing..];
                continue;
            }
            let taken = (PREFIX_BYTES - self.prefix_bytes).min(data.len());
            self.prefix[self.prefix_bytes..self.prefix_bytes + taken]
                .copy_from_slice(&data[..taken]);
            self.prefix_bytes += taken;
            data = &data[taken..];
            if self.prefix_bytes == PREFIX_BYTES {
                self.prefix_bytes = 0;
                self.remaining_bytes = length_of(self.prefix);
                longest_bytes = longest_bytes.max(self.remaining_bytes);
            }
        }
        longest_bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use larder_protos::bytestream::WriteRequest;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    }

    fn check(body: &[u8], expect: Option<(u64, Option<&str>)>) {
        let first = first_message(body).map(|first| (first.length_bytes, first.name));
        assert_eq!(first, expect, "{body:?}");
    }

    #[test]
    fn the_first_message_tells_its_length_and_name() {
        let message = |name: &str| WriteRequest {
            resource_name: name.to_owned(),
            write_offset: 7,
            finish_write: true,
            data: Bytes::from_static(b"data"),
        };
        let body = framed(&message("uploads/x").encode_to_vec());
        for end in 0..16 {
            check(&body[..end], None);
        }
        for end in 16..body.len() {
            check(&body[..end], Some((body.len() as u64 - 5, Some("uploads/x"))));
        }
        let long = "n".repeat(300);
        let body = framed(&message(&long).encode_to_vec());
        check(&body, Some((body.len() as u64 - 5, Some(&long))));
        let nameless = framed(&message("").encode_to_vec());
        check(&nameless, Some((nameless.len() as u64 - 5, None)));
        check(&framed(b""), Some((0, None)));
        check(&framed(&[NAME_TAG]), Some((1, None)));
        check(&framed(&[NAME_TAG, 2, 0xFF, 0xFE]), Some((4, None)));
        check(&[0, 0, 0, 1, 0, NAME_TAG, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], Some((256, None)));
    }

    proptest! {
        #[test]
        fn messages_are_followed_however_they_are_cut(
            lengths in prop::collection::vec(0_usize..2_000, 0..10),
            cut in 1_usize..700,
        ) {
            let body: Vec<u8> = lengths.iter().flat_map(|length| framed(&vec![1; *length])).collect();
            let mut tracker = MessageTracker::default();
            let longest = body.chunks(cut).map(|chunk| tracker.pass(chunk)).max();
            let expect = lengths.iter().max().map(|length| *length as u64);
            prop_assert_eq!(longest, expect);
            prop_assert_eq!((tracker.remaining_bytes, tracker.prefix_bytes), (0, 0));
        }

        #[test]
        fn garbage_never_panics(body: Vec<u8>) {
            let _ = first_message(&body);
            MessageTracker::default().pass(&body);
        }
    }
}
