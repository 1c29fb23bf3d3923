//! gRPC's framing around messages, pure: making it, and taking downloads apart while they arrive.
//!
//! Source: "Length-Prefixed-Message" in gRPC's PROTOCOL-HTTP2; `bytestream.proto`.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::error::CallError;

/// A flag and the length.
const PREFIX_BYTES: usize = 5;
/// Field 10, length-delimited: the data of `ReadResponse` and `WriteRequest`.
const DATA_TAG: u8 = 10 << 3 | 2;
/// The most that stands before the data: the prefix, the tag, a length of five bytes.
const MAX_HEAD_BYTES: usize = PREFIX_BYTES + 1 + 5;

/// A whole message as it goes over the wire.
pub(crate) fn message(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    put_prefix(&mut bytes, length);
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

/// What a message of an upload carries besides its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageHead<'a> {
    /// Empty: as before.
    pub(crate) resource_name: &'a str,
    pub(crate) write_offset: u64,
    pub(crate) finish_write: bool,
}

/// A `WriteRequest` up to where its data begins; the caller sends the data behind it as it is.
pub(crate) fn write_message(head: MessageHead<'_>, data_bytes: usize) -> Bytes {
    let fields = larder_protos::bytestream::WriteRequest {
        resource_name: head.resource_name.to_owned(),
        write_offset: head.write_offset.cast_signed(),
        finish_write: head.finish_write,
        data: Bytes::new(),
    };
    let data_head = 1 + prost::length_delimiter_len(data_bytes);
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + fields.encoded_len() + data_head);
    put_prefix(&mut bytes, fields.encoded_len() + data_head + data_bytes);
    fields.encode_raw(&mut bytes);
    bytes.put_u8(DATA_TAG);
    prost::encoding::encode_varint(data_bytes as u64, &mut bytes);
    bytes.freeze()
}

fn put_prefix(bytes: &mut BytesMut, length: usize) {
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// The only message in `bytes`, without its prefix.
pub(crate) fn only_message(mut bytes: Bytes) -> Result<Bytes, CallError> {
    let framing = CallError::Framing { at: 0 };
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else { return Err(framing) };
    let [0, length @ ..] = *prefix else { return Err(framing) };
    let message = bytes.split_off(PREFIX_BYTES);
    if message.len() == u32::from_be_bytes(length) as usize { Ok(message) } else { Err(framing) }
}

/// Takes a stream of `ReadResponse` messages apart as its bytes arrive, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct ReadParser {
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    /// Of the message whose head is done.
    data_left: usize,
    seen_bytes: u64,
}

impl ReadParser {
    /// Hands the data among `bytes` to `sink`, in order.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        while !bytes.is_empty() {
            if self.data_left == 0 {
                let (first, rest) = bytes.split_at(1);
                self.push_head(first[0])?;
                bytes = rest;
            } else {
                let (data, rest) = bytes.split_at(self.data_left.min(bytes.len()));
                sink(data)?;
                self.seen_bytes += data.len() as u64;
                self.data_left -= data.len();
                bytes = rest;
            }
        }
        Ok(())
    }

    /// The stream must not end within a message.
    pub(crate) fn finish(self) -> Result<(), CallError> {
        let whole = self.head_bytes == 0 && self.data_left == 0;
        whole.then_some(()).ok_or(CallError::Framing { at: self.seen_bytes })
    }

    fn push_head(&mut self, byte: u8) -> Result<(), CallError> {
        let framing = CallError::Framing { at: self.seen_bytes };
        let Some(place) = self.head.get_mut(self.head_bytes) else { return Err(framing) };
        *place = byte;
        self.head_bytes += 1;
        let Some(([0, length @ ..], field)) =
            self.head[..self.head_bytes].split_first_chunk::<PREFIX_BYTES>()
        else {
            return if self.head_bytes < PREFIX_BYTES { Ok(()) } else { Err(framing) };
        };
        let message_bytes = u32::from_be_bytes(*length) as usize;
        match field {
            [] if message_bytes == 0 => self.head_bytes = 0,
            [] | [DATA_TAG] => {}
            [DATA_TAG, varint @ ..] if varint.last().is_some_and(|last| *last < 0x80) => {
                let field_bytes = field.len();
                let data =
                    varint.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7F));
                if field_bytes + data != message_bytes {
                    return Err(framing);
                }
                self.head_bytes = 0;
                self.data_left = data;
            }
            [DATA_TAG, _unfinished @ ..] => {}
            _ => return Err(framing),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use larder_protos::bytestream::{ReadResponse, WriteRequest};

    use super::*;

    fn parse(parts: &[&[u8]]) -> Result<Vec<u8>, CallError> {
        let (mut parser, mut data) = (ReadParser::default(), Vec::new());
        for part in parts {
            parser.push(part, &mut |bytes| {
                data.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        parser.finish().map(|()| data)
    }

    #[test]
    fn downloads_are_taken_apart_wherever_they_are_cut() {
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        for size in [1, 0, 127, 128, 300] {
            let data = crate::blobs::blob(crate::blobs::Content::Noise, size as u64, size);
            expected.extend_from_slice(&data);
            wire.extend_from_slice(&message(&ReadResponse { data }));
        }
        for cut in 0..=wire.len() {
            let (first, second) = wire.split_at(cut);
            assert_eq!(parse(&[first, second]).unwrap(), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(parse(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_is_no_download_is_refused() {
        let good = message(&ReadResponse { data: Bytes::from_static(b"data") });
        let table: [(&str, &[u8]); 5] = [
            ("cut", &good[..good.len() - 1]),
            ("compressed", b"\x01\0\0\0\x06\x52\x04data"),
            ("another field", b"\0\0\0\0\x06\x0A\x04data"),
            ("lengths that disagree", b"\0\0\0\0\x07\x52\x04data"),
            ("an endless length", b"\0\0\0\0\x07\x52\x80\x80\x80\x80\x80\x80"),
        ];
        for (what, wire) in table {
            assert!(parse(&[wire]).is_err(), "{what}");
        }
    }

    #[test]
    fn an_upload_s_head_and_data_make_its_message() {
        for data in [&b""[..], b"x", &[7; 200]] {
            let head = MessageHead { resource_name: "n", write_offset: 9, finish_write: true };
            let mut wire = write_message(head, data.len()).to_vec();
            wire.extend_from_slice(data);
            let decoded = WriteRequest::decode(only_message(wire.into()).unwrap()).unwrap();
            let expected = WriteRequest {
                resource_name: "n".to_owned(),
                write_offset: 9,
                finish_write: true,
                data: Bytes::copy_from_slice(data),
            };
            assert_eq!(decoded, expected);
        }
        assert!(only_message(Bytes::from_static(b"\0\0\0\0\x02x")).is_err());
        assert!(only_message(Bytes::from_static(b"\0\0\0")).is_err());
    }
}
