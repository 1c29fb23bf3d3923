//! The scan of a pack: what it finds, and what it passes over.

use std::io::IoSlice;
use std::sync::Arc;

use larder_protos::{Digest, DigestFunction};

use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, Content};
use crate::io::{Io, OpenMode, RealIo, write_full};
use crate::key::{Keyspace, RecordKey};
use crate::prologue::seal;

const SALT: u64 = 77;
const PACK: u32 = 3;

/// A pack of blobs of these sizes, and where each record begins.
fn pack_of(sizes: &[usize]) -> (Vec<u8>, Vec<u64>) {
    let codec = Codec::new(1);
    let mut bytes = vec![0; HEADER_BYTES];
    let mut offsets = Vec::new();
    for (sequence, size) in sizes.iter().enumerate() {
        let content: Vec<u8> = (0..*size)
            .map(|at| (at * 131 % 251).to_le_bytes()[0] ^ size.to_le_bytes()[0])
            .collect();
        let digest = Digest::of(DigestFunction::Sha256, &content);
        let key = RecordKey::blob(&Keyspace::new("t").unwrap(), &digest);
        let mut record = codec.encode(&key, Content::Raw(&content), 0).unwrap();
        let offset = u32::try_from(bytes.len()).unwrap();
        let place = Place::in_pack(SALT, PACK, offset);
        seal(&mut record.bytes[..record.prologue_bytes], sequence as u64, place);
        offsets.push(u64::from(offset));
        bytes.extend_from_slice(&record.bytes);
    }
    (bytes, offsets)
}

struct Scanned {
    offsets: Vec<u64>,
    good_end: u64,
    damaged_bytes: u64,
}

fn scan(bytes: &[u8], bodies: Bodies) -> Scanned {
    let dir = tempfile::tempdir().unwrap();
    let file: Arc<dyn IoFile> = RealIo.open(&dir.path().join("pack"), OpenMode::CreateNew).unwrap();
    write_full(&*file, &mut [IoSlice::new(bytes)], 0).unwrap();
    let mut scanner = Scanner::new(&*file, (SALT, PACK), 0, bytes.len() as u64, bodies);
    let mut offsets = Vec::new();
    while let Some(found) = scanner.next().unwrap() {
        offsets.push(u64::from(found.offset));
    }
    let (good_end, damaged_bytes) = (scanner.good_end(), scanner.damaged_bytes());
    Scanned { offsets, good_end, damaged_bytes }
}

#[test]
fn a_pack_cut_at_any_byte_gives_its_whole_records() {
    let (bytes, offsets) = pack_of(&[300, 0, 40]);
    let mut ends = offsets[1..].to_vec();
    ends.push(bytes.len() as u64);
    for length in HEADER_BYTES..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= length as u64).count();
        for bodies in [Bodies::Checked, Bodies::Trusted] {
            let scanned = scan(&bytes[..length], bodies);
            assert_eq!(scanned.offsets, offsets[..whole], "{length} bytes");
            let good_end = if whole == 0 { HEADER_BYTES as u64 } else { ends[whole - 1] };
            assert_eq!(scanned.good_end, good_end, "{length} bytes");
            assert_eq!(scanned.damaged_bytes, length as u64 - good_end, "{length} bytes");
        }
    }
}

#[test]
fn damage_to_any_byte_costs_one_record() {
    let (bytes, offsets) = pack_of(&[60, 50, 40]);
    for at in HEADER_BYTES..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xFF;
        let hit = offsets.iter().rposition(|offset| *offset <= at as u64).unwrap();
        let mut expected = offsets.clone();
        expected.remove(hit);
        assert_eq!(scan(&damaged, Bodies::Checked).offsets, expected, "byte {at}");
    }
}

#[test]
fn bodies_larger_than_a_window_are_stepped_over_and_checked() {
    let (bytes, offsets) = pack_of(&[10, 3 << 20, 1 << 20, 10]);
    assert_eq!(scan(&bytes, Bodies::Trusted).offsets, offsets);
    assert_eq!(scan(&bytes, Bodies::Checked).offsets, offsets);
    let mut damaged = bytes.clone();
    damaged[usize::try_from(offsets[2]).unwrap() - 1] ^= 1;
    assert_eq!(scan(&damaged, Bodies::Trusted).offsets, offsets);
    assert_eq!(scan(&damaged, Bodies::Checked).offsets, [offsets[0], offsets[2], offsets[3]]);
}

/// One change of a pack: what is done, where, to how much, and a number more.
type Mutation = (u8, usize, usize, usize);

fn mutate(bytes: &mut Vec<u8>, (kind, at, length, to): Mutation) {
    if bytes.len() <= HEADER_BYTES {
        return;
    }
    let at = at % bytes.len();
    let end = (at + length % 400 + 1).min(bytes.len());
    let to = to % bytes.len();
    match kind {
        0 => bytes[at] ^= 1 << (length % 8),
        1 => bytes[at..end].fill(0),
        2 => bytes.truncate(at),
        3 => bytes.extend_from_within(at..end),
        4 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(to..to, piece);
        }
        5 => {
            let piece = bytes[at..end].to_vec();
            let room = piece.len().min(bytes.len() - to);
            bytes[to..to + room].copy_from_slice(&piece[..room]);
        }
        _ => drop(bytes.drain(at..end)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn of_a_changed_pack_only_what_is_whole_is_found(
        sizes in proptest::collection::vec(0_usize..900, 1..6),
        mutations in proptest::collection::vec(
            (0_u8..7, any::<usize>(), any::<usize>(), any::<usize>()), 1..4),
    ) {
        let (original, offsets) = pack_of(&sizes);
        let mut ends = offsets[1..].to_vec();
        ends.push(original.len() as u64);
        let mut changed = original.clone();
        for mutation in mutations {
            mutate(&mut changed, mutation);
        }
        let scanned = scan(&changed, Bodies::Checked);
        prop_assert!(scanned.good_end <= (changed.len() as u64).max(HEADER_BYTES as u64));
        for found in scanned.offsets {
            let record = offsets.iter().position(|offset| *offset == found);
            let end = record.map(|record| ends[record]);
            let range = usize::try_from(found).unwrap()..usize::try_from(end.unwrap()).unwrap();
            prop_assert!(changed.get(range.clone()) == original.get(range), "at {}", found);
        }
        // A scan that does not look at bodies ends as well.
        scan(&changed, Bodies::Trusted);
    }
}
