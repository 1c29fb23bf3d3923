//! Messages of uploads cut in many ways, held against what prost makes of them.

use std::collections::VecDeque;

use futures_util::{FutureExt, TryStreamExt};
use http_body::Frame;
use http_body_util::StreamBody;
use proptest::prelude::*;
use prost::Message;
use tonic::Code;

use super::*;

/// A body of these frames, all of which have arrived.
fn parts_of(frames: impl IntoIterator<Item = Bytes>) -> Vec<Result<WriteRequest, Status>> {
    let frames: VecDeque<_> = frames.into_iter().map(|data| Ok(Frame::data(data))).collect();
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut parts = WriteParts::of(body);
    let mut all = Vec::new();
    while let Some(part) = parts.try_next().now_or_never().expect("all has arrived").transpose() {
        all.push(part);
    }
    all
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

fn cut(body: &[u8], frame_bytes: usize) -> Vec<Bytes> {
    body.chunks(frame_bytes).map(Bytes::copy_from_slice).collect()
}

/// Puts the parts of each message together again: a message with a name begins, those without belong to the one before.
fn messages(parts: Vec<Result<WriteRequest, Status>>) -> Result<Vec<WriteRequest>, Code> {
    let mut all: Vec<WriteRequest> = Vec::new();
    for part in parts {
        let part = part.map_err(|status| status.code())?;
        match all.last_mut() {
            Some(last) if part.resource_name.is_empty() => {
                assert_eq!(part.write_offset, 0, "a further part begins where the last one ended");
                assert!(!last.finish_write, "nothing comes after the end");
                last.data = [&last.data[..], &part.data[..]].concat().into();
                last.finish_write = part.finish_write;
            }
            _ => all.push(part),
        }
    }
    Ok(all)
}

fn check(body: &[u8], expect: Result<Vec<WriteRequest>, Code>) {
    for frame_bytes in [1, 2, 3, 7, 100, body.len().max(1)] {
        let got = messages(parts_of(cut(body, frame_bytes)));
        assert_eq!(got, expect, "{body:?} in frames of {frame_bytes} B");
    }
}

fn request(name: &str, write_offset: i64, finish_write: bool, data: &'static [u8]) -> WriteRequest {
    let data = Bytes::from_static(data);
    WriteRequest { resource_name: name.to_owned(), write_offset, finish_write, data }
}

#[test]
fn unusual_messages_are_decoded_as_any_other() {
    check(b"", Ok(vec![]));
    let usual = request("n", 7, true, b"data");
    let negative = request("n", -1, false, b"data");
    for message in [&usual, &negative, &request("n", 0, false, b"")] {
        check(&framed(&message.encode_to_vec()), Ok(vec![message.clone()]));
    }
    // The data first, and a field that nobody knows.
    let turned =
        [&request("", 0, false, b"data").encode_to_vec()[..], b"\x0A\x01n\x10\x07\x18\x01"];
    check(&framed(&turned.concat()), Ok(vec![usual.clone()]));
    let unknown = [&[0x78, 1], &usual.encode_to_vec()[..]].concat();
    check(&framed(&unknown), Ok(vec![usual.clone()]));
    // The last one counts.
    let twice = [&request("m", 5, false, b"").encode_to_vec()[..], &usual.encode_to_vec()].concat();
    check(&framed(&twice), Ok(vec![usual]));
    let long = WriteRequest { resource_name: "n".repeat(9_000), ..WriteRequest::default() };
    check(&framed(&long.encode_to_vec()), Ok(vec![long]));
}

#[test]
fn what_is_no_message_is_refused() {
    check(&framed(&[0x0A, 1, 0xFF]), Err(Code::InvalidArgument));
    check(&framed(&[0x52, 9]), Err(Code::InvalidArgument));
    check(&[1, 0, 0, 0, 0], Err(Code::Internal));
    check(&[9, 0, 0, 0, 0], Err(Code::Internal));
    check(&[0, 0xFF, 0, 0, 0], Err(Code::OutOfRange));
    // It ends too early.
    check(&[0, 0, 0], Err(Code::Internal));
    let whole = framed(&request("n", 0, false, b"data").encode_to_vec());
    check(&whole[..whole.len() - 5], Err(Code::Internal));
}

#[test]
fn data_is_passed_on_where_it_lies() {
    let data = Bytes::from(vec![7; 50_000]);
    let message = WriteRequest { data, ..request("n", 0, true, b"") };
    let frames = cut(&framed(&message.encode_to_vec()), 16_384);
    let parts = parts_of(frames.clone());
    assert_eq!(parts.len(), frames.len());
    for (part, frame) in parts.iter().zip(&frames) {
        let data = &part.as_ref().unwrap().data;
        assert!(frame.as_ptr_range().contains(&data.as_ptr()));
    }
}

proptest! {
    #[test]
    fn parts_say_what_their_messages_say(
        sizes in prop::collection::vec((0_usize..3_000, 0_i64..1_000_000), 0..6),
        frame_bytes in 1_usize..2_000,
    ) {
        let last = sizes.len().saturating_sub(1);
        let sent: Vec<_> = sizes.iter().enumerate().map(|(index, (size, offset))| WriteRequest {
            resource_name: "uploads/u/blobs/h/1".to_owned(),
            write_offset: *offset,
            finish_write: index == last,
            data: vec![u8::try_from(index).unwrap(); *size].into(),
        }).collect();
        let body: Vec<u8> = sent.iter().flat_map(|it| framed(&it.encode_to_vec())).collect();
        prop_assert_eq!(messages(parts_of(cut(&body, frame_bytes))), Ok(sent));
    }

    #[test]
    fn garbage_is_what_prost_makes_of_it(message: Vec<u8>, frame_bytes in 1_usize..100) {
        let expect = bounded::decode::<WriteRequest>(message.clone().into());
        let got = messages(parts_of(cut(&framed(&message), frame_bytes)));
        if let Ok(expect) = expect {
            let got = got.unwrap();
            // Without a name its parts cannot be told from messages.
            let data: Vec<u8> = got.iter().flat_map(|it| it.data.to_vec()).collect();
            prop_assert_eq!(data, expect.data.to_vec());
            prop_assert_eq!(&got[0].resource_name, &expect.resource_name);
            prop_assert_eq!(got[0].write_offset, expect.write_offset);
        } else {
            prop_assert_eq!(got, Err(Code::InvalidArgument));
        }
    }
}
