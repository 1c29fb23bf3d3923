//! The chunkers against their definitions, the reference's output, and what chunking is for.

use larder_protos::{Digest, DigestFunction};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What the goldens were made from: xorshift, the low byte of each state.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(next).collect()
}

/// Pushes `bytes` in pieces; the chunks that come out must be `bytes` again.
fn chunks_of(mut chunker: Chunker, bytes: &[u8], piece_bytes: usize) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    for piece in bytes.chunks(piece_bytes.max(1)) {
        chunker.push(piece);
        chunks.extend(std::iter::from_fn(|| chunker.next_chunk()));
        assert!(chunker.held.len() <= Chunker::MAX_HELD_BYTES);
    }
    chunker.end();
    chunks.extend(std::iter::from_fn(|| chunker.next_chunk()));
    assert!(chunks.concat() == bytes, "the chunks are not the bytes");
    chunks
}

fn rep_max(min_bytes: usize, horizon_bytes: usize) -> Chunker {
    Chunker::of(Cutter::RepMax(Box::new(RepMaxCdc::new(min_bytes, horizon_bytes))))
}

fn fast(min_bytes: u32, average_bytes: u32, max_bytes: u32) -> Chunker {
    Chunker::of(Cutter::Fast(FastCdc::new(min_bytes, average_bytes, max_bytes)))
}

fn lengths(chunks: &[Bytes]) -> Vec<usize> {
    chunks.iter().map(Bytes::len).collect()
}

/// As the protocol says: the first half of an MD5, big-endian; of 64 times the byte, the hash's window.
fn gear() -> Vec<u64> {
    let of = |byte: u8| {
        let digest = Digest::of(DigestFunction::Md5, &[byte; 64]);
        let high = digest.hash().as_bytes()[..8].try_into().expect("eight bytes");
        u64::from_be_bytes(high)
    };
    (0..=255).map(of).collect()
}

/// `RepMaxCDC` by its definition: every hash anew for every chunk.
fn rep_max_defined(bytes: &[u8], min: usize, horizon: usize) -> Vec<usize> {
    let gear = gear();
    let hash_at = |at: usize| {
        let window = &bytes[at - 64..at];
        window.iter().fold(0_u64, |hash, byte| (hash << 1).wrapping_add(gear[usize::from(*byte)]))
    };
    let hashes: Vec<_> =
        (0..=bytes.len()).map(|at| if at < 64 { 0 } else { hash_at(at) }).collect();
    let (mut begin, mut lengths) = (0, Vec::new());
    while begin < bytes.len() {
        let ahead = (bytes.len() - begin).min(2 * min + horizon);
        if ahead < 2 * min {
            lengths.push(ahead);
            break;
        }
        let mut end = ahead - min;
        let length = loop {
            let places = min..=end;
            let best = places.rev().max_by_key(|place| hashes[begin + place]).expect("one");
            if best < 2 * min {
                break best;
            }
            end = best - min;
        };
        lengths.push(length);
        begin += length;
    }
    lengths
}

/// FastCDC by its paper, byte by byte: `mask_s` up to the average, `mask_l` from there.
fn fast_defined(bytes: &[u8], [min, average, max]: [usize; 3], masks: [u64; 2]) -> Vec<usize> {
    let gear = gear();
    let cut = |ahead: &[u8]| {
        let end = ahead.len().min(max);
        let mut hash = 0_u64;
        // The implementations take bytes by twos, so an odd one at the end is never a cut.
        for place in min..(end & !1).max(min) {
            hash = (hash << 1).wrapping_add(gear[usize::from(ahead[place])]);
            let mask = masks[usize::from(place >= average)];
            if hash & mask == 0 {
                return place;
            }
        }
        end
    };
    let (mut begin, mut lengths) = (0, Vec::new());
    while begin < bytes.len() {
        lengths.push(cut(&bytes[begin..]));
        begin += lengths.last().expect("just pushed");
    }
    lengths
}

/// From the paper's reference implementation: 16 and 12 bits, and 21 and 17, two about each average.
const MASKS_16_KIB: [u64; 2] = [0x0000_d903_0353_7000, 0x0000_d901_0353_0000];
const MASKS_512_KIB: [u64; 2] = [0x0000_d917_6753_7000, 0x0000_d907_0353_7000];

#[test]
fn rep_max_cuts_where_the_reference_does() {
    // From go-cdc v0.0.10, NewRepMaxContentDefinedChunker over the same noise.
    let small =
        [7903, 5898, 4161, 8175, 6783, 7709, 6740, 5682, 5840, 5016, 7719, 7596, 6268, 6569, 6245];
    let announced = [
        434_593, 294_768, 278_029, 317_804, 267_138, 456_635, 384_402, 289_644, 347_006, 490_096,
        344_752, 289_437,
    ];
    let few_values = [
        4701, 7489, 6707, 4406, 6848, 5229, 6022, 4141, 4271, 7838, 4746, 6789, 4715, 7235, 6346,
        4141, 4420, 7545, 4458, 5366, 5388, 4734, 4311, 4354, 4302, 7876, 5338, 6264, 4544, 5630,
        4532, 7601, 7442, 5152, 4743, 4376,
    ];
    let uniform = [&[8192; 11][..], &[9888]].concat();
    for piece_bytes in [1000, 1 << 20] {
        let of = |chunker, bytes: &[u8]| lengths(&chunks_of(chunker, bytes, piece_bytes));
        assert_eq!(of(rep_max(4096, 4096), &noise(96 * 1024)), small);
        let chunker = Chunker::new(ChunkingFunction::RepMaxCdc);
        assert_eq!(of(chunker, &noise(4 << 20)), announced);
        let thirds: Vec<_> = noise(200_000).iter().map(|byte| byte % 3).collect();
        assert_eq!(of(rep_max(4096, 32_768), &thirds), few_values);
        assert_eq!(of(rep_max(8192, 0), &noise(100_000)), uniform);
    }
}

#[test]
fn fast_cuts_where_the_paper_does() {
    let bytes = noise(3 << 20);
    let of_image = [4096, 16_384, 65_535];
    let chunks = chunks_of(fast(4096, 16_384, 65_535), &bytes, 10_000);
    assert_eq!(lengths(&chunks), fast_defined(&bytes, of_image, MASKS_16_KIB));
    assert!((100..250).contains(&chunks.len()), "{} chunks", chunks.len());
    let announced = [128 << 10, 512 << 10, 2 << 20];
    let bytes = noise(16 << 20);
    let chunks = chunks_of(Chunker::new(ChunkingFunction::FastCdc2020), &bytes, 1 << 18);
    assert_eq!(lengths(&chunks), fast_defined(&bytes, announced, MASKS_512_KIB));
    assert!((20..50).contains(&chunks.len()), "{} chunks", chunks.len());
    // Nothing to cut at: the largest chunks.
    let zeros = chunks_of(Chunker::new(ChunkingFunction::FastCdc2020), &vec![0; 5 << 20], 1 << 18);
    assert_eq!(lengths(&zeros), [2 << 20, 2 << 20, 1 << 20]);
}

#[test]
fn no_bytes_are_no_chunks() {
    for function in [ChunkingFunction::FastCdc2020, ChunkingFunction::RepMaxCdc] {
        assert!(chunks_of(Chunker::new(function), &[], 1).is_empty());
        assert_eq!(lengths(&chunks_of(Chunker::new(function), &[7], 1)), [1]);
    }
}

#[test]
fn an_edit_changes_the_chunks_around_it() {
    for function in [ChunkingFunction::FastCdc2020, ChunkingFunction::RepMaxCdc] {
        let before = noise(24 << 20);
        let mut after = before.clone();
        after.splice(9_000_000..9_000_010, *b"an edit that is longer");
        let known = chunks_of(Chunker::new(function), &before, 1 << 18);
        let chunks = chunks_of(Chunker::new(function), &after, 1 << 18);
        let changed = chunks.iter().filter(|chunk| !known.contains(chunk)).count();
        assert!((1..=4).contains(&changed), "{function}: {changed} of {}", chunks.len());
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let of = |values: u8| vec(0..=values, 0..6_000);
    prop_oneof![of(255), of(1), of(0), of(3)]
}

proptest! {
    #[test]
    fn rep_max_is_as_defined(
        bytes in bytes(),
        min_bytes in 64..300_usize,
        horizon in 0..3_000_usize,
        piece_bytes in 1..4_000_usize,
    ) {
        let chunks = chunks_of(rep_max(min_bytes, horizon), &bytes, piece_bytes);
        prop_assert_eq!(lengths(&chunks), rep_max_defined(&bytes, min_bytes, horizon));
        let allowed = min_bytes..2 * min_bytes;
        let fits = |chunk: &Bytes| allowed.contains(&chunk.len());
        prop_assert!(bytes.len() < min_bytes || chunks.iter().all(fits));
    }

    #[test]
    fn pieces_make_no_difference(bytes in bytes(), piece_bytes in 1..4_000_usize) {
        let whole = chunks_of(fast(64, 256, 1024), &bytes, usize::MAX);
        prop_assert_eq!(chunks_of(fast(64, 256, 1024), &bytes, piece_bytes), whole);
    }
}
