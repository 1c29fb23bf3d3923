//! Every encoding and digest function passes; any change to a body, a name or a frame table is told.

use std::io::IoSlice;

use larder_protos::DigestFunction;

use super::*;
use crate::codec::{Codec, Content};
use crate::io::{Io, OpenMode, RealIo, write_full};
use crate::key::{Keyspace, RecordKey};
use crate::prologue::{Place, seal};

const PLACE: Place = Place { salt: 5, position: 0 };

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 * 31 % 251).to_le_bytes()[0]).collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn record(key: &RecordKey, content: Content<'_>) -> Vec<u8> {
    let mut record = Codec::new(1).encode(key, content, 0).unwrap();
    seal(&mut record.bytes[..record.prologue_bytes], 1, PLACE);
    record.bytes
}

fn key_of(function: DigestFunction, content: &[u8]) -> RecordKey {
    RecordKey::blob(&Keyspace::new("").unwrap(), &Digest::of(function, content))
}

/// Checks the body of a record whose prologue is `sound`'s.
fn check(sound: &[u8], stored: &[u8]) -> Option<Rot> {
    let prologue = Prologue::parse(sound, PLACE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = RealIo.open(&dir.path().join("file"), OpenMode::CreateNew).unwrap();
    write_full(&*file, &mut [IoSlice::new(stored)], 0).unwrap();
    let mut window = Window::new(&*file, stored.len() as u64);
    let body_at = prologue.length_bytes() as u64;
    BodyCheck::new().unwrap().check(&prologue, &mut window, body_at).unwrap()
}

#[test]
fn every_function_and_encoding_passes() {
    for function in DigestFunction::ALL {
        for content in [content(0), content(1), content(700_000), noise(600_000)] {
            let key = key_of(function, &content);
            let stored = record(&key, Content::Raw(&content));
            assert_eq!(check(&stored, &stored), None, "{function} {} B", content.len());
        }
    }
}

#[test]
fn a_clients_frame_larger_than_the_window_passes_and_its_rot_is_told() {
    let content = noise(1 << 20);
    let key = key_of(DigestFunction::Sha256, &content);
    let frame = zstd::bulk::compress(&content, 1).unwrap();
    let logical_size_bytes = content.len() as u64;
    let stored = record(&key, Content::ZstdFrame { frame: &frame, logical_size_bytes });
    assert_eq!(check(&stored, &stored), None);
    let mut rotten = stored.clone();
    *rotten.last_mut().unwrap() ^= 1;
    assert_eq!(check(&stored, &rotten), Some(Rot::Checksum { frame: 0 }));
    // A frame that says another size, under a good checksum.
    let frame = zstd::bulk::compress(&content[1..], 1).unwrap();
    let stored = record(&key, Content::ZstdFrame { frame: &frame, logical_size_bytes });
    assert_eq!(check(&stored, &stored), Some(Rot::Decode { frame: 0 }));
    let frame = &frame[..frame.len() - 1];
    let stored = record(&key, Content::ZstdFrame { frame, logical_size_bytes });
    assert_eq!(check(&stored, &stored), Some(Rot::Decode { frame: 0 }));
}

#[test]
fn a_flip_anywhere_and_a_cut_anywhere_are_told() {
    for content in [content(300_000), noise(270_000)] {
        let stored = record(&key_of(DigestFunction::Blake3, &content), Content::Raw(&content));
        let prologue_bytes = Prologue::parse(&stored, PLACE).unwrap().length_bytes();
        for at in (prologue_bytes..stored.len()).step_by(stored.len() / 40) {
            let mut rotten = stored.clone();
            rotten[at] ^= 0x10;
            assert!(matches!(check(&stored, &rotten), Some(Rot::Checksum { .. })), "byte {at}");
            assert!(matches!(check(&stored, &stored[..at]), Some(Rot::Short { .. })), "byte {at}");
        }
    }
}

#[test]
fn content_that_is_not_what_its_name_says_is_told_though_all_checksums_are_good() {
    let key = key_of(DigestFunction::Sha256, &content(500));
    let stored = record(&key, Content::Raw(&content(500).split_off(1)));
    assert!(matches!(check(&stored, &stored), Some(Rot::Digest { .. })));
    // The name of an action result says nothing of its content.
    let key = RecordKey::action_result(&Keyspace::new("").unwrap(), key.hash());
    let stored = record(&key, Content::Raw(b"anything"));
    assert_eq!(check(&stored, &stored), None);
}
