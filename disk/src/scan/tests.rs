//! The scan of a pack: what it finds, and what it passes over.

use super::*;
use crate::fuzzing::{pack_of, scan};

#[test]
fn a_pack_cut_at_any_byte_gives_its_whole_records() {
    let (bytes, offsets) = pack_of(&[300, 0, 40]);
    let mut ends = offsets[1..].to_vec();
    ends.push(bytes.len());
    for length in HEADER_BYTES..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= length).count();
        for bodies in [Bodies::Checked, Bodies::Trusted] {
            let scanned = scan(&bytes[..length], bodies);
            assert_eq!(scanned.offsets, offsets[..whole], "{length} bytes");
            let good_end = if whole == 0 { HEADER_BYTES } else { ends[whole - 1] };
            assert_eq!(scanned.good_end, good_end, "{length} bytes");
            assert_eq!(scanned.damaged_bytes, length - good_end, "{length} bytes");
        }
    }
}

#[test]
fn damage_to_any_byte_costs_one_record() {
    let (bytes, offsets) = pack_of(&[60, 50, 40]);
    for at in HEADER_BYTES..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xFF;
        let hit = offsets.iter().rposition(|offset| *offset <= at).unwrap();
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
    damaged[offsets[2] - 1] ^= 1;
    assert_eq!(scan(&damaged, Bodies::Trusted).offsets, offsets);
    assert_eq!(scan(&damaged, Bodies::Checked).offsets, [offsets[0], offsets[2], offsets[3]]);
}
